//! In which order tasks are placed that were handed in together: the first has the uplink first, and the best place.
//!
//! Those that would be late behind all the others go first, by what they can spare: a millisecond past a deadline costs most.
//! The rest goes by size, the shortest first, as it is best for the mean (Smith, Naval Research Logistics 1956).

use core::time::Duration;

/// One of the tasks, as far as their order is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The answer is worth less after this long.
    pub deadline: Option<Duration>,
    /// When the answer would be home if it were the only one.
    pub alone: Duration,
    /// Of that, what it keeps from others: its input on the uplink, and its run.
    pub size: Duration,
}

/// The tasks by their index, whoever is to be placed first first.
pub fn order(tasks: &[Waiting]) -> Vec<usize> {
    let all: Duration = tasks.iter().fold(Duration::ZERO, |sum, task| sum.saturating_add(task.size));
    let key = |index: &usize| {
        let task = tasks.get(*index)?;
        let behind_all = task.alone.saturating_add(all.saturating_sub(task.size));
        let urgent = task.deadline.filter(|deadline| *deadline < behind_all);
        let spare = urgent.map(|deadline| deadline.saturating_sub(task.alone));
        Some((spare.is_none(), spare, task.size, *index))
    };
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(key);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_order(tasks: &[(Option<u64>, u64)], expected: &[usize]) {
        let ms = Duration::from_millis;
        let waiting = |(deadline, size): &(Option<u64>, u64)| Waiting {
            deadline: deadline.map(ms),
            alone: ms(*size),
            size: ms(*size),
        };
        assert_eq!(order(&tasks.iter().map(waiting).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn the_shortest_goes_first_and_equals_as_they_came() {
        assert_order(&[(None, 30), (None, 10), (None, 20), (None, 10)], &[1, 3, 2, 0]);
        assert_order(&[], &[]);
    }

    #[test]
    fn who_would_be_late_behind_the_others_goes_before_them() {
        assert_order(&[(None, 10), (Some(50), 30), (None, 20)], &[1, 0, 2]);
        assert_order(&[(None, 10), (Some(60), 30), (None, 20)], &[0, 2, 1]);
    }

    #[test]
    fn of_the_urgent_who_can_spare_least_goes_first_and_of_the_late_the_shortest() {
        assert_order(&[(Some(100), 50), (Some(70), 60)], &[1, 0]);
        assert_order(&[(Some(10), 90), (Some(5), 40)], &[1, 0]);
    }

    #[test]
    fn sizes_that_add_up_to_no_time_are_no_panic() {
        let endless = Waiting { deadline: Some(Duration::ZERO), alone: Duration::MAX, size: Duration::MAX };

        assert_eq!(order(&[endless; 3]), [0, 1, 2]);
    }
}
