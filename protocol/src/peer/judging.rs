//! What follows from how others behave: whose messages are heard, who is placed on, who has a connection.

use core::time::Duration;

use super::Peer;
use crate::conduct::{Admission, Sentence};
use crate::id::PeerId;
use crate::input::Input;
use crate::message::{DeclineReason, Declined, Message};
use crate::output::{Event, Judgement, Output};
use crate::placement::word::Kept;
use crate::time::Time;

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
            // A task of ours that somebody sends us is none that we gave away.
            Message::Award(award) if award.home_or(from) != self.me.peer => (award.home_or(from), award.attempt),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::certificate::{Member, Role};
    use crate::config::PeerConfig;
    use crate::message::TaskRef;

    const NOISY: PeerId = PeerId([2; 32]);

    fn member(n: u8) -> Member {
        Member { peer: PeerId([n; 32]), name: format!("peer-{n}"), role: Role::Edge, labels: BTreeMap::new() }
    }

    fn told(peer: &mut Peer, now: Time, input: Input) -> Vec<Output> {
        peer.handle(now, input);
        core::iter::from_fn(|| peer.poll_output()).collect()
    }

    fn with_noisy_neighbour() -> Peer {
        let mut peer = Peer::new(member(1), PeerConfig::default(), 1, Time::ZERO);
        told(&mut peer, Time::ZERO, Input::Connected { member: member(2), address: None });
        peer
    }

    fn judgements(outputs: &[Output]) -> Vec<Judgement> {
        let judgement = |output: &Output| match output {
            Output::Notify(Event::PeerJudged { peer: NOISY, judgement, .. }) => Some(*judgement),
            _ => None,
        };
        outputs.iter().filter_map(judgement).collect()
    }

    /// Sends bytes that are no message, ten times a second, until something follows.
    fn until_judged(peer: &mut Peer, from: Time) -> (Time, Vec<Output>) {
        (0..10_000)
            .map(|n| from + Duration::from_millis(100) * n)
            .map(|now| (now, told(peer, now, Input::Garbled { from: NOISY })))
            .find(|(_, outputs)| !judgements(outputs).is_empty())
            .expect("nobody may go on like this")
    }

    #[test]
    fn who_talks_nonsense_is_not_heard_or_placed_on_and_in_the_end_not_let_in() {
        let mut peer = with_noisy_neighbour();
        let (mut now, outputs) = until_judged(&mut peer, Time::ZERO);
        assert_eq!(judgements(&outputs), [Judgement::CoolsOff]);
        assert!(peer.distrusts(NOISY) && peer.is_neighbour(NOISY));
        let load = Message::Load(crate::placement::test_load());
        told(&mut peer, now, Input::Received { from: NOISY, message: load });
        assert!(peer.loads.digest(NOISY).is_none(), "what it says of itself is not heard");

        let mut last = outputs;
        while judgements(&last) != [Judgement::Banned] {
            (now, last) = until_judged(&mut peer, now);
        }

        assert!(last.iter().any(|output| matches!(output, Output::Disconnect { peer: NOISY, .. })));
        assert!(!peer.is_neighbour(NOISY));
        let again = || Input::Connected { member: member(2), address: None };
        let refused = told(&mut peer, now + Duration::from_secs(3_599), again());
        assert!(matches!(refused[..], [Output::Disconnect { peer: NOISY, .. }]), "{refused:?}");
        told(&mut peer, now + Duration::from_secs(3_600), again());
        assert!(peer.is_neighbour(NOISY), "an hour later it may try again");
    }

    #[test]
    fn the_home_of_a_task_that_comes_during_a_cool_off_is_told_to_look_elsewhere() {
        let mut peer = with_noisy_neighbour();
        let (now, _) = until_judged(&mut peer, Time::ZERO);
        let attempt = TaskRef { task: crate::id::TaskId([7; 16]), epoch: 1 };
        let award = crate::message::Award {
            attempt,
            home: NOISY,
            variant: 0,
            spec: crate::task::spec::TaskSpec::of_module(crate::id::BlobId([9; 32]), 1_000),
            work: Duration::from_millis(10),
            works_us: Vec::new(),
            expected_start: Duration::ZERO,
            firm: false,
            hops: 0,
            alternatives: Vec::new(),
            near: Default::default(),
            kept: false,
            received: Vec::new(),
            safe: Default::default(),
        };

        let outputs = told(&mut peer, now, Input::Received { from: NOISY, message: Message::Award(Box::new(award)) });

        let refusal = Declined { attempt, reason: DeclineReason::QueueFull, load: None };
        assert_eq!(outputs, [Output::Send { to: NOISY, message: Message::Declined(refusal) }]);
    }
}
