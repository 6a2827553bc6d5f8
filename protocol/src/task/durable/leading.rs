//! What whoever leads a task does: have it kept, have its end decided, and tell it.
//!
//! **Invariant:** an end is told, and acted on, only after a majority of the council has it on disk, this peer among it;
//! and nothing is proposed to others before it is on our own disk. A leader that starts anew goes on in the ballot it had:
//! there is one end in each ballot, and it finds that one.

use super::acceptor::Acceptor;
use super::kept::{output_of, weight, weight_of_end};
use super::*;
use crate::output::TaskError;
use crate::task::TaskState;
use crate::task::spec::TaskSpec;

/// So often a vote for an output of one's own is asked for while that cannot be had or synced: some ten seconds.
const OUTPUT_TRIES: u32 = 4;

impl Durable {
    // ── Beginning ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Whether another task could be kept here.
    pub(crate) fn can_keep(&self, task: TaskId, spec: &TaskSpec) -> Result<(), TaskError> {
        if self.journal.boot().is_none() {
            return Err(TaskError::NotStored { why: "this peer has no store".into() });
        }
        if let Some(why) = self.damaged.get(&task) {
            return Err(TaskError::RecordDamaged { why: why.clone() });
        }
        if self.kept.get(&task).is_some_and(|kept| !kept.makes_way()) {
            return Err(winding_up());
        }
        match self.full(weight(spec)) {
            Some(_) => Err(TaskError::Overloaded { held: self.kept.len(), retry_after: Duration::from_secs(10) }),
            None => Ok(()),
        }
    }

    /// Why a task that is here is not acknowledged to who hands it in again. Either this peer voted for refusing it, and has not
    /// heard yet that it is decided; or it has started anew since it was handed in, its disk does not say whether it was ever
    /// acknowledged, and its guardian has not said yet that it has a copy; or it follows a home that may have refused it.
    pub(crate) fn unpromised(&self, task: TaskId) -> Option<TaskError> {
        let kept = self.kept.get(&task).filter(|kept| !kept.resolved)?;
        if kept.acceptor.accepted.as_ref().is_some_and(|vote| vote.resolution.is_refusal()) {
            return Some(winding_up());
        }
        let why = match kept.council.home() == Some(self.me) {
            true => "its guardian has not said yet, since this peer started, that it has a copy",
            false => "the peer it was submitted at does not answer, and may have refused it",
        };
        (!kept.confirmed && kept.leader() == self.me).then(|| TaskError::NotStored { why: why.into() })
    }

    /// A term that no earlier council of any task of this peer had.
    pub(crate) fn new_term(&mut self) -> u64 {
        self.terms += 1;
        u64::from(self.journal.boot().unwrap_or(0)) << 32 | u64::from(self.terms)
    }

    /// Takes a submitted task on: [`Happened::Admitted`] or [`Happened::Refused`] follows.
    pub(crate) fn admit(&mut self, task: TaskId, copy: KeptTask, council: Council, lent: &mut Lent<'_>) {
        let accepted_unix_ms = self.journal.unix_ms(lent.now);
        let mut changes = vec![record::put_task(task, &copy, accepted_unix_ms)];
        changes.extend(record::put_input(task, &copy.spec.inputs));
        lent.out.push(Output::Keep { task, blobs: copy.blobs() });
        let alone = council.members.len() == 1;
        let refused = self.kept.get(&task).filter(|kept| kept.council.home() == Some(self.me));
        let refused_since = refused.map(|kept| kept.refused_since.unwrap_or(kept.council.term));
        if let Some(earlier) = self.forget_council(task) {
            self.superseded.insert(task, earlier);
        }
        let acceptor = Acceptor::new(self.me);
        let case = Case { task, term: council.term };
        let kept = Kept {
            seen: acceptor.promised,
            acceptor,
            council,
            resolved: false,
            refused_since,
            until: lent.now + until(&copy),
            retention: copy.keeping.retention,
            bytes: weight(&copy.spec),
            copy: (!alone).then(|| Box::new(copy)),
            lacks_copy: false,
            stage: Stage::Writing,
            confirmed: alone,
            since: lent.now,
            aged: Duration::ZERO,
            repeats: 0,
        };
        self.keep(lent.now, task, kept);
        changes.extend(self.council_change(task, lent.now));
        self.journal.write(changes, After::Admitted(case), lent.out);
        if sabotage::is(Bug::AckBeforeDisk) {
            self.written(case, lent);
        }
    }

    /// A submitted task is on our disk.
    pub(super) fn written(&mut self, case: Case, lent: &mut Lent<'_>) {
        let task = case.task;
        let Some(kept) = self.kept.get_mut(&task).filter(|kept| kept.is_written_as(case.term)) else { return };
        let copy = kept.copy.take();
        match (copy, kept.council.guardian()) {
            (Some(copy), Some(guardian)) => {
                let guard = guard_of(task, kept.council.clone(), *copy, lent.now);
                self.begin(task, Stage::Guarding, lent.now);
                self.deadlines.set(Due::Repeat(task), lent.now + GUARD_PATIENCE);
                say(lent.out, guardian, Counsel::Guard(Box::new(guard)));
            }
            (Some(_) | None, _) => self.admitted(task, lent.now),
        }
    }

    fn admitted(&mut self, task: TaskId, now: Time) {
        self.begin(task, Stage::Leading, now);
        self.happened.push(Happened::Admitted(task));
    }

    /// The guardian has its copy on disk, or refuses.
    pub(super) fn guarded(&mut self, from: PeerId, guarded: Guarded, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get_mut(&guarded.case.task) else { return };
        if kept.council.guardian() != Some(from) || kept.council.term != guarded.case.term {
            return;
        }
        kept.confirmed |= guarded.refusal.is_none();
        if !matches!(kept.stage, Stage::Guarding) {
            return;
        }
        match guarded.refusal {
            None => self.admitted(guarded.case.task, lent.now),
            Some(_) if sabotage::is(Bug::GuardianOptional) => self.admitted(guarded.case.task, lent.now),
            Some(why) => self.unguarded(guarded.case.task, why, lent),
        }
    }

    /// Nobody holds a second copy: the submission is refused, and that is its end before the council as well, in case the
    /// guardian has a copy after all.
    fn unguarded(&mut self, task: TaskId, why: String, lent: &mut Lent<'_>) {
        let error = TaskError::NoGuardian { asked: 1, reasons: why };
        self.begin(task, Stage::Leading, lent.now);
        self.happened.push(Happened::Refused(task, error.clone()));
        self.propose(task, Resolution { state: TaskState::Failed, result: Err(error) }, lent);
    }

    /// The guardian lost its copy, or never got it before this peer went away: here it is again.
    pub(crate) fn guard_again(&mut self, task: TaskId, copy: KeptTask, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get(&task).filter(|kept| kept.leads()) else { return };
        let other_copy =
            [kept.council.home(), kept.council.guardian()].into_iter().flatten().find(|peer| *peer != self.me);
        if let Some(guardian) = other_copy {
            let guard = guard_of(task, kept.council.clone(), copy, lent.now);
            say(lent.out, guardian, Counsel::Guard(Box::new(guard)));
        }
    }

    /// An attempt failed: how often is on disk, so that a task that kills its peers does not begin anew with each start.
    pub(crate) fn note_failures(&mut self, task: TaskId, copy: &KeptTask, lent: &mut Lent<'_>) {
        if self.kept.contains_key(&task) {
            let accepted = record::date_of(self.journal.unix_ms(lent.now), copy.age(lent.now));
            self.journal.write(vec![record::put_task(task, copy, accepted)], After::Nothing, lent.out);
        }
    }

    // ── Ending ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Proposes how a task is to end; [`Happened::Resolved`] follows, perhaps with another end that was decided before.
    pub(crate) fn propose(&mut self, task: TaskId, resolution: Resolution, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get(&task) else { return };
        let ballot = kept.acceptor.promised;
        if ballot.owner != self.me || !matches!(kept.stage, Stage::Leading | Stage::Guarding) {
            return;
        }
        self.begin(
            task,
            Stage::Proposing { vote: Box::new(Vote { ballot, resolution }), votes: BTreeSet::new() },
            lent.now,
        );
        self.ask_votes(task, None, lent);
    }

    /// Asks those for their votes who have not voted: those with copies first, the witness when one of them is not here or
    /// does not answer.
    pub(super) fn ask_votes(&mut self, task: TaskId, only: Option<PeerId>, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get(&task) else { return };
        let Stage::Proposing { vote, votes } = &kept.stage else { return };
        let with_copies: Vec<PeerId> = kept.council.with_copies().collect();
        let all = kept.repeats > 0 || with_copies.iter().any(|peer| *peer != self.me && !(lent.is_here)(*peer));
        let expires_in = kept.until.since(lent.now);
        for member in &kept.council.members {
            let peer = member.peer;
            if votes.contains(&peer) || only.is_some_and(|only| only != peer) || !(all || with_copies.contains(&peer)) {
                continue;
            }
            let too_early = !votes.contains(&self.me) && !sabotage::is(Bug::ProposeBeforeOwnVote);
            if peer != self.me && too_early {
                continue;
            }
            if peer != self.me && !(lent.is_here)(peer) {
                self.wanted.push(member.clone());
            }
            let council = kept.council.clone();
            let age = kept.age(lent.now);
            let propose = Propose { task, council, vote: Vote::clone(vote), expires_in, age };
            say(lent.out, peer, Counsel::Propose(Box::new(propose)));
        }
    }

    /// The output that our own proposal names is not here any more, however often we asked. Nobody else was asked yet, and by its first
    /// ballot a home is bound to nothing: the task ends without it. By a later one it may be what was decided already, and whoever
    /// voted for it has it.
    pub(super) fn propose_without_output(&mut self, proposed: &Propose, why: &str, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get_mut(&proposed.task) else { return };
        let Stage::Proposing { vote, votes } = &mut kept.stage else { return };
        if kept.repeats < OUTPUT_TRIES {
            return;
        }
        let is_free = vote.ballot == proposed.vote.ballot && vote.ballot.round == 0 && votes.is_empty();
        let Some(attempts) = vote.resolution.result.as_ref().ok().filter(|_| is_free).map(|result| result.attempts)
        else {
            return;
        };
        let last = format!("its output is lost: {why}");
        let result = Err(TaskError::AttemptsExhausted { attempts, last });
        vote.resolution = Resolution { state: TaskState::Failed, result };
        self.ask_votes(proposed.task, None, lent);
    }

    /// A member voted for our proposal.
    pub(super) fn vote_came(&mut self, from: PeerId, voted: Voted, lent: &mut Lent<'_>) {
        let task = voted.case.task;
        let me = self.me;
        let Some(kept) = self.kept.get_mut(&task) else { return };
        let majority = kept.council.majority();
        let ours = kept.council.term == voted.case.term && kept.council.has(from);
        let Stage::Proposing { vote, votes } = &mut kept.stage else { return };
        if !ours || vote.ballot != voted.ballot {
            return;
        }
        votes.insert(from);
        if votes.len() < majority {
            // Ours came first; now the others.
            if from == me {
                self.ask_votes(task, None, lent);
            }
            return;
        }
        let (vote, voters) = (Vote::clone(vote), votes.clone());
        self.decided(task, vote, voters, lent);
    }

    fn decided(&mut self, task: TaskId, vote: Vote, voters: BTreeSet<PeerId>, lent: &mut Lent<'_>) {
        let resolution = vote.resolution.clone();
        self.settle(task, vote, lent.now, lent.out);
        let Some(kept) = self.kept.get(&task) else { return };
        self.happened.push(Happened::Resolved(task, Box::new(resolution.clone())));
        if kept.council.members.len() == 1 {
            // Its only vote says on disk that it is the end.
            return self.begin(task, Stage::Idle, lent.now);
        }
        let changes = vec![record::delete_input(task)].into_iter().chain(self.council_change(task, lent.now));
        self.journal.write(changes.collect(), After::Nothing, lent.out);
        self.begin(task, Stage::Telling { known: BTreeSet::from([self.me]) }, lent.now);
        let Some(kept) = self.kept.get(&task) else { return };
        let (case, ballot) = (kept.case(task), kept.acceptor.promised);
        for peer in kept.council.peers().filter(|peer| *peer != self.me) {
            let resolution = (!voters.contains(&peer)).then(|| resolution.clone());
            say(lent.out, peer, Counsel::Resolved(Box::new(Resolved { case, ballot, resolution })));
        }
    }

    /// The end of a task is known here: its input is not needed any more, its retention begins.
    pub(super) fn settle(&mut self, task: TaskId, vote: Vote, now: Time, out: &mut Outbox) {
        let Some(kept) = self.kept.get_mut(&task) else { return };
        kept.resolved = true;
        kept.until = if kept.retention.is_zero() { kept.until } else { now + kept.retention };
        if sabotage::is(Bug::CollectEarly) {
            kept.until = now + kept.retention / 100;
        }
        self.deadlines.set(Due::Forget(task), kept.until);
        let bytes = weight_of_end(&vote.resolution);
        self.bytes = self.bytes - kept.bytes + bytes;
        kept.bytes = bytes;
        out.push(Output::Keep { task, blobs: output_of(&vote.resolution).map(|blob| blob.id).into_iter().collect() });
        kept.acceptor.promised = kept.acceptor.promised.max(vote.ballot);
        kept.acceptor.accepted = Some(vote);
        if let Some(copy) = &mut kept.copy {
            copy.spec.inputs = Vec::new();
        }
    }

    /// A member knows how a task ended.
    pub(super) fn known(&mut self, from: PeerId, case: Case) {
        let Some(kept) = self.kept.get_mut(&case.task).filter(|kept| kept.council.term == case.term) else { return };
        let Stage::Telling { known } = &mut kept.stage else { return };
        known.insert(from);
        if !kept.is_untold() {
            // It may have been kept for that one only.
            self.deadlines.set(Due::Forget(case.task), kept.until);
        }
        let Stage::Telling { known } = &kept.stage else { return };
        if kept.council.members.iter().all(|member| known.contains(&member.peer)) {
            kept.stage = Stage::Idle;
            self.shared.remove(&case.task);
            self.deadlines.clear(&Due::Repeat(case.task));
        }
    }

    // ── Repeating ────────────────────────────────────────────────────────────────────────────────────────────────

    /// The words of a stage had no answer in time.
    pub(super) fn repeat(&mut self, task: TaskId, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get_mut(&task) else { return };
        kept.repeats += 1;
        let pause = (REPEAT * 2u32.saturating_pow(kept.repeats.min(8))).min(REPEAT_MAX);
        match kept.stage {
            Stage::Idle | Stage::Writing | Stage::Leading => return,
            Stage::Guarding if sabotage::is(Bug::GuardianOptional) => return self.admitted(task, lent.now),
            Stage::Guarding => return self.unguarded(task, "it did not answer".into(), lent),
            Stage::Preparing { .. } if kept.repeats >= BIDS_MAX => return self.withdraw_bid(task, lent.now),
            Stage::Preparing { .. } | Stage::Proposing { .. } | Stage::Telling { .. } => {}
        }
        self.deadlines.set(Due::Repeat(task), lent.now + pause);
        self.say_again(task, None, lent);
    }

    /// Says the words of a stage again, to all who have not answered, or to one of them.
    pub(super) fn say_again(&mut self, task: TaskId, only: Option<PeerId>, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get(&task) else { return };
        match &kept.stage {
            Stage::Idle | Stage::Writing | Stage::Guarding | Stage::Leading => {}
            Stage::Preparing { .. } => self.bid(task, only, lent),
            Stage::Proposing { .. } => self.ask_votes(task, only, lent),
            Stage::Telling { known } => {
                let (case, ballot) = (kept.case(task), kept.acceptor.promised);
                let resolution = kept.end().cloned();
                for member in &kept.council.members {
                    if known.contains(&member.peer) || only.is_some_and(|only| only != member.peer) {
                        continue;
                    }
                    // Whoever is away hears of it when it is back, or asks.
                    if (lent.is_here)(member.peer) {
                        let resolved = Resolved { case, ballot, resolution: resolution.clone() };
                        say(lent.out, member.peer, Counsel::Resolved(Box::new(resolved)));
                    }
                }
            }
        }
    }
}

/// A bid that had no majority after so many repetitions is withdrawn, until the leader has been away for another lease.
const BIDS_MAX: u32 = 4;

/// A task and its end are forgotten after this long by those who do not lead it: its leader has ended it long before.
pub(super) fn until(copy: &KeptTask) -> Duration {
    (lifetime(&copy.spec, &copy.keeping) * 2 + copy.keeping.retention).min(crate::time::DURATION_MAX)
}

fn guard_of(task: TaskId, council: Council, copy: KeptTask, now: Time) -> Guard {
    let age = copy.age(now);
    Guard { task, council, name: copy.name, spec: copy.spec, keeping: copy.keeping, age }
}

fn winding_up() -> TaskError {
    TaskError::NotStored { why: "an earlier submission of it is being wound up".into() }
}
