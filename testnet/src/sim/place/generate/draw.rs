//! Random quantities.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};

/// Lognormal: its logarithm is normal with this mean and deviation.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Lognormal {
    mu: f64,
    sigma: f64,
}

impl Lognormal {
    pub(in crate::sim) fn with_mean(mean: f64, sigma: f64) -> Self {
        Self { mu: mean.ln() - sigma * sigma / 2.0, sigma }
    }

    pub(in crate::sim) fn with_median(median: f64, sigma: f64) -> Self {
        Self { mu: median.ln(), sigma }
    }

    pub(in crate::sim) fn draw(&self, rng: &mut impl Rng) -> f64 {
        // Box and Muller; 1 - [0, 1) keeps the logarithm finite.
        let (a, b) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
        let normal = (-2.0 * a.ln()).sqrt() * (TAU * b).cos();
        (self.mu + self.sigma * normal).exp()
    }
}

pub(super) fn exponential<R: Rng>(mean: f64) -> impl Fn(&mut R) -> f64 {
    move |rng| -(1.0 - rng.random::<f64>()).ln() * mean
}

/// Of mean 1 and this coefficient of variation, 1 or more: mostly short, now and then long, each making up half of the sum.
pub(super) fn hyperexponential<R: Rng>(cv: f64) -> impl Fn(&mut R) -> f64 {
    let squared = cv.max(1.0).powi(2);
    let short_share = (1.0 + ((squared - 1.0) / (squared + 1.0)).sqrt()) / 2.0;
    move |rng| {
        let share = if rng.random::<f64>() < short_share { short_share } else { 1.0 - short_share };
        exponential(0.5 / share)(rng)
    }
}

/// From a number in [0, 1) to an index, each as likely as its weight says.
pub(super) fn weighted(weights: &[f64]) -> impl Fn(f64) -> usize + use<> {
    let mut sum = 0.0;
    let sums: Vec<f64> = weights
        .iter()
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect();
    move |at| sums.partition_point(|upto| *upto <= at * sum).min(sums.len().saturating_sub(1))
}
