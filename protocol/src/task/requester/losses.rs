//! When executors vanish, fall silent or come back.

use super::*;

impl Requester {
    /// A peer is dead or left: what it held is placed anew, what it was asked is not awaited.
    pub fn peer_lost(&mut self, now: Time, peer: PeerId, around: &mut Around<'_>, out: &mut Outbox) {
        let concerned = self.book.open_where(|entry| match &entry.phase {
            Phase::Awarded { to, .. } => *to == peer,
            Phase::Asking { open, .. } => open.contains(&peer),
            Phase::Collecting { from, .. } => *from == peer,
            Phase::Waiting
            | Phase::Storing
            | Phase::Recovering { .. }
            | Phase::Resolving
            | Phase::Elsewhere
            | Phase::Ended(_) => false,
        });
        for task in concerned {
            self.lose(now, task, peer, "it died", around, out);
        }
    }

    pub(super) fn lose(
        &mut self,
        now: Time,
        task: TaskId,
        peer: PeerId,
        why: &str,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.book.open(task) else { return };
        entry.tried.insert(peer, why.to_owned());
        if let Phase::Asking { open, .. } = &mut entry.phase {
            open.retain(|asked| *asked != peer);
            if open.is_empty() {
                self.decide_offers(now, task, around, out);
            }
            return;
        }
        entry.has_failed();
        let attempt = TaskRef { task, epoch: entry.epoch };
        if let Phase::Collecting { .. } = entry.phase {
            out.push(Output::Abort(attempt));
        }
        if let Some(record) = entry.record() {
            record.verdict(peer, Verdict::Lost, why);
        }
        self.replacements += 1;
        self.note_ending(peer, false);
        self.assignments.push(Assignment::Settled { to: peer, attempt });
        let note = format!("{} was lost: {why}", peer.short());
        self.retry(now, task, &note, around, out);
    }

    pub(super) fn retry(&mut self, now: Time, task: TaskId, why: &str, around: &mut Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        entry.failing_since.get_or_insert(now);
        if entry.is_last_resort {
            // Who was late before was so again: it waits for somebody better as long as the first time.
            entry.waits = 0;
        }
        let retries = entry.spec.retries.map_or(FAILURES_MAX - 1, u32::from).min(FAILURES_MAX - 1);
        if entry.failures > retries {
            let error = TaskError::AttemptsExhausted { attempts: entry.failures, last: why.to_owned() };
            return self.end(task, TaskState::Failed, Err(error), out);
        }
        if entry.is_kept() {
            let copy = entry.to_keep();
            self.durable.note_failures(task, &copy, &mut lent(now, around, out));
        }
        self.tell(task, TaskState::Placing, Some(why.to_owned()), out);
        self.place(now, task, around, out);
    }

    /// A peer is connected again: it is asked what became of what it was given, and may be asked for more.
    pub fn peer_back(&mut self, now: Time, peer: PeerId, around: &mut Around<'_>, out: &mut Outbox) {
        self.durable.peer_back(peer, &mut lent(now, around, out));
        for task in self.book.open_where(|entry| matches!(entry.phase, Phase::Elsewhere) && entry.cancelled) {
            if self.durable.leader_of(task) == Some(peer) {
                self.durable.withdraw(task, out);
            }
        }
        let held = self.book.open_where(|entry| matches!(&entry.phase, Phase::Awarded { to, .. } if *to == peer));
        for task in held {
            if let Some(entry) = self.book.open(task) {
                out.send(peer, Message::Query(TaskRef { task, epoch: entry.epoch }));
            }
        }
    }

    /// This peer was stopped: nobody is to blame for what came late meanwhile.
    pub fn pardon(&mut self) {
        for task in self.book.open_where(|entry| matches!(entry.phase, Phase::Awarded { .. })) {
            if let Some(entry) = self.book.open(task) {
                entry.promise.within = None;
            }
        }
    }

    /// Does what is due: decides on the offers that came, asks after awards, tries again.
    pub fn timer(&mut self, now: Time, around: &mut Around<'_>, out: &mut Outbox) {
        self.acknowledgements.timer(now, out);
        self.durable.timer(&mut lent(now, around, out));
        self.expire(now, out);
        while let Some(task) = self.deadlines.pop_due(now) {
            let Some(entry) = self.book.open(task) else { continue };
            let epoch = entry.epoch;
            match &mut entry.phase {
                Phase::Waiting => self.place(now, task, around, out),
                Phase::Asking { .. } => self.decide_offers(now, task, around, out),
                Phase::Awarded { to, unanswered, .. } => {
                    let to = *to;
                    *unanswered += 1;
                    let (is_here, is_silent) = ((around.is_here)(to), *unanswered > UNANSWERED_MAX);
                    let is_hopeless = entry.promise.is_hopeless(now, entry.spec.limits.wall);
                    // One that nobody expected to be better has as long as one that is trusted.
                    let is_doubted = around.estimates.distrusts(to) && !entry.is_last_resort;
                    let breaks_it = is_here && to != self.me && (is_silent || entry.promise.is_overdue(now));
                    if breaks_it && !core::mem::replace(&mut entry.promise.is_broken, true) {
                        self.note_word(to, Kept::Never);
                    }
                    // A question to somebody who is not there is no question, and the answer of a liar is none.
                    if is_silent || !is_here {
                        out.send(to, Message::Cancel(TaskRef { task, epoch }));
                        self.lose(now, task, to, "it did not answer", around, out);
                    } else if breaks_it && (is_hopeless || is_doubted) {
                        out.send(to, Message::Cancel(TaskRef { task, epoch }));
                        self.lose(now, task, to, "its result is long overdue", around, out);
                    } else {
                        out.send(to, Message::Query(TaskRef { task, epoch }));
                        self.deadlines.set(task, now + LEASE);
                    }
                }
                Phase::Recovering { .. } => self.recover(now, task, around, out),
                Phase::Collecting { .. } | Phase::Storing | Phase::Resolving | Phase::Elsewhere | Phase::Ended(_) => {}
            }
        }
    }
}
