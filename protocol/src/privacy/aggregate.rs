//! From what was added up to figures that may leave: noise in proportion to what one subject can change.
//!
//! | question | one subject changes it by at most | noise |
//! |---|---|---|
//! | count, a histogram | k, its rows (in all cells together) | Laplace k/ε, or Gaussian σ² = k²/2ρ, in each cell |
//! | subjects | 1 | the same with 1 |
//! | sum | k · the bound farther from 0 | the same |
//! | mean | k · the width of the bounds, for the centred sum; k for the count | half of ε or ρ for each |
//! | quantile | k · max(q, 1-q) in rank | the exponential mechanism |
//!
//! **Invariant:** noise is added to whole numbers, by exact samplers; rounding and division come afterwards.

use num_bigint::BigUint;

use super::bits::{Bits, SampleError};
use super::decimal::{Decimal, PLACES_MAX};
use super::query::{Measurement, Query, Strength};
use super::release::Figure;
use super::rows::{Read, Tally};
use super::sampling::{bernoulli_exp, gaussian, laplace};

/// Parts that a whole ε or ρ has.
const WHOLE: u128 = 10u128.pow(PLACES_MAX);
/// Tries for each point of a grid until one is chosen: at least one in so many is, so P(more) ≤ exp(-512).
const TRIES_PER_POINT: u32 = 512;
/// Figures of a mean behind those of its resolution.
const MEAN_PLACES: u32 = 2;

/// Noise for something that one subject changes by at most `sensitivity`, from one part in `parts` of ε or ρ.
#[derive(Debug, Clone, Copy)]
struct Blur {
    strength: Strength,
    sensitivity: u128,
    parts: u128,
}

impl Blur {
    fn draw(self, bits: &mut Bits<'_>) -> Result<i128, SampleError> {
        let Self { strength, sensitivity, parts } = self;
        match strength {
            Strength::Epsilon(epsilon) => laplace(sensitivity * parts * WHOLE, u128::from(epsilon.0), bits),
            Strength::Rho(rho) => {
                let numerator = BigUint::from(sensitivity) * sensitivity * parts * WHOLE;
                gaussian(&numerator, &BigUint::from(2 * u128::from(rho.0)), bits)
            }
        }
    }

    /// What the noise exceeds, either way, with a probability of at most `tail`; in steps, rounded up.
    fn reach(self, tail: f64) -> f64 {
        let (sensitivity, parts) = (self.sensitivity as f64, self.parts as f64);
        match self.strength {
            Strength::Epsilon(epsilon) => {
                let scale = sensitivity * parts / epsilon.decimal().to_f64();
                let ratio = (-1.0 / scale).exp();
                (scale * (2.0 / (tail * (1.0 + ratio))).ln() - 1.0).ceil().max(0.0)
            }
            Strength::Rho(rho) => {
                let deviation = sensitivity * (parts / (2.0 * rho.decimal().to_f64())).sqrt();
                // P(|x| ≥ m) is at most what the normal distribution has from m - 1 on (Canonne, Kamath, Steinke).
                let z = if tail < 0.05 { 2.2415 } else { 1.96 };
                (z * deviation).ceil()
            }
        }
    }
}

impl Read<'_> {
    /// Blurs it: what comes out may leave, once it is paid for.
    pub fn blur(self, bits: &mut Bits<'_>) -> Result<Vec<Figure>, SampleError> {
        let Self { measurement, tally } = self;
        let value = &measurement.terms.declared.value;
        match tally {
            Tally::Rows(rows) => Ok(vec![measurement.counted("rows", rows, measurement.rows(), bits)?]),
            Tally::Subjects(subjects) => Ok(vec![measurement.counted("subjects", subjects, 1, bits)?]),
            Tally::Sum(sum) => {
                let bound = measurement.terms.lower.unsigned_abs().max(measurement.terms.upper.unsigned_abs());
                let blur = measurement.blur_of(measurement.rows() * bound, 1);
                let noisy = sum.saturating_add(blur.draw(bits)?);
                Ok(vec![Figure {
                    name: "sum".into(),
                    value: value.decimal(noisy),
                    unit: value.unit.clone(),
                    error_95: Decimal::above(blur.reach(0.05) * value.resolution.to_f64(), value.resolution.places()),
                    error_unit: value.unit.clone(),
                }])
            }
            Tally::Centred { sum, rows } => Ok(vec![measurement.mean(sum, rows, bits)?]),
            Tally::Cells(cells) => {
                let names = measurement.cell_names();
                let cells = names.into_iter().zip(cells);
                cells.map(|(name, rows)| measurement.counted(&name, rows, measurement.rows(), bits)).collect()
            }
            Tally::Ranks(points) => Ok(vec![measurement.quantile(&points, bits)?]),
        }
    }
}

impl Measurement<'_> {
    fn rows(&self) -> u128 {
        u128::from(self.terms.declared.rows_per_subject)
    }

    fn blur_of(&self, sensitivity: u128, parts: u128) -> Blur {
        Blur { strength: self.strength, sensitivity, parts }
    }

    fn counted(&self, name: &str, exact: i128, sensitivity: u128, bits: &mut Bits<'_>) -> Result<Figure, SampleError> {
        let blur = self.blur_of(sensitivity, 1);
        let noisy = exact.saturating_add(blur.draw(bits)?);
        let unit = if name == "subjects" { String::new() } else { "rows".into() };
        let error_95 = Decimal::above(blur.reach(0.05), 0);
        Ok(Figure { name: name.into(), value: Decimal::new(noisy, 0), unit: unit.clone(), error_95, error_unit: unit })
    }

    /// Half of the cost for the sum of what lies above and below the middle of the bounds, half for the count.
    fn mean(&self, sum: i128, rows: i128, bits: &mut Bits<'_>) -> Result<Figure, SampleError> {
        let (terms, value) = (self.terms, &self.terms.declared.value);
        let width = terms.upper - terms.lower;
        let sum_blur = self.blur_of(self.rows() * width.unsigned_abs(), 2);
        let rows_blur = self.blur_of(self.rows(), 2);
        let sum = sum.saturating_add(sum_blur.draw(bits)?);
        let rows = rows.saturating_add(rows_blur.draw(bits)?).max(1);
        let fine = 10i128.pow(MEAN_PLACES);
        // In half steps from here to the division: the middle of the bounds may lie between two.
        let off = sum.saturating_mul(fine) / rows;
        let middle = (terms.lower + terms.upper) * fine;
        let mean = ((middle + off) / 2).clamp(terms.lower * fine, terms.upper * fine);
        let resolution = value.resolution;
        let places = resolution.places() + MEAN_PLACES;
        let ratio = (sum as f64 / rows as f64).abs().min(width as f64);
        let least = (rows as f64 - rows_blur.reach(0.025)).max(1.0);
        let error = ((sum_blur.reach(0.025) + ratio * rows_blur.reach(0.025)) / (2.0 * least)).min(width as f64);
        Ok(Figure {
            name: "mean".into(),
            value: Decimal::new(mean.saturating_mul(resolution.digits()), places),
            unit: value.unit.clone(),
            error_95: Decimal::above(error * resolution.to_f64(), places),
            error_unit: value.unit.clone(),
        })
    }

    fn cell_names(&self) -> Vec<String> {
        let Query::Histogram(edges) = &self.query else { return Vec::new() };
        let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
            return self.terms.declared.groups.clone();
        };
        let between = edges.iter().zip(edges.iter().skip(1)).map(|(from, to)| format!("{from} to {to}"));
        core::iter::once(format!("below {first}")).chain(between).chain([format!("from {last}")]).collect()
    }

    /// Chooses a point with probability proportional to exp(-ε · loss / 2Δ), the loss being how far in rank it is from the
    /// share that was asked for: points are proposed evenly, and taken with that probability.
    fn quantile(&self, points: &[(i128, i128)], bits: &mut Bits<'_>) -> Result<Figure, SampleError> {
        let (terms, value) = (self.terms, &self.terms.declared.value);
        let (Query::Quantile { share, .. }, Strength::Epsilon(epsilon)) = (&self.query, self.strength) else {
            return Err(SampleError::NoBits("a quantile is chosen with ε".into()));
        };
        let (part, whole) = (share.digits(), 10i128.pow(share.places()));
        let losses = rank_losses(points, part, whole);
        let least = losses.iter().min().copied().unwrap_or_default();
        let sensitivity = self.rows() * part.max(whole - part).unsigned_abs();
        let count = points.len() as u128;
        for _ in 0..TRIES_PER_POINT.saturating_mul(points.len() as u32) {
            let at = usize::try_from(bits.below(count)?).unwrap_or_default();
            let loss = losses.get(at).map_or(0, |loss| loss - least).unsigned_abs();
            // The least loss is taken from all: that changes no proportion.
            if !bernoulli_exp(u128::from(epsilon.0) * loss, 2 * sensitivity * WHOLE, bits)? {
                continue;
            }
            let steps = terms.lower + at as i128 * self.grid.step;
            let scale = 2.0 * sensitivity as f64 / whole as f64 / epsilon.decimal().to_f64();
            return Ok(Figure {
                name: format!("quantile {share}"),
                value: value.decimal(steps),
                unit: value.unit.clone(),
                error_95: Decimal::above(scale * (20.0 * count as f64).ln(), 0),
                error_unit: "rows in rank, beside the steps of the grid".into(),
            });
        }
        Err(SampleError::NotRandom)
    }
}

/// For each point, how far it is from being at the share `part/whole`, in rows, times `whole`: nothing where so many are at
/// most it and so many at least.
fn rank_losses(points: &[(i128, i128)], part: i128, whole: i128) -> Vec<i128> {
    let rows: i128 = points.iter().map(|(at, after)| at + after).sum();
    let wanted = part * rows;
    let mut below = 0;
    let loss = |(at, after): &(i128, i128)| {
        let up_to = below + at;
        let loss = (wanted - whole * up_to).max(whole * below - wanted).max(0);
        below = up_to + after;
        loss
    };
    points.iter().map(loss).collect()
}

#[cfg(test)]
#[path = "aggregate_tests.rs"]
mod tests;
