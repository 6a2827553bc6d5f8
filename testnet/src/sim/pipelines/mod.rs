//! Plans of pipelines against the best there are: random graphs over random peers, small enough that every plan can be tried.
//!
//! ```text
//! seed ─► generate.rs: graph, peers ─┬─► shoal_protocol::pipeline::plan ─► plan ─┐
//!                                    └─► optimum.rs: every plan ─► the best ─────┴─► ratios of bytes, completion and objective
//! ```
//!
//! What is compared is the planner, in the planner's own model of peers and links: how good its plans are, not how good its
//! forecasts are.
//!
//! **Invariant:** both plans are reckoned by the one evaluator; the optimum is never worse than the plan.
//! **Not here:** what peers do at run time. They look ahead by the same table, with what they know then.

mod generate;
mod optimum;

use std::time::Instant;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use shoal_protocol::pipeline::plan::ahead::CostToGo;
use shoal_protocol::pipeline::plan::{Schedule, list, search};

/// Added to both sides of a ratio of bytes, so that a plan which moves nothing can be compared.
const BYTES_FLOOR: f64 = 1_000.0;

/// How plans compare with the best there are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub schema: &'static str,
    /// Graphs compared.
    pub graphs: usize,
    pub seed: u64,
    /// Bytes that the plan moves, over those the best plan moves.
    pub bytes_mean_ratio: f64,
    pub bytes_p99_ratio: f64,
    /// All bytes that the plans move, over all that the best plans move.
    pub bytes_total_ratio: f64,
    /// Of these, between edge and cloud.
    pub between_tiers_total_ratio: f64,
    /// Completion of the plan, over that of the best plan.
    pub completion_mean_ratio: f64,
    pub completion_p99_ratio: f64,
    /// The objective of the plan, over the least there is.
    pub objective_mean_ratio: f64,
    pub objective_p99_ratio: f64,
    /// The same of list scheduling alone, which is what graphs over 32 tasks get.
    pub list_objective_mean_ratio: f64,
    pub list_bytes_mean_ratio: f64,
    pub list_completion_mean_ratio: f64,
    /// Plans whose objective is the least there is, in percent.
    pub optimal_percent: f64,
    /// Time to make a plan, in microseconds.
    pub plan_us_p50: f64,
    pub plan_us_p99: f64,
    /// All of it, in seconds.
    pub wall_s: f64,
}

/// A defect of planner or comparison, never of the input.
#[derive(Debug, thiserror::Error)]
pub enum PipelinesError {
    #[error("graph {graph} has no plan")]
    NoPlan { graph: usize },
    #[error("graph {graph}: a plan is better than the best there is ({plan} < {best})")]
    BetterThanBest { graph: usize, plan: f64, best: f64 },
}

impl PipelinesError {
    pub fn hint(&self) -> &'static str {
        "this is a fault of Shoal: report it with the seed"
    }
}

/// Plans so many random graphs and compares each plan with the best there is.
pub fn compare(graphs: usize, seed: u64) -> Result<Report, PipelinesError> {
    let began = Instant::now();
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut all = Figures::default();
    for graph in 0..graphs {
        let model = generate::model(&mut rng);
        let started = Instant::now();
        let plan = search::plan(&model);
        all.plan_us.push(started.elapsed().as_secs_f64() * 1e6);
        let (plan, _) = plan.ok_or(PipelinesError::NoPlan { graph })?;
        let order = list::order(&model);
        let listed = list::schedule(&model, &order, &CostToGo::of(&model)).ok_or(PipelinesError::NoPlan { graph })?;
        let best = optimum::optimum(&model, &order, plan.clone()).ok_or(PipelinesError::NoPlan { graph })?;
        if plan.cost() < best.cost() - 1e-6 {
            return Err(PipelinesError::BetterThanBest { graph, plan: plan.cost(), best: best.cost() });
        }
        all.add(&plan, &listed, &best);
    }
    Ok(all.report(graphs, seed, began))
}

#[derive(Debug, Default)]
struct Figures {
    bytes: Vec<f64>,
    completion: Vec<f64>,
    objective: Vec<f64>,
    list_bytes: Vec<f64>,
    list_completion: Vec<f64>,
    list_objective: Vec<f64>,
    plan_us: Vec<f64>,
    total: [u64; 2],
    between_tiers: [u64; 2],
}

impl Figures {
    fn add(&mut self, plan: &Schedule<'_>, listed: &Schedule<'_>, best: &Schedule<'_>) {
        let bytes = |a: &Schedule<'_>| (a.moved_bytes as f64 + BYTES_FLOOR) / (best.moved_bytes as f64 + BYTES_FLOOR);
        let completion = |a: &Schedule<'_>| a.completion_ms / best.completion_ms;
        let objective = |a: &Schedule<'_>| a.cost() / best.cost();
        self.bytes.push(bytes(plan));
        self.completion.push(completion(plan));
        self.objective.push(objective(plan));
        self.list_bytes.push(bytes(listed));
        self.list_completion.push(completion(listed));
        self.list_objective.push(objective(listed));
        self.total = [self.total[0] + plan.moved_bytes, self.total[1] + best.moved_bytes];
        let tiers = [plan.between_tiers_bytes, best.between_tiers_bytes];
        self.between_tiers = [self.between_tiers[0] + tiers[0], self.between_tiers[1] + tiers[1]];
    }

    fn report(self, graphs: usize, seed: u64, began: Instant) -> Report {
        let over = |[ours, best]: [u64; 2]| (ours as f64 + BYTES_FLOOR) / (best as f64 + BYTES_FLOOR);
        let optimal = self.objective.iter().filter(|ratio| **ratio < 1.0 + 1e-9).count();
        Report {
            schema: "shoal/v1",
            graphs,
            seed,
            bytes_mean_ratio: mean(&self.bytes),
            bytes_p99_ratio: quantile(&self.bytes, 0.99),
            bytes_total_ratio: over(self.total),
            between_tiers_total_ratio: over(self.between_tiers),
            completion_mean_ratio: mean(&self.completion),
            completion_p99_ratio: quantile(&self.completion, 0.99),
            objective_mean_ratio: mean(&self.objective),
            objective_p99_ratio: quantile(&self.objective, 0.99),
            list_objective_mean_ratio: mean(&self.list_objective),
            list_bytes_mean_ratio: mean(&self.list_bytes),
            list_completion_mean_ratio: mean(&self.list_completion),
            optimal_percent: 100.0 * optimal as f64 / graphs.max(1) as f64,
            plan_us_p50: quantile(&self.plan_us, 0.5),
            plan_us_p99: quantile(&self.plan_us, 0.99),
            wall_s: began.elapsed().as_secs_f64(),
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_of_small_graphs_are_close_to_the_best_there_are() {
        let report = compare(40, 7).expect("every graph has a plan");

        assert!(report.objective_mean_ratio <= 1.05, "{report:?}");
        assert!(report.bytes_mean_ratio <= 1.1 && report.completion_mean_ratio <= 1.1, "{report:?}");
    }
}
