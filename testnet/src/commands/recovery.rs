//! `shoal-testnet recovery`: executors killed and frozen in the middle of a run, and how long the user waits.

use std::process::ExitCode;

use shoal_testnet::recovery::{self, RecoveryConfig, RecoveryError};
use shoal_testnet::{Links, Where, sandbox};

use super::up::EndSignals;
use super::{Failure, runtime};

/// Measure how long an answer takes whose executor is killed, or frozen, in the middle of the run
///
/// Starts 3 cloud and 1 edge peer, has the edge peer run a task in the cloud, kills (-9) or freezes (SIGSTOP) the peer that
/// runs it, and tells apart when home noticed, when another ran it, how long that took, and when the answer was there.
/// Example: shoal-testnet recovery --runs 5 --json
#[derive(clap::Args)]
pub(crate) struct Recovery {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Times each of the two faults is made
    #[arg(long, default_value_t = RecoveryConfig::default().runs)]
    runs: usize,
    /// Length of the task, in rounds of the `spin` module
    #[arg(long, default_value_t = RecoveryConfig::default().spins)]
    spins: u64,
    /// Emulated links where possible, instead of plain loopback
    #[arg(long)]
    emulated: bool,
}

impl Recovery {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let network = if self.emulated { Where::EmulatedIfPossible(Links::default()) } else { Where::Loopback };
        let config = RecoveryConfig { runs: self.runs, spins: self.spins, network };
        // Without it each peer still ends with the tool.
        let _ = sandbox::enter();
        runtime()?.block_on(async {
            let mut end = EndSignals::new()?;
            let recoveries = tokio::select! {
                recoveries = recovery::run(config) => recoveries?,
                // Dropping the story ends its peers.
                () = end.received() => return Ok(ExitCode::from(super::INTERRUPTED)),
            };
            if self.json {
                // A plain struct with text keys, which cannot fail to serialize.
                anstream::println!("{}", serde_json::to_string_pretty(&recoveries).unwrap_or_default());
            } else {
                anstream::print!("{recoveries}");
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        let code = match error {
            RecoveryError::Cluster(error) => return error.into(),
            RecoveryError::Home { .. } => super::UNREACHABLE,
            RecoveryError::Task { .. } => super::TIMED_OUT,
            RecoveryError::Wrong { .. } => 1,
        };
        Self::new(code, &error, error.hint())
    }
}
