//! Blobs that must stay in the store: those of attempts that wait or run here, and of unfinished tasks of users here.
//!
//! **Invariant:** an attempt holds pins only between its fetch and its end; what ends while it is fetched gets none.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use futures::future::{AbortHandle, AbortRegistration};
use shoal_protocol::message::TaskRef;
use shoal_protocol::task::epoch;
use shoal_protocol::task::spec::{BlobRef, Payload};
use shoal_protocol::{BlobId, TaskId, TaskSpec};

use crate::blobs::{BlobStore, Pin};

/// Attempts whose blobs are held; the queue and what runs are fewer.
const ATTEMPTS_MAX: usize = 65_536 + 1_024;

/// Blobs on their way.
#[derive(Debug)]
struct Fetching {
    handle: AbortHandle,
    /// In the name of the attempt, once they are here.
    is_to_be_held: bool,
}

#[derive(Debug)]
pub(super) struct Pins {
    store: BlobStore,
    fetching: BTreeMap<TaskRef, Fetching>,
    attempts: BTreeMap<TaskRef, Vec<(BlobId, Pin)>>,
    tasks: BTreeMap<TaskId, Vec<Pin>>,
    /// Of tasks that are on disk; what is still on its way has no pin yet. Bounded by the tasks that are kept.
    kept: BTreeMap<TaskId, BTreeMap<BlobId, Option<Pin>>>,
}

impl Pins {
    pub(super) fn new(store: BlobStore) -> Self {
        Self {
            store,
            fetching: BTreeMap::new(),
            attempts: BTreeMap::new(),
            tasks: BTreeMap::new(),
            kept: BTreeMap::new(),
        }
    }

    /// Module and input of a task from here must be here for whoever fetches them, until it has ended.
    pub(super) fn submitted(&mut self, task: TaskId, spec: &TaskSpec) {
        let modules = spec.variants.iter().map(|variant| variant.module);
        let inputs = spec.inputs.iter().filter_map(|input| match input {
            Payload::Blob(blob) => Some(blob.id),
            Payload::Inline(_) => None,
        });
        let pins = modules.chain(inputs).filter_map(|id| self.store.pin(id).ok()).collect();
        self.tasks.insert(task, pins);
    }

    /// What is withdrawn is not brought any further; nor is what was wanted for a record on disk before: that waits for the
    /// latest only.
    pub(super) fn fetch_began(&mut self, attempt: TaskRef) -> AbortRegistration {
        if epoch::is_of_no_attempt(attempt.epoch) {
            let before: Vec<TaskRef> = earlier_of_no_attempt(&self.fetching, attempt).collect();
            before.iter().for_each(|earlier| self.withdraw(*earlier));
        }
        let (handle, registration) = AbortHandle::new_pair();
        self.fetching.insert(attempt, Fetching { handle, is_to_be_held: true });
        registration
    }

    /// Whether its blobs are on their way.
    pub(super) fn is_fetching(&self, attempt: TaskRef) -> bool {
        self.fetching.contains_key(&attempt)
    }

    fn withdraw(&mut self, attempt: TaskRef) {
        if let Some(fetching) = self.fetching.remove(&attempt) {
            fetching.handle.abort();
        }
    }

    /// The blobs are here, or cannot be had.
    pub(super) fn fetch_ended(&mut self, attempt: TaskRef, fetched: Option<&[BlobRef]>) {
        let wanted = self.fetching.remove(&attempt).is_some_and(|fetching| fetching.is_to_be_held);
        if fetched.is_some()
            && let Some(kept) = self.kept.get_mut(&attempt.task)
        {
            kept.iter_mut().filter(|(_, pin)| pin.is_none()).for_each(|(id, pin)| *pin = self.store.pin(*id).ok());
        }
        if let Some(blobs) = fetched
            && wanted
            && self.attempts.len() < ATTEMPTS_MAX
        {
            let pins = blobs.iter().filter_map(|blob| Some((blob.id, self.store.pin(blob.id).ok()?))).collect();
            if epoch::is_of_no_attempt(attempt.epoch) {
                // For a kept task; what was fetched for it before is named in `kept` if it is still needed.
                let before: Vec<TaskRef> = earlier_of_no_attempt(&self.attempts, attempt).collect();
                for earlier in &before {
                    self.attempts.remove(earlier);
                }
            }
            self.attempts.insert(attempt, pins);
        }
    }

    /// A task on disk needs these, instead of those named before.
    pub(super) fn keep(&mut self, task: TaskId, blobs: Vec<BlobId>) {
        let pins = blobs.into_iter().map(|id| (id, self.store.pin(id).ok())).collect();
        // The old pins go after the new ones are there: what is in both is held throughout.
        drop(self.kept.insert(task, pins));
    }

    /// Nothing of it is kept. Where it is not a user's of this peer nobody says that it has ended: a copy, or its output, was
    /// fetched in the name of it.
    pub(super) fn forget(&mut self, task: TaskId) {
        self.kept.remove(&task);
        let fetching: Vec<TaskRef> = self.fetching.range(all_of(task)).map(|(attempt, _)| *attempt).collect();
        let of_record = fetching.into_iter().filter(|attempt| epoch::is_of_no_attempt(attempt.epoch));
        of_record.for_each(|attempt| self.withdraw(attempt));
        self.let_attempts_go(task);
    }

    /// It ran, or never will.
    pub(super) fn attempt_ended(&mut self, attempt: TaskRef) {
        self.withdraw(attempt);
        self.attempts.remove(&attempt);
    }

    /// A module that cannot be run ends every attempt that waited for it.
    pub(super) fn module_refused(&mut self, module: BlobId) {
        self.attempts.retain(|_, pins| pins.iter().all(|(id, _)| *id != module));
    }

    /// Also of its attempts: a large output was fetched in the name of one.
    pub(super) fn task_ended(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.let_attempts_go(task);
    }

    fn let_attempts_go(&mut self, task: TaskId) {
        // They are brought all the same: a record on disk may need it, and an attempt that is to run here ends with `Abort`.
        self.fetching.range_mut(all_of(task)).for_each(|(_, fetching)| fetching.is_to_be_held = false);
        let held: Vec<TaskRef> = self.attempts.range(all_of(task)).map(|(attempt, _)| *attempt).collect();
        held.iter().for_each(|attempt| drop(self.attempts.remove(attempt)));
    }
}

fn all_of(task: TaskId) -> RangeInclusive<TaskRef> {
    TaskRef { task, epoch: 0 }..=TaskRef { task, epoch: u64::MAX }
}

/// Those that were brought for the record of the same task before.
fn earlier_of_no_attempt<T>(all: &BTreeMap<TaskRef, T>, attempt: TaskRef) -> impl Iterator<Item = TaskRef> {
    let before = TaskRef { task: attempt.task, epoch: 0 }..attempt;
    all.range(before).map(|(earlier, _)| *earlier).filter(|earlier| epoch::is_of_no_attempt(earlier.epoch))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures::FutureExt;
    use futures::future::Abortable;
    use shoal_protocol::PeerId;

    use super::*;

    const TASK: TaskId = TaskId([1; 16]);
    const ATTEMPT: TaskRef = TaskRef { task: TASK, epoch: 1 };

    struct Fixture {
        _dir: tempfile::TempDir,
        store: BlobStore,
        pins: Pins,
        blob: BlobRef,
    }

    /// A store with room for one blob of 1,000 bytes, which is there.
    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path(), 1_500).unwrap();
        let stored = store.put(&[1; 1_000]).unwrap();
        let blob = BlobRef { id: stored.id, bytes: stored.bytes, holder: PeerId([1; 32]) };
        Fixture { _dir: dir, pins: Pins::new(store.clone()), store, blob }
    }

    impl Fixture {
        /// Whether another blob finds no room because the first one is held.
        fn is_held(&self) -> bool {
            let held = self.store.put(&[2; 1_000]).is_err();
            assert_eq!(self.store.stat(self.blob.id).is_some(), held);
            held
        }
    }

    #[test]
    fn what_waits_to_run_is_held_until_it_has_run() {
        let mut at = fixture();

        drop(at.pins.fetch_began(ATTEMPT));
        at.pins.fetch_ended(ATTEMPT, Some(&[at.blob]));
        assert!(at.is_held());

        at.pins.attempt_ended(ATTEMPT);
        assert!(!at.is_held());
    }

    #[test]
    fn an_attempt_withdrawn_while_it_is_fetched_holds_nothing() {
        let mut at = fixture();

        drop(at.pins.fetch_began(ATTEMPT));
        at.pins.attempt_ended(ATTEMPT);
        at.pins.fetch_ended(ATTEMPT, Some(&[at.blob]));

        assert!(!at.is_held());
    }

    #[tokio::test]
    async fn what_is_withdrawn_is_not_brought_any_further_and_what_a_record_needs_is() {
        let mut at = fixture();
        let of_no_attempt = |n| TaskRef { task: TASK, epoch: epoch::of_no_attempt(n) };
        let mut began = |attempt| Box::pin(Abortable::new(std::future::pending::<()>(), at.pins.fetch_began(attempt)));
        let (mut run, mut before, mut record) = (began(ATTEMPT), began(of_no_attempt(1)), began(of_no_attempt(2)));
        let is_given_up = |work: &mut Pin<Box<Abortable<_>>>| work.now_or_never().is_some();

        assert!(is_given_up(&mut before), "another was ordered for the same record");
        assert!(!is_given_up(&mut run) && !is_given_up(&mut record));

        at.pins.attempt_ended(ATTEMPT);
        assert!(is_given_up(&mut run));
        at.pins.task_ended(TASK);
        assert!(!is_given_up(&mut record));

        let mut began = |attempt| Box::pin(Abortable::new(std::future::pending::<()>(), at.pins.fetch_began(attempt)));
        let (mut record, mut run) = (began(of_no_attempt(3)), began(ATTEMPT));
        at.pins.forget(TASK);
        assert!(is_given_up(&mut record) && !is_given_up(&mut run));
        at.pins.attempt_ended(ATTEMPT);
        assert!(is_given_up(&mut run), "whoever ordered it ends it");
    }

    #[test]
    fn a_refused_module_frees_all_that_waited_for_it() {
        let mut at = fixture();
        drop(at.pins.fetch_began(ATTEMPT));
        at.pins.fetch_ended(ATTEMPT, Some(&[at.blob]));

        at.pins.module_refused(BlobId([9; 32]));
        assert!(at.is_held());

        at.pins.module_refused(at.blob.id);
        assert!(!at.is_held());
    }

    #[test]
    fn the_module_of_an_unfinished_task_stays() {
        let mut at = fixture();
        at.pins.submitted(TASK, &TaskSpec::of_module(at.blob.id, at.blob.bytes));
        drop(at.pins.fetch_began(ATTEMPT));
        at.pins.fetch_ended(ATTEMPT, Some(&[at.blob]));
        assert!(at.is_held());

        at.pins.task_ended(TASK);
        assert!(!at.is_held());
    }

    #[test]
    fn what_a_task_on_disk_needs_stays_until_it_is_forgotten() {
        let mut at = fixture();

        at.pins.keep(TASK, vec![at.blob.id]);
        at.pins.task_ended(TASK);
        assert!(at.is_held());

        at.pins.forget(TASK);
        assert!(!at.is_held());
    }

    #[test]
    fn what_was_fetched_for_a_copy_is_free_once_that_is_forgotten() {
        let mut at = fixture();
        for attempt in [TaskRef { task: TASK, epoch: 0 }, ATTEMPT] {
            at.pins.keep(TASK, vec![at.blob.id]);
            drop(at.pins.fetch_began(attempt));
            at.pins.fetch_ended(attempt, Some(&[at.blob]));
        }

        at.pins.keep(TASK, Vec::new());
        assert!(at.is_held());
        at.pins.forget(TASK);

        assert!(!at.is_held());
    }

    #[test]
    fn an_output_that_comes_after_its_task_has_ended_is_not_held() {
        let mut at = fixture();
        drop(at.pins.fetch_began(ATTEMPT));

        at.pins.task_ended(TASK);
        at.pins.fetch_ended(ATTEMPT, Some(&[at.blob]));

        assert!(!at.is_held());
    }

    #[test]
    fn what_is_to_be_kept_is_held_once_it_has_come() {
        let mut at = fixture();
        let late = BlobId::of(&[3; 100]);
        let attempt = TaskRef { task: TASK, epoch: 0 };
        at.pins.keep(TASK, vec![late]);
        drop(at.pins.fetch_began(attempt));

        at.store.put(&[3; 100]).unwrap();
        at.pins.fetch_ended(attempt, Some(&[]));

        assert!(at.pins.kept[&TASK][&late].is_some());
    }
}
