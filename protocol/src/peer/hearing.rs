//! Where each message goes, once the peer that says it is listened to.

use super::Peer;
use super::seek::PASSED_ON_MAX;
use crate::blobs::BLOBS_PER_MESSAGE_MAX;
use crate::id::PeerId;
use crate::message::{LoadDigest, Message, Want};
use crate::output::Output;
use crate::rng::some_of;
use crate::time::Time;

impl Peer {
    pub(super) fn receive(&mut self, now: Time, from: PeerId, message: Message) {
        match message {
            Message::Beat(beat) => self.with_membership(now, |m, lent| m.beaten(lent, from, beat)),
            Message::Will(will) => self.membership.will(from, *will),
            Message::Parting(why) => self.membership.parting(from, why),
            Message::Ping(ping) => self.with_membership(now, |m, lent| m.pinged(lent, from, ping)),
            Message::Pong(pong) => {
                if let Some(ponged) = self.with_membership(now, |m, lent| m.ponged(lent, from, pong)) {
                    self.pings.answered(from, ponged, &mut self.outbox);
                }
            }
            Message::ProbeRequest(request) => {
                self.with_membership(now, |m, lent| m.probe_requested(lent, from, request));
            }
            Message::ProbeAnswered(answer) => {
                self.with_membership(now, |m, lent| m.probe_answered(lent, from, answer));
            }
            Message::Rumour(rumour) => self.with_membership(now, |m, lent| m.rumour(lent, from, rumour)),
            Message::Records(records) => self.with_membership(now, |m, lent| m.records(lent, from, records)),
            Message::Revocations(signed) => self.with_membership(now, |m, lent| m.revocations_told(lent, *signed)),
            Message::Rules(word) => self.with_membership(now, |m, lent| m.rules_word(lent, from, *word)),
            Message::Services(word) => self.services_word(now, from, *word),
            Message::Leaving => self.with_membership(now, |m, lent| m.left(lent, from)),
            Message::Load(load) => self.loaded(now, from, load),
            Message::Pull(load) => {
                self.loaded(now, from, load);
                self.with_executing(now, |e, around, out| e.handle_pull(now, from, around, out));
            }
            Message::Ask(ask) => self.with_executing(now, |e, around, out| e.handle_ask(now, from, &ask, around, out)),
            Message::Award(mut award) => {
                award.expand(from, |short| self.membership.by_short(short).map(|known| known.member.peer));
                if from != self.me.peer {
                    self.publisher.customer(now, from);
                }
                if let Some(variant) = award.spec.variants.get(usize::from(award.variant)) {
                    self.ran_for_service(now, variant.module);
                }
                self.with_executing(now, |e, around, out| e.handle_award(now, from, *award, around, out));
            }
            Message::Release(attempt) => self.executing.handle_release(attempt),
            Message::Query(attempt) => self.executing.handle_query(now, from, attempt, &mut self.outbox),
            Message::Cancel(attempt) => self.executing.handle_cancel(now, from, attempt, &mut self.outbox),
            Message::OutcomesReceived(attempts) => self.executing.handle_outcomes_received(from, &attempts),
            Message::Offer(offer) => {
                self.loaded(now, from, offer.load.clone());
                self.with_requester(now, |r, around, out| r.handle_offer(now, from, &offer, around, out));
            }
            Message::Accepted(accepted) => {
                self.loaded(now, from, accepted.load.clone());
                self.requester.handle_accepted(now, from, &accepted, &mut self.outbox);
            }
            Message::Declined(declined) => {
                self.loads.settled(from, declined.attempt);
                if let Some(load) = declined.load.clone() {
                    self.loaded(now, from, load);
                }
                self.with_requester(now, |r, around, out| r.handle_declined(now, from, &declined, around, out));
            }
            Message::Forwarded(forwarded) => {
                self.loaded(now, from, forwarded.load.clone());
                self.with_requester(now, |r, around, out| r.handle_forwarded(now, from, &forwarded, around, out));
            }
            Message::Council(counsel) => {
                self.with_requester(now, |r, around, out| r.handle_counsel(now, from, *counsel, around, out));
            }
            Message::Seek(seek) => {
                let here = self.requester.find(now, seek.task);
                let others = || {
                    let others = self.membership.alive_neighbours().map(|neighbour| neighbour.member.peer);
                    some_of(&mut self.rng, others.filter(|peer| *peer != from).collect(), PASSED_ON_MAX)
                };
                self.seeking.asked(now, from, seek, here, others, &mut self.outbox);
            }
            Message::Found(answer) => self.seeking.found(*answer, &mut self.outbox),
            Message::Memo(word) => self.memo_word(now, from, *word),
            Message::Want(Want { mut blobs }) => {
                blobs.truncate(BLOBS_PER_MESSAGE_MAX);
                self.outbox.push(Output::LookUp { from, blobs });
            }
            Message::Have(have) => self.wants.have(now, from, &have, &mut self.holders),
            Message::Hold(hold) => self.executing.handle_hold(from, hold, &mut self.outbox),
            Message::Progress(progress) => self.requester.handle_progress(now, from, progress, &mut self.outbox),
            Message::Outcome(outcome) => {
                // The digest inside does not count the attempt any more, so our own reckoning must not either.
                self.loads.settled(from, outcome.attempt);
                self.loaded(now, from, outcome.load.clone());
                let learnt =
                    self.with_requester(now, |r, around, out| r.handle_outcome(now, from, *outcome, around, out));
                if let Some(learnt) = learnt {
                    learnt.teach(&mut self.estimates);
                }
            }
        }
    }

    fn loaded(&mut self, now: Time, from: PeerId, load: LoadDigest) {
        if from != self.me.peer {
            self.loads.heard(now, from, load);
        }
    }
}
