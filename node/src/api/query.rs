//! What a query may say of any listing, and of anything that has an end.

use std::time::Duration;

use serde::Deserialize;

/// Longest that one request waits for the end of something.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// How much of a listing is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
}

impl Page {
    /// So many, or what is usual where nobody says.
    pub(super) fn limit(&self, usual: usize) -> usize {
        self.limit.unwrap_or(usual)
    }
}

/// How long a request waits for an end.
#[derive(Debug, Deserialize)]
pub(super) struct Patience {
    #[serde(default)]
    wait_ms: u64,
}

impl Patience {
    pub(super) fn time(&self) -> Duration {
        Duration::from_millis(self.wait_ms).min(WAIT_MAX)
    }
}
