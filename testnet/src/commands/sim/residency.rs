//! `shoal-testnet sim residency`: does the rule for where data may go say what a plain reference says?

use std::process::ExitCode;
use std::time::Instant;

use shoal_testnet::sim::residency::run;

use super::{Failure, NOT_RIGHT, USAGE};

/// Draw labels, certificates, tasks and messages, and compare who may have what with a reference that was written apart
///
/// Example: shoal-testnet sim residency --cases 1000000 --seed 7 --json
#[derive(clap::Args)]
pub(crate) struct Residency {
    #[arg(long, default_value_t = 100_000)]
    cases: u64,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Residency {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.cases == 0 {
            return Err(Failure::new(USAGE, "nothing is asked", "give --cases a number above 0"));
        }
        let started = Instant::now();
        let report = run(self.seed, self.cases);
        let wall_s = started.elapsed().as_secs_f64();
        if self.json {
            let mut json = serde_json::to_value(&report).unwrap_or_default(); // text keys and finite numbers only
            json["seed"] = self.seed.into();
            json["wall_s"] = wall_s.into();
            anstream::println!("{json:#}");
        } else {
            anstream::println!(
                "{} cases, {} questions, {} denied, {} violations, {wall_s:.1} s",
                report.cases,
                report.questions,
                report.denied,
                report.violations
            );
            report.first.iter().for_each(|first| anstream::println!("first: {first}"));
        }
        Ok(if report.violations == 0 { ExitCode::SUCCESS } else { ExitCode::from(NOT_RIGHT) })
    }
}
