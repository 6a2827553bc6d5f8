//! What is going to happen, in order of time.
//!
//! A heap of small keys over a slab of events: at millions of events an ordered map of whole ones was half of a run.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use shoal_protocol::message::TaskRef;
use shoal_protocol::task::spec::RunReport;
use shoal_protocol::{Input, Message, PeerId, Time};

/// Something that will happen to one peer.
#[derive(Debug)]
pub(super) enum Event {
    /// Its driver tells it a fact.
    Given(Box<Input>),
    /// A message reaches it, over the connection with this number.
    Arrived { from: usize, connection: u64, carried: Carried },
    /// The other end closed the connection with this number.
    Closed { by: usize, connection: u64 },
    /// It wanted to be woken.
    Wake { process: u64 },
    /// Its dial ends.
    Answered { address: String, peer: Option<PeerId> },
    /// A run ends in its sandbox.
    RunEnded { process: u64, attempt: TaskRef, report: Box<RunReport> },
}

/// A message on its way.
#[derive(Debug)]
pub(super) enum Carried {
    /// As the bytes that cross the wire.
    Bytes(Vec<u8>),
    /// As it was said; only its size is reckoned.
    Value(Box<Message>),
}

/// All that is going to happen; ties in order of creation.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: BinaryHeap<Reverse<(Time, u64, usize)>>,
    slab: Vec<Option<(usize, Event)>>,
    free: Vec<usize>,
    added: u64,
}

impl Events {
    pub(super) fn add(&mut self, at: Time, index: usize, event: Event) {
        self.added += 1;
        let slot = self.free.pop().unwrap_or(self.slab.len());
        match self.slab.get_mut(slot) {
            Some(place) => *place = Some((index, event)),
            None => self.slab.push(Some((index, event))),
        }
        self.queue.push(Reverse((at, self.added, slot)));
    }

    /// The earliest event, unless it lies after `end`.
    pub(super) fn pop_until(&mut self, end: Time) -> Option<(Time, usize, Event)> {
        let Reverse((at, _, slot)) = *self.queue.peek()?;
        if at > end {
            return None;
        }
        self.queue.pop();
        self.free.push(slot);
        let (index, event) = self.slab.get_mut(slot)?.take()?;
        Some((at, index, event))
    }
}
