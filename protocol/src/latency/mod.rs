//! How far other peers are: measured round trips, and coordinates for everyone else.
//!
//! **Invariant:** at most [`LATENCY_PEERS_MAX`] peers are remembered; nothing a stranger says is used before it is checked.
//! **Not here:** when to measure. That is the failure detector's heartbeat.

mod coordinates;
mod rtt;

use core::time::Duration;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::coordinates::Vivaldi;
use self::rtt::Samples;
use crate::config::LATENCY_PEERS_MAX;
use crate::id::PeerId;
use crate::time::Time;

/// A Vivaldi coordinate (Dabek et al., SIGCOMM 2004): eight dimensions and a height, all in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coordinate {
    /// Position, in milliseconds.
    #[serde(rename = "v")]
    pub position_ms: [f32; 8],
    /// The part of every path that is the peer's own access link, in milliseconds.
    #[serde(rename = "h")]
    pub height_ms: f32,
    /// A correction learnt from recent residuals (Ledlie et al., NSDI 2007), in milliseconds.
    #[serde(rename = "a")]
    pub adjustment_ms: f32,
    /// How wrong the peer believes this to be: 0 (sure) to 1 (no idea).
    #[serde(rename = "e")]
    pub error: f32,
}

/// What is known of one peer.
#[derive(Debug, Default)]
struct Distance {
    samples: Samples,
    remote: Option<Coordinate>,
    touched: Time,
}

/// The distances of this peer to others, and of others to each other.
#[derive(Debug)]
pub struct Latency {
    me: PeerId,
    vivaldi: Vivaldi,
    peers: BTreeMap<PeerId, Distance>,
    /// The neighbour whose spring was relaxed last beside a fresh sample; the next one's turn comes after it.
    relaxed: Option<PeerId>,
}

impl Latency {
    /// Knows no distance yet.
    pub fn new(me: PeerId, seed: u64) -> Self {
        Self { me, vivaldi: Vivaldi::new(seed), peers: BTreeMap::new(), relaxed: None }
    }

    /// A round trip was measured; whether it was one that any path can have.
    pub fn sample(&mut self, now: Time, peer: PeerId, rtt: Duration) -> bool {
        peer != self.me && self.touch(now, peer).samples.push(rtt)
    }

    /// A peer said where it is; whether that can be a place.
    pub fn located(&mut self, now: Time, peer: PeerId, remote: Coordinate) -> bool {
        if peer == self.me || !remote.is_sane() {
            return false;
        }
        self.touch(now, peer).remote = Some(remote);
        true
    }

    /// A round trip was measured to a peer that said where it is: the own coordinate learns from it.
    pub fn observe(&mut self, now: Time, peer: PeerId, rtt: Duration, remote: Coordinate) -> bool {
        if !remote.is_sane() || !self.sample(now, peer, rtt) {
            return false;
        }
        self.located(now, peer, remote);
        self.learn_from(peer, 1.0);
        self.relax_another(now);
        true
    }

    /// Where this peer is, for others.
    pub fn coordinate(&self) -> Coordinate {
        self.vivaldi.coordinate()
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

    /// What the coordinates say of the round trip between two peers (either may be this one).
    pub fn predict(&self, a: PeerId, b: PeerId) -> Option<Duration> {
        Some(self.place(a)?.rtt_to(&self.place(b)?))
    }

    /// The best figure there is for the round trip to a peer: measured, else predicted.
    pub fn expected_rtt(&self, peer: PeerId) -> Option<Duration> {
        self.rtt(peer).or_else(|| self.predict(self.me, peer))
    }

    /// A peer is gone for good.
    pub fn forget(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    fn place(&self, peer: PeerId) -> Option<Coordinate> {
        if peer == self.me { Some(self.coordinate()) } else { self.peers.get(&peer)?.remote }
    }

    /// Relaxes the spring to a peer with the filtered distance, and learns the adjustment.
    fn learn_from(&mut self, peer: PeerId, weight: f64) {
        let Some(distance) = self.peers.get(&peer) else { return };
        let (Some(rtt), Some(remote)) = (distance.samples.filtered(), distance.remote) else { return };
        self.vivaldi.pull(rtt, &remote, weight);
        self.vivaldi.adjust(rtt, &remote);
    }

    /// Neighbour decay (Ledlie et al.): beside each fresh sample an older one pulls too, weaker the older it is, so that
    /// a neighbour that is heard often does not drag the coordinate to itself.
    fn relax_another(&mut self, now: Time) {
        let after = self.relaxed.and_then(|last| self.peers.range(last..).nth(1));
        let Some((peer, distance)) = after.or_else(|| self.peers.iter().next()) else { return };
        let peer = *peer;
        let age_s = now.since(distance.touched).as_secs_f64();
        self.relaxed = Some(peer);
        self.learn_from(peer, 1.0 / (1.0 + age_s / NEIGHBOUR_HALF_LIFE_S));
    }

    fn touch(&mut self, now: Time, peer: PeerId) -> &mut Distance {
        if !self.peers.contains_key(&peer) && self.peers.len() >= LATENCY_PEERS_MAX {
            let oldest = self.peers.iter().min_by_key(|(_, distance)| distance.touched).map(|(peer, _)| *peer);
            oldest.map(|peer| self.peers.remove(&peer));
        }
        let distance = self.peers.entry(peer).or_default();
        distance.touched = now;
        distance
    }
}

/// Age at which a remembered sample pulls half as much as a fresh one.
const NEIGHBOUR_HALF_LIFE_S: f64 = 60.0;

#[cfg(test)]
mod tests;
