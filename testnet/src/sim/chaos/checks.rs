//! What lies on the simulated disks, against what was promised of it.
//!
//! **Not here:** what is checked on what users were told; that is `promises`.

use shoal_protocol::TaskId;
use shoal_protocol::task::durable::Durability;

use super::super::Sim;
use super::history::Ending;
use crate::promises::Entry;

/// Whether a machine has a record about the task on its disk.
pub(super) fn has_record(sim: &Sim, index: usize, task: TaskId) -> bool {
    sim.disk(index).is_some_and(|disk| disk.records().any(|(key, _)| key.ends_with(&task.0)))
}

/// Whether a machine is to decide on the end of a task, as its home has it while it runs.
pub(super) fn is_member(sim: &Sim, home: usize, index: usize, task: TaskId) -> bool {
    let council = sim.peer(home).map(|peer| peer.council_of(task)).unwrap_or_default();
    council.contains(&sim.id(index))
}

/// I1, at the moment of the acknowledgement.
pub(super) fn acknowledged(there: usize, entry: &Entry<Ending>, task: TaskId) -> Option<String> {
    let wanted = match entry.durability {
        Durability::Memory => 0,
        Durability::Disk => 1,
        Durability::Guarded => 2,
    };
    (there < wanted).then(|| format!("{task} was acknowledged with {there} of {wanted} copies on disk"))
}
