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
//! **Invariant:** nothing that binds this peer leaves it before it is on disk (`journal.rs`); every map is bounded by
//! [`KEPT_TASKS_MAX`].
//! **Not here:** placing and running (`requester/`); it is told by [`Happened`] what it may begin and what has ended.

mod acceptor;
pub(crate) mod choosing;
mod journal;
mod leading;
mod loss;
mod member;
mod record;
mod resolution;
mod restoring;
mod succession;
#[cfg(test)]
mod tests;
mod wire;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TaskState;
use super::deadlines::Deadlines;
use super::epoch;
use super::spec::{BlobRef, Payload, TaskSpec};
use crate::config::{KEPT_BYTES_MAX, KEPT_TASKS_MAX, RETENTION_DEFAULT, RETENTION_MAX};
use crate::id::{BlobId, PeerId, TaskId};
use crate::message::{Contact, TaskRef};
use crate::output::{Outbox, Output, TaskError, TaskResult};
use crate::peer::Holding;
use crate::pipeline::Written;
use crate::sabotage::{self, Bug};
use crate::store::{Change, Ticket};
use crate::time::{Time, duration_us, micros};

use acceptor::Acceptor;
pub use acceptor::{Ballot, Vote};
use journal::{After, Journal, say};
pub use loss::{Missing, doubt};
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
/// Tasks taken over at one look: the others follow at the next.
const TAKEOVERS_MAX: usize = 64;
/// The epoch in whose name blobs are fetched that are to be kept: no attempt has it.
const FETCH_EPOCH: u64 = 0;

/// Where a task is kept before its submission is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In memory: `shoal run`, whose user is there and may ask again.
    #[default]
    Memory,
    /// On the disk of its home.
    Disk,
    /// On the disks of its home and of a guardian elsewhere, either of which may be lost.
    Guarded,
}

impl Durability {
    /// What `--durable N` means: copies on disk.
    pub fn of_copies(copies: u8) -> Option<Self> {
        match copies {
            0 => Some(Self::Memory),
            1 => Some(Self::Disk),
            2 => Some(Self::Guarded),
            _ => None,
        }
    }
}

/// How a task is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// Where.
    pub durability: Durability,
    /// A result is kept this long after the end; at most [`crate::config::RETENTION_MAX`]. A task that has no deadline and
    /// no end ends as failed after this long.
    #[serde(with = "duration_us")]
    pub retention: Duration,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { durability: Durability::Memory, retention: RETENTION_DEFAULT }
    }
}

/// What another peer knows of a task that was asked for here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Which task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// What its user calls it.
    #[serde(rename = "n", default)]
    pub name: String,
    /// Where it is in its life.
    #[serde(rename = "s")]
    pub state: TaskState,
    /// Who says so: its home, or its guardian. A large output can be fetched from there.
    #[serde(rename = "h")]
    pub holder: PeerId,
    /// Time since it was accepted.
    #[serde(rename = "a", with = "duration_us")]
    pub age: Duration,
    /// Its result or why it has none, once it has ended.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Result<TaskResult, TaskError>>,
    /// Whoever says so cannot say whether it was ever acknowledged: to who hands it in again this is no acknowledgement.
    #[serde(rename = "u", default, skip_serializing_if = "core::ops::Not::not")]
    pub unpromised: bool,
}

impl Found {
    /// Whether somebody else may know more.
    pub(crate) fn is_hearsay(&self) -> bool {
        self.unpromised || self.is_damaged()
    }

    /// Whether all that is known is that the record cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self.result, Some(Err(TaskError::RecordDamaged { .. })))
    }
}

/// A task as whoever leads it needs it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KeptTask {
    pub(crate) name: String,
    pub(crate) spec: TaskSpec,
    pub(crate) keeping: Keeping,
    /// When it was taken on, or this peer learnt of it…
    pub(crate) accepted: Time,
    /// …and how old it was then.
    pub(crate) aged: Duration,
    /// Attempts that died with their executors, or that they failed.
    pub(crate) failures: u32,
}

impl KeptTask {
    pub(crate) fn age(&self, now: Time) -> Duration {
        self.aged + now.since(self.accepted)
    }

    /// Everything that must be in the local store to run it.
    fn blobs(&self) -> Vec<BlobId> {
        let inputs = self.spec.inputs.iter().filter_map(|input| match input {
            Payload::Blob(blob) => Some(blob.id),
            Payload::Inline(_) => None,
        });
        self.spec.variants.iter().map(|variant| variant.module).chain(inputs).collect()
    }
}

/// A task ends by its deadline, or else within its retention.
pub(crate) fn lifetime(spec: &TaskSpec, keeping: &Keeping) -> Duration {
    spec.deadline.unwrap_or(keeping.retention).min(RETENTION_MAX)
}

/// One kept task, in whatever role.
#[derive(Debug)]
struct Kept {
    council: Council,
    acceptor: Acceptor,
    /// The vote of the acceptor is known to be the end.
    resolved: bool,
    /// Earlier councils of the task ended as refusals, from the one of this term on; known at home.
    refused_since: Option<u64>,
    /// The highest ballot heard of: its owner leads.
    seen: Ballot,
    /// Everything about it is forgotten then.
    until: Time,
    /// How long its end is kept; zero at a witness, which keeps it until `until` in any case.
    retention: Duration,
    /// The task, while its end is open; whoever leads it has another in its book.
    copy: Option<Box<KeptTask>>,
    /// What it counts for in memory.
    bytes: usize,
    stage: Stage,
    /// At home: as many copies are on disk as its user asked for, as far as was heard since this peer started.
    confirmed: bool,
    /// Since when this run knows of it, and how old it was then.
    since: Time,
    aged: Duration,
    /// How often the words of this stage were repeated.
    repeats: u32,
}

/// What this peer does about a kept task.
#[derive(Debug)]
enum Stage {
    /// Nothing: another leads it, or everybody knows how it ended.
    Idle,
    /// Its records are being written.
    Writing,
    /// Its guardian was asked for a copy.
    Guarding,
    /// We lead it, and it has not ended.
    Leading,
    /// We would lead it.
    Preparing {
        ballot: Ballot,
        promises: BTreeMap<PeerId, Option<Vote>>,
        /// The one that led says itself that it does not.
        leader_gave_up: bool,
    },
    /// We lead it, and this is to be its end.
    Proposing { vote: Box<Vote>, votes: BTreeSet<PeerId> },
    /// It has ended, and these know.
    Telling { known: BTreeSet<PeerId> },
}

impl Kept {
    fn leader(&self) -> PeerId {
        self.seen.max(self.acceptor.promised).owner
    }

    fn see(&mut self, ballot: Ballot) {
        self.seen = self.seen.max(ballot);
    }

    /// Whether this peer leads, and has not been told otherwise.
    fn leads(&self) -> bool {
        match self.stage {
            Stage::Writing | Stage::Guarding | Stage::Leading | Stage::Proposing { .. } => true,
            Stage::Idle | Stage::Preparing { .. } | Stage::Telling { .. } => false,
        }
    }

    fn age(&self, now: Time) -> Duration {
        self.aged.saturating_add(now.since(self.since))
    }

    fn case(&self, task: TaskId) -> Case {
        Case { task, term: self.council.term }
    }

    /// Whether this is what is left of a submission that was refused: there may be another.
    fn makes_way(&self) -> bool {
        self.end().is_some_and(Resolution::is_refusal)
    }

    fn end(&self) -> Option<&Resolution> {
        self.resolved.then(|| self.acceptor.accepted.as_ref().map(|vote| &vote.resolution)).flatten()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Repeat(TaskId),
    Forget(TaskId),
    Watch,
}

/// What the requesting half has to act on.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A submitted task is kept as asked: it is acknowledged, and may be placed.
    Admitted(TaskId),
    /// A submitted task is not kept.
    Refused(TaskId, TaskError),
    /// This peer leads a task from now on: with it, unless it is in the book.
    Leads(TaskId, Option<Box<KeptTask>>),
    /// Another leads it.
    Deposed(TaskId),
    /// It has ended.
    Resolved(TaskId, Box<Resolution>),
    /// Its user withdrew it, at the home that does not lead it any more.
    Withdrawn(TaskId),
    /// The guardian lacks its copy: [`Durable::guard_again`].
    CopyWanted(TaskId),
    /// Everything about it is forgotten.
    Forgotten(TaskId),
    /// A task of a user of this peer was on disk.
    Restored(TaskId, Box<KeptTask>, Restored),
    /// A record of a task cannot be read.
    Damaged(TaskId, String),
}

/// How a restored task stood.
#[derive(Debug)]
pub(crate) enum Restored {
    /// Not ended, and led from here. What is running of it may still be adopted.
    Open,
    /// Its end was proposed, and is proposed again.
    Proposed,
    /// Led by another.
    Elsewhere,
    /// Ended.
    Ended(Box<Resolution>),
}

/// What this half is lent for the time of one call.
pub(crate) struct Lent<'a> {
    pub(crate) now: Time,
    pub(crate) is_here: &'a dyn Fn(PeerId) -> bool,
    pub(crate) out: &'a mut Outbox,
}

/// Something that waits for blobs.
#[derive(Debug)]
enum Waiting {
    Copy(Box<Guard>),
    Vote(Box<Propose>),
    Nothing,
}

/// Every kept task of this peer, whatever its role in their councils.
#[derive(Debug)]
pub(crate) struct Durable {
    me: PeerId,
    journal: Journal,
    kept: BTreeMap<TaskId, Kept>,
    bytes: usize,
    /// Of the tasks with a council of several, those about which something may have to be said.
    shared: BTreeSet<TaskId>,
    deadlines: Deadlines<Due>,
    /// Since when leaders of tasks that we are heir to are away.
    away: BTreeMap<PeerId, Time>,
    /// When leaders that are here were last asked whether they lead.
    doubted: BTreeMap<PeerId, Time>,
    fetching: BTreeMap<TaskId, (PeerId, Waiting)>,
    /// Tasks whose records cannot be read: nothing is promised about them, as something may have been.
    damaged: BTreeMap<TaskId, String>,
    happened: Vec<Happened>,
    /// Members of councils that should be called.
    wanted: Vec<Contact>,
    terms: u32,
    /// Batches that the store refused.
    /// What of pipelines was written.
    pipelines_written: Vec<(Written, Result<(), String>)>,
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
            bytes: 0,
            shared: BTreeSet::new(),
            deadlines: Deadlines::default(),
            away: BTreeMap::new(),
            doubted: BTreeMap::new(),
            fetching: BTreeMap::new(),
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

    /// What kept tasks take up here, beside what they may.
    pub(crate) fn holdings(&self) -> [Holding; 2] {
        [
            Holding { what: "kept tasks", held: self.kept.len(), max: KEPT_TASKS_MAX },
            Holding { what: "bytes of kept tasks", held: self.bytes, max: KEPT_BYTES_MAX },
        ]
    }

    /// Whether a task was submitted here.
    pub(crate) fn is_home(&self, task: TaskId) -> bool {
        self.kept.get(&task).is_some_and(|kept| kept.council.home() == Some(self.me))
    }

    /// Whether a task that was submitted here has ended as a refusal, or is led from here to some end.
    pub(crate) fn is_led_or_refused(&self, task: TaskId) -> bool {
        let kept = self.kept.get(&task).filter(|kept| kept.council.home() == Some(self.me));
        kept.is_some_and(|kept| kept.leads() || kept.makes_way())
    }

    /// Everything about a task, for whoever looks for a fault.
    pub(crate) fn describe(&self, task: TaskId) -> String {
        format!("{:?}", self.kept.get(&task))
    }

    /// Who decides on a task.
    pub(crate) fn council_of(&self, task: TaskId) -> Vec<PeerId> {
        self.kept.get(&task).map(|kept| kept.council.peers().collect()).unwrap_or_default()
    }

    /// Who holds the second copy of a task.
    pub(crate) fn guardian_of(&self, task: TaskId) -> Option<PeerId> {
        self.kept.get(&task)?.council.guardian()
    }

    /// Whom to call, so that a council can meet.
    pub(crate) fn take_wanted(&mut self) -> Vec<Contact> {
        core::mem::take(&mut self.wanted)
    }

    /// The last epoch before those of attempts at a task that this peer leads.
    pub(crate) fn epoch_before(&self, task: TaskId) -> u64 {
        let round = self.kept.get(&task).map_or(0, |kept| kept.acceptor.promised.round);
        if sabotage::is(Bug::SameEpochs) {
            return epoch::before_first(round, 0);
        }
        epoch::before_first(round, self.journal.boot().unwrap_or(0))
    }

    /// The copy of another's task, and its end if this peer knows it; nothing of one that was never taken on.
    pub(crate) fn copy_of(&self, task: TaskId) -> Option<(&KeptTask, Option<&Resolution>)> {
        let kept = self.kept.get(&task).filter(|kept| !kept.end().is_some_and(Resolution::is_refusal))?;
        Some((kept.copy.as_deref()?, kept.end()))
    }

    /// When [`Durable::timer`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.next()
    }

    // ── The store ────────────────────────────────────────────────────────────────────────────────────────────────

    /// A batch is on disk: what waited for it happens.
    pub(crate) fn persisted(&mut self, ticket: Ticket, lent: &mut Lent<'_>) {
        match self.journal.answered(ticket) {
            Some(After::Admitted(task)) => self.written(task, lent),
            Some(After::Copied { case, to, fresh: _ }) => {
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
        match self.journal.answered(ticket) {
            Some(After::Admitted(task)) => {
                self.drop_kept(task, lent.out);
                self.happened.push(Happened::Refused(task, TaskError::NotStored { why: reason }));
            }
            Some(After::Copied { case, to, fresh }) => {
                // What was there before, and any promise, stands.
                if fresh {
                    self.drop_kept(case.task, lent.out);
                }
                say(lent.out, to, Counsel::Guarded(Guarded { case, refusal: Some(reason) }));
            }
            Some(After::Pipeline(what)) => self.pipelines_written.push((what, Err(reason))),
            Some(After::Say(..)) => {}
            Some(After::Nothing) | None => {}
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

    /// Does what is due.
    pub(crate) fn timer(&mut self, lent: &mut Lent<'_>) {
        while let Some(due) = self.deadlines.pop_due(lent.now) {
            match due {
                Due::Repeat(task) => self.repeat(task, lent),
                Due::Forget(_) if sabotage::is(Bug::NeverCollect) => {}
                Due::Forget(task) => {
                    self.drop_kept(task, lent.out);
                    self.happened.push(Happened::Forgotten(task));
                }
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

    fn council_change(&self, task: TaskId, now: Time) -> Option<crate::store::Change> {
        let kept = self.kept.get(&task)?;
        let until = self.journal.unix_ms(now).saturating_add(micros(kept.until.since(now)) / 1_000);
        Some(record::put_council(task, kept, until))
    }

    /// Writes what this member has promised and knows; `after` happens when it is on disk.
    fn write_council(&mut self, task: TaskId, after: After, lent: &mut Lent<'_>) {
        if let Some(change) = self.council_change(task, lent.now) {
            self.journal.write(vec![change], after, lent.out);
        }
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

/// Inline bytes of a task's input: what it costs in memory.
fn weight(spec: &TaskSpec) -> usize {
    let inline = spec.inputs.iter().map(|input| match input {
        Payload::Inline(bytes) => bytes.len(),
        Payload::Blob(_) => 0,
    });
    inline.sum::<usize>() + spec.args.iter().map(String::len).sum::<usize>()
}

fn weight_of_end(resolution: &Resolution) -> usize {
    resolution.result.as_ref().map_or(0, |result| {
        let output = match &result.report.output {
            Payload::Inline(bytes) => bytes.len(),
            Payload::Blob(_) => 0,
        };
        output + result.report.log.len()
    })
}

/// The large output of an end, if it has one.
fn output_of(resolution: &Resolution) -> Option<BlobRef> {
    match resolution.result.as_ref().ok()?.report.output {
        Payload::Blob(blob) => Some(blob),
        Payload::Inline(_) => None,
    }
}
