//! How many tasks arrive at an executor lately.

use crate::time::{Time, millis};

/// The average reaches back this far.
const SPAN_MS: f64 = 300.0;

/// The rate of arrivals of one executor.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    at: Time,
    per_ms: f64,
}

impl Arrivals {
    /// A task arrived to be run here.
    pub(crate) fn one(&mut self, now: Time) {
        self.per_ms = self.at(now) + 1.0 / SPAN_MS;
        self.at = now;
    }

    /// Arrivals in a thousand seconds.
    pub(crate) fn per_ks(&self, now: Time) -> u32 {
        (self.at(now) * 1e6).round() as u32
    }

    fn at(&self, now: Time) -> f64 {
        self.per_ms * (-millis(now.since(self.at)) / SPAN_MS).exp()
    }
}
