//! What becomes of tasks when a mesh is offered several times what it can do.
//!
//! ```text
//! unloaded: one task at a time at each home ─► p99
//! overloaded: so many a second, refused ones are not tried again ─► settling, not counted │ accepted, refused, p99
//! ```
//!
//! A run is a short spin whose slot is held several times as long, by the testnet's slowdown: its length is known, and the
//! machine that all peers share is not what is overloaded.
//!
//! **Not here:** the rule by which tasks are refused. That is `protocol`'s `task/requester/admission.rs`.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use shoal_cli::client::{Client, ClientError};
use shoal_examples::modules;
use shoal_protocol::TaskState;
use shoal_protocol::api::{TaskRequest, TaskView, VariantRequest, codes};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, ClusterConfig, ClusterError, PeerPlan};
use crate::demo::percentiles::Latency;

/// Slots are held this many times longer than the spin takes.
const SLOWDOWN: f64 = 10.0;
/// Rounds of the spin whose length is timed.
const ROUNDS: u64 = 2_000_000;
/// Times it is timed; the median counts.
const TRIALS: usize = 9;
/// Tasks of each home while nothing else is offered.
const UNLOADED: usize = 60;
/// What accepted tasks may take, over what they take unloaded.
const RATIO_MAX: f64 = 2.0;

/// What is offered to whom.
#[derive(Debug, Clone)]
pub struct OverloadConfig {
    pub peers: usize,
    pub cores: u16,
    /// Length of a task.
    pub task: Duration,
    /// Offered, over what all cores can do.
    pub factor: f64,
    /// Not counted: the burst that every overload begins with is taken, and worked off.
    pub settling: Duration,
    /// Counted.
    pub lasting: Duration,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        Self {
            peers: 3,
            cores: 2,
            task: Duration::from_millis(200),
            factor: 5.0,
            settling: Duration::from_secs(12),
            lasting: Duration::from_secs(20),
        }
    }
}

/// Tasks offered in some time, and what became of them.
#[derive(Debug, Clone, Serialize)]
pub struct Offered {
    pub accepted: usize,
    pub refused: usize,
    /// Of those accepted.
    pub latency: Latency,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Overload {
    pub schema: &'static str,
    pub task_ms: f64,
    pub capacity_per_s: f64,
    pub offered_per_s: f64,
    pub unloaded: Latency,
    pub settling: Offered,
    pub overloaded: Offered,
    /// Accepted of what the cores could have done.
    pub used: f64,
    /// p99 of accepted tasks, overloaded over unloaded.
    pub ratio: f64,
    pub ok: bool,
}

/// Why it could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum OverloadError {
    /// The mesh.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A peer.
    #[error("a peer could not {doing}: {source}")]
    Peer {
        /// What it was asked to do.
        doing: &'static str,
        /// What it said.
        source: ClientError,
    },
    /// A task was accepted and did not end well.
    #[error("an accepted task did not end well: {0}")]
    Task(String),
    /// Nothing was accepted at all.
    #[error("no task was accepted {0}")]
    Nothing(&'static str),
}

impl OverloadError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Peer { source, .. } => source.hint(),
            Self::Task(_) | Self::Nothing(_) => "run it on a machine that is not busy; else report it".into(),
        }
    }
}

/// Measures both, on real peers on loopback.
pub async fn run(config: &OverloadConfig) -> Result<Overload, OverloadError> {
    let edge =
        |number| PeerPlan { cores: config.cores, slowdown: SLOWDOWN, ..PeerPlan::edge(format!("edge-{}", number + 1)) };
    let peers = (0..config.peers).map(edge).collect();
    let mesh = ClusterConfig { peers, log: "warn".into(), ..ClusterConfig::new(0, config.peers).on_loopback() };
    let cluster = Cluster::start(mesh).await?;
    let clients = (0..config.peers).map(|index| cluster.client(index)).collect::<Result<Vec<_>, _>>()?;
    let measured = measure(config, &clients).await;
    cluster.shutdown().await;
    measured
}

async fn measure(config: &OverloadConfig, clients: &[Client]) -> Result<Overload, OverloadError> {
    let (request, task_ms) = prepare(config, clients).await?;
    let unloaded = unloaded(clients, &request).await?;
    let capacity_per_s = config.peers as f64 * f64::from(config.cores) * 1_000.0 / task_ms;
    let offered_per_s = capacity_per_s * config.factor;
    let (settling, overloaded) = offer(config, clients, &request, offered_per_s).await?;
    let ratio = overloaded.latency.p99_ms / unloaded.p99_ms;
    Ok(Overload {
        schema: "shoal.overload/1",
        task_ms,
        capacity_per_s,
        offered_per_s,
        unloaded,
        used: overloaded.accepted as f64 / (capacity_per_s * config.lasting.as_secs_f64()),
        settling,
        overloaded,
        ratio,
        ok: ratio <= RATIO_MAX,
    })
}

/// The module everywhere, and a task of about the length that is wanted.
async fn prepare(config: &OverloadConfig, clients: &[Client]) -> Result<(TaskRequest, f64), OverloadError> {
    let bytes = modules::module_bytes("spin").unwrap_or_default();
    let mut trial = TaskRequest { local_only: true, name: "spin".into(), ..TaskRequest::default() };
    for client in clients {
        let module = client.put_blob(bytes).await.map_err(could_not("store the module"))?.id;
        trial.variants = vec![VariantRequest { name: "spin".into(), module, loss: 0.0 }];
        trial.args = vec![ROUNDS.to_string()];
        client.run(trial.clone()).await.map_err(could_not("run the module"))?;
    }
    let timed = async |request: TaskRequest| {
        let mut runs_ms = Vec::new();
        for number in 0..TRIALS {
            let client = &clients[number % clients.len()];
            let view = client.run(request.clone()).await.map_err(could_not("run a task"))?;
            runs_ms.push(view.timings.map_or(0, |timings| timings.run_us) as f64 / 1_000.0);
        }
        runs_ms.sort_by(f64::total_cmp);
        Ok::<_, OverloadError>(runs_ms[TRIALS / 2])
    };
    let rounds_per_ms = ROUNDS as f64 / timed(trial.clone()).await?.max(f64::EPSILON);
    let rounds = (rounds_per_ms * config.task.as_secs_f64() * 1_000.0) as u64;
    let request = TaskRequest { args: vec![rounds.to_string()], ..trial };
    let task_ms = timed(request.clone()).await?;
    Ok((TaskRequest { local_only: false, ..request }, task_ms))
}

/// Every home has one task at a time.
async fn unloaded(clients: &[Client], request: &TaskRequest) -> Result<Latency, OverloadError> {
    let mut homes = JoinSet::new();
    for client in clients {
        let (client, request) = (client.clone(), request.clone());
        homes.spawn(async move {
            let mut times = Vec::with_capacity(UNLOADED);
            for _ in 0..UNLOADED {
                let begun = Instant::now();
                let view = client.run(request.clone()).await.map_err(could_not("run a task"))?;
                ended_well(&view)?;
                times.push(begun.elapsed());
            }
            Ok::<_, OverloadError>(times)
        });
    }
    let mut times = Vec::new();
    // The futures neither panic nor are they aborted.
    while let Some(Ok(home)) = homes.join_next().await {
        times.extend(home?);
    }
    Latency::of(times).ok_or(OverloadError::Nothing("while nothing else was offered"))
}

/// So many a second, to one home after the other, whatever became of the others.
async fn offer(
    config: &OverloadConfig,
    clients: &[Client],
    request: &TaskRequest,
    per_s: f64,
) -> Result<(Offered, Offered), OverloadError> {
    let began = Instant::now();
    let until = config.settling + config.lasting;
    let mut asked = JoinSet::new();
    for number in 0u32.. {
        let at = Duration::from_secs_f64(f64::from(number) / per_s);
        if at >= until {
            break;
        }
        tokio::time::sleep_until((began + at).into()).await;
        let (client, request) = (clients[number as usize % clients.len()].clone(), request.clone());
        let counts = at >= config.settling;
        asked.spawn(async move {
            let begun = Instant::now();
            (counts, client.run(request).await, begun.elapsed())
        });
    }
    let mut times = [Vec::new(), Vec::new()];
    let mut refused = [0, 0];
    while let Some(Ok((counts, answer, took))) = asked.join_next().await {
        let phase = usize::from(counts);
        match answer {
            Err(ClientError::Problem(problem)) if problem.code == codes::OVERLOADED => refused[phase] += 1,
            Err(error) => return Err(could_not("run a task")(error)),
            Ok(view) if view.problem.as_ref().is_some_and(|problem| problem.code == codes::OVERLOADED) => {
                refused[phase] += 1;
            }
            Ok(view) => {
                ended_well(&view)?;
                times[phase].push(took);
            }
        }
    }
    let [settling, overloaded] = times.map(|times| (times.len(), Latency::of(times)));
    let offered = |(accepted, latency): (usize, Option<Latency>), refused| match latency {
        Some(latency) => Ok(Offered { accepted, refused, latency }),
        None => Err(OverloadError::Nothing("while too much was offered")),
    };
    Ok((offered(settling, refused[0])?, offered(overloaded, refused[1])?))
}

fn ended_well(view: &TaskView) -> Result<(), OverloadError> {
    match (view.state, view.exit_code) {
        (TaskState::Done, Some(0)) => Ok(()),
        _ => Err(OverloadError::Task(format!("{view:?}"))),
    }
}

fn could_not(doing: &'static str) -> impl FnOnce(ClientError) -> OverloadError {
    move |source| OverloadError::Peer { doing, source }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task_ms, capacity_per_s, offered_per_s, unloaded, settling, overloaded, used, ratio, .. } = self;
        writeln!(
            f,
            "Tasks of {task_ms:.0} ms; the mesh can do {capacity_per_s:.0} a second, {offered_per_s:.0} are offered"
        )?;
        writeln!(f, "  {:<12} {:>9} {:>9} {:>10} {:>10}", "", "ACCEPTED", "REFUSED", "P50", "P99")?;
        let mut line = |name: &str, accepted: &str, refused: &str, latency: &Latency| {
            let Latency { p50_ms, p99_ms, .. } = latency;
            writeln!(f, "  {name:<12} {accepted:>9} {refused:>9} {p50_ms:>7.0} ms {p99_ms:>7.0} ms")
        };
        line("unloaded", "", "", unloaded)?;
        for (name, offered) in [("settling", settling), ("overloaded", overloaded)] {
            line(name, &offered.accepted.to_string(), &offered.refused.to_string(), &offered.latency)?;
        }
        writeln!(f, "  {:.0} % of the cores' time used; p99 of accepted tasks {ratio:.2} × unloaded", used * 100.0)
    }
}
