//! What one peer did that no honest one does, and what follows.

use core::time::Duration;

use super::bucket::Bucket;
use super::class::Class;
use crate::time::Time;

/// Strikes after which a peer cools off.
const STRIKES_MAX: f32 = 20.0;
/// A strike is forgotten after this long.
const STRIKE_FOR: Duration = Duration::from_secs(10);
/// The first cool-off; each further one is twice as long…
const COOL_OFF: Duration = Duration::from_secs(10);
/// …and after so many the peer is banned…
const COOL_OFFS_MAX: u8 = 4;
/// …for this long.
const BAN: Duration = Duration::from_secs(3_600);
/// A cool-off, or the ban, is no longer counted after this long without another strike.
const COOL_OFF_COUNTS_FOR: Duration = Duration::from_secs(600);

/// What no honest peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// It says more than there can be to say.
    Flood,
    /// A message that contradicts itself, or cannot be true.
    Nonsense,
    /// Bytes that are no message.
    Unreadable,
    /// Bytes of a blob that are not those of the blob: whoever serves one checks them first.
    WrongBytes,
}

impl Strike {
    fn weight(self) -> f32 {
        match self {
            Self::Flood => 0.02,
            Self::Nonsense | Self::Unreadable => 1.0,
            Self::WrongBytes => STRIKES_MAX,
        }
    }
}

/// What follows for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sentence {
    /// It is not heard for so long.
    CoolOff(Duration),
    /// It has no connection for so long.
    Ban(Duration),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    buckets: [Bucket; Class::COUNT],
    strikes: f32,
    struck: Time,
    cool_offs: u8,
    cools_off_until: Time,
    banned_until: Time,
}

impl Record {
    pub(super) fn take(&mut self, now: Time, class: Class) -> (bool, u16) {
        self.buckets.get_mut(class as usize).map_or((true, 0), |bucket| bucket.take(now, class.rate()))
    }

    pub(super) fn cools_off(&self, now: Time) -> bool {
        now < self.cools_off_until
    }

    pub(super) fn is_banned(&self, now: Time) -> bool {
        now < self.banned_until
    }

    /// Takes note of a strike; what follows, if that was one too many.
    pub(super) fn strike(&mut self, now: Time, strike: Strike) -> Option<Sentence> {
        let since = now.since(self.struck);
        let forgotten = (since.as_secs() / COOL_OFF_COUNTS_FOR.as_secs()).min(u64::from(u8::MAX)) as u8;
        self.cool_offs = self.cool_offs.saturating_sub(forgotten);
        self.strikes = (self.strikes - since.as_secs_f32() / STRIKE_FOR.as_secs_f32()).max(0.0) + strike.weight();
        self.struck = now;
        // What it does while it is not heard does no harm, and is what it was sentenced for.
        if self.strikes < STRIKES_MAX || self.cools_off(now) || self.is_banned(now) {
            self.strikes = self.strikes.min(STRIKES_MAX);
            return None;
        }
        self.strikes = 0.0;
        if self.cool_offs >= COOL_OFFS_MAX {
            self.banned_until = now + BAN;
            return Some(Sentence::Ban(BAN));
        }
        let span = COOL_OFF * (1 << self.cool_offs);
        self.cool_offs += 1;
        self.cools_off_until = now + span;
        Some(Sentence::CoolOff(span))
    }

    /// How much is held against it.
    pub(super) fn weight(&self) -> (Time, u8, Time, u32) {
        (self.banned_until, self.cool_offs, self.cools_off_until, (self.strikes * 1_000.0) as u32)
    }
}
