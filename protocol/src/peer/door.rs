//! The door: every message that leaves passes here, and one that carries data leaves only for who may have it.
//!
//! Whoever chooses a receiver has asked the same rule before; what is stopped here was chosen by mistake, or before something
//! was known. It is counted and told, and is never a silent loss: the other side asks again, or hears why not.
//!
//! **Invariant:** [`Peer::poll_output`] is the only way out of the outbox, and this is its only gate.
//! **Not here:** blobs. The driver serves those, by the same rule.

use super::Peer;
use crate::id::PeerId;
use crate::message::{DeclineReason, Declined, Have, Held, Message, Outcome};
use crate::output::{Event, Output};
use crate::pipeline::memo::MemoWord;
use crate::residency::Denial;
use crate::task::spec::Payload;

impl Peer {
    /// The order, unless it would say something to who may not hear it.
    pub(super) fn at_the_door(&mut self, output: Output) -> Option<Output> {
        let Output::Send { to, message } = output else { return Some(output) };
        let denial = message.carried().into_iter().find_map(|labels| self.permits(to, labels).err());
        let Some(denial) = denial else { return Some(Output::Send { to, message }) };
        *self.withheld.entry(denial.rule()).or_default() += 1;
        let (what, rule, why) = (message.kind().to_owned(), denial.rule().to_owned(), denial.to_string());
        self.outbox.notify(Event::Withheld { peer: to, what, rule, why });
        if let Some(message) = instead(message, &denial) {
            self.outbox.push(Output::Send { to, message });
        }
        None
    }

    /// What of it is here, said to who may have it.
    pub(super) fn looked_up(&mut self, to: PeerId, mut here: Vec<Held>) {
        here.retain(|held| self.permits(to, &held.labels).is_ok());
        if !here.is_empty() {
            self.outbox.send(to, Message::Have(Have { blobs: here }));
        }
    }
}

/// What is said in place of data that may not go there, so that nobody waits for it; nothing where silence is an answer.
fn instead(message: Message, denial: &Denial) -> Option<Message> {
    match message {
        // It will be asked after, by who has spoken by then.
        Message::Outcome(_) if *denial == Denial::Unaware => None,
        Message::Outcome(outcome) => Some(instead_of_outcome(*outcome, denial)),
        Message::Memo(word) => match *word {
            MemoWord::Recalled(key, _) => Some(Message::Memo(Box::new(MemoWord::Recalled(key, None)))),
            MemoWord::Recall(_) | MemoWord::Remember(..) => None,
        },
        _ => None,
    }
}

/// An output that stays where it was made is named without what was written beside it; of any other its home hears why not.
fn instead_of_outcome(mut outcome: Outcome, denial: &Denial) -> Message {
    if matches!(outcome.report.output, Payload::Blob(_)) {
        outcome.report.log.clear();
        return Message::Outcome(Box::new(outcome));
    }
    let reason = DeclineReason::Unacceptable(format!("its output may not go home: {denial}"));
    Message::Declined(Declined { attempt: outcome.attempt, reason, load: None })
}
