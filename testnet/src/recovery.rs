//! How long a user waits for an answer whose executor dies or freezes in the middle of the run, and what of it is what.
//!
//! ```text
//! task runs at a cloud peer ─► kill −9 | SIGSTOP ─► home calls it dead (noticed) ─► second run elsewhere ─► answer
//! ```
//!
//! **Invariant:** every answer is compared with the same computation run natively; a run with a wrong one is an error.
//! **Not here:** a fault in the middle of many users' work. That is the demonstration.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use shoal_cli::client::{Client, ClientError};
use shoal_examples::modules;
use shoal_protocol::api::{OutputView, TaskRequest, TaskView, VariantRequest};
use shoal_protocol::certificate::Role;
use shoal_protocol::output::PeerState;

use crate::cluster::{Cluster, ClusterConfig, ClusterError, LOOK, Network, Where};

/// Nothing that is waited for here may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Debug, Clone)]
pub struct RecoveryConfig {
    /// Times each fault is made.
    pub runs: usize,
    /// Rounds of the `spin` module's kernel: how long the task runs.
    pub spins: u64,
    /// Where the peers live.
    pub network: Where,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        // About a third of a second on a 2 GHz core: long enough to be hit, short beside what is measured.
        Self { runs: 5, spins: 100_000_000, network: Where::Loopback }
    }
}

/// What happens to the executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// SIGKILL.
    Killed,
    /// SIGSTOP: its connections stay open.
    Frozen,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Frozen => "frozen",
        })
    }
}

/// One fault and what followed, in milliseconds since the signal.
#[derive(Debug, Clone, Serialize)]
pub struct Recovery {
    pub fault: Fault,
    /// Until home called the executor dead.
    pub noticed_ms: f64,
    /// Until another peer ran it.
    pub elsewhere_ms: f64,
    /// Of that, since home called the executor dead; looked at every 20 ms.
    pub elsewhere_after_noticed_ms: f64,
    /// Until the user had the answer.
    pub answered_ms: f64,
    /// What the second run itself took.
    pub run_ms: f64,
    /// Attempts in all.
    pub attempts: u32,
}

/// All of them.
#[derive(Debug, Clone, Serialize)]
pub struct Recoveries {
    pub schema: &'static str,
    pub network: Network,
    pub recoveries: Vec<Recovery>,
}

/// Why it could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The mesh.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The home peer.
    #[error("the home peer could not {doing}: {source}")]
    Home {
        /// What it was asked to do.
        doing: &'static str,
        /// What it said.
        source: ClientError,
    },
    /// The task did not come to where it can be interrupted, or did not end as it must.
    #[error("a task did not {wanted} within {} s: {seen}", PATIENCE.as_secs())]
    Task {
        /// What was waited for.
        wanted: &'static str,
        /// The task as its home last showed it.
        seen: String,
    },
    /// The answer is not that of the native computation.
    #[error("the answer after a fault is `{got}`, not `{wanted}`")]
    Wrong {
        /// The answer.
        got: String,
        /// What it must be.
        wanted: String,
    },
}

impl RecoveryError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Home { source, .. } => source.hint(),
            Self::Task { .. } => {
                "give --spins more rounds, so that the run can be hit, or look at the machine's load".into()
            }
            Self::Wrong { .. } => "this is a fault of Shoal: report it with this line".into(),
        }
    }
}

/// Three cloud peers and one edge peer; the edge peer's task is interrupted at a cloud peer, `runs` times by each fault.
pub async fn run(config: RecoveryConfig) -> Result<Recoveries, RecoveryError> {
    let mesh = ClusterConfig { network: config.network, ..ClusterConfig::new(3, 1) };
    let cluster = Cluster::start(mesh).await?;
    let story = Story::new(&cluster, config.spins).await?;
    // Once without a fault, so that every peer has the module and home has learnt its work.
    story.warm_up().await?;
    let mut recoveries = Vec::new();
    for number in 0..config.runs * 2 {
        let fault = if number % 2 == 0 { Fault::Killed } else { Fault::Frozen };
        recoveries.push(story.interrupt(fault).await?);
    }
    let network = cluster.network().clone();
    cluster.shutdown().await;
    Ok(Recoveries { schema: "shoal.recovery/1", network, recoveries })
}

struct Story<'a> {
    cluster: &'a Cluster,
    home: usize,
    client: Client,
    request: TaskRequest,
    answer: String,
}

impl<'a> Story<'a> {
    async fn new(cluster: &'a Cluster, spins: u64) -> Result<Self, RecoveryError> {
        let home = cluster.index("edge-1")?;
        let client = cluster.client(home)?;
        let args = vec![spins.to_string()];
        let native = modules::native("spin").and_then(|run| run(&args, b"").ok()).unwrap_or_default();
        let bytes = modules::module_bytes("spin").unwrap_or_default();
        let module = client.put_blob(bytes).await.map_err(could_not("store the module"))?.id;
        let request = TaskRequest {
            variants: vec![VariantRequest { name: "spin".into(), module, loss: 0.0 }],
            args,
            role: Some(Role::Cloud),
            name: "spin".into(),
            ..TaskRequest::default()
        };
        Ok(Self { cluster, home, client, request, answer: String::from_utf8_lossy(&native).into_owned() })
    }

    async fn warm_up(&self) -> Result<(), RecoveryError> {
        for peer in self.cluster.peers().iter().filter(|peer| peer.role == Role::Cloud) {
            let request = TaskRequest { peer: Some(peer.name.clone()), ..self.request.clone() };
            let view = self.client.run(request).await.map_err(could_not("run a task"))?;
            self.check(&view)?;
        }
        Ok(())
    }

    async fn interrupt(&self, fault: Fault) -> Result<Recovery, RecoveryError> {
        let submitted = self.client.submit(&self.request).await.map_err(could_not("take a task"))?;
        let id = submitted.task.to_string();
        let victim = self.where_it_runs(&id, None).await?;
        let at = Instant::now();
        match fault {
            Fault::Killed => self.cluster.kill(victim)?,
            Fault::Frozen => self.cluster.freeze(victim)?,
        }
        let noticed = async {
            self.cluster.wait_for_state(self.home, victim, PeerState::Dead, PATIENCE).await?;
            Ok::<_, RecoveryError>(at.elapsed())
        };
        let answered = async {
            let view = self.client.wait(&id).await.map_err(could_not("wait for a task"))?;
            Ok((view, at.elapsed()))
        };
        let elsewhere = async {
            self.where_it_runs(&id, Some(victim)).await?;
            Ok(at.elapsed())
        };
        let (noticed, elsewhere, (view, answered)) = tokio::try_join!(noticed, elsewhere, answered)?;
        self.check(&view)?;
        match fault {
            Fault::Killed => self.cluster.restart(victim).await?,
            Fault::Frozen => self.cluster.thaw(victim)?,
        }
        self.cluster.wait_all_alive(PATIENCE).await?;
        let run_us = view.timings.map_or(0, |timings| timings.run_us);
        let ms = |span: Duration| span.as_secs_f64() * 1_000.0;
        Ok(Recovery {
            fault,
            noticed_ms: ms(noticed),
            elsewhere_ms: ms(elsewhere),
            elsewhere_after_noticed_ms: ms(elsewhere.saturating_sub(noticed)),
            answered_ms: ms(answered),
            run_ms: run_us as f64 / 1_000.0,
            attempts: view.attempt,
        })
    }

    /// The peer that says itself that it runs something: of short runs homes are not told.
    async fn where_it_runs(&self, id: &str, but_not_at: Option<usize>) -> Result<usize, RecoveryError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let view = self.client.task(id).await.map_err(could_not("show a task"))?;
            let executor = view.executor.as_ref().map(|executor| self.cluster.index(&executor.name)).transpose()?;
            if let Some(index) = executor.filter(|index| Some(*index) != but_not_at) {
                let status = self.cluster.client(index)?.status().await.ok();
                if status.and_then(|status| status.me.load).is_some_and(|load| load.running > 0) {
                    return Ok(index);
                }
            }
            if view.state.is_final() || Instant::now() >= deadline {
                return Err(RecoveryError::Task { wanted: "run", seen: format!("{view:?}") });
            }
            tokio::time::sleep(LOOK / 10).await;
        }
    }

    fn check(&self, view: &TaskView) -> Result<(), RecoveryError> {
        match &view.output {
            Some(OutputView::Text(text)) if *text == self.answer => Ok(()),
            Some(OutputView::Text(text)) => {
                Err(RecoveryError::Wrong { got: text.clone(), wanted: self.answer.clone() })
            }
            _ => Err(RecoveryError::Task { wanted: "end well", seen: format!("{view:?}") }),
        }
    }
}

fn could_not(doing: &'static str) -> impl FnOnce(ClientError) -> RecoveryError {
    move |source| RecoveryError::Home { doing, source }
}

impl fmt::Display for Recoveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match self.network {
            Network::Emulated => "on emulated links",
            Network::Loopback { .. } => "on loopback",
        };
        writeln!(f, "Executor lost in the middle of a run, {network}")?;
        writeln!(
            f,
            "  {:<8} {:>10} {:>15} {:>12} {:>10} {:>9}",
            "FAULT", "NOTICED", "RUNS ELSEWHERE", "SECOND RUN", "ANSWER", "ATTEMPTS"
        )?;
        for one in &self.recoveries {
            let Recovery { fault, noticed_ms, elsewhere_after_noticed_ms, answered_ms, run_ms, attempts, .. } = one;
            let fault = fault.to_string();
            writeln!(
                f,
                "  {fault:<8} {noticed_ms:>7.0} ms {:>+12.0} ms {run_ms:>9.0} ms {answered_ms:>7.0} ms {attempts:>9}",
                elsewhere_after_noticed_ms
            )?;
        }
        let longest = self.recoveries.iter().map(|one| one.answered_ms).fold(0.0, f64::max);
        writeln!(f, "  longest until the answer: {longest:.0} ms")
    }
}
