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
//! | `coming.rs` | who has connected, and whose connection is gone? |
//! | `goodbye.rs` | who said that it goes? |
//! | `hearing.rs` | whom do we hear? |
//! | `pinging.rs` | how long does an answer take, and whom else can we ask? |
//! | `verdicts.rs` | what follows from what the detector thinks? |
//! | `questions.rs` | what can others ask of all this? |
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
mod coming;
mod deployed;
mod dialling;
mod failure_detector;
mod goodbye;
mod gossip;
mod hearing;
mod local_health;
mod nearer;
mod neighbour;
mod pinging;
mod probes;
mod questions;
mod revoked;
mod rumours;
mod services;
mod verdicts;
mod view;
mod will;

use core::cell::Cell;
use core::time::Duration;
use std::collections::BTreeMap;

use self::beats::Beats;
pub use self::deployed::{Deployed, RulesHeld};
use self::dialling::Prospects;
use self::failure_detector::FailureDetector;
use self::nearer::Search;
pub use self::neighbour::Neighbour;
use self::pinging::Asked;
pub use self::pinging::Ponged;
use self::probes::Probes;
pub use self::revoked::{REVOCATIONS_FRESH, Revocations};
pub use self::services::Services;
use self::will::{Errand, Heirs};
use crate::certificate::{Member, SignedRecord};
use crate::config::DetectorConfig;
use crate::id::PeerId;
use crate::latency::Latency;
use crate::load::LoadView;
use crate::message::LoadDigest;
use crate::output::{Outbox, PeerState};
use crate::peer_map::PeerMap;
use crate::rng::Rng;
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
    /// Whether a peer waits for something that is here, or has something to decide with us: it is not let go for want of room.
    pub needs: &'a dyn Fn(PeerId) -> bool,
}

impl core::fmt::Debug for Lent<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lent").field("now", &self.now).finish_non_exhaustive()
    }
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

    /// Says that work is under way between us and a peer, or no longer: it is not let go for want of room meanwhile.
    pub fn watch(&mut self, peer: PeerId, watched: bool) {
        if let Some(known) = self.known.get_mut(&peer) {
            known.watched = watched;
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

    /// When [`Membership::timer`] is due, and why.
    pub fn next_deadline(&self) -> Option<(Time, Wake)> {
        let upkeep = self.next_round.min(self.next_trim);
        let upkeep = self.next_dial.map_or(upkeep, |dial| dial.min(upkeep));
        let beat = self.beats.next_deadline();
        let beat = self.detector.next_deadline().map_or(beat, |at| at.min(beat));
        Some(if beat <= upkeep { (beat, Wake::Membership) } else { (upkeep, Wake::Upkeep) })
    }

    fn view_changed(&mut self, now: Time) {
        self.view_version += 1;
        self.view_changed_at = now;
        self.beats.view_changed(now);
    }
}

#[cfg(test)]
mod tests;
