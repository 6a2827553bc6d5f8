//! `shoal bench`: what a task costs when it does nothing, here and at the nearest neighbour, and as a stage of a pipeline.
//!
//! **Invariant:** only whole tasks are counted, from before the request is written to after its answer is read.

use core::fmt;
use core::time::Duration;
use std::time::Instant;

use serde::Serialize;
use shoal_protocol::api::{PeerView, PipelineRequest, StageRequest, TaskRequest, VariantRequest, schema};
use shoal_protocol::id::BlobId;
use shoal_protocol::output::PeerState;
use tokio::task::JoinSet;

use crate::Printer;
use crate::client::Client;
use crate::error::{Exit, Failure, own};
use crate::table::{Cell, Table};

/// A module whose `_start` returns at once.
const NOOP: &[u8] = include_bytes!("../../../assets/noop.wasm");
/// Tasks in flight when throughput is measured.
const IN_FLIGHT: usize = 64;
/// Stages of the pipeline, each after the one before.
const CHAIN: usize = 1_000;
/// Times it is run; the first is not counted.
const CHAINS: usize = 4;
/// A pipeline that takes longer is given up.
const CHAIN_PATIENCE: Duration = Duration::from_secs(120);
/// Tasks run before anything is measured: the module is compiled, connections are open, estimates have settled.
const WARM_UP_TASKS: usize = 200;

/// Measure this mesh: what a warm no-op task costs here and at the nearest neighbour
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  shoal bench --json --seconds 5")]
pub struct Bench {
    /// How long each of the four measurements lasts
    #[arg(long, default_value_t = 2.0, value_parser = parse_seconds)]
    seconds: f64,
}

pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=600.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("expected 0.05 to 600".to_owned()),
    }
}

impl Bench {
    pub(crate) async fn run(self, client: &Client, printer: Printer) -> Result<(), Failure> {
        let window = Duration::from_secs_f64(self.seconds);
        let stored = client.put_blob(NOOP).await?;
        let here = TaskRequest { local_only: true, ..noop(stored.id) };
        let local = measure(client, printer, "here", &here, window).await?;

        let neighbour = match nearest(client.status().await?.peers) {
            Some(peer) => {
                let there = TaskRequest { peer: Some(peer.peer.to_string()), ..noop(stored.id) };
                Some(measure(client, printer, &format!("at {}", peer.name), &there, window).await?)
            }
            None => {
                printer.say("no neighbour is alive, so only this peer was measured   → shoal peers");
                None
            }
        };
        let stage_us = chain(client, printer, stored.id).await?;
        printer.show(&Measured { schema: schema(), local, neighbour, stage_us })
    }
}

fn noop(module: BlobId) -> TaskRequest {
    let variants = vec![VariantRequest { name: String::new(), module, loss: 0.0 }];
    TaskRequest {
        variants,
        name: "noop".to_owned(),
        wait: true,
        start_within_ms: Some(u64::MAX),
        ..TaskRequest::default()
    }
}

/// What a stage costs in a chain of such that do nothing, in microseconds: the mean of each pipeline.
async fn chain(client: &Client, printer: Printer, module: BlobId) -> Result<Vec<f64>, Failure> {
    let spinner = printer.spinner("measuring a pipeline");
    let stage = |n: usize| StageRequest {
        name: format!("s{n}"),
        task: TaskRequest { local_only: true, ..TaskRequest { wait: false, start_within_ms: None, ..noop(module) } },
        inputs: n.checked_sub(1).map(|before| format!("s{before}")).into_iter().collect(),
        ..StageRequest::default()
    };
    let stages = (0..CHAIN).map(stage).collect();
    let request = PipelineRequest { name: "chain".to_owned(), stages, ..PipelineRequest::default() };
    let mut took_us = Vec::new();
    for _ in 0..CHAINS {
        let accepted = client.submit_pipeline(&request).await?;
        let view = client.pipeline(&accepted.pipeline.to_string(), CHAIN_PATIENCE).await?;
        match (view.problem, view.total_us) {
            (None, Some(us)) => took_us.push(rounded(us as f64 / CHAIN as f64)),
            (Some(problem), _) => return Err(problem.into()),
            (None, None) => {
                let title = format!("a chain of {CHAIN} stages took longer than {} s", CHAIN_PATIENCE.as_secs());
                return Err(Failure::new(Exit::TimedOut, own::TIMEOUT, title));
            }
        }
    }
    spinner.finish_and_clear();
    Ok(took_us.split_off(1))
}

pub(crate) fn nearest(peers: Vec<PeerView>) -> Option<PeerView> {
    let distance = |peer: &PeerView| peer.rtt_p50_ms.or(peer.rtt_predicted_ms).unwrap_or(f64::MAX);
    let alive = peers.into_iter().filter(|peer| peer.state == PeerState::Alive);
    alive.min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// One place, measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Figures {
    p50_us: f64,
    p99_us: f64,
    per_s: f64,
    per_s_64: f64,
}

async fn measure(
    client: &Client,
    printer: Printer,
    place: &str,
    request: &TaskRequest,
    window: Duration,
) -> Result<Figures, Failure> {
    let spinner = printer.spinner(format!("measuring {place}"));
    for _ in 0..WARM_UP_TASKS {
        one(client, request).await?;
    }
    let (mut took_us, elapsed) = one_at_a_time(client, request, window).await?;
    took_us.sort_by(f64::total_cmp);
    let per_s_64 = many_at_a_time(client, request, window).await?;
    spinner.finish_and_clear();
    Ok(Figures {
        p50_us: rounded(quantile(&took_us, 0.50)),
        p99_us: rounded(quantile(&took_us, 0.99)),
        per_s: rounded(took_us.len() as f64 / elapsed.as_secs_f64()),
        per_s_64: rounded(per_s_64),
    })
}

async fn one(client: &Client, request: &TaskRequest) -> Result<(), Failure> {
    let view = client.run(request.clone()).await?;
    match Failure::of_task(&view) {
        Some(failure) => Err(failure),
        None if view.state.is_final() => Ok(()),
        None => Err(Failure::new(Exit::VersionMismatch, own::VERSION, "shoald answered before the task had ended")),
    }
}

async fn one_at_a_time(
    client: &Client,
    request: &TaskRequest,
    window: Duration,
) -> Result<(Vec<f64>, Duration), Failure> {
    let mut took_us = Vec::new();
    let start = Instant::now();
    while start.elapsed() < window {
        let before = Instant::now();
        one(client, request).await?;
        took_us.push(before.elapsed().as_secs_f64() * 1e6);
    }
    Ok((took_us, start.elapsed()))
}

/// Tasks a second with [`IN_FLIGHT`] always under way.
async fn many_at_a_time(client: &Client, request: &TaskRequest, window: Duration) -> Result<f64, Failure> {
    let mut lanes = JoinSet::new();
    let start = Instant::now();
    for _ in 0..IN_FLIGHT {
        let (client, request) = (client.clone(), request.clone());
        lanes.spawn(async move {
            let mut done = 0_u64;
            while start.elapsed() < window {
                one(&client, &request).await?;
                done += 1;
            }
            Ok::<u64, Failure>(done)
        });
    }
    let mut done = 0;
    while let Some(lane) = lanes.join_next().await {
        done += lane.map_err(|error| {
            Failure::new(Exit::Unreachable, own::BROKEN, "a lane of the measurement ended early").why(error.to_string())
        })??;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// Nearest rank in sorted samples.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(f64::NAN)
}

/// A tenth is finer than the clock's own noise.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[derive(Debug, Serialize)]
struct Measured {
    schema: String,
    local: Figures,
    neighbour: Option<Figures>,
    /// A stage of a chain of no-op stages here, a figure each pipeline.
    stage_us: Vec<f64>,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["NO-OP TASK", "p50", "p99", "1 in flight", "64 in flight"]);
        for (place, figures) in [("local", Some(self.local)), ("neighbour", self.neighbour)] {
            let Some(figures) = figures else { continue };
            table.row([
                Cell::from(place),
                Cell::from(format!("{:.0} µs", figures.p50_us)),
                Cell::from(format!("{:.0} µs", figures.p99_us)),
                Cell::from(format!("{:.0}/s", figures.per_s)),
                Cell::from(format!("{:.0}/s", figures.per_s_64)),
            ]);
        }
        table.fmt(f)?;
        let each: Vec<String> = self.stage_us.iter().map(|us| format!("{us:.0}")).collect();
        writeln!(f, "a stage of a pipeline of {CHAIN}, each after the one before: {} µs", each.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();

        assert_eq!(quantile(&sorted, 0.5), 50.0);
        assert_eq!(quantile(&sorted, 0.99), 99.0);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
