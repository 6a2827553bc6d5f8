//! Who is here: which peers exist, which are connected, and what is believed of each.
//!
//! ```text
//!            Connected            silent, helpers too       not refuted
//! (known) ──────────────► alive ──────────────────► suspect ────────────► dead ──(redial)──► alive
//!                           └── Leaving ──► left          └── heard ──► alive
//! ```
//!
//! | file | one question |
//! |---|---|
//! | `neighbour.rs` | what is remembered of one peer? |
//! | `beats.rs` | when do we speak to whom? |
//! | `failure_detector.rs` | is it there? |
//! | `probes.rs` | which pings are under way, and for whom? |
//! | `local_health.rs` | or is it us who are slow? |
//! | `dialling.rs` | whom to call, and when again? |
//! | `view.rs` | whom to stay connected to? |
//! | `nearer.rs` | who would be a nearer neighbour? |
//! | `gossip.rs` | whom to tell about whom? |
//! | `rumours.rs` | what do others say of a peer, and what is it worth? |
//! | `revoked.rs` | who is a member no more? |
//! | `deployed.rs` | which business rules are in force? |
//! | `services.rs` | which services are there? |
//! | `will.rs` | who is to hear of a death? |
//!
//! **Invariant:** nobody dies by hearsay. A rumour makes this peer look for itself; only its own search ends in dead.
//! **Not here:** certificates. Who reaches this module was admitted by the driver.

mod beats;
mod deployed;
mod dialling;
mod failure_detector;
mod gossip;
mod local_health;
mod nearer;
mod neighbour;
mod probes;
mod revoked;
mod rumours;
mod services;
mod view;
mod will;

use core::cell::Cell;
use core::time::Duration;
use std::collections::BTreeMap;

use self::beats::Beats;
pub use self::deployed::{Deployed, RulesHeld};
use self::dialling::Prospects;
use self::failure_detector::{FailureDetector, Step};
use self::nearer::Search;
pub use self::neighbour::Neighbour;
use self::probes::Probes;
pub use self::revoked::{REVOCATIONS_FRESH, Revocations};
pub use self::services::Services;
use self::will::{Errand, Heirs};
use crate::certificate::{Member, SignedRecord};
use crate::config::DetectorConfig;
use crate::id::{PeerId, ShortId};
use crate::latency::Latency;
use crate::load::LoadView;
use crate::message::{Beat, LoadDigest, Message, Parting, Ping, Pong, ProbeAnswered, ProbeRequest, RumourState};
use crate::output::{Event, Outbox, Output, PeerState};
use crate::peer_map::PeerMap;
use crate::rng::{Rng, some_of};
use crate::time::{Time, Wake};

/// What membership is lent for the time of one call.
pub struct Lent<'a> {
    /// The driver's time.
    pub now: Time,
    /// The peer's generator.
    pub rng: &'a mut Rng,
    /// Where orders go.
    pub out: &'a mut Outbox,
    /// Heartbeats measure round trips.
    pub latency: &'a mut Latency,
    /// Heartbeats carry load, both ways.
    pub loads: &'a mut LoadView,
    /// The own load; made only when a heartbeat leaves.
    pub digest: &'a dyn Fn() -> LoadDigest,
    /// Whether a peer waits for something that is here: it is not let go for want of room.
    pub serves: &'a dyn Fn(PeerId) -> bool,
}

impl core::fmt::Debug for Lent<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lent").field("now", &self.now).finish_non_exhaustive()
    }
}

/// A ping of ours that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ponged {
    /// Its number, as [`Membership::ping_now`] gave it.
    pub sequence: u32,
    /// How long it took.
    pub rtt: Duration,
}

/// Everyone this peer knows.
#[derive(Debug)]
pub struct Membership {
    me: Member,
    incarnation: u32,
    own_record: Option<SignedRecord>,
    known: PeerMap<Neighbour>,
    /// How many of them are connected.
    connected: usize,
    /// Whether the whole mesh fits the view, while that is known.
    fits: Cell<Option<bool>>,
    /// Grows whenever a neighbour comes or goes.
    view_version: u64,
    view_changed_at: Time,
    prospects: Prospects,
    beats: Beats,
    search: Search,
    detector: FailureDetector,
    probes: Probes,
    asked: BTreeMap<PeerId, Asked>,
    errands: Vec<Errand>,
    heirs: Heirs,
    changes: Vec<(PeerId, PeerState)>,
    leaving: bool,
    helpers: usize,
    next_dial: Option<Time>,
    next_round: Time,
    next_trim: Time,
    /// When to look for those who said goodbye and did not go.
    next_goodbye: Option<Time>,
    /// When a peer was last learnt of.
    last_news: Time,
    records_refused: u64,
    revocations: Revocations,
    deployed: Deployed,
    services: Services,
}

/// Helpers asked about one silent peer.
#[derive(Debug)]
struct Asked {
    number: u32,
    helpers: Vec<PeerId>,
}

/// Whoever says goodbye goes within two seconds; one that is still connected after this long has not left.
const GOODBYE_MAX: Duration = Duration::from_secs(4);
/// How often neighbours over the view are let go.
const TRIM_EVERY: Duration = Duration::from_secs(5);

impl Membership {
    /// Knows nobody.
    pub fn new(me: Member, config: DetectorConfig, now: Time) -> Self {
        Self {
            me,
            incarnation: 0,
            own_record: None,
            known: PeerMap::default(),
            connected: 0,
            fits: Cell::new(None),
            view_version: 0,
            view_changed_at: now,
            prospects: Prospects::default(),
            helpers: config.helpers,
            beats: Beats::new(config, now),
            search: Search::default(),
            detector: FailureDetector::new(config),
            probes: Probes::default(),
            asked: BTreeMap::new(),
            errands: Vec::new(),
            heirs: Heirs::default(),
            changes: Vec::new(),
            leaving: false,
            next_dial: None,
            next_round: now,
            next_trim: now + TRIM_EVERY,
            next_goodbye: None,
            last_news: now,
            records_refused: 0,
            revocations: Revocations::default(),
            deployed: Deployed::default(),
            services: Services::default(),
        }
    }

    // ── Facts ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// A neighbour showed a valid certificate on a new connection.
    pub fn connected(&mut self, lent: &mut Lent<'_>, member: Member, address: Option<String>) {
        let peer = member.peer;
        if self.is_revoked(peer) {
            lent.out.push(Output::Disconnect { peer, reason: "it has been revoked".into() });
            return;
        }
        if peer == self.me.peer || !self.make_room_for(peer) {
            lent.out.send(peer, Message::Parting(Parting::NoRoom));
            lent.out.push(Output::Disconnect { peer, reason: "there is no room for another neighbour".into() });
            return;
        }
        let (now, me) = (lent.now, self.me.peer);
        self.services_unread(peer);
        let known = self.known.get_or_insert_with(peer, || Neighbour::new(now, me, member.clone()));
        self.connected += usize::from(!core::mem::replace(&mut known.connected, true));
        self.fits.take();
        known.member = member;
        if known.state == PeerState::Dead {
            known.told.clear(); // it may know less than before, and takes fewer for alive
        }
        known.lost = false;
        known.connection_since = now;
        known.heard = Some(now);
        known.address = address.clone();
        known.accusers.clear();
        lent.latency.reconnected(peer);
        known.passed_on = false;
        known.parted = None;
        known.bequeathed = None;
        known.inherited = None;
        known.exchanged = now;
        let watch = self.detector.opened(now, peer, lent.latency.rtt(peer), known.watch.as_ref());
        known.watch = Some(watch);
        self.beats.schedule_exchange(known, &self.me, lent.rng);
        self.dial_answered(peer, address.as_deref());
        lent.loads.reconnected(peer);
        self.view_changed(now);
        self.enter(lent, peer, PeerState::Alive);
        self.greet(lent, peer);
        self.ping(lent, peer, None);
        self.run_errands(lent, peer);
        self.keep_below_limit(lent, peer);
    }

    /// An issuer has signed something newer of a peer than what it showed when it connected.
    pub fn recertified(&mut self, now: Time, member: Member) {
        if member.peer == self.me.peer {
            self.me = member;
        } else if let Some(known) = self.known.get_mut(&member.peer) {
            known.member = member;
            self.fits.take();
            self.view_changed(now);
        }
    }

    /// The last connection to a neighbour closed: a hint, not a death, unless it said why.
    pub fn disconnected(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        self.pardon_if_late(lent.now);
        let Some(known) = self.known.get(&peer).filter(|known| known.connected) else { return };
        let refuses = self.refuses(lent.now, known);
        self.hang_up(lent.now, peer);
        let Some(known) = self.known.get_mut(&peer) else { return };
        let said_goodbye = known.state == PeerState::Left;
        let lives = refuses || known.parted.is_some();
        known.lost = !said_goodbye && !lives;
        let has_no_room = known.parted.take() == Some(Parting::NoRoom);
        if said_goodbye {
            known.watch = None;
        } else {
            self.redial(lent.now, peer, lent.rng);
            if has_no_room || refuses {
                self.rest(lent.now, peer);
            }
            if lives {
                self.stop_watching(peer);
            } else {
                self.lost_sight(lent, peer);
            }
        }
        if let Some(known) = self.known.get_mut(&peer) {
            known.connection_since = lent.now;
        }
        self.note_dial(lent.now);
    }

    /// A neighbour said something; call this for every message but a beat, before its own handler.
    pub fn heard(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        self.listen(lent, peer, None);
    }

    /// A neighbour says when to expect it again.
    pub fn beaten(&mut self, lent: &mut Lent<'_>, from: PeerId, beat: Beat) {
        if self.beats.dismisses(&beat) {
            self.disinherit(from);
        }
        self.listen(lent, from, Some(beat));
    }

    fn listen(&mut self, lent: &mut Lent<'_>, peer: PeerId, beat: Option<Beat>) {
        self.pardon_if_late(lent.now);
        let Some(known) = self.known.get_mut(&peer).filter(|known| known.connected) else { return };
        known.heard = Some(lent.now);
        if let Some(beat) = beat {
            known.incarnation = beat.incarnation;
        }
        let Some(watch) = &mut known.watch else { return };
        if watch.is_in_doubt() {
            known.passed_on = false;
        }
        let step = self.detector.heard(lent.now, watch);
        if let Some(beat) = beat {
            self.detector.promised(lent.now, peer, watch, Duration::from_millis(u64::from(beat.next_ms)));
        }
        if self.detector.is_next(peer) {
            self.look_ahead(lent.now);
        }
        if let Some(step) = step {
            self.carry_out(lent, peer, vec![step]);
        }
    }

    /// The next entry of the agenda is one that is due then, as far as is known now: so nobody is woken for nothing.
    fn look_ahead(&mut self, now: Time) {
        while let Some((at, peer)) = self.detector.next_entry() {
            let watch = self.known.get_mut(&peer).and_then(|known| known.watch.as_mut());
            if !self.detector.postpones(now, at, peer, watch) {
                return;
            }
        }
    }

    /// A neighbour is about to close, and says why.
    pub fn parting(&mut self, from: PeerId, why: Parting) {
        if let Some(known) = self.known.get_mut(&from).filter(|known| known.connected) {
            known.parted = Some(why);
        }
    }

    /// A neighbour asks whether we are there.
    pub fn pinged(&mut self, lent: &mut Lent<'_>, from: PeerId, ping: Ping) {
        let Some(known) = self.known.get_mut(&from).filter(|known| known.connected) else { return };
        known.incarnation = ping.incarnation;
        known.exchanged = lent.now;
        if let Some(coordinate) = ping.coordinate {
            lent.latency.located(lent.now, from, coordinate);
        }
        if let Some(load) = ping.load {
            lent.loads.heard(lent.now, from, load);
        }
        let pong = Pong {
            sequence: ping.sequence,
            incarnation: self.incarnation,
            coordinate: lent.latency.coordinate_for(lent.now, from),
            load: lent.loads.publish(lent.now, from, &(lent.digest)()),
            revocations: self.revocations.head(),
            rules: self.rules_head(),
            services: self.services_head(),
        };
        lent.out.send(from, Message::Pong(pong));
        self.compare_revocations(lent, from, ping.revocations);
        self.compare_rules(lent, from, ping.rules);
        self.compare_services(lent, from, ping.services);
    }

    /// A neighbour answered; the round trip, when the ping was our own.
    pub fn ponged(&mut self, lent: &mut Lent<'_>, from: PeerId, pong: Pong) -> Option<Ponged> {
        let known = self.known.get_mut(&from).filter(|known| known.connected)?;
        known.incarnation = pong.incarnation;
        self.compare_revocations(lent, from, pong.revocations);
        self.compare_rules(lent, from, pong.rules);
        self.compare_services(lent, from, pong.services);
        let known = self.known.get_mut(&from)?;
        if let Some(load) = pong.load {
            lent.loads.heard(lent.now, from, load);
        }
        lent.loads.answered(from, pong.sequence);
        let sent = self.probes.answered(from, pong.sequence)?;
        let rtt = lent.now.since(sent.at);
        match pong.coordinate {
            Some(remote) => lent.latency.observe(lent.now, from, rtt, remote),
            None => lent.latency.sample(lent.now, from, rtt),
        };
        known.exchanged = lent.now;
        if let (Some(watch), Some(rtt)) = (&mut known.watch, lent.latency.rtt(from)) {
            FailureDetector::measured(watch, rtt);
        }
        if let Some((requester, sequence)) = sent.on_behalf {
            let answer = ProbeAnswered { sequence, target: from, incarnation: pong.incarnation };
            if self.is_connected(requester) {
                lent.out.send(requester, Message::ProbeAnswered(answer));
            }
            return None;
        }
        Some(Ponged { sequence: pong.sequence, rtt })
    }

    /// A neighbour does not hear a peer and asks us to try; we take note of its doubt.
    pub fn probe_requested(&mut self, lent: &mut Lent<'_>, from: PeerId, request: ProbeRequest) {
        let target = request.target;
        if !self.is_connected(from) || !self.is_connected(target) || target == from || !self.probes.has_room_for(from) {
            return;
        }
        self.ping(lent, target, Some((from, request.sequence)));
        let Some(known) = self.known.get_mut(&target) else { return };
        let votes = known.votes(lent.now);
        let Some(watch) = &mut known.watch else { return };
        let mut steps = self.detector.doubted(lent.now, target, watch, votes);
        steps.retain(|step| *step != Step::Ping); // the one just sent is as good
        self.carry_out(lent, target, steps);
    }

    /// A helper heard the peer we asked about.
    pub fn probe_answered(&mut self, lent: &mut Lent<'_>, from: PeerId, answer: ProbeAnswered) {
        let Some(asked) = self.asked.get_mut(&answer.target) else { return };
        if asked.number != answer.sequence || !asked.helpers.contains(&from) {
            return;
        }
        self.asked.remove(&answer.target);
        self.vouched_for(lent, answer.target);
    }

    /// A neighbour said goodbye.
    pub fn left(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.backoff.renew(lent.now + dialling::LEFT_REST);
        known.watch = None;
        if known.connected {
            known.connection_since = lent.now;
            self.next_goodbye.get_or_insert(lent.now + GOODBYE_MAX);
        }
        self.view_changed(lent.now);
        self.enter(lent, peer, PeerState::Left);
        lent.loads.forget(peer);
    }

    /// Whatever is due.
    pub fn timer(&mut self, lent: &mut Lent<'_>) {
        self.pardon_if_late(lent.now);
        self.speak(lent);
        self.ask_who_holds_others(lent);
        while let Some((at, peer)) = self.detector.next_due(lent.now) {
            let Some(known) = self.known.get_mut(&peer) else { continue };
            let votes = known.votes(lent.now);
            let Some(watch) = &mut known.watch else { continue };
            let steps = self.detector.advance(lent.now, at, peer, watch, votes);
            self.carry_out(lent, peer, steps);
        }
        self.look_ahead(lent.now);
        if self.next_dial.is_some_and(|at| at <= lent.now) {
            self.dial_due(lent);
        }
        if self.next_round <= lent.now {
            self.search(lent);
            self.exchange(lent);
        }
        if self.next_trim <= lent.now {
            self.next_trim = lent.now + TRIM_EVERY;
            self.trim(lent);
            self.take_at_its_word(lent);
        }
    }

    // ── Orders of the peer ──────────────────────────────────────────────────────────────────────────────────────

    /// Pings a neighbour for a user; [`Membership::ponged`] gives the same number with the answer.
    pub fn ping_now(&mut self, lent: &mut Lent<'_>, peer: PeerId) -> Option<u32> {
        self.is_connected(peer).then(|| self.ping(lent, peer, None))
    }

    /// Says that work is under way between us and a peer, or no longer: it is not let go for want of room meanwhile.
    pub fn watch(&mut self, peer: PeerId, watched: bool) {
        if let Some(known) = self.known.get_mut(&peer) {
            known.watched = watched;
        }
    }

    /// Says goodbye to everyone, and calls nobody any more.
    pub fn leave(&mut self, out: &mut Outbox) {
        self.leaving = true;
        self.next_dial = None;
        for to in self.known.iter().filter(|(_, known)| known.connected).map(|(peer, _)| *peer) {
            out.send(to, Message::Leaving);
        }
    }

    /// Whether [`Membership::take_changes`] has something to give.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Peers whose state changed since the last call, oldest first; call it after each fact.
    pub fn take_changes(&mut self) -> Vec<(PeerId, PeerState)> {
        core::mem::take(&mut self.changes)
    }

    // ── Questions ───────────────────────────────────────────────────────────────────────────────────────────────

    /// When [`Membership::timer`] is due, and why.
    pub fn next_deadline(&self) -> Option<(Time, Wake)> {
        let upkeep = self.next_round.min(self.next_trim);
        let upkeep = self.next_dial.map_or(upkeep, |dial| dial.min(upkeep));
        let beat = self.beats.next_deadline();
        let beat = self.detector.next_deadline().map_or(beat, |at| at.min(beat));
        Some(if beat <= upkeep { (beat, Wake::Membership) } else { (upkeep, Wake::Upkeep) })
    }

    /// Neighbours that are connected and believed to be there.
    pub fn alive_neighbours(&self) -> impl Iterator<Item = &Neighbour> {
        self.known.values().filter(|known| known.is_alive())
    }

    /// Everyone, in the order of their ids.
    pub fn known(&self) -> impl Iterator<Item = &Neighbour> {
        self.known.values()
    }

    /// What is remembered of the only peer with this short id.
    pub(crate) fn by_short(&self, short: ShortId) -> Option<&Neighbour> {
        self.known.get_short(short)
    }

    /// What is remembered of a peer.
    pub fn neighbour(&self, peer: PeerId) -> Option<&Neighbour> {
        self.known.get(&peer)
    }

    /// Who a peer is.
    pub fn member(&self, peer: PeerId) -> Option<&Member> {
        self.known.get(&peer).map(|known| &known.member)
    }

    /// What is believed of a peer.
    pub fn state(&self, peer: PeerId) -> Option<PeerState> {
        self.known.get(&peer).map(|known| known.state)
    }

    /// Whether a message can be sent to it.
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.known.get(&peer).is_some_and(|known| known.connected)
    }

    /// Grows whenever a neighbour comes or goes.
    pub fn view_version(&self) -> u64 {
        self.view_version
    }

    /// The incarnation this peer speaks with.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Records that were not checked because their sender sent too many.
    pub fn records_refused(&self) -> u64 {
        self.records_refused
    }

    // ── What the detector wants done ────────────────────────────────────────────────────────────────────────────

    fn carry_out(&mut self, lent: &mut Lent<'_>, peer: PeerId, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Ping => {
                    self.ping(lent, peer, None);
                }
                Step::AskHelpers => self.ask_helpers(lent, peer),
                Step::Suspect => {
                    self.enter(lent, peer, PeerState::Suspect);
                    self.tell_suspicion(lent, peer);
                }
                Step::Alive => self.enter(lent, peer, PeerState::Alive),
                Step::Reconnect => self.reconnect(lent, peer),
                Step::Dead => self.bury(lent, peer),
            }
        }
    }

    /// The same, where others raised the doubt: the peer is asked by telling it what is said of it, and its refutation is
    /// passed on.
    fn question(&mut self, lent: &mut Lent<'_>, peer: PeerId, mut steps: Vec<Step>) {
        if let (Some(at), Some(rumour)) =
            (steps.iter().position(|step| *step == Step::Ping), self.about(peer, RumourState::Suspect))
        {
            steps.remove(at);
            lent.out.send(peer, Message::Rumour(rumour));
        }
        self.carry_out(lent, peer, steps);
    }

    fn ping(&mut self, lent: &mut Lent<'_>, peer: PeerId, on_behalf: Option<(PeerId, u32)>) -> u32 {
        let sequence = self.probes.sent(lent.now, peer, on_behalf);
        let ping = Ping {
            sequence,
            incarnation: self.incarnation,
            coordinate: lent.latency.coordinate_for(lent.now, peer),
            load: lent.loads.publish_asking(lent.now, peer, sequence, &(lent.digest)()),
            revocations: self.revocations.head(),
            rules: self.rules_head(),
            services: self.services_head(),
        };
        lent.out.send(peer, Message::Ping(ping));
        sequence
    }

    /// Asks those to probe a silent peer who are connected to it: its other neighbours, as far as it named them, and those
    /// who spoke of it.
    fn ask_helpers(&mut self, lent: &mut Lent<'_>, target: PeerId) {
        let accusers = self.known.get(&target).into_iter().flat_map(|known| known.accusers());
        let accusers: Vec<PeerId> = accusers.filter(|peer| self.is_connected(*peer)).collect();
        let candidates = match self.co_holders(target).filter(|holders| !holders.is_empty()) {
            Some(holders) => holders,
            None if !accusers.is_empty() => accusers,
            None => self.others_alive(&[target]),
        };
        let helpers = some_of(lent.rng, candidates, self.helpers);
        let number = self.asked.get(&target).map_or(0, |asked| asked.number.wrapping_add(1));
        for helper in &helpers {
            lent.out.send(*helper, Message::ProbeRequest(ProbeRequest { sequence: number, target }));
        }
        self.asked.insert(target, Asked { number, helpers });
    }

    fn vouched_for(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(watch) = self.known.get_mut(&peer).and_then(|known| known.watch.as_mut()) else { return };
        let step = self.detector.vouched(lent.now, peer, watch);
        self.carry_out(lent, peer, step.into_iter().collect());
    }

    fn lost_sight(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(watch) = self.known.get_mut(&peer).and_then(|known| known.watch.as_mut()) else { return };
        let steps = self.detector.closed(lent.now, peer, watch);
        self.carry_out(lent, peer, steps);
    }

    fn stop_watching(&mut self, peer: PeerId) {
        self.asked.remove(&peer);
        if let Some(known) = self.known.get_mut(&peer) {
            known.watch = None;
        }
    }

    /// Others hear it and we do not: the connection is at fault.
    fn reconnect(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let reason = "nothing came through for seconds, though others hear the peer".into();
        lent.out.push(Output::Disconnect { peer, reason });
        self.disconnected(lent, peer);
    }

    /// Whoever said goodbye and is still connected is not going: the connection is closed, and both begin anew.
    fn take_at_its_word(&mut self, lent: &mut Lent<'_>) {
        if self.next_goodbye.is_none_or(|at| at > lent.now) {
            return;
        }
        let left = self.known.values().filter(|known| known.connected && known.state == PeerState::Left);
        let left: Vec<(PeerId, Time)> = left.map(|known| (known.member.peer, known.connection_since)).collect();
        self.next_goodbye = None;
        for (peer, since) in left {
            if lent.now.since(since) >= GOODBYE_MAX {
                self.close(lent, peer, Parting::Silent, "it said goodbye, and did not go");
            } else {
                self.next_goodbye = Some(self.next_goodbye.unwrap_or(since + GOODBYE_MAX).min(since + GOODBYE_MAX));
            }
        }
    }

    fn bury(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        self.enter(lent, peer, PeerState::Dead);
        self.tell_death(lent, peer);
        self.stop_watching(peer);
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.lost = false;
        known.accusers.clear();
        known.inherited = None;
        if known.connected {
            self.redial(lent.now, peer, lent.rng);
            self.close(lent, peer, Parting::Silent, "it was silent, to us and to others");
        }
        lent.loads.forget(peer);
        self.note_dial(lent.now);
    }

    /// Closes a connection and says why.
    fn close(&mut self, lent: &mut Lent<'_>, peer: PeerId, why: Parting, reason: &str) {
        self.stop_watching(peer);
        self.hang_up(lent.now, peer);
        if let Some(known) = self.known.get_mut(&peer) {
            known.connection_since = lent.now;
        }
        lent.out.send(peer, Message::Parting(why));
        lent.out.push(Output::Disconnect { peer, reason: reason.into() });
    }

    /// A peer is to have no connection until then: it is closed, and not called.
    pub fn shut_out(&mut self, lent: &mut Lent<'_>, peer: PeerId, until: Time) {
        if self.is_connected(peer) {
            self.close(lent, peer, Parting::NoRoom, "it floods us, or talks nonsense, and went on");
        }
        if let Some(known) = self.known.get_mut(&peer) {
            known.backoff.rest(until);
        }
    }

    /// There is no connection any more.
    fn hang_up(&mut self, now: Time, peer: PeerId) {
        self.beats.forget(peer);
        self.services_unread(peer);
        let Some(known) = self.known.get_mut(&peer) else { return };
        self.connected -= usize::from(core::mem::replace(&mut known.connected, false));
        self.fits.take();
        known.address = None;
        self.view_changed(now);
    }

    fn view_changed(&mut self, now: Time) {
        self.view_version += 1;
        self.view_changed_at = now;
        self.beats.view_changed(now);
    }

    /// A neighbour without room for us is not called for a while.
    fn rest(&mut self, now: Time, peer: PeerId) {
        let fits = self.whole_mesh_fits();
        if let Some(known) = self.known.get_mut(&peer).filter(|_| !fits) {
            known.backoff.rest(now + dialling::LET_GO_REST);
        }
    }

    /// When we were stopped or starved, the silence of the others was ours.
    fn pardon_if_late(&mut self, now: Time) {
        let Some(late) = self.detector.lateness(now) else { return };
        self.detector.clear_agenda();
        for (peer, known) in self.known.iter_mut() {
            if let Some(watch) = &mut known.watch {
                self.detector.pardon(now, *peer, watch, late);
            }
        }
    }

    fn enter(&mut self, lent: &mut Lent<'_>, peer: PeerId, state: PeerState) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        if core::mem::replace(&mut known.state, state) == state {
            return;
        }
        self.fits.take();
        let name = known.member.name.clone();
        self.changes.push((peer, state));
        lent.out.notify(Event::PeerChanged { peer, name, state });
    }

    fn others_alive(&self, except: &[PeerId]) -> Vec<PeerId> {
        self.alive_neighbours().map(|known| known.member.peer).filter(|peer| !except.contains(peer)).collect()
    }
}

#[cfg(test)]
mod tests;
