//! What is going to happen, in order of time.

use std::collections::BTreeMap;

use shoal_protocol::message::TaskRef;
use shoal_protocol::task::spec::RunReport;
use shoal_protocol::{Input, PeerId, Time};

/// Something that will happen to one peer.
#[derive(Debug)]
pub(super) enum Event {
    /// Its driver tells it a fact.
    Given(Input),
    /// A message reaches it, over the connection with this number.
    Arrived { from: usize, process: u64, bytes: Vec<u8> },
    /// It wanted to be woken.
    Wake { process: u64 },
    /// Its dial ends.
    Answered { address: String, peer: Option<PeerId> },
    /// A run ends in its sandbox.
    RunEnded { process: u64, attempt: TaskRef, report: RunReport },
}

/// All that is going to happen; ties in order of creation.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: BTreeMap<(Time, u64), (usize, Event)>,
    added: u64,
}

impl Events {
    pub(super) fn add(&mut self, at: Time, index: usize, event: Event) {
        self.added += 1;
        self.queue.insert((at, self.added), (index, event));
    }

    /// The earliest event, unless it lies after `end`.
    pub(super) fn pop_until(&mut self, end: Time) -> Option<(Time, usize, Event)> {
        let entry = self.queue.first_entry()?;
        if entry.key().0 > end {
            return None;
        }
        let ((at, _), (index, event)) = entry.remove_entry();
        Some((at, index, event))
    }
}
