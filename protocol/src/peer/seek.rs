//! Tasks that are asked for at a peer that does not know them: their home, or its guardian, is within a few hops.
//!
//! **Invariant:** a question is passed on at most [`SEEK_HOPS`] times, and remembered no longer than [`PATIENCE`]; those of
//! neighbours leave room for those of users here and for each other's; whoever does not know is silent. The id of a task is derived from a secret of its user: to know it is to be allowed to ask.
//! **Not here:** what is known of a task. That is the requesting half.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::config::SEEK_HOPS;
use crate::id::{PeerId, TaskId};
use crate::message::{FoundHere, Message, Seek};
use crate::output::{Outbox, Output};
use crate::task::durable::Found;
use crate::time::Time;

/// An answer comes within this, or none does: two hops there and back between continents, and a busy peer.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Questions of users here under way.
const OWN_MAX: usize = 1_024;
/// Questions of neighbours under way: they take no place of those of users here.
const PASSED_MAX: usize = 8 * OWN_MAX;
/// Of one neighbour: as many as its own users may have, and several would have to conspire to keep the others from asking.
const PASSED_OF_ONE_MAX: usize = OWN_MAX;
/// Neighbours to whom a question of somebody else is passed on, chosen anew each time: in a large mesh those that are asked cover
/// each other's views together, and whoever asks again reaches others. An edge peer of such a mesh has about as many.
pub(super) const PASSED_ON_MAX: usize = 32;

#[derive(Debug)]
enum Asker {
    /// A user here, by the driver's ticket.
    User(u64),
    /// A neighbour, by its own ticket.
    Neighbour(PeerId, u64),
}

#[derive(Debug)]
struct Question {
    task: TaskId,
    asker: Asker,
    until: Time,
    /// What is known by hearsay, or of a record that cannot be read: another peer may know more.
    so_far: Option<Box<Found>>,
}

/// The questions that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Seeking {
    open: BTreeMap<u64, Question>,
    asked: u64,
}

impl Seeking {
    /// A user asks for a task.
    pub(super) fn sought(
        &mut self,
        now: Time,
        task: TaskId,
        ticket: u64,
        here: Option<Found>,
        neighbours: Vec<PeerId>,
        out: &mut Outbox,
    ) {
        let is_known = here.as_ref().is_some_and(|found| !found.is_hearsay());
        let here = here.map(Box::new);
        if is_known || neighbours.is_empty() || !self.has_room() {
            return out.push(Output::Found { ticket, found: here });
        }
        let question = Question { task, asker: Asker::User(ticket), until: now + PATIENCE, so_far: here };
        self.ask(question, SEEK_HOPS, neighbours, out);
    }

    /// A neighbour asks for a task; it is passed on to [`PASSED_ON_MAX`] `others`.
    pub(super) fn asked(
        &mut self,
        now: Time,
        from: PeerId,
        seek: Seek,
        here: Option<Found>,
        others: impl FnOnce() -> Vec<PeerId>,
        out: &mut Outbox,
    ) {
        if let Some(found) = here {
            let is_last_word = !found.is_hearsay();
            let answer = FoundHere { ticket: seek.ticket, found };
            out.send(from, Message::Found(Box::new(answer)));
            if is_last_word {
                return;
            }
        }
        let hops = seek.hops.min(SEEK_HOPS);
        if hops == 0
            || self.under_way(|asker| matches!(asker, Asker::Neighbour(..))) >= PASSED_MAX
            || self.under_way(|asker| matches!(asker, Asker::Neighbour(peer, _) if *peer == from)) >= PASSED_OF_ONE_MAX
        {
            return;
        }
        let asker = Asker::Neighbour(from, seek.ticket);
        let question = Question { task: seek.task, asker, until: now + PATIENCE, so_far: None };
        self.ask(question, hops - 1, others(), out);
    }

    /// Whether another user may ask: when not, that nobody is found says nothing.
    pub(super) fn has_room(&self) -> bool {
        self.under_way(|asker| matches!(asker, Asker::User(_))) < OWN_MAX
    }

    fn under_way(&self, of: impl Fn(&Asker) -> bool) -> usize {
        self.open.values().filter(|question| of(&question.asker)).count()
    }

    fn ask(&mut self, question: Question, hops: u8, whom: Vec<PeerId>, out: &mut Outbox) {
        self.asked += 1;
        let task = question.task;
        self.open.insert(self.asked, question);
        for peer in whom {
            out.send(peer, Message::Seek(Seek { ticket: self.asked, task, hops }));
        }
    }

    /// A neighbour knows it: the first answer counts. One by hearsay, or whose record is damaged, is heard when nobody knows more.
    pub(super) fn found(&mut self, answer: FoundHere, out: &mut Outbox) {
        let FoundHere { ticket: ours, found } = answer;
        let Some(question) = self.open.get_mut(&ours).filter(|question| question.task == found.task) else { return };
        let is_last_word = !found.is_hearsay();
        match question.asker {
            Asker::User(_) if !is_last_word => {
                if question.so_far.as_ref().is_none_or(|known| known.is_damaged()) {
                    question.so_far = Some(Box::new(found));
                }
            }
            Asker::User(ticket) => out.push(Output::Found { ticket, found: Some(Box::new(found)) }),
            Asker::Neighbour(peer, ticket) => {
                out.send(peer, Message::Found(Box::new(FoundHere { ticket, found })));
            }
        }
        if is_last_word {
            self.open.remove(&ours);
        }
    }

    /// Gives up the questions that nobody answered.
    pub(super) fn timer(&mut self, now: Time, out: &mut Outbox) {
        // Questions are numbered in the order of their time.
        while let Some(entry) = self.open.first_entry().filter(|entry| entry.get().until <= now) {
            if let Question { asker: Asker::User(ticket), so_far, .. } = entry.remove() {
                out.push(Output::Found { ticket, found: so_far });
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.open.first_key_value().map(|(_, question)| question.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn ask(seeking: &mut Seeking, from: u8, ticket: u64) -> usize {
        let mut out = Outbox::default();
        let seek = Seek { ticket, task: TaskId([1; 16]), hops: 1 };
        seeking.asked(Time::ZERO, id(from), seek, None, || vec![id(9)], &mut out);
        out.drain().len()
    }

    /// A submission with a key is taken for a new one when nobody is found to know it.
    #[test]
    fn who_asks_without_end_takes_no_place_of_others() {
        let (mut seeking, mut out) = (Seeking::default(), Outbox::default());
        let passed = |seeking: &mut Seeking, from| (0..4_000).map(|ticket| ask(seeking, from, ticket)).sum::<usize>();

        assert_eq!(passed(&mut seeking, 1), PASSED_OF_ONE_MAX);
        assert_eq!(passed(&mut seeking, 2), PASSED_OF_ONE_MAX);
        assert_eq!((3..40).map(|from| passed(&mut seeking, from)).sum::<usize>(), PASSED_MAX - 2 * PASSED_OF_ONE_MAX);

        seeking.sought(Time::ZERO, TaskId([2; 16]), 1, None, vec![id(9)], &mut out);
        let outputs = out.drain();
        assert!(matches!(&outputs[..], [Output::Send { message: Message::Seek(_), .. }]), "{outputs:?}");
    }
}
