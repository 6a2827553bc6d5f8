//! How many wrong answers are taken for right where some machines forge them, and what it costs to find out.
//!
//! Slow homes give most of their tasks away. Every attempt is placed, run, signed and compared by the peers that are
//! shipped; a task's right answer is known here, and to nobody there.

use core::time::Duration;
use std::collections::HashSet;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use shoal_protocol::config::PeerConfig;
use shoal_protocol::output::TaskError;
use shoal_protocol::task::spec::Payload;
use shoal_protocol::task::verification::Verify;
use shoal_protocol::{BlobId, Input, Role, TaskId};

use super::{Forger, Forgery, Link, Sim};

/// An experiment.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub seed: u64,
    /// Machines that run tasks of others.
    pub hosts: usize,
    /// Of those, in percent.
    pub liars: usize,
    pub tasks: usize,
    pub mode: Verify,
    /// Whether all forgers give the same wrong answers.
    pub colludes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, hosts: 40, liars: 10, tasks: 100_000, mode: Verify::Auto, colludes: false }
    }
}

/// Machines whose users hand in the tasks.
const HOMES: usize = 3;
/// Tasks at each of them, a second.
const PER_HOME_S: f64 = 100.0;
const WORK_MS: f64 = 50.0;
const FORMING: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(60);
const MODULE: BlobId = BlobId([7; 32]);

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema: String,
    pub seed: u64,
    pub hosts: usize,
    pub liars: usize,
    pub mode: String,
    pub colludes: bool,
    pub tasks: usize,
    /// Wrong answers that users were told.
    pub wrong_accepted: usize,
    /// The same, of the second half of the tasks.
    pub wrong_accepted_late: usize,
    /// Tasks that ended because no answer was agreed on.
    pub unverified: usize,
    /// Tasks that ended without an answer for another reason.
    pub failed: usize,
    /// Answers that were not what others found: counted by the homes.
    pub wrong_found: u64,
    /// Runs beyond one a task, as a share of the tasks.
    pub overhead: f64,
    /// The same, of the second half of the tasks.
    pub overhead_late: f64,
    /// Tasks whose answer was given by two runs or more.
    pub compared_share: f64,
}

/// Runs it.
pub fn run(settings: &Settings) -> Report {
    let mut rng = Pcg64Mcg::seed_from_u64(settings.seed ^ 0xa45e);
    let mut sim = mesh(settings);
    sim.run_for(FORMING);
    let ms = |ms: f64| Duration::from_secs_f64(ms / 1e3);
    let mut at = sim.now();
    let tasks: Vec<TaskId> = (0..settings.tasks)
        .map(|_| {
            at += ms(-(1.0 - rng.random::<f64>()).ln() * 1e3 / (PER_HOME_S * HOMES as f64));
            sim.run_to(at);
            let work = ms(WORK_MS * rng.random_range(0.5..1.5));
            sim.submit(rng.random_range(0..HOMES), work, |spec| {
                spec.inputs = vec![Payload::inline(vec![0; 100])];
                spec.variants.iter_mut().for_each(|variant| variant.module = MODULE);
                spec.verify = settings.mode;
            })
        })
        .collect();
    let end = sim.now() + AFTER;
    while sim.open_tasks() > 0 && sim.now() < end {
        sim.run_for(Duration::from_secs(1));
    }
    report(settings, &sim, &tasks)
}

fn mesh(settings: &Settings) -> Sim {
    let mut sim = Sim::quick(settings.seed, Link::ms(2));
    // A home computes at a quarter of the speed.
    let home = PeerConfig { cores: 8, host_cores: 8.0, speed: 0.25, memory_bytes: 64 << 30, ..PeerConfig::default() };
    let host = PeerConfig { cores: 4, host_cores: 4.0, speed: 1.0, memory_bytes: 64 << 30, ..PeerConfig::default() };
    for index in 0..HOMES + settings.hosts {
        sim.add_cold(Role::Edge, if index < HOMES { home.clone() } else { host.clone() });
    }
    for (n, forgery) in (0..settings.hosts * settings.liars / 100).zip(Forgery::ALL.iter().cycle()) {
        sim.forge(HOMES + n, Forger::new(*forgery, settings.colludes));
    }
    for index in 0..sim.len() {
        let others: Vec<usize> = (0..sim.len()).filter(|other| *other != index).collect();
        sim.start(index, &others);
        sim.tell(index, Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) });
    }
    sim
}

fn report(settings: &Settings, sim: &Sim, tasks: &[TaskId]) -> Report {
    let half = tasks.len() / 2;
    let mut report = Report {
        schema: shoal_protocol::api::schema(),
        seed: settings.seed,
        hosts: settings.hosts,
        liars: settings.hosts * settings.liars / 100,
        mode: settings.mode.to_string(),
        colludes: settings.colludes,
        tasks: tasks.len(),
        wrong_accepted: 0,
        wrong_accepted_late: 0,
        unverified: 0,
        failed: 0,
        wrong_found: 0,
        overhead: 0.0,
        overhead_late: 0.0,
        compared_share: 0.0,
    };
    let late: HashSet<TaskId> = tasks.iter().skip(half).copied().collect();
    let mut compared = 0;
    for task in tasks {
        match sim.ended(*task).map(|ended| &ended.result) {
            Some(Ok(result)) => {
                compared += usize::from(result.agreed >= 2);
                if result.report.output != Payload::inline(task.0.to_vec()) {
                    report.wrong_accepted += 1;
                    report.wrong_accepted_late += usize::from(late.contains(task));
                }
            }
            Some(Err(TaskError::Unverified { .. })) => report.unverified += 1,
            Some(Err(_)) | None => report.failed += 1,
        }
    }
    let runs = sim.runs();
    let runs_late = runs.iter().filter(|ran| late.contains(&ran.attempt.task)).count();
    let beyond = |runs: usize, tasks: usize| runs as f64 / tasks.max(1) as f64 - 1.0;
    report.overhead = beyond(runs.len(), tasks.len());
    report.overhead_late = beyond(runs_late, late.len());
    report.compared_share = compared as f64 / tasks.len().max(1) as f64;
    let counters = (0..HOMES).filter_map(|home| sim.peer(home)).flat_map(|peer| peer.counters());
    report.wrong_found = counters.filter(|(name, _)| *name == "wrong_answers").map(|(_, count)| count).sum();
    report
}
