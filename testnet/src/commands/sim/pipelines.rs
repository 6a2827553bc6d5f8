//! `shoal-testnet sim pipelines`: plans of random graphs against the best there are.

use std::process::ExitCode;

use shoal_testnet::sim::pipelines::{PipelinesError, Report, compare};

use super::{Failure, NOT_RIGHT};

/// What a mean ratio may be.
const RATIO_MAX: f64 = 1.1;

/// Plan random graphs of up to ten stages and compare each plan with the best there is, found by trying all
///
/// Exits with 0 only if the plans move at most 1.1 times the bytes, and complete within 1.1 times the time, on average.
/// Example: shoal-testnet sim pipelines --graphs 500 --seed 7 --json
#[derive(clap::Args)]
#[command(name = "pipelines")]
pub(crate) struct Pipelines {
    /// Graphs to plan
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    graphs: u32,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Pipelines {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let report = compare(self.graphs as usize, self.seed)?;
        if self.json {
            // A plain struct with text keys, which cannot fail to serialize.
            anstream::println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        } else {
            anstream::print!("{}", text(&report));
        }
        if report.bytes_mean_ratio <= RATIO_MAX && report.completion_mean_ratio <= RATIO_MAX {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(NOT_RIGHT, "the plans are worse than they have to be", "see the ratios with --json"))
    }
}

fn text(report: &Report) -> String {
    let line = |name: &str, mean: f64, p99: f64| format!("{name:<12} {mean:.3} mean, {p99:.3} p99\n");
    let mut text = format!("{} graphs, as a share of the best plan there is:\n", report.graphs);
    text += &line("bytes", report.bytes_mean_ratio, report.bytes_p99_ratio);
    text += &line("completion", report.completion_mean_ratio, report.completion_p99_ratio);
    text += &line("objective", report.objective_mean_ratio, report.objective_p99_ratio);
    text + &format!(
        "best plan    {:.0} % of the graphs; list scheduling alone: {:.3} of the objective\nplanning     {:.0} µs p50, {:.0} µs p99; all of it {:.1} s\n",
        report.optimal_percent, report.list_objective_mean_ratio, report.plan_us_p50, report.plan_us_p99, report.wall_s
    )
}

impl From<PipelinesError> for Failure {
    fn from(error: PipelinesError) -> Self {
        Self::new(NOT_RIGHT, &error, error.hint())
    }
}
