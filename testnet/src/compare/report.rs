//! The two side by side.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Went;
use super::case::Plan;
use crate::sim::place::{Case, Completion, Run, Tier, run_ms};

/// The simulator is to be mended when it is off by more than this at the median.
const OFF_MAX: f64 = 0.15;

/// Completion times of one side, in milliseconds, and where the time went.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    pub completed: usize,
    pub mean_ms: f64,
    pub p10_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    /// Mean time on a core.
    pub run_mean_ms: f64,
    /// Mean time of everything else: queue, way there, way back, and what the peers themselves take.
    pub other_mean_ms: f64,
    /// Share that ran where they arose, at another edge peer, in the cloud.
    pub home_share: f64,
    pub neighbour_share: f64,
    pub cloud_share: f64,
}

/// Both, and how they differ.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub schema: String,
    pub seed: u64,
    pub load: f64,
    pub tasks: usize,
    pub real: Side,
    pub simulated: Side,
    /// Simulated with runs as long as they really were.
    pub replayed: Side,
    /// Replayed over real, at the median and of the mean.
    pub p50_ratio: f64,
    pub mean_ratio: f64,
    /// Real runs over what they should have taken on their executor: the part of the difference that the machine makes.
    pub real_run_ratio_p50: f64,
    pub real_run_ratio_p99: f64,
    /// Tasks that ran at the same peer on both sides.
    pub same_executor_share: f64,
    /// Whether the median is near enough.
    pub ok: bool,
}

struct One {
    executor: usize,
    took_ms: f64,
    run_ms: f64,
}

impl Comparison {
    pub(super) fn of(plan: &Plan, case: &Case, real: &[Went], simulated: &Run, replayed: &Run) -> Self {
        let first = case.first_counted();
        let ms = |span: std::time::Duration| span.as_secs_f64() * 1_000.0;
        let real: Vec<One> = real
            .iter()
            .map(|went| One { executor: went.executor, took_ms: ms(went.took), run_ms: ms(went.run) })
            .collect();
        let (simulated, replayed) = (by_task(case, simulated), by_task(case, replayed));
        let real_counted: Vec<(usize, &One)> = real.iter().enumerate().skip(first).collect();
        let counted = |ones: &'_ BTreeMap<usize, One>| {
            Side::of(case, &ones.range(first..).map(|(t, o)| (*t, o)).collect::<Vec<_>>())
        };
        let at_same = |(task, one): &(&usize, &One)| real.get(**task).is_some_and(|real| real.executor == one.executor);
        let same = replayed.range(first..).filter(at_same).count();
        let mut run_ratios: Vec<f64> = real_counted
            .iter()
            .map(|(task, one)| one.run_ms / run_ms(&case.nodes[one.executor], &case.tasks[*task]))
            .collect();
        run_ratios.sort_by(f64::total_cmp);
        let same_executor_share = same as f64 / real_counted.len().max(1) as f64;
        let (real, simulated, replayed) = (Side::of(case, &real_counted), counted(&simulated), counted(&replayed));
        let p50_ratio = replayed.p50_ms / real.p50_ms;
        Self {
            schema: shoal_protocol::api::schema(),
            seed: plan.seed,
            load: plan.load,
            tasks: plan.tasks,
            mean_ratio: replayed.mean_ms / real.mean_ms,
            real_run_ratio_p50: rank(&run_ratios, 0.50),
            real_run_ratio_p99: rank(&run_ratios, 0.99),
            same_executor_share,
            ok: (p50_ratio - 1.0).abs() <= OFF_MAX,
            p50_ratio,
            real,
            simulated,
            replayed,
        }
    }
}

fn by_task(case: &Case, run: &Run) -> BTreeMap<usize, One> {
    let one = |done: &Completion| {
        let task = case.tasks.get(done.task)?;
        let took_ms = done.completed_ms - task.arrival_ms;
        Some((done.task, One { executor: done.executor, took_ms, run_ms: done.end_ms - done.start_ms }))
    };
    run.completions.iter().filter_map(one).collect()
}

impl Side {
    fn of(case: &Case, ones: &[(usize, &One)]) -> Self {
        let mut took_ms: Vec<f64> = ones.iter().map(|(_, one)| one.took_ms).collect();
        took_ms.sort_by(f64::total_cmp);
        let count = ones.len().max(1) as f64;
        let mean_ms = took_ms.iter().sum::<f64>() / count;
        let run_mean_ms = ones.iter().map(|(_, one)| one.run_ms).sum::<f64>() / count;
        let share = |wanted: &dyn Fn(usize, usize) -> bool| {
            ones.iter().filter(|(task, one)| wanted(case.tasks[*task].origin, one.executor)).count() as f64 / count
        };
        let is_cloud = |node: usize| case.nodes[node].tier == Tier::Cloud;
        Self {
            completed: ones.len(),
            mean_ms,
            p10_ms: rank(&took_ms, 0.10),
            p50_ms: rank(&took_ms, 0.50),
            p90_ms: rank(&took_ms, 0.90),
            p99_ms: rank(&took_ms, 0.99),
            run_mean_ms,
            other_mean_ms: mean_ms - run_mean_ms,
            home_share: share(&|origin, executor| origin == executor),
            neighbour_share: share(&|origin, executor| origin != executor && !is_cloud(executor)),
            cloud_share: share(&|origin, executor| origin != executor && is_cloud(executor)),
        }
    }
}

/// Nearest rank: a value that occurred.
fn rank(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tasks at {:.0} % load, seed {}; times in ms", self.tasks, self.load * 100.0, self.seed)?;
        writeln!(f, "             DONE   MEAN    P10    P50    P90     P99  = RUN + OTHER   HOME  NEIGHBOUR  CLOUD")?;
        for (name, side) in [("real", &self.real), ("simulated", &self.simulated), ("replayed", &self.replayed)] {
            writeln!(
                f,
                "  {name:<10} {:>5} {:>6.0} {:>6.0} {:>6.0} {:>6.0} {:>7.0} {:>7.0} {:>7.0} {:>5.0} % {:>8.0} % {:>4.0} %",
                side.completed,
                side.mean_ms,
                side.p10_ms,
                side.p50_ms,
                side.p90_ms,
                side.p99_ms,
                side.run_mean_ms,
                side.other_mean_ms,
                side.home_share * 100.0,
                side.neighbour_share * 100.0,
                side.cloud_share * 100.0
            )?;
        }
        writeln!(
            f,
            "  replayed, that is simulated with runs as long as they really were, over real: {:.3} at the median, {:.3} of the mean",
            self.p50_ratio, self.mean_ratio
        )?;
        writeln!(
            f,
            "  real runs took {:.3} (median) and {:.3} (99th percentile) of what they should on their executor",
            self.real_run_ratio_p50, self.real_run_ratio_p99
        )?;
        writeln!(f, "  {:.0} % of the tasks ran at the same peer on both sides", self.same_executor_share * 100.0)
    }
}
