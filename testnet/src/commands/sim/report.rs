//! `shoal-testnet sim report`: the headline experiments as one page.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use shoal_testnet::sim::matrix::Matrix;
use shoal_testnet::sim::report::{PageError, Plan, ReportError, run, write};

use super::{Failure, NOT_RIGHT, USAGE};

/// Run the headline experiments and write one page with charts and tables
///
/// Takes some ten minutes when nothing else runs on the machine, and 3 GB; --quick takes seconds, on small meshes. What is
/// being done is said on standard error, with the time that has passed.
/// Example: shoal-testnet sim report --out report && xdg-open report/index.html
#[derive(clap::Args)]
#[command(name = "report")]
pub(crate) struct WriteReport {
    /// Round-trip times in ms: N lines of N fields, no header, empty where unknown
    #[arg(long, value_name = "FILE", default_value = "testnet/data/planetlab490.csv")]
    rtt: PathBuf,
    /// Directory for index.html and the charts; made if it does not exist
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Small meshes and few tasks, to see that it works
    #[arg(long)]
    quick: bool,
}

impl WriteReport {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let started = Instant::now();
        let matrix = Matrix::load(&self.rtt)?;
        // Before the work, so that an hour is not lost to a missing permission.
        std::fs::create_dir_all(&self.out).map_err(|error| Failure::file("make", &self.out, &error))?;
        let mut says = |what: &str| anstream::eprintln!("{:7.1} s  {what}", started.elapsed().as_secs_f64());
        let sections = run(&matrix, &Plan { seed: self.seed, quick: self.quick }, &mut says)?;
        let quick = if self.quick { " --quick" } else { "" };
        let introduction = format!(
            "Measured by the simulator, with seed {}, on {}. Again: shoal-testnet sim report --rtt {} --seed {}{quick}",
            self.seed,
            self.rtt.display(),
            self.rtt.display(),
            self.seed
        );
        let page = write(&self.out, &introduction, &sections)?;
        anstream::println!("{}", page.display());
        Ok(ExitCode::SUCCESS)
    }
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Place(error) => error.into(),
            ReportError::Case(error) => error.into(),
            ReportError::TooFew { .. } => Self::new(USAGE, &error, "give a larger matrix with --rtt"),
        }
    }
}

impl From<PageError> for Failure {
    fn from(error: PageError) -> Self {
        match &error {
            PageError::Write { path, source } => Self::file("write", path, source),
            PageError::Plot(_) => Self::new(NOT_RIGHT, &error, "report this with the matrix and the seed"),
        }
    }
}
