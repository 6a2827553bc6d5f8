//! What a stream's parts say of themselves, for whoever asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Note {
    Source,
    /// Of a session that the broker had forgotten: it stays.
    Session,
    Disk,
    Work,
    Sink,
    Successor,
    /// It cannot go on.
    Failed,
}

/// Counts and words; shared by the tasks of one stream.
#[derive(Debug, Default)]
pub(super) struct Status {
    notes: Mutex<BTreeMap<Note, String>>,
    repeated: AtomicU64,
    refused: AtomicU64,
    connections: AtomicU64,
    /// The stream took records before this peer was started.
    goes_on: bool,
}

impl Status {
    pub(super) fn new(goes_on: bool) -> Self {
        Self { goes_on, ..Self::default() }
    }

    fn notes_now(&self) -> MutexGuard<'_, BTreeMap<Note, String>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is wrong, or waited for.
    pub(super) fn note(&self, who: Note, what: String) {
        self.notes_now().insert(who, what);
    }

    /// It is not any more.
    pub(super) fn clear(&self, who: Note) {
        self.notes_now().remove(&who);
    }

    /// The source is reached.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.clear(Note::Source);
    }

    /// The same of a source that is reached once for all.
    pub(super) fn connected_once(&self) {
        let _ = self.connections.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
        self.clear(Note::Source);
    }

    /// Whether a broker should know this client.
    pub(super) fn has_connected(&self) -> bool {
        self.goes_on || self.connections() > 0
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn repeated(&self, count: u64) {
        self.repeated.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, count: u64) {
        self.refused.fetch_add(count, Ordering::Relaxed);
    }

    /// Records that were repeated, and those that were refused.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.repeated.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    pub(super) fn says(&self, who: Note) -> bool {
        self.notes_now().contains_key(&who)
    }

    /// Everything that is said.
    pub(super) fn notes(&self) -> Vec<String> {
        self.notes_now().values().cloned().collect()
    }
}
