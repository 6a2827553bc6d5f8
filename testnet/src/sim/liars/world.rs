//! The mesh in which some lie: where its machines stand, what arises where, and what became of it.

use core::f64::consts::TAU;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::config::PeerConfig;
use shoal_protocol::task::spec::{CloudUse, Payload};
use shoal_protocol::{BlobId, Input, Peer, Role, TaskId, TaskSpec};

use super::super::{Link, Lure, Sim};
use super::Settings;

/// Every tenth machine is a cloud.
const CLOUD_ONE_IN: usize = 10;
/// Forming the mesh, and a first look at everybody's load and distance.
const FORMING: Duration = Duration::from_secs(5);
/// What is under way when the last task arises has this long to end.
const AFTER: Duration = Duration::from_secs(120);
/// From one end of the country to the other, one way.
const ACROSS_MS: f64 = 20.0;
const LAST_MILE_MS: f64 = 0.5;
const MODULE: BlobId = BlobId([7; 32]);
const INPUT_BYTES: usize = 10_000;
/// Mean of the work of a task on a reference core, the spread of its logarithm, and that of what its user says of it.
const WORK_MEAN_MS: f64 = 500.0;
const WORK_SIGMA: f64 = 0.8;
const SAID_SIGMA: f64 = 0.3;

/// What became of a task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran {
    /// Since the mesh had formed.
    pub(super) arose: Duration,
    /// To the result; nothing for one that had none.
    pub(super) took: Option<Duration>,
    /// An attempt at it was given to one of those that may lie.
    pub(super) was_lured: bool,
}

/// What came of a run.
pub(super) struct Run {
    pub(super) ran: Vec<Ran>,
    /// Times that somebody ceased to trust an honest peer.
    pub(super) honest_distrusted: usize,
    pub(super) fullest_permille: BTreeMap<&'static str, u16>,
}

/// Those that lie, or might: spread over the mesh, clouds among them.
pub(super) fn liars(settings: &Settings) -> BTreeSet<usize> {
    let mut rng = Pcg64Mcg::seed_from_u64(settings.seed ^ 0x11a2);
    let wanted = settings.peers * settings.liars / 100;
    let clouds = settings.peers.div_ceil(CLOUD_ONE_IN) * settings.liars / 100;
    let mut liars = BTreeSet::new();
    while liars.len() < wanted.min(settings.peers) {
        let one = rng.random_range(0..settings.peers);
        let is_wanted = is_cloud(one) == (liars.len() < clouds);
        if is_wanted {
            liars.insert(one);
        }
    }
    liars
}

fn is_cloud(index: usize) -> bool {
    index.is_multiple_of(CLOUD_ONE_IN)
}

fn config(index: usize) -> PeerConfig {
    let (cores, speed) = if is_cloud(index) { (16, 2.0) } else { (2, 1.0) };
    PeerConfig {
        cores,
        host_cores: f64::from(cores),
        speed,
        memory_bytes: u64::from(cores) << 30,
        ..PeerConfig::default()
    }
}

struct Arising {
    at: Duration,
    home: usize,
    work: Duration,
    said: Duration,
}

/// Tasks of the users of honest edge peers.
fn arising(settings: &Settings, liars: &BTreeSet<usize>, rng: &mut Pcg64Mcg) -> Vec<Arising> {
    let honest = || (0..settings.peers).filter(|index| !liars.contains(index));
    let capacity: f64 = honest().map(|index| f64::from(config(index).cores) * config(index).speed).sum();
    let homes: Vec<usize> = honest().filter(|index| !is_cloud(*index)).collect();
    let gap_ms = WORK_MEAN_MS / (capacity * settings.load);
    let ms = |ms: f64| Duration::from_secs_f64(ms / 1e3);
    let end = Duration::from_secs(settings.minutes * 60);
    let (mut at, mut tasks) = (Duration::ZERO, Vec::new());
    while !homes.is_empty() {
        at += ms(-(1.0 - rng.random::<f64>()).ln() * gap_ms);
        if at >= end {
            break;
        }
        let work = WORK_MEAN_MS * (WORK_SIGMA * normal(rng) - WORK_SIGMA * WORK_SIGMA / 2.0).exp();
        let said = work * (SAID_SIGMA * normal(rng)).exp();
        tasks.push(Arising { at, home: homes[rng.random_range(0..homes.len())], work: ms(work), said: ms(said) });
    }
    tasks
}

/// Box and Muller; 1 - [0, 1) keeps the logarithm finite.
fn normal(rng: &mut impl Rng) -> f64 {
    let (a, b) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
    (-2.0 * a.ln()).sqrt() * (TAU * b).cos()
}

/// Runs the tasks of this experiment in a mesh in which some lie, or nobody does.
pub(super) fn run(settings: &Settings, lies: bool) -> Run {
    let liars = liars(settings);
    let mut rng = Pcg64Mcg::seed_from_u64(settings.seed ^ 0xa215e);
    let mut sim = mesh(settings, &mut rng);
    if lies {
        let kinds = Lure::ALL.iter().cycle();
        liars.iter().zip(kinds).for_each(|(liar, lure)| sim.lure(*liar, *lure));
    }
    for index in 0..settings.peers {
        let others: Vec<usize> = (0..settings.peers).filter(|other| *other != index).collect();
        sim.start(index, &others);
        sim.tell(index, Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) });
    }
    sim.run_for(FORMING);
    sim.watch_awards();
    let (begin, mut ids) = (sim.now(), Vec::new());
    for task in arising(settings, &liars, &mut rng) {
        sim.run_to(begin + task.at);
        ids.push((task.at, submit(&mut sim, &task)));
    }
    let end = sim.now() + AFTER;
    while sim.open_tasks() > 0 && sim.now() < end {
        sim.run_for(Duration::from_secs(1));
    }
    let judged = sim.take_judged();
    let lured: BTreeSet<TaskId> = sim
        .take_awards()
        .into_iter()
        .filter(|award| liars.contains(&award.to))
        .map(|award| award.attempt.task)
        .collect();
    let ran = |(arose, id): &(Duration, TaskId)| {
        let ended = sim.ended(*id).filter(|ended| ended.result.is_ok());
        let took = ended.map(|ended| ended.at.since(begin + *arose));
        Ran { arose: *arose, took, was_lured: lured.contains(id) }
    };
    let ran = ids.iter().map(ran).collect();
    let may_lie = |peer| sim.index(peer).is_some_and(|index| lies && liars.contains(&index));
    let mut fullest_permille = BTreeMap::new();
    for (class, permille) in (0..settings.peers).filter_map(|index| sim.peer(index)).flat_map(Peer::fullest_permille) {
        let fullest: &mut u16 = fullest_permille.entry(class).or_default();
        *fullest = permille.max(*fullest);
    }
    let honest_distrusted = judged.iter().filter(|judged| !may_lie(judged.about)).count();
    Run { ran, honest_distrusted, fullest_permille }
}

fn submit(sim: &mut Sim, task: &Arising) -> TaskId {
    let mut spec = TaskSpec::of_module(MODULE, 0);
    spec.inputs.push(Payload::inline(vec![0; INPUT_BYTES]));
    spec.policy.cloud = CloudUse::Allow;
    spec.expected = Some(task.said);
    sim.submit_spec(task.home, spec, task.work, 100)
}

/// Machines over a square of land.
fn mesh(settings: &Settings, rng: &mut Pcg64Mcg) -> Sim {
    let mut sim = Sim::quick(settings.seed, Link::ms(0));
    let places: Arc<[(f64, f64)]> = (0..settings.peers).map(|_| (rng.random(), rng.random())).collect();
    sim.network().set_delays(move |from, to| {
        let far = places.get(from).zip(places.get(to)).map_or(1.0, |(a, b)| (a.0 - b.0).hypot(a.1 - b.1));
        Duration::from_secs_f64((LAST_MILE_MS + far * ACROSS_MS) / 1e3)
    });
    for index in 0..settings.peers {
        let role = if is_cloud(index) { Role::Cloud } else { Role::Edge };
        sim.add_cold(role, config(index));
    }
    sim
}
