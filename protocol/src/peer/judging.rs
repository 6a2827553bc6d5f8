//! What follows from how others behave: whose messages are heard, who is placed on, who has a connection.

use super::*;
use crate::conduct::Sentence;
use crate::message::{DeclineReason, Declined};
use crate::output::{Event, Judgement};

impl Peer {
    /// Whether a fact is to be acted on: what neighbours say passes here, and nobody who is banned gets in.
    pub(super) fn is_heard(&mut self, now: Time, input: &Input) -> bool {
        match input {
            Input::Received { from, message } => {
                let (admission, sentence) = self.conduct.said(now, *from, message);
                self.sentence(now, *from, sentence);
                match admission {
                    Admission::Heard => true,
                    Admission::Dropped => false,
                    Admission::Refused => {
                        self.refuse(*from, message);
                        false
                    }
                }
            }
            Input::Connected { member, .. } if self.conduct.is_banned(now, member.peer) => {
                let reason = "it is banned for a while, because of how it behaved".into();
                self.outbox.push(Output::Disconnect { peer: member.peer, reason });
                false
            }
            _ => true,
        }
    }

    /// Tells the home of a task that it must run elsewhere.
    fn refuse(&mut self, from: PeerId, message: &Message) {
        let (home, attempt) = match message {
            Message::Award(award) => (award.home_or(from), award.attempt),
            _ => return, // who asked hears no offer, and that is an answer
        };
        let refusal = Declined { attempt, reason: DeclineReason::QueueFull, load: None };
        self.outbox.push(Output::Send { to: home, message: Message::Declined(refusal) });
    }

    /// A task that a peer was given has come to something: that may be the end of our trust for a while.
    pub(super) fn word(&mut self, now: Time, peer: PeerId, kept: Kept) {
        if let Some(until) = self.estimates.kept_word(now, peer, kept) {
            self.tell_judgement(peer, Judgement::Distrusted, until.since(now));
        }
    }

    /// Carries out what its conduct brings a peer.
    pub(super) fn sentence(&mut self, now: Time, peer: PeerId, sentence: Option<Sentence>) {
        match sentence {
            None => {}
            Some(Sentence::CoolOff(span)) => {
                self.estimates.distrust(peer, now + span);
                self.tell_judgement(peer, Judgement::CoolsOff, span);
            }
            Some(Sentence::Ban(span)) => {
                self.estimates.distrust(peer, now + span);
                self.tell_judgement(peer, Judgement::Banned, span);
                self.with_membership(now, |m, lent| m.shut_out(lent, peer, now + span));
            }
        }
    }

    fn tell_judgement(&mut self, peer: PeerId, judgement: Judgement, span: Duration) {
        self.outbox.notify(Event::PeerJudged { peer, judgement, for_s: span.as_secs() });
    }
}
