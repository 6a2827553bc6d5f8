//! Round trips measured to one peer: the last few, and what they say.
//!
//! **Invariant:** a fixed number of samples, each from a microsecond to [`RTT_MAX`].

use core::time::Duration;

use crate::config::{RTT_MAX, RTT_SAMPLES};
use crate::time::micros;

/// Samples that say how far a peer is *now*.
const RECENT: usize = 8;
/// The coordinate filter of Ledlie et al. (NSDI 2007): a low percentile of the last few. Queues only ever add.
const FILTERED: usize = 4;

/// The last samples of one peer, as a ring.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    ring_us: Vec<u32>,
    next: usize,
    /// Reckoned when a sample comes in: every decision of a peer asks for it, of every neighbour.
    current: Option<Duration>,
    filtered: Option<Duration>,
}

impl Samples {
    /// Whether any path can have this round trip.
    pub(super) fn is_possible(rtt: Duration) -> bool {
        rtt <= RTT_MAX
    }

    /// Takes a sample in, unless no path can have it.
    pub(super) fn push(&mut self, rtt: Duration) {
        if !Self::is_possible(rtt) {
            return;
        }
        let us = u32::try_from(micros(rtt)).unwrap_or(u32::MAX).max(1);
        match self.ring_us.get_mut(self.next) {
            Some(slot) => *slot = us,
            None => self.ring_us.push(us),
        }
        self.next = (self.next + 1) % RTT_SAMPLES;
        self.current = self.percentile_of_newest::<RECENT>(50);
        self.filtered = self.percentile_of_newest::<FILTERED>(25);
    }

    /// What the next round trip will most likely take: the median of the newest samples.
    pub(super) fn current(&self) -> Option<Duration> {
        self.current
    }

    /// The distance without the queues: a low percentile of the newest samples.
    pub(super) fn filtered(&self) -> Option<Duration> {
        self.filtered
    }

    /// The median and the 99th percentile of all kept samples.
    pub(super) fn percentiles(&self) -> Option<(Duration, Duration)> {
        let mut all = self.ring_us.clone();
        Some((percentile(&mut all, 50)?, percentile(&mut all, 99)?))
    }

    /// The shortest kept sample.
    pub(super) fn shortest(&self) -> Option<Duration> {
        self.ring_us.iter().min().map(|us| Duration::from_micros(u64::from(*us)))
    }

    fn percentile_of_newest<const COUNT: usize>(&self, percent: usize) -> Option<Duration> {
        let len = self.ring_us.len();
        let mut newest = [0; COUNT];
        // Before the ring is full `next` is its length, afterwards the oldest sample: walking back from it works for both.
        for (back, place) in newest.iter_mut().take(len).enumerate() {
            *place = *self.ring_us.get((self.next + len - 1 - back) % len)?;
        }
        percentile(newest.get_mut(..len.min(COUNT))?, percent)
    }
}

/// The nearest-rank percentile, from below; sorts.
fn percentile(samples_us: &mut [u32], percent: usize) -> Option<Duration> {
    samples_us.sort_unstable();
    let last = samples_us.len().checked_sub(1)?;
    samples_us.get(last * percent / 100).map(|us| Duration::from_micros(u64::from(*us)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples_ms: &[u64]) -> Samples {
        let mut samples = Samples::default();
        for ms in samples_ms {
            samples.push(Duration::from_millis(*ms));
        }
        samples
    }

    #[test]
    fn nothing_measured_is_nothing_said() {
        assert_eq!(Samples::default().current(), None);
        assert_eq!(Samples::default().percentiles(), None);
        assert_eq!(Samples::default().shortest(), None);
    }

    #[test]
    fn a_few_queued_samples_do_not_move_the_estimate() {
        let samples = of(&[20, 20, 900, 20, 21, 20, 800, 20]);

        assert_eq!(samples.current(), Some(Duration::from_millis(20)));
        assert_eq!(samples.filtered(), Some(Duration::from_millis(20)));
        assert_eq!(samples.shortest(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn a_longer_path_is_believed_after_a_few_samples() {
        let mut samples = of(&[20; 100]);
        for _ in 0..5 {
            samples.push(Duration::from_millis(80));
        }

        assert_eq!(samples.current(), Some(Duration::from_millis(80)));
        assert_eq!(samples.filtered(), Some(Duration::from_millis(80)));
    }

    #[test]
    fn the_ring_keeps_the_newest_and_no_more() {
        let samples = of(&(0..1000).collect::<Vec<_>>());

        assert_eq!(samples.ring_us.len(), RTT_SAMPLES);
        assert_eq!(samples.shortest(), Some(Duration::from_millis(1000 - RTT_SAMPLES as u64)));
    }

    #[test]
    fn times_no_path_has_are_refused() {
        let mut samples = Samples::default();

        samples.push(RTT_MAX + Duration::from_micros(1));
        assert_eq!(samples.current(), None);

        samples.push(Duration::ZERO);
        assert_eq!(samples.current(), Some(Duration::from_micros(1)));
    }
}
