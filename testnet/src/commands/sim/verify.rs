//! `shoal-testnet sim verify`: how many wrong answers are taken for right, and what does it cost to find out?

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Instant;

use shoal_protocol::task::verification::Verify;
use shoal_testnet::sim::answers::{Report, Settings, run};

use super::liars::percent;
use super::{Failure, USAGE};

/// Run tasks in a mesh in which some machines forge answers, and count those that users were told
///
/// Of each three forgers one always answers wrongly, one once in ten, and one after sixty right answers. Three slow homes
/// give most of their tasks away.
/// Example: shoal-testnet sim verify --liars 10 --tasks 100000 --mode auto --json
#[derive(clap::Args)]
#[command(name = "verify")]
pub(crate) struct VerifyAnswers {
    /// Of the hosts, in percent
    #[arg(long, default_value_t = Settings::default().liars, value_parser = percent)]
    liars: usize,
    #[arg(long, default_value_t = Settings::default().tasks)]
    tasks: usize,
    /// Machines that run tasks of others
    #[arg(long, default_value_t = Settings::default().hosts)]
    hosts: usize,
    /// How answers are made sure of: never, auto, sample:P or quorum:K/N
    #[arg(long, default_value_t = Settings::default().mode)]
    mode: Verify,
    /// All forgers give the same wrong answers
    #[arg(long)]
    collude: bool,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = Settings::default().seed)]
    seed: u64,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

impl VerifyAnswers {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.tasks == 0 || self.hosts == 0 {
            return Err(Failure::new(USAGE, "nothing is run", "give --tasks and --hosts numbers above 0"));
        }
        let started = Instant::now();
        let Self { seed, hosts, liars, tasks, mode, collude: colludes, .. } = self;
        let report = run(&Settings { seed, hosts, liars, tasks, mode, colludes });
        let wall_s = started.elapsed().as_secs_f64();
        if self.json {
            let mut json = serde_json::to_value(&report).unwrap_or_default(); // text keys and finite numbers only
            json["wall_s"] = wall_s.into();
            anstream::println!("{json:#}");
        } else {
            anstream::print!("{}", text(&report, wall_s));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(report: &Report, wall_s: f64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<16} {value}");
    };
    let together = if report.colludes { ", who agree on their answers" } else { "" };
    line("mode", format!("{}; {} of {} hosts forge answers{together}", report.mode, report.liars, report.hosts));
    line(
        "wrong answers",
        format!(
            "{} of {} tasks, {} in the second half; {} found out",
            report.wrong_accepted, report.tasks, report.wrong_accepted_late, report.wrong_found
        ),
    );
    line("no answer", format!("{} not agreed on, {} failed", report.unverified, report.failed));
    line(
        "extra runs",
        format!(
            "{:.1} % of the tasks, {:.1} % in the second half; {:.1} % compared",
            report.overhead * 100.0,
            report.overhead_late * 100.0,
            report.compared_share * 100.0
        ),
    );
    line("wall time", format!("{wall_s:.1} s"));
    text
}
