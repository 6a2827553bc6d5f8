//! The two clocks: monotonic for the protocol, the calendar for signatures.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shoal_protocol::Time;
use shoal_protocol::time::micros;

/// Microseconds since the daemon started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time(micros(self.start.elapsed()))
    }

    /// The same moment as tokio's timer has it.
    pub(crate) fn instant(&self, time: Time) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + Duration::from_micros(time.as_micros()))
    }
}

/// The date; 1970 on a machine that has no idea.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
