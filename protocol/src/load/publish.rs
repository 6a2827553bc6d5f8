//! When a neighbour must hear of our load again: when what it last heard would mislead it.
//!
//! | what differs | sent |
//! |---|---|
//! | the start it predicts is off by > 20 % and > 5 ms, or speed or free memory by > 20 %, or cores, weights or price changed | with the next message |
//! | anything else a person would see | 2 s after the last |
//! | nothing | 5 min after the last |

use core::time::Duration;

use crate::message::LoadDigest;
use crate::time::Time;

/// A prediction may be off by this share of the truth.
const SHARE: f64 = 0.2;
/// No decision turns on less than this.
const START_SLACK: Duration = Duration::from_millis(5);
const FLOOR_CHANGED: Duration = Duration::from_secs(2);
const FLOOR_SAME: Duration = Duration::from_secs(300);
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

    /// Whether it is time to say how things are.
    pub(super) fn misleads(&self, now: Time, current: &LoadDigest) -> bool {
        let age = now.since(self.at);
        age >= FLOOR_SAME || self.is_wrong(age, current) || (age >= FLOOR_CHANGED && self.is_visibly_different(current))
    }

    fn is_wrong(&self, age: Duration, current: &LoadDigest) -> bool {
        let then = &self.digest;
        let predicted = then.start_in.saturating_sub(age);
        let off = predicted.abs_diff(current.start_in);
        (off > START_SLACK && off > current.start_in.mul_f64(SHARE))
            || differs(then.speed, current.speed)
            || differs(then.memory_free_bytes as f64, current.memory_free_bytes as f64)
            || then.cores != current.cores
            || then.queue_max != current.queue_max
            || then.weights != current.weights
            || then.price != current.price
            || (then.running < then.cores) != (current.running < current.cores)
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
