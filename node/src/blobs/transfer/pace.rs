//! The shares of the uplink that blobs may take, over all streams that a share is for: what is left is for everything else.
//!
//! A token bucket as a schedule (GCRA, ITU-T I.371): each piece moves the time before which the next may not leave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What leaves at a time where there is a rate: small, so that many streams on a slow link all move.
const PIECE_BYTES: usize = 16 * 1024;
/// What was not used for this long may be made up for.
const BURST: Duration = Duration::from_millis(50);
/// A schedule that lets everything pass.
const NO_RATE: u64 = 0;

/// The rates that a stream keeps to, all of them. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Pace(Vec<Arc<Schedule>>);

#[derive(Debug)]
struct Schedule {
    bytes_per_s: AtomicU64,
    next: Mutex<Instant>,
}

impl Pace {
    /// So many bytes a second; as many as the link takes where there is no rate.
    pub fn new(bytes_per_s: Option<u64>) -> Self {
        let pace =
            Self(vec![Arc::new(Schedule { bytes_per_s: AtomicU64::new(NO_RATE), next: Mutex::new(Instant::now()) })]);
        pace.cap(bytes_per_s);
        pace
    }

    /// The rates of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).map(Arc::clone).collect())
    }

    /// Another rate from now on, for all that share it.
    pub fn cap(&self, bytes_per_s: Option<u64>) {
        let rate = bytes_per_s.map_or(NO_RATE, |rate| rate.max(1));
        self.0.iter().for_each(|schedule| schedule.bytes_per_s.store(rate, Ordering::Relaxed));
    }

    /// How much is to leave at a time.
    pub(super) fn piece_bytes(&self) -> usize {
        let has_rate = |schedule: &Arc<Schedule>| schedule.bytes_per_s.load(Ordering::Relaxed) != NO_RATE;
        if self.0.iter().any(has_rate) { PIECE_BYTES } else { usize::MAX }
    }

    /// Waits until these bytes may leave.
    pub(super) async fn admit(&self, bytes: usize) {
        let now = Instant::now();
        if let Some(begins) = self.0.iter().filter_map(|schedule| schedule.reserve(now, bytes)).max() {
            sleep_until(begins).await;
        }
    }
}

impl Schedule {
    /// When they may; nothing where there is no rate.
    fn reserve(&self, now: Instant, bytes: usize) -> Option<Instant> {
        let bytes_per_s = self.bytes_per_s.load(Ordering::Relaxed);
        if bytes_per_s == NO_RATE {
            return None;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / bytes_per_s as f64);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = now.checked_sub(BURST).map_or(*next, |earliest| earliest.max(*next));
        *next = begins + takes;
        Some(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(bytes_per_s: u64, next: Instant) -> Schedule {
        Schedule { bytes_per_s: AtomicU64::new(bytes_per_s), next: Mutex::new(next) }
    }

    #[tokio::test]
    async fn pieces_leave_at_the_rate_and_a_pause_is_made_up_for_only_a_little() {
        let now = Instant::now() + Duration::from_secs(1);
        let schedule = schedule(1_000_000, now);

        let begins: Vec<Duration> =
            (0..3).map(|_| schedule.reserve(now, 10_000).unwrap().saturating_duration_since(now)).collect();
        assert_eq!(begins, [0, 10, 20].map(Duration::from_millis));

        let later = now + Duration::from_secs(9);
        let at_once = (0..100).filter(|_| schedule.reserve(later, 10_000).unwrap() <= later).count();
        assert_eq!(at_once, 6, "50 ms and the one that begins now");
    }

    #[tokio::test]
    async fn without_a_rate_nothing_waits() {
        Pace::default().admit(usize::MAX).await;
        Pace::new(None).admit(usize::MAX).await;
        assert_eq!(Pace::new(None).piece_bytes(), usize::MAX);
    }

    #[tokio::test]
    async fn a_stream_keeps_to_all_its_rates_and_a_new_one_holds_at_once() {
        let (all, wan) = (Pace::new(None), Pace::new(Some(1_000_000)));
        let both = all.and(&wan);
        assert_eq!(both.piece_bytes(), PIECE_BYTES);

        all.cap(Some(100_000));
        let now = Instant::now() + Duration::from_secs(1);
        let begins: Vec<_> = both
            .0
            .iter()
            .map(|schedule| {
                schedule.reserve(now, 10_000);
                schedule.reserve(now, 10_000)
            })
            .collect();

        assert!(begins[0] > begins[1], "the slower of the two decides");
        wan.cap(None);
        assert_eq!(both.0[1].reserve(now, 10_000), None);
    }
}
