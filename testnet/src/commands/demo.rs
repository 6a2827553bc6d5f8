//! `shoal-testnet demo`: a mesh, five users' work, a fault, and a report.

use std::path::PathBuf;
use std::process::ExitCode;

use shoal_testnet::demo::{self, DemoConfig, DemoError};
use shoal_testnet::{Links, Where, sandbox};

use super::up::EndSignals;
use super::{Failure, runtime};

/// An answer was wrong, lost, or came twice.
const NOT_RIGHT: u8 = 1;

/// Show a mesh at work: five users, real data, a peer killed in the middle, and what came of it in numbers
///
/// Starts 3 cloud and 2 edge peers, gives them the work of two homes, a voice, a city and a factory, kills a peer that is
/// running some of it, compares every answer with the one computed natively, and does the same work all in the cloud and all
/// at home. Exits with 0 only if every answer was right and none was lost.
/// Example: shoal-testnet demo --seed 7
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// JSON instead of text on standard output
    #[arg(long)]
    json: bool,
    /// Decides when the users ask what
    #[arg(long, default_value_t = DemoConfig::default().seed)]
    seed: u64,
    /// Seconds in which the users ask, each time the work is done
    #[arg(long, default_value_t = DemoConfig::default().seconds)]
    seconds: u64,
    /// Plain loopback, without emulated links
    #[arg(long)]
    loopback: bool,
    /// Links file; see `shoal-testnet links`
    #[arg(long, value_name = "FILE", conflicts_with = "loopback")]
    links: Option<PathBuf>,
    /// Leave out the same work all in the cloud and all at home
    #[arg(long)]
    no_comparison: bool,
    /// Kill no peer
    #[arg(long)]
    no_fault: bool,
}

impl Demo {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let links = self.links.as_deref().map(Links::load).transpose()?;
        let config = DemoConfig {
            seed: self.seed,
            seconds: self.seconds,
            network: match links {
                _ if self.loopback => Where::Loopback,
                Some(links) => Where::Emulated(links),
                None => Where::EmulatedIfPossible(Links::default()),
            },
            comparison: !self.no_comparison,
            fault: !self.no_fault,
        };
        // Without it each peer still ends with the tool, and whether links can be emulated is told below.
        let _ = sandbox::enter();
        runtime()?.block_on(async {
            let mut end = EndSignals::new()?;
            let report = tokio::select! {
                report = demo::run(config) => report?,
                // Dropping the story ends its peers.
                () = end.received() => return Ok(ExitCode::from(super::INTERRUPTED)),
            };
            if self.json {
                // A plain struct with text keys, which cannot fail to serialize.
                anstream::println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
            } else {
                anstream::print!("{report}");
            }
            if report.ok {
                return Ok(ExitCode::SUCCESS);
            }
            let (right, all) = report.phases.iter().fold((0, 0), |(r, a), phase| (r + phase.right, a + phase.tasks));
            let what =
                format!("{right} of {all} answers are right and came once; the report says what became of the rest");
            Err(Failure::new(NOT_RIGHT, what, "look at the same mesh yourself: `shoal-testnet up`"))
        })
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        let code = match error {
            DemoError::Cluster(error) => return error.into(),
            DemoError::Seconds { .. } => super::USAGE,
            DemoError::Peer { .. } | DemoError::Refused { .. } => super::UNREACHABLE,
            DemoError::Native { .. } => NOT_RIGHT,
        };
        Self::new(code, &error, error.hint())
    }
}
