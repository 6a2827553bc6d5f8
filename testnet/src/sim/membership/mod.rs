//! How well a large mesh knows who is in it: what that costs, how soon a crash is known to all who hold the peer in their
//! view, who is wrongly taken for dead, and how soon a mesh mends.
//!
//! | figure | is |
//! |---|---|
//! | detection | from a crash to the moment a holder believes it, over all pairs of a crash and a holder: a peer that was connected to the victim and believed it alive when it crashed, and that itself neither crashed nor stalled before it knew |
//! | false death | a peer that was up, and not stalled within the last [`WAKING`], declared dead by somebody, stalled lately or not; every believer counts |
//! | bytes | as encoded, and [`super::DATAGRAM_BYTES`] for every datagram: what goes to one peer at one moment shares one, as far as it fits |
//! | under load | the same after the time that is measured, with tasks (`loaded.rs`) |
//! | staleness | when a random neighbour in a random view was last heard, how old its load digest is, and whether it is down |
//!
//! **Not here:** deciding anything: the peers are those that `shoald` ships.

mod ledger;
mod loaded;
mod mending;
mod revoking;
mod world;

use core::time::Duration;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use shoal_protocol::config::{PeerConfig, VIEW_CLOUD_MAX, VIEW_NEAR_MAX, VIEW_RANDOM_MAX};
use shoal_protocol::{Role, Time};

use self::ledger::{Ledger, percentile};
pub use self::loaded::Loaded;
pub use self::mending::Mending;
pub use self::revoking::Revoking;
use self::world::World;
use super::matrix::Matrix;
use super::{Link, Sim};

/// Connections are made and the way to everybody is measured before anything is counted.
pub const SETTLING: Duration = Duration::from_secs(15);
/// A peer that woke this short a time ago was silent itself, whatever is believed of it.
pub const WAKING: Duration = Duration::from_secs(2);
/// How long a stall lasts.
pub const STALL: Duration = Duration::from_secs(10);
/// Crashes end this long before the end, so that each can still be noticed.
const LAST_CRASH: Duration = Duration::from_secs(10);
/// A crashed peer starts again after this, knowing what it knew at the start.
const RESTART_AFTER: Duration = Duration::from_secs(30);
/// Up to this much is added to every one-way delay.
const JITTER: Duration = Duration::from_millis(2);
const TICK: Duration = Duration::from_millis(100);
/// With more, they wait for each other more than they work.
const THREADS_MAX: usize = 8;
/// Views looked into in a second.
const LOOKS_PER_S: usize = 20;

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Peers, cloud peers included.
    pub peers: usize,
    /// Share of the peers that are cloud peers, in percent; at least one of any mesh.
    pub cloud_percent: f64,
    /// Share of messages that must be sent again, in percent.
    pub loss_percent: f64,
    /// Share of the peers that are stalled at any time, each for [`STALL`], in percent.
    pub stall_percent: f64,
    /// Peers that crash in a minute, in percent.
    pub crash_percent: f64,
    /// Time that is measured, after [`SETTLING`].
    pub minutes: f64,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Measured round trips instead of the synthetic world.
    pub rtt: Option<Matrix>,
    /// Work to be done afterwards, in percent of all cores; nothing: none.
    pub load_percent: Option<f64>,
    /// Whether to measure how the mesh mends, afterwards.
    pub mend: bool,
    /// Peers to revoke one after the other, afterwards.
    pub revoke: usize,
    /// Threads to simulate with; as many as there are cores when nothing is said. They change nothing but the time it takes.
    pub threads: Option<usize>,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Peers, cloud peers included.
    pub peers: usize,
    /// Minutes measured.
    pub minutes: f64,
    /// Peers that crashed.
    pub crashes: usize,
    /// Pairs of a crash and a holder that detection is measured on.
    pub detect_pairs: usize,
    /// Half of the pairs knew by then.
    pub detect_ms_p50: Option<f64>,
    /// 99 of a hundred.
    pub detect_ms_p99: Option<f64>,
    /// All.
    pub detect_ms_max: Option<f64>,
    /// The first holder of each crash.
    pub first_ms_p50: Option<f64>,
    /// From the first holder that knew to each of the others.
    pub spread_ms_p50: Option<f64>,
    /// The same, 99 of a hundred.
    pub spread_ms_p99: Option<f64>,
    /// Pairs that never knew; they count in detection with the time that was left.
    pub undetected_pairs: usize,
    /// Peers declared dead that were not, per believer.
    pub false_deaths: usize,
    /// The same by believers that had stalled in the last minute.
    pub false_deaths_by_woken: usize,
    /// Stalled peers declared dead, per believer.
    pub stalled_declared_dead: usize,
    /// Stalls begun.
    pub stalls: usize,
    /// Peers times hours.
    pub peer_hours: f64,
    /// Control bytes a peer sent in a second.
    pub bytes_per_peer_s_mean: f64,
    /// 99 of a hundred peers sent less.
    pub bytes_per_peer_s_p99: f64,
    /// The mean of the edge peers.
    pub bytes_per_edge_peer_s_mean: f64,
    /// The mean of the cloud peers.
    pub bytes_per_cloud_peer_s_mean: f64,
    /// Control bytes a second and peer, by kind of message, datagrams counted whole.
    pub bytes_per_peer_s_by_kind: std::collections::BTreeMap<&'static str, f64>,
    /// Neighbours of an edge peer.
    pub view_mean: f64,
    /// Neighbours of a cloud peer.
    pub cloud_view_mean: f64,
    /// When a neighbour in use was last heard.
    pub staleness_s_p50: Option<f64>,
    /// The same, 99 of a hundred.
    pub staleness_s_p99: Option<f64>,
    /// How old the load digest in use is.
    pub load_age_s_p50: Option<f64>,
    /// Share of the neighbours in use that are down.
    pub stale_percent: f64,
    /// What is sent under load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded: Option<Loaded>,
    /// How the mesh mends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mending: Option<Mending>,
    /// How soon revocations are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoking: Option<Revoking>,
    /// Events simulated.
    pub events: u64,
    /// Time it took.
    pub wall_s: f64,
    /// Most memory this process held, in mebibytes.
    pub rss_mb: f64,
}

/// Runs the experiment.
pub fn run(experiment: &Experiment) -> Report {
    let began = Instant::now();
    let mut mesh = Mesh::form(experiment);
    mesh.settle();
    let mut ledger = Ledger::open(&mesh);
    mesh.live(experiment, &mut ledger);
    let mut report = ledger.close(&mesh, experiment.minutes * 60.0);
    report.loaded = experiment.load_percent.map(|percent| loaded::measure(&mut mesh, percent));
    report.mending = experiment.mend.then(|| mending::measure(&mut mesh));
    report.revoking = (experiment.revoke > 0).then(|| revoking::measure(&mut mesh, experiment.revoke));
    report.events = mesh.sim.handled();
    report.wall_s = began.elapsed().as_secs_f64();
    report.rss_mb = rss_mb();
    report
}

/// A mesh, and what the script knows of it.
struct Mesh {
    sim: Sim,
    world: World,
    rng: Pcg64Mcg,
    clouds: usize,
    remembered: Vec<Vec<usize>>,
    state: Vec<Up>,
}

/// How a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    Running {
        woke: Option<Time>,
    },
    Stalled {
        until: Time,
    },
    Down {
        until: Time,
    },
    /// It runs, and is a member no more.
    Revoked,
}

impl Mesh {
    /// Every peer starts at once, remembering its nearest and some others, as after a power cut.
    fn form(experiment: &Experiment) -> Self {
        let peers = experiment.peers;
        let clouds = ((peers as f64 * experiment.cloud_percent / 100.0).round() as usize).max(1).min(peers);
        let clouds = if experiment.cloud_percent > 0.0 { clouds } else { 0 };
        let world = match &experiment.rtt {
            Some(matrix) => World::Measured(Box::new(matrix.clone())),
            None => World::plane(peers, clouds, experiment.seed),
        };
        let loss = experiment.loss_percent / 100.0;
        let mut sim = Sim::quick(experiment.seed, Link { delay: Duration::ZERO, jitter: JITTER, loss });
        sim.spread(experiment.threads.unwrap_or_else(cores), world.shortest_way());
        let delays = world.clone();
        sim.network().set_delays(move |a, b| delays.one_way(a, b));
        let config = PeerConfig::default();
        for n in 0..peers {
            sim.add_cold(if n < clouds { Role::Cloud } else { Role::Edge }, config.clone());
        }
        let mut rng = Pcg64Mcg::seed_from_u64(experiment.seed ^ 0x6d65_6d62);
        let remembered: Vec<Vec<usize>> = (0..peers).map(|n| remember(n, &world, clouds, peers, &mut rng)).collect();
        for (n, others) in remembered.iter().enumerate() {
            sim.start(n, others);
        }
        Self { sim, world, rng, clouds, remembered, state: vec![Up::Running { woke: None }; peers] }
    }

    fn settle(&mut self) {
        self.sim.run_for(SETTLING);
        self.sim.watch_beliefs();
    }

    fn live(&mut self, experiment: &Experiment, ledger: &mut Ledger) {
        let end = self.sim.now() + Duration::from_secs_f64(experiment.minutes * 60.0);
        let peers = experiment.peers as f64;
        let crashes_per_tick = peers * experiment.crash_percent / 100.0 * TICK.as_secs_f64() / 60.0;
        let stalls_per_tick = peers * experiment.stall_percent / 100.0 * TICK.as_secs_f64() / STALL.as_secs_f64();
        let (mut crashes_due, mut stalls_due, mut looks_due) = (0.0, 0.0, 0.0);
        while self.sim.now() < end {
            self.recover(ledger);
            stalls_due += stalls_per_tick;
            while stalls_due >= 1.0 {
                stalls_due -= 1.0;
                self.stall(ledger);
            }
            if self.sim.now() + LAST_CRASH < end {
                crashes_due += crashes_per_tick;
            }
            while crashes_due >= 1.0 {
                crashes_due -= 1.0;
                self.crash(ledger);
            }
            looks_due += LOOKS_PER_S as f64 * TICK.as_secs_f64();
            while looks_due >= 1.0 {
                looks_due -= 1.0;
                self.look(ledger);
            }
            self.sim.run_for(TICK.min(end.since(self.sim.now())));
            ledger.believe(self);
        }
    }

    /// Those whose time has come run again.
    fn recover(&mut self, ledger: &mut Ledger) {
        let now = self.sim.now();
        for n in 0..self.state.len() {
            match self.state.get(n) {
                Some(Up::Stalled { until }) if *until <= now => {
                    self.sim.thaw(n);
                    self.set(n, Up::Running { woke: Some(now) });
                }
                Some(Up::Down { until }) if *until <= now => {
                    ledger.restarts(n, self);
                    let remembered = self.remembered.get(n).cloned().unwrap_or_default();
                    self.sim.start(n, &remembered);
                    self.set(n, Up::Running { woke: Some(now) });
                }
                Some(_) | None => {}
            }
        }
    }

    fn stall(&mut self, ledger: &mut Ledger) {
        let Some(n) = self.one_running() else { return };
        self.sim.freeze(n);
        self.set(n, Up::Stalled { until: self.sim.now() + STALL });
        ledger.stalled(n, self.sim.now());
    }

    fn crash(&mut self, ledger: &mut Ledger) {
        let Some(n) = self.one_running() else { return };
        let victim = self.sim.id(n);
        let holds = |holder: &usize| {
            self.is_running(*holder) && self.sim.peer(*holder).is_some_and(|peer| peer.is_neighbour(victim))
        };
        let holders = self.sim.neighbours(n).into_iter().filter(holds).collect();
        ledger.crashed(n, self.sim.now(), holders);
        self.sim.crash(n);
        self.set(n, Up::Down { until: self.sim.now() + RESTART_AFTER });
    }

    /// Looks at one neighbour in one view, as a placement would.
    fn look(&mut self, ledger: &mut Ledger) {
        let Some(n) = self.one_running() else { return };
        let Some(peer) = self.sim.peer(n) else { return };
        let views = peer.neighbour_views(self.sim.now());
        if views.is_empty() {
            return;
        }
        let Some(view) = views.get(self.rng.random_range(0..views.len())) else { return };
        let is_up = self.sim.index(view.peer).is_some_and(|other| self.is_running(other));
        ledger.looked(view.heard_us_ago, view.load.as_ref().map(|load| load.age_us), is_up);
    }

    fn one_running(&mut self) -> Option<usize> {
        let count = self.state.len();
        for _ in 0..100 {
            let n = self.rng.random_range(0..count);
            if self.is_running(n) {
                return Some(n);
            }
        }
        None
    }

    fn is_running(&self, n: usize) -> bool {
        matches!(self.state.get(n), Some(Up::Running { .. }))
    }

    fn set(&mut self, n: usize, up: Up) {
        self.state.get_mut(n).into_iter().for_each(|state| *state = up);
    }
}

/// Threads that can run side by side here.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, core::num::NonZero::get).min(THREADS_MAX)
}

/// Whom a peer knew before it started.
fn remember(n: usize, world: &World, clouds: usize, peers: usize, rng: &mut Pcg64Mcg) -> Vec<usize> {
    let mut remembered = world.nearest(n, 0..clouds, VIEW_CLOUD_MAX);
    if n < clouds {
        return remembered; // the edge calls
    }
    remembered.extend(world.nearest(n, clouds..peers, VIEW_NEAR_MAX));
    if peers > clouds + 1 {
        // The other half of the random neighbours are those who choose this one.
        let at_random = |_| rng.random_range(clouds..peers);
        remembered.extend((0..VIEW_RANDOM_MAX / 2).map(at_random).filter(|other| *other != n));
    }
    remembered
}

/// The most memory this process ever held; 0 where the system does not say.
fn rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map_or(0.0, |kib| kib / 1024.0)
}
