//! Whether what a user was told of an end is true.
//!
//! **Invariant:** it is judged by what the simulator did: which attempt wrote the output, whether anybody cancelled, how
//! much time had passed.

use core::time::Duration;

use shoal_protocol::config::FAILURES_MAX;
use shoal_protocol::output::{TaskError, TaskResult};
use shoal_protocol::task::epoch;
use shoal_protocol::task::spec::Payload;
use shoal_protocol::{TaskId, Time};

use super::super::{Made, Sim};
use super::history::Ending;
use crate::promises::{Answer, Entry, Promise};

/// Clocks run apart by less than this over a task's life.
const CLOCKS: Duration = Duration::from_secs(1);
/// Calendars are set by an hour at most, one way and the other.
const CALENDARS: Duration = Duration::from_secs(2 * 3_600 + 60);

/// What the user asked for, as far as it decides how a task may end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// First handed in.
    pub(super) at: Time,
    /// It ends within this.
    pub(super) lifetime: Duration,
    /// A calendar was set meanwhile, by which a peer that starts reckons ages.
    pub(super) calendar_set: bool,
    /// Its input may not go everywhere.
    pub(super) is_labelled: bool,
}

impl Asked {
    /// How much sooner than its time a task may be said to be late.
    fn slack(&self) -> Duration {
        if self.calendar_set { CALENDARS } else { CLOCKS }
    }
}

/// I4: a result is that of the attempt it says. I2: a reason is true.
pub(super) fn of(
    sim: &Sim,
    task: TaskId,
    entry: &Entry<Ending>,
    answer: &Answer<Ending>,
    asked: Asked,
) -> Option<(Promise, String)> {
    match &answer.end {
        Ok(result) => forged(sim, task, result).map(|what| (Promise::OneCommit, what)),
        Err(error) => {
            let what = match error {
                TaskError::Cancelled if !entry.cancelled => "cancelled, and nobody did".to_owned(),
                TaskError::DeadlinePassed { .. } if answer.at.since(asked.at) + asked.slack() < asked.lifetime => {
                    format!("late after {:?}, it had {:?}", answer.at.since(asked.at), asked.lifetime)
                }
                TaskError::NoCandidate { .. } | TaskError::AllDeclined { .. } => {
                    format!("kept, and given up at once: {error}")
                }
                TaskError::Residency { .. } if !asked.is_labelled => {
                    format!("kept from everybody by labels that it does not have: {error}")
                }
                TaskError::AttemptsExhausted { attempts, .. } if *attempts < FAILURES_MAX => {
                    format!("given up after {attempts} attempts: {error}")
                }
                TaskError::Cancelled
                | TaskError::Residency { .. }
                | TaskError::DeadlinePassed { .. }
                | TaskError::AttemptsExhausted { .. }
                | TaskError::Unverified { .. }
                | TaskError::RecordDamaged { .. }
                | TaskError::Overloaded { .. }
                | TaskError::ShuttingDown
                | TaskError::NotStored { .. }
                | TaskError::NoGuardian { .. }
                | TaskError::RevocationsStale => return None,
            };
            Some((Promise::TrueReason, format!("{task} is said by peer {} to be {what}", answer.by)))
        }
    }
}

fn forged(sim: &Sim, task: TaskId, result: &TaskResult) -> Option<String> {
    let Payload::Inline(output) = &result.report.output else { return Some(format!("{task} has a blob for output")) };
    let Some(made) = Made::from_bytes(output) else {
        return Some(format!("the output of {task} was made by nobody: {output:?}"));
    };
    let said = (task, result.attempts, Some(result.executor));
    let is = (made.attempt.task, epoch::attempt(made.attempt.epoch), Some(sim.id(made.index)));
    (said != is).then(|| {
        format!("{task} ended with attempt {} at peer {}, it is said to be another: {said:?}", is.1, made.index)
    })
}
