//! Figures of a set of durations, exact: nearest rank.

use std::time::Duration;

use serde::Serialize;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    /// Nothing where there is nothing.
    pub(crate) fn of(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut sorted: Vec<f64> = durations.into_iter().map(millis).collect();
        sorted.sort_by(f64::total_cmp);
        let max_ms = *sorted.last()?;
        Some(Self {
            mean_ms: tenths(sorted.iter().sum::<f64>() / sorted.len() as f64),
            p50_ms: rank(&sorted, 0.50),
            p99_ms: rank(&sorted, 0.99),
            max_ms,
        })
    }
}

/// Milliseconds to a tenth: what lies below is the clock, not the mesh.
pub(super) fn millis(duration: Duration) -> f64 {
    tenths(duration.as_secs_f64() * 1_000.0)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn rank(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let latency = Latency::of((1..=200).map(Duration::from_millis)).unwrap();

        assert_eq!(latency, Latency { mean_ms: 100.5, p50_ms: 100.0, p99_ms: 198.0, max_ms: 200.0 });
        assert_eq!(Latency::of([]), None);
        let one = Latency::of([Duration::from_micros(1_260)]).unwrap();
        assert_eq!(one, Latency { mean_ms: 1.3, p50_ms: 1.3, p99_ms: 1.3, max_ms: 1.3 });
    }
}
