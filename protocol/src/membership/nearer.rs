//! Who would be a nearer neighbour: the search that turns a view of strangers into one of neighbours, as in T-Man (Jelasity
//! et al., Computer Networks 2009).
//!
//! Records come with where their peers are; a neighbour is told first of those nearest to *it*, and of those most like it:
//! two machines behind one long access link are far apart by their heights and yet side by side. Who hears of a peer
//! nearer than the farthest of its near neighbours, or of one that looks alike, calls it; `view.rs` lets the worst go.
//!
//! **Invariant:** at most two calls a round, and rounds that found nobody follow each other by pauses that double up to
//! [`PAUSE_MAX`]. A mesh that fits the view is not searched: everybody is connected.
//! **Not here:** coordinates. What they are worth is `latency`'s business; a call measures.

use core::time::Duration;

use super::neighbour::Record;
use super::{Lent, Membership, Neighbour};
use crate::certificate::Role;
use crate::config::VIEW_NEAR_MAX;
use crate::id::PeerId;
use crate::latency::{Coordinate, Latency};
use crate::output::PeerState;
use crate::rng::some_of;
use crate::time::Time;

const PAUSE_MIN: Duration = Duration::from_secs(10);
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// A peer is called when it is nearer than the farthest near neighbour by this much: coordinates are not that sure.
const NEARER: f64 = 0.9;
/// One that looks alike is called when it is no more unlike than this share of the way to the farthest near neighbour.
const ALIKE: f64 = 0.25;

/// How the search goes.
#[derive(Debug)]
pub(super) struct Search {
    pause: Duration,
    /// Who was called in the last round.
    called: Vec<PeerId>,
}

impl Default for Search {
    fn default() -> Self {
        Self { pause: PAUSE_MIN, called: Vec::new() }
    }
}

impl Search {
    /// Until the next round.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }
}

impl Membership {
    /// One round: was the last one worth it, and who is to be called now?
    pub(super) fn search(&mut self, lent: &mut Lent<'_>) {
        if self.leaving || self.me.role == Role::Cloud || self.whole_mesh_fits() {
            return;
        }
        let near = self.near(lent.latency);
        let was_worth_it = self.search.called.iter().any(|called| near.iter().any(|(_, peer)| peer == called));
        self.search.pause = if was_worth_it { PAUSE_MIN } else { (self.search.pause * 2).min(PAUSE_MAX) };
        let farthest = near.get(VIEW_NEAR_MAX - 1).map_or(Duration::MAX, |(rtt, _)| *rtt);
        let mut called: Vec<PeerId> = self.nearer(lent.now, lent.latency, farthest).into_iter().collect();
        called.extend(self.alike(lent.now, lent.latency, farthest).filter(|peer| !called.contains(peer)));
        for peer in &called {
            self.dial(lent, *peer);
        }
        self.search.called = called;
    }

    /// The nearest neighbours of the edge, the nearest first.
    fn near(&self, latency: &Latency) -> Vec<(Duration, PeerId)> {
        let edges = self.known.values().filter(|known| known.connected && known.member.role == Role::Edge);
        let rtt = |known: &Neighbour| Some((latency.rtt(known.member.peer)?, known.member.peer));
        let mut near: Vec<(Duration, PeerId)> = edges.filter_map(rtt).collect();
        near.sort_unstable();
        near.truncate(VIEW_NEAR_MAX);
        near
    }

    fn nearer(&self, now: Time, latency: &Latency, farthest: Duration) -> Option<PeerId> {
        let predictor = latency.predictor();
        let expected = |peer| latency.rtt(peer).or_else(|| Some(predictor.rtt_to(peer, &latency.place(peer)?)));
        let nearest = self.callable(now).filter_map(|peer| Some((expected(peer)?, peer))).min();
        nearest.filter(|(rtt, _)| *rtt < farthest.mul_f64(NEARER)).map(|(_, peer)| peer)
    }

    fn alike(&self, now: Time, latency: &Latency, farthest: Duration) -> Option<PeerId> {
        let here = latency.coordinate();
        let strangers = self.callable(now).filter(|peer| latency.rtt(*peer).is_none());
        let most = strangers.filter_map(|peer| Some((latency.place(peer)?.unlike(&here), peer))).min();
        most.filter(|(unlike, _)| *unlike < farthest.mul_f64(ALIKE)).map(|(_, peer)| peer)
    }

    fn callable(&self, now: Time) -> impl Iterator<Item = PeerId> {
        let is_here = |known: &&Neighbour| match known.state {
            PeerState::Alive | PeerState::Suspect => true,
            PeerState::Dead | PeerState::Left => false,
        };
        let others = self.known.values().filter(is_here).filter(move |known| {
            let may_call = !known.connected && !known.backoff.is_calling() && known.backoff.due() <= now;
            may_call && known.member.role == Role::Edge && !known.addresses.is_empty()
        });
        others.map(|known| known.member.peer)
    }
}

/// The records that serve `to` most: the peer nearest to it, the one most like it, and others by chance.
pub(super) fn most_useful<'r>(
    lent: &mut Lent<'_>,
    to: PeerId,
    mut records: Vec<&'r Record>,
    count: usize,
) -> Vec<&'r Record> {
    let mut chosen = Vec::new();
    if let Some(there) = lent.latency.place(to) {
        let mut places: Vec<_> = records.iter().map(|record| lent.latency.place(record.signed.peer)).collect();
        for apart in [Coordinate::rtt_to, Coordinate::unlike] {
            let from_there = |place: &Option<Coordinate>| place.map_or(Duration::MAX, |place| apart(&there, &place));
            let best = (0..records.len()).filter(|_| chosen.len() < count).min_by_key(|i| from_there(&places[*i]));
            chosen.extend(best.map(|i| (places.swap_remove(i), records.swap_remove(i)).1));
        }
    }
    let rest = count - chosen.len();
    chosen.extend(some_of(lent.rng, records, rest));
    chosen
}
