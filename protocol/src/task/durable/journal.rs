//! What is on its way to the disk, and what is to happen when it is there.
//!
//! **Invariant:** whatever depends on a record happens after its ticket came back, never before; a ticket that failed
//! leads to nothing but a refusal.

use core::time::Duration;
use std::collections::BTreeMap;

use super::wire::{Case, Counsel};
use crate::id::PeerId;
use crate::message::Message;
use crate::output::{Outbox, Output};
use crate::pipeline::Written;
use crate::sabotage::{self, Bug};
use crate::store::{Change, Ticket};
use crate::time::Time;

/// What waits for a batch.
#[derive(Debug)]
pub(super) enum After {
    /// A submitted task is on disk.
    Admitted(Case),
    /// A copy of this task is on disk, for whoever sent it; `fresh` when nothing of it was there before, `lacked` when all but a copy
    /// was.
    Copied { case: Case, to: PeerId, fresh: bool, lacked: bool },
    /// This may be said: it is true for ever.
    Say(PeerId, Box<Counsel>),
    /// A record of a pipeline is on disk.
    Pipeline(Written),
    /// Nobody waits.
    Nothing,
}

/// The way to the store.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Which start of the peer this is, once there is a store.
    boot: Option<u32>,
    /// The date at the moment zero of this peer.
    unix_ms_at_zero: u64,
    /// When this run of the peer began, and since when its store has been whole.
    opened: Time,
    born_unix_ms: u64,
    issued: u64,
    /// Bounded by what may wait for it: tasks that are kept, and a word each to the members of their councils.
    under_way: BTreeMap<Ticket, After>,
    /// The last batch that was answered is not on disk.
    fails: bool,
}

impl Journal {
    /// There is a store.
    pub(super) fn open(&mut self, now: Time, boot: u32, unix_ms: u64, born_unix_ms: u64) {
        self.boot = Some(boot);
        self.opened = now;
        self.born_unix_ms = born_unix_ms;
        self.unix_ms_at_zero = unix_ms.saturating_sub(now.as_micros() / 1_000);
    }

    /// Which start of the peer on its store this is; nothing without a store.
    pub(super) fn boot(&self) -> Option<u32> {
        self.boot
    }

    /// The date of a moment of this run, in milliseconds since 1970.
    pub(super) fn unix_ms(&self, at: Time) -> u64 {
        self.unix_ms_at_zero.saturating_add(at.as_micros() / 1_000)
    }

    /// How long the store has been whole. The date may have been set back since; this run is not longer than that.
    pub(super) fn store_age(&self, now: Time) -> Duration {
        let by_date = Duration::from_millis(self.unix_ms(now).saturating_sub(self.born_unix_ms));
        by_date.max(now.since(self.opened))
    }

    /// Orders a batch to be written.
    pub(super) fn write(&mut self, changes: Vec<Change>, after: After, out: &mut Outbox) {
        self.issued += 1;
        let ticket = Ticket(self.issued);
        if let After::Say(to, counsel) = &after
            && sabotage::is(Bug::VoteBeforeDisk)
        {
            say(out, *to, Counsel::clone(counsel));
        }
        self.under_way.insert(ticket, after);
        out.push(Output::Persist { ticket, changes });
    }

    /// A batch is on disk, or is not: what waited for it.
    pub(super) fn answered(&mut self, ticket: Ticket, is_written: bool) -> Option<After> {
        self.fails = !is_written;
        self.under_way.remove(&ticket)
    }

    /// Whether nothing can be written, as far as is known.
    pub(super) fn fails(&self) -> bool {
        self.fails
    }
}

impl After {
    /// Says what may be said now.
    pub(super) fn say(to: PeerId, counsel: Counsel) -> Self {
        Self::Say(to, Box::new(counsel))
    }
}

/// Says something that needs no writing first.
pub(super) fn say(out: &mut Outbox, to: PeerId, counsel: Counsel) {
    out.send(to, Message::Council(Box::new(counsel)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_reckoned_from_the_moment_the_store_was_opened() {
        let mut journal = Journal::default();
        let at = |ms| Time::from_millis(ms);
        journal.open(at(2_000), 3, 1_000_000, 400_000);

        assert_eq!(journal.boot(), Some(3));
        assert_eq!(journal.unix_ms(at(2_000)), 1_000_000);
        assert_eq!(journal.unix_ms(at(5_500)), 1_003_500);
        assert_eq!(journal.store_age(at(3_000)), Duration::from_secs(601));
    }

    #[test]
    fn a_store_is_no_younger_than_the_run_that_has_it_open() {
        let mut journal = Journal::default();
        journal.open(Time::from_millis(1_000), 1, 500_000, 900_000);

        assert_eq!(journal.store_age(Time::from_millis(8_000)), Duration::from_secs(7), "whatever the calendar says");
    }
}
