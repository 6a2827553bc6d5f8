//! Blobs come from their holders, unless their labels forbid it. Their bytes are not simulated.

use core::time::Duration;

use shoal_protocol::Input;
use shoal_protocol::message::TaskRef;
use shoal_protocol::residency::{Receiver, may_receive};
use shoal_protocol::task::spec::BlobRef;

use super::{Common, Shard};
use crate::sim::editions::Edition;
use crate::sim::marks::{Leak, Mark};
use crate::sim::network;
use crate::sim::seen::Move;

impl Shard {
    /// Brings blobs from their holders.
    pub(super) fn fetch(&mut self, common: &Common, index: usize, attempt: TaskRef, blobs: &[BlobRef]) {
        let mut there = self.now;
        for blob in blobs {
            let is_connected = |holder: &usize| self.node(index).is_some_and(|node| node.links.is_connected(*holder));
            let Some(holder) = common.index(blob.holder).filter(is_connected) else {
                let result = Err("the holder is not connected".to_owned());
                return self.given(Duration::ZERO, index, Input::Fetched { attempt, result });
            };
            if let Some(mark) = common.marked.get(&blob.id).copied()
                && !self.serves(common, (holder, index), mark)
            {
                let result = Err("its labels do not let this peer have it".to_owned());
                return self.given(Duration::ZERO, index, Input::Fetched { attempt, result });
            }
            let mut left = self.now + common.network.delay(index, holder);
            // Uplinks are modelled in one shard only.
            if common.network.models_uplinks()
                && let Some(node) = self.node_mut(holder)
            {
                let span = network::on_the_wire(blob.bytes, node.config.uplink_bits_per_s);
                let within = common.network.within_site(holder, index, blob.bytes);
                left = within.map_or_else(|| node.leave(left, span), |span| left + span);
                let served = Input::Served { to: common.id(index), blob: blob.id, bytes: blob.bytes };
                self.given(left.since(self.now), holder, served);
                if common.watches_moves && within.is_none() {
                    self.moves.push(Move { left, span, from: holder, to: index, bytes: blob.bytes });
                }
            }
            there = there.max(left + common.network.delay(holder, index));
        }
        self.given(there.since(self.now), index, Input::Fetched { attempt, result: Ok(()) });
    }

    /// Whether a holder sends a blob of marked data, as its blob server would decide; and whether that was right.
    fn serves(&mut self, common: &Common, (holder, to): (usize, usize), mark: Mark) -> bool {
        let Some(member) = common.member(to) else { return false };
        let is_aware = self.node(to).is_none_or(|node| node.edition != Edition::Previous);
        let is_served = may_receive(&mark.labels(), Receiver::of(&member, is_aware)).is_ok();
        if is_served && !self.may_have(common, to, mark) {
            self.leaks.push(Leak { at: self.now, from: holder, to, what: "blob" });
        }
        is_served
    }
}
