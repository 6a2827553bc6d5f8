//! When a core becomes free: the simulation of a peer's own queue that its digests and offers are made of.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use crate::message::TaskRef;
use crate::time::{Time, micros};

/// When each core has nothing left to do.
pub(crate) struct Queue {
    free_at: BinaryHeap<Reverse<u64>>,
}

impl Queue {
    /// The running ones end after `running`, and then those `waiting` run in order.
    pub(crate) fn new(
        cores: u16,
        running: impl Iterator<Item = Duration>,
        waiting: impl Iterator<Item = Duration>,
    ) -> Self {
        let cores = usize::from(cores.max(1));
        let mut ends: Vec<Reverse<u64>> = running.map(|left| Reverse(micros(left))).collect();
        // More may run than there are cores now, when the limit was lowered meanwhile: the first to end free nothing.
        if ends.len() > cores {
            ends.sort_unstable();
            ends.truncate(cores);
        }
        ends.resize(cores, Reverse(0));
        let mut queue = Self { free_at: ends.into() };
        waiting.for_each(|run| queue.wait(run));
        queue
    }

    /// When a new task would start.
    pub(crate) fn next_start(&self) -> Duration {
        Duration::from_micros(self.free_at.peek().map_or(0, |Reverse(at)| *at))
    }

    /// One more waits.
    pub(crate) fn wait(&mut self, run: Duration) {
        if let Some(mut next) = self.free_at.peek_mut() {
            next.0 = next.0.saturating_add(micros(run));
        }
    }
}

/// What is left of a run that was estimated at `run` and has taken `elapsed`: an estimate that was passed is no
/// estimate any more, and the longer a run has lasted the longer it is likely to last.
pub(crate) fn left(run: Duration, elapsed: Duration) -> Duration {
    run.saturating_sub(elapsed).max(if elapsed > run { elapsed / 4 } else { Duration::ZERO })
}

/// The tasks of an executor as far as time is concerned, in the order of their arrival: each word about its load looks at
/// all of them, and the tasks themselves are large.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<Line>);

#[derive(Debug)]
struct Line {
    attempt: TaskRef,
    run: Duration,
    since: Option<Time>,
}

impl Lines {
    /// A task is here that will run this long.
    pub(crate) fn arrived(&mut self, attempt: TaskRef, run: Duration) {
        self.0.push(Line { attempt, run, since: None });
    }

    /// It runs from now on.
    pub(crate) fn started(&mut self, now: Time, attempt: TaskRef) {
        if let Some(line) = self.0.iter_mut().find(|line| line.attempt == attempt) {
            line.since = Some(now);
        }
    }

    /// It is here no more.
    pub(crate) fn gone(&mut self, attempt: TaskRef) {
        if let Some(at) = self.0.iter().position(|line| line.attempt == attempt) {
            self.0.remove(at);
        }
    }

    /// The queue of those that run.
    pub(crate) fn running(&self, now: Time, cores: u16) -> Queue {
        let running = self.0.iter().filter_map(|line| Some(left(line.run, now.since(line.since?))));
        Queue::new(cores, running, core::iter::empty())
    }

    /// The queue of these, with what is `reserved` behind them.
    pub(crate) fn queue(&self, now: Time, cores: u16, reserved: impl Iterator<Item = Duration>) -> Queue {
        let running = self.0.iter().filter_map(|line| Some(left(line.run, now.since(line.since?))));
        let waiting = self.0.iter().filter(|line| line.since.is_none()).map(|line| line.run);
        Queue::new(cores, running, waiting.chain(reserved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_start(cores: u16, running: &[u64], waiting: &[u64], expected_ms: u64) {
        let ms = |values: &[u64]| values.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        let queue = Queue::new(cores, ms(running).into_iter(), ms(waiting).into_iter());
        assert_eq!(queue.next_start(), Duration::from_millis(expected_ms));
    }

    #[test]
    fn a_new_task_starts_when_the_first_core_has_nothing_before_it() {
        assert_start(2, &[], &[], 0);
        assert_start(2, &[50], &[], 0);
        assert_start(2, &[50, 30], &[], 30);
        assert_start(2, &[50, 30], &[100], 50);
        assert_start(1, &[10], &[20, 30], 60);
    }

    #[test]
    fn tasks_move_from_the_line_to_a_core_and_away_one_by_one() {
        let (ms, attempt) = (Duration::from_millis, |n| TaskRef { task: crate::id::TaskId([n; 16]), epoch: 1 });
        let mut lines = Lines::default();
        (1..=3).for_each(|n| lines.arrived(attempt(n), ms(100)));
        let next = |lines: &Lines, at_ms| lines.queue(Time::from_millis(at_ms), 1, core::iter::empty()).next_start();
        let running = |lines: &Lines, at_ms| lines.running(Time::from_millis(at_ms), 1).next_start();
        assert_eq!((next(&lines, 0), running(&lines, 0)), (ms(300), ms(0)), "none of them runs");

        lines.started(Time::from_millis(10), attempt(2));

        assert_eq!((next(&lines, 30), running(&lines, 30)), (ms(280), ms(80)), "one of them has run for 20 ms");
        lines.gone(attempt(2));
        assert_eq!((next(&lines, 50), running(&lines, 50)), (ms(200), ms(0)));
        lines.gone(attempt(9));
        assert_eq!(
            lines.queue(Time::ZERO, 1, [ms(7)].into_iter()).next_start(),
            ms(207),
            "what is reserved comes last"
        );
    }

    #[test]
    fn a_run_past_its_estimate_is_expected_to_last_on() {
        assert_eq!(left(Duration::from_millis(50), Duration::from_millis(20)), Duration::from_millis(30));
        assert_eq!(left(Duration::from_millis(50), Duration::from_millis(200)), Duration::from_millis(50));
        assert_eq!(left(Duration::from_millis(50), Duration::from_millis(50)), Duration::ZERO, "it ends just now");
    }
}
