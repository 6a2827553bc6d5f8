//! The share of the uplink that blobs may take, over all streams together: what is left is for everything else.
//!
//! A token bucket as a schedule (GCRA, ITU-T I.371): each piece moves the time before which the next may not leave.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What leaves at a time where there is a rate: small, so that many streams on a slow link all move.
const PIECE_BYTES: usize = 16 * 1024;
/// What was not used for this long may be made up for.
const BURST: Duration = Duration::from_millis(50);

/// Clones share the rate.
#[derive(Debug, Clone, Default)]
pub struct Pace(Option<Arc<Schedule>>);

#[derive(Debug)]
struct Schedule {
    bytes_per_s: u64,
    next: Mutex<Instant>,
}

impl Pace {
    /// So many bytes a second; as many as the link takes where there is no rate.
    pub fn new(bytes_per_s: Option<u64>) -> Self {
        let schedule =
            |bytes_per_s: u64| Schedule { bytes_per_s: bytes_per_s.max(1), next: Mutex::new(Instant::now()) };
        Self(bytes_per_s.map(schedule).map(Arc::new))
    }

    /// How much is to leave at a time.
    pub(super) fn piece_bytes(&self) -> usize {
        if self.0.is_some() { PIECE_BYTES } else { usize::MAX }
    }

    /// Waits until these bytes may leave.
    pub(super) async fn admit(&self, bytes: usize) {
        if let Some(schedule) = &self.0 {
            sleep_until(schedule.reserve(Instant::now(), bytes)).await;
        }
    }
}

impl Schedule {
    fn reserve(&self, now: Instant, bytes: usize) -> Instant {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = now.checked_sub(BURST).map_or(*next, |earliest| earliest.max(*next));
        *next = begins + takes;
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_leave_at_the_rate_and_a_pause_is_made_up_for_only_a_little() {
        let now = Instant::now() + Duration::from_secs(1);
        let schedule = Schedule { bytes_per_s: 1_000_000, next: Mutex::new(now) };

        let begins: Vec<Duration> =
            (0..3).map(|_| schedule.reserve(now, 10_000).saturating_duration_since(now)).collect();
        assert_eq!(begins, [0, 10, 20].map(Duration::from_millis));

        let later = now + Duration::from_secs(9);
        let at_once = (0..100).filter(|_| schedule.reserve(later, 10_000) <= later).count();
        assert_eq!(at_once, 6, "50 ms and the one that begins now");
    }

    #[tokio::test]
    async fn without_a_rate_nothing_waits() {
        Pace::default().admit(usize::MAX).await;
    }
}
