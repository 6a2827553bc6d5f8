//! What λ and the link make of a model that comes in two builds: how often the answer is poorer, and how soon it is there.
//!
//! A user at a slow edge machine has recordings of spoken digits told apart, each a task with the two builds of the example
//! models (`examples/README.md`): `digit`, and `digit_small` at its declared loss. A fast cloud stands behind a link of one
//! speed or another. Recordings and losses are the real ones, none of which the models were trained on; the work of a
//! recording is what was measured in the sandbox. Each task is placed by the peers that are shipped, and alone in the mesh,
//! so that nothing but λ and the link makes the difference.
//!
//! **Not here:** deciding. Which build runs where is the peers' choice.

use core::time::Duration;

use serde::Serialize;
use shoal_examples::{modules, workload};
use shoal_protocol::config::PeerConfig;
use shoal_protocol::task::spec::{CloudUse, Payload, Variant};
use shoal_protocol::{BlobId, Input, Role, TaskSpec};

use super::{Link, Sim};
use crate::plot::{Axis, Chart, PlotError, Series};

/// The builds, and their work on a reference core for the median recording, in ms: `voice` of `examples/README.md`.
const BUILDS: [(&str, f64); 2] = [("digit", 104.0), ("digit_small", 44.0)];
/// λ, from "only the answer counts" to "only the time does".
const LAMBDAS: [f64; 12] = [0.1, 0.3, 0.6, 0.8, 1.0, 1.3, 1.7, 2.5, 5.0, 10.0, 20.0, 50.0];
/// Between the edge and the cloud, in Mbit/s.
const LINKS_MBPS: [f64; 5] = [0.1, 0.25, 0.5, 2.0, 50.0];
const EDGE_SPEED: f64 = 0.25;
const CLOUD_SPEED: f64 = 2.0;
/// One way, as to a data centre of the same country.
const WAY: Duration = Duration::from_millis(15);
/// Recordings that each build is tried on at home before, so that its work is known.
const TRIED: usize = 12;
const FORMING: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_secs(60);
const OUTPUT_BYTES: u64 = 150;

/// What came of it under one λ over one link.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    pub lambda: f64,
    pub link_mbps: f64,
    pub tasks: usize,
    /// Declared loss of the builds that ran, mean over the tasks.
    pub mean_loss: f64,
    /// From submission to the answer, mean over the tasks.
    pub mean_completion_ms: f64,
    /// Tasks that the small build answered, as a share.
    pub small_share: f64,
    /// Tasks that ran in the cloud, as a share.
    pub cloud_share: f64,
    /// Answers that are wrong, as a share: what the builds that ran really say of these recordings.
    pub wrong_share: f64,
}

/// The sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    pub schema: String,
    pub seed: u64,
    /// By link, then by λ.
    pub points: Vec<Point>,
    /// Steps from one λ to the next, over one link, at which other builds were chosen.
    pub build_changes: usize,
    /// The same, at which other places were.
    pub place_changes: usize,
}

/// Runs every recording under each λ over each link.
pub fn sweep(seed: u64) -> Sweep {
    let voice = Voice { recordings: recordings(), losses: losses() };
    let points: Vec<Point> =
        LINKS_MBPS.iter().flat_map(|link| LAMBDAS.iter().map(|lambda| point(seed, *lambda, *link, &voice))).collect();
    let changes = |of: fn(&Point) -> f64| {
        points.windows(2).filter(|two| two[0].link_mbps == two[1].link_mbps && of(&two[0]) != of(&two[1])).count()
    };
    let (build_changes, place_changes) = (changes(|point| point.small_share), changes(|point| point.cloud_share));
    Sweep { schema: shoal_protocol::api::schema(), seed, points, build_changes, place_changes }
}

/// Loss against completion, a line for each link.
pub fn chart(sweep: &Sweep) -> Result<String, PlotError> {
    let line = |(colour, link): (usize, &f64)| {
        let of_link = sweep.points.iter().filter(|point| point.link_mbps == *link);
        Series {
            name: format!("{link} Mbit/s"),
            colour,
            points: of_link.map(|point| (point.mean_completion_ms, point.mean_loss)).collect(),
        }
    };
    let chart = Chart {
        name: "variants",
        title: format!("Loss and time of two builds, λ from {} to {}", LAMBDAS[0], LAMBDAS[LAMBDAS.len() - 1]),
        x: Axis::linear("mean completion [ms]"),
        y: Axis::linear("mean loss"),
        series: LINKS_MBPS.iter().enumerate().map(line).collect(),
        marked: true,
    };
    chart.svg()
}

/// One recording: its bytes, and whether each build is right about it.
struct Recording {
    bytes: usize,
    work: [Duration; 2],
    is_right: [bool; 2],
}

/// What is asked, and what the builds are said to lose.
struct Voice {
    recordings: Vec<Recording>,
    losses: [f64; 2],
}

fn recordings() -> Vec<Recording> {
    let held_back = workload::held_back_digits();
    let mut sizes: Vec<usize> = held_back.iter().map(|(.., wav)| wav.len()).collect();
    sizes.sort_unstable();
    let median = sizes.get(sizes.len() / 2).copied().unwrap_or(1).max(1) as f64;
    let recording = |(digit, _, wav): &(u8, &str, &[u8])| Recording {
        bytes: wav.len(),
        // The models look at each moment of a recording: twice as long is twice the work.
        work: BUILDS.map(|(_, ms)| Duration::from_micros((ms * 1_000.0 * wav.len() as f64 / median) as u64)),
        is_right: BUILDS.map(|(module, _)| {
            // By the weights that have not heard them.
            let args = ["--held-back".to_owned()];
            let said = modules::native(module).and_then(|run| run(&args, wav).ok()).unwrap_or_default();
            said.starts_with(format!("digit={digit} ").as_bytes())
        }),
    };
    held_back.iter().map(recording).collect()
}

/// The builds, to the peers; what a run of them takes is set before each, since recordings differ.
const MODULES: [BlobId; 2] = [BlobId([1; 32]), BlobId([2; 32])];

fn point(seed: u64, lambda: f64, link_mbps: f64, voice: &Voice) -> Point {
    let mut sim = Sim::quick(seed, Link { delay: WAY, ..Link::ms(0) });
    sim.network().model_uplinks();
    let machine = |cores: u16, speed| PeerConfig {
        cores,
        host_cores: f64::from(cores),
        speed,
        uplink_bits_per_s: (link_mbps * 1e6) as u64,
        lambda,
        ..PeerConfig::default()
    };
    let home = sim.add(Role::Edge, machine(4, EDGE_SPEED));
    let cloud = sim.add(Role::Cloud, machine(64, CLOUD_SPEED));
    sim.run_for(FORMING);
    for index in [home, cloud] {
        for module in MODULES {
            sim.tell(index, Input::Prepared { module, result: Ok(Duration::ZERO) });
        }
    }
    for recording in voice.recordings.iter().take(TRIED) {
        for build in 0..BUILDS.len() {
            let mut tried = spec(recording, voice.losses);
            tried.variants = vec![tried.variants.swap_remove(build)];
            tried.policy.local_only = true;
            run(&mut sim, home, tried, recording);
        }
    }
    let (mut loss, mut completion, mut small, mut away, mut wrong) = (0.0, Duration::ZERO, 0, 0, 0);
    for recording in &voice.recordings {
        let Some((build, executor, took)) = run(&mut sim, home, spec(recording, voice.losses), recording) else {
            continue;
        };
        loss += voice.losses.get(build).copied().unwrap_or_default();
        completion += took;
        small += usize::from(build > 0);
        away += usize::from(executor != home);
        wrong += usize::from(!recording.is_right.get(build).copied().unwrap_or_default());
    }
    let tasks = voice.recordings.len();
    let share = |count: usize| count as f64 / tasks.max(1) as f64;
    Point {
        lambda,
        link_mbps,
        tasks,
        mean_loss: loss / tasks.max(1) as f64,
        mean_completion_ms: completion.as_secs_f64() * 1e3 / tasks.max(1) as f64,
        small_share: share(small),
        cloud_share: share(away),
        wrong_share: share(wrong),
    }
}

/// Runs one task alone: its build, where it ran, and how long it took.
fn run(sim: &mut Sim, home: usize, spec: TaskSpec, recording: &Recording) -> Option<(usize, usize, Duration)> {
    for (module, work) in MODULES.iter().zip(recording.work) {
        sim.set_work(*module, work);
    }
    let begin = sim.now();
    let task = sim.submit_spec(home, spec, Duration::ZERO, OUTPUT_BYTES);
    sim.run_until_done(AFTER, |sim| sim.ended(task).is_some());
    let ended = sim.ended(task)?;
    let result = ended.result.as_ref().ok()?;
    Some((usize::from(result.variant), sim.index(result.executor)?, ended.at.since(begin)))
}

/// As the voice user of the examples declares them.
fn losses() -> [f64; 2] {
    let plan = workload::Plan::default();
    let voice = workload::five_users(&plan).into_iter().find(|item| item.user == "voice");
    let declared = voice.map(|item| item.variants).unwrap_or_default();
    BUILDS.map(|(name, _)| declared.iter().find(|variant| variant.module == name).map_or(0.0, |variant| variant.loss))
}

fn spec(recording: &Recording, losses: [f64; 2]) -> TaskSpec {
    let mut spec = TaskSpec::of_module(MODULES[0], 0);
    let builds = MODULES.iter().zip(BUILDS).zip(losses);
    spec.variants = builds
        .map(|((module, (name, _)), loss)| Variant { name: name.into(), module: *module, module_bytes: 0, loss })
        .collect();
    spec.inputs.push(Payload::inline(vec![0; recording.bytes]));
    spec.policy.cloud = CloudUse::Allow;
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greater_lambda_buys_time_with_loss_over_every_link() {
        let sweep = sweep(1);

        assert_eq!(sweep.points.len(), LAMBDAS.len() * LINKS_MBPS.len());
        assert!(sweep.build_changes >= 3 && sweep.place_changes >= 3, "{sweep:?}");
        for two in sweep.points.windows(2).filter(|two| two[0].link_mbps == two[1].link_mbps) {
            assert!(two[1].mean_loss >= two[0].mean_loss - 1e-9, "{two:?}");
            assert!(two[1].mean_completion_ms <= two[0].mean_completion_ms + 1.0, "{two:?}");
        }
        assert!(chart(&sweep).unwrap().contains("0.25 Mbit/s"));
    }

    #[test]
    fn the_models_are_as_right_as_is_declared() {
        let recordings = recordings();
        let wrong = |build: usize| recordings.iter().filter(|of| !of.is_right[build]).count() as f64;

        let measured = (wrong(1) - wrong(0)) / recordings.len() as f64;

        // Declared is the mean over four takes held back in turn; of sixty recordings each is worth 0.017.
        assert!((losses()[1] - measured).abs() < 2.0 / 60.0, "{measured} is measured");
        assert!(recordings.iter().filter(|of| of.is_right[1]).count() >= 54, "the small model knows nine of ten");
    }
}
