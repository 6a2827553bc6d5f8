//! A token bucket in one number: the generic cell rate algorithm (ITU-T I.371, annex A).

use core::time::Duration;

use crate::time::Time;

/// How much may be said of something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// What one message costs of the time that passes: the inverse of the rate.
    pub(super) each: Duration,
    /// Messages that may come at once.
    pub(super) burst: u32,
}

/// When all that was said will have been paid for by the time that passed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    paid_at: Time,
}

impl Bucket {
    /// Takes one message in; false, and nothing changes, when there is no room. Also how much is taken up now, in thousandths.
    pub(super) fn take(&mut self, now: Time, rate: Rate) -> (bool, u16) {
        let owed = self.paid_at.since(now) + rate.each;
        let most = rate.each * rate.burst;
        let permille = owed.as_micros() * 1_000 / most.as_micros().max(1);
        if owed > most {
            return (false, 1_000);
        }
        self.paid_at = now + owed;
        (true, u16::try_from(permille).unwrap_or(u16::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { each: Duration::from_millis(10), burst: 5 };

    fn taken(bucket: &mut Bucket, at_ms: u64, count: usize) -> usize {
        (0..count).filter(|_| bucket.take(Time::from_millis(at_ms), RATE).0).count()
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let mut bucket = Bucket::default();

        assert_eq!(taken(&mut bucket, 1_000, 100), 5);
        assert_eq!(taken(&mut bucket, 1_009, 100), 0);
        assert_eq!(taken(&mut bucket, 1_030, 100), 3);
        assert_eq!(taken(&mut bucket, 60_000, 100), 5, "what was not used is not saved up");
    }

    #[test]
    fn it_tells_how_full_it_is() {
        assert_eq!(Bucket::default().take(Time::ZERO, RATE), (true, 200));
    }
}
