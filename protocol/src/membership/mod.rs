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
//! | `failure_detector.rs` | is it there? |
//! | `probes.rs` | which pings are under way, and for whom? |
//! | `local_health.rs` | or is it us who are slow? |
//! | `dialling.rs` | whom to call, and when again? |
//! | `view.rs` | whom to stay connected to? |
//! | `gossip.rs` | whom to tell about whom? |
//! | `rumours.rs` | what do others say of a peer, and what is it worth? |
//!
//! **Invariant:** nobody dies by hearsay. A rumour makes this peer look for itself; only its own search ends in dead.
//! **Not here:** certificates. Who reaches this module was admitted by the driver.

mod dialling;
mod failure_detector;
mod gossip;
mod local_health;
mod neighbour;
mod probes;
mod rumours;
mod view;

use core::time::Duration;
use std::collections::BTreeMap;

use self::dialling::Prospects;
use self::failure_detector::{FailureDetector, Step};
pub use self::neighbour::Neighbour;
use self::probes::Probes;
use crate::certificate::{Member, SignedRecord};
use crate::config::DetectorConfig;
use crate::id::PeerId;
use crate::latency::Latency;
use crate::load::LoadView;
use crate::message::{LoadDigest, Message, Ping, Pong, ProbeAnswered, ProbeRequest};
use crate::output::{Event, Outbox, Output, PeerState};
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
    known: BTreeMap<PeerId, Neighbour>,
    prospects: Prospects,
    detector: FailureDetector,
    probes: Probes,
    asked: BTreeMap<PeerId, Asked>,
    changes: Vec<(PeerId, PeerState)>,
    leaving: bool,
    helpers: usize,
    next_dial: Option<Time>,
    next_round: Time,
    /// When a peer was last learnt of.
    last_news: Time,
    records_refused: u64,
}

/// Helpers asked about one silent peer.
#[derive(Debug)]
struct Asked {
    number: u32,
    helpers: Vec<PeerId>,
}

impl Membership {
    /// Knows nobody.
    pub fn new(me: Member, config: DetectorConfig, now: Time) -> Self {
        Self {
            me,
            incarnation: 0,
            own_record: None,
            known: BTreeMap::new(),
            prospects: Prospects::default(),
            helpers: config.helpers,
            detector: FailureDetector::new(config),
            probes: Probes::default(),
            asked: BTreeMap::new(),
            changes: Vec::new(),
            leaving: false,
            next_dial: None,
            next_round: now,
            last_news: now,
            records_refused: 0,
        }
    }

    // ── Facts ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// A neighbour showed a valid certificate on a new connection.
    pub fn connected(&mut self, lent: &mut Lent<'_>, member: Member, address: Option<String>) {
        let peer = member.peer;
        if peer == self.me.peer || !self.make_room_for(peer) {
            lent.out.push(Output::Disconnect { peer, reason: "there is no room for another neighbour".into() });
            return;
        }
        let known = self.known.entry(peer).or_insert_with(|| Neighbour::new(lent.now, member.clone()));
        known.member = member;
        known.connected = true;
        known.lost = false;
        known.connection_since = lent.now;
        known.heard = Some(lent.now);
        known.address = address.clone();
        known.accusers.clear();
        known.dead_by_hearsay = None;
        lent.latency.reconnected(peer);
        self.dial_answered(peer, address.as_deref());
        lent.loads.reconnected(peer);
        self.detector.opened(lent.now, peer, lent.rng);
        self.choose_close(lent.now);
        self.enter(lent, peer, PeerState::Alive);
        self.greet(lent, peer);
        self.ping(lent, peer, None);
        self.keep_below_limit(lent, peer);
        self.dial_due(lent);
    }

    /// The last connection to a neighbour closed: a hint, not a death.
    pub fn disconnected(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(known) = self.known.get(&peer).filter(|known| known.connected) else { return };
        let refuses = self.refuses(lent.now, known);
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.connected = false;
        known.address = None;
        let said_goodbye = known.state == PeerState::Left;
        known.lost = !said_goodbye && !refuses;
        if !said_goodbye {
            self.redial(lent.now, peer, lent.rng);
        }
        if refuses && !said_goodbye {
            self.release(lent.now, peer);
        } else if !said_goodbye {
            let steps = self.detector.closed(lent.now, peer);
            self.carry_out(lent, steps);
        }
        if let Some(known) = self.known.get_mut(&peer) {
            known.connection_since = lent.now;
        }
        self.choose_close(lent.now);
        self.dial_due(lent);
    }

    /// A neighbour said something; call this for every message, before its own handler.
    pub fn heard(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(known) = self.known.get_mut(&peer).filter(|known| known.connected) else { return };
        known.heard = Some(lent.now);
        let steps = self.detector.heard(lent.now, peer);
        self.carry_out(lent, steps);
    }

    /// A neighbour asks whether we are there.
    pub fn pinged(&mut self, lent: &mut Lent<'_>, from: PeerId, ping: Ping) {
        let Some(known) = self.known.get_mut(&from).filter(|known| known.connected) else { return };
        known.incarnation = ping.incarnation;
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
        };
        lent.out.send(from, Message::Pong(pong));
    }

    /// A neighbour answered; the round trip, when the ping was our own.
    pub fn ponged(&mut self, lent: &mut Lent<'_>, from: PeerId, pong: Pong) -> Option<Ponged> {
        let known = self.known.get_mut(&from).filter(|known| known.connected)?;
        known.incarnation = pong.incarnation;
        if let Some(load) = pong.load {
            lent.loads.heard(lent.now, from, load);
        }
        let sent = self.probes.answered(from, pong.sequence)?;
        let rtt = lent.now.since(sent.at);
        match pong.coordinate {
            Some(remote) => lent.latency.observe(lent.now, from, rtt, remote),
            None => lent.latency.sample(lent.now, from, rtt),
        };
        if let Some((requester, sequence)) = sent.on_behalf {
            let answer = ProbeAnswered { sequence, target: from, incarnation: pong.incarnation };
            if self.is_connected(requester) {
                lent.out.send(requester, Message::ProbeAnswered(answer));
            }
            return None;
        }
        Some(Ponged { sequence: pong.sequence, rtt })
    }

    /// A neighbour does not hear a peer and asks us to try.
    pub fn probe_requested(&mut self, lent: &mut Lent<'_>, from: PeerId, request: ProbeRequest) {
        let is_possible = self.is_connected(from) && self.is_connected(request.target) && request.target != from;
        if is_possible && self.probes.has_room_for(from) {
            self.ping(lent, request.target, Some((from, request.sequence)));
        }
    }

    /// A helper heard the peer we asked about.
    pub fn probe_answered(&mut self, lent: &mut Lent<'_>, from: PeerId, answer: ProbeAnswered) {
        let Some(asked) = self.asked.get_mut(&answer.target) else { return };
        if asked.number != answer.sequence || !asked.helpers.contains(&from) {
            return;
        }
        self.asked.remove(&answer.target);
        let steps = self.detector.vouched(lent.now, answer.target);
        self.carry_out(lent, steps);
        if !self.whole_mesh_fits() {
            self.release(lent.now, answer.target);
        }
    }

    /// A neighbour said goodbye.
    pub fn left(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.backoff.renew(lent.now + dialling::LEFT_REST);
        self.detector.forget(peer);
        self.enter(lent, peer, PeerState::Left);
        lent.loads.forget(peer);
    }

    /// Whatever is due.
    pub fn timer(&mut self, lent: &mut Lent<'_>) {
        let steps = self.detector.timer(lent.now, lent.latency);
        self.carry_out(lent, steps);
        if self.next_dial.is_some_and(|at| at <= lent.now) {
            self.dial_due(lent);
        }
        if self.next_round <= lent.now {
            self.exchange(lent);
            self.trim(lent);
        }
    }

    // ── Orders of the peer ──────────────────────────────────────────────────────────────────────────────────────

    /// Pings a neighbour for a user; [`Membership::ponged`] gives the same number with the answer.
    pub fn ping_now(&mut self, lent: &mut Lent<'_>, peer: PeerId) -> Option<u32> {
        self.is_connected(peer).then(|| self.ping(lent, peer, None))
    }

    /// Says that somebody here waits for a peer's work, or no longer does: it is then listened to at the full beat and
    /// not let go for want of room.
    pub fn watch(&mut self, now: Time, peer: PeerId, watched: bool) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        if known.watched != watched {
            known.watched = watched;
            self.choose_close(now);
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

    /// Peers whose state changed since the last call, oldest first; call it after each fact.
    pub fn take_changes(&mut self) -> Vec<(PeerId, PeerState)> {
        core::mem::take(&mut self.changes)
    }

    // ── Questions ───────────────────────────────────────────────────────────────────────────────────────────────

    /// When [`Membership::timer`] is due, and why.
    pub fn next_deadline(&self) -> Option<(Time, Wake)> {
        let upkeep = self.next_dial.map_or(self.next_round, |dial| dial.min(self.next_round));
        match self.detector.next_deadline() {
            Some(at) if at <= upkeep => Some((at, Wake::Membership)),
            Some(_) | None => Some((upkeep, Wake::Upkeep)),
        }
    }

    /// Neighbours that are connected and believed to be there.
    pub fn alive_neighbours(&self) -> impl Iterator<Item = &Neighbour> {
        self.known.values().filter(|known| known.is_alive())
    }

    /// Everyone, in the order of their ids.
    pub fn known(&self) -> impl Iterator<Item = &Neighbour> {
        self.known.values()
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

    /// The incarnation this peer speaks with.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Records that were not checked because their sender sent too many.
    pub fn records_refused(&self) -> u64 {
        self.records_refused
    }

    // ── What the detector wants done ────────────────────────────────────────────────────────────────────────────

    fn carry_out(&mut self, lent: &mut Lent<'_>, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Ping(peer) => {
                    self.ping(lent, peer, None);
                }
                Step::AskHelpers(peer) => self.ask_helpers(lent, peer),
                Step::Suspect(peer) => {
                    self.enter(lent, peer, PeerState::Suspect);
                    self.tell_suspicion(lent, peer);
                }
                Step::Alive(peer) => self.enter(lent, peer, PeerState::Alive),
                Step::Reconnect(peer) => self.reconnect(lent, peer),
                Step::Dead(peer) => self.bury(lent, peer),
            }
        }
    }

    fn ping(&mut self, lent: &mut Lent<'_>, peer: PeerId, on_behalf: Option<(PeerId, u32)>) -> u32 {
        let sequence = self.probes.sent(lent.now, peer, on_behalf);
        let ping = Ping {
            sequence,
            incarnation: self.incarnation,
            coordinate: lent.latency.coordinate_for(lent.now, peer),
            load: lent.loads.publish(lent.now, peer, &(lent.digest)()),
        };
        lent.out.send(peer, Message::Ping(ping));
        self.detector.pinged(lent.now, peer, lent.rng);
        sequence
    }

    fn ask_helpers(&mut self, lent: &mut Lent<'_>, target: PeerId) {
        let helpers = some_of(lent.rng, self.others_alive(&[target]), self.helpers);
        let number = self.asked.get(&target).map_or(0, |asked| asked.number.wrapping_add(1));
        for helper in &helpers {
            lent.out.send(*helper, Message::ProbeRequest(ProbeRequest { sequence: number, target }));
        }
        self.asked.insert(target, Asked { number, helpers });
    }

    /// Others hear it and we do not: the connection is at fault.
    fn reconnect(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let reason = "nothing came through for seconds, though others hear the peer".into();
        lent.out.push(Output::Disconnect { peer, reason });
        self.disconnected(lent, peer);
    }

    fn bury(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        self.asked.remove(&peer);
        self.tell_death(lent, peer);
        let Some(known) = self.known.get_mut(&peer) else { return };
        let was_connected = core::mem::replace(&mut known.connected, false);
        known.lost = false;
        known.accusers.clear();
        if was_connected {
            known.address = None;
            lent.out.push(Output::Disconnect { peer, reason: "it was silent, to us and to others".into() });
            self.redial(lent.now, peer, lent.rng);
        }
        if let Some(known) = self.known.get_mut(&peer).filter(|_| was_connected) {
            known.connection_since = lent.now;
        }
        lent.loads.forget(peer);
        self.enter(lent, peer, PeerState::Dead);
        self.choose_close(lent.now);
        self.dial_due(lent);
    }

    /// A neighbour that closes and lives has let us go: it is not watched, and in a mesh larger than the view not called
    /// for a while.
    fn release(&mut self, now: Time, peer: PeerId) {
        let fits = self.whole_mesh_fits();
        let Some(known) = self.known.get_mut(&peer).filter(|known| !known.connected) else { return };
        known.lost = false;
        if !fits {
            known.backoff.rest(now + dialling::LET_GO_REST);
        }
        self.detector.forget(peer);
    }

    fn enter(&mut self, lent: &mut Lent<'_>, peer: PeerId, state: PeerState) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        if core::mem::replace(&mut known.state, state) == state {
            return;
        }
        let name = known.member.name.clone();
        self.changes.push((peer, state));
        lent.out.notify(Event::PeerChanged { peer, name, state });
    }

    fn choose_close(&mut self, now: Time) {
        let watched: Vec<PeerId> = self.known.iter().filter(|(_, it)| it.watched).map(|(peer, _)| *peer).collect();
        let rest: Vec<PeerId> = self.by_rank().into_iter().filter(|peer| !watched.contains(peer)).collect();
        self.detector.listen_closely(now, &watched, &rest);
    }

    fn others_alive(&self, except: &[PeerId]) -> Vec<PeerId> {
        self.alive_neighbours().map(|known| known.member.peer).filter(|peer| !except.contains(peer)).collect()
    }
}

#[cfg(test)]
mod tests;
