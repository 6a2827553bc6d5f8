//! `shoal-testnet usecase`: a home, a city or a factory on a mesh, judged on data the models have not seen.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use shoal_testnet::sandbox;
use shoal_testnet::usecase::{self, Case, Report, UsecaseConfig, UsecaseError};

use super::up::EndSignals;
use super::{Failure, runtime};

/// Run a home, a city or a factory on a mesh, and judge its models on data they have not seen
///
/// Starts 3 cloud and 2 edge peers on loopback, runs the edge's and the cloud's stages as tasks,
/// and compares every answer with the native function's. Without --data it takes what was held
/// back from training. Looked for in DIR and in folders below it:
///
///   home      `{digit}_{speaker}_{take}.wav` (8 kHz, mono, 16 bits);
///             tables `*occupancy*` or `datatest*`
///   city      `.csv` of 207 speeds a row, a row each five minutes, 0 where not measured
///   industry  `test_FD001.txt` with `RUL_FD001.txt`;
///             series `.csv` (timestamp,value) with `*windows*.json`
///
/// Example: shoal-testnet usecase home --data recordings --plot home.svg
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Usecase {
    /// Which
    case: Which,
    /// Where the data is
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Also draw a chart, as SVG
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Only the native functions, without a mesh
    #[arg(long)]
    native: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Which {
    Home,
    City,
    Industry,
}

impl Usecase {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let case = match self.case {
            Which::Home => Case::Home,
            Which::City => Case::City,
            Which::Industry => Case::Industry,
        };
        let config = UsecaseConfig { case, data: self.data, native: self.native };
        if !config.native {
            // Without it each peer still ends with the tool.
            let _ = sandbox::enter();
        }
        runtime()?.block_on(async {
            let mut end = EndSignals::new()?;
            let report = tokio::select! {
                report = usecase::run(&config) => report?,
                // Dropping the stages ends their peers.
                () = end.received() => return Ok(ExitCode::from(super::INTERRUPTED)),
            };
            if let Some(path) = &self.plot {
                draw(&report, path)?;
            }
            if self.json {
                // A plain struct with text keys, which cannot fail to serialize.
                anstream::println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
            } else {
                anstream::print!("{report}");
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// The first chart is the file that was asked for; another stands beside it, under its own name too.
fn draw(report: &Report, path: &Path) -> Result<(), Failure> {
    for (number, (name, svg)) in report.charts()?.into_iter().enumerate() {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!("{stem}-{name}.svg"));
        let path = if number == 0 { path } else { beside.as_path() };
        std::fs::write(path, svg).map_err(|error| Failure::file("write", path, &error))?;
        anstream::eprintln!("chart: {}", path.display());
    }
    Ok(())
}

impl From<UsecaseError> for Failure {
    fn from(error: UsecaseError) -> Self {
        let code = match error {
            UsecaseError::Cluster(error) => return error.into(),
            UsecaseError::Unreadable { .. }
            | UsecaseError::NothingFound { .. }
            | UsecaseError::TooMany { .. }
            | UsecaseError::BadData { .. } => super::BAD_CONFIGURATION,
            UsecaseError::Peer { .. } | UsecaseError::NoAnswer { .. } => super::UNREACHABLE,
            UsecaseError::WrongAnswer { .. } | UsecaseError::Plot(_) => NOT_RIGHT,
        };
        Self::new(code, &error, error.hint())
    }
}

/// An answer was not the right one.
const NOT_RIGHT: u8 = 1;
