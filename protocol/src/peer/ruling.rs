//! Business rules and the rest of the peer: which are in force, what hour it is, and what flows.

use super::Peer;
use crate::api::flow::FlowView;
use crate::certificate::Member;
use crate::flow::crosses_wan;
use crate::id::{BlobId, PeerId};
use crate::membership::{Deployed, Membership};
use crate::message::Message;
use crate::rules::{InForce, VerifiedRules, minute_of_week};
use crate::task::spec::Payload;
use crate::time::Time;

/// What the driver said of the date.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calendar(Option<(Time, u64)>);

impl Calendar {
    pub(super) fn told(&mut self, now: Time, unix_s: u64) {
        self.0 = Some((now, unix_s));
    }

    /// Seconds since 1970; nothing where the date was never told.
    pub(super) fn unix_s(self, now: Time) -> Option<u64> {
        self.0.map(|(at, unix_s)| unix_s.saturating_add(now.since(at).as_secs()))
    }

    /// The rules in force at a peer, at this hour.
    pub(super) fn rules<'a>(self, now: Time, membership: &'a Membership, me: &'a Member) -> Option<InForce<'a>> {
        let held = membership.deployed().held()?;
        let offset = held.rules.set().utc_offset_min;
        let minute = self.unix_s(now).map(|unix_s| minute_of_week(unix_s, offset));
        Some(InForce { rules: &held.rules, minute, home: me })
    }
}

impl Peer {
    /// The business rules, and where they come from.
    pub fn deployed(&self) -> &Deployed {
        self.membership.deployed()
    }

    /// Whether a set of rules would replace the one in force here.
    pub fn would_replace(&self, verified: &VerifiedRules) -> bool {
        self.membership.replaces(verified)
    }

    /// Whether a way to a peer leads to another site or to the cloud; one that is not known is far.
    pub fn is_far(&self, peer: PeerId) -> bool {
        self.membership.member(peer).is_none_or(|member| crosses_wan(&self.me, member))
    }

    /// What flows out of this peer.
    pub fn flow(&self, now: Time) -> FlowView {
        let name = |peer: PeerId| self.member(peer).map_or_else(|| peer.short(), |member| member.name);
        self.flow.view(now, self.config.uplink_bits_per_s, name)
    }

    /// Bytes of data sent since the start, over the WAN and within the site.
    pub fn flow_totals(&self) -> [u64; 2] {
        self.flow.totals()
    }

    pub(super) fn rules_in_force(&self, now: Time) -> Option<InForce<'_>> {
        self.calendar.rules(now, &self.membership, &self.me)
    }

    pub(super) fn deploy(&mut self, now: Time, verified: VerifiedRules) {
        if self.with_membership(now, |m, lent| m.deploy(lent, verified)) {
            self.requester.shares.forget_rules();
        }
    }

    pub(super) fn served(&mut self, now: Time, to: PeerId, blob: BlobId, bytes: u64) {
        let is_far = self.is_far(to);
        self.flow.served(now, to, is_far, blob, bytes);
        self.tell_what_is_left(now);
    }

    /// Others reckon with what is left of the uplink.
    pub(super) fn tell_what_is_left(&mut self, now: Time) {
        let left = self.flow.left_of(now, self.config.uplink_bits_per_s);
        self.executing.uplink_left(left);
    }

    /// Inputs and outputs that are about to leave.
    pub(super) fn count_flow(&mut self, now: Time) {
        for moved in self.requester.take_moved() {
            let is_far = self.is_far(moved.to);
            self.flow.sent(now, moved.to, is_far, moved.inline_bytes, &moved.source);
            moved.blobs.iter().for_each(|blob| self.flow.announced(*blob, &moved.source));
        }
        for (to, message) in self.outbox.sent() {
            if let Message::Outcome(outcome) = message
                && let Payload::Inline(bytes) = &outcome.report.output
            {
                let is_far = self.membership.member(to).is_none_or(|member| crosses_wan(&self.me, member));
                self.flow.returned(now, to, is_far, bytes.len() as u64);
            }
        }
    }
}
