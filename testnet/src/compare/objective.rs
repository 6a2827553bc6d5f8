//! An instance of [`crate::sim::brief`] on real processes, and the exact optimum of what was measured of it.
//!
//! Machines, delays, weights, prices, λ and deadlines are the instance's; the tasks are handed in at one moment, each of one
//! build, whose run is a spin of known length, stretched (`real.rs`). Where each task ran, when its answer was home and how
//! long it held its core are measured, and so are the round trips: the optimum is that of the instance with these.

use std::time::{Duration, Instant};

use serde::Serialize;
use shoal_cli::client::Client;
use shoal_protocol::api::{InputRequest, TaskRequest};
use shoal_protocol::placement::cost::transmission;
use shoal_protocol::{BlobId, Role, TaskState};

use super::real::{SETTLING, STRETCH, Spin, Untimed, prepare, request};
use super::{CompareError, failed_at};
use crate::cluster::{Cluster, ClusterConfig, PeerPlan, Where};
use crate::emulator::{Link, Links};
use crate::sim::brief::{Instance, Machine, Met, Plan, Shape, instance_seed, optimum};

/// Round trips of which the least counts: what a busy machine adds is not the way.
const PINGS: usize = 5;
/// What the `spin` module writes.
const OUTPUT_BYTES: u64 = 45;
/// Times every home runs the work of its users before, so that it is known.
const TRIES: usize = 3;

/// What was achieved, and what could have been.
#[derive(Debug, Clone, Serialize)]
pub struct Achieved {
    pub schema: String,
    pub seed: u64,
    /// The objective of what happened.
    pub objective: f64,
    /// Of the best plan, with the measured runs and round trips.
    pub optimum: f64,
    pub ratio: f64,
    pub tasks: Vec<TaskLine>,
}

/// One user's task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskLine {
    pub home: String,
    pub ran_at: String,
    pub optimal_at: String,
    pub run_ms: f64,
    pub answer_ms: f64,
    pub cost: f64,
    pub optimal_cost: f64,
}

/// Runs the first instance of a seed.
pub async fn run(shape: Shape, seed: u64) -> Result<Achieved, CompareError> {
    let mut instance = Instance::draw(shape, instance_seed(seed, 0));
    simplify(&mut instance);
    let names: Vec<String> = (0..instance.machines.len()).map(|index| name(&shape, index)).collect();
    let config = ClusterConfig {
        peers: names.iter().zip(&instance.machines).map(|(name, machine)| peer(name, machine)).collect(),
        network: Where::Emulated(links(&instance, &names)?),
        log: "warn".into(),
        ..ClusterConfig::new(shape.clouds, shape.edges)
    };
    let cluster = Cluster::start(config).await?;
    let clients = (0..names.len()).map(|index| cluster.client(index)).collect::<Result<Vec<_>, _>>()?;
    let module = prepare(&clients, &names).await?;
    let slowdown = STRETCH / instance.machines[0].speed;
    let spin = Spin::time(&clients[0], module, slowdown).await.map_err(|why| match why {
        Untimed::Client(source) => failed_at(&names, 0, "run a task")(source),
        Untimed::Nonsense(why) => CompareError::Uncalibrated { why },
    })?;
    teach(&instance, &clients, &names, module, spin).await?;
    tokio::time::sleep(SETTLING).await;
    measure_ways(&mut instance, &clients, &names).await?;
    let went = all_at_once(&instance, &clients, &names, module, spin).await;
    cluster.shutdown().await;
    Ok(achieved(seed, instance, &names, &went?))
}

/// All at once, one build each, and one rate for all uplinks of a tier: what emulated links can be told.
fn simplify(instance: &mut Instance) {
    let rate_of = |role: Role| instance.machines.iter().find(|of| of.role == role).map(|of| of.uplink_bits_per_s);
    let (cloud, edge) = (rate_of(Role::Cloud), rate_of(Role::Edge));
    for machine in &mut instance.machines {
        let rate = match machine.role {
            Role::Cloud => cloud,
            Role::Edge => edge,
        };
        machine.uplink_bits_per_s = rate.unwrap_or(machine.uplink_bits_per_s);
    }
    for user in &mut instance.users {
        user.at = Duration::ZERO;
        user.builds.truncate(1);
        user.output_bytes = OUTPUT_BYTES;
    }
}

fn name(shape: &Shape, index: usize) -> String {
    match index.checked_sub(shape.clouds) {
        None => format!("{}-{}", Role::Cloud, index + 1),
        Some(edge) => format!("{}-{}", Role::Edge, edge + 1),
    }
}

fn peer(name: &str, machine: &Machine) -> PeerPlan {
    let plan = match machine.role {
        Role::Edge => PeerPlan::edge(name),
        Role::Cloud => PeerPlan::cloud(name),
    };
    PeerPlan {
        cores: machine.cores,
        speed: Some(machine.speed),
        slowdown: STRETCH / machine.speed,
        uplink_bits_per_s: Some(machine.uplink_bits_per_s),
        price: machine.price,
        weights: machine.weights,
        ..plan
    }
}

fn links(instance: &Instance, names: &[String]) -> Result<Links, CompareError> {
    let mut links = Links::uniform(Link::IDEAL);
    for (from, from_name) in names.iter().enumerate() {
        for (to, to_name) in names.iter().enumerate().skip(from + 1) {
            links.delay_between(from_name, to_name, instance.way(from, to));
        }
    }
    for machine in &instance.machines {
        let uplink = match machine.role {
            Role::Cloud => &mut links.cloud_uplink,
            Role::Edge => &mut links.edge_uplink,
        };
        uplink.bits_per_s = Some(machine.uplink_bits_per_s);
    }
    Ok(links)
}

fn of_user(instance: &Instance, user: usize, module: BlobId, spin: Spin) -> TaskRequest {
    let user = &instance.users[user];
    let work_ms = user.builds.first().map_or(0.0, |build| build.work.as_secs_f64() * 1e3);
    TaskRequest {
        inputs: vec![InputRequest::Text("x".repeat(user.input_bytes as usize))],
        deadline_ms: user.deadline.map(|deadline| deadline.as_millis() as u64),
        lambda: Some(instance.lambda),
        ..request(module, spin.rounds(work_ms))
    }
}

/// Every home has run its users' tasks before, and has had one run at every other machine: as in the simulator.
async fn teach(
    instance: &Instance,
    clients: &[Client],
    names: &[String],
    module: BlobId,
    spin: Spin,
) -> Result<(), CompareError> {
    for (index, user) in instance.users.iter().enumerate() {
        for _ in 0..TRIES {
            let tried = TaskRequest { local_only: true, deadline_ms: None, ..of_user(instance, index, module, spin) };
            clients[user.home].run(tried).await.map_err(failed_at(names, user.home, "run a task"))?;
        }
        let was_heard = instance.users.iter().take(index).any(|before| before.home == user.home);
        for name in names.iter().filter(|name| **name != names[user.home] && !was_heard) {
            let there =
                TaskRequest { peer: Some(name.clone()), deadline_ms: None, ..of_user(instance, index, module, spin) };
            clients[user.home].run(there).await.map_err(failed_at(names, user.home, "run a task"))?;
        }
    }
    Ok(())
}

async fn measure_ways(instance: &mut Instance, clients: &[Client], names: &[String]) -> Result<(), CompareError> {
    for (from, client) in clients.iter().enumerate() {
        for to in (0..names.len()).filter(|to| *to != from) {
            let mut least = f64::INFINITY;
            for _ in 0..PINGS {
                let pong = client.ping(&names[to]).await.map_err(failed_at(names, from, "ping a peer"))?;
                least = pong.rtt_ms.map_or(least, |ms| least.min(ms));
            }
            if least.is_finite() {
                instance.set_way(from, to, Duration::from_secs_f64(least / 2_000.0));
            }
        }
    }
    Ok(())
}

/// One task as it really went.
#[derive(Debug, Clone, Copy)]
struct Went {
    executor: usize,
    took: Duration,
    run: Duration,
}

async fn all_at_once(
    instance: &Instance,
    clients: &[Client],
    names: &[String],
    module: BlobId,
    spin: Spin,
) -> Result<Vec<Went>, CompareError> {
    let began = Instant::now();
    let asked: Vec<_> = (0..instance.users.len())
        .map(|index| {
            let request = of_user(instance, index, module, spin);
            let client = clients[instance.users[index].home].clone();
            tokio::spawn(async move { (client.run(request).await, began.elapsed()) })
        })
        .collect();
    let mut went = Vec::new();
    for (task, asked) in asked.into_iter().enumerate() {
        let lost = |why: String| CompareError::Task { task, why };
        let (answer, took) = asked.await.map_err(|error| lost(error.to_string()))?;
        let view = answer.map_err(failed_at(names, instance.users[task].home, "run a task"))?;
        let executor = view.executor.as_ref().and_then(|at| names.iter().position(|name| *name == at.name));
        let (Some(executor), Some(timings), TaskState::Done) = (executor, view.timings, view.state) else {
            return Err(lost(format!("{view:?}")));
        };
        went.push(Went { executor, took, run: Duration::from_micros(timings.run_us) });
    }
    Ok(went)
}

/// Both are evaluated on the instance as it was measured.
fn achieved(seed: u64, mut instance: Instance, names: &[String], went: &[Went]) -> Achieved {
    for (user, went) in instance.users.iter_mut().zip(went) {
        let speed = instance.machines[went.executor].speed;
        user.builds[0].work = went.run.mul_f64(speed);
    }
    let met: Vec<Met> = instance
        .users
        .iter()
        .zip(went)
        .map(|(user, went)| {
            let downlink = instance.machines[went.executor].uplink_bits_per_s;
            let moves = went.executor != user.home;
            let back =
                transmission(user.output_bytes, moves.then_some(downlink)) + instance.way(went.executor, user.home);
            // Everything before the run, whatever it was spent on.
            Met { start_in: went.took.saturating_sub(went.run + back), ..instance.alone(user, went.executor, 0) }
        })
        .collect();
    let Plan { met: best, total } = optimum(&instance);
    let line = |index: usize| {
        let (user, met, best) = (&instance.users[index], &met[index], &best[index]);
        TaskLine {
            home: names[user.home].clone(),
            ran_at: names[met.machine].clone(),
            optimal_at: names[best.machine].clone(),
            run_ms: went[index].run.as_secs_f64() * 1e3,
            answer_ms: went[index].took.as_secs_f64() * 1e3,
            cost: instance.cost(user, met).total(),
            optimal_cost: instance.cost(user, best).total(),
        }
    };
    let objective = instance.total(&met);
    Achieved {
        schema: shoal_protocol::api::schema(),
        seed,
        objective,
        optimum: total,
        ratio: objective / total,
        tasks: (0..instance.users.len()).map(line).collect(),
    }
}
