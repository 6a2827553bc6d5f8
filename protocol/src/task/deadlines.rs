//! What is due when: at most one deadline a key, the earliest first.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// Deadlines by key.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    by_key: BTreeMap<K, Time>,
    by_time: BTreeSet<(Time, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Sets or moves the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Time) {
        self.clear(&key);
        self.by_key.insert(key, at);
        self.by_time.insert((at, key));
    }

    /// Nothing is due for `key` any more.
    pub(crate) fn clear(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, *key));
        }
    }

    /// Whether there is a deadline for `key`.
    pub(crate) fn has(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// Takes the earliest key that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.clear(&key);
        Some(key)
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_deadline_fires_once_at_its_new_time() {
        let mut deadlines = Deadlines::default();
        deadlines.set('a', Time(5));
        deadlines.set('b', Time(7));
        deadlines.set('a', Time(9));

        assert_eq!(deadlines.pop_due(Time(6)), None);
        assert_eq!(deadlines.next(), Some(Time(7)));
        assert_eq!(
            [deadlines.pop_due(Time(9)), deadlines.pop_due(Time(9)), deadlines.pop_due(Time(9))],
            [Some('b'), Some('a'), None]
        );
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn what_is_overdue_is_due_and_what_is_cleared_is_not() {
        let mut deadlines = Deadlines::default();
        deadlines.set('a', Time(5));
        deadlines.set('b', Time(6));
        deadlines.clear(&'a');

        assert_eq!([deadlines.pop_due(Time(1_000)), deadlines.pop_due(Time(1_000))], [Some('b'), None]);
    }
}
