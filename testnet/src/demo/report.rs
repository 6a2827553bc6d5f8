//! What a demonstration came to, as programs read it; `text` is how people do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::board::Place;
use super::decisions::Told;
use super::feed::{Answer, Fed, Miss, Outcome};
pub use super::mode::Mode;
use super::percentiles::{Latency, millis};
use super::stranger::Stranger;
use super::usage::Used;
use super::work::{self, Work};
use crate::cluster::Network;

/// Reasons of failed tasks that are told one by one.
const FAILURES_TOLD_MAX: usize = 5;

/// The whole demonstration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub schema: String,
    /// Every answer of every phase was right, none was lost and none came twice.
    pub ok: bool,
    pub seed: u64,
    /// Of arrivals, a phase.
    pub seconds: f64,
    pub network: Network,
    pub peers: Vec<Machine>,
    pub mesh_up_ms: f64,
    /// Until every peer had every module compiled.
    pub modules_ready_ms: f64,
    /// From the first step to the report.
    pub wall_s: f64,
    pub users: Vec<UserReport>,
    pub decisions: Vec<Told>,
    pub fault: Option<Fault>,
    /// The mesh, and the same work placed by a simple rule.
    pub phases: Vec<Phase>,
    pub axes: Axes,
    pub goals: Vec<Goal>,
    /// Why tasks failed, the first few.
    pub failures: Vec<String>,
}

/// A peer as it was started.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    pub name: String,
    pub role: String,
    pub cores: u16,
    pub slowdown: f64,
}

/// One user's tasks on the mesh.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UserReport {
    pub user: &'static str,
    pub kind: &'static str,
    pub home: String,
    pub tasks: usize,
    pub right: usize,
    pub home_percent: f64,
    pub neighbour_percent: f64,
    pub cloud_percent: f64,
    pub latency: Option<Latency>,
    pub deadline_ms: f64,
    /// Right answers within the deadline, of all tasks.
    pub in_time_percent: f64,
    /// Answers by the module variant that gave them.
    pub variants: BTreeMap<String, usize>,
    /// Inputs and outputs that left their home.
    pub moved_bytes: u64,
    /// The part of them that went to or came from the cloud.
    pub wan_bytes: u64,
}

/// The peer that was killed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    pub peer: String,
    pub killed_at_s: f64,
    /// Tasks it ran, and all it held.
    pub running: usize,
    pub held: usize,
    /// Of those it held: answered rightly.
    pub answered: usize,
    /// From the kill to the last answer of a task it held; absent when it held none or one has no answer.
    pub recovery_ms: Option<f64>,
    /// Until every home saw it dead.
    pub noticed_ms: f64,
    /// Tasks that needed more than one attempt, in the whole phase.
    pub placed_again: usize,
    /// From its new start until every home saw it alive.
    pub returned_in_ms: f64,
    /// Tasks of this and the later phases that it ran afterwards.
    pub ran_after_return: usize,
}

/// The same jobs under one rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    pub mode: Mode,
    pub tasks: usize,
    pub right: usize,
    pub wrong: usize,
    /// The mesh said that there is no answer.
    pub failed: usize,
    /// Nothing was heard.
    pub lost: usize,
    /// Told to have ended more than once; absent where that could not be watched throughout.
    pub twice: Option<usize>,
    pub latency: Option<Latency>,
    pub in_time_percent: f64,
    pub edge_percent: f64,
    pub cloud_percent: f64,
    /// Inputs and outputs between edge and cloud.
    pub wan_bytes: u64,
    #[serde(flatten)]
    pub used: Used,
    /// Time that slots of edge and cloud peers were held by runs, of all there was.
    pub edge_busy_percent: f64,
    pub cloud_busy_percent: f64,
    /// From the first arrival to the last answer.
    pub wall_s: f64,
}

/// The six axes on which the project is evaluated, as far as this run measured them on the mesh.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axes {
    pub tasks_per_s: f64,
    pub rush_tasks_per_s: f64,
    /// Inputs and outputs of all tasks.
    pub processed_bytes: u64,
    pub edge_busy_percent: f64,
    pub cloud_busy_percent: f64,
    /// Of all cores of this machine, by all peers, their runs included.
    pub cpu_percent: Option<f64>,
    pub recovery_ms: Option<f64>,
    pub lost: usize,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub in_time_percent: f64,
    pub stranger: Option<Stranger>,
}

/// Something the demonstration is held to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    pub what: &'static str,
    pub at_most: f64,
    pub unit: &'static str,
    /// Absent where it could not be measured.
    pub measured: Option<f64>,
    pub met: bool,
}

impl Goal {
    pub(super) fn new(what: &'static str, at_most: f64, unit: &'static str, measured: Option<f64>) -> Self {
        Self { what, at_most, unit, measured, met: measured.is_some_and(|measured| measured <= at_most) }
    }
}

/// A right answer, with the job it answers.
fn answers(fed: &Fed) -> impl Iterator<Item = (&Outcome, &Answer)> + Clone {
    fed.outcomes.iter().filter_map(|outcome| Some((outcome, outcome.result.as_ref().ok()?)))
}

fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

fn bytes_of(work: &Work, outcome: &Outcome, answer: &Answer) -> u64 {
    (work.jobs[outcome.job].item.input.len() + answer.output_bytes) as u64
}

fn bytes_at(work: &Work, fed: &Fed, mut counts: impl FnMut(&Outcome, &Answer) -> bool) -> u64 {
    answers(fed).filter(|(outcome, answer)| counts(outcome, answer)).map(|(o, a)| bytes_of(work, o, a)).sum()
}

fn in_time(work: &Work, outcome: &Outcome) -> bool {
    outcome.result.is_ok() && outcome.latency <= work::deadline_of(work.jobs[outcome.job].item.user)
}

pub(super) fn users(work: &Work, fed: &Fed, homes: &[super::calls::Home]) -> Vec<UserReport> {
    work::users()
        .filter_map(|user| {
            let job = work.jobs.iter().find(|job| job.item.user == user)?;
            let of_user = |outcome: &Outcome| work.jobs[outcome.job].item.user == user;
            let own = answers(fed).filter(|(outcome, _)| of_user(outcome));
            let tasks = fed.outcomes.iter().filter(|outcome| of_user(outcome)).count();
            let right = own.clone().count();
            let at = |place| percent(own.clone().filter(|(_, answer)| answer.place == place).count(), right);
            let mut variants = BTreeMap::new();
            for (_, answer) in own.clone() {
                *variants.entry(answer.variant.clone()).or_default() += 1;
            }
            let timely = fed.outcomes.iter().filter(|outcome| of_user(outcome) && in_time(work, outcome)).count();
            Some(UserReport {
                user,
                kind: job.item.kind,
                home: super::calls::home(homes, job).name.clone(),
                tasks,
                right,
                home_percent: at(Place::Home),
                neighbour_percent: at(Place::Neighbour),
                cloud_percent: at(Place::Cloud),
                latency: Latency::of(own.map(|(outcome, _)| outcome.latency)),
                deadline_ms: millis(work::deadline_of(user)),
                in_time_percent: percent(timely, tasks),
                variants,
                moved_bytes: bytes_at(work, fed, |o, answer| of_user(o) && answer.place != Place::Home),
                wan_bytes: bytes_at(work, fed, |o, answer| of_user(o) && answer.place == Place::Cloud),
            })
        })
        .collect()
}

/// Slots that runs can hold at once, at edge and at cloud peers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slots {
    pub(super) edge: u32,
    pub(super) cloud: u32,
}

pub(super) fn phase(work: &Work, fed: &Fed, slots: Slots, used: Used) -> Phase {
    let tasks = fed.outcomes.len();
    let right = answers(fed).count();
    let missed = |kind: fn(&Miss) -> bool| {
        fed.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err()).filter(|miss| kind(miss)).count()
    };
    let in_cloud = answers(fed).filter(|(_, answer)| answer.place == Place::Cloud).count();
    let busy = |cloud: bool, slots: u32| {
        let held = answers(fed).filter(|(_, answer)| (answer.place == Place::Cloud) == cloud);
        let held_s: f64 = held.map(|(_, answer)| answer.timings.run_us as f64 / 1e6).sum();
        100.0 * held_s / (f64::from(slots) * fed.wall.as_secs_f64()).max(1e-9)
    };
    Phase {
        mode: fed.mode,
        tasks,
        right,
        wrong: missed(|miss| matches!(miss, Miss::Wrong)),
        failed: missed(|miss| matches!(miss, Miss::Failed(_))),
        lost: missed(|miss| matches!(miss, Miss::Lost)),
        twice: fed.twice,
        latency: Latency::of(answers(fed).map(|(outcome, _)| outcome.latency)),
        in_time_percent: percent(fed.outcomes.iter().filter(|outcome| in_time(work, outcome)).count(), tasks),
        edge_percent: percent(right - in_cloud, right),
        cloud_percent: percent(in_cloud, right),
        wan_bytes: bytes_at(work, fed, |_, answer| answer.place == Place::Cloud),
        used,
        edge_busy_percent: busy(false, slots.edge),
        cloud_busy_percent: busy(true, slots.cloud),
        wall_s: fed.wall.as_secs_f64(),
    }
}

/// What came of the fault in the phase it happened in, the first, and in those after it.
pub(super) fn fault(feds: &[Fed], killed: &super::fault::Killed) -> Option<Fault> {
    let fed = feds.first()?;
    let held: Vec<_> = fed.outcomes.iter().filter(|outcome| killed.held.contains(&outcome.task)).collect();
    let answered = held.iter().filter(|outcome| outcome.result.is_ok()).count();
    let last = held.iter().map(|outcome| outcome.answered.saturating_duration_since(killed.at)).max();
    let after = answers(fed)
        .filter(|(outcome, answer)| answer.executor.name == killed.name && outcome.answered > killed.returned_at);
    Some(Fault {
        peer: killed.name.clone(),
        killed_at_s: killed.at.saturating_duration_since(fed.began).as_secs_f64(),
        running: killed.running,
        held: killed.held.len(),
        answered,
        recovery_ms: last.filter(|_| answered == killed.held.len()).map(millis),
        noticed_ms: millis(killed.noticed),
        placed_again: answers(fed).filter(|(_, answer)| answer.attempts > 1).count(),
        returned_in_ms: millis(killed.returned_in),
        ran_after_return: after.count(),
    })
}

pub(super) fn axes(work: &Work, fed: &Fed, phase: &Phase, fault: Option<&Fault>, stranger: Option<Stranger>) -> Axes {
    let [begins, ends] = work.rush;
    let in_rush = |outcome: &Outcome| {
        let at = outcome.answered.saturating_duration_since(fed.began);
        begins <= at && at < ends
    };
    let rush_s = (ends - begins).as_secs_f64().max(1e-9);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    Axes {
        tasks_per_s: phase.right as f64 / phase.wall_s.max(1e-9),
        rush_tasks_per_s: answers(fed).filter(|(outcome, _)| in_rush(outcome)).count() as f64 / rush_s,
        processed_bytes: bytes_at(work, fed, |_, _| true),
        edge_busy_percent: phase.edge_busy_percent,
        cloud_busy_percent: phase.cloud_busy_percent,
        cpu_percent: phase.used.cpu_s.map(|cpu_s| 100.0 * cpu_s / (phase.wall_s * cores as f64).max(1e-9)),
        recovery_ms: fault.and_then(|fault| fault.recovery_ms),
        lost: phase.lost,
        p50_ms: phase.latency.map(|latency| latency.p50_ms),
        p99_ms: phase.latency.map(|latency| latency.p99_ms),
        in_time_percent: phase.in_time_percent,
        stranger,
    }
}

pub(super) fn failures(work: &Work, phases: &[&Fed]) -> Vec<String> {
    let all = phases.iter().flat_map(|fed| fed.outcomes.iter().map(|outcome| (fed.mode, outcome)));
    let told = all.filter_map(|(mode, outcome)| {
        let why = match outcome.result.as_ref().err()? {
            Miss::Wrong => "the answer is not the one computed natively".to_owned(),
            Miss::Failed(why) => why.clone(),
            Miss::Lost => "no answer".to_owned(),
        };
        let item = &work.jobs[outcome.job].item;
        Some(format!("{mode}: {} {} ({}): {why}", item.user, item.number, outcome.task))
    });
    told.take(FAILURES_TOLD_MAX).collect()
}

/// Whether a phase answered everything rightly and once.
pub(super) fn is_good(phase: &Phase) -> bool {
    phase.right == phase.tasks && phase.twice.unwrap_or_default() == 0
}

/// Seconds for people.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100.0).round() / 100.0
}
