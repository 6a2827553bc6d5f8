//! What a release costs, and what all of them together guarantee.
//!
//! Two measures: plain ε (pure differential privacy, where only ε-noise may be used), and ρ of zero-concentrated
//! differential privacy (Bun, Steinke 2016), which adds up and is told as (ε, δ). Both are counted in whole parts of 10^-12.
//!
//! **Invariant:** a cost is rounded up and a budget down, never the other way; costs are added exactly.

use serde::{Deserialize, Serialize};

use super::decimal::{Decimal, PLACES_MAX};

/// Parts that a whole ε or ρ has.
const WHOLE: i128 = 10i128.pow(PLACES_MAX);
/// No ε or ρ above it: what is published then hides nobody.
pub const EPSILON_MAX: i128 = 100;
/// What floating-point arithmetic may be off by here, with a large margin: each of a few dozen steps is off by some 1e-16.
const FLOAT_MARGIN: f64 = 1e-9;

/// An amount of ε or of ρ, in parts of 10^-12.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(pub u64);

impl Amount {
    /// A positive decimal up to [`EPSILON_MAX`].
    pub fn of(value: Decimal) -> Option<Self> {
        let parts = value.parts();
        let is_fit = value.is_positive() && parts <= EPSILON_MAX * WHOLE;
        u64::try_from(parts).ok().filter(|_| is_fit).map(Self)
    }

    /// As people read it.
    pub fn decimal(self) -> Decimal {
        Decimal::of_parts(i128::from(self.0))
    }
}

/// What a budget is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// ε of pure differential privacy.
    Epsilon,
    /// ρ of zero-concentrated differential privacy.
    Rho,
}

impl core::fmt::Display for Measure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Epsilon => "ε",
            Self::Rho => "ρ",
        })
    }
}

/// What one release costs, in each measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Nothing where it is not purely private, as with Gaussian noise.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<Amount>,
    /// Always known.
    #[serde(rename = "r")]
    pub rho: Amount,
}

impl Cost {
    /// Of ε-differentially private noise as Laplace's: ε²/2 (Bun, Steinke, Proposition 1.4).
    pub fn of_pure(epsilon: Amount) -> Self {
        Self { epsilon: Some(epsilon), rho: share_of_square(epsilon, 2) }
    }

    /// Of the exponential mechanism, whose losses lie within a range of ε: ε²/8 (Cesar, Rogers 2021).
    pub fn of_choice(epsilon: Amount) -> Self {
        Self { epsilon: Some(epsilon), rho: share_of_square(epsilon, 8) }
    }

    /// Of Gaussian noise that was made for this ρ.
    pub fn of_rho(rho: Amount) -> Self {
        Self { epsilon: None, rho }
    }

    /// In the measure of a budget.
    pub fn in_measure(self, measure: Measure) -> Option<Amount> {
        match measure {
            Measure::Epsilon => self.epsilon,
            Measure::Rho => Some(self.rho),
        }
    }
}

/// ε²/divisor, rounded up to a part.
fn share_of_square(epsilon: Amount, divisor: u128) -> Amount {
    let square = u128::from(epsilon.0) * u128::from(epsilon.0);
    let parts = square.div_ceil(divisor * WHOLE.unsigned_abs());
    Amount(u64::try_from(parts).unwrap_or(u64::MAX))
}

/// ε such that what is ρ-zCDP is (ε, δ)-differentially private; rounded up.
///
/// For every α > 1: ε = αρ + (ln(1/δ) + α ln(1 - 1/α) - ln(α - 1)) / (α - 1) (Canonne, Kamath, Steinke, section 2.3).
/// Any α gives a true statement, so that a search that misses the best one only tells a larger ε.
pub fn epsilon_of(rho: Amount, delta: Decimal) -> f64 {
    let (rho, delta) = (rho.decimal().to_f64(), delta.to_f64());
    if rho <= 0.0 {
        return 0.0;
    }
    let at = |log_excess: f64| {
        let excess = log_excess.exp();
        let alpha = 1.0 + excess;
        let gain = (1.0 / delta).ln() + alpha * (-1.0 / alpha).ln_1p() - log_excess;
        alpha * rho + gain / excess
    };
    let (mut low, mut high) = (-20.0f64, 40.0f64);
    for _ in 0..200 {
        let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if at(left) < at(right) {
            high = right;
        } else {
            low = left;
        }
    }
    (at(f64::midpoint(low, high)) * (1.0 + FLOAT_MARGIN) + FLOAT_MARGIN).max(0.0)
}

/// The greatest ρ that still is within (ε, δ); rounded down.
pub fn rho_within(epsilon: Amount, delta: Decimal) -> Amount {
    let target = epsilon.decimal().to_f64();
    // ρ is at most ε: the loss of privacy is ρ on average.
    let (mut low, mut high) = (0, epsilon.0);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if epsilon_of(Amount(middle), delta) <= target {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Amount(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::of(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn costs_are_the_textbook_ones_rounded_up() {
        assert_eq!(Cost::of_pure(amount("0.1")).rho, amount("0.005"));
        assert_eq!(Cost::of_choice(amount("1")).rho, amount("0.125"));
        assert_eq!(Cost::of_pure(amount("0.000001")).rho, Amount(1), "half a part counts as one");
        assert_eq!(Cost::of_pure(amount("0.1")).in_measure(Measure::Epsilon), Some(amount("0.1")));
        assert_eq!(Cost::of_rho(amount("0.1")).in_measure(Measure::Epsilon), None);
    }

    #[test]
    fn what_is_no_budget_is_none() {
        for text in ["0", "-1", "100.000000000001"] {
            assert_eq!(Amount::of(text.parse().unwrap()), None, "{text}");
        }
        assert_eq!(Amount::of("100".parse().unwrap()), Some(Amount(100_000_000_000_000)));
    }

    #[test]
    fn epsilon_is_tighter_than_the_simple_formula_and_never_below_what_the_gaussian_needs() {
        for (rho, delta) in [("0.005", "0.000001"), ("0.1", "0.000001"), ("0.5", "0.00001"), ("2", "0.000000001")] {
            let told = epsilon_of(amount(rho), delta.parse().unwrap());

            let (rho, delta): (f64, f64) = (rho.parse().unwrap(), delta.parse().unwrap());
            let simple = rho + 2.0 * (rho * (1.0 / delta).ln()).sqrt();
            assert!(told < simple, "{told} of {simple}");
            let needed = gaussian_epsilon(rho, delta);
            assert!(told >= needed, "{told} is less than the {needed} that a Gaussian of that ρ needs");
            assert!(told < 1.15 * needed + 0.1, "{told} is far above {needed}");
        }
    }

    /// The exact ε of a continuous Gaussian of this ρ (Balle, Wang 2018), by numerical integration of its privacy loss, which
    /// is normal with mean ρ and variance 2ρ.
    fn gaussian_epsilon(rho: f64, delta: f64) -> f64 {
        let deviation = (2.0 * rho).sqrt();
        let delta_of = |epsilon: f64| {
            let steps = 20_000;
            let (from, to) = (epsilon, rho + 14.0 * deviation);
            let width = (to - from) / f64::from(steps);
            let mut sum = 0.0;
            for step in 0..steps {
                let loss = from + (f64::from(step) + 0.5) * width;
                let z = (loss - rho) / deviation;
                sum += (1.0 - (epsilon - loss).exp()) * (-z * z / 2.0).exp() * width;
            }
            sum / (deviation * (2.0 * std::f64::consts::PI).sqrt())
        };
        let (mut low, mut high) = (0.0, 100.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if delta_of(middle) > delta { low = middle } else { high = middle }
        }
        low
    }

    #[test]
    fn a_budget_of_rho_is_the_most_that_keeps_the_epsilon_it_was_made_for() {
        for (epsilon, delta) in [("0.1", "0.000001"), ("1", "0.000001"), ("3", "0.00001"), ("100", "0.1")] {
            let (epsilon, delta) = (amount(epsilon), delta.parse().unwrap());

            let rho = rho_within(epsilon, delta);

            assert!(epsilon_of(rho, delta) <= epsilon.decimal().to_f64());
            assert!(epsilon_of(Amount(rho.0 + 1), delta) > epsilon.decimal().to_f64());
        }
    }
}
