//! What is settled after each fact, before anybody outside hears of it.

use super::Peer;
use crate::certificate::Role;
use crate::id::PeerId;
use crate::message::{Contact, Message};
use crate::output::PeerState;
use crate::placement::word::Kept;
use crate::task::requester::Assignment;
use crate::time::Time;

impl Peer {
    /// What follows from any fact: lost peers lose their tasks, awards enter the load view, neighbours hear of our load.
    pub(super) fn settle(&mut self, now: Time) {
        for (peer, state) in self.membership.take_changes() {
            match state {
                PeerState::Dead | PeerState::Left => self.lost(now, peer),
                PeerState::Alive | PeerState::Suspect => {}
            }
        }
        self.heed(now);
        for contact in self.requester.durable.take_wanted() {
            let Contact { peer, address } = contact;
            self.with_membership(now, |m, lent| m.called_for(lent, peer, address));
        }
        for assignment in self.requester.take_assignments() {
            self.assign(now, assignment);
        }
        for (peer, blob, labels) in self.requester.take_seen() {
            self.holders.note(peer, blob.id, blob.bytes);
            self.holders.labelled(blob.id, &labels);
        }
        for (peer, kept) in self.requester.take_words() {
            self.word(now, peer, kept);
        }
        self.count_flow(now);
        self.count_calls();
        self.look_after_services(now);
        for (to, attempt, run, rtt) in self.executing.take_passed() {
            self.loads.assigned(now, to, attempt, run, rtt);
        }
        for (to, message) in self.outbox.sent() {
            if let Some(load) = message.load_beside() {
                self.loads.published(now, to, load);
            }
        }
        let (role, membership, loads, out) = (self.me.role, &self.membership, &mut self.loads, &mut self.outbox);
        self.publisher.publish(now, membership, &mut self.executing, loads, out);
        // Clouds have no idle cores to offer that everybody does not know of.
        if role == Role::Edge {
            self.puller.pull(now, &self.executing, membership, &self.latency, loads, out);
        }
        self.leave_if_done(now);
        self.abridge(now);
    }

    /// Who is known to read short forms gets them.
    fn abridge(&mut self, now: Time) {
        for (to, message) in self.outbox.sent_mut() {
            if let Message::Award(award) = message
                && self.loads.reads_brief(to)
            {
                award.abridge(self.me.peer);
            }
            if let Some(load) = message.load_mut() {
                self.loads.abridge(now, to, load);
            }
        }
    }

    /// What this peer says to itself is heard, and what councils decided is acted on, until there is no more of either.
    fn heed(&mut self, now: Time) {
        loop {
            while let Some(message) = self.outbox.pop_to_self() {
                self.receive(now, self.me.peer, message);
            }
            if self.serve_pipelines(now) {
                continue;
            }
            if !self.requester.has_happened() {
                return;
            }
            self.with_requester(now, |r, around, out| r.heed(now, around, out));
        }
    }

    /// Given work burdens its receiver until its digest says so, and makes us listen to it closely.
    fn assign(&mut self, now: Time, assignment: Assignment) {
        match assignment {
            Assignment::Given { to, attempt, run, known_after } => {
                self.loads.assigned(now, to, attempt, run, known_after);
                self.word(now, to, Kept::Given);
                self.given.entry(to).or_default().insert(attempt);
                self.membership.watch(to, true);
            }
            Assignment::Settled { to, attempt } => {
                self.loads.settled(to, attempt);
                let Some(given) = self.given.get_mut(&to) else { return };
                given.remove(&attempt);
                if given.is_empty() {
                    self.given.remove(&to);
                    self.membership.watch(to, false);
                }
            }
        }
    }

    fn lost(&mut self, now: Time, peer: PeerId) {
        self.loads.forget(peer);
        self.estimates.peer_lost(peer);
        self.holders.peer_lost(peer);
        self.desk.peer_lost(peer);
        self.executing.home_lost(now, peer);
        self.with_requester(now, |r, around, out| r.peer_lost(now, peer, around, out));
    }
}
