//! An engine's condition: what its sensors say lately, over several spans, and how fast that changes.

use super::model::{MEAN, SPREAD};
use super::rows::{Reading, SENSORS};

/// Averages are taken over the last so many cycles. Short ones follow, long ones are calm.
pub const SPANS: [usize; 4] = [5, 15, 30, 50];
/// Cycles the slope is fitted over.
const SLOPE: usize = 40;
/// The engine's own beginning: engines leave the factory unequally worn.
const BEGINNING: usize = 10;
/// All the numbers: averages, slope and beginning of each sensor, and the engine's age.
pub const NUMBERS: usize = SENSORS.len() * (SPANS.len() + 2) + 1;
/// Digits after the point that a condition is sent with.
pub const PLACES: usize = 3;

pub type Condition = Vec<f64>;

/// The condition after the last of `readings`, of which there is at least one.
pub fn of(readings: &[Reading]) -> Condition {
    let mut numbers = Vec::with_capacity(NUMBERS);
    for span in SPANS {
        let window = &readings[readings.len().saturating_sub(span)..];
        numbers.extend(normal(&mean(window)));
    }
    numbers.extend(slopes(&readings[readings.len().saturating_sub(SLOPE)..]));
    numbers.extend(normal(&mean(&readings[..readings.len().min(BEGINNING)])));
    numbers.push(readings.len() as f64 / 100.0);
    numbers
}

/// The averages over [`SPANS`] number `span` within a condition.
pub fn averages(condition: &[f64], span: usize) -> &[f64] {
    &condition[span * SENSORS.len()..(span + 1) * SENSORS.len()]
}

fn mean(window: &[Reading]) -> Reading {
    let mut sums = [0.0; SENSORS.len()];
    for reading in window {
        sums.iter_mut().zip(reading).for_each(|(sum, value)| *sum += value);
    }
    sums.iter_mut().for_each(|sum| *sum /= window.len() as f64);
    sums
}

/// In spreads of the sensor around its average over all engines that were learnt from.
fn normal(reading: &Reading) -> Reading {
    let mut normal = *reading;
    for (sensor, value) in normal.iter_mut().enumerate() {
        *value = (*value - MEAN[sensor]) / SPREAD[sensor];
    }
    normal
}

/// Least squares slopes, as the change over [`SLOPE`] cycles.
fn slopes(window: &[Reading]) -> Reading {
    let middle = (window.len() - 1) as f64 / 2.0;
    let mut sums = [0.0; SENSORS.len()];
    let mut squares = 0.0;
    for (cycle, reading) in window.iter().enumerate() {
        let distance = cycle as f64 - middle;
        squares += distance * distance;
        for (sensor, sum) in sums.iter_mut().enumerate() {
            *sum += distance * reading[sensor] / SPREAD[sensor];
        }
    }
    if squares > 0.0 {
        sums.iter_mut().for_each(|sum| *sum *= SLOPE as f64 / squares);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rise_has_its_slope_and_one_cycle_has_none() {
        let rising: Vec<Reading> = (0..60).map(|cycle| [f64::from(cycle); SENSORS.len()]).collect();

        let condition = of(&rising);

        assert_eq!(condition.len(), NUMBERS);
        let slope = condition[SPANS.len() * SENSORS.len()];
        assert!((slope - SLOPE as f64 / SPREAD[0]).abs() < 1e-9, "{slope}");
        assert_eq!(condition[NUMBERS - 1], 0.6);
        assert_eq!(of(&rising[..1])[SPANS.len() * SENSORS.len()], 0.0);
    }
}
