//! Own awards that a peer's digest cannot contain yet.
//!
//! ```text
//! assigned ─► accepted ─► dropped by the next digest
//!     └───────────┴─────► settled: dropped at once
//! ```
//!
//! An award enters the peer's queue before `Accepted` is sent, so every digest made after that counts it: the one inside
//! `Accepted` is the first. Until then it is ours to add.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::config::{IN_FLIGHT_PER_PEER_MAX, WALL_MAX};
use crate::message::{LoadDigest, TaskRef};

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
    accepted: bool,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.awards.len()
    }

    pub(super) fn assigned(&mut self, attempt: TaskRef, work: Duration) {
        self.settled(attempt);
        if self.awards.len() >= IN_FLIGHT_PER_PEER_MAX {
            return; // a peer with this many on their way is not chosen for its short queue
        }
        let work = work.min(WALL_MAX);
        self.work += work;
        self.awards.insert(attempt, Award { work, accepted: false });
    }

    pub(super) fn accepted(&mut self, attempt: TaskRef) {
        if let Some(award) = self.awards.get_mut(&attempt) {
            award.accepted = true;
        }
    }

    pub(super) fn settled(&mut self, attempt: TaskRef) {
        if let Some(award) = self.awards.remove(&attempt) {
            self.work -= award.work;
        }
    }

    pub(super) fn drop_accepted(&mut self) {
        let work = &mut self.work;
        self.awards.retain(|_, award| {
            if award.accepted {
                *work -= award.work;
            }
            !award.accepted
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
