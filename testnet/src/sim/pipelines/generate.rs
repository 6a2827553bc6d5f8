//! Random graphs over random peers: two tiers, data that arise at the edge, stages that cut them down or think long.

use rand::{Rng, RngExt};
use shoal_protocol::config::Weights;
use shoal_protocol::pipeline::plan::{Fit, HOME, Model, Place, Read, Task};
use std::time::Duration;

/// Stages of one graph.
const STAGES: core::ops::RangeInclusive<usize> = 3..=10;
/// Plans of one graph that are tried, at most.
const PLANS_MAX: u64 = 200_000;
/// Smaller outputs come home, as they do at peers.
const STAYS_BYTES_MIN: u64 = 16 * 1024;

/// A graph of up to ten stages, and two to four peers.
pub(super) fn model(rng: &mut impl Rng) -> Model {
    let stages = rng.random_range(STAGES);
    let most = (2..=4u64).rev().find(|places| places.pow(stages as u32) <= PLANS_MAX).unwrap_or(2);
    let places = rng.random_range(2..=most) as usize;
    let mut model = Model { lambda: 1.0, ..Model::default() };
    model.places = (0..places).map(|index| place(rng, index, places)).collect();
    model.rtt_ms = distances(rng, &model.places);
    tasks(rng, &mut model, stages);
    model
}

/// Home is an edge peer, the last one a cloud, those between either.
fn place(rng: &mut impl Rng, index: usize, count: usize) -> Place {
    let is_cloud = index == count - 1 || (index > HOME + 1 && rng.random_bool(0.3));
    let is_busy = rng.random_bool(0.3);
    Place {
        cores: if is_cloud { 8 } else { rng.random_range(1..=4) },
        speed: if is_cloud { rng.random_range(2.0..5.0) } else { rng.random_range(0.5..1.5) },
        start_in_ms: if is_busy { rng.random_range(0.0..200.0) } else { 0.0 },
        uplink_bits_per_s: if is_cloud { 1_000_000_000 } else { spread(rng, 1e7, 2e8) as u64 },
        weights: Weights { delay: 1.0, transfer: 1.0, compute: 1.0 },
        price: if is_cloud { rng.random_range(0.0..0.05) } else { 0.0 },
        is_cloud,
    }
}

fn distances(rng: &mut impl Rng, places: &[Place]) -> Vec<Vec<f64>> {
    let mut rtt_ms = vec![vec![0.0; places.len()]; places.len()];
    for a in 0..places.len() {
        for b in a + 1..places.len() {
            let far = places[a].is_cloud != places[b].is_cloud;
            let rtt = if far { rng.random_range(20.0..80.0) } else { rng.random_range(1.0..8.0) };
            (rtt_ms[a][b], rtt_ms[b][a]) = (rtt, rtt);
        }
    }
    rtt_ms
}

fn tasks(rng: &mut impl Rng, model: &mut Model, stages: usize) {
    for id in 0..stages as u32 {
        let earlier = id.min(3);
        let mut reads: Vec<Read> = Vec::new();
        for back in 1..=earlier {
            if rng.random_bool(if back == 1 { 0.7 } else { 0.35 }) {
                reads.push(Read::Output(id - back));
            }
        }
        if reads.is_empty() || rng.random_bool(0.15) {
            // Data arise at the edge.
            let edges = (0..model.places.len()).filter(|place| !model.places[*place].is_cloud).count();
            let at = rng.random_range(0..edges);
            reads.push(Read::Held { source: model.sources, at, bytes: spread(rng, 1e4, 2e7) as u64 });
            model.sources += 1;
        }
        let input: u64 = reads.iter().map(|read| bytes_of(model, *read)).sum();
        let share = if rng.random_bool(0.6) { spread(rng, 0.005, 0.2) } else { spread(rng, 0.5, 1.5) };
        let output_bytes = (input as f64 * share) as u64;
        model.fits.push(fits(rng, model));
        model.tasks.push(Task {
            work: Duration::from_secs_f64(spread(rng, 0.005, 1.0)),
            output_bytes,
            stays: output_bytes >= STAYS_BYTES_MIN,
            after: reads.iter().filter_map(|read| if let Read::Output(id) = read { Some(*id) } else { None }).collect(),
            reads,
            fits: id as usize,
            ..Task::default()
        });
    }
    let readers = model.readers();
    for (task, readers) in model.tasks.iter_mut().zip(readers) {
        task.is_result = readers.is_empty();
        task.stays &= !task.is_result;
    }
}

fn bytes_of(model: &Model, read: Read) -> u64 {
    match read {
        Read::Held { bytes, .. } => bytes,
        Read::Output(id) => model.tasks[id as usize].output_bytes,
    }
}

/// Most stages may run anywhere, some in one tier only; some peers lack the module.
fn fits(rng: &mut impl Rng, model: &Model) -> Vec<Option<Fit>> {
    let tier = match rng.random_range(0..10) {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    };
    let fit = |place: &Place, rng: &mut dyn Rng| {
        let prepare_ms = if rng.random_bool(0.15) { rng.random_range(20.0..150.0) } else { 0.0 };
        tier.is_none_or(|cloud| cloud == place.is_cloud).then_some(Fit { prepare_ms, loss: 0.0 })
    };
    model.places.iter().map(|place| fit(place, rng)).collect()
}

/// Evenly spread over orders of magnitude.
fn spread(rng: &mut impl Rng, least: f64, most: f64) -> f64 {
    (rng.random_range(least.ln()..most.ln())).exp()
}
