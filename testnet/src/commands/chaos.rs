//! `shoal-testnet chaos`: do the promises hold when everything goes wrong with real processes?

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use shoal_testnet::chaos::{self, ChaosConfig, ChaosError};
use shoal_testnet::sandbox;

use super::up::EndSignals;
use super::{Failure, runtime};

/// A promise was broken.
const NOT_RIGHT: u8 = 1;

/// Look for broken promises: real peers in which everything goes wrong for a minute
///
/// Starts shoald processes behind emulated links and on small disks of their own, hands in tasks that are kept, and kills,
/// stops and freezes the processes, cuts and slows the links, fills the disks, takes the files away and damages the stores, as the
/// seed says. Then the faults stop, and what was promised is checked: all peers see each other within ten seconds, nothing
/// acknowledged is lost, nothing ends twice, every peer tells the same. Exits with 0 only if every promise held.
/// Example: shoal-testnet chaos --seconds 60 --seed 7
#[derive(clap::Args)]
pub(crate) struct Chaos {
    /// Peers of the mesh
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=30))]
    peers: u8,
    /// How long faults strike
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    seconds: u32,
    /// Decides what goes wrong and what is handed in
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plain loopback, without faults of links
    #[arg(long)]
    loopback: bool,
    /// Keep history, logs and stores here, whatever comes of it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Chaos {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        // Without it each peer still ends with the tool, and which faults cannot strike is told.
        let own_mounts = sandbox::enter().is_ok();
        let config = ChaosConfig {
            peers: usize::from(self.peers),
            span: Duration::from_secs(u64::from(self.seconds)),
            seed: self.seed,
            own_mounts,
            emulated: !self.loopback,
            dir: self.dir.clone(),
        };
        let report = runtime()?.block_on(async {
            let mut end = EndSignals::new()?;
            tokio::select! {
                report = chaos::run(config, |what| anstream::eprintln!("{what}")) => Ok(Some(report?)),
                // Dropping the story ends its peers.
                () = end.received() => Ok::<_, Failure>(None),
            }
        })?;
        let Some(report) = report else { return Ok(ExitCode::from(super::INTERRUPTED)) };
        if self.json {
            // A plain struct with text keys, which cannot fail to serialize.
            anstream::println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        } else {
            anstream::print!("{report}");
        }
        if report.violations.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let what = format!("{} promises were broken", report.violations.len());
        let history = report.history.map(|path| path.display().to_string()).unwrap_or_default();
        let again = format!(
            "read what happened in {history}; the same faults again: shoal-testnet chaos --seed {} --peers {} --seconds {}",
            self.seed, self.peers, self.seconds
        );
        Err(Failure::new(NOT_RIGHT, what, again))
    }
}

impl From<ChaosError> for Failure {
    fn from(error: ChaosError) -> Self {
        let code = match error {
            ChaosError::Cluster(error) => return error.into(),
            ChaosError::Prepare { .. } => super::UNREACHABLE,
            ChaosError::File { .. } => super::BAD_CONFIGURATION,
        };
        Self::new(code, &error, error.hint())
    }
}
