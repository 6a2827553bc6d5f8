//! `shoal-testnet sim case`: a case from a matrix of round-trip times.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use shoal_testnet::sim::matrix::Matrix;
use shoal_testnet::sim::place::generate::arrivals::{Numbers, load, variation};
use shoal_testnet::sim::place::generate::{self, Arrivals, Plan, PlanError};

use super::place::not_negative;
use super::{Failure, USAGE};

/// Make a case for `sim place` from a matrix of round-trip times
///
/// Writes nodes.csv, rtt.csv and tasks.csv. Clouds stand among the best connected nodes, apart from each other; tasks arise at
/// edge nodes, some of them more often than others.
/// Example: shoal-testnet sim case --rtt testnet/data/planetlab490.csv --load 0.8 --out case
#[derive(clap::Args)]
#[command(name = "case")]
pub(crate) struct MakeCase {
    /// Round-trip times in ms: N lines of N fields, no header, empty where unknown
    #[arg(long, value_name = "FILE")]
    rtt: PathBuf,
    /// Directory to write to; made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Offered work over what all cores can do
    #[arg(long, default_value_t = Plan::default().load, value_parser = positive)]
    load: f64,
    /// Tasks; a shorter trace of arrivals is repeated, a longer one cut
    #[arg(long, default_value_t = Plan::default().count)]
    count: usize,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = Plan::default().seed)]
    seed: u64,
    /// Round-trip times are multiplied by this
    #[arg(long, default_value_t = Plan::default().rtt_scale, value_parser = positive)]
    scale: f64,
    /// Cloud nodes, of 64 cores, speed 2 and 1000 Mbit/s
    #[arg(long, default_value_t = Plan::default().clouds)]
    clouds: usize,
    /// Mean work of a task, in ms on a reference core
    #[arg(long, value_name = "MS", default_value_t = Plan::default().work_mean_ms, value_parser = positive)]
    work_mean: f64,
    /// Spread of the work: deviation of its logarithm
    #[arg(long, value_name = "SIGMA", default_value_t = Plan::default().work_sigma, value_parser = not_negative)]
    work_sigma: f64,
    /// Error of the estimates of the work: deviation of its logarithm
    #[arg(long, value_name = "SIGMA", default_value_t = Plan::default().estimate_sigma, value_parser = not_negative)]
    estimate_sigma: f64,
    /// Mean size of an input
    #[arg(long, value_name = "BYTES", default_value_t = Plan::default().input_mean_bytes, value_parser = positive)]
    input_mean: f64,
    /// Spread of the size of inputs: deviation of its logarithm
    #[arg(long, value_name = "SIGMA", default_value_t = Plan::default().input_sigma, value_parser = not_negative)]
    input_sigma: f64,
    /// Size of every output
    #[arg(long, value_name = "BYTES", default_value_t = Plan::default().output_bytes, value_parser = not_negative)]
    output: f64,
    /// How unequal the edge nodes are in what arises at them: deviation of the logarithm
    #[arg(long, value_name = "SIGMA", default_value_t = Plan::default().origin_sigma, value_parser = not_negative)]
    origin_sigma: f64,
    /// CSV file with the times of arrivals, stretched to the load; without it they are a Poisson process
    #[arg(long, value_name = "FILE")]
    arrivals: Option<PathBuf>,
    /// Column of that file; found by its name where it has a usual one, else the first
    #[arg(long, value_name = "NAME", requires = "arrivals")]
    arrivals_column: Option<String>,
    /// Arrivals in bursts: their gaps vary by so many times their mean, 1 being a Poisson process
    #[arg(long, value_name = "CV", conflicts_with = "arrivals", value_parser = at_least_one)]
    arrivals_cv: Option<f64>,
    /// The column holds times between arrivals
    #[arg(long, requires = "arrivals")]
    arrivals_are_gaps: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    not_negative(text).and_then(|number| if number > 0.0 { Ok(number) } else { Err("not above 0".to_owned()) })
}

fn at_least_one(text: &str) -> Result<f64, String> {
    not_negative(text).and_then(|number| if number >= 1.0 { Ok(number) } else { Err("less than 1".to_owned()) })
}

impl MakeCase {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let matrix = Matrix::load(&self.rtt)?;
        let numbers = if self.arrivals_are_gaps { Numbers::Gaps } else { Numbers::Times };
        let column = self.arrivals_column.as_deref();
        let gaps = self.arrivals.as_deref().map(|path| load(path, column, numbers)).transpose()?;
        let arrivals = match (&gaps, self.arrivals_cv) {
            (Some(gaps), _) => Arrivals::Recorded(gaps),
            (None, Some(cv)) => Arrivals::Varying(cv),
            (None, None) => Arrivals::Poisson,
        };
        if self.count == 0 {
            return Err(Failure::new(USAGE, "a case without tasks says nothing", "give --count a number above 0"));
        }
        let plan = Plan {
            seed: self.seed,
            load: self.load,
            count: self.count,
            rtt_scale: self.scale,
            clouds: self.clouds,
            work_mean_ms: self.work_mean,
            work_sigma: self.work_sigma,
            estimate_sigma: self.estimate_sigma,
            input_mean_bytes: self.input_mean,
            input_sigma: self.input_sigma,
            output_bytes: self.output,
            origin_sigma: self.origin_sigma,
        };
        let case = generate::case(&matrix, &plan, arrivals)?;
        std::fs::create_dir_all(&self.out).map_err(|error| Failure::file("make", &self.out, &error))?;
        write(&self.out.join("nodes.csv"), &case.nodes_csv())?;
        write(&self.out.join("rtt.csv"), &case.rtt.to_csv())?;
        write(&self.out.join("tasks.csv"), &case.tasks_csv())?;
        let times_ms: Vec<f64> = case.tasks.iter().map(|task| task.arrival_ms).collect();
        anstream::eprintln!(
            "{}: {} nodes, {} of them clouds; {} tasks in {:.1} s, {:.1} % of {:.0} reference cores; gaps between \
             arrivals vary by {:.2} (Poisson: 1)",
            self.out.display(),
            case.nodes.len(),
            case.clouds().count(),
            case.tasks.len(),
            case.last_arrival_ms() / 1_000.0,
            case.offered_load() * 100.0,
            case.capacity(),
            variation(&times_ms),
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        Self::new(USAGE, &error, "give fewer --clouds, or a larger matrix")
    }
}
