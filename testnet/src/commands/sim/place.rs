//! `shoal-testnet sim place`: one policy on one case.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use shoal_testnet::sim::place::{Case, Faults, PlaceError, Policy, Summary, completions_csv, place};

use super::{Failure, NOT_RIGHT, USAGE};
use crate::commands::BAD_CONFIGURATION;

/// Place the tasks of a case and say how long they took
///
/// A case is three CSV files: nodes (id,tier,cores,speed,uplink_mbps), round-trip times in ms (N lines of N fields, no
/// header, empty where unknown), and tasks (id,arrival_ms,origin,work_ms,estimate_ms,input_bytes,output_bytes). The first
/// fifth of the tasks warms up and is not counted. Exits with 0 only if every task completed.
/// Example: shoal-testnet sim place --nodes case/nodes.csv --rtt case/rtt.csv --tasks case/tasks.csv --policy clairvoyant
#[derive(clap::Args)]
#[command(name = "place")]
pub(crate) struct PlaceTasks {
    /// Machines
    #[arg(long, value_name = "FILE")]
    nodes: PathBuf,
    /// Round-trip times between them
    #[arg(long, value_name = "FILE")]
    rtt: PathBuf,
    /// What arises where and when
    #[arg(long, value_name = "FILE")]
    tasks: PathBuf,
    /// Who decides where tasks run
    #[arg(long, value_parser = policy_parser())]
    policy: Policy,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Also write when and where each task ran: id,executor,start_ms,end_ms,completed_ms
    #[arg(long, value_name = "FILE")]
    completions: Option<PathBuf>,
    /// One cloud node goes down for good, so many ms after the start
    #[arg(long, value_name = "MS", value_parser = not_negative)]
    kill_cloud_at: Option<f64>,
    /// So many percent of the nodes crash each minute, and come back empty after 5 to 15 s
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = not_negative)]
    churn: f64,
}

fn policy_parser() -> impl TypedValueParser<Value = Policy> {
    // What is possible is what has a name.
    PossibleValuesParser::new(Policy::ALL.map(Policy::name)).map(|name| Policy::named(&name).unwrap_or(Policy::Shoal))
}

pub(super) fn not_negative(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number >= 0.0 { Ok(number) } else { Err("less than 0, or no number".to_owned()) }
}

impl PlaceTasks {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let started = Instant::now();
        let case = Case::load(&self.nodes, &self.rtt, &self.tasks)?;
        let mut faults = Faults::none().churn(&case, self.churn, self.seed);
        if let Some(at_ms) = self.kill_cloud_at {
            faults = faults.kill_cloud(&case, at_ms, self.seed);
        }
        let run = place(&case, self.policy, &faults, self.seed)?;
        let mut summary = Summary::of(&case, &faults, &run, self.policy, self.seed);
        if let Some(path) = &self.completions {
            let wrote = std::fs::write(path, completions_csv(&case, &run));
            wrote.map_err(|error| Failure::file("write", path, &error))?;
        }
        summary.wall_s = started.elapsed().as_secs_f64();
        if self.json {
            // A plain struct with text keys, which cannot fail to serialize.
            anstream::println!("{}", serde_json::to_string_pretty(&summary).unwrap_or_default());
        } else {
            anstream::print!("{}", text(&summary));
        }
        if summary.all_completed() {
            return Ok(ExitCode::SUCCESS);
        }
        let what = format!("{} of {} tasks did not complete", summary.tasks - summary.completed, summary.tasks);
        Err(Failure::new(NOT_RIGHT, what, "see which ones with --completions"))
    }
}

fn text(summary: &Summary) -> String {
    let ms = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1} ms"));
    let us = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1} µs"));
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<18} {value}");
    };
    line("policy", format!("{} on {} nodes at {:.1} % load", summary.policy, summary.nodes, summary.load * 100.0));
    line("tasks", format!("{} of {} completed, {} counted", summary.completed, summary.tasks, summary.counted));
    if summary.crashes > 0 {
        let (not_offered, lost) = (summary.not_offered, summary.lost_with_home);
        let crashes = summary.crashes;
        line("crashes", format!("{crashes}; {not_offered} tasks not offered and {lost} lost, their origin being down"));
    }
    let (mean, p50) = (ms(summary.mean_ms), ms(summary.p50_ms));
    line("completion", format!("mean {mean}  p50 {p50}  p99 {}  max {}", ms(summary.p99_ms), ms(summary.max_ms)));
    if let Some(bound_ms) = summary.lower_bound_mean_ms {
        line("", format!("no policy has a mean below {bound_ms:.1} ms"));
    }
    line("moved", format!("{:.1} %", summary.moved_share * 100.0));
    line(
        "control",
        format!(
            "{:.2} messages a task, {:.0} bytes/s a peer",
            summary.messages_per_task, summary.control_bytes_per_peer_s
        ),
    );
    line("decision", format!("p50 {}  p99 {}", us(summary.decision_cpu_us_p50), us(summary.decision_cpu_us_p99)));
    line("wall time", format!("{:.1} s", summary.wall_s));
    text
}

impl From<PlaceError> for Failure {
    fn from(error: PlaceError) -> Self {
        let code = match error {
            PlaceError::Faults { .. } => USAGE,
            PlaceError::NoCloud => BAD_CONFIGURATION,
            PlaceError::Violation(_) => NOT_RIGHT,
        };
        Self::new(code, &error, error.hint())
    }
}
