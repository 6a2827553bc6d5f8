//! What users were told of each task, and what the faults excuse.

use std::collections::BTreeMap;

use shoal_protocol::output::{TaskError, TaskResult};
use shoal_protocol::task::durable::{Durability, Found};
use shoal_protocol::{TaskId, TaskState, Time};

use super::super::{TaskNews, Told};
use crate::promises::{Answer, End, Entry};

/// What peers of the simulator tell.
pub(super) type Ending = Result<TaskResult, TaskError>;

/// All tasks.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) tasks: BTreeMap<TaskId, Entry<Ending>>,
    /// Questions for tasks that have not been answered.
    asked: BTreeMap<u64, TaskId>,
    tickets: u64,
}

impl History {
    pub(super) fn submitted(&mut self, task: TaskId, home: usize, durability: Durability) {
        self.tasks.entry(task).or_insert(Entry::new(home, durability));
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
            TaskNews::Withheld { .. } => {}
        }
    }

    fn ended(&mut self, task: TaskId, at: Time, by: usize, result: Ending) {
        let Some(entry) = self.tasks.get_mut(&task) else { return };
        match &result {
            Err(error) if error.is_refusal() => entry.refused = true,
            Err(TaskError::RecordDamaged { .. }) => entry.said_damaged = true,
            Ok(_) | Err(_) => entry.answers.push(Answer { at, by, end: result }),
        }
    }
}

impl End for Ending {
    fn state(&self) -> TaskState {
        match self {
            Ok(_) => TaskState::Done,
            Err(TaskError::Cancelled) => TaskState::Cancelled,
            Err(_) => TaskState::Failed,
        }
    }
}
