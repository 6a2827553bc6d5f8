//! `shoal-testnet sim liars`: how much work do machines attract that lie about what they can do?

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Instant;

use shoal_testnet::sim::liars::{Report, SPAN, Settings, run};

use super::place::not_negative;
use super::{Failure, NOT_RIGHT, USAGE};

/// Run a mesh in which some machines lure work and do not do it, and say how much they get
///
/// They say that they have 64 idle cores, eight times as fast as any, for nothing, near everybody. Of each four one does what
/// it is given thirty times slower than it said, one never ends, one never answers, and one fails it at once. The same tasks
/// run once more while nobody lies: what the liars got beyond that was attracted wrongly. Exits with 0 only if that is at
/// most --wrong-max of the tasks from the end of the first minute on, and every task had its result.
/// Example: shoal-testnet sim liars --share 30 --json
#[derive(clap::Args)]
#[command(name = "liars")]
pub(crate) struct Liars {
    /// Of the machines, in percent
    #[arg(long, default_value_t = Settings::default().liars, value_parser = percent)]
    share: usize,
    /// Machines; every tenth is a cloud
    #[arg(long, default_value_t = Settings::default().peers)]
    peers: usize,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = Settings::default().seed)]
    seed: u64,
    /// Simulated time
    #[arg(long, default_value_t = Settings::default().minutes, value_parser = clap::value_parser!(u64).range(2..=120))]
    minutes: u64,
    /// Offered work over what the honest machines can do
    #[arg(long, default_value_t = Settings::default().load, value_parser = not_negative)]
    load: f64,
    /// What may be attracted wrongly after the first minute, in percent of the tasks
    #[arg(long, default_value_t = 2.0, value_parser = not_negative)]
    wrong_max: f64,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn percent(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if number <= 50 { Ok(number) } else { Err("more than half of the machines".to_owned()) }
}

impl Liars {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.peers < 10 {
            return Err(Failure::new(USAGE, "fewer than ten machines are no mesh", "give --peers a larger number"));
        }
        let started = Instant::now();
        let Self { seed, peers, minutes, load, .. } = self;
        let report = run(&Settings { seed, peers, liars: self.share, minutes, load });
        let wall_s = started.elapsed().as_secs_f64();
        if self.json {
            let mut json = serde_json::to_value(&report).unwrap_or_default(); // text keys and finite numbers only
            json["wall_s"] = wall_s.into();
            anstream::println!("{json:#}");
        } else {
            anstream::print!("{}", text(&report, wall_s));
        }
        let wrong = report.wrong_share_after_minute * 100.0;
        if wrong <= self.wrong_max && report.failed == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let what = format!("{wrong:.1} % of the tasks went to liars wrongly, and {} failed", report.failed);
        Err(Failure::new(NOT_RIGHT, what, "see when with --json"))
    }
}

fn text(report: &Report, wall_s: f64) -> String {
    let percent = |share: f64| format!("{:>5.1} %", share * 100.0);
    let ms = |value: Option<f64>| value.map_or_else(|| "      –".to_owned(), |value| format!("{value:>7.0}"));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{} of {} machines lie, {} tasks at {:.2} load",
        report.liars, report.peers, report.tasks, report.load
    );
    let _ = writeln!(text, "from s  tasks    given  deserved   wrongly   p99 ms  honest  failed");
    for moment in &report.moments {
        let _ = writeln!(
            text,
            "{:>6}  {:>5}  {}   {}   {}  {}  {}  {:>6}",
            moment.at_s,
            moment.tasks,
            percent(moment.given_share),
            percent(moment.deserved_share),
            percent(moment.wrong_share),
            ms(moment.p99_ms),
            ms(moment.honest_p99_ms),
            moment.failed
        );
    }
    let _ = writeln!(
        text,
        "honest peers distrusted {} times, {} in peace; busiest neighbour: {:?} thousandths of its bound",
        report.honest_distrusted, report.honest_distrusted_in_peace, report.fullest_permille
    );
    let _ = writeln!(
        text,
        "wrongly: {} in all, {} after a minute, {} in the last minute (spans of {} s); {wall_s:.1} s",
        percent(report.wrong_share),
        percent(report.wrong_share_after_minute),
        percent(report.wrong_share_at_end),
        SPAN.as_secs()
    );
    text
}
