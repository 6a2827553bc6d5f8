//! Exact samplers of the discrete Laplace and the discrete Gaussian distribution (Canonne, Kamath, Steinke 2020), on whole
//! numbers only: no probability is rounded, so that what the theory says of the noise is true of the program.
//!
//! OpenDP has them too, with half a database engine around; `prio` has the Gaussian, behind a feature named `experimental`
//! and inside a cryptographic protocol. Three short algorithms are less to carry than either.
//!
//! **Invariant:** each loop that random bits could keep up ends after a bound that honest ones reach with a probability
//! that stands beside it; reaching it is an error, never a sample.
//! **Not here:** time. How long a draw takes depends on what is drawn.

use num_bigint::{BigInt, BigUint};

use super::bits::{Bits, SampleError};

/// Successes in a row of probability 1/k each: P(more) ≤ 1/64! < 2^-295.
const FACTORIAL_MAX: u128 = 64;
/// Successes in a row of probability exp(-1) each: P(more) = exp(-512) < 2^-738.
const POWERS_MAX: u128 = 512;
/// Draws until one is taken: each is with a probability above 0.3, so P(more) < 0.7^1024 < 2^-526.
const DRAWS_MAX: u32 = 1_024;

/// True with probability exp(-numerator/denominator); the fraction is at most 1.
fn exp_of_proper(numerator: u128, denominator: u128, bits: &mut Bits<'_>) -> Result<bool, SampleError> {
    for k in 1..=FACTORIAL_MAX {
        if bits.below(denominator.saturating_mul(k))? >= numerator {
            return Ok(k % 2 == 1);
        }
    }
    Err(SampleError::NotRandom)
}

/// The same of fractions of any size, also above 1.
fn exp_of(numerator: &BigUint, denominator: &BigUint, bits: &mut Bits<'_>) -> Result<bool, SampleError> {
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    for power in 0..=POWERS_MAX {
        if BigUint::from(power) >= whole {
            break;
        }
        if power == POWERS_MAX {
            return Err(SampleError::NotRandom);
        }
        if !exp_of_proper(1, 1, bits)? {
            return Ok(false);
        }
    }
    for k in 1..=FACTORIAL_MAX {
        if bits.below_big(&(denominator * k))? >= rest {
            return Ok(k % 2 == 1);
        }
    }
    Err(SampleError::NotRandom)
}

/// True with probability exp(-numerator/denominator), for fractions of any size.
pub fn bernoulli_exp(numerator: u128, denominator: u128, bits: &mut Bits<'_>) -> Result<bool, SampleError> {
    exp_of(&numerator.into(), &denominator.into(), bits)
}

/// A whole number x with probability proportional to exp(-|x| · s / t): the discrete Laplace distribution of scale t/s.
/// Both are above 0, and t is below 2^100.
pub fn laplace(t: u128, s: u128, bits: &mut Bits<'_>) -> Result<i128, SampleError> {
    for _ in 0..DRAWS_MAX {
        let low = bits.below(t)?;
        if !exp_of_proper(low, t, bits)? {
            continue;
        }
        let mut high = 0;
        while exp_of_proper(1, 1, bits)? {
            high += 1;
            if high > POWERS_MAX {
                return Err(SampleError::NotRandom);
            }
        }
        let size = (low + t.saturating_mul(high)) / s;
        let is_negative = bits.coin()?;
        // Zero has no sign: it would be drawn twice as often.
        if is_negative && size == 0 {
            continue;
        }
        let size = i128::try_from(size).unwrap_or(i128::MAX);
        return Ok(if is_negative { -size } else { size });
    }
    Err(SampleError::NotRandom)
}

/// A whole number x with probability proportional to exp(-x² / (2σ²)), σ² being the fraction of these two, both above 0:
/// the discrete Gaussian distribution.
pub fn gaussian(numerator: &BigUint, denominator: &BigUint, bits: &mut Bits<'_>) -> Result<i128, SampleError> {
    // σ rounded down, and one more: any whole number would be right, and this one takes most draws.
    let scale = (numerator / denominator).sqrt() + 1u8;
    let t = u128::try_from(&scale).unwrap_or(u128::MAX);
    let wide = BigInt::from(denominator * &scale);
    let centre = BigInt::from(numerator.clone());
    let spread = BigUint::from(2u8) * numerator * denominator * &scale * &scale;
    for _ in 0..DRAWS_MAX {
        let drawn = laplace(t, 1, bits)?;
        // It is taken with probability exp(-(|x| - σ²/t)² / (2σ²)).
        let off = BigInt::from(drawn.unsigned_abs()) * &wide - &centre;
        let off = off.magnitude();
        if exp_of(&(off * off), &spread, bits)? {
            return Ok(drawn);
        }
    }
    Err(SampleError::NotRandom)
}

#[cfg(test)]
#[path = "sampling_tests.rs"]
mod tests;
