//! Results that are safe here, of which their executors are told with the next award to them, or after a while.
//!
//! **Invariant:** a peer is owed at most [`ACKNOWLEDGED_MAX`] acknowledgements; an executor waits for one no longer than
//! [`DELAY`] and the way.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::config::ACKNOWLEDGED_MAX;
use crate::id::PeerId;
use crate::message::{Message, TaskRef};
use crate::output::Outbox;
use crate::time::Time;

/// An executor keeps a result this much longer; nobody waits for that.
const DELAY: Duration = Duration::from_secs(20);

/// What is owed to whom.
#[derive(Debug, Default)]
pub(super) struct Acknowledgements {
    owed: BTreeMap<PeerId, (Time, Vec<TaskRef>)>,
    /// No debt is due before.
    next: Option<Time>,
}

impl Acknowledgements {
    /// The result of an attempt is safe here.
    pub(super) fn owe(&mut self, now: Time, to: PeerId, attempt: TaskRef, out: &mut Outbox) {
        let (_, owed) = self.owed.entry(to).or_insert_with(|| (now + DELAY, Vec::new()));
        owed.push(attempt);
        if owed.len() >= ACKNOWLEDGED_MAX {
            let attempts = self.take(to);
            return out.send(to, Message::OutcomesReceived(attempts));
        }
        self.next = Some(self.next.map_or(now + DELAY, |next| next.min(now + DELAY)));
    }

    /// What is owed to a peer that is sent something anyway.
    pub(super) fn take(&mut self, to: PeerId) -> Vec<TaskRef> {
        self.owed.remove(&to).map(|(_, owed)| owed).unwrap_or_default()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.next
    }

    /// Pays what is due.
    pub(super) fn timer(&mut self, now: Time, out: &mut Outbox) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        let due: Vec<PeerId> = self.owed.iter().filter(|(_, (at, _))| *at <= now).map(|(to, _)| *to).collect();
        for to in due {
            let attempts = self.take(to);
            out.send(to, Message::OutcomesReceived(attempts));
        }
        self.next = self.owed.values().map(|(at, _)| *at).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskId;
    use crate::output::Output;

    const PEER: PeerId = PeerId([1; 32]);

    fn attempt(n: usize) -> TaskRef {
        TaskRef { task: TaskId((n as u128).to_be_bytes()), epoch: 1 }
    }

    fn told(out: &mut Outbox) -> Vec<(PeerId, usize)> {
        core::iter::from_fn(|| out.pop())
            .map(|output| match output {
                Output::Send { to, message: Message::OutcomesReceived(attempts) } => (to, attempts.len()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_rides_on_an_award_costs_no_message() {
        let (mut owed, mut out) = (Acknowledgements::default(), Outbox::default());
        assert_eq!(owed.next_deadline(), None);
        owed.owe(Time::ZERO, PEER, attempt(1), &mut out);

        assert_eq!(owed.take(PEER), [attempt(1)]);
        owed.timer(Time::ZERO + DELAY, &mut out);

        assert_eq!((told(&mut out), owed.next_deadline()), (vec![], None));
    }

    #[test]
    fn nobody_waits_for_one_longer_than_the_delay() {
        let (mut owed, mut out) = (Acknowledgements::default(), Outbox::default());
        let other = PeerId([2; 32]);
        let later = Time::from_millis(500);
        owed.owe(Time::ZERO, PEER, attempt(1), &mut out);
        owed.owe(later, PEER, attempt(2), &mut out);
        owed.owe(later, other, attempt(3), &mut out);
        assert_eq!(owed.next_deadline(), Some(Time::ZERO + DELAY));

        owed.timer(Time::from_millis(400) + DELAY, &mut out);

        assert_eq!(told(&mut out), [(PEER, 2)]);
        assert_eq!(owed.next_deadline(), Some(later + DELAY));
        owed.timer(later + DELAY, &mut out);
        assert_eq!(told(&mut out), [(other, 1)]);
    }

    #[test]
    fn a_peer_that_is_owed_many_is_told_at_once() {
        let (mut owed, mut out) = (Acknowledgements::default(), Outbox::default());
        for n in 0..=ACKNOWLEDGED_MAX {
            owed.owe(Time::ZERO, PEER, attempt(n), &mut out);
        }

        assert_eq!(told(&mut out), [(PEER, ACKNOWLEDGED_MAX)]);
        assert_eq!(owed.take(PEER).len(), 1);
    }
}
