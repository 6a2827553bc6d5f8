//! Pings, our own and for others: they measure the way, and find out whether a silent peer is there.

use core::time::Duration;

use super::failure_detector::{FailureDetector, Step};
use super::{Lent, Membership};
use crate::id::PeerId;
use crate::message::{Message, Ping, Pong, ProbeAnswered, ProbeRequest};
use crate::rng::some_of;

/// A ping of ours that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ponged {
    /// Its number, as [`Membership::ping_now`] gave it.
    pub sequence: u32,
    /// How long it took.
    pub rtt: Duration,
}

/// Helpers asked about one silent peer.
#[derive(Debug)]
pub(super) struct Asked {
    number: u32,
    helpers: Vec<PeerId>,
}

impl Membership {
    /// A neighbour asks whether we are there.
    pub fn pinged(&mut self, lent: &mut Lent<'_>, from: PeerId, ping: Ping) {
        let Some(known) = self.known.get_mut(&from).filter(|known| known.connected) else { return };
        known.incarnation = ping.incarnation;
        known.exchanged = lent.now;
        if let Some(coordinate) = ping.coordinate {
            lent.latency.located(lent.now, from, coordinate);
        }
        if let Some(load) = ping.load {
            lent.loads.heard(lent.now, from, load);
        }
        if ping.wants_load {
            lent.loads.asked_for(lent.now, from);
        }
        let pong = Pong {
            sequence: ping.sequence,
            incarnation: self.incarnation,
            coordinate: lent.latency.coordinate_for(lent.now, from),
            load: lent.loads.publish(lent.now, from, &(lent.digest)()),
            revocations: self.revocations.head(),
            rules: self.rules_head(),
            services: self.services_head(),
        };
        lent.out.send(from, Message::Pong(pong));
        self.compare_revocations(lent, from, ping.revocations);
        self.compare_rules(lent, from, ping.rules);
        self.compare_services(lent, from, ping.services);
    }

    /// A neighbour answered; the round trip, when the ping was our own.
    pub fn ponged(&mut self, lent: &mut Lent<'_>, from: PeerId, pong: Pong) -> Option<Ponged> {
        let known = self.known.get_mut(&from).filter(|known| known.connected)?;
        known.incarnation = pong.incarnation;
        self.compare_revocations(lent, from, pong.revocations);
        self.compare_rules(lent, from, pong.rules);
        self.compare_services(lent, from, pong.services);
        let known = self.known.get_mut(&from)?;
        if let Some(load) = pong.load {
            lent.loads.heard(lent.now, from, load);
        }
        lent.loads.answered(from, pong.sequence);
        let sent = self.probes.answered(from, pong.sequence)?;
        let rtt = lent.now.since(sent.at);
        match pong.coordinate {
            Some(remote) => lent.latency.observe(lent.now, from, rtt, remote),
            None => lent.latency.sample(lent.now, from, rtt),
        };
        known.exchanged = lent.now;
        if let (Some(watch), Some(rtt)) = (&mut known.watch, lent.latency.rtt(from)) {
            FailureDetector::measured(watch, rtt);
        }
        if let Some((requester, sequence)) = sent.on_behalf {
            let answer = ProbeAnswered { sequence, target: from, incarnation: pong.incarnation };
            if self.is_connected(requester) {
                lent.out.send(requester, Message::ProbeAnswered(answer));
            }
            return None;
        }
        Some(Ponged { sequence: pong.sequence, rtt })
    }

    /// A neighbour does not hear a peer and asks us to try; we take note of its doubt.
    pub fn probe_requested(&mut self, lent: &mut Lent<'_>, from: PeerId, request: ProbeRequest) {
        let target = request.target;
        if !self.is_connected(from) || !self.is_connected(target) || target == from || !self.probes.has_room_for(from) {
            return;
        }
        self.ping(lent, target, Some((from, request.sequence)));
        let Some(known) = self.known.get_mut(&target) else { return };
        let votes = known.votes(lent.now);
        let Some(watch) = &mut known.watch else { return };
        let mut steps = self.detector.doubted(lent.now, target, watch, votes);
        steps.retain(|step| *step != Step::Ping); // the one just sent is as good
        self.carry_out(lent, target, steps);
    }

    /// A helper heard the peer we asked about.
    pub fn probe_answered(&mut self, lent: &mut Lent<'_>, from: PeerId, answer: ProbeAnswered) {
        let Some(asked) = self.asked.get_mut(&answer.target) else { return };
        if asked.number != answer.sequence || !asked.helpers.contains(&from) {
            return;
        }
        self.asked.remove(&answer.target);
        self.vouched_for(lent, answer.target);
    }

    /// Pings a neighbour for a user; [`Membership::ponged`] gives the same number with the answer.
    pub fn ping_now(&mut self, lent: &mut Lent<'_>, peer: PeerId) -> Option<u32> {
        self.is_connected(peer).then(|| self.ping(lent, peer, None))
    }

    pub(super) fn ping(&mut self, lent: &mut Lent<'_>, peer: PeerId, on_behalf: Option<(PeerId, u32)>) -> u32 {
        let sequence = self.probes.sent(lent.now, peer, on_behalf);
        let ping = Ping {
            sequence,
            incarnation: self.incarnation,
            coordinate: lent.latency.coordinate_for(lent.now, peer),
            load: lent.loads.publish_asking(lent.now, peer, sequence, &(lent.digest)()),
            revocations: self.revocations.head(),
            rules: self.rules_head(),
            services: self.services_head(),
            wants_load: !lent.loads.is_heard(peer),
        };
        lent.out.send(peer, Message::Ping(ping));
        sequence
    }

    /// Asks those to probe a silent peer who are connected to it: its other neighbours, as far as it named them, and those
    /// who spoke of it.
    pub(super) fn ask_helpers(&mut self, lent: &mut Lent<'_>, target: PeerId) {
        let accusers = self.known.get(&target).into_iter().flat_map(|known| known.accusers());
        let accusers: Vec<PeerId> = accusers.filter(|peer| self.is_connected(*peer)).collect();
        let candidates = match self.co_holders(target).filter(|holders| !holders.is_empty()) {
            Some(holders) => holders,
            None if !accusers.is_empty() => accusers,
            None => self.others_alive(&[target]),
        };
        let helpers = some_of(lent.rng, candidates, self.helpers);
        let number = self.asked.get(&target).map_or(0, |asked| asked.number.wrapping_add(1));
        for helper in &helpers {
            lent.out.send(*helper, Message::ProbeRequest(ProbeRequest { sequence: number, target }));
        }
        self.asked.insert(target, Asked { number, helpers });
    }

    pub(super) fn others_alive(&self, except: &[PeerId]) -> Vec<PeerId> {
        self.alive_neighbours().map(|known| known.member.peer).filter(|peer| !except.contains(peer)).collect()
    }
}
