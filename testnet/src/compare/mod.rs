//! The same small case twice: real `shoald` processes on emulated links, and the simulator. How far is the simulator off?
//!
//! ```text
//! plan ─► case ─┬─► real peers behind emulated links; runs of known length, stretched from short spins ─┐
//!               ├─► sim::place::mesh, the same peers under a virtual clock ────────────────────────────┼─► comparison
//!               └─► the same with runs as long as they really were ────────────────────────────────────┘
//! ```
//!
//! **Invariant:** both sides get the same nodes, links, arrivals and estimates; the only thing a simulation takes from the
//! real side is, in the second one, how long each run took.
//! **Not here:** what a peer decides, on either side.

mod case;
pub mod objective;
mod real;
mod report;

use std::time::Duration;

use shoal_cli::client::ClientError;
use shoal_protocol::Role;

pub use self::case::Plan;
pub use self::report::{Comparison, Side};
use crate::cluster::ClusterError;
use crate::sim::place::{Case, Faults, mesh};

/// Why the two could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The real mesh.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A real peer.
    #[error("{peer} could not {doing}: {source}")]
    Peer {
        /// Which.
        peer: String,
        /// What it was asked to do.
        doing: &'static str,
        /// What it said.
        source: ClientError,
    },
    /// The length of a run cannot be set on this machine.
    #[error("the spin module does not run in time proportional to its rounds here: {why}")]
    Uncalibrated {
        /// What was measured.
        why: String,
    },
    /// A task without a good end.
    #[error("task {task} ended without an answer: {why}")]
    Task {
        /// Which.
        task: usize,
        /// What its home says.
        why: String,
    },
    /// A plan that cannot be made.
    #[error("{0}")]
    Plan(String),
}

impl CompareError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Peer { source, .. } => source.hint(),
            Self::Uncalibrated { .. } => "run it on a machine that is not busy".into(),
            Self::Task { .. } => "run it again with fewer tasks or a lower --load".into(),
            Self::Plan(_) => "see --help for what each number may be".into(),
        }
    }
}

/// Does both and puts them side by side.
pub async fn run(plan: &Plan) -> Result<Comparison, CompareError> {
    plan.check().map_err(CompareError::Plan)?;
    let case = plan.case();
    let real = real::run(plan, &case).await?;
    let simulated = mesh::run(&case, plan.seed, &Faults::none());
    let as_run = with_works_of(&case, &real);
    let replayed = mesh::run(&as_run, plan.seed, &Faults::none());
    Ok(Comparison::of(plan, &case, &real, &simulated, &replayed))
}

/// The case with each task as long as it really was: what this machine added to a run is no fault of the simulator.
fn with_works_of(case: &Case, real: &[Went]) -> Case {
    let mut case = case.clone();
    for (task, went) in case.tasks.iter_mut().zip(real) {
        let speed = case.nodes.get(went.executor).map_or(1.0, |node| node.speed);
        task.work_ms = went.run.as_secs_f64() * 1_000.0 * speed;
    }
    case
}

/// A peer could not do what it was asked to.
fn failed_at(names: &[String], index: usize, doing: &'static str) -> impl FnOnce(ClientError) -> CompareError {
    let peer = names.get(index).cloned().unwrap_or_else(|| Role::Edge.to_string());
    move |source| CompareError::Peer { peer, doing, source }
}

/// One task as it really went.
#[derive(Debug, Clone)]
struct Went {
    /// Index of the node that ran it.
    executor: usize,
    /// From its arrival to the answer in the user's hands.
    took: Duration,
    /// How long it held its core.
    run: Duration,
}
