//! What a peer holds of everything that has a bound, so that whoever watches it can compare.
//!
//! **Invariant:** no holding is over its bound, whatever was said to the peer.

use core::time::Duration;

use super::Peer;
use crate::time::Time;

/// How much of something a peer holds, and how much it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Of what.
    pub what: &'static str,
    /// So much.
    pub held: usize,
    /// At most so much.
    pub max: usize,
}

impl Peer {
    /// Everything bounded that tasks take up here.
    pub fn holdings(&self) -> Vec<Holding> {
        let (held, max) = self.holders.held_and_max();
        let blobs = Holding { what: "blobs whose holders are known", held, max };
        let tasks = self.executing.holdings().into_iter().chain(self.requester.holdings());
        tasks.chain(self.pipelines.holdings()).chain([blobs]).collect()
    }

    /// How long the oldest reservation has outlived its time.
    pub fn overdue_reservation(&self, now: Time) -> Option<Duration> {
        self.executing.overdue_reservation(now)
    }
}
