//! An instance in a mesh of the very peers that `shoald` ships.
//!
//! The mesh forms, and each user has run each build of its model once where it sits: so its home knows what they take. Then
//! every machine has had something run at every other one, one after the other: so all have heard of each other's load. When
//! all is idle again the tasks are handed in, each when it arises, and what becomes of them is looked up.
//!
//! **Not here:** deciding. A decision that could be read here would be a decision made twice.

use core::time::Duration;
use std::sync::Arc;

use shoal_protocol::config::PeerConfig;
use shoal_protocol::placement::explain::Decision;
use shoal_protocol::task::spec::{CloudUse, Payload, Variant};
use shoal_protocol::{BlobId, Input, TaskId, TaskSpec, Time};

use super::super::{Link, Sim};
use super::instance::{Instance, Met, User};

/// Forming the mesh, and a first look at everybody's load and distance.
const FORMING: Duration = Duration::from_secs(4);
/// After the last run before: everything has been idle, and all have heard so.
const QUIET: Duration = Duration::from_secs(1);
/// Nothing of an instance takes longer than this, or it never ends.
const AFTER: Duration = Duration::from_secs(300);
const MEMORY_BYTES_PER_CORE: u64 = 128 << 20;

/// What the mesh made of an instance.
#[derive(Debug, Clone)]
pub struct Placed {
    /// What each user's task met.
    pub met: Vec<Met>,
    /// From its submission to its result.
    pub ended_in: Vec<Duration>,
    /// Why it ran where it ran, one for each attempt.
    pub decisions: Vec<Vec<Decision>>,
}

/// Some task of the instance did not end well: a defect, since nothing goes wrong in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("instance {seed}: the task of user {user} did not end well: {why}")]
pub struct NotPlaced {
    pub seed: u64,
    pub user: usize,
    pub why: String,
}

/// Hands the tasks in, and waits for them.
pub fn place(instance: &Instance) -> Result<Placed, NotPlaced> {
    let mut sim = mesh_of(instance);
    sim.run_for(FORMING);
    let failed = |user, why: String| NotPlaced { seed: instance.seed, user, why };
    for (index, user) in instance.users.iter().enumerate() {
        for build in 0..user.builds.len() {
            run_at(&mut sim, index, user, build, user.home).map_err(|why| failed(index, why))?;
        }
    }
    let machines = 0..instance.machines.len();
    for (home, machine) in machines.clone().flat_map(|home| machines.clone().map(move |machine| (home, machine))) {
        let Some(user) = instance.users.first().filter(|_| home != machine) else { continue };
        run_at(&mut sim, 0, &User { home, ..user.clone() }, 0, machine).map_err(|why| failed(0, why))?;
    }
    sim.run_for(QUIET);
    let begin = sim.now();
    let mut tasks = vec![TaskId([0; 16]); instance.users.len()];
    for together in together(instance) {
        let specs: Vec<TaskSpec> = together.iter().map(|user| spec(*user, &instance.users[*user])).collect();
        let user = &instance.users[together[0]];
        sim.run_to(begin + user.at);
        // As a daemon hands over what has come in.
        let order = sim.peer(user.home).map(|peer| peer.order_of(sim.now(), &specs.iter().collect::<Vec<_>>()));
        for number in order.unwrap_or_default() {
            let user = &instance.users[together[number]];
            tasks[together[number]] =
                sim.submit_spec(user.home, specs[number].clone(), Duration::ZERO, user.output_bytes);
        }
    }
    sim.run_until_done(AFTER, |sim| sim.open_tasks() == 0);
    let met = tasks.iter().enumerate().map(|(index, task)| {
        let user = &instance.users[index];
        met(&sim, *task, begin + user.at, instance.crossing(user, usize::MAX)).map_err(|why| failed(index, why))
    });
    let decisions = tasks
        .iter()
        .zip(&instance.users)
        .map(|(task, user)| sim.peer(user.home).map(|peer| peer.explain(*task)).unwrap_or_default());
    let ended_in = tasks
        .iter()
        .zip(&instance.users)
        .map(|(task, user)| sim.ended(*task).map_or(Duration::MAX, |ended| ended.at.since(begin + user.at)));
    Ok(Placed { met: met.collect::<Result<_, _>>()?, ended_in: ended_in.collect(), decisions: decisions.collect() })
}

/// Users whose tasks arise at one place at one moment.
fn together(instance: &Instance) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = Vec::new();
    for (index, user) in instance.users.iter().enumerate() {
        let is_one = |other: &&mut Vec<usize>| {
            other.iter().all(|other| {
                let other = &instance.users[*other];
                (other.home, other.at) == (user.home, user.at)
            })
        };
        match all.iter_mut().find(is_one) {
            Some(others) => others.push(index),
            None => all.push(vec![index]),
        }
    }
    all
}

/// Has one build of a user's run at a machine, and waits for it.
fn run_at(sim: &mut Sim, index: usize, user: &User, build: usize, machine: usize) -> Result<(), String> {
    let mut spec = spec(index, user);
    spec.variants = vec![spec.variants.swap_remove(build)];
    spec.deadline = None;
    spec.policy.peer = Some(sim.id(machine));
    let task = sim.submit_spec(user.home, spec, Duration::ZERO, user.output_bytes);
    if sim.run_until_done(AFTER, |sim| sim.ended(task).is_some()) {
        Ok(())
    } else {
        Err("it was not run before".into())
    }
}

fn met(sim: &Sim, task: TaskId, submitted: Time, crossing: Duration) -> Result<Met, String> {
    let ended = sim.ended(task).ok_or("it has not ended")?;
    let result = ended.result.as_ref().map_err(ToString::to_string)?;
    let machine = sim.index(result.executor).ok_or("nobody ran it")?;
    let is_it = |attempt: u64| attempt == u64::from(result.attempts);
    let run = sim.runs().iter().rev().find(|ran| ran.attempt.task == task && is_it(ran.attempt.epoch));
    let start = run.filter(|ran| ran.index == machine).ok_or("its run is not known")?.start;
    let left = sim.departed(task).map_or(Duration::ZERO, |left| left.since(submitted));
    Ok(Met {
        machine,
        build: usize::from(result.variant),
        uplink_wait: left.saturating_sub(crossing),
        start_in: start.since(submitted),
    })
}

/// A build has a module of its own, the same for all its runs.
fn module(user: usize, build: usize) -> BlobId {
    BlobId::of(&[user as u8, build as u8])
}

fn spec(index: usize, user: &User) -> TaskSpec {
    let mut spec = TaskSpec::of_module(module(index, 0), 0);
    let variants = user.builds.iter().enumerate().map(|(build, of)| Variant {
        name: of.name.into(),
        module: module(index, build),
        // Everybody holds it, compiled.
        module_bytes: 0,
        loss: of.loss,
    });
    spec.variants = variants.collect();
    spec.inputs.push(Payload::inline(vec![0; user.input_bytes as usize]));
    spec.policy.cloud = CloudUse::Allow;
    spec.limits.wall = Duration::from_secs(3_600);
    spec.deadline = user.deadline;
    spec
}

fn mesh_of(instance: &Instance) -> Sim {
    let mut sim = Sim::quick(instance.seed, Link::ms(0));
    let count = instance.machines.len();
    let ways: Arc<[Duration]> = (0..count * count).map(|cell| instance.way(cell / count, cell % count)).collect();
    sim.network().set_delays(move |from, to| ways.get(from * count + to).copied().unwrap_or_default());
    sim.network().model_uplinks();
    for machine in &instance.machines {
        let config = PeerConfig {
            cores: machine.cores,
            host_cores: f64::from(machine.cores),
            speed: machine.speed,
            uplink_bits_per_s: machine.uplink_bits_per_s,
            memory_bytes: u64::from(machine.cores) * MEMORY_BYTES_PER_CORE,
            weights: machine.weights,
            price: machine.price,
            lambda: instance.lambda,
            ..PeerConfig::default()
        };
        sim.add_cold(machine.role, config);
    }
    for (user, of) in instance.users.iter().enumerate() {
        for (build, of) in of.builds.iter().enumerate() {
            sim.set_work(module(user, build), of.work);
        }
    }
    for index in 0..count {
        let others: Vec<usize> = (0..count).filter(|other| *other != index).collect();
        sim.start(index, &others);
        for (user, of) in instance.users.iter().enumerate() {
            for build in 0..of.builds.len() {
                sim.tell(index, Input::Prepared { module: module(user, build), result: Ok(Duration::ZERO) });
            }
        }
    }
    sim
}
