//! Lending sub-machines to each other: each sees of its siblings what it is lent for the time of one call.

use core::cell::OnceCell;
use std::collections::BTreeMap;

use super::Peer;
use super::sites::sites;
use crate::certificate::Member;
use crate::id::PeerId;
use crate::load::LoadView;
use crate::membership::{Lent, Membership, Neighbour};
use crate::output::Outbox;
use crate::residency::{Denial, Labels, Receiver, may_receive};
use crate::task::executor::{self, Executing};
use crate::task::requester::{self, Requester};
use crate::time::Time;

impl Peer {
    pub(super) fn with_membership<T>(&mut self, now: Time, act: impl FnOnce(&mut Membership, &mut Lent<'_>) -> T) -> T {
        let (executing, durable) = (&self.executing, &self.requester.durable);
        let partners = OnceCell::new();
        let mut lent = Lent {
            now,
            rng: &mut self.rng,
            out: &mut self.outbox,
            latency: &mut self.latency,
            loads: &mut self.loads,
            digest: &|| executing.digest(now),
            needs: &|peer| executing.serves(peer) || partners.get_or_init(|| durable.partners()).contains(&peer),
        };
        act(&mut self.membership, &mut lent)
    }

    pub(super) fn with_executing<T>(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Executing, &executor::Around<'_>, &mut Outbox) -> T,
    ) -> T {
        let (loads, latency, membership) = (&self.loads, &self.latency, &self.membership);
        let estimates = &self.estimates;
        let elsewhere = |peer| {
            if estimates.distrusts(peer) {
                return None;
            }
            // What is remembered of a peer outlives the connection to it, and nothing reaches it then.
            membership.neighbour(peer).filter(|neighbour| neighbour.is_alive())?;
            let rtt = latency.expected_rtt(peer)?;
            let expected = loads.expected(now, peer, rtt)?;
            let (start_in, load) = (expected.start_in, expected.digest);
            Some(executor::Elsewhere { start_in, rtt, load })
        };
        let me = &self.me;
        let permits = |peer, labels: &Labels| permits(me, membership, loads, peer, labels).is_ok();
        let around = executor::Around { estimates: &self.estimates, elsewhere: &elsewhere, permits: &permits };
        act(&mut self.executing, &around, &mut self.outbox)
    }

    pub(super) fn with_requester<T>(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Requester, &mut requester::Around<'_>, &mut Outbox) -> T,
    ) -> T {
        let (own_load, found) = (OnceCell::new(), OnceCell::new());
        let (me, membership, latency, loads) = (&self.me, &self.membership, &self.latency, &self.loads);
        let (executing, rules) = (&self.executing, self.calendar.rules(now, membership, me));
        let own_load = || own_load.get_or_init(|| executing.next_place(now));
        let sites = || found.get_or_init(|| sites(now, me, own_load(), membership, latency, loads)).as_slice();
        let is_here = |peer| peer == me.peer || membership.neighbour(peer).is_some_and(Neighbour::is_alive);
        let mut around = requester::Around {
            sites: &sites,
            is_here: &is_here,
            permits: &|peer, labels| permits(me, membership, loads, peer, labels),
            estimates: &self.estimates,
            holders: &self.holders,
            address: &|peer| membership.neighbour(peer).and_then(|known| known.best_address().map(str::to_owned)),
            lambda: self.config.lambda,
            uplink_bits_per_s: self.flow.left_of(now, self.config.uplink_bits_per_s),
            rules,
            rng: &mut self.rng,
        };
        act(&mut self.requester, &mut around, &mut self.outbox)
    }
}

/// Whether data with these labels may go to a peer, or be here.
pub(super) fn permits(
    me: &Member,
    membership: &Membership,
    loads: &LoadView,
    to: PeerId,
    labels: &Labels,
) -> Result<(), Denial> {
    if labels.is_empty() {
        return Ok(());
    }
    if to == me.peer {
        return may_receive(labels, Receiver::of(me, true));
    }
    let (nothing, member) = (BTreeMap::new(), membership.member(to));
    let certified = member.map_or(&nothing, |member| &member.labels);
    may_receive(labels, Receiver { certified, understands: member.is_some() && loads.understands_labels(to) })
}
