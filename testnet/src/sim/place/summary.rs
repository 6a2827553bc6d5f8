//! The figures of a run.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Policy;
use super::bounds::mean_ms_min;
use super::case::Case;
use super::faults::Faults;
use super::run::{Completion, Run};

/// What is printed of a run, and what scripts read.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub schema: String,
    pub policy: &'static str,
    pub seed: u64,
    pub nodes: usize,
    /// Offered work over what all cores can do, from the first arrival to the last.
    pub load: f64,
    /// Tasks that could complete: all but the next two.
    pub tasks: usize,
    /// Tasks whose origin was down when they arose.
    pub not_offered: usize,
    /// Tasks whose origin crashed before the result was there.
    pub lost_with_home: usize,
    pub completed: usize,
    /// Completed tasks the following figures are of: all but the first fifth.
    pub counted: usize,
    pub mean_ms: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub max_ms: Option<f64>,
    /// No policy can have a lower mean; reckoned for the clairvoyants only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_bound_mean_ms: Option<f64>,
    /// Share of tasks that did not run where they arose.
    pub moved_share: f64,
    pub messages_per_task: f64,
    /// The same by kind; of peers only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub messages_per_task_by_kind: BTreeMap<&'static str, f64>,
    pub control_bytes_per_peer_s: f64,
    /// Runs whose result was not used, as a share of all runs.
    pub other_runs_share: f64,
    pub decision_cpu_us_p50: Option<f64>,
    pub decision_cpu_us_p99: Option<f64>,
    pub crashes: usize,
    /// Of the whole command until this was printed, reading and checking included.
    pub wall_s: f64,
}

impl Summary {
    /// The figures of a run.
    pub fn of(case: &Case, faults: &Faults, run: &Run, policy: Policy, seed: u64) -> Self {
        let first = case.first_counted();
        let counted: Vec<&Completion> = run.completions.iter().filter(|completion| completion.task >= first).collect();
        let mut took_ms: Vec<f64> = counted.iter().filter_map(|done| took_ms(case, done)).collect();
        took_ms.sort_by(f64::total_cmp);
        let moved = counted.iter().filter(|done| origin(case, done) != Some(done.executor)).count();
        let not_offered = case.tasks.iter().filter(|task| faults.is_down(task.origin, task.arrival_ms)).count();
        let offered_counted = case.tasks.len() - first;
        let span_s = (case.last_arrival_ms() - case.counted_from_ms()) / 1_000.0;
        let mut decisions_us: Vec<f64> =
            run.control.decisions_ns.iter().map(|took_ns| f64::from(*took_ns) / 1_000.0).collect();
        decisions_us.sort_by(f64::total_cmp);
        let runs = run.completions.len() + run.other_runs.len();
        Self {
            schema: shoal_protocol::api::schema(),
            policy: policy.name(),
            seed,
            nodes: case.nodes.len(),
            load: case.offered_load(),
            tasks: case.tasks.len() - not_offered - run.lost_with_home.len(),
            not_offered,
            lost_with_home: run.lost_with_home.len(),
            completed: run.completions.len(),
            counted: counted.len(),
            mean_ms: (!took_ms.is_empty()).then(|| took_ms.iter().sum::<f64>() / took_ms.len() as f64),
            p50_ms: rank(&took_ms, 0.50),
            p99_ms: rank(&took_ms, 0.99),
            max_ms: took_ms.last().copied(),
            lower_bound_mean_ms: policy.is_clairvoyant().then(|| mean_ms_min(case)),
            moved_share: share(moved, counted.len()),
            messages_per_task: run.control.messages as f64 / offered_counted.max(1) as f64,
            messages_per_task_by_kind: run
                .control
                .by_kind
                .iter()
                .map(|(kind, count)| (*kind, *count as f64 / offered_counted.max(1) as f64))
                .collect(),
            control_bytes_per_peer_s: if span_s > 0.0 {
                run.control.bytes as f64 / case.nodes.len() as f64 / span_s
            } else {
                0.0
            },
            other_runs_share: share(run.other_runs.len(), runs),
            decision_cpu_us_p50: rank(&decisions_us, 0.50),
            decision_cpu_us_p99: rank(&decisions_us, 0.99),
            crashes: faults.crashes(),
            wall_s: 0.0,
        }
    }

    /// Whether every task that could complete has.
    pub fn all_completed(&self) -> bool {
        self.completed == self.tasks
    }
}

fn origin(case: &Case, completion: &Completion) -> Option<usize> {
    Some(case.tasks.get(completion.task)?.origin)
}

fn took_ms(case: &Case, completion: &Completion) -> Option<f64> {
    Some(completion.completed_ms - case.tasks.get(completion.task)?.arrival_ms)
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Nearest rank: a value that occurred.
fn rank(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{case_of, task};
    use super::*;

    #[test]
    fn the_first_fifth_warms_up() {
        let tasks = (0..10).map(|number| task(f64::from(number) * 1_000.0, 0, 100.0)).collect();
        let case = case_of(&[(1, 1.0, 8.0), (1, 1.0, 8.0)], 20.0, tasks);
        let completion = |task: usize| {
            let start_ms = task as f64 * 1_000.0 + if task == 9 { 30.0 } else { 0.0 };
            let end_ms = start_ms + 100.0;
            let completed_ms = end_ms + if task < 2 { 500.0 } else { 0.0 } + if task == 9 { 12.0 } else { 0.0 };
            Completion { task, executor: usize::from(task == 9), start_ms, end_ms, completed_ms }
        };
        let mut run = Run { completions: (0..9).map(completion).collect(), ..Run::default() };
        run.control.count(&case, 1_999.0, 100, 36);
        run.control.count(&case, 2_000.0, 4, 36);
        run.control.count_background(&case, 9_000.0, 3, 36);
        run.control.count(&case, 9_001.0, 4, 36);

        let summary = Summary::of(&case, &Faults::none(), &run, Policy::Clairvoyant, 1);
        let unfinished = summary.all_completed();
        run.completions.push(completion(9));
        let whole = Summary::of(&case, &Faults::none(), &run, Policy::Clairvoyant, 1);

        assert!(!unfinished);
        assert_eq!((summary.mean_ms, summary.moved_share), (Some(100.0), 0.0));
        assert!(whole.all_completed());
        assert_eq!(whole.mean_ms, Some((7.0 * 100.0 + 142.0) / 8.0));
        assert_eq!((whole.p50_ms, whole.p99_ms, whole.moved_share), (Some(100.0), Some(142.0), 0.125));
        assert_eq!(whole.messages_per_task, 1.0);
        assert_eq!(whole.control_bytes_per_peer_s, 7.0 * 100.0 / 2.0 / 7.0);
        assert_eq!(whole.lower_bound_mean_ms, Some(100.0));
        assert_eq!(Summary::of(&case, &Faults::none(), &run, Policy::Local, 1).lower_bound_mean_ms, None);
    }
}
