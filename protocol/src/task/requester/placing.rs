//! Beginning an attempt: award at once, or ask for offers.

use super::answers::BUSY;
use super::*;
use crate::flow::source_of;
use crate::placement::inputs::Inputs;
use crate::placement::policy::{self, LOAD_UNKNOWN_KIND, RESIDENCY_KIND};
use crate::task::home::{Promise, WAITS_FOR_BETTER};
use crate::task::spec::Patience;

/// A task that failed so often is given to nobody who has not shown that it does what it says.
const FAILURES_TO_PLAY_SAFE: u32 = 3;
/// A task that is held back is not looked at more often.
const HELD_MIN: Duration = Duration::from_millis(20);
/// A peer that has just become a neighbour tells its load with its first ping: so long after it was handed in, a task that
/// nobody else may run waits for that.
const UNHEARD_MAX: Duration = Duration::from_secs(2);
/// As a decision's record has it.
const UNPROVEN: &str = "the task failed before, and it has not done anything for us yet";
const LOST_AGAIN: &str = "it lost the task before, and others are left";

/// What follows from a ranking.
enum Step {
    Nobody(Excluded),
    /// Only a share of the uplink keeps it from going: it goes when that is free.
    Hold(Duration),
    Ask(Vec<Candidate>),
    Award(Rivals, Box<Assessment>),
}

/// A step, and why.
pub(super) struct Decided {
    step: Step,
    record: Record,
}

/// Who is excluded, counted.
pub(super) struct Excluded {
    count: usize,
    by_reason: BTreeMap<&'static str, usize>,
}

impl Excluded {
    fn count(ranking: &Ranking<'_>) -> Self {
        let mut excluded = Self { count: 0, by_reason: BTreeMap::new() };
        for exclusion in ranking.exclusions() {
            excluded.count += 1;
            *excluded.by_reason.entry(exclusion.kind()).or_default() += 1;
        }
        excluded
    }
}

/// Whether it only says what is waited for: attempts have numbers, from 1.
fn is_of_waiting(record: &Record) -> bool {
    record.method == Method::None && record.epoch == 0
}

/// Whom else a task could have gone to.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// The next best, and all that are not much worse: to whom it may be passed on.
    near: Vec<PeerId>,
    /// Nobody at all.
    none: bool,
}

impl Rivals {
    /// Of the one that was chosen among `assessments`, cheapest first.
    pub(super) fn of<'a>(chosen: &Assessment, assessments: impl IntoIterator<Item = &'a Assessment>) -> Self {
        let limit = chosen.total() * ALTERNATIVE_COST + 1.0;
        let mut rivals = Self { near: Vec::new(), none: true };
        for other in assessments {
            if other.peer == chosen.peer || other.exclusion.is_some() {
                continue;
            }
            rivals.none = false;
            let named = rivals.near.len();
            if named < ALTERNATIVES_ANYWAY || other.total() <= limit && named < ALTERNATIVES_MAX {
                rivals.near.push(other.peer);
            }
        }
        rivals
    }
}

impl Requester {
    pub(super) fn circumstances<'a, 'b: 'a>(
        &self,
        now: Time,
        spec: &TaskSpec,
        deadline_in: Option<Duration>,
        (tried, ahead): (&'a BTreeMap<PeerId, String>, &'a Ahead),
        around: &Around<'b>,
    ) -> Circumstances<'a> {
        let link = HomeLink { uplink_bits_per_s: around.uplink_bits_per_s, uplink_wait: self.uplink_free.since(now) };
        let rules = around.rules.and_then(|rules| rules.on(now, spec, &self.shares, around.uplink_bits_per_s));
        let ruled = rules.and_then(|rules| rules.ruling().lambda());
        let lambda = ruled.or(spec.lambda).unwrap_or(around.lambda);
        let (estimates, holders) = (around.estimates, around.holders);
        Circumstances { estimates, holders, link, lambda, deadline_in, tried, last_resort: false, ahead, rules }
    }

    /// Those of a task in the book.
    pub(super) fn circumstances_of<'a, 'b: 'a>(
        &self,
        now: Time,
        entry: &'a HomeTask,
        deadline_in: Option<Duration>,
        around: &Around<'b>,
    ) -> Circumstances<'a> {
        let circumstances = self.circumstances(now, &entry.spec, deadline_in, (&entry.tried, &entry.ahead), around);
        // Who is only busy will have room.
        let last_resort = entry.takes_anybody() && !entry.tried.values().any(|why| why == BUSY);
        Circumstances { last_resort, ..circumstances }
    }

    pub(super) fn method(&self, spec: &TaskSpec, ranking: &Ranking<'_>) -> Method {
        match (ranking.admissible_count(), ranking.best()) {
            (0, _) | (_, None) => Method::None,
            (1, Some(only)) if only.is_home => Method::Local,
            (1, Some(_)) if spec.policy.peer.is_some() => Method::Pinned,
            _ if ranking.needs_offers() => Method::Offers,
            _ => Method::Award,
        }
    }

    pub(super) fn new_record(&self, epoch: u32, method: Method, spec: &TaskSpec, ranking: &Ranking<'_>) -> Record {
        Record {
            epoch,
            method,
            decided_in_us: 0,
            lambda: ranking.lambda(),
            asked: 0,
            executor: None,
            assessments: ranking.recorded(),
            verdicts: Vec::new(),
            input_bytes: spec.input_bytes(),
            rules: ranking.rules_applied(),
        }
    }

    /// Leaves out everybody but home and those wanted, unless nobody would be left.
    pub(super) fn prefer(&mut self, task: TaskId, why: &str, around: &Around<'_>, wanted: impl Fn(PeerId) -> bool) {
        let Some(entry) = self.book.open(task) else { return };
        let sites = (around.sites)();
        let is_wanted = |site: &Site<'_>| site.is_home || wanted(site.member.peer);
        let may_run = |site: &&Site<'_>| {
            let untried = !entry.tried.contains_key(&site.member.peer);
            untried && policy::check(&entry.spec, site.member, site.is_home, site.load).is_ok()
        };
        if !sites.iter().filter(may_run).any(is_wanted) {
            return;
        }
        let unwanted = sites.iter().filter(|site| !is_wanted(site)).map(|site| site.member.peer);
        for peer in unwanted {
            entry.tried.entry(peer).or_insert_with(|| why.to_owned());
        }
    }

    /// Begins an attempt: awards the task at once, or asks for offers.
    pub(super) fn place(&mut self, now: Time, task: TaskId, around: &mut Around<'_>, out: &mut Outbox) {
        if self.book.get(task).is_some_and(|entry| entry.failures >= FAILURES_TO_PLAY_SAFE) {
            let estimates = around.estimates;
            self.prefer(task, UNPROVEN, around, |peer| estimates.keeps_word(peer));
        }
        // Of those that were late before, another than the one that was so again; if it is the only one, the next time.
        let estimates = around.estimates;
        let lost = self.book.get(task).filter(|entry| entry.waits == WAITS_FOR_BETTER).and_then(|entry| entry.executor);
        if let Some(lost) = lost.filter(|lost| estimates.distrusts(*lost)) {
            self.prefer(task, LOST_AGAIN, around, |peer| peer != lost && !estimates.bars(peer));
        }
        self.choose_checker(task, around);
        let Some(entry) = self.book.get(task) else { return };
        let deadline_in = entry.deadline_in(now);
        let circumstances = self.circumstances_of(now, entry, deadline_in, around);
        let ranking = placement::rank(&entry.spec, (around.sites)(), &circumstances);
        let decided = self.decide(&entry.spec, &ranking, around);
        self.act_on(now, task, decided, around, out);
    }

    /// What is to be done with a task that may go where `ranking` says.
    pub(super) fn decide(&self, spec: &TaskSpec, ranking: &Ranking<'_>, around: &mut Around<'_>) -> Decided {
        let method = self.method(spec, ranking);
        let record = self.new_record(0, method, spec, ranking);
        let award = |to| Step::Award(Rivals::of(&to, &record.assessments), Box::new(to));
        let step = match method {
            Method::None => ranking.held_up().map(Step::Hold),
            Method::Offers => Some(Step::Ask(ranking.candidates())),
            Method::Local | Method::Award | Method::Forwarded | Method::Pinned => ranking.choose(around.rng).map(award),
        };
        Decided { step: step.unwrap_or_else(|| Step::Nobody(Excluded::count(ranking))), record }
    }

    /// Begins the attempt that was decided on.
    pub(super) fn act_on(
        &mut self,
        now: Time,
        task: TaskId,
        decided: Decided,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.book.open(task) else { return };
        let wait = match &decided.step {
            Step::Hold(wait) => Some(*wait),
            // One that is kept waits for somebody in any case.
            Step::Nobody(excluded) => {
                let waited = now.since(entry.accepted);
                let in_time = entry.deadline_in(now).is_none_or(|left| !left.is_zero());
                let may_be_heard = !entry.is_kept() && in_time && waited < UNHEARD_MAX;
                // Looked at less and less often: each look costs a ranking.
                let wait = (waited / 4).min(UNHEARD_MAX.saturating_sub(waited));
                (may_be_heard && excluded.by_reason.contains_key(LOAD_UNKNOWN_KIND)).then_some(wait)
            }
            Step::Ask(_) | Step::Award(..) => None,
        };
        if let Some(wait) = wait {
            return self.hold_back(now, task, decided.record, wait);
        }
        entry.epoch = entry.next_epoch();
        entry.records.pop_if(|last| is_of_waiting(last));
        entry.records.push(Record { epoch: epoch::attempt(entry.epoch), ..decided.record });
        let forgotten = entry.records.len().saturating_sub(RECORDS_MAX);
        entry.records.drain(..forgotten);
        entry.state = TaskState::Placing;
        match decided.step {
            Step::Hold(_) => {}
            Step::Nobody(excluded) => self.nobody(now, task, &excluded, out),
            Step::Ask(candidates) => self.ask(now, task, candidates, around, out),
            Step::Award(rivals, chosen) => self.award(now, task, &chosen, rivals, false, around, out),
        }
    }

    /// Nobody may run it: an error at once, or another look later when that is because an executor was lost.
    pub(super) fn nobody(&mut self, now: Time, task: TaskId, excluded: &Excluded, out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        if entry.is_kept() {
            return self.wait_for_somebody(now, task);
        }
        let since = entry.failing_since.unwrap_or(entry.awarded);
        if (entry.failures > 0 || entry.answers.is_some()) && now.since(since) < RETRY_FOR {
            entry.phase = Phase::Waiting;
            // Whoever declined may have room by then.
            entry.tried.clear();
            return self.deadlines.set(task, now + RETRY);
        }
        let error = if entry.answers.is_some() {
            TaskError::Unverified { runs: entry.answers.count(), answers: entry.answers.different() }
        } else if entry.tried.values().any(|why| why == BUSY) && entry.spec.patience != Patience::Endless {
            TaskError::Overloaded { held: self.book.open_count(), retry_after: RETRY }
        } else if entry.tried.is_empty() {
            let reasons = excluded.by_reason.iter().map(|(reason, count)| format!("{count} × {reason}"));
            let reasons = reasons.collect::<Vec<_>>().join(", ");
            if excluded.by_reason.contains_key(RESIDENCY_KIND) {
                let (labels, candidates) = (entry.spec.labels.to_string(), excluded.count);
                let error = TaskError::Residency { labels, candidates, reasons };
                return self.end(task, TaskState::Failed, Err(error), out);
            }
            TaskError::NoCandidate { candidates: excluded.count, excluded: excluded.count, reasons }
        } else {
            let mut reasons: Vec<_> = entry.tried.values().cloned().collect();
            reasons.dedup();
            TaskError::AllDeclined { asked: entry.tried.len(), reasons: reasons.join(", ") }
        };
        self.end(task, TaskState::Failed, Err(error), out);
    }

    /// It waits for its share of the uplink, or for a peer's first word, which is nobody's refusal.
    fn hold_back(&mut self, now: Time, task: TaskId, record: Record, wait: Duration) {
        let Some(entry) = self.book.open(task) else { return };
        entry.phase = Phase::Waiting;
        // However often it is looked at, one record says what it waits for.
        entry.records.pop_if(|last| is_of_waiting(last));
        entry.records.push(record);
        self.deadlines.set(task, now + wait.max(HELD_MIN));
    }

    /// Asks the best of the candidates for offers.
    pub(super) fn ask(
        &mut self,
        now: Time,
        task: TaskId,
        candidates: Vec<Candidate>,
        around: &Around<'_>,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.book.open(task) else { return };
        let attempt = TaskRef { task, epoch: entry.epoch };
        let spec = &entry.spec;
        // Of the builds, the one that costs least there: a peer that is asked knows nothing of losses and λ.
        let ask = |candidate: &Candidate| Ask {
            attempt,
            variants: spec
                .variants
                .get(usize::from(candidate.assessment.variant))
                .map(|variant| AskVariant {
                    module: variant.module,
                    module_bytes: variant.module_bytes,
                    work: around.estimates.work(spec, variant),
                })
                .into_iter()
                .collect(),
            input_bytes: spec.input_bytes(),
            memory_bytes: spec.limits.memory_bytes,
            deadline_in: entry.deadline_in(now),
        };
        let asks: Vec<_> =
            candidates.iter().take(ASKED).map(|candidate| (candidate.assessment.peer, ask(candidate))).collect();
        let open: Vec<_> = candidates.iter().take(ASKED).map(|candidate| candidate.assessment.peer).collect();
        let rtt = candidates.iter().take(ASKED).map(|candidate| candidate.assessment.rtt).max();
        self.deadlines.set(task, now + rtt.unwrap_or_default().mul_f64(1.2) + OFFER_PATIENCE);
        if let Some(record) = entry.record() {
            record.asked = open.len() as u32;
        }
        for (peer, ask) in asks {
            self.negotiation_messages += u64::from(peer != self.me);
            out.send(peer, Message::Ask(ask));
        }
        entry.phase = Phase::Asking { candidates, open, offers: Vec::new() };
    }

    /// Gives the task to `to`, before its rivals.
    #[allow(clippy::too_many_arguments)] // Each is a fact of the decision just made.
    pub(super) fn award(
        &mut self,
        now: Time,
        task: TaskId,
        to: &Assessment,
        rivals: Rivals,
        firm: bool,
        around: &Around<'_>,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.book.open(task) else { return };
        let attempt = TaskRef { task, epoch: entry.epoch };
        let work = entry.spec.variants.get(usize::from(to.variant)).map(|v| around.estimates.work(&entry.spec, v));
        let rtt = to.rtt;
        let link = HomeLink { uplink_bits_per_s: around.uplink_bits_per_s, uplink_wait: self.uplink_free.since(now) };
        let about = core::mem::take(&mut entry.spec.about);
        let mut spec = entry.spec.clone();
        let source = source_of(&about).to_owned();
        entry.spec.about = about;
        name_sources(&mut spec, to.peer, self.me, &Inputs::of(&entry.spec, (around.sites)(), &link, around.holders));
        // Who runs it counts from its arrival: the way there is taken off.
        let way_in = if to.peer == self.me {
            Duration::ZERO
        } else {
            let sent = transmission(to.lacking.from_home_bytes, Some(around.uplink_bits_per_s));
            self.uplink_free.since(now) + sent + rtt / 2
        };
        spec.deadline = entry.deadline_in(now).map(|left| left.saturating_sub(way_in));
        let award = Award {
            attempt,
            home: self.me,
            variant: to.variant,
            spec,
            work: work.unwrap_or_default(),
            works_us: works_us(&entry.spec, around.estimates),
            expected_start: to.start_in,
            // With nobody else to turn to, a later start is better than another round of talk.
            firm: firm || rivals.none,
            hops: 0,
            alternatives: rivals.near.clone(),
            near: Marks::default(),
            kept: entry.is_kept(),
            received: if to.peer == self.me { Vec::new() } else { self.acknowledgements.take(to.peer) },
            safe: Marks::default(),
        };
        if let Some(second) = rivals.near.first().filter(|_| sabotage::is(Bug::DoubleAward)) {
            out.send(*second, Message::Award(Box::new(award.clone())));
        }
        entry.early = Early::default();
        entry.is_last_resort = around.estimates.distrusts(to.peer) && entry.spec.policy.peer.is_none();
        entry.executor = Some(to.peer);
        entry.variant = to.variant;
        entry.awarded = now;
        // Of a module that nobody knows nothing can be promised.
        let module = entry.spec.variants.get(usize::from(to.variant)).map(|variant| variant.module);
        let is_known = entry.spec.expected.is_some() || module.is_some_and(|module| around.estimates.knows(module));
        let within = to.cost.filter(|_| is_known).map(|cost| from_millis_f64(cost.completion_ms));
        entry.promise = Promise { since: now, within, way: to.rtt, is_broken: false };
        entry.state = TaskState::Placing;
        let (me, accepted) = (self.me, entry.accepted);
        if let Some(record) = entry.record() {
            record.executor = Some(to.peer);
            record.decided_in_us = micros(now.since(accepted));
            if to.peer == me && record.method == Method::Award {
                record.method = Method::Local;
            }
        }
        entry.phase = Phase::Awarded { to: to.peer, alternatives: rivals.near, run: to.run, unanswered: 0 };
        // Who accepts in silence answers with the result.
        let mut patience = AWARD_PATIENCE + rtt * 3 + to.start_in + to.run * 2;
        if to.peer != me {
            let bytes = to.lacking.from_home_bytes;
            self.uplink_free = self.uplink_free.max(now) + transmission(bytes, Some(around.uplink_bits_per_s));
            let way = if bytes > 0 { self.uplink_free.since(now) } else { Duration::ZERO };
            patience += way.max(to.lacking.elsewhere);
            entry.promise.way += way.max(to.lacking.elsewhere);
            self.negotiation_messages += 1;
            let known_after = way + rtt;
            self.assignments.push(Assignment::Given { to: to.peer, attempt, run: to.run, known_after });
        }
        self.deadlines.set(task, now + patience);
        // The executor may answer with the result only: that it was asked is all that anybody hears until then.
        self.tell(task, TaskState::Placing, None, out);
        if to.peer != me {
            self.note_moved(now, task, to, source, around);
        }
        let to = to.peer;
        out.send(to, Message::Award(Box::new(award)));
    }

    /// What leaves here of an input, and who pays for it.
    fn note_moved(&mut self, now: Time, task: TaskId, to: &Assessment, source: String, around: &Around<'_>) {
        let bytes = to.lacking.from_home_bytes;
        let Some(entry) = self.book.get(task).filter(|_| bytes > 0) else { return };
        let rules = around.rules.and_then(|rules| rules.on(now, &entry.spec, &self.shares, around.uplink_bits_per_s));
        let site = (around.sites)().iter().find(|site| site.member.peer == to.peer);
        if let (Some(rules), Some(site)) = (rules, site) {
            for (payer, rate) in rules.payers(site.member) {
                self.shares.spend(now, payer, bytes, rate);
            }
        }
        let inline_bytes = entry.spec.inline_bytes().min(bytes);
        let blobs = entry.spec.inputs.iter().filter_map(Payload::blob).map(|blob| blob.id).collect();
        self.moved.push(Moved { to: to.peer, source, inline_bytes, blobs });
    }
}

/// What each build takes, where there are several.
fn works_us(spec: &TaskSpec, estimates: &Estimates) -> Vec<u64> {
    let several = spec.variants.len() > 1;
    spec.variants.iter().filter(|_| several).map(|variant| micros(estimates.work(spec, variant))).collect()
}

/// Tells an executor from whom to fetch what it lacks: the cheapest holder there is, not the one that was named first.
fn name_sources(spec: &mut TaskSpec, executor: PeerId, home: PeerId, inputs: &Inputs<'_>) {
    for input in &mut spec.inputs {
        if let Payload::Blob(blob) = input
            && blob.holder != executor
            && let Some(source) = inputs.source_of(blob.id, home)
        {
            blob.holder = source;
        }
    }
}
