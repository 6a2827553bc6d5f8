//! How long to wait before a broker is tried again.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// Pauses that double, each between a half and all of what it could be: peers that lost one broker do not return together.
#[derive(Debug, Default)]
pub(in crate::streams) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked.
    pub(in crate::streams) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next pause.
    pub(in crate::streams) fn pause(&mut self) -> Duration {
        let longest = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // Without randomness, the whole pause is as good.
        let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
        longest.mul_f64(0.5 + share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
        for failures in 0..40_u32 {
            let longest = FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST);
            let pause = backoff.pause();
            assert!((longest / 2..=longest).contains(&pause), "{pause:?} after {failures}");
        }

        backoff.reset();

        assert!(backoff.pause() <= FIRST);
    }
}
