//! `shoal-testnet sim flow`: a city's day with its business rules, without them, and with everything in the cloud.

use core::ops::Range;
use std::fmt::Write;
use std::process::ExitCode;

use shoal_testnet::sim::flow::{CityError, Comparison, Mode, compare};

use super::{Failure, NOT_RIGHT};

/// Have a city's sensors served over unequal uplinks: with business rules, without, and with everything in the cloud
///
/// Readings of every five minutes (METR-LA), recordings where traffic stands, and forecasts; twelve districts with uplinks of 4
/// to 40 Mbit/s and three clouds. Exits with 0 only if no uplink carries more than the rules give, at most half the bytes of
/// all-to-cloud cross the WAN, and the 99th percentile is no worse than in either of the others.
/// Example: shoal-testnet sim flow --seed 3 --hours 6-10 --json
#[derive(clap::Args)]
#[command(name = "flow", verbatim_doc_comment)]
pub(crate) struct Flow {
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this: `on`, `off` or `all-cloud`; all three where it is not said
    #[arg(long, value_parser = parse_mode)]
    policy: Option<Mode>,
    /// Of the day
    #[arg(long, value_name = "FROM-TO", default_value = "5-21", value_parser = parse_hours)]
    hours: Range<usize>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "on" => Ok(Mode::On),
        "off" => Ok(Mode::Off),
        "all-cloud" => Ok(Mode::AllCloud),
        _ => Err("expected on, off or all-cloud".to_owned()),
    }
}

fn parse_hours(text: &str) -> Result<Range<usize>, String> {
    let expected = || "expected hours such as 6-10".to_owned();
    let (from, to) = text.split_once('-').ok_or_else(expected)?;
    Ok(from.parse().map_err(|_| expected())?..to.parse().map_err(|_| expected())?)
}

impl Flow {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let modes = self.policy.map_or(vec![Mode::On, Mode::Off, Mode::AllCloud], |mode| vec![mode]);
        let comparison = compare(self.seed, self.hours, &modes)?;
        if self.json {
            // A plain struct with text keys, which cannot fail to serialize.
            anstream::println!("{}", serde_json::to_string_pretty(&comparison).unwrap_or_default());
        } else {
            anstream::print!("{}", text(&comparison));
        }
        if comparison.broken.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::new(NOT_RIGHT, comparison.broken.join("; "), "see the figures with --json"))
    }
}

fn text(comparison: &Comparison) -> String {
    let mut text = format!(
        "{:<10} {:>7} {:>10} {:>11} {:>11} {:>13} {:>15} {:>9} {:>8}\n",
        "", "tasks", "WAN", "mean", "p99", "p99 reading", "p99 recording", "share", "cost"
    );
    for run in &comparison.runs {
        let p99 = |class: &str| run.classes.iter().find(|it| it.class == class).map_or(0.0, |it| it.p99_ms);
        let mode = match run.mode {
            Mode::On => "rules",
            Mode::Off => "no rules",
            Mode::AllCloud => "all cloud",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{mode:<10} {:>7} {:>7.1} MB {:>8.1} ms {:>8.1} ms {:>10.1} ms {:>12.1} ms {:>7.1} % {:>8.2}",
            run.tasks,
            run.wan_bytes as f64 / 1e6,
            run.mean_ms,
            run.p99_ms,
            p99("reading"),
            p99("recording"),
            run.largest_share * 100.0,
            run.cost,
        );
        for share in &run.shares {
            let _ = writeln!(
                text,
                "           {:<14} took {:>5.1} % of an uplink at most, and may take {:.0} %",
                share.what,
                share.taken * 100.0,
                share.allowed * 100.0
            );
        }
    }
    if let Some(share) = comparison.wan_bytes_of_all_cloud {
        let _ = writeln!(text, "{:.1} % of the bytes of all-to-cloud cross the WAN with the rules", share * 100.0);
    }
    text
}

impl From<CityError> for Failure {
    fn from(error: CityError) -> Self {
        Self::new(NOT_RIGHT, &error, error.hint())
    }
}
