//! What streams have on disk: a store of their own beside that of tasks, and in memory a mirror of it.
//!
//! **Invariant:** the mirror holds what is on disk, change by change in the same order; each change has a number.
//! **Not here:** what the records mean (`shoal_protocol::stream`), and files (`crate::store`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_protocol::store::{Change, Ticket};
use shoal_protocol::stream::Key;
use tokio::sync::oneshot;

use crate::store::{Answer, Bounds, Committer, Store, StoreError};

/// Everything that is kept of one stream.
pub(super) type Kept = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Debug, Default)]
struct Mirror {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of the last change.
    number: u64,
}

impl Mirror {
    fn apply(&mut self, changes: Vec<Change>) -> u64 {
        for change in changes {
            match change {
                Change::Put { key, bytes } => drop(self.records.insert(key, bytes)),
                Change::Delete { key } => drop(self.records.remove(&key)),
            }
        }
        self.number += 1;
        self.number
    }
}

#[derive(Debug)]
struct Waiting {
    changes: Vec<Change>,
    reply: oneshot::Sender<Result<u64, String>>,
}

/// Writes, and knows what was written.
#[derive(Debug)]
pub(super) struct Keeper {
    committer: Committer,
    mirror: Arc<Mutex<Mirror>>,
    waiting: Arc<Mutex<BTreeMap<Ticket, Waiting>>>,
    next: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done when a holder panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keeper {
    /// Opens the store in this directory, which is made where it is not. Blocks.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(|error| StoreError::io("make", dir, error))?;
        let mut store = Store::open(dir, Bounds::default())?;
        let records = std::mem::take(&mut store.records).into_iter().collect();
        let mirror = Arc::new(Mutex::new(Mirror { records, number: 0 }));
        let waiting: Arc<Mutex<BTreeMap<Ticket, Waiting>>> = Arc::default();
        let (mirrored, waited) = (Arc::clone(&mirror), Arc::clone(&waiting));
        let committer = store.start(move |answers| answer(answers, &mirrored, &waited))?;
        Ok(Self { committer, mirror, waiting, next: AtomicU64::new(0) })
    }

    /// Returns when the changes are on disk, with their number.
    pub(super) async fn write(&self, changes: Vec<Change>) -> Result<u64, String> {
        let ticket = Ticket(self.next.fetch_add(1, Ordering::Relaxed));
        let (reply, written) = oneshot::channel();
        lock(&self.waiting).insert(ticket, Waiting { changes: changes.clone(), reply });
        self.committer.persist(ticket, changes);
        written.await.unwrap_or_else(|_| Err("the store has ended".into()))
    }

    /// All that is kept of a stream, and the number of the last change that is in it.
    pub(super) fn all_of(&self, name: &str) -> (u64, Kept) {
        let mirror = lock(&self.mirror);
        let of_it = mirror.records.iter().filter(|(key, _)| Key::read(key).is_some_and(|key| key.name == name));
        (mirror.number, of_it.map(|(key, bytes)| (key.clone(), bytes.clone())).collect())
    }

    /// What stands under a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        lock(&self.mirror).records.get(key).cloned()
    }

    /// Bytes that are kept of a stream.
    pub(super) fn bytes_of(&self, name: &str) -> u64 {
        let mirror = lock(&self.mirror);
        let of_it = mirror.records.iter().filter(|(key, _)| Key::read(key).is_some_and(|key| key.name == name));
        of_it.map(|(key, bytes)| (key.len() + bytes.len()) as u64).sum()
    }

    /// The records whose key begins with this byte.
    pub(super) fn of_kind(&self, kind: u8) -> Kept {
        let mirror = lock(&self.mirror);
        mirror.records.range(vec![kind]..vec![kind + 1]).map(|(key, bytes)| (key.clone(), bytes.clone())).collect()
    }

    /// Changes after which nothing is kept of a stream.
    pub(super) fn nothing_of(&self, name: &str) -> Vec<Change> {
        self.all_of(name).1.into_iter().map(|(key, _)| Change::Delete { key }).collect()
    }

    /// Why nothing can be written now.
    pub(super) fn trouble(&self) -> Option<String> {
        self.committer.counts().trouble().map(|(why, fix)| format!("{why}: {fix}"))
    }
}

/// On the store's thread.
fn answer(answers: Vec<Answer>, mirror: &Mutex<Mirror>, waiting: &Mutex<BTreeMap<Ticket, Waiting>>) {
    for Answer { ticket, result } in answers {
        let Some(Waiting { changes, reply }) = lock(waiting).remove(&ticket) else { continue };
        let result = result.map(|()| lock(mirror).apply(changes));
        // Whoever waited may have gone.
        let _ = reply.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], bytes: &[u8]) -> Change {
        Change::Put { key: key.to_vec(), bytes: bytes.to_vec() }
    }

    #[test]
    fn what_was_written_is_there_after_it_was_opened_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let keeper = Keeper::open(dir.path()).unwrap();
            let first = keeper.write(vec![put(b"da\0", b"1"), put(b"db\0", b"2")]).await.unwrap();
            let second = keeper.write(vec![Change::Delete { key: b"db\0".to_vec() }]).await.unwrap();

            assert!(second > first);
            assert_eq!(keeper.all_of("a"), (second, vec![(b"da\0".to_vec(), b"1".to_vec())]));
        });

        let keeper = Keeper::open(dir.path()).unwrap();

        assert_eq!(keeper.of_kind(b'd'), [(b"da\0".to_vec(), b"1".to_vec())]);
        assert_eq!((keeper.get(b"db\0"), keeper.bytes_of("a")), (None, 4));
    }
}
