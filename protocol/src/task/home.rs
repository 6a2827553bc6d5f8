//! The book a home peer keeps of its users' tasks: their specs, states, decisions and results.
//!
//! **Invariant:** bounded: unfinished tasks by admission, finished ones by number and by the bytes of their results; those
//! that are on disk by [`crate::config::KEPT_TASKS_MAX`], which forgets none before its time.
//! **Not here:** what is done about a task. That is `requester.rs`.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::TaskState;
use super::durable::{Durability, Keeping, KeptTask};
use super::epoch;
use super::requester::{Ahead, Answers};
use super::spec::{Payload, TaskSpec};
use crate::api::{ExecutorView, TaskCounts, TaskView};
use crate::certificate::Member;
use crate::config::{FINISHED_BYTES_MAX, FINISHED_TASKS_MAX};
use crate::id::{PeerId, TaskId};
use crate::message::{Outcome, TaskRef};
use crate::output::{TaskError, TaskResult};
use crate::placement::{Assessment, Candidate, Record};
use crate::time::Time;

/// Candidates named in an award, to which a full executor may pass it on.
pub(crate) const ALTERNATIVES_MAX: usize = 8;

/// What is being done about a task.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Nobody may run it now; it is tried again later.
    Waiting,
    /// Offers were asked for.
    Asking {
        /// The candidates, cheapest first, as known when asking.
        candidates: Vec<Candidate>,
        /// Who has not answered yet.
        open: Vec<PeerId>,
        /// Candidates as their offers have it.
        offers: Vec<Assessment>,
    },
    /// It was given to a peer, perhaps this one.
    Awarded {
        /// Whom.
        to: PeerId,
        /// Whom it may pass it on to.
        alternatives: Vec<PeerId>,
        /// How long the run was expected to take there.
        run: Duration,
        /// Questions about it that nobody has answered.
        unanswered: u8,
    },
    /// It ended well, and its large output is being fetched.
    Collecting {
        /// Who holds the output.
        from: PeerId,
        /// The end.
        outcome: Box<Outcome>,
    },
    /// It is being written to disk; it is not acknowledged yet.
    Storing,
    /// It was on disk when this peer started. Whoever runs it may still say so.
    Recovering {
        /// The latest attempt that somebody said is under way.
        held: Option<(PeerId, TaskRef)>,
    },
    /// Its end is known, and not decided yet.
    Resolving,
    /// Another peer of its council leads it.
    Elsewhere,
    /// It is over.
    Ended(Result<TaskResult, TaskError>),
}

/// A task of a user of this peer.
#[derive(Debug)]
pub(crate) struct HomeTask {
    pub(crate) name: String,
    pub(crate) spec: TaskSpec,
    pub(crate) state: TaskState,
    pub(crate) phase: Phase,
    pub(crate) accepted: Time,
    pub(crate) awarded: Time,
    /// What its executor made us expect.
    pub(crate) promise: Promise,
    /// The current attempt; only its outcome may be committed.
    pub(crate) epoch: u64,
    /// Attempts that died with their executor, or that it failed.
    pub(crate) failures: u32,
    /// Peers not to ask again, and why.
    pub(crate) tried: BTreeMap<PeerId, String>,
    pub(crate) executor: Option<PeerId>,
    pub(crate) variant: u8,
    pub(crate) records: Vec<Record>,
    /// How it is kept.
    pub(crate) keeping: Keeping,
    /// How old it was when it was accepted here.
    pub(crate) aged: Duration,
    /// The highest epoch that an attempt may have had so far.
    pub(crate) issued: u64,
    /// It was submitted here; otherwise it was taken over.
    pub(crate) ours: bool,
    /// What was said about the current attempt by who is not known to have it.
    pub(crate) early: Early,
    /// What those said that have run it, where that is compared.
    pub(crate) answers: Answers,
    /// Executors whose results are let go when its end is decided.
    pub(crate) release: Vec<(PeerId, TaskRef)>,
    /// Its user withdrew it before it was on disk.
    pub(crate) cancelled: bool,
    /// How often in a row nobody could run it.
    pub(crate) waits: u32,
    /// What comes after it would cost, by where it runs.
    pub(crate) ahead: Ahead,
    /// Of its input, in memory.
    bytes: u64,
    turn: u64,
}

/// When the result of an attempt should be here, going by what its executor said of itself.
#[derive(Debug, Default)]
pub(crate) struct Promise {
    /// The promise stands since then…
    pub(crate) since: Time,
    /// …and is kept after this long; nothing is expected of a module that nobody knows.
    pub(crate) within: Option<Duration>,
    /// Of that, what the way there and back takes, and what waited on our uplink.
    pub(crate) way: Duration,
    /// It was noticed that it is not kept.
    pub(crate) is_broken: bool,
}

/// A result that comes later than this many times what was promised is a broken promise…
const LATE: u32 = 4;
/// …when it is this much later too: a queue that grew behind our back, a retransmission.
const LATE_SLACK: Duration = Duration::from_millis(500);
/// The same for a result that has not come.
const OVERDUE: u32 = 8;
const OVERDUE_SLACK: Duration = Duration::from_secs(2);

impl Promise {
    pub(crate) fn is_late(&self, now: Time) -> bool {
        self.is_beyond(now, LATE, LATE_SLACK)
    }

    pub(crate) fn is_overdue(&self, now: Time) -> bool {
        self.is_beyond(now, OVERDUE, OVERDUE_SLACK)
    }

    /// Whether not even a run that goes on to its limit would still be under way.
    pub(crate) fn is_hopeless(&self, now: Time, wall: Duration) -> bool {
        self.is_beyond(now, OVERDUE, OVERDUE_SLACK.saturating_add(wall))
    }

    fn is_beyond(&self, now: Time, times: u32, slack: Duration) -> bool {
        self.within.is_some_and(|within| now.since(self.since) > within.saturating_mul(times).saturating_add(slack))
    }
}

/// What alternatives of an attempt say before it is known to have been passed on to them: their words may have overtaken
/// those of who passed it on, or be made up. Both look alike, so neither counts until the attempt is known to be theirs.
#[derive(Debug, Default)]
pub(crate) struct Early {
    /// Who says to have passed it on, and to whom.
    passed: Vec<(PeerId, PeerId)>,
    /// Who says that it ended.
    ended: Vec<PeerId>,
}

impl Early {
    pub(crate) fn passed_on(&mut self, from: PeerId, to: PeerId) {
        self.passed.retain(|(before, _)| *before != from);
        if self.passed.len() < ALTERNATIVES_MAX {
            self.passed.push((from, to));
        }
    }

    pub(crate) fn ended_at(&mut self, peer: PeerId) {
        if self.ended.len() < ALTERNATIVES_MAX && !self.ended.contains(&peer) {
            self.ended.push(peer);
        }
    }

    /// Where it is, since it is known to have been passed on to `to`.
    pub(crate) fn holder_after(&mut self, mut to: PeerId) -> PeerId {
        while let Some(at) = self.passed.iter().position(|(from, _)| *from == to) {
            to = self.passed.swap_remove(at).1;
        }
        to
    }

    /// Whether this peer said that it ended.
    pub(crate) fn has_ended_at(&self, peer: PeerId) -> bool {
        self.ended.contains(&peer)
    }
}

impl HomeTask {
    /// Time left to the deadline at `now`.
    pub(crate) fn deadline_in(&self, now: Time) -> Option<Duration> {
        self.spec.deadline.map(|deadline| deadline.saturating_sub(self.age(now)))
    }

    /// Time since it was submitted.
    pub(crate) fn age(&self, now: Time) -> Duration {
        self.aged + now.since(self.accepted)
    }

    /// Whether it is on disk.
    pub(crate) fn is_kept(&self) -> bool {
        self.keeping.durability != Durability::Memory
    }

    /// Whether all that is known is that its record cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self.phase, Phase::Ended(Err(TaskError::RecordDamaged { .. })))
    }

    /// An epoch that no attempt had before.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch.max(self.issued) + 1
    }

    /// What is kept of it.
    pub(crate) fn to_keep(&self) -> KeptTask {
        KeptTask {
            name: self.name.clone(),
            spec: self.spec.clone(),
            keeping: self.keeping,
            accepted: self.accepted,
            aged: self.aged,
            failures: self.failures,
        }
    }

    /// The record of the current attempt.
    pub(crate) fn record(&mut self) -> Option<&mut Record> {
        self.records.last_mut()
    }

    fn result_bytes(&self) -> usize {
        match &self.phase {
            Phase::Ended(Ok(result)) => {
                let output = match &result.report.output {
                    Payload::Inline(bytes) => bytes.len(),
                    Payload::Blob(_) => 0,
                };
                output + result.report.log.len()
            }
            Phase::Ended(Err(_)) => 0,
            Phase::Waiting
            | Phase::Asking { .. }
            | Phase::Awarded { .. }
            | Phase::Collecting { .. }
            | Phase::Storing
            | Phase::Recovering { .. }
            | Phase::Resolving
            | Phase::Elsewhere => 0,
        }
    }
}

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
            input_bytes: entry.records.last().map_or(0, |record| record.input_bytes),
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
    use crate::task::spec::{Ending, RunReport};

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
    fn what_alternatives_said_too_early_is_followed_from_one_to_the_next() {
        let mut early = Early::default();
        early.passed_on(peer(2), peer(3));
        early.passed_on(peer(3), peer(4));
        early.passed_on(peer(3), peer(5));
        early.ended_at(peer(5));

        assert_eq!(early.holder_after(peer(1)), peer(1), "nobody spoke of that one");
        assert_eq!(early.holder_after(peer(2)), peer(5), "the last word of each counts");
        assert_eq!(early.holder_after(peer(2)), peer(2), "and counts once");
        assert!(early.has_ended_at(peer(5)) && !early.has_ended_at(peer(4)));
    }

    #[test]
    fn what_is_said_too_early_is_bounded() {
        let mut early = Early::default();
        for n in 0..100 {
            early.passed_on(peer(n), peer(n + 1));
            early.ended_at(peer(n));
            early.ended_at(peer(n));
        }

        assert_eq!((early.passed.len(), early.ended.len()), (ALTERNATIVES_MAX, ALTERNATIVES_MAX));
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
