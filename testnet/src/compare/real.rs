//! The case on real processes.
//!
//! A run is a short spin whose slot is held many times as long, by the testnet's slowdown: its length is known, and eight
//! peers take little of the processor. A spin's rounds are set from what the sandbox itself needs for them here.

use std::time::{Duration, Instant};

use shoal_cli::client::{Client, ClientError};
use shoal_examples::modules;
use shoal_protocol::api::{InputRequest, TaskRequest, VariantRequest};
use shoal_protocol::task::spec::CloudUse;
use shoal_protocol::{BlobId, TaskState};
use tokio::task::JoinSet;

use super::case::Plan;
use super::{CompareError, Went, failed_at};
use crate::cluster::{Cluster, ClusterConfig, PeerPlan, Where};
use crate::sim::place::{Case, NodeSpec, TaskLine, Tier};

/// A millisecond of reference work is this part of a millisecond of spinning.
pub(super) const STRETCH: f64 = 50.0;
/// Rounds of the two spins whose difference is timed.
const ROUNDS: [u64; 2] = [100_000, 1_100_000];
/// Times each is timed; the median counts.
const TRIALS: usize = 15;
const QUEUE_MAX: u32 = 1_024;
/// Load and round trips are known well after this.
pub(super) const SETTLING: Duration = Duration::from_secs(3);

/// Every task of the case, in its order.
pub(super) async fn run(plan: &Plan, case: &Case) -> Result<Vec<Went>, CompareError> {
    let config = ClusterConfig {
        peers: case.nodes.iter().map(peer).collect(),
        network: Where::Emulated(Plan::links()),
        log: "warn".into(),
        ..ClusterConfig::new(plan.cloud, plan.edge)
    };
    let cluster = Cluster::start(config).await?;
    let clients = (0..case.nodes.len()).map(|index| cluster.client(index)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = case.nodes.iter().map(|node| node.id.clone()).collect();
    let module = prepare(&clients, &names).await?;
    let spin = Spin::time(&clients[0], module, slowdown(&case.nodes[0])).await.map_err(|why| match why {
        Untimed::Client(source) => failed_at(&names, 0, "run a task")(source),
        Untimed::Nonsense(why) => CompareError::Uncalibrated { why },
    })?;
    tokio::time::sleep(SETTLING).await;
    let went = feed(case, &clients, &names, module, spin).await;
    cluster.shutdown().await;
    went
}

fn peer(node: &NodeSpec) -> PeerPlan {
    let plan = match node.tier {
        Tier::Edge => PeerPlan::edge(&node.id),
        Tier::Cloud => PeerPlan::cloud(&node.id),
    };
    PeerPlan { cores: node.cores, speed: Some(node.speed), slowdown: slowdown(node), queue_max: QUEUE_MAX, ..plan }
}

fn slowdown(node: &NodeSpec) -> f64 {
    STRETCH / node.speed
}

/// The module compiled everywhere.
pub(super) async fn prepare(clients: &[Client], names: &[String]) -> Result<BlobId, CompareError> {
    let bytes = modules::module_bytes("spin").unwrap_or_default();
    let mut module = BlobId::of(bytes);
    for (index, client) in clients.iter().enumerate() {
        module = client.put_blob(bytes).await.map_err(failed_at(names, index, "store the module"))?.id;
        let request = TaskRequest { local_only: true, ..request(module, 1) };
        client.run(request).await.map_err(failed_at(names, index, "run the module"))?;
    }
    Ok(module)
}

pub(super) fn request(module: BlobId, rounds: u64) -> TaskRequest {
    TaskRequest {
        variants: vec![VariantRequest { name: "spin".into(), module, loss: 0.0 }],
        args: vec![rounds.to_string()],
        cloud: Some(CloudUse::Allow),
        // In the simulator every task waits as long as it must.
        start_within_ms: Some(u64::MAX),
        ..TaskRequest::default()
    }
}

/// How long the sandbox spins here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spin {
    /// Of a run without rounds.
    start_ms: f64,
    rounds_per_ms: f64,
}

pub(super) enum Untimed {
    Client(ClientError),
    Nonsense(String),
}

impl Spin {
    pub(super) async fn time(client: &Client, module: BlobId, slowdown: f64) -> Result<Self, Untimed> {
        let mut medians_ms = [0.0; 2];
        for (rounds, median_ms) in ROUNDS.into_iter().zip(&mut medians_ms) {
            let mut runs_ms = Vec::new();
            for _ in 0..TRIALS {
                let request = TaskRequest { local_only: true, ..request(module, rounds) };
                let view = client.run(request).await.map_err(Untimed::Client)?;
                let run_us = view.timings.map_or(0, |timings| timings.run_us);
                runs_ms.push(run_us as f64 / 1_000.0 / slowdown);
            }
            runs_ms.sort_by(f64::total_cmp);
            *median_ms = runs_ms[TRIALS / 2];
        }
        let [short_ms, long_ms] = medians_ms;
        let rounds_per_ms = (ROUNDS[1] - ROUNDS[0]) as f64 / (long_ms - short_ms);
        let start_ms = short_ms - ROUNDS[0] as f64 / rounds_per_ms;
        if !rounds_per_ms.is_finite() || rounds_per_ms <= 0.0 {
            let why = format!("{} rounds took {short_ms:.3} ms and {} took {long_ms:.3} ms", ROUNDS[0], ROUNDS[1]);
            return Err(Untimed::Nonsense(why));
        }
        Ok(Self { start_ms: start_ms.max(0.0), rounds_per_ms })
    }

    /// Rounds that make a run of this much reference work.
    pub(super) fn rounds(&self, work_ms: f64) -> u64 {
        ((work_ms / STRETCH - self.start_ms).max(0.0) * self.rounds_per_ms).round() as u64
    }
}

async fn feed(
    case: &Case,
    clients: &[Client],
    names: &[String],
    module: BlobId,
    spin: Spin,
) -> Result<Vec<Went>, CompareError> {
    let began = Instant::now();
    let mut asked = JoinSet::new();
    for (index, task) in case.tasks.iter().enumerate() {
        let arrives = began + Duration::from_secs_f64(task.arrival_ms / 1_000.0);
        tokio::time::sleep_until(arrives.into()).await;
        let request = of_task(task, module, spin);
        let client = clients[task.origin].clone();
        asked.spawn(async move { (index, client.run(request).await, arrives.elapsed()) });
    }
    let mut went: Vec<Option<Went>> = vec![None; case.tasks.len()];
    while let Some(joined) = asked.join_next().await {
        // The futures neither panic nor are they aborted.
        let Ok((index, answer, took)) = joined else { continue };
        let origin = case.tasks[index].origin;
        let view = answer.map_err(failed_at(names, origin, "run a task"))?;
        let executor = view.executor.as_ref().and_then(|at| case.nodes.iter().position(|node| node.id == at.name));
        let (Some(executor), Some(timings), TaskState::Done) = (executor, view.timings, view.state) else {
            return Err(CompareError::Task { task: index, why: format!("{view:?}") });
        };
        went[index] = Some(Went { executor, took, run: Duration::from_micros(timings.run_us) });
    }
    went.into_iter()
        .enumerate()
        .map(|(task, went)| went.ok_or(CompareError::Task { task, why: "nothing was heard of it".into() }))
        .collect()
}

fn of_task(task: &TaskLine, module: BlobId, spin: Spin) -> TaskRequest {
    TaskRequest {
        inputs: vec![InputRequest::Text("x".repeat(task.input_bytes as usize))],
        expected_ms: Some(task.estimate_ms),
        name: task.id.clone(),
        ..request(module, spin.rounds(task.work_ms))
    }
}
