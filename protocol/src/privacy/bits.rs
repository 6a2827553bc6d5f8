//! Random bits as they are handed in, and whole numbers below a bound made of them, each as likely as any other.

use num_bigint::BigUint;

/// Draws until one is below the bound. Each is at least as likely to be as not, so that an honest source needs more with a
/// probability of at most 2^-256.
const DRAWS_MAX: u32 = 256;
/// Bytes asked of the source at a time.
const BUFFER_BYTES: usize = 256;

/// Where random bits come from: the operating system in the daemon, a seed in tests.
pub trait BitSource {
    /// Fills all of it, or says why there is no randomness.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String>;
}

/// Why nothing could be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// The source gave nothing.
    #[error("there is no randomness: {0}")]
    NoBits(String),
    /// A loop went on longer than it does with random bits once in the life of the universe.
    #[error("the random bits are not random")]
    NotRandom,
}

/// Bits of a source, taken in pieces.
pub struct Bits<'a> {
    source: &'a mut dyn BitSource,
    buffer: [u8; BUFFER_BYTES],
    used: usize,
}

impl core::fmt::Debug for Bits<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // What is in the buffer is secret until it is used, and then, too.
        f.write_str("Bits")
    }
}

impl<'a> Bits<'a> {
    /// Bits of this source.
    pub fn of(source: &'a mut dyn BitSource) -> Self {
        Self { source, buffer: [0; BUFFER_BYTES], used: BUFFER_BYTES }
    }

    fn byte(&mut self) -> Result<u8, SampleError> {
        if self.used >= BUFFER_BYTES {
            self.source.fill(&mut self.buffer).map_err(SampleError::NoBits)?;
            self.used = 0;
        }
        let byte = self.buffer.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        Ok(byte)
    }

    /// True as often as false.
    pub fn coin(&mut self) -> Result<bool, SampleError> {
        Ok(self.byte()? & 1 == 1)
    }

    /// A whole number below `limit`, which is above 0.
    pub fn below(&mut self, limit: u128) -> Result<u128, SampleError> {
        let width = u128::BITS - limit.saturating_sub(1).leading_zeros();
        let mask = if width == 0 { 0 } else { u128::MAX >> (u128::BITS - width) };
        for _ in 0..DRAWS_MAX {
            let mut drawn = 0u128;
            for _ in 0..width.div_ceil(8) {
                drawn = drawn << 8 | u128::from(self.byte()?);
            }
            if drawn & mask < limit {
                return Ok(drawn & mask);
            }
        }
        Err(SampleError::NotRandom)
    }

    /// The same of numbers of any size.
    pub fn below_big(&mut self, limit: &BigUint) -> Result<BigUint, SampleError> {
        let width = limit.bits();
        let bytes = usize::try_from(width.div_ceil(8)).unwrap_or(usize::MAX);
        let surplus = u32::try_from((8 - width % 8) % 8).unwrap_or_default();
        for _ in 0..DRAWS_MAX {
            let mut drawn = Vec::with_capacity(bytes);
            for _ in 0..bytes {
                drawn.push(self.byte()?);
            }
            if let Some(top) = drawn.first_mut() {
                *top &= u8::MAX >> surplus;
            }
            let drawn = BigUint::from_bytes_be(&drawn);
            if drawn < *limit {
                return Ok(drawn);
            }
        }
        Err(SampleError::NotRandom)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rand::{Rng as _, SeedableRng};

    use super::*;
    use crate::rng::Rng;

    /// The generator of everything else here, as a source of bits.
    pub(in crate::privacy) struct Seeded(Rng);

    impl Seeded {
        pub(in crate::privacy) fn new(seed: u64) -> Self {
            Self(Rng::seed_from_u64(seed))
        }
    }

    impl BitSource for Seeded {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
            self.0.fill_bytes(bytes);
            Ok(())
        }
    }

    struct Stuck(u8);

    impl BitSource for Stuck {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn every_number_below_a_bound_is_as_likely_as_any_other() {
        let mut source = Seeded::new(7);
        let mut bits = Bits::of(&mut source);
        let mut counts = [0u32; 11];
        for _ in 0..110_000 {
            counts[bits.below(11).unwrap() as usize] += 1;
            let big = bits.below_big(&BigUint::from(11u8)).unwrap();
            counts[usize::try_from(big).unwrap()] += 1;
        }

        // 20,000 each; five standard deviations.
        assert!(counts.iter().all(|count| count.abs_diff(20_000) < 680), "{counts:?}");
        assert_eq!(bits.below(1), Ok(0));
        assert!(bits.below(u128::MAX).is_ok());
    }

    #[test]
    fn a_source_that_is_stuck_is_no_endless_loop() {
        let mut stuck = Stuck(0xff);

        assert_eq!(Bits::of(&mut stuck).below(100), Err(SampleError::NotRandom));
        assert_eq!(Bits::of(&mut stuck).below_big(&BigUint::from(100u8)), Err(SampleError::NotRandom));
    }
}
