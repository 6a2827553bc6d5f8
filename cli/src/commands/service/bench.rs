//! `shoal service bench`: what a call costs over the time that its module runs.
//!
//! **Invariant:** only whole calls are counted, from before the request is written to after its answer is read, less the run
//! that the answer names.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use shoal_protocol::api::schema;
use shoal_protocol::output::PeerState;
use shoal_protocol::service::ServiceName;

use crate::Printer;
use crate::client::{CallOptions, Client};
use crate::commands::node::bench::{nearest, parse_seconds, quantile, rounded};
use crate::error::Failure;
use crate::table::{Cell, Table};

/// Calls before anything is measured: the module is ready there, connections are open, estimates have settled.
const WARM_UP_CALLS: usize = 300;

/// Measure what a call of a service costs over its module's run: here, and at the nearest neighbour
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal service bench noop --seconds 5 --json")]
pub struct Bench {
    /// Its name
    name: ServiceName,
    /// What it reads
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How long each measurement lasts
    #[arg(long, default_value_t = 2.0, value_parser = parse_seconds)]
    seconds: f64,
}

impl Bench {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let input = match &self.input {
            Some(path) => std::fs::read(path).map_err(|error| Failure::read(path, &error))?,
            None => Vec::new(),
        };
        let status = client.status().await?;
        let neighbour = nearest(status.peers).filter(|peer| peer.state == PeerState::Alive);
        let here = Some(status.me.peer.to_string());
        let there = neighbour.map(|peer| peer.peer.to_string());
        let mut places = BTreeMap::new();
        for (place, peer) in [("local", here), ("neighbour", there), ("anywhere", None)] {
            if place == "neighbour" && peer.is_none() {
                printer.say("no neighbour is alive, so only this peer was measured   → shoal peers");
                continue;
            }
            let options = CallOptions { peer, ..CallOptions::default() };
            let window = Duration::from_secs_f64(self.seconds);
            let spinner = printer.spinner(format!("measuring {place}"));
            let figures = match measure(client, self.name.as_str(), &options, &input, window).await {
                Ok(figures) => figures,
                Err(error) => return Err(super::failure(client, &self.name, error).await),
            };
            spinner.finish_and_clear();
            places.insert(place, figures);
        }
        printer.show(&Measured { schema: schema(), service: self.name, over_run: places })
    }
}

/// One place, measured: calls less their runs, and the runs.
#[derive(Debug, Clone, Copy, Serialize)]
struct Figures {
    p50_us: f64,
    p99_us: f64,
    run_p50_us: f64,
    calls: usize,
}

async fn measure(
    client: &Client,
    name: &str,
    options: &CallOptions,
    input: &[u8],
    window: Duration,
) -> Result<Figures, crate::client::ClientError> {
    for _ in 0..WARM_UP_CALLS {
        client.call(name, options, input.to_vec()).await?.bytes().await?;
    }
    let (mut over_us, mut runs_us) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while start.elapsed() < window {
        let input = input.to_vec();
        let before = Instant::now();
        let answered = client.call(name, options, input).await?;
        let run = answered.run;
        answered.bytes().await?;
        over_us.push(before.elapsed().saturating_sub(run).as_secs_f64() * 1e6);
        runs_us.push(run.as_secs_f64() * 1e6);
    }
    over_us.sort_by(f64::total_cmp);
    runs_us.sort_by(f64::total_cmp);
    Ok(Figures {
        p50_us: rounded(quantile(&over_us, 0.50)),
        p99_us: rounded(quantile(&over_us, 0.99)),
        run_p50_us: rounded(quantile(&runs_us, 0.50)),
        calls: over_us.len(),
    })
}

#[derive(Debug, Serialize)]
struct Measured {
    schema: String,
    service: ServiceName,
    over_run: BTreeMap<&'static str, Figures>,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["CALL OVER ITS RUN", "p50", "p99", "run p50", "calls"]);
        for (place, figures) in &self.over_run {
            table.row([
                Cell::from(*place),
                Cell::from(format!("{:.0} µs", figures.p50_us)),
                Cell::from(format!("{:.0} µs", figures.p99_us)),
                Cell::from(format!("{:.0} µs", figures.run_p50_us)),
                Cell::from(figures.calls.to_string()),
            ]);
        }
        table.fmt(f)
    }
}
