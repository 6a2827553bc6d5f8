//! Monotonic time as the driver hands it in: microseconds since the peer started.
//!
//! **Invariant:** no absolute time crosses the wire; messages carry durations only.
//! **Not here:** clocks. The driver reads one, the simulator invents one.

use core::fmt;
use core::ops::{Add, AddAssign};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, in microseconds since this peer started.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub u64);

impl Time {
    /// The moment the peer started.
    pub const ZERO: Self = Self(0);

    /// The moment `ms` milliseconds after the start.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` lies in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Why a peer wants to be woken; for traces and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wake {
    /// Heartbeats, probes and suspicions are due.
    Membership,
    /// An offer, award or reservation runs out.
    Negotiation,
    /// Slow upkeep: redials, peer exchange, load floors.
    Upkeep,
}

/// Whole microseconds of a duration, saturating.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds of a duration as a real number, for costs.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// A duration of that many milliseconds, to the microsecond; none for what is no number or negative.
pub fn from_millis_f64(ms: f64) -> Duration {
    // The conversion saturates at both ends and makes zero of what is no number.
    Duration::from_micros((ms * 1_000.0) as u64)
}

/// No duration of ours is longer, and none that is read is taken to be: sums of a few of them cannot overflow then.
pub const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Durations on the wire and in the API: an unsigned count of microseconds, at most [`DURATION_MAX`] when read.
pub mod duration_us {
    use core::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes whole microseconds, saturating.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(super::micros(*value))
    }

    /// Reads whole microseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(|us| Duration::from_micros(us).min(super::DURATION_MAX))
    }
}

/// As [`duration_us`], for a value that may be absent.
pub mod optional_duration_us {
    use core::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes whole microseconds or nothing.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(&super::micros(*value)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads whole microseconds or nothing.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let micros = Option::<u64>::deserialize(deserializer)?;
        Ok(micros.map(|us| Duration::from_micros(us).min(super::DURATION_MAX)))
    }
}
