//! The promises about one task, one checker each.

use shoal_protocol::TaskId;
use shoal_protocol::task::durable::Durability;

use super::history::{End, Entry};

/// I3 and I4: all answers say the same.
pub(crate) fn one_end<E: End>(task: TaskId, entry: &Entry<E>) -> Option<String> {
    let (first, rest) = entry.answers.split_first()?;
    let other = rest.iter().find(|answer| answer.end != first.end)?;
    let (was, is) = (first.end.state(), other.end.state());
    Some(format!(
        "{task} ended twice: {was:?} told by peer {} at {:?}, {is:?} by peer {} at {:?}: {:?} and {:?}",
        first.by, first.at, other.by, other.at, first.end, other.end
    ))
}

/// I2 and I7 for one acknowledged task, after the last questions were answered.
pub(crate) fn ended<E: End>(task: TaskId, entry: &Entry<E>) -> Option<String> {
    entry.answers.is_empty().then(|| {
        format!("{task} ({:?}, home {}) was acknowledged and nobody tells its end", entry.durability, entry.home)
    })
}

/// Whether more was destroyed than the promise stands: so many copies, by machines and disks that are gone.
pub(crate) fn is_beyond_promise(durability: Durability, copies_destroyed: usize, is_home_lost: bool) -> bool {
    match durability {
        Durability::Memory => true,
        Durability::Disk => copies_destroyed > 0 || is_home_lost,
        Durability::Guarded => copies_destroyed > 1,
    }
}
