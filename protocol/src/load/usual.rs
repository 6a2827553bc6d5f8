//! What a peer's start time is on average, and how soon what it says of itself is old.
//!
//! A digest is news for about as long as a run takes: then other tasks run and wait there. What is known of that time is
//! only what is usual. So a digest says both, and its readers go from the one to the other as it ages.

use core::time::Duration;

use crate::time::{Time, from_millis_f64, millis};

/// The average reaches back this many runs, and no less than [`SPAN_MIN_MS`].
const SPAN_RUNS: f64 = 15.0;
const SPAN_MIN_MS: f64 = 500.0;
/// Share of the newest run in the average run.
const RUN_GAIN: f64 = 0.05;

/// The averages of one executor.
#[derive(Debug, Default)]
pub(crate) struct Usual {
    at: Time,
    start_ms: f64,
    usual_ms: f64,
    run_ms: f64,
}

impl Usual {
    /// The queue changed: from now on a new task would start in `start_in`.
    pub(crate) fn changed(&mut self, now: Time, start_in: Duration) {
        self.usual_ms = self.at(now);
        self.at = now;
        self.start_ms = millis(start_in);
    }

    /// A run ended after this long.
    pub(crate) fn ran(&mut self, run: Duration) {
        let gain = if self.run_ms == 0.0 { 1.0 } else { RUN_GAIN };
        self.run_ms += gain * (millis(run) - self.run_ms);
    }

    /// What the start time was on average.
    pub(crate) fn start_in(&self, now: Time) -> Duration {
        from_millis_f64(self.at(now))
    }

    /// How long a run takes on average.
    pub(crate) fn run(&self) -> Duration {
        from_millis_f64(self.run_ms)
    }

    fn at(&self, now: Time) -> f64 {
        let passed = millis(now.since(self.at));
        if passed <= 0.0 {
            return self.usual_ms;
        }
        // It fell by a millisecond a millisecond, down to nothing.
        let mean = if passed <= self.start_ms {
            self.start_ms - passed / 2.0
        } else {
            self.start_ms * self.start_ms / (2.0 * passed)
        };
        let span = (SPAN_RUNS * self.run_ms).max(SPAN_MIN_MS);
        mean + (self.usual_ms - mean) * (-passed / span).exp()
    }
}
