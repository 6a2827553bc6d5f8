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
