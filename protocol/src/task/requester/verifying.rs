//! Answers that are not taken at once: the task is run again, and the runs are compared.
//!
//! Each run is an attempt like any other, with an epoch of its own, at a peer that has not run the task yet. What they
//! answered is remembered at home, in memory, until one answer is taken; a home that starts anew begins again.

use super::*;
use crate::task::receipt::{self, Receipt};
use crate::task::verification::{self, Checker, Verdict as Verified, Vote};

/// As a decision's record has it.
const HAS_RUN_IT: &str = "it has run the task already";
const NOT_PROVEN: &str = "another's answer is to be checked, and it has not proved itself";

/// The answers to a task so far.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    votes: Vec<Vote>,
    /// The first run of each answer.
    runs: Vec<(PeerId, Outcome)>,
    /// Who is to run it again.
    checker: Option<Checker>,
}

impl Answers {
    /// Whether somebody has run it.
    pub(crate) fn is_some(&self) -> bool {
        !self.votes.is_empty()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.votes.len()
    }

    /// How many different ones there are.
    pub(crate) fn different(&self) -> usize {
        self.runs.len()
    }
}

impl Requester {
    /// An attempt came to its own end: its answer is the task's, or has to be checked.
    pub(super) fn ended_well(
        &mut self,
        now: Time,
        from: PeerId,
        outcome: Outcome,
        around: &mut Around<'_>,
        out: &mut Outbox,
    ) {
        let (task, attempt) = (outcome.attempt.task, outcome.attempt);
        let Some(entry) = self.book.open(task) else { return };
        let verify = entry.spec.verify;
        if verify.is_never() {
            return self.commit(now, from, outcome, 0, out);
        }
        let answer = receipt::answer_hash(&outcome.report);
        if from != self.me && !has_receipt(entry, from, &outcome, answer) {
            let why = format!("{} did not sign what it answered", from.short());
            entry.has_failed();
            entry.tried.insert(from, why.clone());
            self.note_word(from, Kept::Failed);
            self.acknowledge(now, from, attempt, out);
            return self.retry(now, task, &why, around, out);
        }
        let answers = &mut entry.answers;
        answers.votes.retain(|vote| vote.peer != from);
        answers.votes.push(Vote { peer: from, answer });
        let is_new = answers.runs.iter().all(|(_, run)| receipt::answer_hash(&run.report) != answer);
        answers.runs.extend(is_new.then_some((from, outcome)));
        // What it says is safe here: should it be lost with this peer, so is all that it was compared with.
        match verification::verdict(verify, self.me, &answers.votes, &self.trust, around.rng) {
            Verified::Take(taken) => self.take_answer(now, task, taken, (from, attempt), out),
            Verified::Again(checker) => {
                answers.checker = Some(checker);
                entry.phase = Phase::Waiting;
                entry.failing_since = Some(now);
                self.acknowledge(now, from, attempt, out);
                self.place(now, task, around, out);
            }
            Verified::None => {
                let (runs, answers) = (answers.votes.len(), answers.runs.len());
                self.acknowledge(now, from, attempt, out);
                self.end(task, TaskState::Failed, Err(TaskError::Unverified { runs, answers }), out);
            }
        }
    }

    fn take_answer(&mut self, now: Time, task: TaskId, taken: BlobId, last: (PeerId, TaskRef), out: &mut Outbox) {
        let Some(entry) = self.book.open(task) else { return };
        let Answers { votes, runs, .. } = core::mem::take(&mut entry.answers);
        let is_taken = |(_, run): &(PeerId, Outcome)| receipt::answer_hash(&run.report) == taken;
        let Some((executor, outcome)) = runs.into_iter().find(is_taken) else { return };
        self.trust.judge(self.me, &votes, taken);
        let (right, wrong): (Vec<&Vote>, Vec<&Vote>) = votes.iter().partition(|vote| vote.answer == taken);
        for vote in wrong {
            self.wrong_answers += 1;
            self.note_word(vote.peer, Kept::Lied);
            out.notify(Event::AnswerNotBelieved { task, peer: vote.peer });
            if let Some(record) = self.book.open(task).and_then(HomeTask::record) {
                record.verdict(vote.peer, Verdict::Lost, "its answer was not that of the others");
            }
        }
        let was_compared = votes.len() > 1;
        let agreed = if was_compared { u8::try_from(right.len()).unwrap_or(u8::MAX) } else { 0 };
        if last.1 != outcome.attempt {
            self.acknowledge(now, last.0, last.1, out);
        }
        self.commit(now, executor, outcome, agreed, out);
    }

    /// Whoever has run a task does not run it again, and its answer is not checked by just anybody.
    pub(super) fn choose_checker(&mut self, task: TaskId, around: &Around<'_>) {
        let Some(entry) = self.book.open(task).filter(|entry| entry.answers.is_some()) else { return };
        for vote in &entry.answers.votes {
            entry.tried.insert(vote.peer, HAS_RUN_IT.to_owned());
        }
        let checkers: Vec<PeerId> = match entry.answers.checker {
            Some(Checker::Home) => Vec::new(),
            Some(Checker::Proven) => {
                let peers = (around.sites)().iter().map(|site| site.member.peer);
                peers.filter(|peer| self.trust.is_proven(*peer)).collect()
            }
            Some(Checker::Anybody) | None => return,
        };
        self.prefer(task, NOT_PROVEN, around, |peer| checkers.contains(&peer));
    }
}

/// Whether the executor has signed this answer to this question.
fn has_receipt(entry: &HomeTask, from: PeerId, outcome: &Outcome, answer: BlobId) -> bool {
    let module = entry.spec.variants.get(usize::from(entry.variant)).map(|variant| variant.module);
    let Some((Ok(signed), module)) = outcome.receipt.as_ref().map(|receipt| receipt.verify(from)).zip(module) else {
        return false;
    };
    let expected = Receipt {
        attempt: outcome.attempt,
        module,
        input: receipt::input_hash(&entry.spec),
        answer,
        work_us: signed.work_us,
    };
    signed == expected
}
