//! What no policy can be better than, whatever it knows.

mod priced;

use std::collections::BinaryHeap;

use super::case::Case;
use super::physics::{output_ms, run_ms, transfer_ms};
use super::references::Earliest;

/// A lower bound of the mean completion time of the counted tasks: the largest of three.
///
/// - Each task alone in an idle mesh, at the best node for it.
/// - All cores pooled into one that does the shortest remaining work first, with no network at all. Tasks that are not
///   counted are left out, which can only lower it.
/// - Each task alone, with a price on core time that is at most what the cores could earn: see `priced`.
pub fn mean_ms_min(case: &Case) -> f64 {
    alone_ms(case).max(pooled_ms(case)).max(priced::priced_ms(case, counted(case)))
}

/// For each node what a millisecond of its core time is worth to the others, in milliseconds of their completion.
pub fn prices(case: &Case) -> Vec<f64> {
    priced::prices(case, counted(case))
}

fn counted(case: &Case) -> &[super::TaskLine] {
    case.tasks.get(case.first_counted()..).unwrap_or_default()
}

fn alone_ms(case: &Case) -> f64 {
    let best_ms = |task: &super::TaskLine| {
        let Some(origin) = case.nodes.get(task.origin) else { return 0.0 };
        let leaves_ms = transfer_ms(origin, task.input_bytes);
        let mut best_ms = run_ms(origin, task);
        for (executor, node) in case.nodes.iter().enumerate() {
            let run_ms = run_ms(node, task);
            if run_ms + leaves_ms < best_ms
                && let (Some(there_ms), Some(back_ms)) =
                    (case.one_way_ms(task.origin, executor), output_ms(case, task, executor))
            {
                best_ms = best_ms.min(leaves_ms + there_ms + run_ms + back_ms);
            }
        }
        best_ms
    };
    mean(counted(case).iter().map(best_ms))
}

fn pooled_ms(case: &Case) -> f64 {
    let capacity = case.capacity();
    let mut arrivals = counted(case).iter().peekable();
    // What is left to do of each task, and when it arrived.
    let mut open: BinaryHeap<(Earliest, Earliest)> = BinaryHeap::new();
    let mut now_ms = 0.0_f64;
    let mut took_ms = Vec::new();
    loop {
        let next_ms = arrivals.peek().map_or(f64::INFINITY, |task| task.arrival_ms);
        match open.pop() {
            Some((Earliest(left_ms), Earliest(arrival_ms))) if now_ms + left_ms <= next_ms => {
                now_ms += left_ms;
                took_ms.push(now_ms - arrival_ms);
            }
            Some((Earliest(left_ms), arrival)) => {
                open.push((Earliest(left_ms - (next_ms - now_ms)), arrival));
                now_ms = next_ms;
            }
            None => now_ms = next_ms,
        }
        while let Some(task) = arrivals.next_if(|task| task.arrival_ms <= now_ms) {
            open.push((Earliest(task.work_ms / capacity), Earliest(task.arrival_ms)));
        }
        if open.is_empty() && arrivals.peek().is_none() {
            return mean(took_ms.into_iter());
        }
    }
}

fn mean(times_ms: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = times_ms.len();
    times_ms.sum::<f64>() / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{case_of, task};
    use super::*;

    #[test]
    fn alone_each_task_goes_where_it_is_done_first() {
        // 20 ms over the uplink, 10 ms there, 400 / 8 ms of running, 2 ms over the other uplink, 10 ms back.
        let case = case_of(&[(1, 1.0, 8.0), (1, 8.0, 8.0)], 20.0, vec![task(0.0, 0, 400.0), task(0.0, 0, 80.0)]);

        assert_eq!(alone_ms(&case), (92.0 + 52.0) / 2.0);
        assert_eq!(mean_ms_min(&case), 72.0);
    }

    #[test]
    fn the_pool_does_the_shortest_first() {
        let tasks = vec![task(0.0, 0, 400.0), task(50.0, 0, 100.0), task(500.0, 0, 100.0)];
        let case = case_of(&[(1, 1.0, 8.0), (1, 1.0, 8.0)], 20.0, tasks);

        // The long one is interrupted from 50 to 100, ends at 250; the last takes 50.
        assert_eq!(pooled_ms(&case), (250.0 + 50.0 + 50.0) / 3.0);
    }

    #[test]
    fn a_case_that_is_overloaded_is_bounded_by_the_pool() {
        let case = case_of(&[(1, 1.0, 8.0)], 0.0, (0..100).map(|_| task(0.0, 0, 10.0)).collect());

        assert_eq!(alone_ms(&case), 10.0);
        // The first fifth is not counted, and left out.
        assert_eq!(mean_ms_min(&case), 10.0 * 81.0 / 2.0);
    }
}
