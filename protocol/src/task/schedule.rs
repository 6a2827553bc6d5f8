//! When a core becomes free: the simulation of a peer's own queue that its digests and offers are made of.

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;

use crate::time::micros;

/// When a new task would start, if the running ones end after `running`, and then those `waiting` run in order.
pub(crate) fn start_for_new(
    cores: u16,
    running: impl Iterator<Item = Duration>,
    waiting: impl Iterator<Item = Duration>,
) -> Duration {
    let cores = usize::from(cores.max(1));
    let mut free_at: BinaryHeap<Reverse<u64>> = running.map(|left| Reverse(micros(left))).collect();
    while free_at.len() < cores {
        free_at.push(Reverse(0));
    }
    // More may run than there are cores now, when the limit was lowered meanwhile: those beyond free nothing.
    while free_at.len() > cores {
        free_at.pop();
    }
    for run in waiting {
        if let Some(Reverse(at)) = free_at.pop() {
            free_at.push(Reverse(at.saturating_add(micros(run))));
        }
    }
    Duration::from_micros(free_at.peek().map_or(0, |Reverse(at)| *at))
}

/// What is left of a run that was estimated at `run` and has taken `elapsed`: an estimate that was passed is no
/// estimate any more, and the longer a run has lasted the longer it is likely to last.
pub(crate) fn left(run: Duration, elapsed: Duration) -> Duration {
    run.saturating_sub(elapsed).max(if elapsed > run { elapsed / 4 } else { Duration::ZERO })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_start(cores: u16, running: &[u64], waiting: &[u64], expected_ms: u64) {
        let ms = |values: &[u64]| values.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        let start = start_for_new(cores, ms(running).into_iter(), ms(waiting).into_iter());
        assert_eq!(start, Duration::from_millis(expected_ms));
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
    fn a_run_past_its_estimate_is_expected_to_last_on() {
        assert_eq!(left(Duration::from_millis(50), Duration::from_millis(20)), Duration::from_millis(30));
        assert_eq!(left(Duration::from_millis(50), Duration::from_millis(200)), Duration::from_millis(50));
    }
}
