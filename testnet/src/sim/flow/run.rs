//! One run: the mesh of the city, its tasks, and what came of them.

use core::time::Duration;
use std::collections::BTreeMap;

use serde::Serialize;
use shoal_protocol::certificate::Role;
use shoal_protocol::config::{INLINE_BYTES_MAX, PeerConfig};
use shoal_protocol::flow::SITE;
use shoal_protocol::flow::shares::WINDOW;
use shoal_protocol::task::spec::{BlobRef, CloudUse, Payload};
use shoal_protocol::{BlobId, Input, TaskId, TaskSpec, Time};

use super::super::{Link, Move, Sim};
use super::Mode;
use super::city::{CLOUDS, CityError, Day, EDGES, INTERVAL_S, Kind, MIDNIGHT_UNIX_S, SPEEDUP, Wish};
use super::rules::{SHARE_OF_ALL, SHARES, city};

/// The one module of the city.
const MODULE: BlobId = BlobId([7; 32]);
/// Uplinks of the districts, in Mbit/s, again and again.
const UPLINKS_MBPS: [u64; 6] = [4, 6, 10, 16, 25, 40];
const CLOUD_UPLINK_MBPS: u64 = 1_000;
/// One way, in milliseconds: in a district, between two, and to the cloud.
const WITHIN_MS: f64 = 0.5;
const BETWEEN_MS: f64 = 6.0;
const CLOUD_MS: f64 = 18.0;
const CLOUD_PRICE: f64 = 0.05;
/// Forming the mesh, and the rules' way to everybody.
const FORMING: Duration = Duration::from_secs(6);
/// After the last task nothing takes longer than this, or it never ends.
const AFTER: Duration = Duration::from_secs(1_200);
/// Simulated seconds between two words of the driver on the date.
const DATE_EVERY_S: u64 = 5;

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub mode: Mode,
    pub tasks: usize,
    pub unfinished: usize,
    /// Data that left a district, or went to or from the cloud.
    pub wan_bytes: u64,
    /// From submission to the result at home, of all tasks.
    pub mean_ms: f64,
    pub p99_ms: f64,
    /// The same by class.
    pub classes: Vec<ClassOutcome>,
    /// What the cloud's cores are paid.
    pub cost: f64,
    /// The largest share of an uplink that anything took in a minute.
    pub largest_share: f64,
    /// The same by what has a share, where rules give some.
    pub shares: Vec<ShareOutcome>,
}

/// Tasks of one class.
#[derive(Debug, Clone, Serialize)]
pub struct ClassOutcome {
    pub class: &'static str,
    pub tasks: usize,
    pub in_the_cloud: usize,
    pub mean_ms: f64,
    pub p99_ms: f64,
}

/// What was taken of a share.
#[derive(Debug, Clone, Serialize)]
pub struct ShareOutcome {
    pub what: String,
    pub allowed: f64,
    /// In the minute, and at the machine, where it was most.
    pub taken: f64,
}

pub(super) fn run(day: &Day, mode: Mode, seed: u64) -> Result<Outcome, CityError> {
    let mut sim = mesh(seed);
    sim.run_for(FORMING);
    if mode == Mode::On {
        sim.deploy(0, city()).map_err(|error| CityError::Rules { why: error.to_string() })?;
        let all_have = |sim: &Sim| (0..sim.len()).all(|index| sim.rules_version(index) == Some(1));
        if !sim.run_until_done(Duration::from_secs(120), all_have) {
            return Err(CityError::Rules { why: "they did not reach everybody within two minutes".into() });
        }
    }
    sim.watch_moves();
    let begin = sim.now();
    let mut submitted = Vec::with_capacity(day.wishes.len());
    let mut dated = None;
    for wish in &day.wishes {
        let at = begin + Duration::from_secs_f64(wish.at_s);
        sim.run_to(at);
        let slot = wish.at_s as u64 / DATE_EVERY_S;
        if dated.replace(slot) != Some(slot) {
            tell_the_date(&mut sim, day, wish.at_s);
        }
        submitted.push((submit(&mut sim, wish, mode, submitted.len()), at));
    }
    let end = sim.now() + AFTER;
    while sim.open_tasks() > 0 && sim.now() < end {
        sim.run_for(Duration::from_millis(500));
    }
    Ok(outcome(&mut sim, day, mode, &submitted))
}

/// Every peer's driver knows the hour.
fn tell_the_date(sim: &mut Sim, day: &Day, at_s: f64) {
    let since_midnight = day.hours.start as u64 * 3_600 + (at_s * SPEEDUP as f64) as u64;
    for index in 0..sim.len() {
        sim.tell(index, Input::DateTold { unix_s: MIDNIGHT_UNIX_S + since_midnight });
    }
}

fn site_of(index: usize) -> Option<usize> {
    (index < EDGES).then_some(index / 2)
}

fn uplink_bits_per_s(index: usize) -> u64 {
    let mbps = site_of(index).and_then(|site| UPLINKS_MBPS.get(site % UPLINKS_MBPS.len()).copied());
    mbps.unwrap_or(CLOUD_UPLINK_MBPS) * 1_000_000
}

fn crosses_wan(from: usize, to: usize) -> bool {
    site_of(from).is_none() || site_of(from) != site_of(to)
}

fn mesh(seed: u64) -> Sim {
    let mut sim = Sim::quick(seed, Link::ms(0));
    sim.network().set_delays(|from, to| {
        let ms = match (site_of(from), site_of(to)) {
            (Some(here), Some(there)) if here == there => WITHIN_MS,
            (Some(_), Some(_)) => BETWEEN_MS,
            _ => CLOUD_MS,
        };
        Duration::from_secs_f64(ms / 1_000.0)
    });
    sim.network().model_uplinks();
    sim.network().set_sites(|from, to| !crosses_wan(from, to));
    for index in 0..EDGES + CLOUDS {
        let is_edge = index < EDGES;
        let cores = if is_edge { 3 } else { 32 };
        let config = PeerConfig {
            cores,
            host_cores: f64::from(cores),
            speed: if is_edge { 1.0 } else { 2.0 },
            uplink_bits_per_s: uplink_bits_per_s(index),
            memory_bytes: u64::from(cores) << 28,
            price: if is_edge { 0.0 } else { CLOUD_PRICE },
            ..PeerConfig::default()
        };
        sim.add_cold(if is_edge { Role::Edge } else { Role::Cloud }, config);
        sim.label(
            index,
            SITE,
            &site_of(index).map_or_else(|| format!("cloud-{index}"), |site| format!("district-{site}")),
        );
    }
    let all: Vec<usize> = (0..sim.len()).collect();
    for index in 0..sim.len() {
        sim.start(index, &all);
        sim.tell(index, Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) });
    }
    sim
}

fn submit(sim: &mut Sim, wish: &Wish, mode: Mode, number: usize) -> TaskId {
    let input = if wish.input_bytes as u64 <= INLINE_BYTES_MAX {
        Payload::inline(vec![0; wish.input_bytes])
    } else {
        let id = BlobId::of(&number.to_le_bytes());
        Payload::Blob(BlobRef { id, bytes: wish.input_bytes as u64, holder: sim.id(wish.edge) })
    };
    let work = Duration::from_secs_f64(wish.work_ms / 1_000.0);
    let mut spec = TaskSpec::of_module(MODULE, 0);
    spec.inputs.push(input);
    spec.policy.cloud = CloudUse::Allow;
    spec.policy.role = (mode == Mode::AllCloud).then_some(Role::Cloud);
    spec.limits.wall = Duration::from_secs(3_600);
    spec.expected = Some(work);
    spec.about.class = wish.kind.class().into();
    sim.submit_spec(wish.edge, spec, work, wish.output_bytes)
}

fn outcome(sim: &mut Sim, day: &Day, mode: Mode, submitted: &[(TaskId, Time)]) -> Outcome {
    let mut took: Vec<(Kind, f64, bool)> = Vec::new();
    for ((task, at), wish) in submitted.iter().zip(&day.wishes) {
        if let Some(ended) = sim.ended(*task).filter(|ended| ended.result.is_ok()) {
            let ms = ended.at.since(*at).as_secs_f64() * 1_000.0;
            took.push((wish.kind, ms, sim.executor(*task).is_some_and(|index| index >= EDGES)));
        }
    }
    let all: Vec<f64> = took.iter().map(|(_, ms, _)| *ms).collect();
    let class = |kind: Kind| {
        let of: Vec<_> = took.iter().filter(|(of, ..)| *of == kind).collect();
        let ms: Vec<f64> = of.iter().map(|(_, ms, _)| *ms).collect();
        let in_the_cloud = of.iter().filter(|(.., cloud)| *cloud).count();
        ClassOutcome { class: kind.class(), tasks: of.len(), in_the_cloud, mean_ms: mean(&ms), p99_ms: p99(ms) }
    };
    let paid = sim.runs().iter().filter(|ran| ran.index >= EDGES);
    let cost = paid.map(|ran| ran.end.since(ran.start).as_secs_f64() * CLOUD_PRICE).sum();
    let kinds: BTreeMap<u64, Kind> = day.wishes.iter().map(|wish| (wish.input_bytes as u64, wish.kind)).collect();
    // What an edge sends is an input, or a result for another district.
    let moves: Vec<Move> = sim.take_moves().into_iter().filter(|it| crosses_wan(it.from, it.to)).collect();
    let from_edges: Vec<Move> = moves.iter().copied().filter(|it| it.from < EDGES).collect();
    let kinds = &kinds;
    let of_kind = |kind: Kind| from_edges.iter().copied().filter(move |it| kinds.get(&it.bytes) == Some(&kind));
    let mut shares = Vec::new();
    if mode == Mode::On {
        for (kind, allowed) in SHARES {
            shares.push(ShareOutcome { what: kind.class().into(), allowed, taken: largest_share(of_kind(kind)) });
        }
        let taken = largest_share(from_edges.iter().copied());
        shares.push(ShareOutcome { what: "all together".into(), allowed: SHARE_OF_ALL, taken });
    }
    Outcome {
        mode,
        tasks: submitted.len(),
        unfinished: submitted.len() - took.len(),
        wan_bytes: moves.iter().map(|it| it.bytes).sum(),
        mean_ms: mean(&all),
        p99_ms: p99(all),
        classes: Kind::ALL.map(class).into(),
        cost,
        largest_share: largest_share(from_edges.iter().copied()),
        shares,
    }
}

/// Of any machine's uplink, in any minute that begins with a second.
fn largest_share(moves: impl Iterator<Item = Move>) -> f64 {
    let mut busy: BTreeMap<(usize, u64), f64> = BTreeMap::new();
    for moved in moves {
        // By the second in which it left, and the one before if it took longer.
        let (mut left, mut at) = (moved.span.as_secs_f64(), moved.left.as_micros() as f64 / 1e6);
        while left > 0.0 {
            let second = (at - 1e-9).floor();
            let part = left.min(at - second);
            *busy.entry((moved.from, second as u64)).or_default() += part;
            (left, at) = (left - part, second);
        }
    }
    let window = WINDOW.as_secs();
    let share = |((index, from), _): (&(usize, u64), &f64)| {
        busy.range((*index, *from)..(*index, from + window)).map(|(_, part)| part).sum::<f64>() / window as f64
    };
    busy.iter().map(share).fold(0.0, f64::max)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn p99(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
}

const _: () = assert!(SPEEDUP as f64 * INTERVAL_S == 300.0);
