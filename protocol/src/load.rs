//! What each peer last said of its spare capacity, corrected by what this peer knows better; and who must be told of ours.
//!
//! A digest is a prediction (*a task arriving now would start in X*), so it ages by itself. Between two digests this peer
//! corrects it by its own awards that the digest cannot contain yet.
//!
//! **Invariant:** a digest is kept only if [`LoadDigest::is_sane`]; all that is remembered has a bound in `config.rs`.
//! **Not here:** making the own digest. That is the executor's queue.

mod in_flight;
mod publish;
pub(crate) mod sanity;

use core::time::Duration;
use std::collections::BTreeMap;

use self::in_flight::InFlight;
use self::publish::Published;
use crate::config::LOAD_PEERS_MAX;
use crate::id::PeerId;
use crate::message::{LoadDigest, TaskRef};
use crate::time::Time;

/// Load of the neighbours, as far as this peer knows.
#[derive(Debug, Default)]
pub struct LoadView {
    peers: BTreeMap<PeerId, PeerLoad>,
}

/// Both directions of what is known between this peer and another.
#[derive(Debug, Default)]
struct PeerLoad {
    touched: Time,
    heard: Option<Heard>,
    in_flight: InFlight,
    published: Option<Published>,
}

#[derive(Debug)]
struct Heard {
    digest: LoadDigest,
    at: Time,
    /// Digests of an earlier life of the peer may have had any sequence.
    connection_over: bool,
}

impl LoadView {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A peer spoke of its load. False, and nothing changes, for a digest that cannot be true or is not newer.
    ///
    /// Drops the awards that [`LoadView::accepted`] marked: this digest contains them. So for a message that is both
    /// (`Accepted`, `Outcome`), call `accepted` or `settled` first.
    pub fn heard(&mut self, now: Time, peer: PeerId, digest: LoadDigest) -> bool {
        if !digest.is_sane() {
            return false;
        }
        let load = self.touch(now, peer);
        if load.heard.as_ref().is_some_and(|last| !last.connection_over && digest.sequence <= last.digest.sequence) {
            return false;
        }
        load.in_flight.drop_accepted();
        load.heard = Some(Heard { digest, at: now, connection_over: false });
        true
    }

    /// What the peer last said.
    pub fn digest(&self, peer: PeerId) -> Option<&LoadDigest> {
        Some(&self.peers.get(&peer)?.heard.as_ref()?.digest)
    }

    /// How long ago it said so.
    pub fn age(&self, now: Time, peer: PeerId) -> Option<Duration> {
        Some(now.since(self.peers.get(&peer)?.heard.as_ref()?.at))
    }

    /// When a task arriving there now would start: what it said, less the time that passed, plus our own awards that it
    /// did not count yet.
    pub fn start_in(&self, now: Time, peer: PeerId) -> Option<Duration> {
        let load = self.peers.get(&peer)?;
        let heard = load.heard.as_ref()?;
        Some(heard.digest.start_in.saturating_sub(now.since(heard.at)) + load.in_flight.wait(&heard.digest))
    }

    /// Own awards to the peer that its digest does not contain yet.
    pub fn in_flight(&self, peer: PeerId) -> usize {
        self.peers.get(&peer).map_or(0, |load| load.in_flight.len())
    }

    /// A task was awarded to the peer; `work` is the time it will hold a core *there*.
    pub fn assigned(&mut self, now: Time, peer: PeerId, attempt: TaskRef, work: Duration) {
        self.touch(now, peer).in_flight.assigned(attempt, work);
    }

    /// The peer took the award into its queue: from its next digest on it counts it itself.
    pub fn accepted(&mut self, peer: PeerId, attempt: TaskRef) {
        if let Some(load) = self.peers.get_mut(&peer) {
            load.in_flight.accepted(attempt);
        }
    }

    /// The award came to an end (run, declined, lost): it weighs on the peer no more.
    pub fn settled(&mut self, peer: PeerId, attempt: TaskRef) {
        if let Some(load) = self.peers.get_mut(&peer) {
            load.in_flight.settled(attempt);
        }
    }

    /// A new connection: the peer may have restarted and count its digests anew, and it may have forgotten ours.
    pub fn reconnected(&mut self, peer: PeerId) {
        if let Some(load) = self.peers.get_mut(&peer) {
            load.published = None;
            if let Some(heard) = &mut load.heard {
                heard.connection_over = true;
            }
        }
    }

    /// A peer is gone.
    pub fn forget(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// Whether `to` would decide wrongly by what it last heard from us: see `publish.rs` for the rule.
    pub fn should_publish(&self, now: Time, to: PeerId, current: &LoadDigest) -> bool {
        match self.peers.get(&to).and_then(|load| load.published.as_ref()) {
            Some(published) => published.misleads(now, current),
            None => true,
        }
    }

    /// `digest` was sent to `to`, in whatever message.
    pub fn published(&mut self, now: Time, to: PeerId, digest: &LoadDigest) {
        self.touch(now, to).published = Some(Published::new(now, digest));
    }

    /// The digest to add to a message to `to`, when it is worth its bytes; it counts as sent.
    pub fn publish(&mut self, now: Time, to: PeerId, current: &LoadDigest) -> Option<LoadDigest> {
        if !self.should_publish(now, to, current) {
            return None;
        }
        self.published(now, to, current);
        Some(current.clone())
    }

    fn touch(&mut self, now: Time, peer: PeerId) -> &mut PeerLoad {
        if !self.peers.contains_key(&peer) && self.peers.len() >= LOAD_PEERS_MAX {
            let oldest = self.peers.iter().min_by_key(|(_, load)| load.touched).map(|(peer, _)| *peer);
            oldest.map(|peer| self.peers.remove(&peer));
        }
        let load = self.peers.entry(peer).or_default();
        load.touched = now;
        load
    }
}

#[cfg(test)]
mod tests;
