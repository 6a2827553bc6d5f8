//! What is promised about tasks, and how it is checked on what users were told: in the simulator and on real processes alike.
//!
//! **Invariant:** a checker knows what was promised and nothing of how it is kept.
//! **Not here:** faults, and who tells of what; those are `sim::chaos`.

mod checks;
mod history;

use core::time::Duration;

use serde::Serialize;

pub(crate) use checks::{ended, is_beyond_promise, one_end};
pub(crate) use history::{Answer, End, Entry};

/// What is promised; the names are those of `docs/reliability.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Promise {
    /// I1: acknowledged means on disk, in as many copies as were asked for.
    Acknowledged,
    /// I2: what was acknowledged ends.
    NotLost,
    /// I3: whoever asks, whenever, gets the same end.
    OneEnd,
    /// I4: only the current attempt commits, whatever ran.
    OneCommit,
    /// I4: an attempt is given to one peer.
    OneRun,
    /// I2: an end without a result has a true reason.
    TrueReason,
    /// What is told as done is what the module answers.
    RightAnswer,
    /// I5: no reservation outlives its time.
    Reservations,
    /// I6: everything is bounded.
    Bounds,
    /// I7: the result can be had from any peer.
    Reachable,
    /// I7: what was kept for a time is forgotten after it.
    Retention,
    /// I8: all see each other once faults stop.
    Convergence,
    /// Once faults stop, what is handed in is taken on and ends as it should.
    Works,
    /// I10: no task runs where its user does not allow, and no byte goes where its labels do not.
    Residency,
    /// I11: the same seed gives the same trace.
    Determinism,
    /// A record that cannot be read is named.
    Damage,
    /// No peer stops by a fault of its own.
    NoPanic,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub seed: u64,
    pub promise: Promise,
    /// Who, which task, when.
    pub what: String,
}

/// Time for the peers to see each other again once the faults have stopped.
pub(crate) const CONVERGE_WITHIN: Duration = Duration::from_secs(10);
