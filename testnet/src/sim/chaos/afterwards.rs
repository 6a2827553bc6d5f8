//! Tasks that are handed in when nothing goes wrong any more: each of them must end as it should, and soon.
//!
//! What the faults left behind, a reservation, a queue, a key, a lead that nobody took up, shows here.

use core::time::Duration;

use rand::{Rng, RngExt};
use shoal_protocol::TaskState;
use shoal_protocol::output::{TaskError, TaskResult};
use shoal_protocol::task::durable::{Durability, Keeping};

use super::history::Ending;
use crate::promises::{End, Entry};

/// How many there are of each kind.
const EACH: usize = 3;
/// A run that nobody waits for the end of.
const ENDLESS: Duration = Duration::from_secs(100);
/// The deadline of those that miss it.
const DEADLINE: Duration = Duration::from_secs(5);
/// All have ended, and are where they should be, after this.
pub(super) const WITHIN: Duration = Duration::from_secs(60);
/// Cancelled after this; and one home is lost then.
pub(super) const CANCELLED_AFTER: Duration = Duration::from_secs(3);
/// An end may come this much after the deadline: the word of a council, and a disk.
const LATE_MAX: Duration = Duration::from_secs(5);
/// A run that outlives its home.
const OUTLIVES: Duration = Duration::from_secs(8);
/// Before the end others are asked for the tasks of the home that was lost.
pub(super) const ASKED_BEFORE: Duration = Duration::from_secs(5);
/// What is kept for a short time is kept this long.
pub(super) const SHORTLY: Duration = Duration::from_secs(20);

/// How such a task is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Done,
    Cancelled,
    Late,
    /// Done, and forgotten soon.
    Forgotten,
    /// Done, though its home is gone: another peer tells.
    Orphaned,
}

/// One such task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Test {
    pub(super) expected: Expected,
    pub(super) home: usize,
    pub(super) keeping: Keeping,
    pub(super) run: Duration,
    pub(super) deadline: Option<Duration>,
}

/// Some of each kind, at homes that are there; the first of these is the one that will be lost.
pub(super) fn tests(homes: &[usize], rng: &mut impl Rng) -> Vec<Test> {
    let Some((lost, homes)) = homes.split_first() else { return Vec::new() };
    let kinds =
        [Expected::Done, Expected::Done, Expected::Cancelled, Expected::Late, Expected::Forgotten, Expected::Orphaned];
    let all = kinds.into_iter().flat_map(|expected| [expected; EACH]);
    all.filter_map(|expected| {
        let home = *homes.get(rng.random_range(0..homes.len().max(1)))?;
        let home = if expected == Expected::Orphaned { *lost } else { home };
        let durability = match rng.random_range(0..3) {
            0 => Durability::Memory,
            1 => Durability::Disk,
            _ => Durability::Guarded,
        };
        let (durability, retention) = match expected {
            Expected::Forgotten => (durability.max(Durability::Disk), SHORTLY),
            Expected::Orphaned => (Durability::Guarded, Keeping::default().retention),
            Expected::Done | Expected::Cancelled | Expected::Late => (durability, Keeping::default().retention),
        };
        let run = match expected {
            Expected::Done | Expected::Forgotten => Duration::from_millis(rng.random_range(20..2_000)),
            Expected::Cancelled | Expected::Late => ENDLESS,
            Expected::Orphaned => OUTLIVES,
        };
        // A deadline of a task in memory is a hint where to run it, not an end.
        let durability = if expected == Expected::Late { durability.max(Durability::Disk) } else { durability };
        let deadline = (expected == Expected::Late).then_some(DEADLINE);
        Some(Test { expected, home, keeping: Keeping { durability, retention }, run, deadline })
    })
    .collect()
}

/// What is wrong with the end of a test, if anything is.
pub(super) fn judge(test: &Test, entry: &Entry<Ending>, handed_in: shoal_protocol::Time) -> Option<String> {
    let whose = format!("({:?}, home {})", test.keeping.durability, test.home);
    if test.keeping.durability != Durability::Memory && entry.acknowledged.is_none() {
        return Some(format!("{whose} was handed in after the faults and not acknowledged"));
    }
    let Some(answer) = entry.answers.first() else {
        return Some(format!("{whose} was handed in after the faults and has not ended {WITHIN:?} later"));
    };
    let after = answer.at.since(handed_in);
    let right = match (test.expected, &answer.end) {
        (Expected::Done | Expected::Forgotten | Expected::Orphaned, result) => result.state() == TaskState::Done,
        (Expected::Cancelled, Err(TaskError::Cancelled)) => true,
        (Expected::Late, Err(TaskError::DeadlinePassed { .. })) => after <= DEADLINE + LATE_MAX,
        (Expected::Cancelled | Expected::Late, _) => false,
    };
    (!right)
        .then(|| format!("{whose} should be {:?} and ended after {after:?}: {}", test.expected, outline(&answer.end)))
}

fn outline(result: &Result<TaskResult, TaskError>) -> String {
    match result {
        Ok(result) => format!("{:?}", result.report.ending),
        Err(error) => error.to_string(),
    }
}
