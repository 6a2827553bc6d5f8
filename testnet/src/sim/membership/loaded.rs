//! What peers send when they have work: each one's users submit as many tasks as keep a share of all cores busy.
//!
//! Tasks arise at random peers of the edge, at random times; their work is lognormal (mean 200 ms, σ 1), and what is expected
//! of it is off by a factor that is lognormal too (σ 0.3). Every peer holds the module, compiled. The bytes of a task's input
//! and result are not control; what rides beside them is.

use core::time::Duration;

use rand::RngExt;
use serde::Serialize;
use shoal_protocol::task::spec::{CloudUse, Payload};
use shoal_protocol::{BlobId, Input, TaskSpec};

use super::super::Count;
use super::super::place::mesh::is_of_task;
use super::{Mesh, percentile};

/// Queues fill, and who has room where becomes known.
const WARMING: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(20);
/// Tasks that arise within one of these arise at its beginning.
const TICK: Duration = Duration::from_millis(10);
const WORK_MEAN_MS: f64 = 200.0;
const WORK_SIGMA: f64 = 1.0;
const ESTIMATE_SIGMA: f64 = 0.3;
const INPUT_BYTES: usize = 1_000;
const OUTPUT_BYTES: u64 = 1_000;
const MODULE: BlobId = BlobId([7; 32]);

/// What was sent under load.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Loaded {
    /// Offered work, in percent of all cores.
    pub percent: f64,
    /// Tasks submitted while it was measured, for each peer and second.
    pub tasks_per_peer_s: f64,
    /// Tasks that ended, of a hundred submitted since the load began.
    pub ended_percent: f64,
    /// Control bytes a peer sent in a second.
    pub bytes_per_peer_s_mean: f64,
    /// 99 of a hundred peers sent less.
    pub bytes_per_peer_s_p99: f64,
    /// The part of the mean that is because of tasks: awards, answers, results, and load told because of them.
    pub bytes_because_of_tasks_per_peer_s: f64,
    /// Messages sent because of tasks, results apart, for each task.
    pub messages_per_task: f64,
}

/// Gives every peer the module; the tasks that must arise in a [`TICK`] to keep so much of all cores busy.
pub(super) fn prepare(mesh: &mut Mesh, percent: f64) -> f64 {
    for n in 0..mesh.sim.len() {
        mesh.sim.tell(n, Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) });
    }
    let cores = (0..mesh.sim.len()).filter(|n| mesh.is_running(*n)).count(); // of one core and speed one each
    cores as f64 * percent / 100.0 / (WORK_MEAN_MS / 1e3) * TICK.as_secs_f64()
}

pub(super) fn measure(mesh: &mut Mesh, percent: f64) -> Loaded {
    let per_tick = prepare(mesh, percent);
    let warming = live(mesh, per_tick, WARMING);

    let before = mesh.sim.counts();
    let submitted = live(mesh, per_tick, MEASURED);

    let after = mesh.sim.counts();
    let peers = mesh.sim.len();
    let seconds = MEASURED.as_secs_f64();
    let rate = |n: usize| after.of_sender(n).since(before.of_sender(n)).bytes as f64 / seconds;
    let mut rates: Vec<f64> = (0..peers).map(rate).collect();
    let of_kind = |kind: &str| before.by_kind().get(kind).copied().unwrap_or_default();
    let sent = after.by_kind().iter().map(|(kind, count)| (*kind, count.since(of_kind(kind))));
    let (mut of_tasks, mut results) = (Count::default(), Count::default());
    for (kind, count) in sent {
        match kind {
            "outcome" => results += count,
            kind if is_of_task(kind) => of_tasks += count,
            _ => {}
        }
    }
    Loaded {
        percent,
        tasks_per_peer_s: submitted as f64 / seconds / peers as f64,
        ended_percent: 100.0 * (1.0 - mesh.sim.open_tasks() as f64 / (warming + submitted).max(1) as f64),
        bytes_per_peer_s_mean: rates.iter().sum::<f64>() / peers as f64,
        bytes_per_peer_s_p99: percentile(&mut rates, 99.0).unwrap_or_default(),
        bytes_because_of_tasks_per_peer_s: (of_tasks.bytes + results.bytes) as f64 / seconds / peers as f64,
        messages_per_task: of_tasks.messages as f64 / submitted.max(1) as f64,
    }
}

/// Lets tasks arise for that long; how many did.
pub(super) fn live(mesh: &mut Mesh, per_tick: f64, span: Duration) -> usize {
    let end = mesh.sim.now() + span;
    let (mut submitted, mut due) = (0, 0.0);
    // Times between arrivals are exponential: the sum of arrivals is Poisson.
    let mut next = exponential(mesh);
    while mesh.sim.now() < end {
        due += per_tick;
        while next <= due {
            next += exponential(mesh);
            submitted += usize::from(submit(mesh));
        }
        mesh.sim.run_for(TICK);
    }
    submitted
}

fn submit(mesh: &mut Mesh) -> bool {
    let Some(home) = (0..100).find_map(|_| mesh.one_running().filter(|n| *n >= mesh.clouds)) else { return false };
    let work_ms = WORK_MEAN_MS * (normal(mesh) * WORK_SIGMA - WORK_SIGMA * WORK_SIGMA / 2.0).exp();
    let estimate_ms = work_ms * (normal(mesh) * ESTIMATE_SIGMA).exp();
    let us = |ms: f64| Duration::from_micros((ms * 1e3).ceil() as u64);
    let mut spec = TaskSpec::of_module(MODULE, 0);
    spec.inputs.push(Payload::inline(vec![0; INPUT_BYTES]));
    spec.policy.cloud = CloudUse::Allow;
    spec.limits.wall = Duration::from_secs(3_600);
    spec.expected = Some(us(estimate_ms));
    mesh.sim.submit_spec(home, spec, us(work_ms), OUTPUT_BYTES);
    true
}

fn exponential(mesh: &mut Mesh) -> f64 {
    -(1.0 - mesh.rng.random::<f64>()).ln()
}

/// Box and Muller; 1 - [0, 1) keeps the logarithm finite.
fn normal(mesh: &mut Mesh) -> f64 {
    let (a, b) = (1.0 - mesh.rng.random::<f64>(), mesh.rng.random::<f64>());
    (-2.0 * a.ln()).sqrt() * (core::f64::consts::TAU * b).cos()
}
