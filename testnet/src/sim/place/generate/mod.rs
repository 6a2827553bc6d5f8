//! Makes a case from a matrix of round-trip times: who the machines are, what arises where, and when.
//!
//! **Invariant:** the same matrix, plan and seed give the same case. Machines, works and arrivals come from separate streams
//! of the seed, so that one load and another have the same machines and the same works.

pub mod arrivals;
pub(in crate::sim) mod draw;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use self::draw::{Lognormal, exponential, hyperexponential, weighted};
use super::case::{Case, NodeSpec, TaskLine, Tier};
use crate::sim::matrix::Matrix;

const CLOUD_CORES: u16 = 64;
const CLOUD_SPEED: f64 = 2.0;
const CLOUD_UPLINK_MBPS: f64 = 1_000.0;
const EDGE_CORES_MAX: u16 = 4;
const EDGE_SPEED_MIN: f64 = 0.25;
const EDGE_SPEED_MAX: f64 = 1.0;
const EDGE_UPLINK_MBPS_MIN: f64 = 20.0;
const EDGE_UPLINK_MBPS_MAX: f64 = 200.0;
/// Clouds are among the best connected: this share of the nodes, but at least two for each cloud.
const CLOUD_CANDIDATES_SHARE: f64 = 0.05;

/// What to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub seed: u64,
    /// Offered work over Σ cores · speed.
    pub load: f64,
    pub count: usize,
    /// The matrix is multiplied by this.
    pub rtt_scale: f64,
    pub clouds: usize,
    pub work_mean_ms: f64,
    pub work_sigma: f64,
    pub estimate_sigma: f64,
    pub input_mean_bytes: f64,
    pub input_sigma: f64,
    pub output_bytes: f64,
    /// How unequal the edge nodes are in what arises at them.
    pub origin_sigma: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            load: 0.8,
            count: 200_000,
            rtt_scale: 0.3,
            clouds: 10,
            work_mean_ms: 200.0,
            work_sigma: 1.0,
            estimate_sigma: 0.3,
            input_mean_bytes: 20_000.0,
            input_sigma: 1.0,
            output_bytes: 2_000.0,
            origin_sigma: 0.6,
        }
    }
}

/// Why a case cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{clouds} of {nodes} nodes cannot be clouds: tasks arise at edge nodes")]
    NoEdge { clouds: usize, nodes: usize },
}

/// When tasks arise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals<'a> {
    /// Each on its own.
    Poisson,
    /// In bursts: gaps vary by so many times their mean.
    Varying(f64),
    /// With these gaps in any unit, repeated as often as needed.
    Recorded(&'a [f64]),
}

/// Makes a case.
pub fn case(matrix: &Matrix, plan: &Plan, arrivals: Arrivals<'_>) -> Result<Case, PlanError> {
    if plan.clouds >= matrix.len() {
        return Err(PlanError::NoEdge { clouds: plan.clouds, nodes: matrix.len() });
    }
    let stream = |number: u64| Pcg64Mcg::seed_from_u64(plan.seed.wrapping_mul(8).wrapping_add(number));
    let nodes = nodes(matrix, plan, &mut stream(0));
    let rtt = matrix.scaled(plan.rtt_scale);
    let mut case = Case { nodes, rtt, tasks: Vec::new() };
    case.tasks = tasks(&case, plan, &mut stream(1));
    let work_ms: f64 = case.tasks.iter().map(|task| task.work_ms).sum();
    let span_ms = work_ms / (plan.load * case.capacity());
    let mut rng = stream(2);
    let gaps: Vec<f64> = match arrivals {
        Arrivals::Poisson => gaps(exponential(1.0), plan.count, &mut rng),
        Arrivals::Varying(cv) => gaps(hyperexponential(cv), plan.count, &mut rng),
        Arrivals::Recorded(gaps) => gaps.iter().copied().cycle().take(plan.count).collect(),
    };
    let arrivals_ms = arrivals::spread(&gaps, span_ms);
    for (task, arrival_ms) in case.tasks.iter_mut().zip(arrivals_ms) {
        task.arrival_ms = arrival_ms;
    }
    Ok(case)
}

fn gaps<R: Rng>(draw: impl Fn(&mut R) -> f64, count: usize, rng: &mut R) -> Vec<f64> {
    (0..count).map(|_| draw(rng)).collect()
}

fn nodes(matrix: &Matrix, plan: &Plan, rng: &mut impl Rng) -> Vec<NodeSpec> {
    let clouds = clouds(matrix, plan.clouds);
    let of = |index: usize| {
        // Drawn for clouds too, so that another number of clouds leaves the other machines as they are.
        let cores = rng.random_range(1..=EDGE_CORES_MAX);
        let mut between = |least: f64, most: f64| least + (most - least) * rng.random::<f64>();
        let speed = rounded(between(EDGE_SPEED_MIN, EDGE_SPEED_MAX), 1_000.0);
        let uplink_mbps = rounded(between(EDGE_UPLINK_MBPS_MIN, EDGE_UPLINK_MBPS_MAX), 10.0);
        let id = index.to_string();
        if clouds.contains(&index) {
            let (cores, speed, uplink_mbps) = (CLOUD_CORES, CLOUD_SPEED, CLOUD_UPLINK_MBPS);
            return NodeSpec { id, tier: Tier::Cloud, cores, speed, uplink_mbps };
        }
        NodeSpec { id, tier: Tier::Edge, cores, speed, uplink_mbps }
    };
    (0..matrix.len()).map(of).collect()
}

/// The clouds: the best connected node by median round trip, then of the best few always the one farthest from those taken
/// already, because data centres stand in different places.
fn clouds(matrix: &Matrix, count: usize) -> Vec<usize> {
    let mut by_median: Vec<(f64, usize)> = (0..matrix.len()).map(|node| (median_ms(matrix, node), node)).collect();
    by_median.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let share = (matrix.len() as f64 * CLOUD_CANDIDATES_SHARE).round() as usize;
    let mut candidates: Vec<usize> = by_median.into_iter().map(|(_, node)| node).take(share.max(2 * count)).collect();
    let mut clouds: Vec<usize> = Vec::with_capacity(count);
    while clouds.len() < count {
        let nearest_ms = |node: usize| {
            let known_ms = clouds.iter().filter_map(|cloud| matrix.rtt_ms(node, *cloud));
            known_ms.fold(f64::INFINITY, f64::min)
        };
        // The first of equals: `max_by` takes the last.
        let farthest = (0..candidates.len())
            .rev()
            .max_by(|a, b| nearest_ms(candidates[*a]).total_cmp(&nearest_ms(candidates[*b])));
        let Some(farthest) = farthest else { break };
        clouds.push(candidates.remove(farthest));
    }
    clouds
}

fn median_ms(matrix: &Matrix, node: usize) -> f64 {
    let mut known: Vec<f64> =
        (0..matrix.len()).filter(|other| *other != node).filter_map(|other| matrix.rtt_ms(node, other)).collect();
    known.sort_by(f64::total_cmp);
    known.get(known.len() / 2).copied().unwrap_or(f64::INFINITY)
}

fn tasks(case: &Case, plan: &Plan, rng: &mut impl Rng) -> Vec<TaskLine> {
    let edges: Vec<usize> = (0..case.nodes.len()).filter(|node| case.nodes[*node].tier == Tier::Edge).collect();
    let weight = Lognormal::with_median(1.0, plan.origin_sigma);
    let weights: Vec<f64> = edges.iter().map(|_| weight.draw(rng)).collect();
    let origin = weighted(&weights);
    let work = Lognormal::with_mean(plan.work_mean_ms, plan.work_sigma);
    let estimate = Lognormal::with_median(1.0, plan.estimate_sigma);
    let input = Lognormal::with_mean(plan.input_mean_bytes, plan.input_sigma);
    let of = |number: usize| {
        let work_ms = rounded(work.draw(rng), 1e3).max(1e-3);
        TaskLine {
            id: number.to_string(),
            arrival_ms: 0.0,
            origin: edges[origin(rng.random::<f64>())],
            work_ms,
            estimate_ms: rounded(work_ms * estimate.draw(rng), 1e3).max(1e-3),
            input_bytes: input.draw(rng).round(),
            output_bytes: plan.output_bytes,
        }
    };
    (0..plan.count).map(of).collect()
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests;
