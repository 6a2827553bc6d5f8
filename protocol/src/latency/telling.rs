//! When a neighbour needs to hear where we are: when what it was told would mislead it.
//!
//! A move matters in proportion to the distance, so far neighbours are told less often than near ones, and a settled peer
//! is all but silent.

use core::time::Duration;

use super::coordinate::Coordinate;
use crate::time::{Time, millis};

/// A move of this share of the round trip is worth telling, …
const MOVE_SHARE: f64 = 0.1;
/// … and none that is shorter than this.
const MOVE_MS_MIN: f64 = 1.0;
/// No neighbour is told more often, however much we move.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Every neighbour is told this often: its picture may be gone.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// Taken for a distance that is not known.
const DISTANCE_UNKNOWN: Duration = Duration::from_millis(10);

/// What a neighbour was told last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) at: Time,
    pub(super) place: Coordinate,
}

impl Told {
    /// Whether the neighbour, at `distance`, should hear that we are `here` now.
    pub(super) fn misleads(&self, now: Time, here: &Coordinate, distance: Option<Duration>) -> bool {
        let age = now.since(self.at);
        if age < PAUSE_MIN {
            return false;
        }
        let moved_ms = millis(self.place.unlike(here));
        let matters_ms = (MOVE_SHARE * millis(distance.unwrap_or(DISTANCE_UNKNOWN))).max(MOVE_MS_MIN);
        age >= PAUSE_MAX || moved_ms >= matters_ms
    }
}
