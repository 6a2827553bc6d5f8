//! Bytes a second, over a moment and over minutes.
//!
//! **Invariant:** a few numbers, however much is counted; what lies back longer than a window counts for less and less.

use core::time::Duration;

use crate::time::Time;

/// What flows now.
pub(super) const MOMENT: Duration = Duration::from_secs(10);
/// What flows lately.
pub(super) const LATELY: Duration = Duration::from_secs(300);

/// What was counted, forgotten exponentially.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    at: Time,
    moment: f64,
    lately: f64,
    total: u64,
}

impl Meter {
    /// So many bytes went by.
    pub(super) fn count(&mut self, now: Time, bytes: u64) {
        self.moment = left(self.moment, now.since(self.at), MOMENT) + bytes as f64;
        self.lately = left(self.lately, now.since(self.at), LATELY) + bytes as f64;
        self.total = self.total.saturating_add(bytes);
        self.at = now;
    }

    /// Bytes a second now.
    pub(super) fn now(&self, now: Time) -> f64 {
        left(self.moment, now.since(self.at), MOMENT) / MOMENT.as_secs_f64()
    }

    /// Bytes a second lately.
    pub(super) fn lately(&self, now: Time) -> f64 {
        left(self.lately, now.since(self.at), LATELY) / LATELY.as_secs_f64()
    }

    /// All bytes since the start.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

fn left(bytes: f64, age: Duration, window: Duration) -> f64 {
    bytes * (-age.as_secs_f64() / window.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_is_measured_as_what_it_is_and_a_past_one_fades() {
        let mut meter = Meter::default();
        (0..3_000).for_each(|second| meter.count(Time::from_millis(second * 1_000), 1_000));
        let end = Time::from_millis(2_999_000);

        assert!((meter.now(end) - 1_000.0).abs() < 60.0, "{}", meter.now(end));
        assert!((meter.lately(end) - 1_000.0).abs() < 10.0, "{}", meter.lately(end));
        assert!(meter.now(end + MOMENT * 5) < 10.0 && meter.lately(end + MOMENT * 5) > 800.0);
        assert_eq!(meter.total(), 3_000_000);
    }
}
