//! How much this peer trusts its own ears (Lifeguard, Dadgar et al. 2018): one that is starved of CPU, or whose link
//! loses much, hears others late and must not call them dead for it.
//!
//! **Invariant:** the factor lies between 1 and [`SCALE_MAX`], and returns to 1 when nothing points at us any more.

use core::time::Duration;

use crate::time::Time;

/// Timeouts grow to no more than this many times their ordinary length.
const SCALE_MAX: f64 = 3.0;
const SCORE_MAX: u8 = 4;
/// One point is forgiven after this long without another.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3);

/// The score and when it last changed.
#[derive(Debug, Default)]
pub(super) struct LocalHealth {
    score: u8,
    changed: Time,
}

impl LocalHealth {
    /// Something points at us: we woke late, or somebody suspected us.
    pub(super) fn blame(&mut self, now: Time) {
        self.forgive(now);
        self.score = (self.score + 1).min(SCORE_MAX);
        self.changed = now;
    }

    /// What to multiply timeouts by.
    pub(super) fn scale(&mut self, now: Time) -> f64 {
        self.forgive(now);
        1.0 + (SCALE_MAX - 1.0) * f64::from(self.score) / f64::from(SCORE_MAX)
    }

    fn forgive(&mut self, now: Time) {
        while self.score > 0 && now.since(self.changed) >= FORGIVEN_AFTER {
            self.score -= 1;
            self.changed += FORGIVEN_AFTER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blame_is_bounded_and_forgiven() {
        let mut health = LocalHealth::default();
        assert!((health.scale(Time::ZERO) - 1.0).abs() < f64::EPSILON);

        for _ in 0..100 {
            health.blame(Time::from_millis(500));
        }
        assert!((health.scale(Time::from_millis(500)) - SCALE_MAX).abs() < f64::EPSILON);

        let later = Time::from_millis(500) + FORGIVEN_AFTER * u32::from(SCORE_MAX);
        assert!((health.scale(later) - 1.0).abs() < f64::EPSILON);
    }
}
