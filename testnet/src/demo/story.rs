//! The demonstration from its first step to its report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_protocol::TaskState;
use shoal_protocol::api::{TaskRequest, codes, schema};
use shoal_protocol::certificate::Role;
use tokio::task::JoinSet;

use super::board::{Board, follow};
use super::calls::{self, Home, Modules};
use super::decisions;
use super::error::DemoError;
use super::fault::{self, Killed};
use super::feed::{Fed, Stage, feed};
use super::live::Live;
use super::mode::Mode;
use super::percentiles::millis;
use super::report::{self, Goal, Machine, Phase, Report, Slots};
use super::stranger;
use super::usage::Usage;
use super::work::{Work, home_of};
use crate::cluster::{Cluster, ClusterConfig, PeerPlan, Where};

const SECONDS_MIN: u64 = 2;
const SECONDS_MAX: u64 = 600;
const CLOUDS: usize = 3;
const EDGES: usize = 2;
/// How many times longer a run holds its slot than it took: an edge machine's cores are half as fast as a cloud one's.
const CLOUD_SLOWDOWN: f64 = 4.0;
const EDGE_SLOWDOWN: f64 = 8.0;
const CLOUD_CORES: u16 = 4;
const EDGE_CORES: u16 = 1;
/// A backlog that is kept at the edge must not be turned away: the comparison is about time.
const EDGE_QUEUE_MAX: u32 = 4_096;
/// Between two tries of a task for which nobody came.
const AGAIN: Duration = Duration::from_millis(50);
/// Time in which every peer compiles every module; compiling is all the machine does then.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// What to show.
#[derive(Debug, Clone)]
pub struct DemoConfig {
    pub seed: u64,
    /// Of arrivals, a phase.
    pub seconds: u64,
    pub network: Where,
    /// Whether the same work is also sent all to the cloud and all kept local.
    pub comparison: bool,
    /// Whether a peer is killed.
    pub fault: bool,
}

impl Default for DemoConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            seconds: 15,
            network: Where::EmulatedIfPossible(crate::emulator::Links::default()),
            comparison: true,
            fault: true,
        }
    }
}

/// Shows it, talking on standard error, and returns what it came to.
pub async fn run(config: DemoConfig) -> Result<Report, DemoError> {
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&config.seconds) {
        return Err(DemoError::Seconds { seconds: config.seconds, min: SECONDS_MIN, max: SECONDS_MAX });
    }
    let began = Instant::now();
    let live = Live::new();
    let work = Arc::new(Work::new(config.seed, Duration::from_secs(config.seconds))?);
    live.say(format!(
        "five users will ask {} questions in {} s, most of them between {:.0} and {:.0} s; the right answers are known ({} ms)",
        work.jobs.len(),
        config.seconds,
        work.rush[0].as_secs_f64(),
        work.rush[1].as_secs_f64(),
        work.checked_in.as_millis(),
    ));

    let mesh = mesh(&config);
    let (machines, slots) = (machines(&mesh), slots(&mesh));
    let cluster = Cluster::start(mesh).await?;
    live.say(format!(
        "{CLOUDS} cloud and {EDGES} edge peers are up in {:.1} s, {}",
        cluster.formed_in().as_secs_f64(),
        super::text::network(cluster.network())
    ));
    let homes = Home::all(&cluster)?;
    let ready_began = Instant::now();
    let modules = Modules::upload(&homes, &work).await?;
    make_ready(&cluster, &homes, &modules, &work).await?;
    let modules_ready = ready_began.elapsed();
    live.say(format!("every peer has compiled every module ({:.1} s)", modules_ready.as_secs_f64()));

    let board = Board::new();
    // Dropped at the end, which ends the following.
    let mut followers = JoinSet::new();
    for home in &homes {
        followers.spawn(follow(home.client.clone(), board.clone()));
    }
    let run = format!("demo {}", config.seed);
    let stage = Stage { homes: &homes, modules: &modules, board: &board, live: &live, run: &run };

    let (mesh_fed, killed, mesh_phase) = mesh_phase(&config, &cluster, &work, &stage, slots).await?;
    let decisions = decisions::of_each_place(&work, &mesh_fed, &homes).await;
    let mut phases = vec![mesh_phase];
    let mut feds = vec![mesh_fed];
    if config.comparison {
        for mode in [Mode::Cloud, Mode::Local] {
            let mut usage = Usage::of(&cluster);
            let fed = feed(&work, mode, &stage, &mut usage).await;
            phases.push(report::phase(&work, &fed, slots, usage.used()));
            feds.push(fed);
        }
    }
    let stranger = stranger::knock(&cluster).await?;

    let mesh_fed = &feds[0];
    let fault = killed.and_then(|killed| report::fault(&feds, &killed));
    let network = cluster.network().clone();
    let formed_in = cluster.formed_in();
    let users = report::users(&work, mesh_fed, &homes);
    drop(followers);
    cluster.shutdown().await;
    let wall_s = began.elapsed().as_secs_f64();
    let axes = report::axes(&work, mesh_fed, &phases[0], fault.as_ref(), stranger);
    let mut goals = vec![
        Goal::new("the mesh is up", 5.0, "s", Some(report::seconds(formed_in))),
        Goal::new("the whole demonstration", 90.0, "s", Some(report::seconds(began.elapsed()))),
    ];
    if let Some(fault) = &fault {
        goals.push(Goal::new("kill → last answer of its tasks", 3.0, "s", fault.recovery_ms.map(|ms| ms / 1_000.0)));
    }
    Ok(Report {
        schema: schema(),
        ok: phases.iter().all(report::is_good),
        seed: config.seed,
        seconds: config.seconds as f64,
        network,
        peers: machines,
        mesh_up_ms: millis(formed_in),
        modules_ready_ms: millis(modules_ready),
        wall_s,
        users,
        decisions,
        fault,
        axes,
        goals,
        failures: report::failures(&work, &feds.iter().collect::<Vec<_>>()),
        phases,
    })
}

/// The phase the demonstration is about: the peers decide, and one is killed in the rush.
async fn mesh_phase(
    config: &DemoConfig,
    cluster: &Cluster,
    work: &Arc<Work>,
    stage: &Stage<'_>,
    slots: Slots,
) -> Result<(Fed, Option<Killed>, Phase), DemoError> {
    let mut usage = Usage::of(cluster);
    let [begins, ends] = work.rush;
    // A moment into the rush, when the cloud has begun to take what is too much for the edge.
    let window = [begins + (ends - begins).mul_f64(0.25), ends];
    let fault = async {
        match config.fault {
            true => fault::kill_one(cluster, stage.board, stage.live, window).await.map(Some),
            false => Ok(None),
        }
    };
    let (fed, killed) = tokio::join!(feed(work, Mode::Mesh, stage, &mut usage), fault);
    let phase = report::phase(work, &fed, slots, usage.used());
    Ok((fed, killed?, phase))
}

fn mesh(config: &DemoConfig) -> ClusterConfig {
    let mesh = ClusterConfig {
        mesh_name: "demo".into(),
        network: config.network.clone(),
        log: "info".into(),
        show_progress: true,
        ..ClusterConfig::new(CLOUDS, EDGES)
    };
    let peers = mesh.peers.into_iter().map(|peer| match peer.role {
        Role::Cloud => PeerPlan { cores: CLOUD_CORES, slowdown: CLOUD_SLOWDOWN, ..peer },
        Role::Edge => PeerPlan { cores: EDGE_CORES, slowdown: EDGE_SLOWDOWN, queue_max: EDGE_QUEUE_MAX, ..peer },
    });
    ClusterConfig { peers: peers.collect(), ..mesh }
}

fn machines(mesh: &ClusterConfig) -> Vec<Machine> {
    let machine = |plan: &PeerPlan| Machine {
        name: plan.name.clone(),
        role: plan.role.to_string(),
        cores: plan.cores,
        slowdown: plan.slowdown,
    };
    mesh.peers.iter().map(machine).collect()
}

fn slots(mesh: &ClusterConfig) -> Slots {
    let of = |role| mesh.peers.iter().filter(|plan| plan.role == role).map(|plan| u32::from(plan.cores)).sum();
    Slots { edge: of(Role::Edge), cloud: of(Role::Cloud) }
}

/// Has every home's modules compiled at every peer, by a task of each that must run there, so that no phase pays for what
/// another finds done; then lets each home see what its work takes, one task at a time, when nothing compiles any more.
async fn make_ready(cluster: &Cluster, homes: &[Home], modules: &Modules, work: &Work) -> Result<(), DemoError> {
    let mut compiling = JoinSet::new();
    let mut trials: Vec<Vec<(Home, TaskRequest)>> = homes.iter().map(|_| Vec::new()).collect();
    for job in work.samples() {
        let home = calls::home(homes, job);
        for peer in cluster.peers() {
            for variant in job.variants() {
                let key = format!("ready {} {} {}", job.item.user, variant.module, peer.name);
                let trial = modules.request(job, Mode::Mesh, format!("{key} timed"));
                let variants = trial.variants.iter().filter(|asked| asked.name == variant.module).cloned().collect();
                let trial = TaskRequest { variants, peer: Some(peer.name.clone()), deadline_ms: None, ..trial };
                let once = TaskRequest { args: Vec::new(), idempotency_key: Some(key), ..trial.clone() };
                compiling.spawn(ready(home.clone(), once));
                trials[home_of(job.item.user) % homes.len()].push((home.clone(), trial));
            }
        }
    }
    let all = async {
        finish(compiling, &homes[0]).await?;
        let mut timing = JoinSet::new();
        for trials in trials {
            timing.spawn(async move {
                for (home, request) in trials {
                    ready(home, request).await?;
                }
                Ok(())
            });
        }
        finish(timing, &homes[0]).await
    };
    let timed = tokio::time::timeout(READY_PATIENCE, all).await;
    timed.unwrap_or_else(|_| Err(refused(&homes[0], format!("not done within {} s", READY_PATIENCE.as_secs()))))
}

async fn finish(mut asked: JoinSet<Result<(), DemoError>>, home: &Home) -> Result<(), DemoError> {
    while let Some(joined) = asked.join_next().await {
        // A task that panicked has said so; it counts as an answer that never came.
        joined.unwrap_or_else(|error| Err(refused(home, error.to_string())))?;
    }
    Ok(())
}

async fn ready(home: Home, mut request: TaskRequest) -> Result<(), DemoError> {
    let view = loop {
        let view = home.client.run(request.clone()).await.map_err(home.could_not("run a module everywhere"))?;
        // All compile at once: a peer may be suspect for a moment. Whoever calls has an end to its patience.
        if view.problem.as_ref().is_none_or(|problem| problem.code != codes::NO_CANDIDATE) {
            break view;
        }
        // A key names the task that was refused.
        request.idempotency_key = request.idempotency_key.map(|key| format!("{key}+"));
        tokio::time::sleep(AGAIN).await;
    };
    match (view.state, view.exit_code) {
        (TaskState::Done, Some(0)) => Ok(()),
        _ => {
            let why = view.problem.map_or(view.log, |problem| format!("{} {}", problem.title, problem.detail));
            Err(refused(&home, why))
        }
    }
}

fn refused(home: &Home, why: String) -> DemoError {
    DemoError::Refused { peer: home.name.clone(), doing: "run a module everywhere", why }
}
