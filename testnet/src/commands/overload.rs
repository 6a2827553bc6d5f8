//! `shoal-testnet overload`: what becomes of tasks when a mesh is offered more than it can do.

use std::process::ExitCode;
use std::time::Duration;

use shoal_testnet::overload::{self, OverloadConfig, OverloadError};
use shoal_testnet::sandbox;

use super::up::EndSignals;
use super::{Failure, runtime};

/// Accepted tasks took longer than they may.
const SLOW: u8 = 1;

/// Offer a mesh several times what it can do, and measure what the tasks take that it accepts
///
/// Starts real peers on loopback and gives them tasks of known length: first one at a time, then too many, whose refused
/// ones are not tried again. Exits with 1 if the p99 of accepted tasks is over twice that of an unloaded mesh.
/// Example: shoal-testnet overload --factor 5 --json
#[derive(clap::Args)]
pub(crate) struct Overload {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Peers, each with two cores
    #[arg(long, default_value_t = OverloadConfig::default().peers)]
    peers: usize,
    /// Length of a task, in milliseconds
    #[arg(long, default_value_t = OverloadConfig::default().task.as_millis() as u64, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    task_ms: u64,
    /// Offered work over what all cores can do
    #[arg(long, default_value_t = OverloadConfig::default().factor, value_parser = parse_factor)]
    factor: f64,
    /// Seconds at the beginning that are not counted: a burst is taken, and worked off
    #[arg(long, default_value_t = OverloadConfig::default().settling.as_secs(), value_parser = clap::value_parser!(u64).range(..=3_600))]
    settling: u64,
    /// Seconds that are counted
    #[arg(long, default_value_t = OverloadConfig::default().lasting.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

fn parse_factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (0.01..=1_000.0).contains(factor));
    factor.ok_or_else(|| "expected a number from 0.01 to 1000".to_owned())
}

impl Overload {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let config = OverloadConfig {
            peers: self.peers.max(1),
            task: Duration::from_millis(self.task_ms),
            factor: self.factor,
            settling: Duration::from_secs(self.settling),
            lasting: Duration::from_secs(self.seconds),
            ..OverloadConfig::default()
        };
        // Without it each peer still ends with the tool.
        let _ = sandbox::enter();
        runtime()?.block_on(async {
            let mut end = EndSignals::new()?;
            let overload = tokio::select! {
                overload = overload::run(&config) => overload?,
                // Dropping the story ends its peers.
                () = end.received() => return Ok(ExitCode::from(super::INTERRUPTED)),
            };
            if self.json {
                // A plain struct with text keys, which cannot fail to serialize.
                anstream::println!("{}", serde_json::to_string_pretty(&overload).unwrap_or_default());
            } else {
                anstream::print!("{overload}");
            }
            Ok(if overload.ok { ExitCode::SUCCESS } else { ExitCode::from(SLOW) })
        })
    }
}

impl From<OverloadError> for Failure {
    fn from(error: OverloadError) -> Self {
        let code = match error {
            OverloadError::Cluster(error) => return error.into(),
            OverloadError::Peer { .. } => super::UNREACHABLE,
            OverloadError::Task(_) | OverloadError::Nothing(_) => super::NO_CAPACITY,
        };
        Self::new(code, &error, error.hint())
    }
}
