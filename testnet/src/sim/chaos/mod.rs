//! Everything that can go wrong, for ten minutes, by a seed; then nothing, and the promises are checked.
//!
//! ```text
//! seed ─► plan: climate, faults, submissions ─► mesh of shipped peers on simulated disks ─► history: what users were told
//!                                                                                             └─► checks ─► violations
//! ```
//!
//! The run has two parts. While faults go on, everything that must never happen is looked for. Then the faults end, crashed
//! machines start, and what must happen in the end has to: peers see each other again, tasks end, results can be fetched.
//!
//! **Invariant:** the same seed gives the same plan, the same run and the same verdict.
//! **Not here:** anything a peer decides.

mod afterwards;
mod checks;
mod history;
mod plan;
mod run;
mod truth;
mod users;
mod watch;

use core::time::Duration;
use std::collections::BTreeMap;

pub use plan::{Fault, Faults};
pub use run::run;

pub use crate::promises::{Promise, Violation};

/// How large a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub peers: usize,
    /// How long faults go on.
    pub minutes: u32,
    /// Of which kinds they are.
    pub faults: Faults,
}

impl Size {
    fn span(self) -> Duration {
        Duration::from_secs(u64::from(self.minutes) * 60)
    }
}

/// What came of one seed.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<Fault, u64>,
    pub submitted: u64,
    pub acknowledged: u64,
    /// Of those, the ones that no live copy was left of, by the faults' doing.
    pub copies_lost: u64,
    pub simulated: Duration,
    /// Hash of the whole trace, where it was kept.
    pub trace: String,
    /// What happened, in order; kept where a person will read it.
    pub story: Vec<String>,
}
