//! The book a home peer keeps of its users' tasks: their specs, states, decisions and results.
//!
//! **Invariant:** bounded: unfinished tasks by admission, finished ones by number and by the bytes of their results.
//! **Not here:** what is done about a task. That is `requester.rs`.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use super::TaskState;
use super::epoch;
use super::problem;
use super::spec::{Ending, Payload, TaskSpec};
use crate::api::{ExecutorView, OutputView, TaskCounts, TaskView};
use crate::certificate::Member;
use crate::config::{FINISHED_BYTES_MAX, FINISHED_TASKS_MAX};
use crate::id::{PeerId, TaskId};
use crate::message::Outcome;
use crate::output::{TaskError, TaskResult};
use crate::placement::{Assessment, Candidate, Record};
use crate::time::Time;

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
    /// The current attempt; only its outcome may be committed.
    pub(crate) epoch: u64,
    /// Attempts that died with their executor, or that it failed.
    pub(crate) failures: u32,
    /// Peers not to ask again, and why.
    pub(crate) tried: BTreeMap<PeerId, String>,
    pub(crate) executor: Option<PeerId>,
    pub(crate) variant: u8,
    pub(crate) records: Vec<Record>,
    turn: u64,
}

impl HomeTask {
    /// Time left to the deadline at `now`.
    pub(crate) fn deadline_in(&self, now: Time) -> Option<Duration> {
        self.spec.deadline.map(|deadline| deadline.saturating_sub(now.since(self.accepted)))
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
            Phase::Waiting | Phase::Asking { .. } | Phase::Awarded { .. } | Phase::Collecting { .. } => 0,
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
    turns: u64,
    ended: TaskCounts,
}

impl Book {
    /// Enters a new task.
    pub(crate) fn enter(&mut self, now: Time, task: TaskId, name: String, spec: TaskSpec) {
        self.turns += 1;
        self.by_turn.insert(self.turns, task);
        let entry = HomeTask {
            name,
            spec,
            state: TaskState::Accepted,
            phase: Phase::Waiting,
            accepted: now,
            awarded: now,
            epoch: 0,
            failures: 0,
            tried: BTreeMap::new(),
            executor: None,
            variant: 0,
            records: Vec::new(),
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
        self.tasks.len() - self.finished.len()
    }

    /// Every unfinished task that `select` wants.
    pub(crate) fn open_where(&self, select: impl Fn(&HomeTask) -> bool) -> Vec<TaskId> {
        let wanted = |entry: &&HomeTask| !entry.state.is_final() && select(entry);
        self.tasks.iter().filter(|(_, entry)| wanted(entry)).map(|(task, _)| *task).collect()
    }

    /// Closes a task, and forgets the oldest finished ones that are over the bounds.
    pub(crate) fn close(&mut self, task: TaskId, state: TaskState, result: Result<TaskResult, TaskError>) {
        let Some(entry) = self.tasks.get_mut(&task) else { return };
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
        // A finished task is shown and explained, never run again.
        entry.spec.inputs.iter_mut().for_each(|input| {
            if let Payload::Inline(bytes) = input {
                bytes.clear();
                bytes.shrink_to_fit();
            }
        });
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
            age_us: now.since(entry.accepted).as_micros() as u64,
            timings: None,
            exit_code: None,
            output: None,
            log: String::new(),
            problem: None,
            limit: None,
        };
        match &entry.phase {
            Phase::Ended(Ok(result)) => {
                view.timings = Some(result.timings);
                view.log = String::from_utf8_lossy(&result.report.log).into_owned();
                view.output = with_output.then(|| output_view(&result.report.output)).flatten();
                view.problem = problem::of_ending(&result.report.ending);
                match &result.report.ending {
                    Ending::Exited(code) => view.exit_code = Some(*code),
                    Ending::LimitHit(limit) => view.limit = Some(*limit),
                    Ending::Trapped(_) | Ending::Invalid(_) | Ending::HostFailed(_) => {}
                }
            }
            Phase::Ended(Err(error)) => view.problem = Some(problem::of_error(error)),
            Phase::Waiting | Phase::Asking { .. } | Phase::Awarded { .. } | Phase::Collecting { .. } => {}
        }
        Some(view)
    }
}

/// Text where it is text; the API layer turns the rest into base64.
fn output_view(output: &Payload) -> Option<OutputView> {
    match output {
        Payload::Inline(bytes) => std::str::from_utf8(bytes).ok().map(|text| OutputView::Text(text.to_owned())),
        Payload::Blob(blob) => Some(OutputView::Blob { id: blob.id, bytes: blob.bytes }),
    }
}
