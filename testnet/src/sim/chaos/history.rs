//! What users were told of each task, and what the faults excuse.

use std::collections::BTreeMap;

use shoal_protocol::output::{TaskError, TaskResult};
use shoal_protocol::task::durable::{Durability, Found};
use shoal_protocol::{TaskId, TaskState, Time};

use super::super::{TaskNews, Told};

/// An end as somebody was told of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) at: Time,
    pub(super) by: usize,
    pub(super) result: Result<TaskResult, TaskError>,
}

/// One task, as its user sees it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) home: usize,
    pub(super) durability: Durability,
    pub(super) acknowledged: Option<Time>,
    /// Told that it was not taken on, at least once.
    pub(super) refused: bool,
    pub(super) cancelled: bool,
    /// Every end that was told, refusals left out.
    pub(super) answers: Vec<Answer>,
    /// A peer said that its record cannot be read.
    pub(super) said_damaged: bool,
}

/// All tasks.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) tasks: BTreeMap<TaskId, Entry>,
    /// Questions for tasks that have not been answered.
    asked: BTreeMap<u64, TaskId>,
    tickets: u64,
    /// Tasks that were acknowledged since the last call of [`History::take_acknowledged`], and by whom.
    fresh: Vec<(TaskId, usize)>,
}

impl History {
    pub(super) fn submitted(&mut self, task: TaskId, home: usize, durability: Durability) {
        self.tasks.entry(task).or_insert(Entry {
            home,
            durability,
            acknowledged: None,
            refused: false,
            cancelled: false,
            answers: Vec::new(),
            said_damaged: false,
        });
    }

    pub(super) fn asked(&mut self, task: TaskId) -> u64 {
        self.tickets += 1;
        self.asked.insert(self.tickets, task);
        self.tickets
    }

    pub(super) fn note(&mut self, told: Told) {
        let Told { at, index: by, news } = told;
        match news {
            TaskNews::Acknowledged(task) => {
                if let Some(entry) = self.tasks.get_mut(&task) {
                    entry.acknowledged.get_or_insert(at);
                    self.fresh.push((task, by));
                }
            }
            TaskNews::Finished(task, result) => self.ended(task, at, by, *result),
            TaskNews::Found(ticket, found) => {
                let Some(task) = self.asked.remove(&ticket) else { return };
                let Some(Found { state, result: Some(result), .. }) = found.map(|found| *found) else { return };
                if state.is_final() {
                    self.ended(task, at, by, result);
                }
            }
            TaskNews::Damaged(task) => {
                let entry = task.and_then(|task| self.tasks.get_mut(&task));
                entry.into_iter().for_each(|entry| entry.said_damaged = true);
            }
        }
    }

    fn ended(&mut self, task: TaskId, at: Time, by: usize, result: Result<TaskResult, TaskError>) {
        let Some(entry) = self.tasks.get_mut(&task) else { return };
        match &result {
            Err(error) if error.is_refusal() => entry.refused = true,
            Err(TaskError::RecordDamaged { .. }) => entry.said_damaged = true,
            Ok(_) | Err(_) => entry.answers.push(Answer { at, by, result }),
        }
    }

    pub(super) fn take_acknowledged(&mut self) -> Vec<(TaskId, usize)> {
        core::mem::take(&mut self.fresh)
    }
}

/// The state of an end.
pub(super) fn state_of(result: &Result<TaskResult, TaskError>) -> TaskState {
    match result {
        Ok(_) => TaskState::Done,
        Err(TaskError::Cancelled) => TaskState::Cancelled,
        Err(_) => TaskState::Failed,
    }
}
