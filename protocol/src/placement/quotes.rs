//! How much longer a peer's runs take than was expected of it, as far as that is more than chance.
//!
//! Single estimates are far off, by a third and more. A plain average of what they were off by makes some peers look a few
//! percent faster than their equals, which is as much as the way to the next cloud, and sends work there. So an average
//! counts only by what it is away from nothing beyond its own error: a peer that is really slow is soon known, and equals
//! stay equal.

/// Runs that the averages reach back to.
const RUNS: f64 = 100.0;
/// An average is believed beyond this many of its standard errors.
const ERRORS: f64 = 2.0;
/// Spread of the logarithm of a single ratio that is assumed until runs have shown it.
const SPREAD: f64 = 0.4;
/// Runs that this assumption is worth.
const SPREAD_RUNS: f64 = 5.0;
/// A factor is held between this and its inverse, so that one outlier cannot ban or crown a peer.
const FACTOR_MAX: f64 = 8.0;

/// What is known of one peer's quotes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct QuoteError {
    runs: f64,
    mean_ln: f64,
    variance: f64,
}

impl QuoteError {
    /// A run took this many times as long as was expected.
    pub(super) fn add(&mut self, ratio: f64) {
        let ln = ratio.clamp(1.0 / FACTOR_MAX, FACTOR_MAX).ln();
        self.runs = (self.runs + 1.0).min(RUNS);
        let gain = 1.0 / self.runs;
        let off = ln - self.mean_ln;
        self.mean_ln += gain * off;
        // West's incremental variance, whose past fades once there are enough runs.
        self.variance += gain * (off * (ln - self.mean_ln) - self.variance);
    }

    /// What to multiply the next expectation by, beyond what expectations are off by at `all` peers.
    pub(super) fn factor(&self, all: &Self) -> f64 {
        if self.runs == 0.0 {
            return 1.0;
        }
        let assumed = SPREAD * SPREAD * SPREAD_RUNS;
        let variance = (self.variance * self.runs + assumed) / (self.runs + SPREAD_RUNS);
        let chance = ERRORS * (variance / self.runs).sqrt();
        let beyond = self.mean_ln - all.mean_ln;
        if beyond.abs() <= chance {
            return 1.0; // as most are: every ranking asks for each peer
        }
        (beyond.signum() * (beyond.abs() - chance)).exp()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn after(ratios: impl Iterator<Item = f64>) -> f64 {
        let mut error = QuoteError::default();
        ratios.for_each(|ratio| error.add(ratio));
        error.factor(&QuoteError::default())
    }

    #[test]
    fn a_peer_that_keeps_missing_its_quotes_is_reckoned_slower() {
        assert!((2.5..=3.0).contains(&after([3.0; 50].into_iter())));
        assert!(after([3.0; 4].into_iter()) > 1.2, "and soon");
        assert!((0.33..0.4).contains(&after([1.0 / 3.0; 50].into_iter())));
    }

    #[test]
    fn chance_makes_no_peer_look_faster_than_its_equals() {
        let mut rng = rand_pcg::Pcg32::seed_from_u64(1);
        let mut factors = (0..200).map(|_| after((0..300).map(|_| rng.random_range(-0.5..0.5f64).exp())));

        assert!(factors.all(|factor| (factor - 1.0).abs() < 0.06));
    }

    #[test]
    fn what_all_expectations_are_off_by_is_no_peers_fault() {
        let mut error = QuoteError::default();
        (0..100).for_each(|_| error.add(1.5));

        assert_eq!(error.factor(&error), 1.0);
    }

    #[test]
    fn one_outlier_bans_nobody() {
        assert_eq!(after([1e9].into_iter()).min(4.0), after([8.0].into_iter()).min(4.0));
        assert!(after([1.0; 50].into_iter().chain([1e9])) < 1.05);
    }
}
