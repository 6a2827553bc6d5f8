//! `shoal-testnet compare`: how far the simulator is off.

use std::process::ExitCode;

use shoal_testnet::compare::{self, CompareError, Plan};
use shoal_testnet::sandbox;

use super::up::EndSignals;
use super::{Failure, runtime};

/// The simulator's median is off by more than it may be.
const OFF: u8 = 1;

/// Run one small case on real peers and in the simulator, and show both side by side
///
/// Starts real peers behind emulated links, gives them tasks of known length, and does the same case in the simulator: once
/// as planned, once with each run as long as it really was. Exits with 1 if the median of the latter is off by more than
/// 15 %. Needs a machine that is not busy, and root, or user namespaces and /dev/net/tun.
/// Example: shoal-testnet compare --load 0.8 --tasks 1000
#[derive(clap::Args)]
pub(crate) struct Compare {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Cloud peers
    #[arg(long, default_value_t = Plan::default().cloud)]
    cloud: usize,
    /// Edge peers
    #[arg(long, default_value_t = Plan::default().edge)]
    edge: usize,
    /// Tasks; the first fifth is not counted
    #[arg(long, default_value_t = Plan::default().tasks)]
    tasks: usize,
    /// Offered work over what all cores can do
    #[arg(long, default_value_t = Plan::default().load)]
    load: f64,
    /// Mean work of a task on a reference core, in milliseconds
    #[arg(long, default_value_t = Plan::default().work_mean_ms)]
    work_mean: f64,
    /// Decides the case, and everything left to chance in the simulator
    #[arg(long, default_value_t = Plan::default().seed)]
    seed: u64,
}

impl Compare {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let plan = Plan {
            cloud: self.cloud,
            edge: self.edge,
            tasks: self.tasks,
            load: self.load,
            work_mean_ms: self.work_mean,
            seed: self.seed,
        };
        // Without it each peer still ends with the tool, and that links cannot be emulated is told below.
        let _ = sandbox::enter();
        runtime()?.block_on(async {
            let mut end = EndSignals::new()?;
            let comparison = tokio::select! {
                comparison = compare::run(&plan) => comparison?,
                // Dropping the story ends its peers.
                () = end.received() => return Ok(ExitCode::from(super::INTERRUPTED)),
            };
            if self.json {
                // A plain struct with text keys, which cannot fail to serialize.
                anstream::println!("{}", serde_json::to_string_pretty(&comparison).unwrap_or_default());
            } else {
                anstream::print!("{comparison}");
            }
            Ok(if comparison.ok { ExitCode::SUCCESS } else { ExitCode::from(OFF) })
        })
    }
}

impl From<CompareError> for Failure {
    fn from(error: CompareError) -> Self {
        let code = match error {
            CompareError::Cluster(error) => return error.into(),
            CompareError::Peer { .. } => super::UNREACHABLE,
            CompareError::Uncalibrated { .. } | CompareError::Task { .. } => super::NO_CAPACITY,
            CompareError::Plan(_) => super::USAGE,
        };
        Self::new(code, &error, error.hint())
    }
}
