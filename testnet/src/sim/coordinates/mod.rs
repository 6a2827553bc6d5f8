//! How well the peers of a mesh know the distances between them: many [`Latency`](shoal_protocol::latency::Latency), and
//! a matrix of round trips that were measured on a real network.
//!
//! | file | is |
//! |---|---|
//! | `mesh.rs` | the peers, what they say to each other, and when |
//! | `view.rs` | whom a peer stays connected to, and how it finds nearer ones |
//! | `figures.rs` | how far their expectations are from the matrix |
//!
//! **Invariant:** a peer learns from what crosses the simulated network only; the matrix is looked up for delays, and by
//! `figures.rs` for the verdict.
//! **Not here:** coordinates, filters, corrections, and when a neighbour is told. Those are the shipped ones.

mod figures;
mod mesh;
mod view;

use core::time::Duration;

use serde::Serialize;
use shoal_protocol::Time;

pub use self::figures::{Figures, Spread};
use self::mesh::{Mesh, Start, Tally};
use super::matrix::Matrix;

/// A run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Where all chance comes from.
    pub seed: u64,
    /// Simulated time.
    pub span: Duration,
    /// Neighbours are given by the matrix instead of found.
    pub given_neighbours: bool,
}

impl Settings {
    /// Simulated time in whole minutes.
    pub fn minutes(&self) -> u64 {
        self.span.as_secs() / 60
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, span: Duration::from_secs(600), given_neighbours: false }
    }
}

/// The state of the mesh at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Moment {
    /// Simulated seconds.
    pub at_s: u64,
    /// Median relative error over all pairs.
    pub rel_err_p50: f64,
    /// Its 90th percentile.
    pub rel_err_p90: f64,
    /// Of the eight peers that are truly nearest to a peer, how many it is connected to.
    pub nearest_found_share: f64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Peers in the matrix.
    pub peers: usize,
    /// Simulated minutes.
    pub minutes: f64,
    /// From when on the median error was within a tenth of the final one.
    pub converged_s: u64,
    /// Of the eight peers that are truly nearest to a peer, how many it is connected to at the end.
    pub nearest_found_share: f64,
    /// Errors and losses at the end.
    #[serde(flatten)]
    pub figures: Figures,
    /// Messages with a coordinate that a peer sent a second, in the last quarter of the run.
    pub told_per_peer_s: f64,
    /// Connections a peer made a minute, in the last quarter of the run.
    pub calls_per_peer_minute: f64,
    /// … and in all.
    pub calls_per_peer: f64,
    /// Round trips a peer measured a second, in the last quarter of the run.
    pub samples_per_peer_s: f64,
    /// How it went.
    pub moments: Vec<Moment>,
}

/// Between two looks at the mesh.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A look takes in this many peers, and all pairs they are in.
const LOOKED_AT: usize = 64;

/// Lets the peers of a matrix find each other and learn.
pub fn run(matrix: &Matrix, settings: &Settings) -> Report {
    let start = if settings.given_neighbours { Start::Settled } else { Start::AtRandom };
    let mut mesh = Mesh::new(matrix, settings.seed, start);
    let mut moments = Vec::new();
    let end = Time::ZERO + settings.span;
    let last_quarter = Time::ZERO + settings.span * 3 / 4;
    let mut before = Tally::default();
    while mesh.now() < end {
        let next = (mesh.now() + LOOK_EVERY).min(end);
        if mesh.now() < last_quarter && next >= last_quarter {
            mesh.run_until(last_quarter);
            before = mesh.tally();
        }
        mesh.run_until(next);
        moments.push(figures::moment(&mesh, LOOKED_AT));
    }
    let figures = Figures::of(&mesh);
    let tally = mesh.tally();
    let peers = matrix.len();
    let per_peer_s = |count: u64, span: Duration| count as f64 / (peers.max(1) as f64 * span.as_secs_f64().max(1.0));
    Report {
        peers,
        minutes: settings.span.as_secs_f64() / 60.0,
        converged_s: converged_s(&moments),
        nearest_found_share: moments.last().map_or(0.0, |moment| moment.nearest_found_share),
        figures,
        told_per_peer_s: per_peer_s(tally.told - before.told, end.since(last_quarter)),
        calls_per_peer_minute: 60.0 * per_peer_s(tally.calls - before.calls, end.since(last_quarter)),
        calls_per_peer: per_peer_s(tally.calls, Duration::from_secs(1)),
        samples_per_peer_s: per_peer_s(tally.samples - before.samples, end.since(last_quarter)),
        moments,
    }
}

fn converged_s(moments: &[Moment]) -> u64 {
    let Some(last) = moments.last() else { return 0 };
    let is_close = |moment: &&Moment| moment.rel_err_p50 <= last.rel_err_p50 * 1.1;
    moments.iter().rev().take_while(is_close).last().map_or(0, |moment| moment.at_s)
}

#[cfg(test)]
mod tests;
