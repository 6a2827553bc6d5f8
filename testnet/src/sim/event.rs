//! What is going to happen, in order of time.
//!
//! Small keys over a slab of events. Keys of the near future are in a heap that fits the cache; later ones lie unsorted in
//! the span of time they belong to until it is near: with a hundred thousand events ahead, one heap of all was a cache miss
//! for every level of it.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use shoal_protocol::message::{Beat, TaskRef};
use shoal_protocol::store::Ticket;
use shoal_protocol::task::report::RunReport;
use shoal_protocol::{Input, Message, PeerId, Time};

use super::links::Call;

/// Something that will happen to one peer.
#[derive(Debug)]
pub(super) enum Event {
    /// Its driver tells it a fact.
    Given { process: u64, input: Box<Input> },
    /// A message reaches it, over the connection of this call.
    Arrived { from: usize, call: Call, carried: Carried },
    /// The other end closed the connection of this call.
    Closed { by: usize, call: Call },
    /// It wanted to be woken.
    Wake { process: u64 },
    /// It is called.
    Called(Box<Calling>),
    /// Its own call ends: taken up at that time, or not at all.
    Answered(Box<Calling>, Option<Time>),
    /// Its disk is done with a batch of changes.
    Synced { process: u64, ticket: Ticket },
    /// A run ends in its sandbox.
    RunEnded { process: u64, attempt: TaskRef, report: Box<RunReport> },
}

/// One machine calls another.
#[derive(Debug)]
pub(super) struct Calling {
    pub(super) by: usize,
    /// Of the caller.
    pub(super) process: u64,
    pub(super) call: Call,
    pub(super) at: Time,
    pub(super) address: String,
    /// Who should be there.
    pub(super) wanted: Option<PeerId>,
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(super) enum Carried {
    /// As the bytes that cross the wire.
    Bytes(Vec<u8>),
    /// As it was said; only its size is reckoned.
    Value(Box<Message>),
    /// The same of what is said most, without a place of its own in memory.
    Beat(Beat),
}

/// An event that is to be kept for a peer: what happens to it, when, and which of all things at that time it is.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) at: Time,
    pub(super) stamp: Stamp,
    pub(super) index: usize,
    pub(super) event: Event,
}

/// Which of the events at one time comes first: who caused it, and its how many-th that was. It does not depend on how
/// peers are spread over threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u64);

impl Stamp {
    /// The `nth` event that `cause` caused.
    pub(super) fn new(nth: u64, cause: usize) -> Self {
        Self(nth << CAUSE_BITS | cause as u64)
    }
}

/// Peers in one simulation are fewer than two to the power of this.
pub(super) const CAUSE_BITS: u32 = 20;

/// When, which of those at the same time, and where in the slab.
type Key = (Time, Stamp, usize);

/// The length of one span of the later future, as a power of two of microseconds: four milliseconds.
const SPAN_BITS: u32 = 12;

fn span_of(at: Time) -> u64 {
    at.as_micros() >> SPAN_BITS
}

/// All that is going to happen to some peers.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// All of the spans before `next_span`.
    near: BinaryHeap<Reverse<Key>>,
    next_span: u64,
    later: BTreeMap<u64, Vec<Key>>,
    /// Lists of spans that are over, to be used again.
    spare: Vec<Vec<Key>>,
    slab: Vec<Option<(usize, Event)>>,
    free: Vec<usize>,
}

impl Events {
    pub(super) fn add(&mut self, coming: Coming) {
        let Coming { at, stamp, index, event } = coming;
        let slot = self.free.pop().unwrap_or(self.slab.len());
        match self.slab.get_mut(slot) {
            Some(place) => *place = Some((index, event)),
            None => self.slab.push(Some((index, event))),
        }
        let key = (at, stamp, slot);
        let span = span_of(at);
        if span < self.next_span {
            self.near.push(Reverse(key));
        } else {
            let spare = &mut self.spare;
            self.later.entry(span).or_insert_with(|| spare.pop().unwrap_or_default()).push(key);
        }
    }

    /// When the earliest event is.
    pub(super) fn next(&mut self) -> Option<(Time, Stamp)> {
        while self.near.is_empty() {
            let (span, mut keys) = self.later.pop_first()?;
            self.next_span = span + 1;
            self.near.extend(keys.drain(..).map(Reverse));
            self.spare.push(keys);
        }
        self.near.peek().map(|Reverse((at, stamp, _))| (*at, *stamp))
    }

    /// The earliest event, unless it lies after `end`.
    pub(super) fn pop_until(&mut self, end: Time) -> Option<(Time, usize, Event)> {
        let (at, _) = self.next()?;
        if at > end {
            return None;
        }
        let Reverse((_, _, slot)) = self.near.pop()?;
        self.free.push(slot);
        let (index, event) = self.slab.get_mut(slot)?.take()?;
        Some((at, index, event))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_cause_whenever_they_are_added() {
        let mut rng = Pcg64Mcg::seed_from_u64(7);
        let (mut events, mut now, mut last, mut left) = (Events::default(), Time::ZERO, (Time::ZERO, 0), 0);
        for n in 1..5_000usize {
            // Many at one moment, some far off.
            let after = [0, 1, 3_000, 5_000, 70_000, 9_000_000][rng.random_range(0..6)];
            let (at, stamp) = (Time(now.0 + after), Stamp::new(n as u64, 3));
            events.add(Coming { at, stamp, index: n, event: Event::Wake { process: 0 } });
            left += 1;
            if n % 3 > 0 {
                let (at, index, _) = events.pop_until(Time(u64::MAX)).unwrap();
                assert!((at, index) > last, "{at:?} {index} after {last:?}");
                (now, last, left) = (at, (at, index), left - 1);
            }
        }

        assert!(events.pop_until(Time(now.0.saturating_sub(1))).is_none());
        assert_eq!(core::iter::from_fn(|| events.pop_until(Time(u64::MAX))).count(), left);
    }
}
