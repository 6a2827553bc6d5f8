//! What is written, and what happens once it is on disk, or is not.
//!
//! **Not here:** what a record looks like (`record.rs`), and in which order they are written (`journal.rs`).

use std::collections::BTreeSet;

use super::happened::Happened;
use super::journal::{After, say};
use super::wire::{Counsel, Guarded};
use super::{Durable, Lent, Stage, record};
use crate::id::TaskId;
use crate::output::{Outbox, Output, TaskError};
use crate::pipeline::Written;
use crate::store::{Change, Ticket};
use crate::time::{Time, micros};

impl Durable {
    /// A batch is on disk: what waited for it happens.
    pub(crate) fn persisted(&mut self, ticket: Ticket, lent: &mut Lent<'_>) {
        match self.journal.answered(ticket, true) {
            Some(After::Admitted(case)) => {
                self.superseded.remove(&case.task);
                self.written(case, lent);
            }
            Some(After::Copied { case, to, .. }) => {
                say(lent.out, to, Counsel::Guarded(Guarded { case, refusal: None }));
            }
            Some(After::Say(to, counsel)) => say(lent.out, to, *counsel),
            Some(After::Pipeline(what)) => self.pipelines_written.push((what, Ok(()))),
            Some(After::Nothing) | None => {}
        }
    }

    /// A batch is not on disk: what waited for it does not happen. What must happen is tried again by its repetition.
    pub(crate) fn persist_failed(&mut self, ticket: Ticket, reason: String, lent: &mut Lent<'_>) {
        self.store_failures += 1;
        match self.journal.answered(ticket, false) {
            Some(After::Admitted(case)) if self.kept.get(&case.task).is_some_and(|it| it.is_written_as(case.term)) => {
                self.undo_admission(case.task, lent);
                self.happened.push(Happened::Refused(case.task, TaskError::NotStored { why: reason }));
            }
            Some(After::Admitted(_)) => {}
            Some(After::Copied { case, to, fresh, lacked }) => {
                // What was there before, and any promise, stands.
                if fresh {
                    self.drop_kept(case.task, lent.out);
                } else if let Some(kept) = self.kept.get_mut(&case.task).filter(|kept| kept.council.term == case.term) {
                    kept.lacks_copy = lacked;
                    kept.copy = kept.copy.take().filter(|_| !lacked);
                }
                say(lent.out, to, Counsel::Guarded(Guarded { case, refusal: Some(reason) }));
            }
            Some(After::Pipeline(what)) => self.pipelines_written.push((what, Err(reason))),
            Some(After::Say(..)) => {}
            Some(After::Nothing) | None => {}
        }
    }

    /// A submission is not on disk. What this member knew of an earlier one, that was refused, still is: it is bound by what it said.
    fn undo_admission(&mut self, task: TaskId, lent: &mut Lent<'_>) {
        let Some(earlier) = self.superseded.remove(&task) else { return self.drop_kept(task, lent.out) };
        self.forget_council(task);
        lent.out.push(Output::Forget { task });
        let is_to_be_told = earlier.resolved && earlier.council.members.len() > 1;
        self.keep(lent.now, task, earlier);
        if is_to_be_told {
            self.begin(task, Stage::Telling { known: BTreeSet::from([self.me]) }, lent.now);
        }
    }

    /// Writes records of pipelines, in one order with those of tasks.
    pub(crate) fn write_of_pipeline(&mut self, changes: Vec<Change>, what: Written, out: &mut Outbox) {
        if self.journal.boot().is_some() {
            self.journal.write(changes, After::Pipeline(what), out);
        }
    }

    /// What is on disk of pipelines, or is not, since the last call.
    pub(crate) fn take_pipelines_written(&mut self) -> Vec<(Written, Result<(), String>)> {
        core::mem::take(&mut self.pipelines_written)
    }

    /// Whether anything can be kept here.
    pub(crate) fn has_store(&self) -> bool {
        self.journal.boot().is_some()
    }

    /// The date of a moment of this run, in milliseconds since 1970.
    pub(crate) fn unix_ms(&self, at: Time) -> u64 {
        self.journal.unix_ms(at)
    }

    pub(super) fn council_change(&self, task: TaskId, now: Time) -> Option<crate::store::Change> {
        let kept = self.kept.get(&task)?;
        let lasts = kept.until.since(now);
        let until = self.journal.unix_ms(now).saturating_add(micros(lasts) / 1_000);
        Some(record::put_council(task, kept, until, lasts))
    }

    /// Writes what this member has promised and knows; `after` happens when it is on disk.
    pub(super) fn write_council(&mut self, task: TaskId, after: After, lent: &mut Lent<'_>) {
        if let Some(change) = self.council_change(task, lent.now) {
            self.journal.write(vec![change], after, lent.out);
        }
    }
}
