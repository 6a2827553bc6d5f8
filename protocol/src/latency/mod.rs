//! How far other peers are: measured round trips, and coordinates for everyone else.
//!
//! | file | one question |
//! |---|---|
//! | `rtt.rs` | what do the round trips measured to one peer say? |
//! | `path.rs` | what does the transport say of the path to it? |
//! | `springs.rs` | which of them does the own coordinate learn from? |
//! | `coordinate.rs` | what is a place, and how is it told? |
//! | `vivaldi.rs` | where are we? |
//! | `residuals.rs` | what do the own measurements say of a place nobody measured? |
//! | `telling.rs` | when does a neighbour need to hear where we are? |
//!
//! The best figure for a peer is the measured one. Without it, it is what the two coordinates say, corrected by how far
//! they were off for measured peers that are near *it* ([`Latency::predict`]).
//!
//! **Invariant:** at most [`LATENCY_PEERS_MAX`] peers are remembered; nothing a stranger says is used before it is checked.
//! **Not here:** when to measure. That is the failure detector's heartbeat.

mod coordinate;
mod path;
mod residuals;
mod rtt;
mod springs;
mod telling;
mod vivaldi;

use core::time::Duration;

pub use self::coordinate::{Coordinate, DIMENSIONS};
use self::path::Loss;
pub use self::path::PathSample;
pub use self::residuals::Predictor;
use self::rtt::Samples;
use self::springs::{PULLS_FOR, Spring, Springs};
use self::telling::Told;
use self::vivaldi::Vivaldi;
use crate::config::LATENCY_PEERS_MAX;
use crate::id::PeerId;
use crate::peer_map::PeerMap;
use crate::time::Time;

/// Remembered neighbours whose springs are relaxed beside a fresh one. Springs are cheaper than messages, and a neighbour
/// that is heard often does not drag the coordinate to itself.
const RELAXED_BESIDE: usize = 12;

/// A round trip that this peer measured itself is newer than what the transport says for so long.
const OWN_FRESH: Duration = Duration::from_secs(2);

/// What is known of one peer.
#[derive(Debug, Default)]
struct Distance {
    samples: Samples,
    loss: Loss,
    measured: Option<Time>,
    remote: Option<Coordinate>,
    touched: Time,
    told: Option<Told>,
}

/// The distances of this peer to others, and of others to each other.
#[derive(Debug)]
pub struct Latency {
    me: PeerId,
    vivaldi: Vivaldi,
    peers: PeerMap<Distance>,
    springs: Springs,
}

impl Latency {
    /// Knows no distance yet.
    pub fn new(me: PeerId, seed: u64) -> Self {
        Self { me, vivaldi: Vivaldi::new(seed), peers: PeerMap::default(), springs: Springs::default() }
    }

    /// A round trip was measured; whether it was one that any path can have. The own coordinate learns from it when the
    /// peer said before where it is.
    pub fn sample(&mut self, now: Time, peer: PeerId, rtt: Duration) -> bool {
        if peer == self.me || !Samples::is_possible(rtt) {
            return false;
        }
        let distance = self.touch(now, peer);
        distance.samples.push(rtt);
        distance.measured = Some(now);
        if let (Some(rtt), Some(remote)) = (distance.samples.filtered(), distance.remote) {
            let spring = Spring { peer, rtt, remote, at: now };
            self.springs.put(spring);
            self.vivaldi.pull(&spring, 1.0);
            for (spring, weight) in self.springs.in_turn(now, RELAXED_BESIDE) {
                self.vivaldi.pull(&spring, weight);
            }
        }
        true
    }

    /// The transport says how a neighbour is reached. Its round trip counts while there is no newer one of our own: who has much
    /// to say to each other asks seldom, and those are the ones whose distance matters.
    pub fn path_measured(&mut self, now: Time, peer: PeerId, sample: &PathSample) {
        if peer == self.me {
            return;
        }
        let distance = self.touch(now, peer);
        let was_used = distance.loss.take(sample);
        let is_fresh = distance.measured.is_some_and(|at| now.since(at) < OWN_FRESH);
        if was_used && !is_fresh {
            self.sample(now, peer, sample.rtt);
        }
    }

    /// The share of packets to a peer that are lost, if that was measured.
    pub fn loss(&self, peer: PeerId) -> Option<f64> {
        self.peers.get(&peer)?.loss.share()
    }

    /// A peer said where it is; whether that can be a place.
    pub fn located(&mut self, now: Time, peer: PeerId, remote: Coordinate) -> bool {
        if peer == self.me || !remote.is_sane() {
            return false;
        }
        self.touch(now, peer).remote = Some(remote);
        true
    }

    /// Somebody else said where a peer is: believed while the peer was not measured lately.
    pub fn heard_of(&mut self, now: Time, peer: PeerId, remote: Coordinate) -> bool {
        let is_fresh = |measured: Option<Time>| measured.is_some_and(|at| now.since(at) <= PULLS_FOR);
        let known = self.peers.get(&peer);
        known.is_none_or(|known| !is_fresh(known.measured)) && self.located(now, peer, remote)
    }

    /// A round trip was measured to a peer that said where it is: the own coordinate learns from it.
    pub fn observe(&mut self, now: Time, peer: PeerId, rtt: Duration, remote: Coordinate) -> bool {
        Samples::is_possible(rtt) && self.located(now, peer, remote) && self.sample(now, peer, rtt)
    }

    /// Where this peer is, for others.
    pub fn coordinate(&self) -> Coordinate {
        self.vivaldi.coordinate()
    }

    /// Where a peer is, as it said or as others did.
    pub fn place(&self, peer: PeerId) -> Option<Coordinate> {
        self.peers.get(&peer)?.remote
    }

    /// The round trip to a peer as measured lately; nothing when it was never measured.
    pub fn rtt(&self, peer: PeerId) -> Option<Duration> {
        self.peers.get(&peer)?.samples.current()
    }

    /// Median and 99th percentile of the kept samples.
    pub fn percentiles(&self, peer: PeerId) -> Option<(Duration, Duration)> {
        self.peers.get(&peer)?.samples.percentiles()
    }

    /// The shortest of the kept samples.
    pub fn shortest(&self, peer: PeerId) -> Option<Duration> {
        self.peers.get(&peer)?.samples.shortest()
    }

    /// What is to be expected of the round trip between two peers (either may be this one) by the coordinates, and by this
    /// peer's measurements to others.
    pub fn predict(&self, a: PeerId, b: PeerId) -> Option<Duration> {
        match (a == self.me, b == self.me) {
            (true, false) => Some(self.predictor().rtt_to(b, &self.place(b)?)),
            (false, true) => Some(self.predictor().rtt_to(a, &self.place(a)?)),
            (false, false) => Some(self.place(a)?.rtt_to(&self.place(b)?)),
            (true, true) => None,
        }
    }

    /// Predicts many round trips from here.
    pub fn predictor(&self) -> Predictor {
        Predictor::new(self.coordinate(), self.springs.iter())
    }

    /// The best figure there is for the round trip to a peer: measured, else predicted.
    pub fn expected_rtt(&self, peer: PeerId) -> Option<Duration> {
        self.rtt(peer).or_else(|| self.predict(self.me, peer))
    }

    /// The own coordinate, when this neighbour's picture of it is off; the caller sends it.
    pub fn coordinate_for(&mut self, now: Time, peer: PeerId) -> Option<Coordinate> {
        let here = self.coordinate();
        let distance = self.touch(now, peer);
        let due = distance.told.is_none_or(|told| told.misleads(now, &here, distance.samples.current()));
        due.then(|| {
            distance.told = Some(Told { at: now, place: here });
            here
        })
    }

    /// There is a new connection to a peer, which may have forgotten what it was told.
    pub fn reconnected(&mut self, peer: PeerId) {
        if let Some(distance) = self.peers.get_mut(&peer) {
            distance.told = None;
        }
    }

    /// A peer is gone for good.
    pub fn forget(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
        self.springs.forget(peer);
    }

    fn touch(&mut self, now: Time, peer: PeerId) -> &mut Distance {
        if self.peers.len() >= LATENCY_PEERS_MAX && !self.peers.contains_key(&peer) {
            // Hearsay goes before measurements, so that a flood of names cannot wash them out.
            let worth = |distance: &Distance| (distance.measured.is_some(), distance.touched);
            let least = self.peers.iter().min_by_key(|(_, distance)| worth(distance)).map(|(peer, _)| *peer);
            least.map(|peer| self.peers.remove(&peer));
        }
        let distance = self.peers.get_or_insert_with(peer, Distance::default);
        distance.touched = now;
        distance
    }
}

#[cfg(test)]
mod tests;
