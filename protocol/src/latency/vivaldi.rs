//! Where this peer is in the space of round trips: Vivaldi (Dabek et al., SIGCOMM 2004) with a height and a weak pull to
//! the origin (Ledlie et al., NSDI 2007).
//!
//! Every measured round trip is a spring to the peer it was measured to; the peer moves a little along each. Two things
//! differ from the paper, because what matters is the *relative* error: long springs are softer, and a spring that
//! is far from its length is doubted, more the farther it is (the redescending weight of Cauchy's M-estimator).
//! Detours that no space can hold, and liars, then bend the others less.
//!
//! **Invariant:** whatever strangers say, the own coordinate stays finite, can be sent, and moves at most
//! [`STEP_MS_MAX`] a spring.

use rand::{RngExt, SeedableRng};

use super::coordinate::{Coordinate, DIMENSIONS, HEIGHT_MS_MAX, POSITION_MS_MAX};
use super::springs::Spring;
use crate::rng::Rng;
use crate::time::millis;

/// One spring moves this peer no farther; honest springs stay below it.
pub(super) const STEP_MS_MAX: f64 = 25.0;
/// How far along a spring to move when both ends are equally sure.
const STEP_SHARE: f64 = 0.25;
/// Springs longer than this are softer in proportion: a millisecond matters less to them.
const STIFF_MS: f64 = 100.0;
/// A spring that is off by its length and this is given half its weight.
const DOUBT_MS: f64 = 20.0;
/// How fast the own error estimate follows the samples.
const ERROR_SHARE: f64 = 0.25;
/// Nobody is surer than this, so that nobody is ever frozen in place.
const ERROR_MIN: f64 = 0.02;
/// A height below this would let two peers of one rack fall into one point.
const HEIGHT_MS_MIN: f64 = 0.01;
/// Distance from the origin, in milliseconds, at which the pull back is one millisecond a spring.
const GRAVITY_RHO_MS: f64 = 1_000.0;
/// Distances below this are noise of the hosts: relative errors are not taken of less.
const NOISE_MS: f64 = 0.1;

/// The own coordinate.
#[derive(Debug)]
pub(super) struct Vivaldi {
    position_ms: [f64; DIMENSIONS],
    height_ms: f64,
    error: f64,
    rng: Rng,
}

impl Vivaldi {
    /// At the origin, sure of nothing.
    pub(super) fn new(seed: u64) -> Self {
        Self { position_ms: [0.0; DIMENSIONS], height_ms: 1.0, error: 1.0, rng: Rng::seed_from_u64(seed) }
    }

    /// The coordinate as others are told it.
    pub(super) fn coordinate(&self) -> Coordinate {
        Coordinate {
            position_ms: self.position_ms.map(|x| x as f32),
            height_ms: self.height_ms as f32,
            error: self.error as f32,
        }
    }

    /// Moves along a spring, `weight` (0 to 1) of the way a fresh one would.
    pub(super) fn pull(&mut self, spring: &Spring, weight: f64) {
        let remote = &spring.remote;
        let rtt_ms = millis(spring.rtt).max(NOISE_MS);
        let away = self.away_from(remote);
        let predicted_ms = norm(&away) + self.height_ms + f64::from(remote.height_ms);
        let stretch_ms = rtt_ms - predicted_ms;
        let trust = self.trust_in(remote) * weight;

        let miss = (stretch_ms.abs() / rtt_ms).min(1.0);
        self.error = (self.error + (miss - self.error) * ERROR_SHARE * trust).clamp(ERROR_MIN, 1.0);
        let share = STEP_SHARE * trust * stiffness(rtt_ms) * belief(stretch_ms, rtt_ms.min(predicted_ms));
        self.step((share * stretch_ms).clamp(-STEP_MS_MAX, STEP_MS_MAX), away, remote);
        self.fall_to_origin(weight);
        self.stay_inside();
    }

    /// How much of a disagreement is ours to give in to: all of it when only the other end is sure.
    fn trust_in(&self, remote: &Coordinate) -> f64 {
        let theirs = f64::from(remote.error).clamp(ERROR_MIN, 1.0);
        self.error / (self.error + theirs)
    }

    fn away_from(&self, remote: &Coordinate) -> [f64; DIMENSIONS] {
        let mut away = self.position_ms;
        for (ours, theirs) in away.iter_mut().zip(remote.position_ms) {
            *ours -= f64::from(theirs);
        }
        away
    }

    /// Moves away from `remote` (towards it when negative); the height takes its share, as in the Vivaldi paper.
    fn step(&mut self, step_ms: f64, mut away: [f64; DIMENSIONS], remote: &Coordinate) {
        let mut flat_ms = norm(&away);
        if flat_ms < 1e-6 {
            // Two peers in one point push each other in a direction left to chance.
            away = core::array::from_fn(|_| self.rng.random_range(-1.0..1.0));
            flat_ms = norm(&away).max(1e-6);
        }
        let heights_ms = self.height_ms + f64::from(remote.height_ms);
        let length_ms = flat_ms + heights_ms;
        for (x, away) in self.position_ms.iter_mut().zip(away) {
            *x += step_ms * away / length_ms;
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
            *x = x.clamp(-POSITION_MS_MAX, POSITION_MS_MAX);
        }
        self.height_ms = self.height_ms.clamp(HEIGHT_MS_MIN, HEIGHT_MS_MAX);
    }
}

fn stiffness(rtt_ms: f64) -> f64 {
    (STIFF_MS / rtt_ms).min(1.0)
}

/// The weight of a spring that is off by `stretch_ms`, where `length_ms` is the shorter of what it is and should be.
fn belief(stretch_ms: f64, length_ms: f64) -> f64 {
    let off = stretch_ms / (length_ms + DOUBT_MS);
    1.0 / (1.0 + off * off)
}

fn norm(vector: &[f64; DIMENSIONS]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}
