//! The disk of one machine: what is synced survives its processes.
//!
//! Batches become durable in their order, each as a whole. A crash comes before or after the sync of what was ordered:
//! a first part of it is there afterwards, though nobody was told.
//!
//! **Invariant:** nothing that was answered with `Persisted` is missing after a crash.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use rand::{Rng, RngExt};
use shoal_protocol::store::{Change, Ticket};
use shoal_protocol::{Input, Time};

/// What is wrong with a disk for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No space left.
    Full,
    /// Every write fails.
    Errors,
}

/// Records by key, and what was ordered and is not synced yet.
#[derive(Debug)]
pub struct Disk {
    /// The bytes under each key, and since when something has stood there.
    records: BTreeMap<Vec<u8>, (Time, Vec<u8>)>,
    unsynced: VecDeque<(Ticket, Vec<Change>)>,
    /// When the last batch that was ordered will be synced.
    synced_at: Time,
    /// One sync.
    pub(super) sync: Duration,
    pub(super) trouble: Option<Trouble>,
    /// The batch whose write failed: nobody knows whether it is there, and nothing is written after it until the next start.
    perhaps: Option<Vec<Change>>,
    starts: u32,
}

impl Disk {
    pub(super) fn new(sync: Duration) -> Self {
        Self {
            records: BTreeMap::new(),
            unsynced: VecDeque::new(),
            synced_at: Time::ZERO,
            sync,
            trouble: None,
            perhaps: None,
            starts: 0,
        }
    }

    /// What a process that starts now finds.
    pub(super) fn start(&mut self, unix_ms: u64) -> Input {
        self.starts += 1;
        let records = self.records.iter().map(|(key, (_, bytes))| (key.clone(), bytes.clone())).collect();
        Input::Restored { records, boot: self.starts, unix_ms }
    }

    /// Takes in a batch: when it is done.
    pub(super) fn order(&mut self, now: Time, ticket: Ticket, changes: Vec<Change>) -> Time {
        self.unsynced.push_back((ticket, changes));
        self.synced_at = self.synced_at.max(now + self.sync);
        self.synced_at
    }

    /// The oldest batch is done; the answer, if it is the one.
    pub(super) fn synced(&mut self, now: Time, ticket: Ticket) -> Option<Input> {
        let (oldest, changes) = self.unsynced.pop_front()?;
        debug_assert_eq!(oldest, ticket, "batches are done in their order");
        let reason = match self.trouble {
            _ if self.perhaps.is_some() => "input/output error",
            Some(Trouble::Full) => "no space left on device",
            Some(Trouble::Errors) => {
                self.perhaps = Some(changes);
                "input/output error"
            }
            None => {
                self.apply(now, changes);
                return Some(Input::Persisted { ticket: oldest });
            }
        };
        Some(Input::PersistFailed { ticket: oldest, reason: reason.into() })
    }

    /// Whether nothing is written until the next start.
    pub(super) fn is_closed(&self) -> bool {
        self.perhaps.is_some()
    }

    /// The machine stops: some of what was ordered is there, in its order.
    pub(super) fn crash(&mut self, now: Time, rng: &mut impl Rng) {
        let there = match (self.trouble, &self.perhaps) {
            (None, None) => rng.random_range(0..=self.unsynced.len()),
            _ => 0,
        };
        if let Some(changes) = self.perhaps.take().filter(|_| rng.random_bool(0.5)) {
            self.apply(now, changes);
        }
        for (_, changes) in core::mem::take(&mut self.unsynced).into_iter().take(there) {
            self.apply(now, changes);
        }
    }

    fn apply(&mut self, now: Time, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, bytes } => self.records.entry(key).or_insert_with(|| (now, Vec::new())).1 = bytes,
                Change::Delete { key } => drop(self.records.remove(&key)),
            }
        }
    }

    /// Everything on it.
    pub fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.iter().map(|(key, (_, bytes))| (key.as_slice(), bytes.as_slice()))
    }

    /// Since when there has been a record under a key.
    pub fn since(&self, key: &[u8]) -> Option<Time> {
        self.records.get(key).map(|(since, _)| *since)
    }

    /// Flips one bit of one record; the key of that record, and what it was.
    pub(super) fn flip_a_bit(&mut self, rng: &mut impl Rng) -> Option<(Vec<u8>, Vec<u8>)> {
        let at = rng.random_range(0..self.records.len().max(1));
        let (key, (_, bytes)) = self.records.iter_mut().nth(at)?;
        let was = bytes.clone();
        let byte = rng.random_range(0..bytes.len().max(1));
        *bytes.get_mut(byte)? ^= 1 << rng.random_range(0..8);
        Some((key.clone(), was))
    }
}
