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
//! **Not here:** what a candidate costs (`placement/`), and running (`executor.rs`): placing a task at home is an
//! award to oneself.

use core::time::Duration;
use std::collections::BTreeMap;

use super::TaskState;
use super::deadlines::Deadlines;
use super::home::{Book, HomeTask, Phase};
use super::spec::{Ending, Payload, TaskSpec};
use crate::certificate::Member;
use crate::config::{FAILURES_MAX, HOME_TASKS_MAX, RECORDED_CANDIDATES_MAX};
use crate::id::{BlobId, PeerId, TaskId};
use crate::message::{
    Accepted, Ask, AskVariant, Award, DeclineReason, Declined, Forwarded, Message, Offer, Outcome, Progress, TaskRef,
};
use crate::output::{Event, Outbox, Output, TaskError, TaskResult, Timings};
use crate::placement::cost::transmission;
use crate::placement::estimates::{Estimates, Run};
use crate::placement::explain::{Decision, Method, Verdict};
use crate::placement::{self, Assessment, Circumstances, HomeLink, Record, Site};
use crate::rng::Rng;
use crate::time::{Time, micros};

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
/// Candidates named in an award, to which a full executor may pass it on.
const ALTERNATIVES: usize = 4;
/// Alternatives cost at most this many times the best.
const ALTERNATIVE_COST: f64 = 1.5;
/// A task whose executor was lost and that nobody may run now is tried again this often…
const RETRY: Duration = Duration::from_millis(300);
/// …and given up after this long.
const RETRY_FOR: Duration = Duration::from_secs(10);

/// Peers whose record of well-ended attempts is kept.
const ENDINGS_MAX: usize = 256;

/// What the requesting half is told of the rest of the peer.
#[derive(Debug)]
pub struct Around<'a> {
    /// Every peer that may run a task, this one included.
    pub sites: Vec<Site<'a>>,
    /// What was learnt from earlier runs.
    pub estimates: &'a Estimates,
    /// The mesh's λ.
    pub lambda: f64,
    /// This peer's uplink, in bits a second.
    pub uplink_bits_per_s: u64,
    /// Everything left to chance.
    pub rng: &'a mut Rng,
}

impl Around<'_> {
    /// Whether a peer is there to be spoken to.
    fn has(&self, peer: PeerId) -> bool {
        self.sites.iter().any(|site| site.member.peer == peer)
    }
}

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
    },
    /// It is no longer there.
    Settled {
        /// Where it was.
        to: PeerId,
        /// Which attempt.
        attempt: TaskRef,
    },
}

/// The tasks of this peer's users.
#[derive(Debug)]
pub struct Requester {
    me: PeerId,
    pub(crate) book: Book,
    deadlines: Deadlines<TaskId>,
    /// When what was sent so far has left our uplink.
    uplink_free: Time,
    assignments: Vec<Assignment>,
    leaving: bool,
    /// Attempts that ended well, and all that ended, by peer.
    endings: BTreeMap<PeerId, (u64, u64)>,
    /// Outcomes of attempts that had been given up: counted and dropped.
    pub stale_outcomes: u64,
    /// Attempts made anew because an executor died, was silent or lost the task.
    pub replacements: u64,
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
            assignments: Vec::new(),
            leaving: false,
            endings: BTreeMap::new(),
            stale_outcomes: 0,
            replacements: 0,
            negotiation_messages: 0,
        }
    }

    /// Awards given and settled since the last call, for the load view.
    pub fn take_assignments(&mut self) -> Vec<Assignment> {
        core::mem::take(&mut self.assignments)
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
        self.deadlines.next()
    }

    // ── Users ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes a task in; the same id again is the same task, and gets the same answer.
    pub fn submit(
        &mut self,
        now: Time,
        task: TaskId,
        name: String,
        spec: TaskSpec,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        if let Some(known) = self.book.get(task) {
            if let Phase::Ended(result) = &known.phase {
                out.push(Output::Finish { task, result: result.clone() });
            }
            return;
        }
        let held = self.book.open_count();
        if self.leaving || held >= HOME_TASKS_MAX {
            let overloaded = TaskError::Overloaded { held, retry_after: Duration::from_secs(1) };
            let error = if self.leaving { TaskError::ShuttingDown } else { overloaded };
            return out.push(Output::Finish { task, result: Err(error) });
        }
        self.book.enter(now, task, name, spec);
        self.tell(task, TaskState::Accepted, None, out);
        self.place(now, task, around, out);
    }

    /// A user withdraws a task.
    pub fn cancel(&mut self, task: TaskId, out: &mut Outbox) {
        if self.book.open(task).is_some() {
            self.withdraw(task, out);
            self.end(task, TaskState::Cancelled, Err(TaskError::Cancelled), out);
        }
    }

    /// Ends every task: this peer is going.
    pub fn shut_down(&mut self, out: &mut Outbox) {
        self.leaving = true;
        for task in self.book.open_where(|_| true) {
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
        let assessments = placement::assess(
            spec,
            &around.sites,
            &self.circumstances(now, spec, spec.deadline, &BTreeMap::new(), around),
        );
        let admissible = placement::admissible(&assessments);
        let method = self.method(spec, admissible);
        let executor = admissible.first().map(|best| best.peer);
        let mut record = self.new_record(0, method, spec, around, &assessments);
        record.executor = executor;
        record.explain(task, member)
    }

    // ── Placing ─────────────────────────────────────────────────────────────────────────────────────────────────

    fn circumstances<'a>(
        &self,
        now: Time,
        spec: &TaskSpec,
        deadline_in: Option<Duration>,
        tried: &'a BTreeMap<PeerId, String>,
        around: &Around<'a>,
    ) -> Circumstances<'a> {
        let link = HomeLink { uplink_bits_per_s: around.uplink_bits_per_s, uplink_wait: self.uplink_free.since(now) };
        let lambda = spec.lambda.unwrap_or(around.lambda);
        Circumstances { estimates: around.estimates, link, lambda, deadline_in, tried }
    }

    fn method(&self, spec: &TaskSpec, admissible: &[Assessment]) -> Method {
        match admissible {
            [] => Method::None,
            [only] if only.peer == self.me => Method::Local,
            [_] if spec.policy.peer.is_some() => Method::Pinned,
            [_] => Method::Award,
            many if placement::is_busy(many) => Method::Offers,
            _ => Method::Award,
        }
    }

    fn new_record(
        &self,
        epoch: u32,
        method: Method,
        spec: &TaskSpec,
        around: &Around<'_>,
        assessments: &[Assessment],
    ) -> Record {
        let kept = assessments.iter().take(RECORDED_CANDIDATES_MAX).map(|a| Assessment { basis: None, ..a.clone() });
        Record {
            epoch,
            method,
            decided_in_us: 0,
            lambda: spec.lambda.unwrap_or(around.lambda),
            asked: 0,
            executor: None,
            assessments: kept.collect(),
            verdicts: Vec::new(),
            input_bytes: spec.input_bytes(),
        }
    }

    /// Begins an attempt: awards the task at once, or asks for offers.
    fn place(&mut self, now: Time, task: TaskId, around: &mut Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.get(task) else { return };
        let deadline_in = entry.deadline_in(now);
        let circumstances = self.circumstances(now, &entry.spec, deadline_in, &entry.tried, around);
        let assessments = placement::assess(&entry.spec, &around.sites, &circumstances);
        let admissible = placement::admissible(&assessments).to_vec();
        let method = self.method(&entry.spec, &admissible);
        let epoch = entry.epoch + 1;
        let record = self.new_record(epoch, method, &entry.spec, around, &assessments);
        let Some(entry) = self.book.open(task) else { return };
        entry.epoch = epoch;
        entry.records.push(record);
        entry.state = TaskState::Placing;
        match method {
            Method::None => self.nobody(now, task, &assessments, out),
            Method::Offers => self.ask(now, task, admissible, around, out),
            Method::Local | Method::Award | Method::Forwarded | Method::Pinned => {
                let chosen = placement::choose(&admissible, self.me, around.rng).cloned();
                if let Some(chosen) = chosen {
                    self.award(now, task, chosen, admissible, false, around, out);
                }
            }
        }
    }

    /// Nobody may run it: an error at once, or another look later when that is because an executor was lost.
    fn nobody(&mut self, now: Time, task: TaskId, assessments: &[Assessment], out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        if entry.failures > 0 && now.since(entry.awarded) < RETRY_FOR {
            entry.phase = Phase::Waiting;
            // Whoever declined may have room by then.
            entry.tried.clear();
            return self.deadlines.set(task, now + RETRY);
        }
        let error = if entry.tried.is_empty() {
            let mut reasons = BTreeMap::<_, usize>::new();
            for exclusion in assessments.iter().filter_map(|assessment| assessment.exclusion.as_ref()) {
                *reasons.entry(exclusion.kind()).or_default() += 1;
            }
            let reasons = reasons.into_iter().map(|(reason, count)| format!("{count} × {reason}")).collect::<Vec<_>>();
            let candidates = assessments.len();
            TaskError::NoCandidate { candidates, excluded: candidates, reasons: reasons.join(", ") }
        } else {
            let mut reasons: Vec<_> = entry.tried.values().cloned().collect();
            reasons.dedup();
            TaskError::AllDeclined { asked: entry.tried.len(), reasons: reasons.join(", ") }
        };
        self.end(task, TaskState::Failed, Err(error), out);
    }

    fn ask(&mut self, now: Time, task: TaskId, candidates: Vec<Assessment>, around: &Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        let attempt = TaskRef { task, epoch: entry.epoch };
        let spec = &entry.spec;
        let variants = spec.variants.iter().map(|variant| AskVariant {
            module: variant.module,
            module_bytes: variant.module_bytes,
            work: around.estimates.work(spec, variant),
        });
        let ask = Ask {
            attempt,
            variants: variants.collect(),
            input_bytes: spec.input_bytes(),
            memory_bytes: spec.limits.memory_bytes,
            deadline_in: entry.deadline_in(now),
        };
        let open: Vec<_> = candidates.iter().take(ASKED).map(|candidate| candidate.peer).collect();
        let rtt = around.sites.iter().filter(|site| open.contains(&site.member.peer)).map(|site| site.rtt).max();
        self.deadlines.set(task, now + rtt.unwrap_or_default().mul_f64(1.2) + OFFER_PATIENCE);
        if let Some(record) = entry.record() {
            record.asked = open.len() as u32;
        }
        for peer in &open {
            self.negotiation_messages += u64::from(*peer != self.me);
            out.send(*peer, Message::Ask(ask.clone()));
        }
        entry.phase = Phase::Asking { candidates, open, offers: Vec::new() };
    }

    /// Gives the task to `to`; `rest` are all candidates, cheapest first.
    #[allow(clippy::too_many_arguments)] // Each is a fact of the decision just made.
    fn award(
        &mut self,
        now: Time,
        task: TaskId,
        to: Assessment,
        rest: Vec<Assessment>,
        firm: bool,
        around: &Around<'_>,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.book.open(task) else { return };
        let attempt = TaskRef { task, epoch: entry.epoch };
        let rest: Vec<_> = rest.into_iter().filter(|other| other.peer != to.peer).collect();
        let near = |other: &&Assessment| other.total() <= to.total() * ALTERNATIVE_COST + 1.0;
        let alternatives: Vec<_> = rest.iter().filter(near).take(ALTERNATIVES).map(|other| other.peer).collect();
        let work = entry.spec.variants.get(usize::from(to.variant)).map(|v| around.estimates.work(&entry.spec, v));
        let rtt = around.sites.iter().find(|site| site.member.peer == to.peer).map_or(Duration::ZERO, |site| site.rtt);
        let input_bytes = entry.spec.input_bytes();
        let award = Award {
            attempt,
            home: self.me,
            variant: to.variant,
            spec: entry.spec.clone(),
            work: work.unwrap_or_default(),
            expected_start: to.start_in,
            // With nobody else to turn to, a later start is better than another round of talk.
            firm: firm || rest.is_empty(),
            hops: 0,
            alternatives: alternatives.clone(),
        };
        entry.executor = Some(to.peer);
        entry.variant = to.variant;
        entry.awarded = now;
        entry.state = TaskState::Placing;
        let (me, accepted) = (self.me, entry.accepted);
        if let Some(record) = entry.record() {
            record.executor = Some(to.peer);
            record.decided_in_us = micros(now.since(accepted));
            if to.peer == me && record.method == Method::Award {
                record.method = Method::Local;
            }
        }
        entry.phase = Phase::Awarded { to: to.peer, alternatives, run: to.run, unanswered: 0 };
        let mut patience = AWARD_PATIENCE + rtt * 3;
        if to.peer != me {
            let sending = transmission(input_bytes, Some(around.uplink_bits_per_s));
            self.uplink_free = self.uplink_free.max(now) + sending;
            patience += self.uplink_free.since(now);
            self.negotiation_messages += 1;
            self.assignments.push(Assignment::Given { to: to.peer, attempt, run: to.run });
        }
        self.deadlines.set(task, now + patience);
        out.send(to.peer, Message::Award(Box::new(award)));
    }

    // ── Answers ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// A candidate says when it would start.
    pub fn handle_offer(&mut self, now: Time, from: PeerId, offer: &Offer, around: &mut Around<'_>, out: &mut Outbox) {
        let task = offer.attempt.task;
        let epoch = offer.attempt.epoch;
        let release = Message::Release(offer.attempt);
        let Some(entry) = self.book.open(task).filter(|entry| entry.epoch == epoch) else {
            return out.send(from, release);
        };
        let Phase::Asking { candidates, open, offers } = &mut entry.phase else {
            return out.send(from, release);
        };
        open.retain(|peer| *peer != from);
        let Some(candidate) = candidates.iter().find(|candidate| candidate.peer == from) else {
            return out.send(from, release);
        };
        let mut offered = candidate.starting_in(offer.start_in);
        offered.variant = offer.variant.min(u8::try_from(entry.spec.variants.len() - 1).unwrap_or(0));
        offers.push(offered);
        let others_open = !open.is_empty();
        let cheapest_open =
            candidates.iter().filter(|c| open.contains(&c.peer)).map(Assessment::total).fold(f64::INFINITY, f64::min);
        let good_enough = offer.start_in <= NO_WAIT
            && offers.iter().any(|o| o.peer == from && o.total() <= cheapest_open * 1.12 + 1.0);
        if !others_open || good_enough {
            self.decide_offers(now, task, around, out);
        }
    }

    /// Awards the task to the best offer, or to the best candidate when there was none.
    fn decide_offers(&mut self, now: Time, task: TaskId, around: &mut Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        let attempt = TaskRef { task, epoch: entry.epoch };
        let Phase::Asking { candidates, open, offers } = core::mem::replace(&mut entry.phase, Phase::Waiting) else {
            return;
        };
        let best = offers.iter().min_by(|a, b| a.total().total_cmp(&b.total()).then(a.peer.cmp(&b.peer))).cloned();
        let Some(best) = best else {
            for peer in open {
                entry.tried.insert(peer, "silent".into());
            }
            return self.place(now, task, around, out);
        };
        for other in offers.iter().filter(|other| other.peer != best.peer) {
            self.negotiation_messages += u64::from(other.peer != self.me);
            out.send(other.peer, Message::Release(attempt));
        }
        if let Some(record) = entry.record() {
            for offer in &offers {
                record.verdict(offer.peer, Verdict::Offered, "");
                if let Some(kept) = record.assessments.iter_mut().find(|kept| kept.peer == offer.peer) {
                    *kept = Assessment { basis: None, ..offer.clone() };
                }
            }
            record.verdict(best.peer, Verdict::Won, "");
        }
        self.award(now, task, best, candidates, true, around, out);
    }

    /// The attempt stands at its executor.
    pub fn handle_accepted(&mut self, now: Time, from: PeerId, accepted: &Accepted, out: &mut Outbox) {
        let Some(entry) = self.current(accepted.attempt, from) else {
            return out.send(from, Message::Cancel(accepted.attempt));
        };
        if let Phase::Awarded { unanswered, .. } = &mut entry.phase {
            *unanswered = 0;
        }
        // A task that was told to run before it was told to be accepted does not go back.
        let changed = entry.state == TaskState::Placing && !accepted.state.is_final();
        if changed {
            entry.state = accepted.state;
        }
        self.deadlines.set(accepted.attempt.task, now + LEASE);
        if changed {
            self.tell(accepted.attempt.task, accepted.state, None, out);
        }
    }

    /// The attempt is somewhere in its life.
    pub fn handle_progress(&mut self, now: Time, from: PeerId, progress: Progress, out: &mut Outbox) {
        let Some(entry) = self.current(progress.attempt, from) else {
            return out.send(from, Message::Cancel(progress.attempt));
        };
        if let Phase::Awarded { unanswered, .. } = &mut entry.phase {
            *unanswered = 0;
        }
        let changed = entry.state != progress.state && !progress.state.is_final();
        if changed {
            entry.state = progress.state;
        }
        self.deadlines.set(progress.attempt.task, now + LEASE);
        if changed {
            self.tell(progress.attempt.task, progress.state, None, out);
        }
    }

    /// The attempt was passed on to another of the candidates that the award named.
    pub fn handle_forwarded(
        &mut self,
        now: Time,
        from: PeerId,
        forwarded: &Forwarded,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        let attempt = forwarded.attempt;
        let Some(entry) = self.current(attempt, from) else { return };
        let Phase::Awarded { to, alternatives, run, .. } = &mut entry.phase else { return };
        if !alternatives.contains(&forwarded.to) {
            return;
        }
        *to = forwarded.to;
        let run = *run;
        entry.executor = Some(forwarded.to);
        if let Some(record) = entry.record() {
            record.method = Method::Forwarded;
            record.executor = Some(forwarded.to);
            record.verdict(from, Verdict::Declined, "it was busy, and passed the task on");
            record.verdict(forwarded.to, Verdict::Won, "the task was passed on to it");
        }
        self.assignments.push(Assignment::Settled { to: from, attempt });
        self.assignments.push(Assignment::Given { to: forwarded.to, attempt, run });
        if !around.has(forwarded.to) {
            // Who passed it on has not heard yet what we know: nobody will tell us again.
            self.lose(now, attempt.task, forwarded.to, "it was gone when the task was passed on to it", around, out);
        }
    }

    /// A candidate or the executor says no.
    pub fn handle_declined(
        &mut self,
        now: Time,
        from: PeerId,
        declined: &Declined,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        let attempt = declined.attempt;
        let task = attempt.task;
        let Some(entry) = self.book.open(task).filter(|entry| entry.epoch == attempt.epoch) else { return };
        if let Phase::Asking { open, .. } = &mut entry.phase {
            open.retain(|peer| *peer != from);
            let nobody_left = open.is_empty();
            note_refusal(entry, from, &declined.reason);
            if nobody_left {
                self.decide_offers(now, task, around, out);
            }
            return;
        }
        if !matches!(&entry.phase, Phase::Awarded { to, .. } if *to == from) {
            return;
        }
        self.assignments.push(Assignment::Settled { to: from, attempt });
        match &declined.reason {
            DeclineReason::Counter(offer) => self.handle_counter(now, from, offer, around, out),
            DeclineReason::Unknown => {
                self.replacements += 1;
                entry.failures += 1;
                if let Some(record) = entry.record() {
                    record.verdict(from, Verdict::Lost, "it does not know the task any more");
                }
                self.retry(now, task, "the executor lost the task", around, out);
            }
            DeclineReason::QueueFull
            | DeclineReason::Memory { .. }
            | DeclineReason::Leaving
            | DeclineReason::FetchFailed(_)
            | DeclineReason::Unacceptable(_) => {
                note_refusal(entry, from, &declined.reason);
                self.place(now, task, around, out);
            }
        }
    }

    /// The executor would start later than we believed: still the best, or is the next one?
    fn handle_counter(&mut self, now: Time, from: PeerId, offer: &Offer, around: &mut Around<'_>, out: &mut Outbox) {
        let task = offer.attempt.task;
        let Some(entry) = self.book.open(task) else { return };
        let deadline_in = entry.deadline_in(now);
        let Some(entry) = self.book.get(task) else { return };
        let circumstances = self.circumstances(now, &entry.spec, deadline_in, &entry.tried, around);
        let assessments = placement::assess(&entry.spec, &around.sites, &circumstances);
        let mut candidates = placement::admissible(&assessments).to_vec();
        let Some(countered) = candidates.iter().position(|candidate| candidate.peer == from) else {
            return self.place(now, task, around, out);
        };
        let real = candidates.remove(countered).starting_in(offer.start_in);
        let Some(entry) = self.book.open(task) else { return };
        let better = candidates.first().is_some_and(|next| next.total() < real.total());
        if let Some(record) = entry.record() {
            let note = format!("countered: starts in {:.0} ms", crate::time::millis(offer.start_in));
            record.verdict(from, if better { Verdict::Declined } else { Verdict::Won }, note);
        }
        if better {
            out.send(from, Message::Release(offer.attempt));
            entry.tried.insert(from, "starts too late".into());
            self.place(now, task, around, out);
        } else {
            self.award(now, task, real, candidates, true, around, out);
        }
    }

    // ── The end of an attempt ───────────────────────────────────────────────────────────────────────────────────

    /// An attempt ended: commit it if it is the current one, and tell its executor in any case.
    pub fn handle_outcome(
        &mut self,
        now: Time,
        from: PeerId,
        outcome: Outcome,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) -> Option<Learnt> {
        let attempt = outcome.attempt;
        let elsewhere = from != self.me;
        self.assignments.push(Assignment::Settled { to: from, attempt });
        let Some(entry) = self.current(attempt, from) else {
            self.stale_outcomes += 1;
            out.send(from, Message::OutcomeReceived(attempt));
            return None;
        };
        if !matches!(entry.phase, Phase::Awarded { .. }) {
            return None;
        }
        if let Ending::HostFailed(why) = &outcome.report.ending {
            let why = format!("{}: {why}", from.short());
            entry.failures += 1;
            entry.tried.insert(from, why.clone());
            out.send(from, Message::OutcomeReceived(attempt));
            self.retry(now, attempt.task, &why, around, out);
            return None;
        }
        let learnt = Learnt::from_run(entry, from, &outcome);
        match outcome.report.output {
            Payload::Blob(blob) if elsewhere => {
                entry.phase = Phase::Collecting { from, outcome: Box::new(outcome) };
                self.deadlines.clear(&attempt.task);
                out.push(Output::Fetch { attempt, blobs: vec![blob] });
            }
            Payload::Blob(_) | Payload::Inline(_) => self.commit(now, from, outcome, out),
        }
        learnt
    }

    /// The large output of an attempt is here, or cannot be had; false when the fetch was not ours.
    pub fn fetched(
        &mut self,
        now: Time,
        attempt: TaskRef,
        result: &Result<(), String>,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) -> bool {
        let Some(entry) = self.book.open(attempt.task).filter(|entry| entry.epoch == attempt.epoch) else {
            return false;
        };
        if !matches!(entry.phase, Phase::Collecting { .. }) {
            return false;
        }
        let Phase::Collecting { from, outcome } = core::mem::replace(&mut entry.phase, Phase::Waiting) else {
            return false;
        };
        match result {
            Ok(()) => self.commit(now, from, *outcome, out),
            Err(why) => {
                entry.failures += 1;
                let why = format!("its output could not be fetched: {why}");
                self.retry(now, attempt.task, &why, around, out);
            }
        }
        true
    }

    fn commit(&mut self, now: Time, from: PeerId, outcome: Outcome, out: &mut Outbox) {
        let task = outcome.attempt.task;
        out.send(from, Message::OutcomeReceived(outcome.attempt));
        self.note_ending(from, true);
        let Some(entry) = self.book.open(task) else { return };
        let timings = Timings {
            placing_us: micros(entry.awarded.since(entry.accepted)),
            prepare_us: micros(outcome.prepare),
            queued_us: micros(outcome.queued),
            run_us: micros(outcome.report.run),
            total_us: micros(now.since(entry.accepted)),
        };
        let state = match outcome.report.ending {
            Ending::Exited(_) => TaskState::Done,
            Ending::Trapped(_) | Ending::LimitHit(_) | Ending::Invalid(_) | Ending::HostFailed(_) => TaskState::Failed,
        };
        let mut report = outcome.report;
        if let Payload::Blob(blob) = &mut report.output {
            blob.holder = self.me;
        }
        let result = TaskResult { report, executor: from, variant: entry.variant, attempts: entry.epoch, timings };
        self.end(task, state, Ok(result), out);
    }

    fn end(&mut self, task: TaskId, state: TaskState, result: Result<TaskResult, TaskError>, out: &mut Outbox) {
        self.deadlines.clear(&task);
        let note = result.as_ref().err().map(ToString::to_string);
        self.tell(task, state, note, out);
        out.push(Output::Finish { task, result: result.clone() });
        self.book.close(task, state, result);
    }

    /// Tells whoever was given or asked for the current attempt that it is not wanted any more.
    fn withdraw(&mut self, task: TaskId, out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        let attempt = TaskRef { task, epoch: entry.epoch };
        match &entry.phase {
            Phase::Awarded { to, .. } => {
                out.send(*to, Message::Cancel(attempt));
                self.assignments.push(Assignment::Settled { to: *to, attempt });
            }
            Phase::Asking { offers, .. } => {
                for offer in offers {
                    out.send(offer.peer, Message::Release(attempt));
                }
            }
            Phase::Collecting { from, .. } => out.send(*from, Message::OutcomeReceived(attempt)),
            Phase::Waiting | Phase::Ended(_) => {}
        }
    }

    // ── When executors vanish ───────────────────────────────────────────────────────────────────────────────────

    /// A peer is dead or left: what it held is placed anew, what it was asked is not awaited.
    pub fn peer_lost(&mut self, now: Time, peer: PeerId, around: &mut Around<'_>, out: &mut Outbox) {
        let concerned = self.book.open_where(|entry| match &entry.phase {
            Phase::Awarded { to, .. } => *to == peer,
            Phase::Asking { open, .. } => open.contains(&peer),
            Phase::Collecting { from, .. } => *from == peer,
            Phase::Waiting | Phase::Ended(_) => false,
        });
        for task in concerned {
            self.lose(now, task, peer, "it died", around, out);
        }
    }

    fn lose(&mut self, now: Time, task: TaskId, peer: PeerId, why: &str, around: &mut Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        entry.tried.insert(peer, why.to_owned());
        if let Phase::Asking { open, .. } = &mut entry.phase {
            open.retain(|asked| *asked != peer);
            if open.is_empty() {
                self.decide_offers(now, task, around, out);
            }
            return;
        }
        entry.failures += 1;
        let attempt = TaskRef { task, epoch: entry.epoch };
        if let Some(record) = entry.record() {
            record.verdict(peer, Verdict::Lost, why);
        }
        self.replacements += 1;
        self.note_ending(peer, false);
        self.assignments.push(Assignment::Settled { to: peer, attempt });
        let note = format!("{} was lost: {why}", peer.short());
        self.retry(now, task, &note, around, out);
    }

    fn retry(&mut self, now: Time, task: TaskId, why: &str, around: &mut Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        if entry.failures >= FAILURES_MAX {
            let error = TaskError::AttemptsExhausted { attempts: entry.failures, last: why.to_owned() };
            return self.end(task, TaskState::Failed, Err(error), out);
        }
        self.tell(task, TaskState::Placing, Some(why.to_owned()), out);
        self.place(now, task, around, out);
    }

    /// A peer is connected again: it is asked what became of what it was given, and may be asked for more.
    pub fn peer_back(&mut self, peer: PeerId, out: &mut Outbox) {
        let held = self.book.open_where(|entry| matches!(&entry.phase, Phase::Awarded { to, .. } if *to == peer));
        for task in held {
            if let Some(entry) = self.book.open(task) {
                out.send(peer, Message::Query(TaskRef { task, epoch: entry.epoch }));
            }
        }
    }

    /// Does what is due: decides on the offers that came, asks after awards, tries again.
    pub fn timer(&mut self, now: Time, around: &mut Around<'_>, out: &mut Outbox) {
        while let Some(task) = self.deadlines.pop_due(now) {
            let Some(entry) = self.book.open(task) else { continue };
            let epoch = entry.epoch;
            match &mut entry.phase {
                Phase::Waiting => self.place(now, task, around, out),
                Phase::Asking { .. } => self.decide_offers(now, task, around, out),
                Phase::Awarded { to, unanswered, .. } => {
                    let to = *to;
                    *unanswered += 1;
                    // A question to somebody who is not there is no question.
                    if *unanswered > UNANSWERED_MAX || !around.has(to) {
                        out.send(to, Message::Cancel(TaskRef { task, epoch }));
                        self.lose(now, task, to, "it did not answer", around, out);
                    } else {
                        out.send(to, Message::Query(TaskRef { task, epoch }));
                        self.deadlines.set(task, now + LEASE);
                    }
                }
                Phase::Collecting { .. } | Phase::Ended(_) => {}
            }
        }
    }

    // ── Shared ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// The task of an attempt, if that is the current one and `from` holds it.
    fn current(&mut self, attempt: TaskRef, from: PeerId) -> Option<&mut HomeTask> {
        let entry = self.book.open(attempt.task)?;
        if entry.epoch != attempt.epoch {
            return None;
        }
        let holds = match &entry.phase {
            // Who got a forwarded attempt may speak before the one that passed it on.
            Phase::Awarded { to, alternatives, .. } => *to == from || alternatives.contains(&from),
            Phase::Collecting { from: holder, .. } => *holder == from,
            Phase::Waiting | Phase::Asking { .. } | Phase::Ended(_) => false,
        };
        holds.then_some(entry)
    }

    fn tell(&self, task: TaskId, state: TaskState, note: Option<String>, out: &mut Outbox) {
        let (executor, epoch) = self.book.get(task).map_or((None, 0), |entry| (entry.executor, entry.epoch));
        out.notify(Event::TaskChanged { task, state, executor, epoch, note });
    }
}

fn note_refusal(entry: &mut HomeTask, from: PeerId, reason: &DeclineReason) {
    let why = match reason {
        DeclineReason::QueueFull => "queue full".to_owned(),
        DeclineReason::Memory { wanted_bytes, free_bytes } => {
            format!("needs {} MiB, {} MiB free", wanted_bytes >> 20, free_bytes >> 20)
        }
        DeclineReason::Counter(_) => "starts too late".to_owned(),
        DeclineReason::Leaving => "shutting down".to_owned(),
        DeclineReason::Unknown => "does not know the task".to_owned(),
        DeclineReason::FetchFailed(why) => format!("could not fetch: {why}"),
        DeclineReason::Unacceptable(why) => why.clone(),
    };
    if let Some(record) = entry.record() {
        record.verdict(from, Verdict::Declined, why.clone());
    }
    entry.tried.insert(from, why);
}

/// What a run teaches.
#[derive(Debug)]
pub struct Learnt {
    executor: PeerId,
    module: BlobId,
    args: Vec<String>,
    input_bytes: u64,
    output_bytes: u64,
    run: Duration,
    expected: Duration,
    speed: f64,
}

impl Learnt {
    /// Nothing is learnt from a run that did not come to its own end.
    fn from_run(entry: &HomeTask, executor: PeerId, outcome: &Outcome) -> Option<Self> {
        let Phase::Awarded { run: expected, .. } = &entry.phase else { return None };
        let module = entry.spec.variants.get(usize::from(entry.variant))?.module;
        matches!(outcome.report.ending, Ending::Exited(_)).then(|| Self {
            executor,
            module,
            args: entry.spec.args.clone(),
            input_bytes: entry.spec.input_bytes(),
            output_bytes: outcome.report.output.bytes(),
            run: outcome.report.run,
            expected: *expected,
            speed: outcome.speed,
        })
    }

    /// Adds it to what is known.
    pub fn teach(&self, estimates: &mut Estimates) {
        let knew = estimates.knows(self.module);
        estimates.learn(&Run {
            module: self.module,
            args: &self.args,
            input_bytes: self.input_bytes,
            output_bytes: self.output_bytes,
            run: self.run,
            speed: self.speed,
        });
        estimates.holds(self.executor, self.module);
        if knew {
            estimates.quoted(self.executor, self.expected, self.run);
        }
    }
}
