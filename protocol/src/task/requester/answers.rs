//! What candidates and executors answer: offers, acceptances, refusals.

use super::placing::Rivals;
use super::*;

/// As a decision's record has it.
pub(super) const BUSY: &str = "queue full";

impl Requester {
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
        let Some(candidate) = candidates.iter().find(|candidate| candidate.assessment.peer == from) else {
            return out.send(from, release);
        };
        // It was asked about one build only; its word on which is not needed.
        offers.push(candidate.starting_in(offer.start_in));
        let others_open = !open.is_empty();
        let cheapest_open = candidates
            .iter()
            .map(|candidate| &candidate.assessment)
            .filter(|assessment| open.contains(&assessment.peer))
            .map(Assessment::total)
            .fold(f64::INFINITY, f64::min);
        let good_enough = offer.start_in <= NO_WAIT
            && offers.iter().any(|o| o.peer == from && o.total() <= cheapest_open * 1.12 + 1.0);
        if !others_open || good_enough {
            self.decide_offers(now, task, around, out);
        }
    }

    /// Awards the task to the best offer, or to the best candidate when there was none.
    pub(super) fn decide_offers(&mut self, now: Time, task: TaskId, around: &mut Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        let attempt = TaskRef { task, epoch: entry.epoch };
        let Phase::Asking { mut candidates, open, mut offers } = core::mem::replace(&mut entry.phase, Phase::Waiting)
        else {
            return;
        };
        // Whoever has gone since, or is a member no more, neither keeps its word nor is named to others.
        offers.retain(|offer| (around.is_here)(offer.peer));
        candidates.retain(|candidate| (around.is_here)(candidate.assessment.peer));
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
                    kept.clone_from(offer);
                }
            }
            record.verdict(best.peer, Verdict::Won, "");
        }
        let rivals = Rivals::of(&best, candidates.iter().map(|candidate| &candidate.assessment));
        self.award(now, task, &best, rivals, true, around, out);
    }

    /// The attempt stands at its executor.
    pub fn handle_accepted(&mut self, now: Time, from: PeerId, accepted: &Accepted, out: &mut Outbox) {
        if self.may_adopt(accepted.attempt, from) {
            return;
        }
        let Some(entry) = self.current(accepted.attempt, from) else {
            return out.send(from, Message::Cancel(accepted.attempt));
        };
        if let Phase::Awarded { unanswered, .. } = &mut entry.phase {
            *unanswered = 0;
        }
        entry.failing_since = None;
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
        if self.may_adopt(progress.attempt, from) {
            return;
        }
        let Some(entry) = self.current(progress.attempt, from) else {
            return out.send(from, Message::Cancel(progress.attempt));
        };
        if let Phase::Awarded { unanswered, .. } = &mut entry.phase {
            *unanswered = 0;
        }
        entry.failing_since = None;
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
        if !self.is_under_way(attempt) {
            // The task was cancelled or placed anew while this was on its way: who has the attempt now hears it from nobody else.
            return out.send(forwarded.to, Message::Cancel(attempt));
        }
        let Some(entry) = self.current(attempt, from) else { return };
        let Phase::Awarded { to, alternatives, run, .. } = &mut entry.phase else { return };
        if !alternatives.contains(&forwarded.to) {
            return;
        }
        if *to != from {
            return entry.early.passed_on(from, forwarded.to);
        }
        let holder = entry.early.holder_after(forwarded.to);
        *to = holder;
        let run = *run;
        entry.promise.since = now;
        entry.executor = Some(holder);
        let has_refused = entry.early.has_refused(holder);
        if entry.early.has_ended_at(holder) {
            // Its result came before it was known to have the task: it says it again.
            out.send(holder, Message::Query(attempt));
        }
        if let Some(record) = entry.record() {
            record.method = Method::Forwarded;
            record.executor = Some(holder);
            record.verdict(from, Verdict::Declined, "it was busy, and passed the task on");
            record.verdict(holder, Verdict::Won, "the task was passed on to it");
        }
        self.assignments.push(Assignment::Settled { to: from, attempt });
        if has_refused {
            // It said so before it was known to have been asked; it may have been asked something else.
            out.send(holder, Message::Cancel(attempt));
            if let Some(entry) = self.book.open(attempt.task) {
                note_refusal(entry, holder, &DeclineReason::QueueFull);
            }
            return self.place(now, attempt.task, around, out);
        }
        self.assignments.push(Assignment::Given { to: holder, attempt, run, known_after: Duration::ZERO });
        if !(around.is_here)(holder) {
            // Who passed it on has not heard yet what we know: nobody will tell us again.
            self.lose(now, attempt.task, holder, "it was gone when the task was passed on to it", around, out);
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
        let Phase::Awarded { to, alternatives, .. } = &entry.phase else { return };
        if *to != from {
            if alternatives.contains(&from) && !matches!(declined.reason, DeclineReason::Unknown) {
                entry.early.refused(from);
            }
            return;
        }
        self.assignments.push(Assignment::Settled { to: from, attempt });
        match &declined.reason {
            DeclineReason::Counter(offer) if offer.attempt == attempt => {
                self.handle_counter(now, from, offer, around, out);
            }
            DeclineReason::Unknown => {
                self.replacements += 1;
                entry.has_failed();
                if let Some(record) = entry.record() {
                    record.verdict(from, Verdict::Lost, "it does not know the task any more");
                }
                self.note_word(from, Kept::Failed);
                self.retry(now, task, "the executor lost the task", around, out);
            }
            DeclineReason::Counter(_)
            | DeclineReason::QueueFull
            | DeclineReason::Memory { .. }
            | DeclineReason::Leaving
            | DeclineReason::FetchFailed(_)
            | DeclineReason::Unacceptable(_)
            | DeclineReason::Sandbox => {
                note_refusal(entry, from, &declined.reason);
                self.note_word(from, Kept::Refused);
                self.place(now, task, around, out);
            }
        }
    }

    /// The executor would start later than we believed: still the best, or is the next one?
    pub(super) fn handle_counter(
        &mut self,
        now: Time,
        from: PeerId,
        offer: &Offer,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        let task = offer.attempt.task;
        let Some(entry) = self.book.open(task) else { return };
        let deadline_in = entry.deadline_in(now);
        let Some(entry) = self.book.get(task) else { return };
        let circumstances = self.circumstances_of(now, entry, deadline_in, around);
        let sites = (around.sites)();
        let ranking = placement::rank(&entry.spec, sites, &circumstances);
        let Some(countered) = ranking.candidate_at(from) else {
            return self.place(now, task, around, out);
        };
        let real = countered.starting_in(offer.start_in);
        let candidates = ranking.recorded();
        let rivals = Rivals::of(&real, &candidates);
        let others = candidates.iter().filter(|other| other.peer != from && other.exclusion.is_none());
        let better = others.map(Assessment::total).next().is_some_and(|next| next < real.total());
        let Some(entry) = self.book.open(task) else { return };
        if let Some(record) = entry.record() {
            let note = format!("countered: starts in {:.0} ms", crate::time::millis(offer.start_in));
            record.verdict(from, if better { Verdict::Declined } else { Verdict::Won }, note);
        }
        if better {
            out.send(from, Message::Release(offer.attempt));
            entry.tried.insert(from, "starts too late".into());
            self.place(now, task, around, out);
        } else {
            self.award(now, task, &real, rivals, true, around, out);
        }
    }
}

/// What another says is kept as long as a person would read.
fn shortened(why: &str) -> String {
    why.chars().take(REASON_CHARS_MAX).collect()
}

fn note_refusal(entry: &mut HomeTask, from: PeerId, reason: &DeclineReason) {
    let why = match reason {
        DeclineReason::QueueFull => BUSY.to_owned(),
        DeclineReason::Memory { wanted_bytes, free_bytes } => {
            format!("needs {} MiB, {} MiB free", wanted_bytes >> 20, free_bytes >> 20)
        }
        DeclineReason::Counter(_) => "starts too late".to_owned(),
        DeclineReason::Leaving => "shutting down".to_owned(),
        DeclineReason::Unknown => "does not know the task".to_owned(),
        DeclineReason::FetchFailed(why) => format!("could not fetch: {}", shortened(why)),
        DeclineReason::Unacceptable(why) => shortened(why),
        DeclineReason::Sandbox => "its sandbox is not whole".to_owned(),
    };
    if let Some(record) = entry.record() {
        record.verdict(from, Verdict::Declined, why.clone());
    }
    entry.tried.insert(from, why);
}
