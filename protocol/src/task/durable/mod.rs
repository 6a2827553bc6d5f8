//! Tasks that outlive their peer: what is kept of them, who decides how they end, and who follows a leader that is lost.
//!
//! ```text
//!  submit ─► on disk ─┬───────────────────────────────► acknowledged ─► placed, run ─► proposed ─► decided ─► told
//!                     └─ Guard ─► on the guardian's disk ─┘               ▲                │
//!                                                                         └─ a heir leads ─┘ when the leader is gone
//! ```
//!
//! A task has a **council**: its home alone (`--durable 1`), or home, guardian and witness (`--durable 2`). The end of a
//! task is what a majority of its council accepted in one ballot: single-decree Paxos with the home as leader of ballot 0.
//!
//! **Why there is one end.** Two majorities of a council share a member. A leader of a later ballot proposes only after
//! a majority promised to accept nothing earlier, and must propose what any of them had accepted; so once a majority
//! accepted an end, every later proposal is that end. Promises and votes are on disk before they are said, so a crash
//! breaks none. The home needs no promises for ballot 0: nobody else owns it, and no member accepts anything before it.
//!
//! **Why nothing acknowledged is lost.** It is on every disk that the acknowledgement speaks of before it is given. While
//! one of home and guardian lives and two of the council can speak, the task is led: the heir bids once its leader has
//! been silent for [`LEASE`], and the witness does not promise while it hears that leader. Executing twice is possible,
//! ending twice is not.
//!
//! **Why what is over stays over.** Members forget an end after its retention, and whoever has forgotten it would vote anew. So it
//! is not forgotten before home and guardian, which could lead the task, have said that they know it; the witness could not.
//!
//! **Invariant:** nothing that binds this peer leaves it before it is on disk (`journal.rs`); every map is bounded by
//! [`KEPT_TASKS_MAX`].
//! **Not here:** placing and running (`requester/`); it is told by [`Happened`] what it may begin and what has ended.

mod acceptor;
pub(crate) mod choosing;
mod found;
mod happened;
mod journal;
mod keeping;
mod kept;
mod leading;
mod loss;
mod member;
mod questions;
mod record;
mod resolution;
mod restoring;
mod succession;
#[cfg(test)]
mod tests;
mod wire;
mod writing;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::deadlines::Deadlines;
use crate::config::{KEPT_BYTES_MAX, KEPT_TASKS_MAX};
use crate::id::{PeerId, TaskId};
use crate::message::{Contact, TaskRef};
use crate::output::{Outbox, Output};
use crate::pipeline::Written;
use crate::sabotage::{self, Bug};
use crate::time::Time;

pub use acceptor::{Ballot, Vote};
pub use found::Found;
pub(crate) use happened::{Happened, Restored};
use journal::{After, Journal, say};
pub(crate) use keeping::lifetime;
pub use keeping::{Durability, Keeping};
pub(crate) use kept::KeptTask;
use kept::{Kept, Stage};
pub use loss::doubt;
pub use resolution::{Council, MEMBERS_MAX, Resolution};
pub use wire::{
    Case, Counsel, Guard, Guarded, INQUIRED_MAX, Prepare, Promised, Propose, Refused, Resolved, Standing, Voted,
};

/// A leader that is not heard for this long after it was missed is followed: longer than a daemon takes to restart.
pub const LEASE: Duration = Duration::from_secs(5);
/// A guardian has this long to write its copy, beside the way; then the submission is refused.
const GUARD_PATIENCE: Duration = Duration::from_secs(2);
/// Words that were not answered are said again after this long, then twice as long, up to [`REPEAT_MAX`].
const REPEAT: Duration = Duration::from_millis(400);
const REPEAT_MAX: Duration = Duration::from_secs(5);
/// A leader that is here is asked this often whether it leads.
const DOUBT_AFTER: Duration = Duration::from_secs(5);
/// How often it is looked whether leaders are there.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// An end is kept so much longer than its time for a member with a copy that has not heard of it: such a one is away, and
/// whoever is away longer than the longest retention is not waited for.
const UNTOLD_MAX: Duration = crate::config::RETENTION_MAX;
/// How often it is looked whether what is kept beyond its time may go.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// So many tasks wait for blobs at once: more copies are refused.
const FETCHING_MAX: usize = 2_048;
/// Those of one peer, so that there is room for the others'.
const FETCHING_PER_PEER_MAX: usize = FETCHING_MAX / 2;
/// What was promised of a task is remembered no longer than a task of the longest retention is kept (`leading.rs`, `until`).
const REMEMBERED_MAX: Duration = Duration::from_secs(3 * crate::config::RETENTION_MAX.as_secs());
/// Tasks taken over at one look: the others follow at the next.
const TAKEOVERS_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Repeat(TaskId),
    Forget(TaskId),
    Watch,
}

/// What this half is lent for the time of one call.
pub(crate) struct Lent<'a> {
    pub(crate) now: Time,
    pub(crate) is_here: &'a dyn Fn(PeerId) -> bool,
    pub(crate) out: &'a mut Outbox,
}

/// A fetch under way, and what waits for it.
#[derive(Debug)]
struct Fetching {
    /// In whose name. Another for the same task takes its place, and what this one brings is not waited for any more.
    attempt: TaskRef,
    from: PeerId,
    waiting: Waiting,
}

/// Something that waits for blobs.
#[derive(Debug)]
enum Waiting {
    Copy(Box<Guard>),
    Vote(Box<Propose>),
    /// That an end is known with all that belongs to it.
    Known(Case),
}

/// Every kept task of this peer, whatever its role in their councils.
#[derive(Debug)]
pub(crate) struct Durable {
    me: PeerId,
    journal: Journal,
    kept: BTreeMap<TaskId, Kept>,
    /// Refused submissions whose place others take, while these are being written.
    superseded: BTreeMap<TaskId, Kept>,
    bytes: usize,
    /// Of the tasks with a council of several, those about which something may have to be said.
    shared: BTreeSet<TaskId>,
    deadlines: Deadlines<Due>,
    /// Since when leaders of tasks that we are heir to are away.
    away: BTreeMap<PeerId, Time>,
    /// When leaders that are here were last asked whether they lead.
    doubted: BTreeMap<PeerId, Time>,
    fetching: BTreeMap<TaskId, Fetching>,
    fetches: u32,
    /// Tasks whose records cannot be read: nothing is promised about them, as something may have been.
    damaged: BTreeMap<TaskId, String>,
    happened: Vec<Happened>,
    /// Members of councils that should be called.
    wanted: Vec<Contact>,
    terms: u32,
    /// What of pipelines was written.
    pipelines_written: Vec<(Written, Result<(), String>)>,
    /// Batches that the store refused.
    pub(crate) store_failures: u64,
    /// Tasks led from here after their leader was lost.
    pub(crate) takeovers: u64,
}

impl Durable {
    pub(crate) fn new(me: PeerId) -> Self {
        Self {
            me,
            journal: Journal::default(),
            kept: BTreeMap::new(),
            superseded: BTreeMap::new(),
            bytes: 0,
            shared: BTreeSet::new(),
            deadlines: Deadlines::default(),
            away: BTreeMap::new(),
            doubted: BTreeMap::new(),
            fetching: BTreeMap::new(),
            fetches: 0,
            damaged: BTreeMap::new(),
            happened: Vec::new(),
            wanted: Vec::new(),
            terms: 0,
            pipelines_written: Vec::new(),
            store_failures: 0,
            takeovers: 0,
        }
    }

    /// What happened since the last call, oldest first.
    pub(crate) fn take_happened(&mut self) -> Vec<Happened> {
        core::mem::take(&mut self.happened)
    }

    /// Whether [`Durable::take_happened`] has something to give.
    pub(crate) fn has_happened(&self) -> bool {
        !self.happened.is_empty()
    }

    /// Whom to call, so that a council can meet.
    pub(crate) fn take_wanted(&mut self) -> Vec<Contact> {
        core::mem::take(&mut self.wanted)
    }

    /// Those with whom something may have to be said of a task that they and this peer keep.
    pub(crate) fn partners(&self) -> BTreeSet<PeerId> {
        let kept = self.shared.iter().filter_map(|task| self.kept.get(task));
        kept.flat_map(|kept| kept.council.peers()).collect()
    }

    /// When [`Durable::timer`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// Does what is due.
    pub(crate) fn timer(&mut self, lent: &mut Lent<'_>) {
        while let Some(due) = self.deadlines.pop_due(lent.now) {
            match due {
                Due::Repeat(task) => self.repeat(task, lent),
                Due::Forget(_) if sabotage::is(Bug::NeverCollect) => {}
                Due::Forget(task) => self.expired(task, lent),
                Due::Watch => self.watch(lent),
            }
        }
    }

    /// A member of councils is connected (again): it is told what it missed, and asked what we missed.
    pub(crate) fn peer_back(&mut self, peer: PeerId, lent: &mut Lent<'_>) {
        self.away.remove(&peer);
        let with_it = |task: &&TaskId| self.kept.get(task).is_some_and(|kept| kept.council.has(peer));
        let cases: Vec<TaskId> = self.shared.iter().filter(with_it).copied().collect();
        let mut inquired = Vec::new();
        for task in cases {
            let Some(kept) = self.kept.get(&task) else { continue };
            match kept.stage {
                Stage::Leading | Stage::Proposing { .. } => inquired.push(kept.case(task)),
                Stage::Idle | Stage::Writing | Stage::Guarding | Stage::Preparing { .. } | Stage::Telling { .. } => {}
            }
            self.say_again(task, Some(peer), lent);
        }
        for cases in inquired.chunks(INQUIRED_MAX) {
            say(lent.out, peer, Counsel::Inquire(cases.to_vec()));
        }
    }

    // ── Shared ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// The time of a task is over. It is kept longer, while there is room, for a member that has a copy and has not heard how it
    /// ended: when that one is back it would lead the task, and with nobody left who remembers have it run and end once more. And
    /// what this peer decides alone is not forgotten before it has an end: one that was away all that time has none yet.
    fn expired(&mut self, task: TaskId, lent: &mut Lent<'_>) {
        // What is on its way to the disk is there before it is taken away again.
        if self.kept.get(&task).is_some_and(|kept| matches!(kept.stage, Stage::Writing)) {
            return self.deadlines.set(Due::Forget(task), lent.now + LOOK_AGAIN);
        }
        let over = |kept: &Kept| lent.now.since(kept.until);
        let is_awaited = |kept: &Kept| kept.is_untold() && over(kept) < UNTOLD_MAX && self.full(0).is_none();
        if self.kept.get(&task).is_some_and(|kept| kept.is_open_here_alone() || is_awaited(kept)) {
            return self.deadlines.set(Due::Forget(task), lent.now + LOOK_AGAIN);
        }
        self.drop_kept(task, lent.out);
        self.happened.push(Happened::Forgotten(task));
    }

    /// Everything about a task leaves memory and disk.
    pub(crate) fn drop_kept(&mut self, task: TaskId, out: &mut Outbox) {
        let Some(kept) = self.kept.remove(&task) else { return };
        self.bytes -= kept.bytes;
        self.shared.remove(&task);
        self.fetching.remove(&task);
        self.deadlines.clear(&Due::Repeat(task));
        self.deadlines.clear(&Due::Forget(task));
        self.journal.write(record::delete_all(task), After::Nothing, out);
        out.push(Output::Forget { task });
    }

    /// What a task counts for in memory, if that is more than before.
    fn weighs(&mut self, task: TaskId, bytes: usize) {
        if let Some(kept) = self.kept.get_mut(&task).filter(|kept| kept.bytes < bytes) {
            self.bytes += bytes - kept.bytes;
            kept.bytes = bytes;
        }
    }

    fn keep(&mut self, now: Time, task: TaskId, kept: Kept) {
        if kept.council.members.len() > 1 {
            self.shared.insert(task);
            if self.shared.len() == 1 {
                self.deadlines.set(Due::Watch, now + WATCH_EVERY);
            }
        }
        self.deadlines.set(Due::Forget(task), kept.until);
        self.bytes += kept.bytes;
        if let Some(before) = self.kept.insert(task, kept) {
            self.bytes -= before.bytes;
        }
    }

    /// Why another task cannot be kept here, if it cannot.
    fn full(&self, bytes: usize) -> Option<String> {
        let over = self.kept.len() >= KEPT_TASKS_MAX || self.bytes.saturating_add(bytes) > KEPT_BYTES_MAX;
        over.then(|| format!("it keeps {} tasks of {} MiB", self.kept.len(), self.bytes >> 20))
    }

    /// The stage of a task begins: its words are repeated until it is over.
    fn begin(&mut self, task: TaskId, stage: Stage, now: Time) {
        let Some(kept) = self.kept.get_mut(&task) else { return };
        kept.repeats = 0;
        let quiet = matches!(stage, Stage::Idle | Stage::Writing | Stage::Leading);
        kept.stage = stage;
        if quiet {
            self.deadlines.clear(&Due::Repeat(task))
        } else {
            self.deadlines.set(Due::Repeat(task), now + REPEAT)
        }
    }
}
