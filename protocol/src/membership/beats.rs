//! When to speak: a word to one monitor after the other, and now and then an exchange with everybody else.
//!
//! A peer chooses its monitors and tells each, in every beat, when the next one comes. So both ends agree without
//! agreeing, and a peer that speaks eight times a second is missed by somebody an eighth of a second after it died. The
//! rest of its view hears it once a minute, with the ping that measures the way; they learn of its death from monitors.
//!
//! | monitors | why |
//! |---|---|
//! | the nearest | short ways give short doubts, and they know most of our neighbours |
//! | [`FAR_MONITORS`] at random | a site that goes dark takes all the near ones with it |
//!
//! **Invariant:** a neighbour that was told a time hears something within it; at most one beat leaves every
//! [`crate::config::DetectorConfig::beat`], but for those that keep a promise.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use rand::RngExt;

use super::{Lent, Membership, Neighbour};
use crate::certificate::{Member, Role};
use crate::config::DetectorConfig;
use crate::id::PeerId;
use crate::latency::Latency;
use crate::message::{Beat, Message};
use crate::rng::Rng;
use crate::time::{Time, micros};

/// Monitors that are not chosen for being near.
const FAR_MONITORS: usize = 2;
/// No monitor hears us more often than this, however few there are.
const BEAT_PAUSE_MIN: Duration = Duration::from_millis(250);
/// What is promised beside the pause that is kept, as a share of it: turns are not taken by the clock.
const PROMISE_SLACK: f64 = 0.05;
/// Monitors are chosen anew this long after the view changed, so that many changes are one.
const CHOOSE_AFTER: Duration = Duration::from_millis(200);
/// And now and then, as nearer neighbours are found.
const CHOOSE_EVERY: Duration = Duration::from_secs(30);
/// Monitors hear of a change in the view this long after the last one, or five times as long after they last heard.
const WILL_AFTER: Duration = Duration::from_secs(1);
/// Share of the idle limit after which one end of a pair begins an exchange; a cloud peer has many and lets them begin.
const EXCHANGE_SHARE: core::ops::Range<f64> = 0.6..0.8;
const EXCHANGE_SHARE_OF_CLOUD: core::ops::Range<f64> = 0.9..0.95;
/// The first exchanges of a connection follow each other by this share of its age: the way to a newcomer is known soon.
const YOUNG_SHARE: f64 = 2.0;
const YOUNG_PAUSE_MIN: Duration = Duration::from_secs(2);
/// … and one of the two ends, the one with the higher id, waits this much longer: the other begins.
const YOUNG_YIELD: f64 = 1.4;
/// What is due within this is due: the last answer came some time after its question, which was what this was reckoned from.
const EXCHANGE_SLACK: Duration = Duration::from_millis(300);

/// A neighbour that is told when to expect us.
#[derive(Debug, Clone, Copy)]
struct Monitor {
    peer: PeerId,
    /// It expects a word by then.
    deadline: Time,
    /// The view it knows our will for, and since when.
    told: u64,
    told_at: Time,
}

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Beats {
    config: DetectorConfig,
    monitors: Vec<Monitor>,
    next: Time,
    choose_at: Time,
    /// When to begin an exchange with whom; entries of closed connections and early ones are skipped.
    agenda: BinaryHeap<Reverse<(Time, PeerId)>>,
}

impl Beats {
    pub(super) fn new(config: DetectorConfig, now: Time) -> Self {
        Self { config, monitors: Vec::new(), next: now, choose_at: now + CHOOSE_EVERY, agenda: BinaryHeap::new() }
    }

    /// A neighbour came or went.
    pub(super) fn view_changed(&mut self, now: Time) {
        self.choose_at = self.choose_at.min(now + CHOOSE_AFTER);
        self.next = self.next.min(self.choose_at);
    }

    pub(super) fn next_deadline(&self) -> Time {
        let beat = if self.monitors.is_empty() { self.choose_at } else { self.next.min(self.choose_at) };
        self.agenda.peek().map_or(beat, |Reverse((at, _))| beat.min(*at))
    }

    /// Those who are told when to expect us, in no particular order.
    pub(super) fn monitors(&self) -> impl Iterator<Item = PeerId> {
        self.monitors.iter().map(|monitor| monitor.peer)
    }

    /// The connection to a peer is over.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.monitors.retain(|monitor| monitor.peer != peer);
    }

    fn pause(&self) -> Duration {
        let monitors = u32::try_from(self.monitors.len().max(1)).unwrap_or(u32::MAX);
        (self.config.beat * monitors).max(BEAT_PAUSE_MIN)
    }

    fn promise(&self) -> Duration {
        self.pause().mul_f64(1.0 + PROMISE_SLACK)
    }

    /// The next exchange with a neighbour, if nothing is exchanged before.
    fn exchange_due(&self, neighbour: &Neighbour, me: &Member, rng: &mut Rng) -> Time {
        let share = match me.role {
            Role::Edge => EXCHANGE_SHARE,
            Role::Cloud => EXCHANGE_SHARE_OF_CLOUD,
        };
        let old = self.config.idle.mul_f64(rng.random_range(share));
        let age = neighbour.exchanged.since(neighbour.connection_since);
        let yields = if me.peer > neighbour.member.peer { YOUNG_YIELD } else { 1.0 };
        let young = age.mul_f64(YOUNG_SHARE * rng.random_range(0.8..1.2)).max(YOUNG_PAUSE_MIN).mul_f64(yields);
        neighbour.exchanged + old.min(young)
    }

    /// Whether who says this tells us that we are its monitor no more.
    pub(super) fn dismisses(&self, beat: &Beat) -> bool {
        Duration::from_millis(u64::from(beat.next_ms)) >= self.config.idle / 2
    }

    pub(super) fn schedule_exchange(&mut self, neighbour: &mut Neighbour, me: &Member, rng: &mut Rng) {
        let at = self.exchange_due(neighbour, me, rng);
        neighbour.exchange_at = at;
        self.agenda.push(Reverse((at, neighbour.member.peer)));
    }
}

impl Membership {
    /// Every word that is due.
    pub(super) fn speak(&mut self, lent: &mut Lent<'_>) {
        if self.leaving {
            self.beats.monitors.clear();
            self.beats.agenda.clear();
            self.beats.choose_at = Time(u64::MAX);
            return;
        }
        if self.beats.choose_at <= lent.now {
            self.choose_monitors(lent);
        }
        self.beat(lent);
        while self.beats.agenda.peek().is_some_and(|Reverse((at, _))| *at <= lent.now) {
            let Some(Reverse((at, peer))) = self.beats.agenda.pop() else { break };
            self.exchange_if_due(lent, at, peer);
        }
    }

    /// The monitor whose time runs out first hears that we are here.
    fn beat(&mut self, lent: &mut Lent<'_>) {
        if lent.now < self.beats.next {
            return;
        }
        let (promise, version) = (self.beats.promise(), self.view_version);
        let Some(monitor) = self.beats.monitors.iter_mut().min_by_key(|monitor| monitor.deadline) else { return };
        monitor.deadline = lent.now + promise;
        let is_calm = lent.now >= self.view_changed_at + WILL_AFTER || lent.now >= monitor.told_at + WILL_AFTER * 5;
        let tells = monitor.told != version && is_calm;
        if tells {
            (monitor.told, monitor.told_at) = (version, lent.now);
        }
        let peer = monitor.peer;
        self.say_beat(lent, peer, promise);
        if tells {
            self.bequeath(lent, peer);
        }
        let turns = u32::try_from(self.beats.monitors.len().max(1)).unwrap_or(u32::MAX);
        let turn = (self.beats.pause() / turns).mul_f64(lent.rng.random_range(0.95..1.05));
        // Monitors that were chosen together must not be kept waiting together.
        let next_deadline = self.beats.monitors.iter().map(|monitor| monitor.deadline).min();
        let latest = next_deadline.map_or(0, |at| at.as_micros().saturating_sub(micros(turn / 4)));
        self.beats.next = (lent.now + turn).min(Time(latest).max(lent.now + turn / 4));
    }

    fn say_beat(&self, lent: &mut Lent<'_>, peer: PeerId, within: Duration) {
        let next_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        lent.out.send(peer, Message::Beat(Beat { incarnation: self.incarnation, next_ms }));
    }

    fn exchange_if_due(&mut self, lent: &mut Lent<'_>, at: Time, peer: PeerId) {
        let Some(known) = self.known.get_mut(&peer).filter(|known| known.connected) else { return };
        if known.exchange_at != at {
            return;
        }
        let due = self.beats.exchange_due(known, &self.me, lent.rng);
        if due > lent.now + EXCHANGE_SLACK {
            self.beats.schedule_exchange(known, &self.me, lent.rng);
            return;
        }
        self.exchange_now(lent, peer);
    }

    /// Asks a neighbour how far it is, and takes note when it does not answer.
    pub(super) fn exchange_now(&mut self, lent: &mut Lent<'_>, peer: PeerId) {
        let Some(known) = self.known.get_mut(&peer) else { return };
        known.exchanged = lent.now;
        self.beats.schedule_exchange(known, &self.me, lent.rng);
        if let Some(watch) = &mut known.watch {
            self.detector.asked(lent.now, peer, watch);
        }
        self.ping(lent, peer, None);
    }

    /// Keeps the monitors that still serve, and fills their number; those let off are told not to expect us.
    fn choose_monitors(&mut self, lent: &mut Lent<'_>) {
        self.beats.choose_at = lent.now + CHOOSE_EVERY.mul_f64(lent.rng.random_range(0.8..1.2));
        let chosen = self.best_monitors(lent.latency);
        let mut before = core::mem::take(&mut self.beats.monitors);
        if before.is_empty() {
            self.beats.next = lent.now;
        }
        let new = chosen.iter().filter(|peer| before.iter().all(|monitor| monitor.peer != **peer)).count();
        let round = self.beats.config.beat * u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        let mut nth = 0;
        for peer in chosen {
            if let Some(at) = before.iter().position(|monitor| monitor.peer == peer) {
                self.beats.monitors.push(before.swap_remove(at));
                continue;
            }
            // Their first beats are spread over a round, so that the turns stay apart.
            nth += 1;
            let deadline = lent.now + round.mul_f64(f64::from(nth) / new as f64);
            self.beats.monitors.push(Monitor { peer, deadline, told: u64::MAX, told_at: lent.now });
        }
        for former in before {
            self.say_beat(lent, former.peer, self.beats.config.idle);
            if let Some(known) = self.known.get_mut(&former.peer) {
                known.bequeathed = None;
            }
        }
        // Whom the monitors know changes with them, and with their neighbours.
        self.view_version += 1;
    }

    /// The nearest, with those that serve already preferred among equals, and a few by the rank of the pair.
    fn best_monitors(&self, latency: &Latency) -> Vec<PeerId> {
        let wanted = self.beats.config.monitors;
        let is_fit =
            |known: &&Neighbour| known.is_alive() && (self.me.role == Role::Cloud || known.member.role == Role::Edge);
        let mut fit: Vec<&Neighbour> = self.known.values().filter(is_fit).collect();
        if fit.len() < wanted {
            // Too few of the edge: clouds serve too.
            let rest = self.known.values().filter(|known| known.is_alive() && !is_fit(known));
            fit.extend(rest);
            fit.sort_by_key(|known| (known.member.role != Role::Edge, known.rank));
            return fit.into_iter().take(wanted).map(|known| known.member.peer).collect();
        }
        let distance = |known: &Neighbour| {
            let rtt = latency.rtt(known.member.peer).unwrap_or(Duration::MAX);
            // A monitor is exchanged only for one that is nearer by a third.
            let serves = self.beats.monitors().any(|monitor| monitor == known.member.peer);
            if serves { rtt.mul_f64(2.0 / 3.0) } else { rtt }
        };
        fit.sort_by_cached_key(|known| (distance(known), known.rank));
        let near = wanted.saturating_sub(FAR_MONITORS);
        let mut far = fit.split_off(near.min(fit.len()));
        far.sort_by_key(|known| known.rank);
        let chosen = fit.into_iter().chain(far.into_iter().take(wanted - near));
        chosen.map(|known| known.member.peer).collect()
    }
}
