//! What homes say: asks, awards, and what becomes of them.

use super::late::Way;
use super::*;
use crate::message;
use crate::task::spec::{Patience, Variant};

impl Executing {
    /// Answers a request for an offer, and reserves what it offers.
    pub fn handle_ask(&mut self, now: Time, from: PeerId, ask: &Ask, around: &Around<'_>, out: &mut Outbox) {
        let attempt = ask.attempt;
        if let Some(reason) = self.why_not(ask.memory_bytes, ask.attempt.task) {
            return self.decline(now, from, attempt, reason, out);
        }
        let cheapest = (0u8..)
            .zip(&ask.variants)
            .map(|(index, variant)| {
                let prepare = self.prepare(variant.module, variant.module_bytes, from);
                (index, variant, prepare, run_time(variant.work, self.speed()))
            })
            .min_by_key(|(_, _, prepare, run)| *prepare + *run);
        let Some((index, variant, prepare, run)) = cheapest else {
            let reason = DeclineReason::Unacceptable("it names no module".into());
            return self.decline(now, from, attempt, reason, out);
        };
        let run = run.mul_f64(around.estimates.quote_error(self.me)).min(WALL_MAX);
        let offer = self.offer(now, (from, attempt), index, variant.module, prepare, run);
        out.send(from, Message::Offer(offer));
    }

    pub(super) fn offer(
        &mut self,
        now: Time,
        (home, attempt): (PeerId, TaskRef),
        variant: u8,
        module: BlobId,
        prepare: Duration,
        run: Duration,
    ) -> Offer {
        let load = self.digest(now);
        let start_in = load.start_in.max(prepare);
        let expires = now + OFFER_TTL;
        self.reservations.insert(attempt.task, Reservation { home, run, expires });
        self.deadlines.set(Due::ReservationExpires(attempt.task), expires);
        let has_module = self.prepared.contains(&module);
        Offer { attempt, variant, start_in, run, expires_in: OFFER_TTL, has_module, load }
    }

    /// Admits, declines, counters or passes on.
    pub fn handle_award(&mut self, now: Time, from: PeerId, award: Award, around: &Around<'_>, out: &mut Outbox) {
        let attempt = award.attempt;
        if award.hops == 0 && award.home != from {
            // Only its home gives a task away; who passes one on says that.
            return;
        }
        if award.home == self.me && from != self.me {
            // Nobody passes a task on to its home, which may be doing something else under the same name.
            return;
        }
        if award.hops == 0 {
            self.handle_outcomes_received(from, &award.received);
            self.handle_marked(from, &award.safe);
        }
        if epoch::is_of_no_attempt(attempt.epoch) {
            let reason = DeclineReason::Unacceptable("no attempt has that number".into());
            return self.decline(now, award.home, attempt, reason, out);
        }
        if self.repeat_of_known(now, &award, out) {
            return;
        }
        let reserved = self.release(attempt.task);
        let Some(variant) = award.spec.variants.get(usize::from(award.variant)).cloned() else {
            let reason = DeclineReason::Unacceptable("it names a build that it does not carry".into());
            return self.decline(now, award.home, attempt, reason, out);
        };
        if let Err(error) = award.spec.check() {
            return self.decline(now, award.home, attempt, DeclineReason::Unacceptable(error.to_string()), out);
        }
        if award.spec.policy.restricted && !self.config.sandboxed {
            return self.decline(now, award.home, attempt, DeclineReason::Sandbox, out);
        }
        if award.spec.policy.restricted && self.is_out_of_date {
            let reason = DeclineReason::Unacceptable("its revocation lists are too old for restricted tasks".into());
            return self.decline(now, award.home, attempt, reason, out);
        }
        if let Some(reason) = self.why_not(award.spec.limits.memory_bytes, attempt.task) {
            let is_full = matches!(reason, DeclineReason::QueueFull);
            if is_full && self.could_pass_on(now, from, &award, Duration::MAX, around, out) {
                return;
            }
            return self.decline(now, award.home, attempt, reason, out);
        }
        let wait = self.start_for_new(now);
        if matches!(award.spec.patience, Patience::Within(longest) if wait > longest) {
            if !self.could_pass_on(now, from, &award, wait, around, out) {
                self.decline(now, award.home, attempt, DeclineReason::QueueFull, out);
            }
            return;
        }
        let run = self.run_of(&award, &variant, around);
        let prepare = self.prepare(variant.module, variant.module_bytes, award.home);
        let late = wait.max(prepare) > award.expected_start + LATE_START.max(run / LATE_SHARE);
        if !late || reserved || award.firm {
            return self.admit(now, award, &variant, run, wait.max(prepare), out);
        }
        match self.best_way(from, &award, wait, around) {
            Way::PassOn { to, variant } => self.pass_on(now, (to, variant), &award, around, out),
            Way::GiveBack => self.counter(now, &award, &variant, run, out),
            Way::Stay { variant: chosen } => {
                let award = award.into_build(chosen);
                let variant = award.spec.variants.get(usize::from(chosen)).cloned().unwrap_or(variant);
                let run = self.run_of(&award, &variant, around);
                let start_in = wait.max(self.prepare(variant.module, variant.module_bytes, award.home));
                if start_in > award.expected_start + COUNTER_LATE + run {
                    return self.counter(now, &award, &variant, run, out);
                }
                self.admit(now, award, &variant, run, start_in, out);
            }
        }
    }

    /// What an awarded build takes here: by this peer's own experience, where it has any.
    fn run_of(&self, award: &Award, variant: &Variant, around: &Around<'_>) -> Duration {
        let knows = around.estimates.knows(variant.module);
        let work = if knows { around.estimates.work(&award.spec, variant) } else { award.work };
        run_time(work, self.speed()).min(award.spec.limits.wall)
    }

    /// Passes an award on if somebody else would do better than it could here.
    fn could_pass_on(
        &mut self,
        now: Time,
        from: PeerId,
        award: &Award,
        wait: Duration,
        around: &Around<'_>,
        out: &mut Outbox,
    ) -> bool {
        let Way::PassOn { to, variant } = self.best_way(from, award, wait, around) else { return false };
        self.pass_on(now, (to, variant), award, around, out);
        true
    }

    /// Declines, and says when it would start instead.
    fn counter(&mut self, now: Time, award: &Award, variant: &Variant, run: Duration, out: &mut Outbox) {
        let prepare = self.prepare(variant.module, variant.module_bytes, award.home);
        let whose = (award.home, award.attempt);
        let offer = self.offer(now, whose, award.variant, variant.module, prepare, run);
        self.decline(now, award.home, award.attempt, DeclineReason::Counter(Box::new(offer)), out);
    }

    /// A repeated award, or one that an earlier or later attempt at the same task makes moot. Attempts are numbered by their home:
    /// what others say under its numbers is of another task. And what home says itself goes before what was passed on in its name,
    /// which may be made up.
    fn repeat_of_known(&mut self, now: Time, award: &Award, out: &mut Outbox) -> bool {
        let (attempt, home, is_direct) = (award.attempt, award.home, award.hops == 0);
        let waiting = self.jobs.get(&attempt).map(|job| (job.award.home, job.is_direct()));
        let known = waiting.or_else(|| self.unacknowledged.get(attempt).map(|held| (held.home, held.is_direct)));
        match known {
            // Two homes may have one key, and number alike: the later one may come again.
            Some((other, _)) if other != home => {
                self.decline(now, home, attempt, DeclineReason::QueueFull, out);
                return true;
            }
            Some((_, false)) if is_direct => {
                self.unacknowledged.remove(attempt);
                self.drop_job(now, attempt, out);
            }
            Some(_) => {
                self.handle_query(now, home, attempt, out);
                return true;
            }
            None => {}
        }
        let all = TaskRef { task: attempt.task, epoch: 0 }..=TaskRef { task: attempt.task, epoch: u64::MAX };
        let mut later =
            self.jobs.range(all.clone()).filter(|(other, job)| other.epoch > attempt.epoch && job.award.home == home);
        if let Some((_, job)) = later.next() {
            // What was passed on may be made up: it is no proof that home has given this attempt up.
            let reason = match is_direct && !job.is_direct() {
                true => DeclineReason::QueueFull,
                false => DeclineReason::Unknown,
            };
            self.decline(now, home, attempt, reason, out);
            return true;
        }
        let is_lost =
            |home| [Due::HomeOrphaned(home), Due::KeptOrphaned(home)].iter().any(|due| self.deadlines.has(due));
        let is_moot = |job: &Held| match job.award.home == home {
            true => is_direct || !job.is_direct(),
            // An heir leads it now.
            false => is_direct && is_lost(job.award.home),
        };
        let older = self.jobs.range(all).filter(|(other, job)| other.epoch < attempt.epoch && is_moot(job));
        let older: Vec<_> = older.map(|(other, _)| *other).collect();
        for older in older {
            self.drop_job(now, older, out);
        }
        false
    }

    pub(super) fn admit(
        &mut self,
        now: Time,
        award: Award,
        variant: &Variant,
        run: Duration,
        start_in: Duration,
        out: &mut Outbox,
    ) {
        let (module, module_bytes) = (variant.module, variant.module_bytes);
        let (attempt, home) = (award.attempt, award.home);
        let due = award.spec.deadline.map(|deadline| now + deadline);
        let mut blobs: Vec<_> = award.spec.inputs.iter().filter_map(|input| self.missing(input)).collect();
        let prepared = self.prepared.contains(&module);
        if !prepared && (home != self.me || self.absent.contains(&module)) {
            blobs.push(BlobRef { id: module, bytes: module_bytes, holder: home });
        }
        let stage = match (blobs.is_empty(), prepared) {
            (false, _) => Stage::Fetching,
            (true, false) => Stage::Preparing,
            (true, true) => Stage::Queued,
        };
        let confirmed = home == self.me || start_in + run > UNCONFIRMED_RUN;
        self.turns += 1;
        self.arrivals.one(now);
        let job = Held { award, stage, arrived: now, ready: now, turn: self.turns, run, due, input: None, confirmed };
        if confirmed {
            let (state, load) = (job.state(), self.digest_for(now, home));
            out.send(home, Message::Accepted(Accepted { attempt, state, start_in, load }));
        }
        match job.stage {
            Stage::Fetching => out.push(Output::Fetch { attempt, blobs }),
            Stage::Preparing => out.push(Output::Prepare { module }),
            Stage::Queued | Stage::Running { .. } => {}
        }
        self.lines.arrived(attempt, run);
        self.jobs.insert(attempt, job);
        self.changed = true;
        self.start_ready(now, out);
        self.usual.changed(now, self.start_for_new(now));
    }

    pub(super) fn missing(&self, input: &Payload) -> Option<BlobRef> {
        match input {
            Payload::Inline(_) => None,
            Payload::Blob(blob) => (blob.holder != self.me).then_some(*blob),
        }
    }

    /// The reserved capacity is free again.
    pub fn handle_release(&mut self, attempt: TaskRef) {
        self.release(attempt.task);
    }

    pub(super) fn release(&mut self, task: TaskId) -> bool {
        if sabotage::is(Bug::LeakReservation) {
            return self.reservations.contains_key(&task);
        }
        self.deadlines.clear(&Due::ReservationExpires(task));
        self.reservations.remove(&task).is_some()
    }

    /// Nobody wants this attempt any more.
    pub fn handle_cancel(&mut self, now: Time, from: PeerId, attempt: TaskRef, out: &mut Outbox) {
        let is_home = |home: PeerId| home == from;
        if self.unacknowledged.get(attempt).is_some_and(|held| is_home(held.home)) {
            self.unacknowledged.remove(attempt);
        }
        if self.jobs.get(&attempt).is_some_and(|job| is_home(job.award.home)) {
            self.drop_job(now, attempt, out);
        }
    }

    /// An output that stayed here is to stay on, or is not needed any more. Whose it is, the store knows.
    pub fn handle_hold(&self, from: PeerId, hold: message::Hold, out: &mut Outbox) {
        out.push(Output::Hold { home: from, task: hold.task, blob: None, lease: hold.lease });
    }

    /// Says what has become of an attempt, to its home.
    pub fn handle_query(&mut self, now: Time, from: PeerId, attempt: TaskRef, out: &mut Outbox) {
        if let Some(held) = self.unacknowledged.get(attempt).filter(|held| held.home == from) {
            if held.is_unsigned {
                return; // it is sent in a moment
            }
            return out.send(from, Message::Outcome(Box::new(held.outcome.clone())));
        }
        match self.jobs.get_mut(&attempt).filter(|job| job.award.home == from) {
            Some(job) => {
                job.confirmed = true;
                let state = job.state();
                out.send(from, Message::Progress(Progress { attempt, state }));
            }
            None => self.decline(now, from, attempt, DeclineReason::Unknown, out),
        }
    }

    /// The home has the result.
    pub fn handle_outcomes_received(&mut self, from: PeerId, attempts: &[TaskRef]) {
        for attempt in attempts.iter().take(ACKNOWLEDGED_MAX) {
            self.handle_outcome_received(from, *attempt);
        }
    }

    /// The same, by marks; what two results of this home share names neither, and is asked after in time.
    pub(super) fn handle_marked(&mut self, from: PeerId, safe: &Marks) {
        for marked in safe.iter().take(ACKNOWLEDGED_MAX) {
            let (mut first, mut last) = ([0; 16], [0xff; 16]);
            first[..6].copy_from_slice(&marked[..6]);
            last[..6].copy_from_slice(&marked[..6]);
            let (first, last) =
                (TaskRef { task: TaskId(first), epoch: 0 }, TaskRef { task: TaskId(last), epoch: u64::MAX });
            let is_meant = |attempt: &TaskRef, held: &Unacknowledged| held.home == from && mark(attempt) == *marked;
            let mut meant = self.unacknowledged.range(first..=last).filter(|(attempt, held)| is_meant(attempt, held));
            let only = meant.next().filter(|_| meant.next().is_none()).map(|(attempt, _)| attempt);
            drop(meant);
            only.into_iter().for_each(|attempt| self.unacknowledged.remove(attempt));
        }
    }

    pub(super) fn handle_outcome_received(&mut self, from: PeerId, attempt: TaskRef) {
        if self.unacknowledged.get(attempt).is_some_and(|held| held.home == from) {
            self.unacknowledged.remove(attempt);
        }
    }
}
