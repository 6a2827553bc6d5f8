//! A case that fits on one machine: a few clouds, a few edges, one kind of link between each two tiers.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::certificate::Role;

use crate::emulator::{Link, Links};
use crate::sim::matrix::Matrix;
use crate::sim::place::{Case, NodeSpec, TaskLine, Tier};

const CLOUD_CORES: u16 = 2;
const CLOUD_SPEED: f64 = 2.0;
const EDGE_SPEEDS: [f64; 3] = [1.0, 0.5, 0.25];
const EDGE_EDGE: Duration = Duration::from_millis(2);
const EDGE_CLOUD: Duration = Duration::from_millis(15);
const CLOUD_CLOUD: Duration = Duration::from_millis(5);
const EDGE_MBPS: f64 = 100.0;
const CLOUD_MBPS: f64 = 1_000.0;
/// What the `spin` module writes.
const OUTPUT_BYTES: f64 = 45.0;
const WORK_SIGMA: f64 = 0.7;
const ESTIMATE_SIGMA: f64 = 0.3;
const INPUT_MEAN_BYTES: f64 = 10_000.0;

/// What to compare.
#[derive(Debug, Clone)]
pub struct Plan {
    pub cloud: usize,
    pub edge: usize,
    pub tasks: usize,
    /// Offered work over all cores' speed.
    pub load: f64,
    /// Mean work of a task on a reference core, in milliseconds.
    pub work_mean_ms: f64,
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { cloud: 2, edge: 6, tasks: 600, load: 0.6, work_mean_ms: 200.0, seed: 1 }
    }
}

impl Plan {
    /// Why it cannot be made.
    pub(super) fn check(&self) -> Result<(), String> {
        let within = |what: &str, value: f64, min: f64, max: f64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(format!("{what} is {value}: {min} to {max} can be done"))
            }
        };
        within("the number of cloud peers", self.cloud as f64, 0.0, 10.0)?;
        within("the number of edge peers", self.edge as f64, 1.0, 20.0)?;
        within("the number of peers", (self.cloud + self.edge) as f64, 2.0, 20.0)?;
        within("the number of tasks", self.tasks as f64, 10.0, 100_000.0)?;
        within("the load", self.load, 0.01, 1.5)?;
        within("the mean work in milliseconds", self.work_mean_ms, 20.0, 10_000.0)
    }

    /// The links of the real mesh; [`Plan::case`] tells the simulator the same.
    pub(super) fn links() -> Links {
        let mut links = Links::uniform(Link::with_delay(EDGE_EDGE));
        links.edge_cloud = Link::with_delay(EDGE_CLOUD);
        links.cloud_cloud = Link::with_delay(CLOUD_CLOUD);
        links.edge_uplink.bits_per_s = Some((EDGE_MBPS * 1e6) as u64);
        links.cloud_uplink.bits_per_s = Some((CLOUD_MBPS * 1e6) as u64);
        links
    }

    /// Nodes, distances and tasks; clouds first, as [`crate::ClusterConfig::new`] has them.
    pub(super) fn case(&self) -> Case {
        let clouds = (1..=self.cloud).map(|number| NodeSpec {
            id: format!("{}-{number}", Role::Cloud),
            tier: Tier::Cloud,
            cores: CLOUD_CORES,
            speed: CLOUD_SPEED,
            uplink_mbps: CLOUD_MBPS,
        });
        let edges = (1..=self.edge).map(|number| NodeSpec {
            id: format!("{}-{number}", Role::Edge),
            tier: Tier::Edge,
            cores: 1,
            speed: EDGE_SPEEDS[(number - 1) % EDGE_SPEEDS.len()],
            uplink_mbps: EDGE_MBPS,
        });
        let nodes: Vec<NodeSpec> = clouds.chain(edges).collect();
        let tier = |index: usize| nodes.get(index).map(|node| node.tier);
        let rtt = Matrix::from_fn(nodes.len(), |from, to| {
            let one_way = match (tier(from), tier(to)) {
                _ if from == to => Duration::ZERO,
                (Some(Tier::Edge), Some(Tier::Edge)) => EDGE_EDGE,
                (Some(Tier::Cloud), Some(Tier::Cloud)) => CLOUD_CLOUD,
                _ => EDGE_CLOUD,
            };
            Some(one_way.as_secs_f64() * 2_000.0)
        });
        let mut case = Case { nodes, rtt, tasks: Vec::new() };
        case.tasks = self.tasks(case.capacity());
        case
    }

    fn tasks(&self, capacity: f64) -> Vec<TaskLine> {
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed);
        let gap_ms = self.work_mean_ms / (capacity * self.load);
        let mut arrival_ms = 0.0;
        (0..self.tasks)
            .map(|index| {
                arrival_ms += gap_ms * -(1.0 - rng.random::<f64>()).ln();
                let work_ms = lognormal(&mut rng, self.work_mean_ms, WORK_SIGMA);
                TaskLine {
                    id: index.to_string(),
                    arrival_ms,
                    origin: self.cloud + rng.random_range(0..self.edge),
                    work_ms,
                    estimate_ms: work_ms * (ESTIMATE_SIGMA * normal(&mut rng)).exp(),
                    input_bytes: lognormal(&mut rng, INPUT_MEAN_BYTES, 1.0).ceil(),
                    output_bytes: OUTPUT_BYTES,
                }
            })
            .collect()
    }
}

fn lognormal(rng: &mut impl Rng, mean: f64, sigma: f64) -> f64 {
    mean * (sigma * normal(rng) - sigma * sigma / 2.0).exp()
}

/// Box and Muller, one of the two.
fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (core::f64::consts::TAU * rng.random::<f64>()).cos()
}
