//! What a member of a council does when it is asked: keep a copy, promise, vote, remember the end.
//!
//! **Invariant:** every answer that binds follows the write that makes it true.

use std::collections::btree_map::Entry;

use super::acceptor::Acceptor;
use super::kept::{output_of, weight, weight_of_end};
use super::leading::until;
use super::*;
use crate::config::{NAME_BYTES_MAX, RETENTION_MAX};
use crate::message::TaskRef;
use crate::task::epoch;
use crate::task::spec::{BlobRef, Payload};

impl Durable {
    /// A member of a council says something.
    pub(crate) fn handle(&mut self, from: PeerId, counsel: Counsel, lent: &mut Lent<'_>) {
        if self.journal.boot().is_none() {
            if let Counsel::Guard(guard) = counsel {
                refuse_copy(from, &guard, "it has no store".into(), lent);
            }
            return;
        }
        match counsel {
            Counsel::Guard(guard) => self.guard(from, guard, lent),
            Counsel::Guarded(guarded) => self.guarded(from, guarded, lent),
            Counsel::Prepare(prepare) => self.prepare(from, &prepare, lent),
            Counsel::Promised(promised) => self.promise_came(from, *promised, lent),
            Counsel::Propose(propose) => self.vote(from, propose, lent),
            Counsel::Accepted(voted) => self.vote_came(from, voted, lent),
            Counsel::Refused(refused) => self.refused(from, &refused, lent),
            Counsel::Resolved(resolved) => self.resolved(from, *resolved, lent),
            Counsel::Known(case) => self.known(from, case),
            Counsel::Inquire(cases) => {
                cases.iter().take(INQUIRED_MAX).for_each(|case| self.inquired(from, *case, lent))
            }
            Counsel::Withdraw(case) => self.withdrawn(from, case),
            Counsel::Standing(standing) => self.standing(from, &standing, lent),
        }
    }

    // ── A second copy ────────────────────────────────────────────────────────────────────────────────────────────

    fn guard(&mut self, from: PeerId, guard: Box<Guard>, lent: &mut Lent<'_>) {
        let (task, me) = (guard.task, self.me);
        let mine = |peer: Option<PeerId>| peer == Some(me);
        let between_us = guard.council.home() == Some(from) && mine(guard.council.guardian())
            || guard.council.guardian() == Some(from) && mine(guard.council.home());
        if !guard.council.is_sane() || !between_us || guard.council.members.len() < MEMBERS_MAX {
            return refuse_copy(from, &guard, "it is not of that council".into(), lent);
        }
        if self.damaged.contains_key(&task) {
            return refuse_copy(from, &guard, "its records of that task are damaged".into(), lent);
        }
        if guard.name.len() > NAME_BYTES_MAX {
            return refuse_copy(from, &guard, "its name is too long".into(), lent);
        }
        if let Err(error) = guard.spec.check() {
            return refuse_copy(from, &guard, error.to_string(), lent);
        }
        let (is_mine, home) = (guard.council.home() == Some(me), guard.council.home());
        match self.kept.get(&task) {
            Some(kept) if kept.council == guard.council && kept.resolved => self.tell_end(from, task, lent.out),
            // The answer was lost, or the copy: what was promised meanwhile stands.
            Some(kept) if kept.council == guard.council && !kept.leads() => self.take_copy(from, guard, lent),
            // A later submission takes the place of an earlier one at the same home, which nobody else makes.
            Some(kept)
                if kept.leads()
                    || is_mine
                    || kept.council.term >= guard.council.term
                    || kept.council.home() != home =>
            {
                refuse_copy(from, &guard, "it knows of another submission".into(), lent);
            }
            _ if self.may_have_forgotten(guard.age, lent.now) => {
                let why = "its store is younger than the task, and may have lost what it said of it";
                refuse_copy(from, &guard, why.into(), lent);
            }
            Some(_) => {
                self.forget_council(task);
                self.take_copy(from, guard, lent);
            }
            None => match self.full(weight(&guard.spec)) {
                Some(why) => refuse_copy(from, &guard, why, lent),
                None => self.take_copy(from, guard, lent),
            },
        }
    }

    /// A copy is taken when everything that the task reads is here.
    fn take_copy(&mut self, from: PeerId, mut guard: Box<Guard>, lent: &mut Lent<'_>) {
        let task = guard.task;
        if !self.fetching.contains_key(&task) {
            let of_it = self.fetching.values().filter(|it| it.from == from).count();
            if self.fetching.len() >= FETCHING_MAX || of_it >= FETCHING_PER_PEER_MAX {
                let why = format!("it fetches for {} others, {of_it} of them of the same peer", self.fetching.len());
                return refuse_copy(from, &guard, why, lent);
            }
        }
        let module = |variant: &super::super::spec::Variant| BlobRef {
            id: variant.module,
            bytes: variant.module_bytes,
            holder: from,
        };
        let mut blobs: Vec<BlobRef> = guard.spec.variants.iter().map(module).collect();
        for input in &mut guard.spec.inputs {
            if let Payload::Blob(blob) = input {
                blobs.push(*blob);
                // Whoever leads is asked for it.
                blob.holder = self.me;
            }
        }
        lent.out.push(Output::Keep { task, blobs: blobs.iter().map(|blob| blob.id).collect() });
        self.fetch(task, from, Waiting::Copy(guard), blobs, lent.out);
    }

    /// Fetches blobs that are to be kept, unless that is under way.
    fn fetch(&mut self, task: TaskId, from: PeerId, waiting: Waiting, blobs: Vec<BlobRef>, out: &mut Outbox) {
        if self.fetching.get(&task).is_some_and(|it| it.from == from && it.waiting.is_for_the_same(&waiting)) {
            return;
        }
        self.fetches = self.fetches.wrapping_add(1);
        let attempt = TaskRef { task, epoch: epoch::of_no_attempt(self.fetches) };
        self.fetching.insert(task, Fetching { attempt, from, waiting });
        out.push(Output::Fetch { attempt, blobs });
    }

    /// The blobs of a kept task are here, or cannot be had; false when the fetch was not ours.
    pub(crate) fn fetched(&mut self, attempt: TaskRef, result: &Result<(), String>, lent: &mut Lent<'_>) -> bool {
        if !epoch::is_of_no_attempt(attempt.epoch) {
            return false;
        }
        let Entry::Occupied(entry) = self.fetching.entry(attempt.task) else { return true };
        if entry.get().attempt != attempt {
            return true; // of an earlier one, whose blobs are others
        }
        let Fetching { from, waiting, .. } = entry.remove();
        match (waiting, result) {
            (Waiting::Copy(guard), Ok(())) => self.store_copy(from, *guard, lent),
            (Waiting::Copy(guard), Err(why)) => {
                lent.out.push(Output::Forget { task: attempt.task });
                refuse_copy(from, &guard, format!("it could not fetch what the task needs: {why}"), lent);
            }
            (Waiting::Vote(propose), Ok(())) => self.cast(from, *propose, lent),
            (Waiting::Vote(propose), Err(why)) if from == self.me => self.propose_without_output(&propose, why, lent),
            // A vote for an output that is not here would be worth less than it says.
            (Waiting::Vote(_), Err(_)) => {}
            // Whoever tells it says it again until it is known, and then the output is fetched again.
            (Waiting::Known(case), Ok(())) => {
                self.write_council(case.task, After::say(from, Counsel::Known(case)), lent);
            }
            (Waiting::Known(_), Err(_)) => {}
        }
        true
    }

    fn store_copy(&mut self, from: PeerId, guard: Guard, lent: &mut Lent<'_>) {
        let Guard { task, council, name, spec, keeping, age } = guard;
        let keeping = Keeping { retention: keeping.retention.min(RETENTION_MAX), ..keeping };
        let copy = KeptTask { name, spec, keeping, accepted: lent.now, aged: age, failures: 0 };
        let accepted = record::date_of(self.journal.unix_ms(lent.now), age);
        let mut changes = vec![record::put_task(task, &copy, accepted)];
        changes.extend(record::put_input(task, &copy.spec.inputs));
        let case = Case { task, term: council.term };
        let fresh = !self.kept.contains_key(&task);
        if fresh && let Some(why) = self.full(weight(&copy.spec)) {
            lent.out.push(Output::Forget { task });
            return say(lent.out, from, Counsel::Guarded(Guarded { case, refusal: Some(why) }));
        }
        let mut lacked = false;
        if let Some(kept) = self.kept.get_mut(&task) {
            // Another council may have met since it was sent.
            if kept.resolved || kept.council != council {
                return;
            }
            let bytes = weight(&copy.spec);
            lacked = kept.lacks_copy;
            (kept.retention, kept.copy, kept.lacks_copy) = (keeping.retention, Some(Box::new(copy)), false);
            self.weighs(task, bytes);
        } else {
            let acceptor = Acceptor::new(council.home().unwrap_or(from));
            let kept = Kept {
                seen: acceptor.promised,
                acceptor,
                council,
                resolved: false,
                refused_since: None,
                until: lent.now + until(&copy).saturating_sub(age),
                retention: keeping.retention,
                bytes: weight(&copy.spec),
                copy: Some(Box::new(copy)),
                lacks_copy: false,
                stage: Stage::Idle,
                confirmed: true,
                since: lent.now,
                aged: age,
                repeats: 0,
            };
            self.keep(lent.now, task, kept);
        }
        changes.extend(self.council_change(task, lent.now));
        self.journal.write(changes, After::Copied { case, to: from, fresh, lacked }, lent.out);
        if sabotage::is(Bug::GuardBeforeDisk) {
            say(lent.out, from, Counsel::Guarded(Guarded { case, refusal: None }));
        }
    }

    // ── Promises and votes ───────────────────────────────────────────────────────────────────────────────────────

    /// Another member would lead.
    fn prepare(&mut self, from: PeerId, prepare: &Prepare, lent: &mut Lent<'_>) {
        let (task, ballot) = (prepare.task, prepare.ballot);
        if ballot.owner != from || !self.sits(from, task, &prepare.council, (prepare.age, prepare.expires_in), lent) {
            return;
        }
        let Some(kept) = self.kept.get_mut(&task) else { return };
        if kept.resolved {
            return self.tell_end(from, task, lent.out);
        }
        let case = kept.case(task);
        let leader = kept.acceptor.promised.owner;
        let leads = if leader == self.me { kept.leads() } else { (lent.is_here)(leader) };
        let refused = |promised, leader_is_here| Counsel::Refused(Refused { case, promised, leader_is_here });
        let leads = leads && (leader == self.me || !prepare.leader_gave_up);
        // Whoever bids has found its leader wanting.
        if leader != from && from != self.me && leads {
            return say(lent.out, from, refused(kept.acceptor.promised, true));
        }
        if !kept.acceptor.promise(ballot) {
            return say(lent.out, from, refused(kept.acceptor.promised, false));
        }
        kept.see(ballot);
        let accepted = kept.acceptor.accepted.clone();
        if from != self.me && matches!(kept.stage, Stage::Preparing { .. }) {
            // Its own bid is outbid.
            self.withdraw_bid(task, lent.now);
        }
        let promised = Counsel::Promised(Box::new(Promised { case, ballot, accepted }));
        self.write_council(task, After::say(from, promised), lent);
    }

    /// The leader proposes an end.
    fn vote(&mut self, from: PeerId, propose: Box<Propose>, lent: &mut Lent<'_>) {
        let task = propose.task;
        let ballot = propose.vote.ballot;
        if ballot.owner != from || !self.sits(from, task, &propose.council, (propose.age, propose.expires_in), lent) {
            return;
        }
        let Some(kept) = self.kept.get(&task) else { return };
        if kept.resolved && from != self.me {
            return self.tell_end(from, task, lent.out);
        }
        let is_guardian = kept.copy.as_deref().is_some_and(brings_output_home) && from != self.me;
        let is_cast = kept.acceptor.accepted.as_ref().is_some_and(|vote| vote.ballot == ballot);
        let is_here = |blob: &BlobRef| from == self.me && blob.holder == self.me && !is_cast;
        let output = output_of(&propose.vote.resolution).filter(|blob| is_guardian || is_here(blob));
        match output.filter(|_| ballot >= kept.acceptor.promised) {
            // Its output is to survive as well as its end: it is on disk first.
            Some(blob) => {
                let blobs = vec![BlobRef { holder: from, ..blob }];
                self.fetch(task, from, Waiting::Vote(propose), blobs, lent.out);
            }
            None => self.cast(from, *propose, lent),
        }
    }

    fn cast(&mut self, from: PeerId, propose: Propose, lent: &mut Lent<'_>) {
        let (task, vote) = (propose.task, propose.vote);
        let ballot = vote.ballot;
        let Some(kept) = self.kept.get_mut(&task).filter(|kept| kept.council.term == propose.council.term) else {
            return;
        };
        let case = kept.case(task);
        let leader = kept.acceptor.promised.owner;
        if kept.resolved && kept.acceptor.accepted.as_ref().is_none_or(|accepted| accepted.ballot != ballot) {
            return;
        }
        if !kept.acceptor.accept(ballot, vote.resolution) {
            let leader_is_here = (lent.is_here)(leader);
            let refused = Refused { case, promised: kept.acceptor.promised, leader_is_here };
            return say(lent.out, from, Counsel::Refused(refused));
        }
        kept.see(ballot);
        let bytes = kept.acceptor.accepted.as_ref().map_or(0, |vote| weight_of_end(&vote.resolution));
        let deposed = leader == self.me && from != self.me && kept.leads();
        // A council of one has decided with its vote.
        let alone = kept.council.members.len() == 1;
        kept.resolved |= alone;
        if alone && !kept.retention.is_zero() {
            // As it is written now.
            kept.until = lent.now + kept.retention;
        }
        self.weighs(task, bytes);
        if deposed {
            self.depose(task, lent.now);
        }
        let mut changes: Vec<_> = self.council_change(task, lent.now).into_iter().collect();
        if alone {
            changes.push(record::delete_input(task));
        }
        self.journal.write(changes, After::say(from, Counsel::Accepted(Voted { case, ballot })), lent.out);
    }

    /// Whether `from` and this peer sit on that council; a witness hears of it for the first time when it is asked. One whose
    /// store is younger than the task may have been asked before, and does not know what it said.
    fn sits(
        &mut self,
        from: PeerId,
        task: TaskId,
        council: &Council,
        (age, expires_in): (Duration, Duration),
        lent: &Lent<'_>,
    ) -> bool {
        if !council.is_sane() || !council.has(self.me) || !council.has(from) || self.damaged.contains_key(&task) {
            return false;
        }
        match self.kept.get(&task) {
            Some(kept) if kept.council == *council => return true,
            _ if self.may_have_forgotten(age, lent.now) => return false,
            // A later council of the same task follows one whose end was a refusal; terms of two homes say nothing of each other.
            Some(kept)
                if kept.council.term < council.term && kept.council.home() == council.home() && !kept.leads() =>
            {
                self.forget_council(task);
            }
            Some(_) => return false,
            None => {}
        }
        let Some(home) = council.home().filter(|_| self.full(0).is_none()) else { return false };
        let acceptor = Acceptor::new(home);
        let kept = Kept {
            seen: acceptor.promised,
            acceptor,
            council: council.clone(),
            resolved: false,
            refused_since: None,
            until: lent.now + expires_in.min(REMEMBERED_MAX),
            retention: Duration::ZERO,
            bytes: 0,
            copy: None,
            lacks_copy: council.with_copies().any(|peer| peer == self.me),
            stage: Stage::Idle,
            confirmed: true,
            since: lent.now,
            aged: age,
            repeats: 0,
        };
        self.keep(lent.now, task, kept);
        true
    }

    /// An earlier council of a task makes way for a later one; its records are overwritten.
    pub(super) fn forget_council(&mut self, task: TaskId) -> Option<Kept> {
        let kept = self.kept.remove(&task)?;
        self.bytes -= kept.bytes;
        self.shared.remove(&task);
        self.fetching.remove(&task);
        self.deadlines.clear(&Due::Repeat(task));
        Some(kept)
    }

    // ── Ends ─────────────────────────────────────────────────────────────────────────────────────────────────────

    fn tell_end(&self, to: PeerId, task: TaskId, out: &mut Outbox) {
        let Some(kept) = self.kept.get(&task) else { return };
        let (case, ballot) = (kept.case(task), kept.acceptor.promised);
        let resolution = kept.end().cloned();
        say(out, to, Counsel::Resolved(Box::new(Resolved { case, ballot, resolution })));
    }

    /// A task has ended, as a majority has it.
    fn resolved(&mut self, from: PeerId, resolved: Resolved, lent: &mut Lent<'_>) {
        let Resolved { case, ballot, resolution } = resolved;
        let task = case.task;
        let Some(kept) = self.kept.get(&task) else {
            // Forgotten: its time is over.
            return say(lent.out, from, Counsel::Known(case));
        };
        if kept.council.term != case.term || !kept.council.has(from) {
            return;
        }
        if kept.resolved {
            return self.say_known(from, case, lent);
        }
        let voted = kept.acceptor.accepted.as_ref().filter(|vote| vote.ballot == ballot);
        let Some(resolution) = resolution.or_else(|| voted.map(|vote| vote.resolution.clone())) else {
            return say(lent.out, from, Counsel::Inquire(vec![case]));
        };
        self.settle(task, Vote { ballot, resolution: resolution.clone() }, lent.now, lent.out);
        self.begin(task, Stage::Idle, lent.now);
        self.shared.remove(&task);
        self.happened.push(Happened::Resolved(task, Box::new(resolution)));
        let changes = vec![record::delete_input(task)].into_iter().chain(self.council_change(task, lent.now));
        let after = match self.fetch_output(from, case, lent.out) {
            true => After::Nothing,
            false => After::say(from, Counsel::Known(case)),
        };
        self.journal.write(changes.collect(), after, lent.out);
    }

    /// Says that an end is known, once it is on disk with its output: it may not be, though it was told before.
    fn say_known(&mut self, from: PeerId, case: Case, lent: &mut Lent<'_>) {
        if !self.fetch_output(from, case, lent.out) {
            self.write_council(case.task, After::say(from, Counsel::Known(case)), lent);
        }
    }

    /// Fetches the large output of an end that is kept here; false where there is none, or it stays where it was made.
    fn fetch_output(&mut self, from: PeerId, case: Case, out: &mut Outbox) -> bool {
        let Some(kept) = self.kept.get(&case.task) else { return false };
        let is_copied = kept.retention > Duration::ZERO && kept.copy.as_deref().is_none_or(brings_output_home);
        let Some(blob) = kept.end().and_then(output_of).filter(|_| is_copied) else { return false };
        self.fetch(case.task, from, Waiting::Known(case), vec![BlobRef { holder: from, ..blob }], out);
        true
    }
}

impl Waiting {
    /// Whether both wait for the same blobs, to do the same with them.
    fn is_for_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Copy(guard), Self::Copy(other)) => guard.council == other.council,
            (Self::Vote(propose), Self::Vote(other)) => propose.council == other.council && propose.vote == other.vote,
            (Self::Known(case), Self::Known(other)) => case == other,
            (Self::Copy(_) | Self::Vote(_) | Self::Known(_), _) => false,
        }
    }
}

fn refuse_copy(from: PeerId, guard: &Guard, why: String, lent: &mut Lent<'_>) {
    let case = Case { task: guard.task, term: guard.council.term };
    say(lent.out, from, Counsel::Guarded(Guarded { case, refusal: Some(why) }));
}

/// Whether the output of a task is kept with its end: one that stays where it was made may be lost with its peer.
fn brings_output_home(copy: &KeptTask) -> bool {
    copy.spec.output.lease().is_none()
}
