//! What lies on the simulated disks, against what was promised of it.
//!
//! **Not here:** what is checked on what users were told; that is `promises`.

use shoal_protocol::task::durable::Durability;
use shoal_protocol::{PeerId, TaskId};

use super::super::Sim;
use super::history::Ending;
use crate::promises::Entry;

/// Whether a machine has a record about the task on its disk.
pub(super) fn has_record(sim: &Sim, index: usize, task: TaskId) -> bool {
    sim.disk(index).is_some_and(|disk| disk.records().any(|(key, _)| key.ends_with(&task.0)))
}

/// Who is to decide on the end of a task, as whoever runs and knows it has it.
pub(super) fn council(sim: &Sim, task: TaskId) -> Vec<PeerId> {
    let councils = (0..sim.len()).filter_map(|index| Some(sim.peer(index)?.council_of(task)));
    councils.into_iter().find(|council| !council.is_empty()).unwrap_or_default()
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
