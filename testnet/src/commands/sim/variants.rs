//! `shoal-testnet sim variants`: what do λ and the link make of a model with two builds?

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use shoal_testnet::sim::report::PlotError;
use shoal_testnet::sim::variants::{Sweep, chart, sweep};

use super::{Failure, NOT_RIGHT};

/// Have recordings told apart by two builds of one model, under many λ and over links of many speeds
///
/// The recordings, and the loss of the small build, are those of the example models. The cost of an answer is
/// loss · 10,000 ms + λ · time: with a small λ the full build runs wherever it is soonest, with a large one the small build.
/// Example: shoal-testnet sim variants --plot variants.svg
#[derive(clap::Args)]
#[command(name = "variants", verbatim_doc_comment)]
pub(crate) struct Variants {
    /// Decides everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Also draw loss against completion, a line for each link
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

impl Variants {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let sweep = sweep(self.seed);
        if let Some(path) = &self.plot {
            let wrote = std::fs::write(path, chart(&sweep)?);
            wrote.map_err(|error| Failure::file("write", path, &error))?;
        }
        if self.json {
            // A plain struct with text keys, which cannot fail to serialize.
            anstream::println!("{}", serde_json::to_string_pretty(&sweep).unwrap_or_default());
        } else {
            anstream::print!("{}", text(&sweep));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(sweep: &Sweep) -> String {
    let mut text = format!(
        "{:>8} {:>6} {:>10} {:>12} {:>8} {:>8} {:>8}\n",
        "Mbit/s", "λ", "mean loss", "mean time", "small", "cloud", "wrong"
    );
    let mut link = None;
    for point in &sweep.points {
        if link.replace(point.link_mbps).is_some_and(|before| before != point.link_mbps) {
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:>8} {:>6} {:>10.4} {:>9.1} ms {:>6.0} % {:>6.0} % {:>6.1} %",
            point.link_mbps,
            point.lambda,
            point.mean_loss,
            point.mean_completion_ms,
            point.small_share * 100.0,
            point.cloud_share * 100.0,
            point.wrong_share * 100.0,
        );
    }
    let (builds, places) = (sweep.build_changes, sweep.place_changes);
    let _ =
        writeln!(text, "from one λ to the next other builds were chosen {builds} times, other places {places} times");
    text
}

impl From<PlotError> for Failure {
    fn from(error: PlotError) -> Self {
        Self::new(NOT_RIGHT, &error, "this is a defect: report it with the command")
    }
}
