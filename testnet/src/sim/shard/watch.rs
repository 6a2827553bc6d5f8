//! What is looked for in everything that is said, at the moment it is said.

use shoal_protocol::{Message, Peer};

use super::{Common, Shard};
use crate::sim::editions::Edition;
use crate::sim::marks::{Leak, Mark};

impl Shard {
    /// I9: nobody gives work to a peer that it knows to be revoked; of one that lies, which says again what it said before, nothing
    /// is promised.
    pub(super) fn check_award(&mut self, common: &Common, from: usize, to: usize) {
        if common.liars.contains(&from) {
            return;
        }
        let knows = |peer: &Peer| peer.revocations().has(common.id(to));
        let broken = self.node(from).and_then(|node| node.peer.as_ref()).is_some_and(knows);
        assert!(!broken, "seed {}: peer {from} gives work to the revoked peer {to}", common.seed);
    }

    /// I10: no byte that is marked reaches a machine that may not have it, nor one of a version that knows nothing of labels.
    pub(super) fn look_for_marks(&mut self, common: &Common, (from, to): (usize, usize), message: &Message) {
        // Most of what is said, and it has no room for data.
        if !common.watches_marks || matches!(message, Message::Beat(_) | Message::Ping(_) | Message::Pong(_)) {
            return;
        }
        // What a machine does that lies is not promised.
        if common.lied.contains(&from) {
            return;
        }
        let Some(mark) = Mark::find(&message.encode()) else { return };
        if !self.may_have(common, to, mark) {
            self.leaks.push(Leak { at: self.now, from, to, what: message.kind() });
        }
    }

    pub(super) fn may_have(&self, common: &Common, index: usize, mark: Mark) -> bool {
        // Machines of other shards are of this version: editions are for small meshes.
        let is_aware = self.node(index).is_none_or(|node| node.edition != Edition::Previous);
        is_aware && mark.allows(common.region(index))
    }
}
