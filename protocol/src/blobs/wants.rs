//! Asking the view for a blob whose holder is gone, or cannot be the only one.
//!
//! ```text
//! Want ─► every neighbour · Have ◄─ who has it ─► GATHER later, or after PATIENCE: those that were found
//! ```
//!
//! **Invariant:** only an answer to a question that is open is heard, once of each peer; whoever does not have it is silent.
//! **Not here:** who is asked, and what is in the store.

use core::time::Duration;
use std::collections::BTreeMap;

use super::Holders;
use crate::id::{BlobId, PeerId};
use crate::message::{Have, Held, Message, Want};
use crate::output::{Outbox, Output};
use crate::time::Time;

/// A neighbour that has it says so within this: a round trip between continents, and a busy peer.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// After the first answer, others have this long: those that are as near.
const GATHER: Duration = Duration::from_millis(20);
/// Questions under way; beyond, the driver is told that nobody was found.
const QUESTIONS_MAX: usize = 1_024;
/// Peers found that hold one blob.
const FOUND_MAX: usize = 16;
/// Blobs named in one message.
pub const BLOBS_PER_MESSAGE_MAX: usize = 32;

#[derive(Debug)]
struct Question {
    blob: BlobId,
    until: Time,
    found: Vec<PeerId>,
}

/// The questions that wait for answers.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    /// By the driver's ticket.
    open: BTreeMap<u64, Question>,
}

impl Wants {
    /// The driver looks for a blob.
    pub(crate) fn sought(
        &mut self,
        now: Time,
        blob: BlobId,
        ticket: u64,
        neighbours: impl Iterator<Item = PeerId>,
        out: &mut Outbox,
    ) {
        let mut neighbours = neighbours.peekable();
        if neighbours.peek().is_none() || self.open.len() >= QUESTIONS_MAX {
            return out.push(Output::BlobFound { ticket, holders: Vec::new() });
        }
        self.open.insert(ticket, Question { blob, until: now + PATIENCE, found: Vec::new() });
        for peer in neighbours {
            out.send(peer, Message::Want(Want { blobs: vec![blob] }));
        }
    }

    /// A neighbour has some of what was asked for.
    pub(crate) fn have(&mut self, now: Time, from: PeerId, have: &Have, holders: &mut Holders) {
        for Held { blob, bytes, labels } in have.blobs.iter().take(BLOBS_PER_MESSAGE_MAX) {
            for question in self.open.values_mut().filter(|question| question.blob == *blob) {
                if question.found.len() < FOUND_MAX && !question.found.contains(&from) {
                    question.found.push(from);
                    question.until = question.until.min(now + GATHER);
                    holders.note(from, *blob, *bytes);
                    holders.labelled(*blob, labels);
                }
            }
        }
    }

    /// Says what was found to those that have waited long enough.
    pub(crate) fn timer(&mut self, now: Time, out: &mut Outbox) {
        let due: Vec<u64> =
            self.open.iter().filter(|(_, question)| question.until <= now).map(|(ticket, _)| *ticket).collect();
        for ticket in due {
            if let Some(Question { found, .. }) = self.open.remove(&ticket) {
                out.push(Output::BlobFound { ticket, holders: found });
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.open.values().map(|question| question.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: BlobId = BlobId([9; 32]);

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn have(bytes: u64) -> Have {
        Have { blobs: vec![Held { blob: BLOB, bytes, labels: Default::default() }] }
    }

    #[test]
    fn neighbours_are_asked_and_those_that_answer_together_are_found() {
        let (mut wants, mut holders, mut out) = (Wants::default(), Holders::default(), Outbox::default());

        wants.sought(Time::ZERO, BLOB, 7, [peer(1), peer(2), peer(3)].into_iter(), &mut out);
        assert_eq!(out.drain().len(), 3);
        let first = Time::from_millis(30);
        wants.have(first, peer(2), &have(5), &mut holders);
        wants.have(first + GATHER, peer(1), &have(5), &mut holders);
        wants.have(first + GATHER, peer(1), &have(5), &mut holders);
        wants.timer(first + GATHER, &mut out);

        assert_eq!(out.drain(), [Output::BlobFound { ticket: 7, holders: vec![peer(2), peer(1)] }]);
        assert_eq!((holders.of(BLOB), holders.bytes_of(BLOB)), (&[peer(2), peer(1)][..], Some(5)));
        assert_eq!(wants.next_deadline(), None);
    }

    #[test]
    fn what_nobody_asked_for_is_not_heard() {
        let (mut wants, mut holders) = (Wants::default(), Holders::default());

        wants.have(Time::ZERO, peer(1), &have(5), &mut holders);

        assert!(holders.of(BLOB).is_empty());
    }

    #[test]
    fn silence_and_loneliness_end_as_well() {
        let (mut wants, mut out) = (Wants::default(), Outbox::default());

        wants.sought(Time::ZERO, BLOB, 1, [].into_iter(), &mut out);
        wants.sought(Time::ZERO, BLOB, 2, [peer(1)].into_iter(), &mut out);
        wants.timer(Time::ZERO + PATIENCE, &mut out);

        let nobody = |ticket| Output::BlobFound { ticket, holders: Vec::new() };
        let outputs = out.drain();
        assert_eq!((&outputs[0], &outputs[2]), (&nobody(1), &nobody(2)));
    }
}
