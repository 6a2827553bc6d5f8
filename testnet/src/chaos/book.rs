//! What users were told of each task, and everything that was done, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shoal_protocol::api::{OutputView, TaskView, codes};
use shoal_protocol::output::Timings;
use shoal_protocol::task::durable::Durability;
use shoal_protocol::{BlobId, TaskId, TaskState, Time};

use super::plan::Fault;
use crate::promises::{Answer, End, Entry, Promise, Violation};

/// How a task ended, as the API tells it. Two runs of one module differ in their timings, so that two ends are told apart
/// even where both have the same answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ending {
    state: TaskState,
    output: Option<OutputView>,
    timings: Option<Timings>,
    exit_code: Option<u32>,
    code: Option<String>,
    problem: Option<String>,
}

impl End for Ending {
    fn state(&self) -> TaskState {
        self.state
    }
}

impl Ending {
    fn of(view: &TaskView) -> Self {
        Self {
            state: view.state,
            output: view.output.clone().map(|output| match output {
                // Each peer names itself where it has it.
                OutputView::Blob { id, bytes, .. } => OutputView::Blob { id, bytes, holder: None },
                text => text,
            }),
            timings: view.timings,
            exit_code: view.exit_code,
            code: view.problem.as_ref().map(|problem| problem.code.clone()),
            problem: view.problem.as_ref().map(|problem| format!("{}: {}", problem.code, problem.title)),
        }
    }

    /// What the module answered, where it ended by itself and well.
    fn answer(&self) -> Option<&OutputView> {
        self.output.as_ref().filter(|_| self.state == TaskState::Done && self.exit_code == Some(0))
    }
}

/// What was told, by task; shared by everybody who tells.
#[derive(Debug)]
pub(super) struct Book {
    seed: u64,
    began: Instant,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) tasks: BTreeMap<TaskId, Entry<Ending>>,
    /// What each must answer.
    expected: BTreeMap<TaskId, String>,
    /// Which of them have a deadline.
    with_deadline: BTreeSet<TaskId>,
    /// Tasks that were handed in again where nobody knew them any more.
    pub(super) another: BTreeSet<TaskId>,
    /// Whether everybody is asked for the last time.
    is_last: bool,
    /// Tasks whose end a peer told then, with all that belongs to it.
    pub(super) reached: BTreeSet<(TaskId, usize)>,
    /// Tasks of which a copy was destroyed, by the peer that had it.
    pub(super) destroyed: BTreeSet<(TaskId, usize)>,
    /// What a peer said last that was asked for a task and told no end.
    pub(super) without_end: BTreeMap<(TaskId, usize), String>,
    pub(super) story: Vec<String>,
    pub(super) violations: Vec<Violation>,
    /// The faults that took hold.
    pub(super) struck: BTreeMap<Fault, u64>,
    pub(super) invoked: u64,
    pub(super) invoked_done: u64,
}

impl Pages {
    /// I2: what is told of a task that has no answer, and cannot be.
    pub(super) fn untrue(&self, task: TaskId, entry: &Entry<Ending>) -> Option<String> {
        let is_true = |end: &Ending| match (end.state, end.code.as_deref()) {
            // No module that is handed in fails, or writes nothing.
            (TaskState::Done, _) => end.answer().is_some(),
            (TaskState::Cancelled, _) => entry.cancelled,
            (_, Some(codes::DEADLINE_PASSED)) => self.with_deadline.contains(&task),
            // Their hosts were killed, and that often.
            (_, Some(codes::ATTEMPTS_EXHAUSTED)) => true,
            (_, _) => false,
        };
        let untrue = entry.answers.iter().find(|answer| !is_true(&answer.end))?;
        Some(format!("{task} ended, says peer {}: {:?}, and nothing of that kind befell it", untrue.by, untrue.end))
    }
}

impl Book {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, began: Instant::now(), pages: Mutex::default() }
    }

    pub(super) fn read(&self) -> MutexGuard<'_, Pages> {
        // Nothing is left half done on a page when a holder panics.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::ZERO + self.began.elapsed()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn say(&self, what: impl AsRef<str>) {
        let line = format!("{:>9.3} s  {}", self.began.elapsed().as_secs_f64(), what.as_ref());
        self.read().story.push(line);
    }

    pub(super) fn violated(&self, promise: Promise, what: String) {
        self.say(format!("VIOLATION of {promise:?}: {what}"));
        self.read().violations.push(Violation { seed: self.seed, promise, what });
    }

    pub(super) fn submitted(&self, task: TaskId, home: usize, durability: Durability, expected: String) {
        self.say(format!("{task} ({durability:?}) is handed in at peer {home}"));
        let mut pages = self.read();
        if pages.destroyed.contains(&(task, home)) {
            // A home that lost its store knows no keys: it is another task.
            pages.another.insert(task);
        }
        pages.tasks.entry(task).or_insert(Entry::new(home, durability));
        pages.expected.insert(task, expected);
    }

    pub(super) fn has_a_deadline(&self, task: TaskId) {
        self.read().with_deadline.insert(task);
    }

    /// From now on what a peer tells is what it knows after all faults.
    pub(super) fn asks_for_the_last_time(&self) {
        self.read().is_last = true;
    }

    /// A peer has told the end of a task, with all that belongs to it: true.
    pub(super) fn reached(&self, task: TaskId, by: usize) -> bool {
        let mut pages = self.read();
        if pages.is_last {
            pages.reached.insert((task, by));
        }
        true
    }

    /// A fault took hold.
    pub(super) fn struck(&self, fault: Fault) {
        *self.read().struck.entry(fault).or_default() += 1;
    }

    pub(super) fn acknowledged(&self, task: TaskId) {
        self.say(format!("{task} is acknowledged"));
        let now = self.now();
        if let Some(entry) = self.read().tasks.get_mut(&task) {
            entry.acknowledged.get_or_insert(now);
        }
    }

    pub(super) fn refused(&self, task: TaskId, why: &str) {
        self.say(format!("{task} is not taken on: {why}"));
        self.read().tasks.entry(task).and_modify(|entry| entry.refused = true);
    }

    pub(super) fn cancelled(&self, task: TaskId) {
        self.say(format!("{task} is withdrawn"));
        self.read().tasks.entry(task).and_modify(|entry| entry.cancelled = true);
    }

    /// A peer that was asked tells no end: false.
    pub(super) fn has_no_end(&self, task: TaskId, by: usize, said: String) -> bool {
        self.read().without_end.insert((task, by), said);
        false
    }

    /// The answer to a task that is not kept.
    pub(super) fn invoked(&self, view: &TaskView, expected: &str) {
        let end = Ending::of(view);
        if end.answer().is_some() && self.is_right(view.task, &end, expected) {
            self.read().invoked_done += 1;
        }
    }

    fn is_right(&self, task: TaskId, end: &Ending, expected: &str) -> bool {
        let is_right = end.answer().is_none_or(|answer| match answer {
            OutputView::Text(text) => text == expected,
            OutputView::Blob { id, .. } => *id == BlobId::of(expected.as_bytes()),
            OutputView::Base64(_) => false,
        });
        if !is_right {
            self.violated(Promise::RightAnswer, format!("{task} answers {:?}, not {expected:?}", end.answer()));
        }
        is_right
    }

    /// A copy of each of these tasks is gone with a peer's store.
    pub(super) fn destroyed(&self, peer: usize, tasks: impl IntoIterator<Item = TaskId>) {
        self.read().destroyed.extend(tasks.into_iter().map(|task| (task, peer)));
    }

    /// Tasks that several peers decide on, and of which nobody has been told an end.
    pub(super) fn open_with_a_council(&self) -> Vec<TaskId> {
        let pages = self.read();
        let open = pages.tasks.iter().filter(|(_, entry)| {
            entry.durability == Durability::Guarded && entry.acknowledged.is_some() && entry.answers.is_empty()
        });
        open.map(|(task, _)| *task).collect()
    }

    /// A peer shows a task; whether it shows an end.
    pub(super) fn shown(&self, by: usize, view: &TaskView) -> bool {
        let task = view.task;
        if !view.state.is_final() {
            return false;
        }
        let at = self.now();
        let code = view.problem.as_ref().map(|problem| (problem.code.as_str(), problem.status));
        let mut pages = self.read();
        let Some(entry) = pages.tasks.get_mut(&task) else { return false };
        match code {
            Some((codes::OVERLOADED | codes::SHUTTING_DOWN | codes::NO_GUARDIAN, _) | (codes::STORE, 507)) => {
                entry.refused = true;
                return false;
            }
            Some((codes::STORE, _)) => {
                entry.said_damaged = true;
                return false;
            }
            Some(_) | None => {}
        }
        let end = Ending::of(view);
        let is_news = !entry.answers.iter().any(|answer| answer.by == by && answer.end == end);
        entry.answers.push(Answer { at, by, end: end.clone() });
        let expected = pages.expected.get(&task).cloned().unwrap_or_default();
        drop(pages);
        if is_news {
            self.say(format!("{task} ended, says peer {by}: {end:?}"));
            self.is_right(task, &end, &expected);
        }
        true
    }
}
