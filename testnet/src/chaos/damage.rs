//! A store at rest, as a file of bytes: what of which task is in it, and what damage does to it.
//!
//! **Not here:** the format. That a record's key stands in the file as it is, is all that is known of it.

use std::collections::{BTreeMap, BTreeSet};

use shoal_protocol::TaskId;

use super::plan::Damage;

const ID_BYTES: usize = size_of::<TaskId>();
/// The kinds of records a task has; the first byte of their keys.
const KINDS: &[u8] = b"tic";
/// Bytes around a key that are likely to be of its record.
const NEAR: usize = 64;

/// Records of tasks, by their keys.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeSet<(TaskId, u8)>);

impl Records {
    pub(super) fn add(&mut self, bytes: &[u8], tasks: &[TaskId]) {
        self.0.extend(keys(bytes, tasks).map(|(_, key)| key));
    }

    /// Tasks of which this has a record that the other has not. Pages that are not used any more may count as well: then
    /// more is taken for destroyed than was.
    pub(super) fn missing_from(&self, other: &Self) -> BTreeSet<TaskId> {
        self.0.difference(&other.0).map(|(task, _)| *task).collect()
    }
}

/// Where the keys of these tasks stand in a file.
fn keys(bytes: &[u8], tasks: &[TaskId]) -> impl Iterator<Item = (usize, (TaskId, u8))> {
    let known: BTreeMap<[u8; ID_BYTES], TaskId> = tasks.iter().map(|task| (task.0, *task)).collect();
    bytes.windows(ID_BYTES + 1).enumerate().filter_map(move |(at, window)| {
        let (kind, id) = window.split_first().filter(|(kind, _)| KINDS.contains(kind))?;
        let task = known.get(&<[u8; ID_BYTES]>::try_from(id).ok()?)?;
        Some((at, (*task, *kind)))
    })
}

pub(super) fn apply(mut bytes: Vec<u8>, tasks: &[TaskId], how: Damage) -> Vec<u8> {
    let of = |share: f64, count: usize| ((count as f64 * share) as usize).min(count.saturating_sub(1));
    match how {
        Damage::Truncate(share) => bytes.truncate(of(share, bytes.len())),
        Damage::Flip(place, bit) => {
            let places: Vec<usize> = keys(&bytes, tasks).map(|(at, _)| at).collect();
            // A file without a task has a first page at least.
            let place = places.get(of(place, places.len())).copied().unwrap_or(NEAR);
            let bit = of(bit, NEAR * 8);
            if let Some(byte) = bytes.get_mut(place + bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TaskId = TaskId([1; 16]);
    const TWO: TaskId = TaskId([2; 16]);

    fn file(keys: &[(u8, TaskId)]) -> Vec<u8> {
        let mut bytes = vec![0; 100];
        for (kind, task) in keys {
            bytes.push(*kind);
            bytes.extend(task.0);
            bytes.extend([9; 70]);
        }
        bytes
    }

    #[test]
    fn a_task_is_destroyed_when_one_of_its_records_is_missing() {
        let (mut before, mut after) = (Records::default(), Records::default());
        before.add(&file(&[(b't', ONE), (b'c', ONE), (b't', TWO)]), &[ONE, TWO]);
        after.add(&file(&[(b't', ONE)]), &[ONE, TWO]);
        after.add(&file(&[(b't', TWO)]), &[ONE, TWO]);

        assert_eq!(before.missing_from(&after), BTreeSet::from([ONE]));
        assert_eq!(after.missing_from(&before), BTreeSet::new());
    }

    #[test]
    fn damage_changes_one_bit_or_cuts_the_end_off() {
        let bytes = file(&[(b't', ONE), (b'c', TWO)]);
        let tasks = [ONE, TWO];

        for share in [0.0, 0.5, 0.999] {
            let flipped = apply(bytes.clone(), &tasks, Damage::Flip(share, share));
            let bits: u32 = flipped.iter().zip(&bytes).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!((flipped.len(), bits), (bytes.len(), 1));
        }
        assert!(bytes.starts_with(&apply(bytes.clone(), &tasks, Damage::Truncate(0.5))));
        assert_eq!(apply(bytes.clone(), &tasks, Damage::Truncate(0.5)).len(), bytes.len() / 2);
    }
}
