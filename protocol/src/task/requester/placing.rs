//! Beginning an attempt: award at once, or ask for offers.

use super::*;

impl Requester {
    pub(super) fn circumstances<'a>(
        &self,
        now: Time,
        spec: &TaskSpec,
        deadline_in: Option<Duration>,
        tried: &'a BTreeMap<PeerId, String>,
        around: &'a Around<'_>,
    ) -> Circumstances<'a> {
        let link = HomeLink { uplink_bits_per_s: around.uplink_bits_per_s, uplink_wait: self.uplink_free.since(now) };
        let lambda = spec.lambda.unwrap_or(around.lambda);
        Circumstances { estimates: around.estimates, link, lambda, deadline_in, tried }
    }

    pub(super) fn method(&self, spec: &TaskSpec, admissible: &[Assessment]) -> Method {
        match admissible {
            [] => Method::None,
            [only] if only.peer == self.me => Method::Local,
            [_] if spec.policy.peer.is_some() => Method::Pinned,
            [_] => Method::Award,
            many if placement::needs_offers(many) => Method::Offers,
            _ => Method::Award,
        }
    }

    pub(super) fn new_record(
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
    pub(super) fn place(&mut self, now: Time, task: TaskId, around: &mut Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.get(task) else { return };
        let deadline_in = entry.deadline_in(now);
        let circumstances = self.circumstances(now, &entry.spec, deadline_in, &entry.tried, around);
        let assessments = placement::assess(&entry.spec, &(around.sites)(), &circumstances);
        let admissible = placement::admissible(&assessments);
        let method = self.method(&entry.spec, admissible);
        let epoch = entry.epoch + 1;
        let record = self.new_record(epoch::attempt(epoch), method, &entry.spec, around, &assessments);
        let Some(entry) = self.book.open(task) else { return };
        entry.epoch = epoch;
        entry.records.push(record);
        entry.state = TaskState::Placing;
        match method {
            Method::None => self.nobody(now, task, &assessments, out),
            Method::Offers => self.ask(now, task, admissible.to_vec(), around, out),
            Method::Local | Method::Award | Method::Forwarded | Method::Pinned => {
                if let Some(chosen) = placement::choose(admissible, around.rng) {
                    self.award(now, task, chosen, admissible, false, around, out);
                }
            }
        }
    }

    /// Nobody may run it: an error at once, or another look later when that is because an executor was lost.
    pub(super) fn nobody(&mut self, now: Time, task: TaskId, assessments: &[Assessment], out: &mut Outbox) {
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

    pub(super) fn ask(
        &mut self,
        now: Time,
        task: TaskId,
        candidates: Vec<Assessment>,
        around: &Around<'_>,
        out: &mut Outbox,
    ) {
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
        let rtt = candidates.iter().take(ASKED).map(|candidate| candidate.rtt).max();
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

    /// Gives the task to `to`; `candidates` are all there are, cheapest first.
    #[allow(clippy::too_many_arguments)] // Each is a fact of the decision just made.
    pub(super) fn award(
        &mut self,
        now: Time,
        task: TaskId,
        to: &Assessment,
        candidates: &[Assessment],
        firm: bool,
        around: &Around<'_>,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.book.open(task) else { return };
        let attempt = TaskRef { task, epoch: entry.epoch };
        let near = |other: &&Assessment| other.total() <= to.total() * ALTERNATIVE_COST + 1.0;
        let rest = || candidates.iter().filter(|other| other.peer != to.peer);
        let alternatives: Vec<_> = rest().filter(near).take(ALTERNATIVES).map(|other| other.peer).collect();
        let work = entry.spec.variants.get(usize::from(to.variant)).map(|v| around.estimates.work(&entry.spec, v));
        let rtt = to.rtt;
        let input_bytes = entry.spec.input_bytes();
        let award = Award {
            attempt,
            home: self.me,
            variant: to.variant,
            spec: entry.spec.clone(),
            work: work.unwrap_or_default(),
            expected_start: to.start_in,
            // With nobody else to turn to, a later start is better than another round of talk.
            firm: firm || rest().next().is_none(),
            hops: 0,
            alternatives: alternatives.clone(),
            received: if to.peer == self.me { Vec::new() } else { self.acknowledgements.take(to.peer) },
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
        // Who accepts in silence answers with the result.
        let mut patience = AWARD_PATIENCE + rtt * 3 + to.start_in + to.run * 2;
        if to.peer != me {
            let sending = transmission(input_bytes, Some(around.uplink_bits_per_s));
            self.uplink_free = self.uplink_free.max(now) + sending;
            patience += self.uplink_free.since(now);
            self.negotiation_messages += 1;
            let known_after = self.uplink_free.since(now) + rtt;
            self.assignments.push(Assignment::Given { to: to.peer, attempt, run: to.run, known_after });
        }
        self.deadlines.set(task, now + patience);
        let to = to.peer;
        out.send(to, Message::Award(Box::new(award)));
    }
}
