//! Own awards that a peer's digest cannot contain yet.
//!
//! ```text
//! assigned ─► known there ─► dropped by the next digest
//!     └────────────┴───────► settled: dropped at once
//! ```
//!
//! An award is in the peer's queue half a round trip after it left, and what we hear half a round trip later counts it.
//! Until then it is ours to add.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::config::{IN_FLIGHT_PER_PEER_MAX, WALL_MAX};
use crate::message::{LoadDigest, TaskRef};
use crate::time::Time;

/// Awards on their way to one peer.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    awards: BTreeMap<TaskRef, Award>,
    /// The sum of all `work`, so that a cost does not add up thousands.
    work: Duration,
}

#[derive(Debug)]
struct Award {
    work: Duration,
    /// What we hear from then on counts it.
    known_from: Time,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.awards.len()
    }

    pub(super) fn assigned(&mut self, attempt: TaskRef, work: Duration, known_from: Time) {
        self.settled(attempt);
        if self.awards.len() >= IN_FLIGHT_PER_PEER_MAX {
            return; // a peer with this many on their way is not chosen for its short queue
        }
        let work = work.min(WALL_MAX);
        self.work += work;
        self.awards.insert(attempt, Award { work, known_from });
    }

    pub(super) fn settled(&mut self, attempt: TaskRef) {
        if let Some(award) = self.awards.remove(&attempt) {
            self.work -= award.work;
        }
    }

    /// A digest came: it counts what was there when it was made.
    pub(super) fn heard(&mut self, now: Time) {
        let work = &mut self.work;
        self.awards.retain(|_, award| {
            let counted = award.known_from <= now;
            if counted {
                *work -= award.work;
            }
            !counted
        });
    }

    /// What the awards add to the wait of a task that arrives after them.
    ///
    /// Idle cores take the first ones at once. When all cores are taken by then, the next one to fall free is, for runs of
    /// a memoryless length, `1/cores` of a mean run away; each further award in line adds as much again.
    pub(super) fn wait(&self, digest: &LoadDigest) -> Duration {
        let awards = u32::try_from(self.awards.len()).unwrap_or(u32::MAX);
        let idle = if digest.queued > 0 { 0 } else { u32::from(digest.cores.saturating_sub(digest.running)) };
        if awards == 0 || awards < idle {
            return Duration::ZERO;
        }
        let mean = self.work / awards;
        let in_line = if idle == 0 { awards } else { awards - idle + 1 };
        mean * in_line / u32::from(digest.cores.max(1))
    }
}
