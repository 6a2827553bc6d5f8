//! Logistic regression with a quadratic penalty, fitted by Newton's method with halved steps (iteratively reweighted least squares; Hastie,
//! Tibshirani, Friedman, "The Elements of Statistical Learning", 4.4.1).
//!
//! The penalised loss is strictly convex, so there is one answer; a fixed order of sums makes it the same to the last bit.

use crate::math;

/// Of the square of a weight, halved: as much as one row of evidence.
const PENALTY: f64 = 1.0;
/// The intercept is free but for this, which keeps it finite where all labels are equal.
const PENALTY_INTERCEPT: f64 = 0.01;
/// Newton's method doubles the digits a step; a fit of well-scaled columns takes 5 to 8.
const STEPS_MAX: usize = 50;
const HALVINGS_MAX: usize = 40;
/// A gradient this small, a row, is none.
const GRADIENT_MIN: f64 = 1e-10;

/// A weight for each column, then the intercept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model(pub(super) Vec<f64>);

impl Model {
    pub(super) fn probability(&self, row: &[f64]) -> f64 {
        math::logistic(self.score(row))
    }

    fn score(&self, row: &[f64]) -> f64 {
        let mut sum = self.0.last().copied().unwrap_or(0.0);
        for (weight, value) in self.0.iter().zip(row) {
            sum += weight * value;
        }
        sum
    }

    /// The penalised sum of log losses.
    fn loss(&self, rows: &[(&[f64], f64)]) -> f64 {
        let mut sum = 0.0;
        for (row, label) in rows {
            let score = self.score(row);
            sum += score.max(0.0) + math::ln(1.0 + math::exp(-score.abs())) - label * score;
        }
        for (place, weight) in self.0.iter().enumerate() {
            sum += 0.5 * penalty(place, self.0.len()) * weight * weight;
        }
        sum
    }
}

/// Fits labels (0 or 1) to rows of equal length; no rows give a model that knows nothing.
pub(super) fn fit(rows: &[(&[f64], f64)]) -> Result<Model, String> {
    let size = rows.first().map_or(0, |(row, _)| row.len()) + 1;
    let mut model = Model(vec![0.0; size]);
    let mut loss = model.loss(rows);
    for _ in 0..STEPS_MAX {
        let (gradient, mut curvature) = derivatives(&model, rows);
        let steepest = gradient.iter().fold(0.0f64, |steepest, slope| steepest.max(slope.abs()));
        if steepest <= GRADIENT_MIN * rows.len() as f64 {
            break;
        }
        let step = solve(&mut curvature, gradient).ok_or_else(too_large)?;
        match shorter(&model, &step, loss, rows) {
            Some(next) => (model, loss) = next,
            // No step in this direction is better: that is as near as numbers get.
            None => break,
        }
    }
    if loss.is_finite() {
        Ok(model)
    } else {
        Err(too_large())
    }
}

fn too_large() -> String {
    "the values are too large to be fitted: standardise them first".to_owned()
}

/// The step, or the first of its halves, quarters, … that lowers the loss.
fn shorter(model: &Model, step: &[f64], loss: f64, rows: &[(&[f64], f64)]) -> Option<(Model, f64)> {
    let mut share = 1.0;
    for _ in 0..HALVINGS_MAX {
        let next = Model(model.0.iter().zip(step).map(|(weight, step)| weight - share * step).collect());
        let next_loss = next.loss(rows);
        if next_loss < loss {
            return Some((next, next_loss));
        }
        share /= 2.0;
    }
    None
}

/// Gradient, and the lower triangle of the Hessian, row after row.
fn derivatives(model: &Model, rows: &[(&[f64], f64)]) -> (Vec<f64>, Vec<f64>) {
    let size = model.0.len();
    let mut gradient = vec![0.0; size];
    let mut curvature = vec![0.0; size * size];
    let mut extended = vec![1.0; size];
    for (row, label) in rows {
        let probability = model.probability(row);
        let (off, weight) = (probability - label, probability * (1.0 - probability));
        extended[..size - 1].copy_from_slice(row);
        for (i, value) in extended.iter().enumerate() {
            gradient[i] += off * value;
            for (sum, other) in curvature[i * size..].iter_mut().zip(&extended[..=i]) {
                *sum += weight * value * other;
            }
        }
    }
    for (i, weight) in model.0.iter().enumerate() {
        gradient[i] += penalty(i, size) * weight;
        curvature[i * size + i] += penalty(i, size);
    }
    (gradient, curvature)
}

fn penalty(place: usize, size: usize) -> f64 {
    if place + 1 == size {
        PENALTY_INTERCEPT
    } else {
        PENALTY
    }
}

/// Solves `matrix · x = right` by Cholesky's method in place; nothing where the matrix is not positive definite.
fn solve(matrix: &mut [f64], mut right: Vec<f64>) -> Option<Vec<f64>> {
    let size = right.len();
    for i in 0..size {
        for j in 0..=i {
            let mut sum = matrix[i * size + j];
            for k in 0..j {
                sum -= matrix[i * size + k] * matrix[j * size + k];
            }
            if i != j {
                matrix[i * size + j] = sum / matrix[j * size + j];
            } else if sum > 0.0 && sum.is_finite() {
                matrix[i * size + i] = sum.sqrt();
            } else {
                return None;
            }
        }
    }
    for i in 0..size {
        for k in 0..i {
            right[i] -= matrix[i * size + k] * right[k];
        }
        right[i] /= matrix[i * size + i];
    }
    for i in (0..size).rev() {
        for k in i + 1..size {
            right[i] -= matrix[k * size + i] * right[k];
        }
        right[i] /= matrix[i * size + i];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let mut matrix = vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 1.0, 3.0, 6.0];

        let x = solve(&mut matrix, vec![9.0, 16.0, 25.0]).unwrap();

        let left =
            [4.0 * x[0] + 2.0 * x[1] + x[2], 2.0 * x[0] + 5.0 * x[1] + 3.0 * x[2], x[0] + 3.0 * x[1] + 6.0 * x[2]];
        assert!(left.iter().zip([9.0, 16.0, 25.0]).all(|(left, right)| (left - right).abs() < 1e-12), "{left:?}");
        assert_eq!(solve(&mut [0.0], vec![1.0]), None);
    }

    #[test]
    fn the_fit_has_no_slope_left() {
        let rows: Vec<[f64; 2]> = (0..50).map(|n| [f64::from(n % 7) - 3.0, f64::from(n % 11) / 5.0 - 1.0]).collect();
        let labelled: Vec<(&[f64], f64)> = rows
            .iter()
            .enumerate()
            .map(|(n, row)| (&row[..], f64::from(u8::from(row[0] > 0.0 || n % 5 == 0))))
            .collect();

        let model = fit(&labelled).unwrap();

        let (gradient, _) = derivatives(&model, &labelled);
        assert!(gradient.iter().all(|slope| slope.abs() < 1e-6), "{gradient:?}");
        assert!(model.0[0] > 0.3, "{model:?}");
    }

    #[test]
    fn numbers_without_measure_are_an_error_and_not_a_panic() {
        let rows: [(&[f64], f64); 2] = [(&[1e200], 1.0), (&[-1e200], 0.0)];

        assert!(fit(&rows).is_err());
        assert_eq!(fit(&[]), Ok(Model(vec![0.0])));
    }
}
