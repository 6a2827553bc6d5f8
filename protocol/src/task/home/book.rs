//! All tasks of this peer's users, and which of them are forgotten first.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{Early, HomeTask, Phase, Promise};
use crate::api::{ExecutorView, TaskCounts, TaskView};
use crate::certificate::Member;
use crate::config::{FINISHED_BYTES_MAX, FINISHED_TASKS_MAX};
use crate::id::{PeerId, TaskId};
use crate::output::{TaskError, TaskResult};
use crate::task::durable::{Keeping, KeptTask};
use crate::task::requester::{Ahead, Answers};
use crate::task::spec::{Payload, TaskSpec};
use crate::task::{TaskState, epoch};
use crate::time::Time;

/// All tasks of this peer's users.
#[derive(Debug, Default)]
pub(crate) struct Book {
    tasks: BTreeMap<TaskId, HomeTask>,
    by_turn: BTreeMap<u64, TaskId>,
    finished: VecDeque<TaskId>,
    finished_bytes: usize,
    /// Bytes of the inputs of unfinished tasks.
    open_bytes: u64,
    /// Finished tasks that are on disk, until their retention is over; the decisions on the latest can be explained.
    kept_finished: usize,
    explained: VecDeque<TaskId>,
    turns: u64,
    ended: TaskCounts,
}

impl Book {
    /// Enters a new task.
    pub(crate) fn enter(&mut self, now: Time, task: TaskId, name: String, spec: TaskSpec) {
        let keeping = Keeping::default();
        self.enter_kept(task, KeptTask { name, spec, keeping, accepted: now, aged: Duration::ZERO, failures: 0 });
    }

    /// Enters a task that is on disk, or is to be.
    pub(crate) fn enter_kept(&mut self, task: TaskId, kept: KeptTask) {
        let KeptTask { name, spec, keeping, accepted: now, aged, failures } = kept;
        self.turns += 1;
        self.by_turn.insert(self.turns, task);
        let bytes = spec.inline_bytes();
        self.open_bytes += bytes;
        let entry = HomeTask {
            name,
            spec,
            state: TaskState::Accepted,
            phase: Phase::Waiting,
            accepted: now,
            awarded: now,
            promise: Promise::default(),
            epoch: 0,
            failures,
            failing_since: None,
            tried: BTreeMap::new(),
            executor: None,
            variant: 0,
            records: Vec::new(),
            keeping,
            aged,
            issued: 0,
            ours: true,
            answers: Answers::default(),
            release: Vec::new(),
            cancelled: false,
            waits: 0,
            is_last_resort: false,
            early: Early::default(),
            ahead: Ahead::new(),
            bytes,
            turn: self.turns,
        };
        self.tasks.insert(task, entry);
    }

    /// A task, finished or not.
    pub(crate) fn get(&self, task: TaskId) -> Option<&HomeTask> {
        self.tasks.get(&task)
    }

    /// A task that is not finished.
    pub(crate) fn open(&mut self, task: TaskId) -> Option<&mut HomeTask> {
        self.tasks.get_mut(&task).filter(|task| !task.state.is_final())
    }

    /// Unfinished tasks.
    pub(crate) fn open_count(&self) -> usize {
        self.tasks.len() - self.finished.len() - self.kept_finished
    }

    /// Bytes of their inputs.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// Every unfinished task that `select` wants.
    pub(crate) fn open_where(&self, select: impl Fn(&HomeTask) -> bool) -> Vec<TaskId> {
        let wanted = |entry: &&HomeTask| !entry.state.is_final() && select(entry);
        self.tasks.iter().filter(|(_, entry)| wanted(entry)).map(|(task, _)| *task).collect()
    }

    /// Closes a task, and forgets the oldest finished ones that are over the bounds.
    pub(crate) fn close(&mut self, task: TaskId, state: TaskState, result: Result<TaskResult, TaskError>) {
        let Some(entry) = self.tasks.get_mut(&task).filter(|task| !task.state.is_final()) else { return };
        match state {
            TaskState::Done => self.ended.done += 1,
            TaskState::Cancelled => self.ended.cancelled += 1,
            TaskState::Failed
            | TaskState::Accepted
            | TaskState::Placing
            | TaskState::Fetching
            | TaskState::Queued
            | TaskState::Running => self.ended.failed += 1,
        }
        entry.state = state;
        entry.phase = Phase::Ended(result);
        self.open_bytes -= core::mem::take(&mut entry.bytes);
        // A finished task is shown and explained, never run again.
        entry.spec.inputs.iter_mut().for_each(|input| {
            if let Payload::Inline(bytes) = input {
                *bytes = Bytes::new();
            }
        });
        if entry.is_kept() {
            return self.close_kept(task);
        }
        self.finished_bytes += entry.result_bytes();
        self.finished.push_back(task);
        while self.finished.len() > FINISHED_TASKS_MAX || self.finished_bytes > FINISHED_BYTES_MAX {
            let Some(oldest) = self.finished.pop_front() else { return };
            if let Some(gone) = self.tasks.remove(&oldest) {
                self.finished_bytes -= gone.result_bytes();
                self.by_turn.remove(&gone.turn);
            }
        }
    }

    fn close_kept(&mut self, task: TaskId) {
        self.kept_finished += 1;
        self.explained.push_back(task);
        if self.explained.len() > FINISHED_TASKS_MAX
            && let Some(oldest) = self.explained.pop_front().and_then(|oldest| self.tasks.get_mut(&oldest))
        {
            oldest.records = Vec::new();
        }
    }

    /// A task that is on disk no longer leaves the book.
    pub(crate) fn forget(&mut self, task: TaskId) {
        let Some(entry) = self.tasks.get(&task).filter(|entry| entry.is_kept()) else { return };
        self.kept_finished -= usize::from(entry.state.is_final());
        self.open_bytes -= entry.bytes;
        self.by_turn.remove(&entry.turn);
        self.explained.retain(|explained| *explained != task);
        self.tasks.remove(&task);
    }

    /// Tasks by state.
    pub(crate) fn counts(&self) -> TaskCounts {
        let running = self.open_where(|entry| entry.state == TaskState::Running).len() as u64;
        TaskCounts { running, waiting: self.open_count() as u64 - running, ..self.ended }
    }

    /// The newest tasks first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.by_turn.values().rev().copied()
    }

    /// A task as the API shows it.
    pub(crate) fn view(
        &self,
        now: Time,
        task: TaskId,
        with_output: bool,
        member: &dyn Fn(PeerId) -> Option<Member>,
    ) -> Option<TaskView> {
        let entry = self.tasks.get(&task)?;
        let executor = entry.executor.and_then(|peer| {
            let member = member(peer)?;
            Some(ExecutorView { peer, name: member.name, role: member.role })
        });
        let variant = entry.spec.variants.get(usize::from(entry.variant)).map(|variant| variant.name.clone());
        let mut view = TaskView {
            schema: crate::api::schema(),
            task,
            name: entry.name.clone(),
            state: entry.state,
            attempt: epoch::attempt(entry.epoch),
            executor,
            variant: variant.filter(|name| !name.is_empty()),
            input_bytes: entry.records.last().map_or_else(|| entry.spec.input_bytes(), |record| record.input_bytes),
            age_us: crate::time::micros(entry.age(now)),
            timings: None,
            exit_code: None,
            output: None,
            log: String::new(),
            problem: None,
            limit: None,
            agreed: None,
        };
        match &entry.phase {
            Phase::Ended(end) => view.end(end, with_output),
            Phase::Waiting
            | Phase::Asking { .. }
            | Phase::Awarded { .. }
            | Phase::Collecting { .. }
            | Phase::Storing
            | Phase::Recovering { .. }
            | Phase::Resolving
            | Phase::Elsewhere => {}
        }
        Some(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BlobId;
    use crate::output::Timings;
    use crate::task::durable::Durability;
    use crate::task::report::{Ending, RunReport};

    fn task(n: u8) -> TaskId {
        TaskId([n; 16])
    }

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn spec(input_bytes: usize) -> TaskSpec {
        let mut spec = TaskSpec::of_module(BlobId([9; 32]), 1);
        spec.inputs = vec![Payload::inline(vec![0; input_bytes])];
        spec
    }

    fn kept(input_bytes: usize) -> KeptTask {
        let keeping = Keeping { durability: Durability::Disk, ..Keeping::default() };
        let (accepted, aged) = (Time::ZERO, Duration::ZERO);
        KeptTask { name: String::new(), spec: spec(input_bytes), keeping, accepted, aged, failures: 0 }
    }

    fn result(output_bytes: usize) -> Result<TaskResult, TaskError> {
        let output = Payload::inline(vec![0; output_bytes]);
        let report = RunReport { output, ..RunReport::without_run(Ending::Exited(0)) };
        Ok(TaskResult { report, executor: peer(1), variant: 0, attempts: 1, agreed: 0, timings: Timings::default() })
    }

    fn book(inputs: &[usize]) -> Book {
        let mut book = Book::default();
        for (n, bytes) in (1..).zip(inputs) {
            book.enter(Time::ZERO, task(n), String::new(), spec(*bytes));
        }
        book
    }

    #[test]
    fn inputs_count_until_their_task_ends() {
        let mut book = book(&[100, 20]);
        assert_eq!((book.open_bytes(), book.open_count()), (120, 2));

        book.close(task(1), TaskState::Done, result(1));
        book.close(task(1), TaskState::Done, result(1));

        assert_eq!((book.open_bytes(), book.open_count()), (20, 1));
        assert!(book.open(task(1)).is_none() && book.get(task(1)).is_some(), "it is shown, and not run again");
    }

    #[test]
    fn tasks_are_counted_by_state() {
        let mut book = book(&[1; 6]);
        book.open(task(1)).unwrap().state = TaskState::Running;
        book.close(task(2), TaskState::Done, result(1));
        book.close(task(3), TaskState::Cancelled, Err(TaskError::Cancelled));
        book.close(task(4), TaskState::Failed, Err(TaskError::ShuttingDown));

        let counts = book.counts();

        assert_eq!((counts.running, counts.waiting), (1, 2));
        assert_eq!((counts.done, counts.cancelled, counts.failed), (1, 1, 1));
        let newest: Vec<_> = book.newest().collect();
        assert_eq!(newest, [6, 5, 4, 3, 2, 1].map(task));
    }

    #[test]
    fn the_oldest_results_are_forgotten_when_there_are_too_many_bytes_of_them() {
        let mut book = book(&[1; 3]);
        book.close(task(1), TaskState::Done, result(FINISHED_BYTES_MAX / 2));
        book.close(task(2), TaskState::Done, result(FINISHED_BYTES_MAX / 2));
        assert!(book.get(task(1)).is_some());

        book.close(task(3), TaskState::Done, result(1));

        assert!(book.get(task(1)).is_none() && book.get(task(2)).is_some() && book.get(task(3)).is_some());
        assert_eq!(book.newest().collect::<Vec<_>>(), [3, 2].map(task));
        assert_eq!(book.finished_bytes, FINISHED_BYTES_MAX / 2 + 1);
    }

    #[test]
    fn too_many_results_push_out_the_oldest_and_kept_ones_stay() {
        let mut book = Book::default();
        book.enter_kept(task(250), kept(7));
        book.close(task(250), TaskState::Done, result(1));
        let id = |n: usize| TaskId(((n + 1) as u128).to_be_bytes());
        for n in 0..=FINISHED_TASKS_MAX {
            book.enter(Time::ZERO, id(n), String::new(), spec(0));
            book.close(id(n), TaskState::Done, result(1));
        }

        assert!(book.get(id(0)).is_none() && book.get(id(1)).is_some());
        assert!(book.get(task(250)).is_some());
        assert_eq!(book.open_count(), 0);
    }

    #[test]
    fn a_kept_task_is_forgotten_when_its_store_says_so_and_no_other_is() {
        let mut book = book(&[10]);
        book.enter_kept(task(2), kept(5));
        book.enter_kept(task(3), kept(6));
        book.close(task(3), TaskState::Done, result(1));

        [1, 2, 3, 9].map(task).into_iter().for_each(|task| book.forget(task));

        assert!(book.get(task(1)).is_some() && book.get(task(2)).is_none() && book.get(task(3)).is_none());
        assert_eq!((book.open_bytes(), book.open_count()), (10, 1));
    }

    #[test]
    fn a_deadline_counts_from_the_submission_wherever_that_was() {
        let mut book = Book::default();
        let mut earlier = kept(0);
        earlier.aged = Duration::from_secs(3);
        earlier.spec.deadline = Some(Duration::from_secs(10));
        book.enter_kept(task(1), earlier);
        let entry = book.get(task(1)).unwrap();

        let at = Time::ZERO + Duration::from_secs(4);
        assert_eq!(entry.age(at), Duration::from_secs(7));
        assert_eq!(entry.deadline_in(at), Some(Duration::from_secs(3)));
        assert_eq!(entry.deadline_in(at + Duration::from_secs(9)), Some(Duration::ZERO));
        assert!(entry.is_kept() && !entry.is_damaged());
    }

    #[test]
    fn no_two_attempts_have_the_same_epoch() {
        let mut book = book(&[0]);
        let entry = book.open(task(1)).unwrap();
        assert_eq!(entry.next_epoch(), 1);
        (entry.epoch, entry.issued) = (4, 9);
        assert_eq!(entry.next_epoch(), 10, "one that was issued and is not known to have been used");
        entry.epoch = 12;
        assert_eq!(entry.next_epoch(), 13);
    }
}
