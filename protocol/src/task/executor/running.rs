//! From an admitted award to its outcome: fetching, preparing, queueing, running.

use super::*;
use crate::load::sanity::SPEED_MAX;
use crate::time::micros;

impl Executing {
    /// The blobs of an attempt are here, or cannot be had.
    pub fn fetched(&mut self, now: Time, attempt: TaskRef, result: Result<(), String>, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&attempt) else { return };
        if !matches!(job.stage, Stage::Fetching) {
            return;
        }
        if let Err(why) = result {
            let home = job.award.home;
            self.remove(attempt);
            self.decline(now, home, attempt, DeclineReason::FetchFailed(why), out);
            return self.start_ready(now, out);
        }
        let Some(module) = job.module() else { return };
        if self.prepared.contains(&module) {
            self.make_ready(now, attempt, out);
        } else {
            job.stage = Stage::Preparing;
            out.push(Output::Prepare { module });
        }
    }

    /// A module can be started at once, or never.
    pub fn prepared(&mut self, now: Time, module: BlobId, result: Result<Duration, PrepareError>, out: &mut Outbox) {
        let waiting: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| matches!(job.stage, Stage::Preparing) && job.module() == Some(module))
            .map(|(attempt, _)| *attempt)
            .collect();
        match result {
            Ok(_) => {
                if self.prepared.len() >= MODULES_MAX {
                    self.prepared.pop_first();
                }
                self.prepared.insert(module);
                for attempt in waiting {
                    self.make_ready(now, attempt, out);
                }
            }
            Err(error) => {
                let why = error.to_string();
                let ending = match error {
                    PrepareError::Invalid(_) => Ending::Invalid(why),
                    PrepareError::Host(_) => Ending::HostFailed(why),
                };
                for attempt in waiting {
                    self.finished(now, attempt, RunReport::without_run(ending.clone()), out);
                }
            }
        }
    }

    pub(super) fn make_ready(&mut self, now: Time, attempt: TaskRef, out: &mut Outbox) {
        if let Some(job) = self.jobs.get_mut(&attempt) {
            job.stage = Stage::Queued;
            job.ready = now;
        }
        self.start_ready(now, out);
    }

    /// A run ended.
    pub fn finished(&mut self, now: Time, attempt: TaskRef, mut report: RunReport, out: &mut Outbox) {
        let Some(job) = self.remove(attempt) else { return };
        report.labels.join(&Labels::of_output(&job.award.spec.labels));
        if let Ending::Trapped(why) | Ending::Invalid(why) | Ending::HostFailed(why) = &mut report.ending {
            why.truncate(why.floor_char_boundary(ENDING_BYTES_MAX));
        }
        if matches!(report.ending, Ending::HostFailed(_)) {
            // Perhaps the module is not prepared any more: prepare it anew the next time.
            job.module().map(|module| self.prepared.remove(&module));
        }
        let started = match job.stage {
            Stage::Running { since } => since,
            Stage::Fetching | Stage::Preparing | Stage::Queued => now,
        };
        self.executed += 1;
        self.changed = true;
        self.start_ready(now, out);
        self.usual.ran(report.run);
        self.usual.changed(now, self.start_for_new(now));
        if let (Some(lease), Payload::Blob(blob)) = (job.award.spec.output.lease(), &report.output) {
            let (home, task) = (job.award.home, attempt.task);
            out.push(Output::Hold { home, task, blob: Some(blob.id), lease });
        }
        let outcome = Outcome {
            attempt,
            variant: job.award.variant,
            report,
            speed: self.speed(),
            prepare: job.ready.since(job.arrived),
            queued: started.since(job.ready),
            load: self.digest_for(now, job.award.home),
            receipt: None,
        };
        let unsigned = self.receipt_of(&job, &outcome);
        let is_unsigned = unsigned.is_some();
        match unsigned {
            Some(receipt) => out.push(Output::Sign(Box::new(receipt))),
            None => out.send(job.award.home, Message::Outcome(Box::new(outcome.clone()))),
        }
        let (home, kept, is_direct) = (job.award.home, job.award.kept, job.is_direct());
        self.unacknowledged.insert(attempt, Unacknowledged { home, is_direct, outcome, is_unsigned, kept });
    }

    /// What is to be signed of a run whose answer its home wants to check. This peer does not sign for itself.
    fn receipt_of(&self, job: &Held, outcome: &Outcome) -> Option<Receipt> {
        let (input, module) = job.input.zip(job.module())?;
        let work = outcome.report.run.mul_f64(self.speed().clamp(0.0, SPEED_MAX));
        Some(Receipt {
            attempt: outcome.attempt,
            module,
            input,
            answer: receipt::answer_hash(&outcome.report),
            work_us: micros(work),
        })
    }

    /// A receipt is signed: the result it belongs to may leave.
    pub fn signed(&mut self, attempt: TaskRef, receipt: SignedReceipt, out: &mut Outbox) {
        let Some(held) = self.unacknowledged.get_mut(attempt).filter(|held| held.is_unsigned) else { return };
        held.is_unsigned = false;
        held.outcome.receipt = Some(receipt);
        out.send(held.home, Message::Outcome(Box::new(held.outcome.clone())));
    }

    /// Starts what is ready while cores and memory last, in the order of [`Held::order`].
    pub(super) fn start_ready(&mut self, now: Time, out: &mut Outbox) {
        loop {
            let too_many = usize::from(sabotage::is(Bug::TooManyRuns));
            if self.running >= usize::from(self.config.cores.max(1)) + too_many || self.running == self.jobs.len() {
                return;
            }
            let free = self.config.memory_bytes.saturating_sub(self.memory_claimed);
            let next = self
                .jobs
                .iter()
                .filter(|(_, job)| matches!(job.stage, Stage::Queued) && job.award.spec.limits.memory_bytes <= free)
                .min_by_key(|(_, job)| job.order(now))
                .map(|(attempt, _)| *attempt);
            let Some(attempt) = next else { return };
            self.start(now, attempt, out);
        }
    }

    pub(super) fn start(&mut self, now: Time, attempt: TaskRef, out: &mut Outbox) {
        let Some(job) = self.jobs.get_mut(&attempt) else { return };
        let Some(module) = job.module() else { return };
        job.stage = Stage::Running { since: now };
        self.running += 1;
        self.lines.started(now, attempt);
        self.memory_claimed = self.memory_claimed.saturating_add(job.award.spec.limits.memory_bytes);
        let tell = job.confirmed && (job.award.home == self.me || job.run > PROGRESS_RUN);
        if tell {
            out.send(job.award.home, Message::Progress(Progress { attempt, state: TaskState::Running }));
        }
        let spec = &mut job.award.spec;
        let is_checked = !spec.verify.is_never() && job.award.home != self.me;
        job.input = is_checked.then(|| receipt::input_hash(spec));
        // The run is the last one to need the input: it moves, since it may be large.
        let inputs = core::mem::take(&mut spec.inputs);
        let args = core::mem::take(&mut spec.args);
        out.push(Output::Execute(Box::new(Execution {
            attempt,
            module,
            args,
            inputs,
            limits: spec.limits,
            labels: spec.labels.clone(),
            keep_output: spec.output.lease().is_some(),
            is_compared: !spec.verify.is_never(),
        })));
    }

    pub(super) fn drop_job(&mut self, now: Time, attempt: TaskRef, out: &mut Outbox) {
        if self.remove(attempt).is_some() {
            self.changed = true;
            out.push(Output::Abort(attempt));
            self.start_ready(now, out);
        }
    }

    pub(super) fn remove(&mut self, attempt: TaskRef) -> Option<Held> {
        let job = self.jobs.remove(&attempt)?;
        self.lines.gone(attempt);
        if job.is_running() {
            self.running -= 1;
            self.memory_claimed = self.memory_claimed.saturating_sub(job.award.spec.limits.memory_bytes);
        }
        Some(job)
    }
}
