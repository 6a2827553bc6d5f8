//! What a digest from a stranger is held to before it enters a cost.

use core::time::Duration;

use crate::message::LoadDigest;
use crate::sabotage::{self, Bug};

/// No peer is this many times faster or slower than the reference core.
pub(crate) const SPEED_MAX: f64 = 1e4;
/// A start this far away is as good as never; the same bound keeps sums of waits finite.
pub(crate) const START_IN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Any price above this is as good as a refusal.
const PRICE_MAX: f64 = 1e9;

impl LoadDigest {
    /// Whether this can be the load of a peer: finite, positive where it divides, bounded where it adds.
    pub fn is_sane(&self) -> bool {
        if sabotage::is(Bug::TrustNumbers) {
            return true;
        }
        self.speed > 0.0
            && self.speed <= SPEED_MAX
            && self.cores >= 1
            && self.start_in <= START_IN_MAX
            && self.usual_start_in <= START_IN_MAX
            && self.turnover <= START_IN_MAX
            && self.weights.is_sane()
            && (0.0..=PRICE_MAX).contains(&self.price)
            && self.uplink_bits_per_s >= 1
            && self.cpu_percent <= 100
    }
}
