//! Who leads a task when its leader is lost, and how a leader that comes back learns of it.
//!
//! **Invariant:** whoever leads by a ballot has the promises of a majority, its own among them, and proposes what any of
//! them had accepted.

use super::acceptor::bound_to;
use super::*;
use crate::output::TaskError;
use crate::task::TaskState;

impl Durable {
    // ── The heir ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Looks whether the leaders of tasks that we are heir to are there, and follows those that are not.
    pub(super) fn watch(&mut self, lent: &mut Lent<'_>) {
        if !self.shared.is_empty() {
            self.deadlines.set(Due::Watch, lent.now + WATCH_EVERY);
        }
        let mut led: BTreeMap<PeerId, Vec<TaskId>> = BTreeMap::new();
        for (task, kept) in self.shared.iter().filter_map(|task| Some((task, self.kept.get(task)?))) {
            if kept.is_heir(self.me) && !kept.resolved && matches!(kept.stage, Stage::Idle) {
                led.entry(kept.leader()).or_default().push(*task);
            }
        }
        // Whoever bid and found no majority leads nothing, though it is bound to itself: it bids again.
        let me = self.me;
        let is_gone = |leader: PeerId| leader == me || !(lent.is_here)(leader);
        self.away.retain(|leader, _| led.contains_key(leader) && is_gone(*leader));
        self.doubted.retain(|leader, _| led.contains_key(leader) && !is_gone(*leader));
        for (leader, tasks) in led {
            if !is_gone(leader) {
                self.doubt(leader, &tasks, lent);
                continue;
            }
            let since = *self.away.entry(leader).or_insert_with(|| {
                // It may be there, with no place for each other in our views: it is called before it is followed.
                let contact = |task: &TaskId| self.kept.get(task)?.council.members.iter().find(|it| it.peer == leader);
                self.wanted.extend(tasks.first().and_then(contact).filter(|_| leader != me).cloned());
                lent.now
            });
            if lent.now.since(since) >= LEASE && !sabotage::is(Bug::NoTakeover) {
                tasks.into_iter().take(TAKEOVERS_MAX).for_each(|task| self.take_over(task, false, lent));
            }
        }
    }

    /// A leader may have started anew and not know that it leads: it is asked now and then.
    fn doubt(&mut self, leader: PeerId, tasks: &[TaskId], lent: &mut Lent<'_>) {
        let last = self.doubted.entry(leader).or_insert(lent.now);
        if lent.now.since(*last) < DOUBT_AFTER {
            return;
        }
        *last = lent.now;
        let cases: Vec<Case> = tasks.iter().filter_map(|task| Some(self.kept.get(task)?.case(*task))).collect();
        for cases in cases.chunks(INQUIRED_MAX) {
            say(lent.out, leader, Counsel::Inquire(cases.to_vec()));
        }
    }

    /// Bids for the lead of a task.
    fn take_over(&mut self, task: TaskId, leader_gave_up: bool, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get(&task) else { return };
        let promised = kept.acceptor.promised;
        // An earlier bid of ours that nobody outbid is as good as another: nothing was proposed by it.
        let ballot = if promised.owner == self.me && promised.round > 0 && kept.seen <= promised {
            promised
        } else {
            Ballot { round: kept.seen.max(promised).round.saturating_add(1), owner: self.me }
        };
        self.begin(task, Stage::Preparing { ballot, promises: BTreeMap::new(), leader_gave_up }, lent.now);
        self.bid(task, None, lent);
    }

    pub(super) fn bid(&mut self, task: TaskId, only: Option<PeerId>, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get(&task) else { return };
        let Stage::Preparing { ballot, promises, leader_gave_up } = &kept.stage else { return };
        let expires_in = kept.until.since(lent.now);
        for member in &kept.council.members {
            // Nobody is bound to itself by a bid that nobody else supports.
            let too_early = member.peer == self.me && promises.is_empty();
            if too_early || promises.contains_key(&member.peer) || only.is_some_and(|only| only != member.peer) {
                continue;
            }
            if member.peer != self.me && !(lent.is_here)(member.peer) {
                self.wanted.push(member.clone());
            }
            let (council, leader_gave_up) = (kept.council.clone(), *leader_gave_up);
            let age = kept.age(lent.now);
            let prepare = Prepare { task, council, ballot: *ballot, expires_in, leader_gave_up, age };
            say(lent.out, member.peer, Counsel::Prepare(prepare));
        }
    }

    /// The bid found no majority: another lease passes before the next.
    pub(super) fn withdraw_bid(&mut self, task: TaskId, now: Time) {
        let Some(kept) = self.kept.get(&task) else { return };
        let leader = kept.leader();
        self.begin(task, Stage::Idle, now);
        self.away.insert(leader, now);
    }

    /// A member promises to follow.
    pub(super) fn promise_came(&mut self, from: PeerId, promised: Promised, lent: &mut Lent<'_>) {
        let task = promised.case.task;
        let me = self.me;
        let Some(kept) = self.kept.get_mut(&task) else { return };
        let majority = kept.council.majority();
        let ours = kept.council.term == promised.case.term && kept.council.has(from);
        let promised_since = kept.acceptor.promised;
        let is_home = kept.council.home() == Some(from) && from != me;
        if ours && kept.leads() && is_home && promised.ballot == promised_since {
            // It was not needed to lead.
            kept.confirmed |= has_not_refused(&promised.accepted);
            return;
        }
        let Stage::Preparing { ballot, promises, .. } = &mut kept.stage else { return };
        if !ours || promised.ballot != *ballot || promised_since > *ballot {
            return;
        }
        promises.insert(from, promised.accepted);
        if !promises.contains_key(&me) {
            return self.bid(task, Some(me), lent);
        }
        if promises.len() < majority {
            return;
        }
        // A home that refused it told its user, though nobody else may know. Its vote for that is on its disk before another is
        // asked, and it votes for no such thing after a promise.
        if let Some(home) = kept.council.home().filter(|home| *home != me) {
            kept.confirmed = promises.get(&home).is_some_and(has_not_refused);
        }
        let bound = bound_to(promises.values());
        self.takeovers += 1;
        self.begin(task, Stage::Leading, lent.now);
        self.ask_for_the_copy(task, lent.out);
        match bound {
            Some(resolution) => self.propose(task, resolution, lent),
            None => {
                let copy = self.kept.get(&task).and_then(|kept| kept.copy.clone());
                self.happened.push(Happened::Leads(task, copy));
            }
        }
    }

    /// A home that has started anew asks its guardian whether it has a copy: what is handed in again is acknowledged by that.
    fn ask_for_the_copy(&self, task: TaskId, out: &mut Outbox) {
        let Some(kept) = self.kept.get(&task).filter(|kept| !kept.confirmed) else { return };
        if let Some(guardian) = kept.council.guardian().filter(|peer| *peer != self.me) {
            say(out, guardian, Counsel::Inquire(vec![kept.case(task)]));
        }
    }

    /// A member is bound to somebody else.
    pub(super) fn refused(&mut self, from: PeerId, refused: &Refused, lent: &mut Lent<'_>) {
        let task = refused.case.task;
        let Some(kept) = self.kept.get_mut(&task) else { return };
        if kept.council.term != refused.case.term || !kept.council.has(from) {
            return;
        }
        kept.see(refused.promised);
        match &kept.stage {
            Stage::Preparing { ballot, .. } if refused.promised > *ballot => {
                self.withdraw_bid(task, lent.now);
            }
            Stage::Leading | Stage::Proposing { .. } if refused.promised > kept.acceptor.promised => {
                self.depose(task, lent.now);
            }
            Stage::Idle
            | Stage::Writing
            | Stage::Guarding
            | Stage::Leading
            | Stage::Preparing { .. }
            | Stage::Proposing { .. }
            | Stage::Telling { .. } => {}
        }
    }

    /// Another leads a task that we led.
    pub(super) fn depose(&mut self, task: TaskId, now: Time) {
        self.begin(task, Stage::Idle, now);
        self.happened.push(Happened::Deposed(task));
    }

    // ── The one that comes back ──────────────────────────────────────────────────────────────────────────────────

    /// A member asks what has become of a task.
    pub(super) fn inquired(&mut self, from: PeerId, case: Case, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get(&case.task) else {
            // Nothing was promised here.
            let ballot = Ballot { round: 0, owner: from };
            let standing = Standing { case, ballot, holds: false, leads: false };
            return say(lent.out, from, Counsel::Standing(standing));
        };
        let is_home = kept.council.home() == Some(self.me);
        if is_home && kept.refused_since.is_some_and(|since| (since..kept.council.term).contains(&case.term)) {
            // Whoever still has a copy of the submission that was refused must not take it for the one that followed.
            let error = TaskError::NoGuardian { asked: 1, reasons: "it was submitted anew".into() };
            let resolution = Some(Resolution { state: TaskState::Failed, result: Err(error) });
            let ballot = Ballot { round: 0, owner: self.me };
            return say(lent.out, from, Counsel::Resolved(Box::new(Resolved { case, ballot, resolution })));
        }
        if kept.council.term != case.term || !kept.council.has(from) {
            return;
        }
        if let Some(resolution) = kept.end().cloned() {
            let ballot = kept.acceptor.promised;
            return say(
                lent.out,
                from,
                Counsel::Resolved(Box::new(Resolved { case, ballot, resolution: Some(resolution) })),
            );
        }
        let holds = kept.is_heir(self.me);
        let ballot = kept.seen.max(kept.acceptor.promised);
        // Who cannot write can decide nothing: the others do without it.
        let leads = (kept.leads() || matches!(kept.stage, Stage::Preparing { .. })) && !self.journal.fails();
        say(lent.out, from, Counsel::Standing(Standing { case, ballot, holds, leads }));
        self.ask_home_for_its_promise(case.task, from, lent);
    }

    /// Who leads a task, as far as this member knows.
    pub(crate) fn leader_of(&self, task: TaskId) -> Option<PeerId> {
        Some(self.kept.get(&task)?.leader())
    }

    /// The user of a task that another leads withdraws it.
    pub(crate) fn withdraw(&mut self, task: TaskId, out: &mut Outbox) {
        if let Some(kept) = self.kept.get(&task).filter(|kept| kept.leader() != self.me) {
            say(out, kept.leader(), Counsel::Withdraw(kept.case(task)));
        }
    }

    /// The home of a task that this peer leads says that its user withdrew it.
    pub(super) fn withdrawn(&mut self, from: PeerId, case: Case) {
        let Some(kept) = self.kept.get(&case.task) else { return };
        if kept.council.term == case.term && kept.council.home() == Some(from) && kept.leads() {
            self.happened.push(Happened::Withdrawn(case.task));
        }
    }

    /// A member says who leads a task, as far as it knows.
    pub(super) fn standing(&mut self, from: PeerId, standing: &Standing, lent: &mut Lent<'_>) {
        let task = standing.case.task;
        let Some(kept) = self.kept.get_mut(&task) else { return };
        if kept.council.term != standing.case.term || !kept.council.has(from) || kept.resolved {
            return;
        }
        kept.confirmed |= standing.holds && kept.council.guardian() == Some(from);
        let was_leader = kept.leader() == from;
        // Nobody bids in round 0: whoever knows nothing of the task says it, and must not pass for a leader.
        if standing.ballot.round > 0 {
            kept.see(standing.ballot);
        }
        if !kept.leads() {
            if kept.is_heir(self.me) && was_leader && !standing.leads && matches!(kept.stage, Stage::Idle) {
                self.take_over(task, true, lent);
            }
            return;
        }
        if standing.ballot > kept.acceptor.promised {
            return self.depose(task, lent.now);
        }
        let should_hold = kept.council.with_copies().any(|peer| peer == from);
        if should_hold && !standing.holds {
            self.happened.push(Happened::CopyWanted(task));
        }
        self.ask_home_for_its_promise(task, from, lent);
    }

    /// Whether home has refused the task that this heir leads without its promise, it says with that: not while it still takes itself
    /// for the leader, but it is told before.
    fn ask_home_for_its_promise(&self, task: TaskId, from: PeerId, lent: &mut Lent<'_>) {
        let Some(kept) = self.kept.get(&task) else { return };
        if kept.council.home() == Some(from) && from != self.me && kept.leads() && !kept.confirmed {
            let (council, ballot) = (kept.council.clone(), kept.acceptor.promised);
            let (expires_in, age) = (kept.until.since(lent.now), kept.age(lent.now));
            let prepare = Prepare { task, council, ballot, expires_in, leader_gave_up: true, age };
            say(lent.out, from, Counsel::Prepare(prepare));
        }
    }
}

/// Whether a home that said this with its promise has not refused the task, and will not.
fn has_not_refused(accepted: &Option<Vote>) -> bool {
    accepted.as_ref().is_none_or(|vote| !vote.resolution.is_refusal())
}
