//! When a neighbour must hear of our load again: when what it last heard would mislead it.
//!
//! | what differs | with a message that leaves anyway | alone |
//! |---|---|---|
//! | speed by > 20 %, cores, queue, weights or price | at once | at once |
//! | we seem to start later than twice as late as we do, and > 30 ms | 5 s after the last | 5 s after the last |
//! | anything else a person would see | 5 s after the last | – |
//! | nothing | 5 min after the last | 5 min after the last |
//!
//! More is worse: a core that falls free and is told to forty peers at once is run over by their work.
//! Who gives us work is told far sooner: see `peer/publish.rs`.

use core::time::Duration;

use super::sanity::START_IN_MAX;
use super::{AHEAD, LATER_UNIT};
use crate::message::LoadDigest;
use crate::time::{Time, from_millis_f64, millis};

/// Speed may be off by this share of the truth.
const SHARE: f64 = 0.2;
/// No room is hidden by less.
const HIDDEN_ROOM: Duration = Duration::from_millis(30);
const RIDING_CHANGED: Duration = Duration::from_secs(5);
const SAME: Duration = Duration::from_secs(300);
const WRONG: Duration = Duration::from_secs(5);
/// What is usual counts this many times: those that seem good by what is not known of them mostly are not.
const UNKNOWN: f64 = 2.0;
/// CPU use moves by less all the time.
const CPU_SLACK_PERCENT: u8 = 10;

/// What a neighbour last heard of our load.
#[derive(Debug)]
pub(super) struct Published {
    digest: LoadDigest,
    at: Time,
}

impl Published {
    pub(super) fn new(now: Time, digest: &LoadDigest) -> Self {
        Self { digest: digest.clone(), at: now }
    }

    /// How long ago that was.
    pub(super) fn age(&self, now: Time) -> Duration {
        now.since(self.at)
    }

    /// Whether it is time to say how things are in a message that leaves anyway.
    pub(super) fn misleads(&self, now: Time, current: &LoadDigest) -> bool {
        let age = now.since(self.at);
        age >= SAME
            || self.describes_another(current)
            || (age >= WRONG && self.hides_room(age, current))
            || (age >= RIDING_CHANGED && self.is_visibly_different(current))
    }

    /// Whether it is time for a message of its own.
    pub(super) fn is_outdated(&self, now: Time, current: &LoadDigest) -> bool {
        let age = now.since(self.at);
        age >= SAME || self.describes_another(current) || (age >= WRONG && self.hides_room(age, current))
    }

    /// The start that it predicts.
    pub(super) fn believed(&self, now: Time) -> Duration {
        self.digest.start_after(now.since(self.at))
    }

    /// Whether it would keep work away from where there is room. The opposite needs no message: silence is taken for
    /// what is usual elsewhere, and whoever comes in vain is told, or passed on.
    fn hides_room(&self, age: Duration, current: &LoadDigest) -> bool {
        let predicted = self.digest.start_after(age + current.turnover);
        let real = current.start_after(current.turnover);
        predicted > real * 2 + HIDDEN_ROOM
    }

    fn describes_another(&self, current: &LoadDigest) -> bool {
        let then = &self.digest;
        differs(then.speed, current.speed)
            || then.cores != current.cores
            || then.queue_max != current.queue_max
            || then.weights != current.weights
            || then.price != current.price
    }

    fn is_visibly_different(&self, current: &LoadDigest) -> bool {
        let then = &self.digest;
        then.running != current.running
            || then.queued != current.queued
            || then.cpu_percent.abs_diff(current.cpu_percent) >= CPU_SLACK_PERCENT
            || then.uplink_bits_per_s != current.uplink_bits_per_s
            || then.memory_bytes != current.memory_bytes
    }
}

fn differs(then: f64, now: f64) -> bool {
    (then - now).abs() > SHARE * now.abs()
}

impl LoadDigest {
    /// When a task sent this long after the digest came would start there: soon after what it said, later what is usual,
    /// and never before what was known to wait has run.
    pub fn start_after(&self, age: Duration) -> Duration {
        self.start_behind(age, Duration::ZERO, 0)
    }

    /// The same over a way, behind own tasks that the digest does not count.
    pub(super) fn start_behind(&self, age: Duration, rtt: Duration, in_flight: usize) -> Duration {
        // It was made half a round trip before it came, and the task will be there half a round trip from now.
        let arrived = f64::from(self.arrivals_per_ks) / 1e6 * millis(age + rtt);
        let said = self.start_at(in_flight as f64 + arrived).saturating_sub(age + rtt / 2);
        if self.turnover.is_zero() {
            return said;
        }
        let fresh = (-age.as_secs_f64() / self.turnover.as_secs_f64()).exp();
        let (said, usual) = (millis(said), millis(self.usual_start_in) * UNKNOWN);
        from_millis_f64(usual + (said - usual) * fresh).max(self.start_in.saturating_sub(age))
    }

    /// When the task this many places behind the next one would start: on the line through the places that are told.
    fn start_at(&self, place: f64) -> Duration {
        let (mut at, mut later, mut slope) = (0.0, 0.0, 0.0);
        for (next_at, next_later) in AHEAD.into_iter().zip(self.later_start) {
            let (next_at, next_later) = (f64::from(next_at), f64::from(next_later));
            slope = (next_later - later) / (next_at - at);
            if place <= next_at {
                break;
            }
            (at, later) = (next_at, next_later);
        }
        let told_ms = (later + slope * (place - at)) * millis(LATER_UNIT);
        // Beyond the last place that is told each core has this many runs before it.
        let cores = f64::from(self.cores.max(1));
        let crowd_ms = (place - cores) / cores * millis(self.turnover);
        self.start_in + from_millis_f64(told_ms.max(crowd_ms)).min(START_IN_MAX)
    }
}
