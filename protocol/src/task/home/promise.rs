//! What an executor made us expect, and when that is not kept.

use core::time::Duration;

use crate::time::Time;

/// When the result of an attempt should be here, going by what its executor said of itself.
#[derive(Debug, Default)]
pub(crate) struct Promise {
    /// The promise stands since then…
    pub(crate) since: Time,
    /// …and is kept after this long; nothing is expected of a module that nobody knows.
    pub(crate) within: Option<Duration>,
    /// Of that, what the way there and back takes, and what waited on our uplink.
    pub(crate) way: Duration,
    /// It was noticed that it is not kept.
    pub(crate) is_broken: bool,
}

/// A result that comes later than this many times what was promised is a broken promise…
const LATE: u32 = 4;
/// …when it is this much later too: a queue that grew behind our back, a retransmission.
const LATE_SLACK: Duration = Duration::from_millis(500);
/// The same for a result that has not come.
const OVERDUE: u32 = 8;
const OVERDUE_SLACK: Duration = Duration::from_secs(2);

impl Promise {
    pub(crate) fn is_late(&self, now: Time) -> bool {
        self.is_beyond(now, LATE, LATE_SLACK)
    }

    pub(crate) fn is_overdue(&self, now: Time) -> bool {
        self.is_beyond(now, OVERDUE, OVERDUE_SLACK)
    }

    /// Whether not even a run that goes on to its limit would still be under way.
    pub(crate) fn is_hopeless(&self, now: Time, wall: Duration) -> bool {
        self.is_beyond(now, OVERDUE, OVERDUE_SLACK.saturating_add(wall))
    }

    fn is_beyond(&self, now: Time, times: u32, slack: Duration) -> bool {
        self.within.is_some_and(|within| now.since(self.since) > within.saturating_mul(times).saturating_add(slack))
    }
}
