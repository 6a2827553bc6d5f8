//! Pings under way: our own, and those we make for others.
//!
//! **Invariant:** at most [`UNDER_WAY_MAX`] are remembered, and one neighbour has at most [`FOR_ONE_MAX`] made for it at once.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::id::PeerId;
use crate::time::Time;

const UNDER_WAY_MAX: usize = 512;
const FOR_ONE_MAX: usize = 16;
/// An answer later than this says nothing any more.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A ping that was not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) to: PeerId,
    pub(super) at: Time,
    /// Whom to tell of the answer, and the number of its request.
    pub(super) on_behalf: Option<(PeerId, u32)>,
}

/// All pings that were not answered yet, by their number.
#[derive(Debug, Default)]
pub(super) struct Probes {
    next: u32,
    under_way: BTreeMap<u32, Sent>,
}

impl Probes {
    /// Notes a ping and gives its number.
    pub(super) fn sent(&mut self, now: Time, to: PeerId, on_behalf: Option<(PeerId, u32)>) -> u32 {
        let is_over = |sent: &Sent| now.since(sent.at) >= ANSWER_MAX;
        while self.under_way.len() >= UNDER_WAY_MAX || self.under_way.values().next().is_some_and(is_over) {
            self.under_way.pop_first();
        }
        self.next = self.next.wrapping_add(1);
        self.under_way.insert(self.next, Sent { to, at: now, on_behalf });
        self.next
    }

    /// Whether another ping may be made for this neighbour.
    pub(super) fn has_room_for(&self, requester: PeerId) -> bool {
        let made = |sent: &&Sent| sent.on_behalf.is_some_and(|(peer, _)| peer == requester);
        self.under_way.values().filter(made).count() < FOR_ONE_MAX
    }

    /// The ping that this answers, if it was sent to that peer.
    pub(super) fn answered(&mut self, from: PeerId, sequence: u32) -> Option<Sent> {
        self.under_way.get(&sequence).filter(|sent| sent.to == from)?;
        self.under_way.remove(&sequence)
    }
}
