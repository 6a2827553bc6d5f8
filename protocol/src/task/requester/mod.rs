//! The asking half of negotiation: a home peer finds an executor for each task of its users, and another when it dies.
//!
//! ```text
//! Submitted ─► assess ─┬─ calm ──► Award ─┬─► Accepted ─► Progress… ─► Outcome ─► commit, once
//!                      └─ busy ──► Ask ───┘      │
//!                          ▲   Declined, Counter │ executor dead, silent, out of reach
//!                          └─────────────────────┘ next attempt epoch
//! ```
//!
//! **Invariant:** only an outcome of the current epoch, from the peer that holds the attempt, is committed; an attempt
//! that was given up is never taken back.
//! **Not here:** what a candidate costs (`placement/`), and running (`executor/`): placing a task at home is an
//! award to oneself.

mod acknowledgements;
mod admission;
mod answers;
mod ending;
mod keeping;
mod losses;
mod placing;
#[cfg(test)]
mod tests;
mod verifying;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::TaskState;
use super::deadlines::Deadlines;
use super::durable::{
    Council, Counsel, Durability, Durable, Found, Happened, Keeping, KeptTask, Lent, Resolution, Restored, choosing,
    lifetime,
};
use super::epoch;
use super::home::{ALTERNATIVES_MAX, Book, Early, HomeTask, Phase};
use super::report::{Ending, RunReport};
use super::spec::{BlobRef, Payload, TaskSpec};
use super::verification::Trust;
use crate::blobs::Holders;
use crate::certificate::Member;
use crate::config::{FAILURES_MAX, HOME_TASKS_MAX, RETENTION_MAX, RETENTION_MIN};
use crate::flow::shares::Shares;
use crate::id::{BlobId, PeerId, TaskId};
use crate::message::{
    Accepted, Ask, AskVariant, Award, Contact, DeclineReason, Declined, Forwarded, Hold, Marks, Message, Offer,
    Outcome, Progress, TaskRef,
};
use crate::output::{Event, Outbox, Output, TaskError, TaskResult, Timings};
use crate::peer::Holding;
use crate::placement::burst::{self, Waiting};
use crate::placement::cost::transmission;
use crate::placement::estimates::{Estimates, Run};
use crate::placement::explain::{Decision, Method, Verdict};
use crate::placement::word::Kept;
use crate::placement::{self, Assessment, Candidate, Circumstances, HomeLink, Ranking, Record, Site};
use crate::residency::{Denial, Labels};
use crate::rng::Rng;
use crate::rules::InForce;
use crate::sabotage::{self, Bug};
use crate::store::Ticket;
use crate::time::{Time, from_millis_f64, micros};

use acknowledgements::Acknowledgements;
use admission::Pressure;
pub use ending::Learnt;
use keeping::lent;
pub(crate) use verifying::Answers;

/// Peers asked for an offer at once: three do as well as more (`placement.md`).
const ASKED: usize = 3;
/// An offer that starts this soon is as good as an idle peer's: it is taken without waiting for the others.
const NO_WAIT: Duration = Duration::from_millis(1);
/// Time for offers beside the round trip: what a busy peer needs to answer.
const OFFER_PATIENCE: Duration = Duration::from_millis(40);
/// Time for an award to be confirmed beside the round trip, before its receiver is asked what became of it.
const AWARD_PATIENCE: Duration = Duration::from_millis(400);
/// A confirmed attempt is asked after this often: what was lost on the way is found then.
const LEASE: Duration = Duration::from_secs(2);
/// Questions without an answer before a peer is taken to have lost the task.
const UNANSWERED_MAX: u8 = 3;
/// Alternatives cost at most this many times the best…
const ALTERNATIVE_COST: f64 = 1.5;
/// …but for the first few: a wait that nobody foresaw may cost more than any of them, and its executor is the first to know.
const ALTERNATIVES_ANYWAY: usize = 3;
/// A task whose executor was lost and that nobody may run now is tried again this often…
const RETRY: Duration = Duration::from_millis(300);
/// …and given up after this long.
const RETRY_FOR: Duration = Duration::from_secs(10);

/// Why somebody could not run a task: so much of what it says is kept.
const REASON_CHARS_MAX: usize = 256;
/// Decisions remembered of a task: the last ones.
const RECORDS_MAX: usize = 16;

/// Peers whose record of well-ended attempts is kept.
const ENDINGS_MAX: usize = 256;

/// What the requesting half is told of the rest of the peer.
pub struct Around<'a> {
    /// Every peer that may run a task, this one included; made when somebody asks, since most messages need none of it.
    pub sites: &'a dyn Fn() -> &'a [Site<'a>],
    /// Whether a peer is there to be spoken to.
    pub is_here: &'a dyn Fn(PeerId) -> bool,
    /// Whether data with these labels may go to a peer, and if not, why.
    pub permits: &'a dyn Fn(PeerId, &Labels) -> Result<(), Denial>,
    /// What was learnt from earlier runs.
    pub estimates: &'a Estimates,
    /// Who holds which blobs.
    pub holders: &'a Holders,
    /// The mesh's λ.
    pub lambda: f64,
    /// This peer's uplink, in bits a second: what is left of it beside what others fetch here.
    pub uplink_bits_per_s: u64,
    /// The business rules in force.
    pub rules: Option<InForce<'a>>,
    /// The address a peer was last reached at.
    pub address: &'a dyn Fn(PeerId) -> Option<String>,
    /// Everything left to chance.
    pub rng: &'a mut Rng,
}

impl core::fmt::Debug for Around<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Around")
    }
}

/// A task as a user hands it in.
#[derive(Debug)]
pub struct Submission {
    /// What its user calls it.
    pub name: String,
    /// What to run.
    pub spec: TaskSpec,
    /// How it is kept.
    pub keeping: Keeping,
    /// What comes after it would cost if it ran there, in milliseconds; for a stage of a pipeline.
    pub ahead: Ahead,
}

/// What a pipeline would cost after a stage, by where that runs, in milliseconds.
pub type Ahead = BTreeMap<PeerId, f64>;

/// An award that the load view must reckon with until its receiver's digest does, or that is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// Work went to a peer.
    Given {
        /// Whom.
        to: PeerId,
        /// Which attempt.
        attempt: TaskRef,
        /// How long it is expected to keep a core there.
        run: Duration,
        /// What we hear of it after this long counts this work.
        known_after: Duration,
    },
    /// It is no longer there.
    Settled {
        /// Where it was.
        to: PeerId,
        /// Which attempt.
        attempt: TaskRef,
    },
}

/// The input of a task that goes to another peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Whom.
    pub to: PeerId,
    /// Whose data it is, see [`crate::flow::source_of`].
    pub source: String,
    /// What leaves inside the award.
    pub inline_bytes: u64,
    /// What will be fetched here.
    pub blobs: Vec<BlobId>,
}

/// The tasks of this peer's users.
#[derive(Debug)]
pub struct Requester {
    me: PeerId,
    pub(crate) book: Book,
    deadlines: Deadlines<TaskId>,
    /// When what was sent so far has left our uplink.
    uplink_free: Time,
    /// What was spent of the shares that rules give of it.
    pub(crate) shares: Shares,
    /// Inputs that left since the last call of [`Requester::take_moved`].
    moved: Vec<Moved>,
    assignments: Vec<Assignment>,
    /// Tasks of pipelines that are under way, whose ends go to those; bounded by what pipelines have out.
    watched: BTreeSet<TaskId>,
    ends: Vec<(TaskId, Result<TaskResult, TaskError>)>,
    /// How executors kept their word, since the last call of [`Requester::take_words`].
    words: Vec<(PeerId, Kept)>,
    acknowledgements: Acknowledgements,
    leaving: bool,
    pressure: Pressure,
    /// Tasks that are on disk, and those of others that this peer has a say in.
    pub(crate) durable: Durable,
    /// When kept tasks must have ended.
    expiries: Deadlines<TaskId>,
    /// Ends that are to be proposed.
    proposals: Vec<(TaskId, Resolution)>,
    /// Guardians that refused a copy lately.
    reluctant: BTreeMap<PeerId, Time>,
    /// Attempts that ended well, and all that ended, by peer.
    endings: BTreeMap<PeerId, (u64, u64)>,
    /// Whose answers can be believed.
    trust: Trust,
    /// Answers that were not what others found.
    pub wrong_answers: u64,
    /// Outcomes of attempts that had been given up: counted and dropped.
    pub stale_outcomes: u64,
    /// Attempts made anew because an executor died, was silent or lost the task.
    pub replacements: u64,
    /// Blobs that peers were seen to hold, and what is said of them.
    seen: Vec<(PeerId, BlobRef, Labels)>,
    /// Messages sent to place tasks: asks, awards and releases.
    pub negotiation_messages: u64,
}

impl Requester {
    /// Nothing asked for yet.
    pub fn new(me: PeerId) -> Self {
        Self {
            me,
            book: Book::default(),
            deadlines: Deadlines::default(),
            uplink_free: Time::ZERO,
            shares: Shares::default(),
            moved: Vec::new(),
            assignments: Vec::new(),
            watched: BTreeSet::new(),
            ends: Vec::new(),
            words: Vec::new(),
            acknowledgements: Acknowledgements::default(),
            leaving: false,
            pressure: Pressure::default(),
            durable: Durable::new(me),
            expiries: Deadlines::default(),
            proposals: Vec::new(),
            reluctant: BTreeMap::new(),
            endings: BTreeMap::new(),
            trust: Trust::default(),
            wrong_answers: 0,
            stale_outcomes: 0,
            replacements: 0,
            seen: Vec::new(),
            negotiation_messages: 0,
        }
    }

    /// What users' tasks take up here, beside what they may.
    pub(crate) fn holdings(&self) -> Vec<Holding> {
        let open = Holding { what: "unfinished tasks", held: self.book.open_count(), max: HOME_TASKS_MAX };
        self.durable.holdings().into_iter().chain([open]).collect()
    }

    /// Awards given and settled since the last call, for the load view.
    pub fn take_assignments(&mut self) -> Vec<Assignment> {
        core::mem::take(&mut self.assignments)
    }

    /// How executors kept their word since the last call, for what is known of them.
    pub fn take_words(&mut self) -> Vec<(PeerId, Kept)> {
        core::mem::take(&mut self.words)
    }

    /// Inputs that left for others since the last call, for the flow of data.
    pub fn take_moved(&mut self) -> Vec<Moved> {
        core::mem::take(&mut self.moved)
    }

    /// Blobs that peers were seen to hold since the last call.
    pub fn take_seen(&mut self) -> Vec<(PeerId, BlobRef, Labels)> {
        core::mem::take(&mut self.seen)
    }

    /// A user needs the output of a finished task where it stayed for so long from now, or no longer.
    pub fn hold(&self, task: TaskId, lease: Duration, out: &mut Outbox) {
        let Some(Phase::Ended(Ok(result))) = self.book.get(task).map(|entry| &entry.phase) else { return };
        if let Payload::Blob(blob) = &result.report.output {
            out.send(blob.holder, Message::Hold(Hold { task, lease: lease.min(RETENTION_MAX) }));
        }
    }

    fn note_word(&mut self, peer: PeerId, kept: Kept) {
        if peer != self.me {
            self.words.push((peer, kept));
        }
    }

    /// Attempts given to a peer that came back with a result, of all that ended, in percent.
    pub fn ok_percent(&self, peer: PeerId) -> Option<f64> {
        self.endings.get(&peer).map(|(well, all)| 100.0 * *well as f64 / (*all).max(1) as f64)
    }

    fn note_ending(&mut self, peer: PeerId, well: bool) {
        if self.endings.len() >= ENDINGS_MAX && !self.endings.contains_key(&peer) {
            self.endings.pop_first();
        }
        let (good, all) = self.endings.entry(peer).or_default();
        *good += u64::from(well);
        *all += 1;
    }

    /// When [`Requester::timer`] has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        let own = [self.deadlines.next(), self.acknowledgements.next_deadline(), self.expiries.next()];
        own.into_iter().chain([self.durable.next_deadline()]).flatten().min()
    }

    // ── Users ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes a task in; the same id again is the same task, and gets the same answer.
    pub fn submit(
        &mut self,
        now: Time,
        task: TaskId,
        submission: Submission,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        let Submission { name, mut spec, keeping, ahead } = submission;
        if sabotage::is(Bug::ForgetKey) && self.book.get(task).is_some_and(|known| known.state.is_final()) {
            self.durable.drop_kept(task, out);
            self.book.forget(task);
        }
        if let Some(known) = self.book.get(task) {
            let kept = known.is_kept();
            match &known.phase {
                Phase::Ended(result) => out.push(Output::Finish { task, result: result.clone() }),
                // The answer to the first submission is an answer to this one.
                Phase::Storing => {}
                Phase::Waiting
                | Phase::Asking { .. }
                | Phase::Awarded { .. }
                | Phase::Collecting { .. }
                | Phase::Recovering { .. }
                | Phase::Resolving
                | Phase::Elsewhere => match self.durable.unpromised(task) {
                    Some(error) => out.push(Output::NotAcknowledged { task, error }),
                    None if kept => out.push(Output::Acknowledged { task }),
                    None => {}
                },
            }
            return;
        }
        if let Err(error) = self.has_room(&spec) {
            return self.finish(task, Err(error), out);
        }
        let tried = BTreeMap::new();
        let circumstances = self.circumstances(now, &spec, spec.deadline, (&tried, &ahead), around);
        let ruled = circumstances.rules.and_then(|rules| rules.ruling().priority());
        let ranking = placement::rank(&spec, (around.sites)(), &circumstances);
        let patience = match self.admit(now, spec.patience, &ranking) {
            Ok(patience) => patience,
            Err(error) => return self.finish(task, Err(error), out),
        };
        if keeping.durability != Durability::Memory {
            spec.patience = patience;
            spec.priority = ruled.unwrap_or(spec.priority);
            return self.submit_kept(now, task, Submission { name, spec, keeping, ahead }, around, out);
        }
        let decided = self.decide(&spec, &ranking, around);
        spec.patience = patience;
        spec.priority = ruled.unwrap_or(spec.priority);
        self.book.enter(now, task, name, spec);
        if let Some(entry) = self.book.open(task).filter(|_| !ahead.is_empty()) {
            entry.ahead = ahead;
        }
        self.tell(task, TaskState::Accepted, None, out);
        self.act_on(now, task, decided, around, out);
    }

    /// A user withdraws a task.
    pub fn cancel(&mut self, task: TaskId, out: &mut Outbox) {
        if sabotage::is(Bug::IgnoreCancel) {
            return;
        }
        if let Some(entry) = self.book.open(task) {
            entry.cancelled = true;
            if matches!(entry.phase, Phase::Elsewhere) {
                return self.durable.withdraw(task, out);
            }
            self.withdraw(task, out);
            self.end(task, TaskState::Cancelled, Err(TaskError::Cancelled), out);
        }
    }

    /// Ends every task that is in memory only: this peer is going. Those on disk go on when it is back, or elsewhere.
    pub fn shut_down(&mut self, out: &mut Outbox) {
        self.leaving = true;
        for task in self.book.open_where(|entry| !entry.is_kept()) {
            self.withdraw(task, out);
            self.end(task, TaskState::Failed, Err(TaskError::ShuttingDown), out);
        }
    }

    /// Where a task would run if it were submitted now.
    pub fn dry_run(
        &self,
        now: Time,
        spec: &TaskSpec,
        around: &Around<'_>,
        member: impl Fn(PeerId) -> Option<Member>,
    ) -> Decision {
        let task = TaskId([0; 16]);
        let (sites, tried, ahead) = ((around.sites)(), BTreeMap::new(), Ahead::new());
        let circumstances = self.circumstances(now, spec, spec.deadline, (&tried, &ahead), around);
        let ranking = placement::rank(spec, sites, &circumstances);
        let executor = ranking.best().map(|best| best.member.peer);
        let mut record = self.new_record(0, self.method(spec, &ranking), spec, &ranking);
        record.executor = executor;
        record.explain(task, &spec.variants, member)
    }

    /// In which order to submit these, which came together: their indices.
    pub fn order_of(&self, now: Time, specs: &[&TaskSpec], around: &Around<'_>) -> Vec<usize> {
        let (sites, tried, ahead) = ((around.sites)(), BTreeMap::new(), Ahead::new());
        let waiting = specs.iter().map(|spec| {
            let circumstances = self.circumstances(now, spec, spec.deadline, (&tried, &ahead), around);
            let ranking = placement::rank(spec, sites, &circumstances);
            let best = ranking.recorded().into_iter().next();
            let (alone, run) = best
                .and_then(|best| Some((best.cost?, best.run)))
                .map_or_else(Default::default, |(cost, run)| (from_millis_f64(cost.completion_ms), run));
            let crossing = transmission(spec.input_bytes(), Some(around.uplink_bits_per_s));
            Waiting { deadline: spec.deadline, alone, size: crossing.saturating_add(run) }
        });
        burst::order(&waiting.collect::<Vec<_>>())
    }

    // ── Shared ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Whether somebody is to have this attempt.
    fn is_under_way(&mut self, attempt: TaskRef) -> bool {
        self.book.open(attempt.task).is_some_and(|entry| match entry.phase {
            Phase::Awarded { .. } | Phase::Collecting { .. } => entry.epoch == attempt.epoch,
            // Which of the attempts before the restart is the one is not known yet.
            Phase::Recovering { .. } => true,
            Phase::Waiting
            | Phase::Asking { .. }
            | Phase::Storing
            | Phase::Resolving
            | Phase::Elsewhere
            | Phase::Ended(_) => false,
        })
    }

    /// The task of an attempt, if that is the current one and `from` holds it.
    fn current(&mut self, attempt: TaskRef, from: PeerId) -> Option<&mut HomeTask> {
        let entry = self.book.open(attempt.task)?;
        if entry.epoch != attempt.epoch && !sabotage::is(Bug::StaleOutcome) {
            return None;
        }
        let holds = match &entry.phase {
            // Who got a forwarded attempt may speak before the one that passed it on.
            Phase::Awarded { .. } if sabotage::is(Bug::AnybodysOutcome) || sabotage::is(Bug::StaleOutcome) => true,
            Phase::Awarded { to, alternatives, .. } => *to == from || alternatives.contains(&from),
            Phase::Collecting { from: holder, .. } => *holder == from,
            Phase::Waiting
            | Phase::Asking { .. }
            | Phase::Storing
            | Phase::Recovering { .. }
            | Phase::Resolving
            | Phase::Elsewhere
            | Phase::Ended(_) => false,
        };
        holds.then_some(entry)
    }

    /// The end of this task is wanted by a pipeline.
    pub(crate) fn watch(&mut self, task: TaskId) {
        self.watched.insert(task);
    }

    /// Ends of watched tasks since the last call.
    pub(crate) fn take_ends(&mut self) -> Vec<(TaskId, Result<TaskResult, TaskError>)> {
        core::mem::take(&mut self.ends)
    }

    /// Hands over the end of a task that is in memory only.
    fn finish(&mut self, task: TaskId, result: Result<TaskResult, TaskError>, out: &mut Outbox) {
        if self.watched.remove(&task) {
            self.ends.push((task, result));
        } else {
            out.push(Output::Finish { task, result });
        }
    }

    fn tell(&self, task: TaskId, state: TaskState, note: Option<String>, out: &mut Outbox) {
        let (executor, epoch) = self.book.get(task).map_or((None, 0), |entry| (entry.executor, entry.epoch));
        let epoch = epoch::attempt(epoch);
        out.notify(Event::TaskChanged { task, state, executor, epoch, note });
    }
}
