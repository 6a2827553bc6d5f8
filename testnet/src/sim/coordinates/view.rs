//! Whom a peer stays connected to: the nearest and some at random, as the daemon's view does, and how it finds them.
//!
//! Now and then a peer tells a neighbour of a few of its others with their coordinates: those it believes nearest to *that
//! neighbour*, and some at random (as in T-Man, Jelasity et al. 2009). A peer that hears of one nearer than the farthest
//! of its near ones calls it, and lets the worst neighbour go.
//!
//! **Invariant:** a peer knows at most [`PASSIVE_MAX`] others than its neighbours, and remembers of each
//! neighbour at most [`TOLD_MAX`] it told it of.
//! **Not here:** what connects two peers. That is `mesh.rs`.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use shoal_protocol::config::{PASSIVE_MAX, VIEW_NEAR_MAX, VIEW_RANDOM_MAX, VIEW_SLACK};
use shoal_protocol::latency::{Coordinate, Latency};
use shoal_protocol::{PeerId, Time};

/// Neighbours a view holds.
pub(super) const VIEW: usize = VIEW_NEAR_MAX + VIEW_RANDOM_MAX;
/// A new neighbour has this long to show how near it is.
const SETTLING: Duration = Duration::from_secs(3);
/// A peer that was let go, or could not be reached, is not called for so long.
const REST: Duration = Duration::from_secs(120);
/// A peer is called when it is nearer than the farthest near neighbour by this much: coordinates are not that sure.
const NEARER: f64 = 0.9;
/// Peers a neighbour is not told of again.
const TOLD_MAX: usize = 64;

/// What a peer keeps of whom.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Neighbours, and since when.
    connected: BTreeMap<PeerId, Time>,
    /// Others it heard of, and when.
    passive: BTreeMap<PeerId, Time>,
    /// Not to be called before.
    rests: BTreeMap<PeerId, Time>,
    told: BTreeMap<PeerId, VecDeque<PeerId>>,
}

impl View {
    pub(super) fn connected(&mut self, now: Time, peer: PeerId) {
        self.passive.remove(&peer);
        self.connected.insert(peer, now);
    }

    /// A neighbour is none any more, or somebody could not be reached; it is not called for a while.
    pub(super) fn apart(&mut self, now: Time, peer: PeerId) {
        self.connected.remove(&peer);
        self.told.remove(&peer);
        self.rests.retain(|_, until| *until > now);
        self.rests.insert(peer, now + REST);
    }

    pub(super) fn is_connected(&self, peer: PeerId) -> bool {
        self.connected.contains_key(&peer)
    }

    /// Since when there is a connection.
    pub(super) fn since(&self, peer: PeerId) -> Option<Time> {
        self.connected.get(&peer).copied()
    }

    pub(super) fn neighbours(&self) -> impl Iterator<Item = PeerId> {
        self.connected.keys().copied()
    }

    /// One of the neighbours.
    pub(super) fn any(&self, rng: &mut Pcg64Mcg) -> Option<PeerId> {
        let count = self.connected.len();
        (count > 0).then(|| self.connected.keys().nth(rng.random_range(0..count)).copied())?
    }

    /// Some neighbours that `to` was not told of lately: the nearest to it, the most like it, and others; they count as
    /// told.
    pub(super) fn untold(&mut self, to: PeerId, count: usize, latency: &Latency, rng: &mut Pcg64Mcg) -> Vec<PeerId> {
        let told = self.told.entry(to).or_default();
        let is_news = |peer: &PeerId| *peer != to && !told.contains(peer);
        let mut others: Vec<PeerId> = self.connected.keys().copied().filter(is_news).collect();
        let mut chosen = Vec::new();
        if let Some(there) = latency.place(to) {
            let key = |peer: &PeerId, of: fn(&Coordinate, &Coordinate) -> Duration| {
                latency.place(*peer).map_or(Duration::MAX, |place| of(&there, &place))
            };
            take_min(&mut others, &mut chosen, |peer| key(peer, Coordinate::rtt_to));
            take_min(&mut others, &mut chosen, |peer| key(peer, Coordinate::unlike));
        }
        while chosen.len() < count && !others.is_empty() {
            chosen.push(others.swap_remove(rng.random_range(0..others.len())));
        }
        told.extend(&chosen);
        while told.len() > TOLD_MAX {
            told.pop_front();
        }
        chosen
    }

    /// A neighbour told of a peer.
    pub(super) fn heard_of(&mut self, now: Time, peer: PeerId) {
        if self.is_connected(peer) {
            return;
        }
        if !self.passive.contains_key(&peer) && self.passive.len() >= PASSIVE_MAX {
            let oldest = self.passive.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer);
            oldest.map(|peer| self.passive.remove(&peer));
        }
        self.passive.insert(peer, now);
    }

    /// Somebody worth calling: the nearest peer that is nearer than the farthest near neighbour, or anybody while there
    /// is room.
    pub(super) fn nearer(&self, now: Time, latency: &Latency) -> Option<PeerId> {
        let predictor = latency.predictor();
        let expected = |peer| latency.rtt(peer).or_else(|| Some(predictor.rtt_to(peer, &latency.place(peer)?)));
        let (rtt, peer) = self.callable(now).filter_map(|peer| Some((expected(peer)?, peer))).min()?;
        (rtt < self.farthest_near(latency).mul_f64(NEARER) || self.connected.len() < VIEW).then_some(peer)
    }

    /// Somebody never measured who may be next door, because we look alike from afar.
    pub(super) fn alike(&self, now: Time, latency: &Latency) -> Option<PeerId> {
        let here = latency.coordinate();
        let strangers = self.callable(now).filter(|peer| latency.rtt(*peer).is_none());
        let (unlike, peer) = strangers.filter_map(|peer| Some((latency.place(peer)?.unlike(&here), peer))).min()?;
        (unlike < self.farthest_near(latency) / 4).then_some(peer)
    }

    fn callable(&self, now: Time) -> impl Iterator<Item = PeerId> {
        let may_call = move |peer: &&PeerId| self.rests.get(peer).is_none_or(|until| *until <= now);
        self.passive.keys().filter(may_call).copied()
    }

    /// The near neighbours, in no order of distance.
    pub(super) fn near(&self, latency: &Latency) -> Vec<PeerId> {
        let mut near: Vec<PeerId> =
            self.by_rtt(latency).into_iter().take(VIEW_NEAR_MAX).map(|(_, peer)| peer).collect();
        near.sort_unstable();
        near
    }

    fn farthest_near(&self, latency: &Latency) -> Duration {
        self.by_rtt(latency).get(VIEW_NEAR_MAX - 1).map_or(Duration::MAX, |(rtt, _)| *rtt)
    }

    /// The neighbour to let go, when there are more than the view and its slack hold: among those outside the nearest,
    /// the one whose pair has the highest rank, as the daemon does.
    pub(super) fn one_too_many(&self, now: Time, me: PeerId, latency: &Latency) -> Option<PeerId> {
        if self.connected.len() <= VIEW + VIEW_SLACK {
            return None;
        }
        let far = self.by_rtt(latency).into_iter().skip(VIEW_NEAR_MAX).map(|(_, peer)| peer);
        let settled = far.filter(|peer| self.connected.get(peer).is_some_and(|since| now.since(*since) >= SETTLING));
        settled.max_by_key(|peer| pair_rank(me, *peer))
    }

    fn by_rtt(&self, latency: &Latency) -> Vec<(Duration, PeerId)> {
        let rtt = |peer| latency.rtt(peer).unwrap_or(Duration::MAX);
        let mut peers: Vec<(Duration, PeerId)> = self.neighbours().map(|peer| (rtt(peer), peer)).collect();
        peers.sort_unstable();
        peers
    }
}

fn take_min(from: &mut Vec<PeerId>, to: &mut Vec<PeerId>, key: impl Fn(&PeerId) -> Duration) {
    if let Some(least) = (0..from.len()).min_by_key(|i| key(&from[*i])) {
        to.push(from.swap_remove(least));
    }
}

/// A number that both ends of a pair reckon alike.
fn pair_rank(a: PeerId, b: PeerId) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&a.min(b).0).update(&a.max(b).0);
    let mut rank = [0; 8];
    rank.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(rank)
}
