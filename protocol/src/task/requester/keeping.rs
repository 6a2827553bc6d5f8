//! Tasks that are on disk: from their submission to the end that their council decides, over restarts and takeovers.
//!
//! ```text
//! Storing ─► acknowledged ─► placed … ─► Resolving ─► Ended          (at home, or at the heir of a lost leader)
//! start ─► Recovering ─┬─ an executor still has it: adopted ─► …
//!                      └─ nobody says so ─► placed anew, with a greater epoch
//! Elsewhere: another leads it; its end comes from there
//! ```
//!
//! **Invariant:** nothing is acknowledged, finished or released on the strength of memory: only what [`Durable`] says has
//! happened counts.
//! **Not here:** who decides and what is on disk. That is `task/durable/`.

use super::*;

/// Executors that outlived a restart of their home have this long to say what they hold.
const RECOVERY: Duration = Duration::from_secs(3);
/// A kept task that nobody may run is tried again after [`RETRY`], then twice as long, up to this.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A guardian that refused is not asked again for this long.
const RELUCTANCE: Duration = Duration::from_secs(30);
/// So many peers may be known to be reluctant.
const RELUCTANT_MAX: usize = 64;
/// Results of one task that are held back at their executors.
const RELEASED_MAX: usize = 16;
/// What the durable half is lent.
pub(super) fn lent<'a>(now: Time, around: &'a Around<'_>, out: &'a mut Outbox) -> Lent<'a> {
    Lent { now, is_here: around.is_here, out }
}

impl Requester {
    // ── Facts ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn submit_kept(
        &mut self,
        now: Time,
        task: TaskId,
        submission: Submission,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        let Submission { name, spec, mut keeping, ahead: _ } = submission;
        keeping.retention = keeping.retention.clamp(RETENTION_MIN, RETENTION_MAX);
        let council =
            self.durable.can_keep(task, &spec).and_then(|()| self.council(now, &spec, keeping.durability, around));
        let council = match council {
            Ok(council) => council,
            Err(error) => return out.push(Output::Finish { task, result: Err(error) }),
        };
        let kept = KeptTask { name, spec, keeping, accepted: now, aged: Duration::ZERO, failures: 0 };
        self.book.enter_kept(task, kept.clone());
        if let Some(entry) = self.book.open(task) {
            entry.phase = Phase::Storing;
        }
        self.durable.admit(task, kept, council, &mut lent(now, around, out));
    }

    fn council(
        &mut self,
        now: Time,
        spec: &TaskSpec,
        durability: Durability,
        around: &Around<'_>,
    ) -> Result<Council, TaskError> {
        let contact = |peer| Contact { peer, address: (around.address)(peer).unwrap_or_default() };
        let members = match durability {
            Durability::Memory | Durability::Disk => vec![Contact { peer: self.me, address: String::new() }],
            Durability::Guarded => {
                self.reluctant.retain(|_, since| now.since(*since) < RELUCTANCE);
                let sites = (around.sites)();
                let others = sites.len() - 1;
                let reluctant = |peer| self.reluctant.contains_key(&peer);
                // The guardian gets the task with its input, and both its result.
                let may = |site: &Site<'_>| (around.permits)(site.member.peer, &spec.labels).is_ok();
                let Some((guardian, witness)) = choosing::choose(sites, reluctant, may) else {
                    let mut reasons = format!(
                        "a guardian and a witness that are willing are needed, other peers that are here: {others}"
                    );
                    if !spec.labels.is_empty() {
                        let may = sites.iter().filter(|site| !site.is_home && may(site)).count();
                        reasons.push_str(&format!("; {may} of them may have data labelled {}", spec.labels));
                    }
                    return Err(TaskError::NoGuardian { asked: 0, reasons });
                };
                vec![contact(self.me), contact(guardian), contact(witness)]
            }
        };
        Ok(Council { term: self.durable.new_term(), members })
    }

    /// Everything that was on disk.
    pub fn restored(
        &mut self,
        now: Time,
        records: &[(Vec<u8>, Vec<u8>)],
        (boot, unix_ms): (u32, u64),
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        self.durable.restored(records, boot, unix_ms, &mut lent(now, around, out));
    }

    /// A batch is on disk, or is not.
    pub fn persisted(
        &mut self,
        now: Time,
        ticket: Ticket,
        result: Result<(), String>,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        let mut lent = lent(now, around, out);
        match result {
            Ok(()) => self.durable.persisted(ticket, &mut lent),
            Err(reason) => self.durable.persist_failed(ticket, reason, &mut lent),
        }
    }

    /// A member of a council says something.
    pub fn handle_counsel(
        &mut self,
        now: Time,
        from: PeerId,
        counsel: Counsel,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        self.durable.handle(from, counsel, &mut lent(now, around, out));
    }

    /// Whether [`Requester::heed`] has something to do.
    pub fn has_happened(&self) -> bool {
        !self.proposals.is_empty() || self.durable.has_happened()
    }

    /// Acts on what the councils of kept tasks have decided meanwhile, and proposes the ends that were found.
    pub fn heed(&mut self, now: Time, around: &mut Around<'_>, out: &mut Outbox) {
        for (task, resolution) in core::mem::take(&mut self.proposals) {
            let resolution = self.fit_for_its_council(task, resolution, around);
            self.durable.propose(task, resolution, &mut lent(now, around, out));
        }
        for happened in self.durable.take_happened() {
            match happened {
                Happened::Admitted(task) => self.admitted(now, task, around, out),
                Happened::Refused(task, error) => self.refused(now, task, error, out),
                Happened::Leads(task, copy) => self.leads(now, task, copy, around, out),
                Happened::Deposed(task) => self.deposed(task, out),
                Happened::Resolved(task, resolution) => self.resolved(now, task, *resolution, out),
                Happened::Withdrawn(task) => self.cancel(task, out),
                Happened::CopyWanted(task) => {
                    if let Some(copy) = self.book.open(task).map(|entry| entry.to_keep()) {
                        self.durable.guard_again(task, copy, &mut lent(now, around, out));
                    }
                }
                Happened::Forgotten(task) => self.forgotten(task, out),
                Happened::Restored(task, copy, how) => self.restore(now, task, *copy, how),
                Happened::Damaged(task, why) => self.damaged(now, task, why),
            }
        }
    }

    /// A result that a member of its council may not have is not proposed: nobody could decide on it. Labels that are stricter
    /// than home knew come to light only when a blob is read.
    fn fit_for_its_council(&self, task: TaskId, resolution: Resolution, around: &Around<'_>) -> Resolution {
        let labels = match &resolution.result {
            Ok(result) if !result.report.labels.is_empty() => &result.report.labels,
            Ok(_) | Err(_) => return resolution,
        };
        let council = self.durable.council_of(task);
        let others: Vec<_> = council.into_iter().filter(|peer| *peer != self.me).collect();
        let denied = others.iter().filter_map(|peer| (around.permits)(*peer, labels).err());
        // Who has not said what it understands may say it yet.
        let Some(denial) = denied.into_iter().find(|denial| *denial != Denial::Unaware) else { return resolution };
        let reasons = format!("1 keeps its end and may not have its result: {denial}");
        let error = TaskError::Residency { labels: labels.to_string(), candidates: others.len(), reasons };
        Resolution { state: TaskState::Failed, result: Err(error) }
    }

    // ── What happened ────────────────────────────────────────────────────────────────────────────────────────────

    fn admitted(&mut self, now: Time, task: TaskId, around: &mut Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.open(task).filter(|entry| matches!(entry.phase, Phase::Storing)) else { return };
        entry.phase = Phase::Waiting;
        let cancelled = entry.cancelled;
        out.push(Output::Acknowledged { task });
        self.begin(now, task, around, out);
        if cancelled {
            self.cancel(task, out);
        }
    }

    /// Places a task that this peer leads, with epochs that no other leader and no earlier start of this one uses.
    fn begin(&mut self, now: Time, task: TaskId, around: &mut Around<'_>, out: &mut Outbox) {
        let before = self.durable.epoch_before(task);
        let Some(entry) = self.book.open(task) else { return };
        entry.phase = Phase::Waiting;
        entry.issued = entry.issued.max(before);
        self.expire_in_time(now, task);
        self.tell(task, TaskState::Accepted, None, out);
        self.place(now, task, around, out);
    }

    fn expire_in_time(&mut self, now: Time, task: TaskId) {
        if let Some(entry) = self.book.get(task) {
            let left = lifetime(&entry.spec, &entry.keeping).saturating_sub(entry.age(now));
            self.expiries.set(task, now + left);
        }
    }

    fn refused(&mut self, now: Time, task: TaskId, error: TaskError, out: &mut Outbox) {
        if let (TaskError::NoGuardian { .. }, Some(guardian)) = (&error, self.durable.guardian_of(task))
            && self.reluctant.len() < RELUCTANT_MAX
        {
            self.reluctant.insert(guardian, now);
        }
        self.clear(task);
        self.book.forget(task);
        out.push(Output::Finish { task, result: Err(error) });
    }

    /// The time of a task is over, also that in which its council could have decided. Who waits for it here hears so, and no end: it
    /// may have one that this peer could not write, or never heard of.
    pub(super) fn forgotten(&mut self, task: TaskId, out: &mut Outbox) {
        self.withdraw(task, out);
        self.clear(task);
        let is_awaited = self.book.open(task).is_some_and(|entry| entry.ours);
        self.book.forget(task);
        if is_awaited {
            out.push(Output::Forgotten { task });
        }
    }

    /// The leader of a task is lost, and this peer follows it.
    pub(super) fn leads(
        &mut self,
        now: Time,
        task: TaskId,
        copy: Option<Box<KeptTask>>,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        if self.book.open(task).is_none() {
            let Some(copy) = copy.filter(|_| self.book.get(task).is_none()) else { return };
            self.book.enter_kept(task, *copy);
            if let Some(entry) = self.book.open(task) {
                entry.ours = false;
            }
        }
        self.begin(now, task, around, out);
        // Its user withdrew it while another led.
        if self.book.open(task).is_some_and(|entry| entry.cancelled) {
            self.cancel(task, out);
        }
    }

    /// Another leads the task: what was begun here is not wanted any more. A result that was proposed may yet be the end.
    pub(super) fn deposed(&mut self, task: TaskId, out: &mut Outbox) {
        self.withdraw(task, out);
        self.clear(task);
        let Some(entry) = self.book.open(task) else { return };
        entry.phase = Phase::Elsewhere;
        if entry.cancelled {
            self.durable.withdraw(task, out);
        }
    }

    /// The one end of the task is decided: its user hears of it, its executors may forget it.
    fn resolved(&mut self, now: Time, task: TaskId, resolution: Resolution, out: &mut Outbox) {
        self.withdraw(task, out);
        self.clear(task);
        let Some(entry) = self.book.open(task) else { return };
        let stays = entry.spec.output.lease().is_some();
        let (ours, release) = (entry.ours, core::mem::take(&mut entry.release));
        for (peer, attempt) in release {
            self.acknowledge(now, peer, attempt, out);
        }
        let makes_way = resolution.is_refusal();
        let Resolution { state, mut result } = resolution;
        if let Ok(result) = &mut result
            && let Payload::Blob(blob) = &mut result.report.output
        {
            blob.holder = if ours && !stays { self.me } else { blob.holder };
        }
        self.tell(task, state, result.as_ref().err().map(ToString::to_string), out);
        if ours {
            out.push(Output::Finish { task, result: result.clone() });
        }
        if makes_way {
            // It was never taken on, as far as its user was told: whoever comes again with it is to be heard.
            return self.book.forget(task);
        }
        self.book.close(task, state, result);
    }

    fn restore(&mut self, now: Time, task: TaskId, copy: KeptTask, how: Restored) {
        // Whoever comes again with it is to be heard.
        if matches!(&how, Restored::Ended(end) if end.result.as_ref().is_err_and(TaskError::is_refusal)) {
            return;
        }
        let before = self.durable.epoch_before(task);
        self.book.enter_kept(task, copy);
        let ours = self.durable.is_home(task);
        let Some(entry) = self.book.open(task) else { return };
        (entry.ours, entry.epoch, entry.issued) = (ours, before, before);
        match how {
            Restored::Open => {
                entry.phase = Phase::Recovering { held: None };
                self.deadlines.set(task, now + RECOVERY);
                self.expire_in_time(now, task);
            }
            Restored::Proposed => entry.phase = Phase::Resolving,
            Restored::Elsewhere => entry.phase = Phase::Elsewhere,
            Restored::Ended(end) => {
                entry.executor = end.result.as_ref().ok().map(|result| result.executor);
                self.book.close(task, end.state, end.result);
            }
        }
    }

    /// Its record is left on disk; its user hears why it does not go on.
    fn damaged(&mut self, now: Time, task: TaskId, why: String) {
        let spec = TaskSpec { variants: Vec::new(), ..TaskSpec::of_module(BlobId([0; 32]), 0) };
        // Whatever was promised of it: whoever hands it in again hears of the damage.
        let keeping = Keeping { durability: Durability::Guarded, ..Keeping::default() };
        let name = "(unreadable)".to_owned();
        self.book.enter_kept(task, KeptTask { name, spec, keeping, accepted: now, aged: Duration::ZERO, failures: 0 });
        self.book.close(task, TaskState::Failed, Err(TaskError::RecordDamaged { why }));
    }

    // ── Attempts that outlived a restart ─────────────────────────────────────────────────────────────────────────

    /// Notes who says it has a task that was on disk when this peer started; true when that is all there is to do.
    pub(super) fn may_adopt(&mut self, attempt: TaskRef, from: PeerId) -> bool {
        let Some(entry) = self.book.open(attempt.task) else { return false };
        let before_us = epoch::attempt(attempt.epoch) > 0 && attempt.epoch <= entry.issued;
        let Phase::Recovering { held } = &mut entry.phase else { return false };
        if before_us && held.is_none_or(|(_, known)| known.epoch <= attempt.epoch) {
            *held = Some((from, attempt));
        }
        true
    }

    /// An attempt of before the restart ended: it becomes the current one again. False when there is no such thing.
    pub(super) fn adopt(&mut self, now: Time, from: PeerId, attempt: TaskRef, variant: Option<u8>) -> bool {
        let Some(entry) = self.book.open(attempt.task) else { return false };
        let before_us = epoch::attempt(attempt.epoch) > 0 && attempt.epoch <= entry.issued;
        if !matches!(entry.phase, Phase::Recovering { .. }) || !before_us {
            return false;
        }
        entry.epoch = attempt.epoch;
        entry.executor = Some(from);
        entry.variant = variant.unwrap_or(entry.variant);
        entry.awarded = now;
        entry.state = TaskState::Running;
        entry.phase = Phase::Awarded { to: from, alternatives: Vec::new(), run: Duration::ZERO, unanswered: 0 };
        self.deadlines.set(attempt.task, now + LEASE);
        true
    }

    /// Time is up: whoever said it has the task goes on with it; otherwise it is placed anew.
    pub(super) fn recover(&mut self, now: Time, task: TaskId, around: &mut Around<'_>, out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        let Phase::Recovering { held } = entry.phase else { return };
        match held.filter(|(holder, _)| (around.is_here)(*holder)) {
            Some((holder, attempt)) => {
                self.adopt(now, holder, attempt, None);
                self.tell(task, TaskState::Running, Some("it was running when this peer started".into()), out);
                out.send(holder, Message::Query(attempt));
            }
            None => self.begin(now, task, around, out),
        }
    }

    /// Whether a result is let go when the end of its task is decided, not before: it is being decided on, or another leads
    /// the task and may yet be lost.
    pub(super) fn held_back(&mut self, attempt: TaskRef, from: PeerId) -> bool {
        let Some(entry) = self.book.open(attempt.task) else { return false };
        if matches!(entry.phase, Phase::Elsewhere) && !entry.release.contains(&(from, attempt)) {
            if entry.release.len() >= RELEASED_MAX {
                return false;
            }
            entry.release.push((from, attempt));
        }
        entry.release.contains(&(from, attempt))
    }

    // ── Ends ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// An end was found: it counts when it is decided.
    pub(super) fn resolve(
        &mut self,
        task: TaskId,
        state: TaskState,
        result: Result<TaskResult, TaskError>,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.book.open(task) else { return };
        // An end that is being decided is not replaced by another.
        if matches!(entry.phase, Phase::Resolving | Phase::Storing | Phase::Elsewhere) {
            return;
        }
        entry.phase = Phase::Resolving;
        if sabotage::is(Bug::ToldTooEarly) && entry.ours {
            out.push(Output::Finish { task, result: result.clone() });
        }
        self.expiries.clear(&task);
        self.proposals.push((task, Resolution { state, result }));
    }

    /// Ends what has no result by its deadline.
    pub(super) fn expire(&mut self, now: Time, out: &mut Outbox) {
        while let Some(task) = self.expiries.pop_due(now) {
            let Some(entry) = self.book.open(task).filter(|_| !sabotage::is(Bug::IgnoreDeadline)) else { continue };
            let after = lifetime(&entry.spec, &entry.keeping);
            self.withdraw(task, out);
            self.end(task, TaskState::Failed, Err(TaskError::DeadlinePassed { after }), out);
        }
    }

    /// Nobody may run a kept task now: somebody may later.
    pub(super) fn wait_for_somebody(&mut self, now: Time, task: TaskId) {
        let Some(entry) = self.book.open(task) else { return };
        let pause = (RETRY * 2u32.saturating_pow(entry.waits.min(8))).min(WAIT_MAX);
        entry.waits += 1;
        entry.phase = Phase::Waiting;
        // Whoever declined may have room by then.
        entry.tried.clear();
        self.deadlines.set(task, now + pause);
    }

    fn clear(&mut self, task: TaskId) {
        self.deadlines.clear(&task);
        self.expiries.clear(&task);
    }

    /// Whether this peer decides what becomes of who hands this task in here: it is in its book, or was refused here. What others
    /// may have of it does not count.
    pub fn answers_for(&self, task: TaskId) -> bool {
        match self.book.get(task) {
            Some(entry) => !entry.is_damaged(),
            None => self.durable.is_led_or_refused(task),
        }
    }

    // ── Questions ────────────────────────────────────────────────────────────────────────────────────────────────

    /// What this peer knows of a task: as its home, or as its guardian.
    pub fn find(&self, now: Time, task: TaskId) -> Option<Found> {
        if let Some(entry) = self.book.get(task) {
            let result = match &entry.phase {
                // Not promised yet: whoever submits it again must not take this for an acknowledgement.
                Phase::Storing => return None,
                Phase::Ended(result) => Some(result.clone()),
                Phase::Waiting
                | Phase::Asking { .. }
                | Phase::Awarded { .. }
                | Phase::Collecting { .. }
                | Phase::Recovering { .. }
                | Phase::Resolving
                | Phase::Elsewhere => None,
            };
            let (name, age) = (entry.name.clone(), entry.age(now));
            let unpromised = result.is_none() && self.durable.unpromised(task).is_some();
            return Some(Found { task, name, state: entry.state, holder: self.me, age, result, unpromised });
        }
        let (copy, end) = self.durable.copy_of(task)?;
        let state = end.map_or(TaskState::Accepted, |end| end.state);
        let mut result = end.map(|end| end.result.clone());
        if let Some(Ok(TaskResult { report: RunReport { output: Payload::Blob(blob), .. }, .. })) = &mut result
            && copy.spec.output.lease().is_none()
        {
            blob.holder = self.me;
        }
        let (name, age) = (copy.name.clone(), copy.age(now));
        Some(Found { task, name, state, holder: self.me, age, unpromised: result.is_none(), result })
    }
}
