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
use crate::time::{Time, micros};

/// Of more awards than this on their way to one peer, how they share its cores is not looked at one by one: each ranking asks.
const ONE_BY_ONE_MAX: usize = 16;

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

    /// When a core of a peer `rtt` away is free of them, counted from now, if nobody else gives it work; nothing where one is
    /// left over. Whatever else is believed of it, a task that follows them does not start before.
    pub(super) fn free_in(&self, now: Time, rtt: Duration, cores: u16) -> Duration {
        let cores = usize::from(cores.max(1));
        if self.awards.len() < cores || self.awards.len() > ONE_BY_ONE_MAX {
            return Duration::ZERO;
        }
        let back = micros(rtt / 2);
        let arrives = |award: &Award| award.known_from.as_micros().saturating_sub(back);
        let mut awards: Vec<(u64, Duration)> = self.awards.values().map(|award| (arrives(award), award.work)).collect();
        awards.sort_unstable();
        let mut free = vec![0; cores];
        for (arrives, work) in awards {
            if let Some(core) = free.iter_mut().min() {
                *core = arrives.max(*core).saturating_add(micros(work));
            }
        }
        let first = free.into_iter().min().unwrap_or_default();
        Duration::from_micros(first.saturating_sub(now.as_micros()))
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
