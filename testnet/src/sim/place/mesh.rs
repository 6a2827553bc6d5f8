//! The policy `shoal`: a mesh of the very peers that `shoald` ships, with membership, gossip and coordinates at work.
//!
//! Each peer remembers a view from an earlier life, as from its disk, and knows of a task what its user would say: the size
//! of its input and how long it is expected to run. The modules are compiled everywhere. Forming the mesh is time before the
//! case begins.
//!
//! **Not here:** deciding. A decision that could be read here would be a decision made twice.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::config::{INLINE_BYTES_MAX, PeerConfig, VIEW_CLOUD_MAX, VIEW_NEAR_MAX, VIEW_RANDOM_MAX};
use shoal_protocol::task::spec::{BlobRef, CloudUse, Payload};
use shoal_protocol::{BlobId, Input, Role, TaskId, TaskSpec, Time};

use super::super::{Count, Link, Sim};
use super::case::{Case, Tier};
use super::faults::{Change, Fault, Faults};
use super::run::{Completion, Control, Execution, Run};

/// Forming the mesh, and a first look at everybody's load and distance.
const FORMING: Duration = Duration::from_secs(4);
/// After the last arrival nothing takes longer than this, or it never ends.
const AFTER: Duration = Duration::from_secs(600);
/// The one module of every case.
const MODULE: BlobId = BlobId([7; 32]);
const MEMORY_BYTES_PER_CORE: u64 = 128 << 20;

/// Places the tasks of a case.
pub fn run(case: &Case, seed: u64, faults: &Faults) -> Run {
    let mut sim = mesh_of(case, seed);
    sim.run_for(FORMING);
    sim.time_decisions();
    let begin = sim.now();
    let at = |ms: f64| begin + Duration::from_micros((ms * 1_000.0).ceil() as u64);

    let mut marks = Marks::default();
    let mut due = faults.list().iter().peekable();
    let mut tasks: HashMap<TaskId, usize> = HashMap::with_capacity(case.tasks.len());
    let mut homes_lost = BTreeSet::new();
    for (index, task) in case.tasks.iter().enumerate() {
        while let Some(fault) = due.next_if(|fault| fault.at_ms <= task.arrival_ms) {
            sim.run_to(at(fault.at_ms));
            strike(&mut sim, fault, &tasks, &mut homes_lost);
        }
        sim.run_to(at(task.arrival_ms));
        if index == case.first_counted() {
            marks.begin = Some(Mark::of(&sim));
        }
        if sim.peer(task.origin).is_none() {
            continue;
        }
        let id = submit(&mut sim, case, index);
        tasks.insert(id, index);
    }
    marks.last_arrival = Some(Mark::of(&sim));
    let end = sim.now() + AFTER;
    for fault in due {
        sim.run_to(at(fault.at_ms).min(end));
        strike(&mut sim, fault, &tasks, &mut homes_lost);
    }
    while sim.open_tasks() > homes_lost.len() && sim.now() < end {
        sim.run_for(Duration::from_millis(100));
    }
    result(&mut sim, begin, &tasks, homes_lost, &marks)
}

fn submit(sim: &mut Sim, case: &Case, index: usize) -> TaskId {
    let Some(task) = case.tasks.get(index) else { return TaskId([0; 16]) };
    let bytes = task.input_bytes.ceil() as u64;
    let input = if bytes <= INLINE_BYTES_MAX {
        Payload::inline(vec![0; bytes as usize])
    } else {
        Payload::Blob(BlobRef { id: BlobId::of(&index.to_le_bytes()), bytes, holder: sim.id(task.origin) })
    };
    let mut spec = TaskSpec::of_module(MODULE, 0);
    spec.inputs.push(input);
    spec.policy.cloud = CloudUse::Allow;
    spec.limits.wall = Duration::from_secs(3_600);
    spec.expected = Some(Duration::from_micros((task.estimate_ms * 1_000.0).ceil() as u64));
    let work = Duration::from_nanos((task.work_ms * 1e6).ceil() as u64);
    sim.submit_spec(task.origin, spec, work, task.output_bytes.ceil() as u64)
}

fn strike(sim: &mut Sim, fault: &Fault, tasks: &HashMap<TaskId, usize>, homes_lost: &mut BTreeSet<usize>) {
    match fault.change {
        Change::Down => {
            sim.crash(fault.node);
            for task in sim.open_tasks_of(fault.node) {
                homes_lost.extend(tasks.get(&task).copied());
            }
        }
        Change::Up => {
            let remembered = sim.neighbours_before(fault.node);
            sim.start(fault.node, &remembered);
            warm(sim, fault.node);
        }
    }
}

/// The mesh of a case, about to form.
fn mesh_of(case: &Case, seed: u64) -> Sim {
    let mut sim = Sim::quick(seed, Link::ms(0));
    let count = case.nodes.len();
    let delays_us: Arc<[u32]> = (0..count * count)
        .map(|cell| case.one_way_ms(cell / count, cell % count).map_or(u32::MAX, |ms| (ms * 1_000.0).ceil() as u32))
        .collect();
    for cell in (0..count * count).filter(|cell| delays_us.get(*cell) == Some(&u32::MAX)) {
        sim.network().cut(cell / count, cell % count);
    }
    let delays = Arc::clone(&delays_us);
    sim.network().set_delays(move |from, to| {
        let us = delays.get(from * count + to).copied().unwrap_or_default();
        Duration::from_micros(u64::from(us))
    });
    sim.network().model_uplinks();
    for node in &case.nodes {
        let role = match node.tier {
            Tier::Edge => Role::Edge,
            Tier::Cloud => Role::Cloud,
        };
        let config = PeerConfig {
            cores: node.cores,
            host_cores: f64::from(node.cores),
            speed: node.speed,
            uplink_bits_per_s: (node.uplink_mbps * 1e6) as u64,
            memory_bytes: u64::from(node.cores) * MEMORY_BYTES_PER_CORE,
            ..PeerConfig::default()
        };
        sim.add_cold(role, config);
    }
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x71e3);
    for index in 0..count {
        let remembered = view(case, index, &mut rng);
        sim.start(index, &remembered);
        warm(&mut sim, index);
    }
    sim
}

/// Every peer holds the module, compiled.
fn warm(sim: &mut Sim, index: usize) {
    sim.tell(index, Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) });
}

/// What a peer remembers: its nearest neighbours, clouds among them, and some far ones.
fn view(case: &Case, index: usize, rng: &mut Pcg64Mcg) -> Vec<usize> {
    let mut others: Vec<(f64, usize)> = (0..case.nodes.len())
        .filter(|other| *other != index)
        .filter_map(|other| Some((case.one_way_ms(index, other)?, other)))
        .collect();
    others.sort_by(|a, b| a.0.total_cmp(&b.0));
    let is_cloud = |other: usize| case.nodes.get(other).is_some_and(|node| node.tier == Tier::Cloud);
    let (clouds, edges): (Vec<usize>, Vec<usize>) =
        others.into_iter().map(|(_, other)| other).partition(|other| is_cloud(*other));
    let mut view: Vec<usize> = clouds.into_iter().take(VIEW_CLOUD_MAX).collect();
    let mut far = edges;
    let near: Vec<usize> = far.drain(..VIEW_NEAR_MAX.min(far.len())).collect();
    view.extend(near);
    for _ in 0..VIEW_RANDOM_MAX.min(far.len()) {
        view.push(far.swap_remove(rng.random_range(0..far.len())));
    }
    view
}

/// The counters at two moments.
#[derive(Debug, Default)]
struct Marks {
    begin: Option<Mark>,
    last_arrival: Option<Mark>,
}

#[derive(Debug)]
struct Mark {
    total: Count,
    by_kind: BTreeMap<&'static str, u64>,
}

impl Mark {
    fn of(sim: &Sim) -> Self {
        let counts = sim.counts();
        let of_tasks = counts.by_kind().iter().filter(|(kind, _)| is_of_task(kind));
        Self { total: counts.total(), by_kind: of_tasks.map(|(kind, count)| (*kind, count.messages)).collect() }
    }
}

/// Whether messages of this kind are sent because of tasks; a result is not control.
pub(crate) fn is_of_task(kind: &str) -> bool {
    !matches!(
        kind,
        "beat"
            | "will"
            | "parting"
            | "ping"
            | "pong"
            | "probe-request"
            | "probe-answered"
            | "rumour"
            | "records"
            | "leaving"
            | "outcome"
    )
}

fn result(
    sim: &mut Sim,
    begin: Time,
    tasks: &HashMap<TaskId, usize>,
    homes_lost: BTreeSet<usize>,
    marks: &Marks,
) -> Run {
    let ms = |at: Time| at.since(begin).as_nanos() as f64 / 1e6;
    let mut run = Run { lost_with_home: homes_lost.into_iter().collect(), ..Run::default() };
    for ran in sim.runs() {
        let Some(task) = tasks.get(&ran.attempt.task).copied() else { continue };
        let (executor, start_ms, end_ms) = (ran.index, ms(ran.start), ms(ran.end));
        let ended = sim.ended(ran.attempt.task);
        let committed = ended.filter(|ended| {
            let result = ended.result.as_ref().ok();
            result.is_some_and(|result| {
                u64::from(result.attempts) == ran.attempt.epoch && sim.index(result.executor) == Some(ran.index)
            })
        });
        match committed {
            Some(ended) => {
                run.completions.push(Completion { task, executor, start_ms, end_ms, completed_ms: ms(ended.at) });
            }
            None => run.other_runs.push(Execution { task, executor, start_ms, end_ms }),
        }
    }
    let zero = Mark { total: Count::default(), by_kind: BTreeMap::new() };
    let first = marks.begin.as_ref().unwrap_or(&zero);
    let last = marks.last_arrival.as_ref().unwrap_or(&zero);
    let before = |kind: &str| first.by_kind.get(kind).copied().unwrap_or_default();
    let by_kind: BTreeMap<_, _> =
        Mark::of(sim).by_kind.into_iter().map(|(kind, count)| (kind, count - before(kind))).collect();
    run.control = Control {
        messages: by_kind.values().sum(),
        by_kind,
        bytes: last.total.since(first.total).bytes,
        decisions_ns: sim.take_decisions_ns(),
    };
    run
}
