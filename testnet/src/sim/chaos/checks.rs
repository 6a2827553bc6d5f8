//! The promises, one checker each, on what users were told and on what lies on disks.
//!
//! **Invariant:** a checker knows what was promised and nothing of how it is kept.

use core::time::Duration;

use serde::Serialize;
use shoal_protocol::TaskId;
use shoal_protocol::task::durable::Durability;

use super::super::Sim;
use super::history::{Entry, state_of};

/// What is promised; the names are those of `docs/reliability.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Promise {
    /// I1: acknowledged means on disk, in as many copies as were asked for.
    Acknowledged,
    /// I2: what was acknowledged ends.
    NotLost,
    /// I3: whoever asks, whenever, gets the same end.
    OneEnd,
    /// I4: no second commit, whatever ran.
    OneCommit,
    /// I5: no reservation outlives its time.
    Reservations,
    /// I6: everything is bounded.
    Bounds,
    /// I7: the result can be had from any peer.
    Reachable,
    /// I8: all see each other once faults stop.
    Convergence,
    /// I11: the same seed gives the same trace.
    Determinism,
    /// No peer stops by a fault of its own.
    NoPanic,
}

/// Time for the peers to see each other again once the faults have stopped.
pub(super) const CONVERGE_WITHIN: Duration = Duration::from_secs(10);

/// Machines whose disk has a record about the task.
pub(super) fn copies(sim: &Sim, task: TaskId) -> usize {
    (0..sim.len()).filter(|index| has_record(sim, *index, task)).count()
}

pub(super) fn has_record(sim: &Sim, index: usize, task: TaskId) -> bool {
    sim.disk(index).is_some_and(|disk| disk.records().any(|(key, _)| key.ends_with(&task.0)))
}

/// I1, at the moment of the acknowledgement.
pub(super) fn acknowledged(sim: &Sim, entry: &Entry, task: TaskId) -> Option<String> {
    let wanted = match entry.durability {
        Durability::Memory => 0,
        Durability::Disk => 1,
        Durability::Guarded => 2,
    };
    let there = copies(sim, task);
    (there < wanted).then(|| format!("{task} was acknowledged with {there} of {wanted} copies on disk"))
}

/// I3 and I4: all answers say the same.
pub(super) fn one_end(task: TaskId, entry: &Entry) -> Option<String> {
    let (first, rest) = entry.answers.split_first()?;
    let other = rest.iter().find(|answer| answer.result != first.result)?;
    let (was, is) = (state_of(&first.result), state_of(&other.result));
    Some(format!(
        "{task} ended twice: {was:?} told by peer {} at {:?}, {is:?} by peer {} at {:?}: {:?} and {:?}",
        first.by, first.at, other.by, other.at, first.result, other.result
    ))
}

/// I2 and I7 for one acknowledged task, after the last questions were answered.
pub(super) fn ended(entry: &Entry, task: TaskId) -> Option<String> {
    entry.answers.is_empty().then(|| {
        format!("{task} ({:?}, home {}) was acknowledged and nobody tells its end", entry.durability, entry.home)
    })
}
