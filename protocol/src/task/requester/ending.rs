//! The end of an attempt: commit it once, and learn from it.

use super::*;

impl Requester {
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
        let me = self.me;
        let elsewhere = from != me;
        if self.held_back(attempt, from) {
            return None;
        }
        let adopted = self.adopt(now, from, attempt, Some(outcome.variant));
        self.assignments.push(Assignment::Settled { to: from, attempt });
        if sabotage::is(Bug::DropOutcome) && attempt.task.0[0].is_multiple_of(8) {
            self.acknowledge(now, from, attempt, out);
            return None;
        }
        let Some(entry) = self.current(attempt, from) else {
            self.stale_outcomes += 1;
            self.acknowledge(now, from, attempt, out);
            return None;
        };
        let Phase::Awarded { to, .. } = &entry.phase else { return None };
        let is_planted = sabotage::is(Bug::AnybodysOutcome) || sabotage::is(Bug::StaleOutcome);
        if *to != from && !is_planted {
            entry.early.ended_at(from);
            return None;
        }
        let failed = match &outcome.report.ending {
            Ending::HostFailed(why) => Some(why.as_str()),
            _ if !outcome.report.is_within_bounds() => Some("it said more than it may"),
            _ => None,
        };
        if let Some(why) = failed {
            let why: String = format!("{}: {why}", from.short()).chars().take(REASON_CHARS_MAX).collect();
            entry.has_failed();
            entry.tried.insert(from, why.clone());
            self.note_word(from, Kept::Failed);
            self.acknowledge(now, from, attempt, out);
            self.retry(now, attempt.task, &why, around, out);
            return None;
        }
        let is_as_awarded = outcome.variant == entry.variant;
        // Who could not start in time may have run another of the builds.
        if usize::from(outcome.variant) < entry.spec.variants.len() {
            entry.variant = outcome.variant;
        }
        let kept = kept(now, entry, &outcome);
        let learnt =
            Learnt::from_run(now, entry, from, &outcome, is_as_awarded).filter(|_| kept == Kept::Well || !elsewhere);
        let word = (elsewhere && !adopted && !entry.promise.is_broken).then_some((from, kept));
        let stays = entry.spec.output.lease().is_some();
        let read = entry.spec.inputs.iter().filter_map(Payload::blob).map(|blob| (from, blob, Labels::default()));
        let mut held: Vec<_> = read.collect();
        match outcome.report.output {
            Payload::Blob(blob) if stays => {
                held.push((from, blob, outcome.report.labels.clone()));
                self.ended_well(now, from, outcome, around, out);
            }
            Payload::Blob(_) if elsewhere && (around.permits)(me, &outcome.report.labels).is_err() => {
                let error = held_fast(me, &outcome.report.labels, around);
                self.acknowledge(now, from, attempt, out);
                self.end(attempt.task, TaskState::Failed, Err(error), out);
            }
            Payload::Blob(blob) if elsewhere => {
                entry.phase = Phase::Collecting { from, outcome: Box::new(outcome) };
                self.deadlines.clear(&attempt.task);
                out.push(Output::Fetch { attempt, blobs: vec![blob] });
            }
            Payload::Blob(_) | Payload::Inline(_) => self.ended_well(now, from, outcome, around, out),
        }
        self.seen.extend(held);
        self.words.extend(word);
        learnt.filter(|_| !adopted)
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
        if self.durable.fetched(attempt, result, &mut lent(now, around, out)) {
            return true;
        }
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
            Ok(()) => self.ended_well(now, from, *outcome, around, out),
            Err(why) => {
                entry.has_failed();
                let why = format!("its output could not be fetched: {why}");
                self.retry(now, attempt.task, &why, around, out);
            }
        }
        true
    }

    /// Makes this the end of the task; `agreed` runs gave the answer, where they were compared.
    pub(super) fn commit(&mut self, now: Time, from: PeerId, outcome: Outcome, agreed: u8, out: &mut Outbox) {
        let (task, attempt) = (outcome.attempt.task, outcome.attempt);
        self.note_ending(from, true);
        let Some(entry) = self.book.open(task) else { return };
        let kept = entry.is_kept();
        if kept {
            entry.release.push((from, attempt));
        }
        let timings = Timings {
            placing_us: micros(entry.awarded.since(entry.accepted)),
            prepare_us: micros(outcome.prepare),
            queued_us: micros(outcome.queued),
            run_us: micros(outcome.report.run),
            total_us: micros(entry.age(now)),
        };
        let state = match outcome.report.ending {
            Ending::Exited(_) => TaskState::Done,
            Ending::Trapped(_) | Ending::LimitHit(_) | Ending::Invalid(_) | Ending::HostFailed(_) => TaskState::Failed,
        };
        let mut report = outcome.report;
        if let Payload::Blob(blob) = &mut report.output {
            blob.holder = if entry.spec.output.lease().is_some() { from } else { self.me };
        }
        let result = TaskResult {
            report,
            executor: from,
            variant: entry.variant,
            attempts: epoch::attempt(entry.epoch),
            agreed,
            timings,
        };
        if !kept {
            self.acknowledge(now, from, attempt, out);
        }
        self.end(task, state, Ok(result), out);
    }

    /// The executor may forget the result: it is told at once when that is this peer.
    pub(super) fn acknowledge(&mut self, now: Time, to: PeerId, attempt: TaskRef, out: &mut Outbox) {
        if to == self.me {
            out.send(to, Message::OutcomesReceived(vec![attempt]));
        } else {
            self.acknowledgements.owe(now, to, attempt, out);
        }
    }

    pub(super) fn end(
        &mut self,
        task: TaskId,
        state: TaskState,
        result: Result<TaskResult, TaskError>,
        out: &mut Outbox,
    ) {
        self.deadlines.clear(&task);
        if self.book.get(task).is_some_and(HomeTask::is_kept) {
            return self.resolve(task, state, result, out);
        }
        let note = result.as_ref().err().map(ToString::to_string);
        self.tell(task, state, note, out);
        self.finish(task, result.clone(), out);
        self.book.close(task, state, result);
    }

    /// Tells whoever was given or asked for the current attempt that it is not wanted any more.
    pub(super) fn withdraw(&mut self, task: TaskId, out: &mut Outbox) {
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
            Phase::Collecting { from, .. } => {
                out.send(*from, Message::OutcomesReceived(vec![attempt]));
                // Its output is on the way here.
                out.push(Output::Abort(attempt));
            }
            Phase::Recovering { held } => {
                if let Some((holder, attempt)) = held {
                    out.send(*holder, Message::Cancel(*attempt));
                }
            }
            Phase::Waiting | Phase::Storing | Phase::Resolving | Phase::Elsewhere | Phase::Ended(_) => {}
        }
    }
}

/// Why an output stays where it was made, though it was to come home.
fn held_fast(home: PeerId, labels: &Labels, around: &Around<'_>) -> TaskError {
    let why = (around.permits)(home, labels).err().map(|denial| denial.to_string()).unwrap_or_default();
    TaskError::Residency { labels: labels.to_string(), candidates: 1, reasons: format!("its output stays: {why}") }
}

/// A clock may run this much slower than another, in percent, and a timer be this late.
const CLOCK_SLACK_PERCENT: u32 = 110;
const TIMER_SLACK: Duration = Duration::from_millis(20);

/// How the executor kept its word. By our own clock: it may report any run, but none that is longer than we waited for it.
fn kept(now: Time, entry: &HomeTask, outcome: &Outcome) -> Kept {
    let waited = now.since(entry.awarded).saturating_mul(CLOCK_SLACK_PERCENT) / 100 + TIMER_SLACK;
    let says = outcome.prepare.saturating_add(outcome.queued).saturating_add(outcome.report.run);
    if says > waited {
        Kept::Never
    } else if entry.promise.is_late(now) {
        Kept::Late
    } else {
        Kept::Well
    }
}

/// Ways vary by this much, and by half of what was waited for, without anybody's fault.
const UNEXPLAINED: Duration = Duration::from_millis(100);
/// How long a larger output is on its way is not known.
const SMALL_OUTPUT_BYTES: u64 = 16 * 1024;

/// The time for which the executor's report does not account: it was slower than it says.
fn unexplained(now: Time, entry: &HomeTask, outcome: &Outcome) -> Duration {
    let says = outcome.prepare.saturating_add(outcome.queued).saturating_add(outcome.report.run);
    let waited = now.since(entry.awarded);
    let missing = waited.saturating_sub(says).saturating_sub(entry.promise.way);
    let is_told = entry.promise.within.is_none()
        || outcome.report.output.bytes() > SMALL_OUTPUT_BYTES
        || missing < UNEXPLAINED + waited / 2;
    if is_told { Duration::ZERO } else { missing }
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
    /// What it took longer than the executor says.
    unexplained: Duration,
    expected: Duration,
    word: Option<Duration>,
    speed: f64,
}

impl Learnt {
    /// Nothing is learnt from a run that did not come to its own end.
    /// What another build than the one that was awarded took says nothing about what was expected of that.
    fn from_run(now: Time, entry: &HomeTask, executor: PeerId, outcome: &Outcome, is_as_awarded: bool) -> Option<Self> {
        let Phase::Awarded { run, .. } = &entry.phase else { return None };
        let expected = if is_as_awarded { *run } else { outcome.report.run };
        let module = entry.spec.variants.get(usize::from(entry.variant))?.module;
        matches!(outcome.report.ending, Ending::Exited(_)).then(|| Self {
            executor,
            module,
            args: entry.spec.args.clone(),
            input_bytes: entry.spec.input_bytes(),
            output_bytes: outcome.report.output.bytes(),
            run: outcome.report.run,
            unexplained: unexplained(now, entry, outcome),
            expected,
            word: entry.spec.expected,
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
            expected: self.word,
        });
        estimates.holds(self.executor, self.module);
        if knew {
            estimates.quoted(self.executor, self.expected, self.run.saturating_add(self.unexplained));
        }
    }
}
