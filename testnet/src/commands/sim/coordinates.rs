//! `shoal-testnet sim coordinates`: how well peers know the distances between them.

use core::time::Duration;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use shoal_testnet::sim::coordinates::{Report, Settings, Spread, run};
use shoal_testnet::sim::matrix::Matrix;

use super::{Failure, USAGE};

/// Let the peers of a matrix find each other and learn how far they are, and say how wrong they are
///
/// Each peer measures its neighbours at the daemon's rates and hears where they are; neighbours are random at first, and
/// nearer ones are found by peer exchange. What a peer expects of another is what it measured, else what it predicts.
/// Errors are relative, over all pairs; near pairs are under 30 ms.
/// Example: shoal-testnet sim coordinates --rtt testnet/data/planetlab490.csv
#[derive(clap::Args)]
#[command(name = "coordinates")]
pub(crate) struct Coordinates {
    /// Round-trip times in ms: N lines of N fields, no header, empty where unknown
    #[arg(long, value_name = "FILE")]
    rtt: PathBuf,
    /// Simulated time
    #[arg(long, default_value_t = Settings::default().minutes(), value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = Settings::default().seed)]
    seed: u64,
    /// Begin with the truly nearest neighbours and never look for others, to see what finding them does
    #[arg(long)]
    given_neighbours: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Coordinates {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let started = Instant::now();
        let matrix = Matrix::load(&self.rtt)?;
        if matrix.len() < 3 {
            let what = format!("{} has {} nodes; distances need three", self.rtt.display(), matrix.len());
            return Err(Failure::new(USAGE, what, "give a larger matrix"));
        }
        let span = Duration::from_secs(60 * self.minutes);
        let report = run(&matrix, &Settings { seed: self.seed, span, given_neighbours: self.given_neighbours });
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
    let figures = &report.figures;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<22} {value}");
    };
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let spread = |spread: &Spread| {
        let [p50, p90, near_p50, near_p90] = [spread.p50, spread.p90, spread.near_p50, spread.near_p90].map(percent);
        format!("p50 {p50:>7}  p90 {p90:>7}   near pairs: p50 {near_p50:>7}  p90 {near_p90:>7}")
    };
    line("peers", format!("{}, for {:.0} simulated minutes", report.peers, report.minutes));
    line(
        "settled",
        format!("after {} s; 8 nearest found: {}", report.converged_s, percent(report.nearest_found_share)),
    );
    line("error", spread(&figures.expected()));
    line("  of what it predicts", spread(&figures.predicted));
    line("  coordinates alone", spread(&figures.coordinates_only));
    line(
        "choosing the nearest",
        format!("loses p50 {:.2} ms  p90 {:.2} ms", figures.nearest_loss_ms_p50, figures.nearest_loss_ms_p90),
    );
    line("measured itself", format!("{} of the pairs", percent(figures.measured_share)));
    line(
        "at the end, a peer",
        format!(
            "measures {:.2} times a second, sends {:.2} coordinates a second, calls {:.2} peers a minute",
            report.samples_per_peer_s, report.told_per_peer_s, report.calls_per_peer_minute
        ),
    );
    line("wall time", format!("{wall_s:.1} s"));
    text
}
