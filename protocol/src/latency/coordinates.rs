//! Where this peer is in the space of round trips: Vivaldi (Dabek et al., SIGCOMM 2004) with a height, a learnt
//! adjustment and a weak pull to the origin (Ledlie et al., NSDI 2007).
//!
//! Every measured round trip is a spring to the peer it was measured to; the peer moves a little along each.
//!
//! **Invariant:** whatever strangers say, the own coordinate stays finite, inside [`COORDINATE_MS_MAX`], and moves at
//! most [`STEP_MS_MAX`] a sample.

use core::time::Duration;
use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};

use super::Coordinate;
use crate::rng::Rng;
use crate::time::millis;

/// Dimensions of the space; below eight PlanetLab folds, above it nothing is gained.
const DIMENSIONS: usize = 8;
/// No path on Earth puts a peer farther out than this.
const COORDINATE_MS_MAX: f64 = 10_000.0;
/// A stranger moves this peer no farther than this with one sample; honest springs stay below it.
const STEP_MS_MAX: f64 = 100.0;
/// How far along a spring to move when both ends are equally sure.
const STEP_SHARE: f64 = 0.25;
/// How fast the own error estimate follows the samples.
const ERROR_SHARE: f64 = 0.25;
/// Nobody is surer than this, so that nobody is ever frozen in place.
const ERROR_MIN: f64 = 0.02;
/// A height below this would let two peers of one rack fall into one point.
const HEIGHT_MS_MIN: f64 = 0.01;
/// Residuals the adjustment is learnt from.
const RESIDUALS: usize = 32;
/// Distance from the origin, in milliseconds, at which the pull back is one millisecond a sample.
const GRAVITY_RHO_MS: f64 = 500.0;
/// Distances below this are noise of the hosts: relative errors are not taken of less.
const NOISE_MS: f64 = 0.1;

/// The own coordinate and what it is learnt with.
#[derive(Debug)]
pub(super) struct Vivaldi {
    position_ms: [f64; DIMENSIONS],
    height_ms: f64,
    error: f64,
    adjustment_ms: f64,
    residuals_ms: VecDeque<f64>,
    rng: Rng,
}

impl Vivaldi {
    /// At the origin, sure of nothing.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            position_ms: [0.0; DIMENSIONS],
            height_ms: 1.0,
            error: 1.0,
            adjustment_ms: 0.0,
            residuals_ms: VecDeque::new(),
            rng: Rng::seed_from_u64(seed),
        }
    }

    /// The coordinate as others are told it.
    pub(super) fn coordinate(&self) -> Coordinate {
        Coordinate {
            position_ms: self.position_ms.map(|x| x as f32),
            height_ms: self.height_ms as f32,
            adjustment_ms: self.adjustment_ms as f32,
            error: self.error as f32,
        }
    }

    /// Moves along the spring to a peer at `remote`, `weight` (0 to 1) of the way a fresh sample would.
    pub(super) fn pull(&mut self, rtt: Duration, remote: &Coordinate, weight: f64) {
        let rtt_ms = millis(rtt).max(NOISE_MS);
        let predicted_ms = self.raw_distance_ms(remote);
        let trust = self.trust_in(remote) * weight;

        let miss = ((predicted_ms - rtt_ms).abs() / rtt_ms).min(1.0);
        self.error = (self.error + (miss - self.error) * ERROR_SHARE * trust).clamp(ERROR_MIN, 1.0);
        let step_ms = (STEP_SHARE * trust * (rtt_ms - predicted_ms)).clamp(-STEP_MS_MAX, STEP_MS_MAX);
        self.step(step_ms, remote);
        self.fall_to_origin(weight);
        self.stay_inside();
    }

    /// Learns the adjustment from the residual of a fresh sample.
    pub(super) fn adjust(&mut self, rtt: Duration, remote: &Coordinate) {
        let residual_ms = (millis(rtt) - self.raw_distance_ms(remote)).clamp(-STEP_MS_MAX, STEP_MS_MAX);
        if self.residuals_ms.len() == RESIDUALS {
            self.residuals_ms.pop_front();
        }
        self.residuals_ms.push_back(residual_ms);
        // Half of each residual belongs to the other end.
        self.adjustment_ms = self.residuals_ms.iter().sum::<f64>() / (2.0 * self.residuals_ms.len() as f64);
    }

    /// How much of a disagreement is ours to give in to: all of it when only the other end is sure.
    fn trust_in(&self, remote: &Coordinate) -> f64 {
        let theirs = f64::from(remote.error).clamp(ERROR_MIN, 1.0);
        self.error / (self.error + theirs)
    }

    fn raw_distance_ms(&self, remote: &Coordinate) -> f64 {
        self.flat_distance_ms(remote) + self.height_ms + f64::from(remote.height_ms)
    }

    fn flat_distance_ms(&self, remote: &Coordinate) -> f64 {
        norm(&self.away_from(remote))
    }

    fn away_from(&self, remote: &Coordinate) -> [f64; DIMENSIONS] {
        let mut away = self.position_ms;
        for (ours, theirs) in away.iter_mut().zip(remote.position_ms) {
            *ours -= f64::from(theirs);
        }
        away
    }

    /// Moves away from `remote` (towards it when negative); the height takes its share, as in the Vivaldi paper.
    fn step(&mut self, step_ms: f64, remote: &Coordinate) {
        let mut away = self.away_from(remote);
        let mut flat_ms = norm(&away);
        if flat_ms < 1e-6 {
            // Two peers in one point push each other in a direction left to chance.
            away = core::array::from_fn(|_| self.rng.random_range(-1.0..1.0));
            flat_ms = norm(&away).max(1e-6);
        }
        let heights_ms = self.height_ms + f64::from(remote.height_ms);
        let length_ms = flat_ms + heights_ms;
        for (x, towards) in self.position_ms.iter_mut().zip(away) {
            *x += step_ms * towards / length_ms;
        }
        self.height_ms += step_ms * heights_ms / length_ms;
    }

    /// Keeps the whole mesh from drifting.
    fn fall_to_origin(&mut self, weight: f64) {
        let out_ms = norm(&self.position_ms);
        if out_ms < 1e-6 {
            return;
        }
        let pull_ms = ((out_ms / GRAVITY_RHO_MS) * (out_ms / GRAVITY_RHO_MS) * weight).min(out_ms);
        for x in &mut self.position_ms {
            *x -= *x * pull_ms / out_ms;
        }
    }

    fn stay_inside(&mut self) {
        for x in &mut self.position_ms {
            *x = x.clamp(-COORDINATE_MS_MAX, COORDINATE_MS_MAX);
        }
        self.height_ms = self.height_ms.clamp(HEIGHT_MS_MIN, COORDINATE_MS_MAX);
    }
}

impl Coordinate {
    /// Whether this can be a place: what a stranger says is held to before it is used.
    pub fn is_sane(&self) -> bool {
        let inside = |ms: f32| f64::from(ms).abs() <= COORDINATE_MS_MAX; // false for NaN
        self.position_ms.iter().all(|x| inside(*x))
            && inside(self.height_ms)
            && self.height_ms >= 0.0
            && inside(self.adjustment_ms)
            && (0.0..=1.0).contains(&self.error)
    }

    /// The round trip between two places.
    pub fn rtt_to(&self, other: &Self) -> Duration {
        let flat_ms = self
            .position_ms
            .iter()
            .zip(&other.position_ms)
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)) * (f64::from(*a) - f64::from(*b)))
            .sum::<f64>()
            .sqrt();
        let raw_ms = flat_ms + f64::from(self.height_ms) + f64::from(other.height_ms);
        let adjusted_ms = raw_ms + f64::from(self.adjustment_ms) + f64::from(other.adjustment_ms);
        // An adjustment learnt from far peers may take more than there is to a near one.
        let ms = if adjusted_ms > 0.0 { adjusted_ms } else { raw_ms };
        Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default()
    }
}

fn norm(vector: &[f64; DIMENSIONS]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}
