//! One member, word by word: what it answers to each thing that another member may say, right or wrong.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::certificate::{Member, Role};
use crate::config::PeerConfig;
use crate::id::{BlobId, PeerId, TaskId};
use crate::input::Input;
use crate::message::{Contact, Message, TaskRef};
use crate::output::{Output, TaskError};
use crate::peer::Peer;
use crate::task::TaskState;
use crate::task::durable::{
    Ballot, Case, Council, Counsel, Durability, Guard, Guarded, Keeping, Prepare, Promised, Propose, Resolution,
    Resolved, Standing, Vote, Voted,
};
use crate::task::report::{Ending, RunReport};
use crate::task::spec::{Payload, TaskSpec};
use crate::time::Time;

const ME: u8 = 1;
const HOME: u8 = 2;
const WITNESS: u8 = 3;
const STRANGER: u8 = 4;
const TASK: TaskId = TaskId([7; 16]);
const TERM: u64 = 1 << 32;
const SPAN: Duration = Duration::from_secs(3_600);

fn id(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn council(term: u64, members: [u8; 3]) -> Council {
    Council { term, members: members.map(|n| Contact { peer: id(n), address: format!("at {n}") }).to_vec() }
}

fn ours() -> Council {
    council(TERM, [HOME, ME, WITNESS])
}

fn ballot(round: u32, owner: u8) -> Ballot {
    Ballot { round, owner: id(owner) }
}

fn case() -> Case {
    Case { task: TASK, term: TERM }
}

fn end(asked: usize) -> Resolution {
    Resolution { state: TaskState::Failed, result: Err(TaskError::AllDeclined { asked, reasons: String::new() }) }
}

/// A member whose disk writes at once, and whose runs end at once.
struct Solo {
    peer: Peer,
    now: Time,
    ended: Vec<TaskId>,
    runs: usize,
}

impl Solo {
    fn new() -> Self {
        let member = |n: u8| Member {
            peer: id(n),
            name: format!("peer-{n}"),
            role: Role::Edge,
            labels: [("site".to_owned(), n.to_string())].into(),
        };
        let peer = Peer::new(member(ME), PeerConfig::default(), 7, Time::ZERO);
        let mut solo = Self { peer, now: Time::ZERO, ended: Vec::new(), runs: 0 };
        solo.give(Input::Restored { records: Vec::new(), boot: 1, unix_ms: 1_700_000_000_000 });
        solo.give(Input::Prepared { module: BlobId([9; 32]), result: Ok(Duration::ZERO) });
        for n in [HOME, WITNESS, STRANGER] {
            solo.give(Input::Connected { member: member(n), address: Some(format!("at {n}")) });
        }
        solo
    }

    /// What it says to members of councils when this happens, everything written.
    fn give(&mut self, input: Input) -> Vec<(u8, Counsel)> {
        let mut inputs = std::collections::VecDeque::from([input]);
        let mut said = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.peer.handle(self.now, input);
            while let Some(output) = self.peer.poll_output() {
                match output {
                    Output::Persist { ticket, .. } => inputs.push_back(Input::Persisted { ticket }),
                    Output::Fetch { attempt, .. } => inputs.push_back(Input::Fetched { attempt, result: Ok(()) }),
                    Output::Execute(execution) => {
                        self.runs += 1;
                        inputs.push_back(finished(execution.attempt));
                    }
                    Output::Finish { task, .. } => self.ended.push(task),
                    Output::Send { to, message: Message::Council(counsel) } => said.push((to.0[0], *counsel)),
                    _ => {}
                }
            }
        }
        said
    }

    fn hear(&mut self, from: u8, counsel: Counsel) -> Vec<(u8, Counsel)> {
        self.give(Input::Received { from: id(from), message: Message::Council(Box::new(counsel)) })
    }

    fn pass(&mut self, time: Duration) -> Vec<(u8, Counsel)> {
        let until = self.now + time;
        let mut said = Vec::new();
        while let Some((at, _)) = self.peer.poll_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            said.extend(self.give(Input::TimerFired));
        }
        self.now = until;
        said
    }

    /// It is the guardian of the task.
    fn guardian() -> Self {
        let mut solo = Self::new();
        assert_eq!(solo.hear(HOME, guard(ours(), Duration::ZERO)), guarded(None));
        solo
    }

    /// It is the home of the task, which has run and is to end; the guardian's id, the term, and what it said last.
    fn home() -> (Self, u8, u64, Vec<(u8, Counsel)>) {
        let mut solo = Self::new();
        let mut spec = TaskSpec::of_module(BlobId([9; 32]), 1);
        spec.policy.local_only = true;
        let keeping = Keeping { durability: Durability::Guarded, retention: SPAN };
        let said = solo.give(Input::Submitted { task: TASK, name: String::new(), spec: Box::new(spec), keeping });
        let [(guardian, Counsel::Guard(guard))] = said.as_slice() else { panic!("{said:?}") };
        let (guardian, term) = (*guardian, guard.council.term);
        let case = Case { task: TASK, term };
        let said = solo.hear(guardian, Counsel::Guarded(Guarded { case, refusal: None }));
        assert_eq!(solo.runs, 1);
        (solo, guardian, term, said)
    }
}

fn finished(attempt: TaskRef) -> Input {
    let output = Payload::inline(b"done".to_vec());
    let report = RunReport { output, ..RunReport::without_run(Ending::Exited(0)) };
    Input::Finished { attempt, report }
}

fn guard(council: Council, age: Duration) -> Counsel {
    let keeping = Keeping { durability: Durability::Guarded, retention: SPAN };
    let spec = TaskSpec::of_module(BlobId([9; 32]), 1);
    Counsel::Guard(Box::new(Guard { task: TASK, council, name: String::new(), spec, keeping, age }))
}

fn guarded(refusal: Option<&str>) -> Vec<(u8, Counsel)> {
    vec![(HOME, Counsel::Guarded(Guarded { case: case(), refusal: refusal.map(str::to_owned) }))]
}

fn prepare(ballot: Ballot, leader_gave_up: bool) -> Counsel {
    Counsel::Prepare(Prepare {
        task: TASK,
        council: ours(),
        ballot,
        expires_in: SPAN,
        leader_gave_up,
        age: Duration::ZERO,
    })
}

fn propose(ballot: Ballot, resolution: Resolution) -> Counsel {
    let vote = Vote { ballot, resolution };
    Counsel::Propose(Box::new(Propose { task: TASK, council: ours(), vote, expires_in: SPAN, age: Duration::ZERO }))
}

fn kinds(said: &[(u8, Counsel)]) -> Vec<(u8, &'static str)> {
    said.iter().map(|(to, counsel)| (*to, counsel.kind())).collect()
}

fn refusal(said: &[(u8, Counsel)]) -> (Ballot, bool) {
    match said {
        [(_, Counsel::Refused(refused))] => (refused.promised, refused.leader_is_here),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_number_of_copies_says_how_a_task_is_kept() {
    let kept = [0, 1, 2, 3].map(Durability::of_copies);

    assert_eq!(kept, [Some(Durability::Memory), Some(Durability::Disk), Some(Durability::Guarded), None]);
}

// ── Copies ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_copy_is_taken_from_a_home_whose_guardian_this_is_and_from_nobody_else() {
    let why = |council: Council, from: u8| {
        let said = Solo::new().hear(from, guard(council, Duration::ZERO));
        match said.as_slice() {
            [(to, Counsel::Guarded(guarded))] if *to == from => guarded.refusal.clone(),
            other => panic!("{other:?}"),
        }
    };
    let not_ours = Some("it is not of that council".to_owned());

    assert_eq!(why(ours(), HOME), None);
    assert_eq!(why(council(TERM, [HOME, WITNESS, ME]), HOME), not_ours, "a witness keeps no copy");
    assert_eq!(why(council(TERM, [STRANGER, ME, WITNESS]), HOME), not_ours, "the home says it itself");
    assert_eq!(why(council(TERM, [HOME, ME, HOME]), HOME), not_ours, "nobody has two votes");
    let alone = Council { members: ours().members[..2].to_vec(), ..ours() };
    assert_eq!(why(alone, HOME), not_ours, "two cannot decide without each other");
    assert_eq!(why(council(TERM, [ME, HOME, WITNESS]), HOME), None, "a guardian gives a home its task back");
}

#[test]
fn a_store_younger_than_a_task_takes_no_copy_of_it_unless_it_has_one() {
    let too_young = "its store is younger than the task, and may have lost what it said of it";

    assert_eq!(Solo::new().hear(HOME, guard(ours(), SPAN)), guarded(Some(too_young)));
    assert_eq!(Solo::guardian().hear(HOME, guard(ours(), SPAN)), guarded(None), "it knows what it said");
}

#[test]
fn a_copy_of_another_submission_is_taken_only_when_it_is_a_later_one() {
    let mut solo = Solo::guardian();
    let later = |term| guard(council(term, [HOME, ME, WITNESS]), Duration::ZERO);

    let said = solo.hear(HOME, later(TERM - 1));
    assert!(matches!(&said[..], [(HOME, Counsel::Guarded(Guarded { refusal: Some(_), .. }))]), "{said:?}");
    let said = solo.hear(HOME, later(TERM + 1));
    assert!(matches!(&said[..], [(HOME, Counsel::Guarded(Guarded { refusal: None, .. }))]), "{said:?}");
}

// ── Promises ────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn nobody_follows_a_leader_that_is_here_unless_it_gave_up() {
    let mut solo = Solo::guardian();

    assert_eq!(refusal(&solo.hear(WITNESS, prepare(ballot(1, WITNESS), false))), (ballot(0, HOME), true));
    assert_eq!(kinds(&solo.hear(WITNESS, prepare(ballot(1, WITNESS), true))), [(WITNESS, "promised")]);
}

#[test]
fn a_bid_is_for_oneself() {
    let mut solo = Solo::guardian();

    assert_eq!(solo.hear(WITNESS, prepare(ballot(1, HOME), true)), []);
    assert_eq!(solo.hear(STRANGER, prepare(ballot(1, STRANGER), true)), [], "who has no seat has no say");
}

#[test]
fn a_promise_binds_and_can_be_had_again() {
    let mut solo = Solo::guardian();
    solo.give(Input::Disconnected { peer: id(HOME) });
    let promised = |accepted| {
        let promised = Promised { case: case(), ballot: ballot(5, WITNESS), accepted };
        [(WITNESS, Counsel::Promised(Box::new(promised)))]
    };

    assert_eq!(solo.hear(WITNESS, prepare(ballot(5, WITNESS), false)), promised(None));
    assert_eq!(solo.hear(WITNESS, prepare(ballot(5, WITNESS), false)), promised(None), "the answer was lost");
    assert_eq!(refusal(&solo.hear(WITNESS, prepare(ballot(4, WITNESS), false))), (ballot(5, WITNESS), false));
    assert_eq!(refusal(&solo.hear(HOME, propose(ballot(0, HOME), end(1)))), (ballot(5, WITNESS), true));
    let voted = [(WITNESS, Counsel::Accepted(Voted { case: case(), ballot: ballot(5, WITNESS) }))];
    assert_eq!(solo.hear(WITNESS, propose(ballot(5, WITNESS), end(2))), voted);
    let vote = Vote { ballot: ballot(5, WITNESS), resolution: end(2) };
    assert_eq!(
        solo.hear(WITNESS, prepare(ballot(5, WITNESS), false)),
        promised(Some(vote)),
        "what was accepted is told"
    );
}

#[test]
fn a_vote_is_asked_for_by_the_owner_of_the_ballot() {
    let mut solo = Solo::guardian();

    assert_eq!(solo.hear(WITNESS, propose(ballot(0, HOME), end(1))), []);
    assert_eq!(solo.hear(STRANGER, propose(ballot(9, STRANGER), end(1))), []);
    assert_eq!(kinds(&solo.hear(HOME, propose(ballot(0, HOME), end(1)))), [(HOME, "vote")]);
}

#[test]
fn a_witness_hears_of_a_task_when_it_is_asked_and_not_if_it_may_have_forgotten() {
    let witness = |age| {
        let council = council(TERM, [HOME, WITNESS, ME]);
        let vote = Vote { ballot: ballot(0, HOME), resolution: end(1) };
        let propose = Propose { task: TASK, council, vote, expires_in: SPAN, age };
        kinds(&Solo::new().hear(HOME, Counsel::Propose(Box::new(propose))))
    };

    assert_eq!(witness(Duration::ZERO), [(HOME, "vote")]);
    assert_eq!(witness(SPAN), []);
}

#[test]
fn a_later_council_takes_the_place_of_an_earlier_one_and_not_the_other_way() {
    let bid = |term| {
        let council = council(term, [HOME, ME, WITNESS]);
        let ballot = ballot(1, WITNESS);
        Counsel::Prepare(Prepare {
            task: TASK,
            council,
            ballot,
            expires_in: SPAN,
            leader_gave_up: true,
            age: Duration::ZERO,
        })
    };
    let mut solo = Solo::guardian();

    assert_eq!(solo.hear(WITNESS, bid(TERM - 1)), []);
    assert_eq!(kinds(&solo.hear(WITNESS, bid(TERM + 1))), [(WITNESS, "promised")]);
    assert_eq!(solo.hear(WITNESS, bid(TERM)), [], "the earlier one is no more");
}

// ── Ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────

fn resolved(term: u64, resolution: Option<Resolution>) -> Counsel {
    let case = Case { task: TASK, term };
    Counsel::Resolved(Box::new(Resolved { case, ballot: ballot(0, HOME), resolution }))
}

#[test]
fn an_end_is_remembered_and_told_to_who_would_decide_anew() {
    let mut solo = Solo::guardian();
    let known = [(HOME, Counsel::Known(case()))];

    assert_eq!(solo.hear(STRANGER, resolved(TERM, Some(end(1)))), [], "a stranger ends nothing");
    assert_eq!(solo.hear(HOME, resolved(TERM + 1, Some(end(1)))), []);
    assert_eq!(kinds(&solo.hear(HOME, resolved(TERM, None))), [(HOME, "inquire")], "it does not know what was decided");
    assert_eq!(solo.hear(HOME, resolved(TERM, Some(end(1)))), known);
    assert_eq!(solo.hear(HOME, resolved(TERM, Some(end(1)))), known, "the answer was lost");
    assert_eq!(kinds(&solo.hear(WITNESS, prepare(ballot(9, WITNESS), true))), [(WITNESS, "resolved")]);
    assert_eq!(kinds(&solo.hear(WITNESS, propose(ballot(9, WITNESS), end(2)))), [(WITNESS, "resolved")]);
    assert_eq!(kinds(&solo.hear(HOME, guard(ours(), Duration::ZERO))), [(HOME, "resolved")]);
    assert_eq!(kinds(&solo.hear(HOME, Counsel::Inquire(vec![case()]))), [(HOME, "resolved")]);
}

#[test]
fn an_end_that_was_voted_for_need_not_be_said_again_if_it_was_this_vote() {
    let mut solo = Solo::guardian();
    solo.hear(HOME, propose(ballot(0, HOME), end(1)));
    assert_eq!(solo.hear(HOME, resolved(TERM, None)), [(HOME, Counsel::Known(case()))]);

    let mut solo = Solo::guardian();
    solo.hear(WITNESS, prepare(ballot(1, WITNESS), true));
    solo.hear(WITNESS, propose(ballot(1, WITNESS), end(2)));
    assert_eq!(kinds(&solo.hear(HOME, resolved(TERM, None))), [(HOME, "inquire")], "in another ballot");
}

#[test]
fn what_is_unknown_is_over_and_who_asks_is_told_that_nothing_was_promised() {
    let mut solo = Solo::new();

    assert_eq!(solo.hear(HOME, resolved(TERM, Some(end(1)))), [(HOME, Counsel::Known(case()))]);
    let standing = Standing { case: case(), ballot: ballot(0, HOME), holds: false, leads: false };
    assert_eq!(solo.hear(HOME, Counsel::Inquire(vec![case()])), [(HOME, Counsel::Standing(standing))]);
}

#[test]
fn who_comes_back_is_told_who_leads() {
    let mut solo = Solo::guardian();
    let standing = |ballot| Counsel::Standing(Standing { case: case(), ballot, holds: true, leads: false });

    assert_eq!(solo.hear(HOME, Counsel::Inquire(vec![case()])), [(HOME, standing(ballot(0, HOME)))]);
    solo.hear(WITNESS, prepare(ballot(3, WITNESS), true));
    assert_eq!(solo.hear(HOME, Counsel::Inquire(vec![case()])), [(HOME, standing(ballot(3, WITNESS)))]);
    assert_eq!(solo.hear(STRANGER, Counsel::Inquire(vec![case()])), []);
    assert_eq!(solo.hear(HOME, Counsel::Inquire(vec![Case { term: TERM + 1, ..case() }])), []);
}

// ── Leading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_task_ends_with_the_vote_of_another_member_for_this_end_and_no_other_word() {
    let (mut solo, guardian, term, said) = Solo::home();
    assert_eq!(kinds(&said), [(guardian, "propose")], "those with copies first");
    let vote = |term, round| {
        let case = Case { task: TASK, term };
        Counsel::Accepted(Voted { case, ballot: ballot(round, ME) })
    };
    let nobody = (1..=4).find(|n| ![ME, guardian].contains(n) && !solo.peer.council_of(TASK).contains(&id(*n)));

    solo.hear(guardian, vote(term + 1, 0));
    solo.hear(guardian, vote(term, 1));
    solo.hear(nobody.unwrap(), vote(term, 0));
    assert_eq!(solo.ended, []);
    let said = solo.hear(guardian, vote(term, 0));

    assert_eq!(solo.ended, [TASK]);
    let mut told: Vec<u8> = said.iter().filter(|(_, it)| it.kind() == "resolved").map(|(to, _)| *to).collect();
    told.sort_unstable();
    assert_eq!(told.len(), 2, "both others are told: {said:?}");
}

#[test]
fn the_witness_is_asked_when_the_guardian_is_not_here() {
    let (mut solo, guardian, _, _) = Solo::home();
    solo.give(Input::Disconnected { peer: id(guardian) });

    let said = solo.pass(Duration::from_secs(3));

    let asked: Vec<u8> = said.iter().filter(|(_, it)| it.kind() == "propose").map(|(to, _)| *to).collect();
    assert!(asked.iter().any(|to| *to != guardian), "{:?}", kinds(&said));
}

#[test]
fn a_home_that_is_outbid_leads_no_more() {
    let (mut solo, guardian, term, _) = Solo::home();
    let refused = |promised| {
        let case = Case { task: TASK, term };
        Counsel::Refused(crate::task::durable::Refused { case, promised, leader_is_here: true })
    };

    solo.hear(guardian, refused(ballot(0, ME)));
    let leads = |solo: &mut Solo| {
        let said = solo.hear(guardian, Counsel::Inquire(vec![Case { task: TASK, term }]));
        matches!(said.as_slice(), [(_, Counsel::Standing(standing))] if standing.leads)
    };
    assert!(leads(&mut solo), "its own ballot is no reason");
    solo.hear(guardian, refused(ballot(2, guardian)));
    assert!(!leads(&mut solo));
    let case = Case { task: TASK, term };
    solo.hear(guardian, Counsel::Accepted(Voted { case, ballot: ballot(0, ME) }));
    assert_eq!(solo.ended, [], "a vote that comes late is none");
}

#[test]
fn a_guardian_leads_with_the_promise_of_another_member_for_its_bid_and_no_other_word() {
    let mut solo = Solo::guardian();
    solo.give(Input::Disconnected { peer: id(HOME) });
    let said = solo.pass(Duration::from_secs(6));
    let bids: Vec<Ballot> = said
        .iter()
        .filter_map(|(to, counsel)| match counsel {
            Counsel::Prepare(prepare) if *to == WITNESS => Some(prepare.ballot),
            _ => None,
        })
        .collect();
    assert_eq!(bids.first(), Some(&ballot(1, ME)), "{:?}", kinds(&said));
    let promise = |term, ballot| {
        let case = Case { task: TASK, term };
        Counsel::Promised(Box::new(Promised { case, ballot, accepted: None }))
    };

    solo.hear(WITNESS, promise(TERM + 1, ballot(1, ME)));
    solo.hear(WITNESS, promise(TERM, ballot(2, ME)));
    solo.hear(STRANGER, promise(TERM, ballot(1, ME)));
    assert_eq!(solo.runs, 0);
    let said = solo.hear(WITNESS, promise(TERM, ballot(1, ME)));

    assert_eq!(solo.runs, 1, "it has the task run: {:?}", kinds(&said));
    assert_eq!(solo.peer.counters().iter().find(|(name, _)| *name == "takeovers").map(|(_, count)| *count), Some(1));
}

#[test]
fn a_guardian_that_follows_proposes_what_the_witness_had_accepted() {
    let mut solo = Solo::guardian();
    solo.give(Input::Disconnected { peer: id(HOME) });
    solo.pass(Duration::from_secs(6));
    let accepted = Some(Vote { ballot: ballot(0, HOME), resolution: end(3) });
    let promised = Promised { case: case(), ballot: ballot(1, ME), accepted };

    let said = solo.hear(WITNESS, Counsel::Promised(Box::new(promised)));

    assert_eq!(solo.runs, 0, "it may have ended already");
    let proposed: Vec<_> = said
        .iter()
        .filter_map(|(_, counsel)| match counsel {
            Counsel::Propose(propose) => Some(propose.vote.clone()),
            _ => None,
        })
        .collect();
    assert!(!proposed.is_empty() && proposed.iter().all(|vote| vote.resolution == end(3)), "{proposed:?}");
}

#[test]
fn only_the_home_of_a_task_withdraws_it_from_who_leads_it() {
    let mut solo = Solo::guardian();
    solo.give(Input::Disconnected { peer: id(HOME) });
    solo.pass(Duration::from_secs(6));

    assert_eq!(solo.hear(WITNESS, Counsel::Withdraw(case())), []);
    assert_eq!(solo.hear(HOME, Counsel::Withdraw(case())), [], "it does not lead yet");
}

#[test]
fn a_home_answers_for_what_it_has_taken_or_refused_and_nobody_else_does() {
    let (home, ..) = Solo::home();
    assert!(home.peer.answers_for(TASK));
    assert!(!home.peer.answers_for(TaskId([8; 16])), "what it never heard of");
    assert!(!Solo::new().peer.answers_for(TASK));

    let mut refusing = Solo::new();
    let spec = TaskSpec::of_module(BlobId([9; 32]), 1);
    let keeping = Keeping { durability: Durability::Guarded, retention: SPAN };
    let said = refusing.give(Input::Submitted { task: TASK, name: String::new(), spec: Box::new(spec), keeping });
    let [(guardian, Counsel::Guard(guard))] = said.as_slice() else { panic!("{said:?}") };
    let case = Case { task: TASK, term: guard.council.term };
    refusing.hear(*guardian, Counsel::Guarded(Guarded { case, refusal: Some("no room".into()) }));
    assert_eq!(refusing.ended, [TASK], "its user hears of it");
    assert!(refusing.peer.answers_for(TASK), "it winds the refusal up");
    refusing.hear(*guardian, Counsel::Accepted(Voted { case, ballot: ballot(0, ME) }));
    assert!(refusing.peer.answers_for(TASK), "and remembers it");
}

#[test]
fn a_peer_without_a_store_sits_on_no_council() {
    let labels = BTreeMap::new();
    let member = Member { peer: id(ME), name: "x".into(), role: Role::Edge, labels };
    let peer = Peer::new(member, PeerConfig::default(), 7, Time::ZERO);
    let mut solo = Solo { peer, now: Time::ZERO, ended: Vec::new(), runs: 0 };

    assert_eq!(solo.hear(HOME, guard(ours(), Duration::ZERO)), guarded(Some("it has no store")));
    assert_eq!(solo.hear(WITNESS, prepare(ballot(1, WITNESS), true)), []);
}
