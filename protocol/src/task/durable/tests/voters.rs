//! What members answer in corners that whole stories seldom reach.

use super::super::*;
use super::desk::*;
use crate::id::BlobId;
use crate::message::TaskRef;
use crate::task::spec::{BlobRef, Payload};

const AS_HOME: [u8; 3] = [ME, OTHER, THIRD];
const AS_GUARDIAN: [u8; 3] = [OTHER, ME, THIRD];
const AS_WITNESS: [u8; 3] = [OTHER, THIRD, ME];

fn blob() -> BlobRef {
    BlobRef { id: BlobId([5; 32]), bytes: 1 << 20, holder: id(THIRD) }
}

fn propose(members: [u8; 3], ballot: Ballot, resolution: Resolution) -> Counsel {
    let vote = Vote { ballot, resolution };
    let (expires_in, age) = (Duration::from_secs(60), Duration::ZERO);
    Counsel::Propose(Box::new(Propose { task: TASK, council: council(&members), vote, expires_in, age }))
}

fn prepare(members: [u8; 3], ballot: Ballot, leader_gave_up: bool) -> Counsel {
    let (expires_in, age) = (Duration::from_secs(60), Duration::ZERO);
    Counsel::Prepare(Prepare { task: TASK, council: council(&members), ballot, expires_in, leader_gave_up, age })
}

fn fetches(desk: &mut Desk) -> Vec<Vec<BlobRef>> {
    let fetch = |output: Output| match output {
        Output::Fetch { attempt, blobs } => {
            assert_eq!(attempt, TaskRef { task: TASK, epoch: FETCH_EPOCH });
            Some(blobs)
        }
        _ => None,
    };
    core::mem::take(&mut desk.ordered).into_iter().filter_map(fetch).collect()
}

fn fetched(desk: &mut Desk, result: Result<(), &str>) -> Vec<(u8, &'static str)> {
    let result = result.map_err(str::to_owned);
    let attempt = TaskRef { task: TASK, epoch: FETCH_EPOCH };
    let said = desk.act(|durable, lent| assert!(durable.fetched(attempt, &result, lent)));
    said.iter().map(|(to, counsel)| (*to, counsel.kind())).collect()
}

#[test]
fn a_guardian_votes_for_a_large_output_when_it_has_it() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    let large = || success(Payload::Blob(blob()), 0);

    assert_eq!(desk.kinds(THIRD, propose(AS_GUARDIAN, ballot(1, THIRD), large())), []);
    assert_eq!(fetches(&mut desk), [[blob()]]);
    assert_eq!(fetched(&mut desk, Err("gone")), [], "a vote for what is not here would say too much");
    desk.hear(THIRD, propose(AS_GUARDIAN, ballot(1, THIRD), large()));
    assert_eq!(fetched(&mut desk, Ok(())), [(THIRD, "vote")]);
}

#[test]
fn a_witness_votes_for_a_large_output_that_it_does_not_have() {
    let mut desk = Desk::with(&AS_WITNESS, Stage::Idle);

    let said = desk.kinds(OTHER, propose(AS_WITNESS, ballot(0, OTHER), success(Payload::Blob(blob()), 0)));

    assert_eq!((said, fetches(&mut desk).len()), (vec![(OTHER, "vote")], 0));
}

#[test]
fn a_proposal_below_a_promise_is_refused_without_fetching_its_output() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.kept().acceptor.promised = ballot(4, THIRD);

    let said = desk.kinds(OTHER, propose(AS_GUARDIAN, ballot(0, OTHER), success(Payload::Blob(blob()), 0)));

    assert_eq!((said, fetches(&mut desk).len()), (vec![(OTHER, "refused")], 0));
}

#[test]
fn a_fetch_for_an_attempt_is_none_of_ours() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    let attempt = TaskRef { task: TASK, epoch: FETCH_EPOCH + 1 };

    desk.act(|durable, lent| assert!(!durable.fetched(attempt, &Ok(()), lent)));
}

#[test]
fn a_leader_that_votes_for_another_leads_no_more() {
    let mut desk = Desk::with(&AS_HOME, Stage::Leading);

    assert_eq!(desk.kinds(OTHER, propose(AS_HOME, ballot(1, OTHER), end(2))), [(OTHER, "vote")]);
    assert_eq!((desk.happened(), desk.is_idle()), (vec!["deposed"], true));

    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[]));
    assert_eq!(desk.kinds(ME, propose(AS_HOME, ballot(0, ME), end(1))), [(ME, "vote")]);
    assert_eq!(desk.happened(), Vec::<&str>::new(), "a vote for oneself deposes nobody");
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.hear(THIRD, propose(AS_GUARDIAN, ballot(1, THIRD), end(2)));
    assert_eq!(desk.happened(), Vec::<&str>::new(), "it did not lead");
}

#[test]
fn the_vote_of_a_council_of_one_is_the_end() {
    let mut desk = Desk::with(&[ME], proposing(ballot(0, ME), &[]));
    let vote = Vote { ballot: ballot(0, ME), resolution: end(1) };
    let (expires_in, age) = (Duration::from_secs(60), Duration::ZERO);
    let propose = Propose { task: TASK, council: council(&[ME]), vote, expires_in, age };

    assert_eq!(desk.kinds(ME, Counsel::Propose(Box::new(propose))), [(ME, "vote")]);
    assert!(desk.kept().resolved);
    assert_eq!(desk.written.last().map(Vec::len), Some(2), "its council, and its input goes");

    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.hear(OTHER, propose_of_guardian());
    assert!(!desk.kept().resolved, "of three, one does not decide");
    assert_eq!(desk.written.last().map(Vec::len), Some(1));
}

fn propose_of_guardian() -> Counsel {
    propose(AS_GUARDIAN, ballot(0, OTHER), end(1))
}

#[test]
fn a_vote_for_what_is_decided_already_is_given_again_and_for_nothing_else() {
    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[]));
    desk.kept().acceptor.accepted = Some(Vote { ballot: ballot(0, ME), resolution: end(1) });
    desk.kept().resolved = true;

    assert_eq!(desk.kinds(ME, propose(AS_HOME, ballot(0, ME), end(1))), [(ME, "vote")]);
    assert_eq!(desk.kinds(ME, propose(AS_HOME, ballot(5, ME), end(2))), []);
}

#[test]
fn a_leader_does_not_promise_what_it_leads_and_follows_when_it_does_not() {
    let answer = |members: [u8; 3], stage: Stage, gave_up: bool, leader_gone: bool| {
        let mut desk = Desk::with(&members, stage);
        if leader_gone {
            desk.gone.insert(id(OTHER));
        }
        desk.kinds(THIRD, prepare(members, ballot(1, THIRD), gave_up))
    };

    assert_eq!(answer(AS_HOME, Stage::Leading, false, false), [(THIRD, "refused")]);
    assert_eq!(answer(AS_HOME, Stage::Leading, true, false), [(THIRD, "refused")], "it knows better");
    assert_eq!(answer(AS_HOME, Stage::Idle, false, false), [(THIRD, "promised")]);
    assert_eq!(answer(AS_GUARDIAN, Stage::Idle, false, false), [(THIRD, "refused")]);
    assert_eq!(answer(AS_GUARDIAN, Stage::Idle, true, false), [(THIRD, "promised")]);
    assert_eq!(answer(AS_GUARDIAN, Stage::Idle, false, true), [(THIRD, "promised")]);
}

/// Whoever bids has found its leader wanting: its own word to itself is not weighed against that.
#[test]
fn a_bid_of_ones_own_is_promised_though_the_leader_is_here() {
    let mut desk = Desk::with(&AS_GUARDIAN, preparing(ballot(1, ME)));
    assert_eq!(desk.kinds(ME, prepare(AS_GUARDIAN, ballot(1, ME), false)), [(ME, "promised")]);

    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    assert_eq!(
        desk.kinds(OTHER, prepare(AS_GUARDIAN, ballot(1, OTHER), false)),
        [(OTHER, "promised")],
        "it leads anyway"
    );
}

#[test]
fn a_member_of_a_damaged_record_says_nothing() {
    let mut desk = Desk::new();
    desk.durable.damaged.insert(TASK, "torn".into());

    assert_eq!(desk.hear(OTHER, prepare(AS_WITNESS, ballot(1, OTHER), true)), []);
    assert_eq!(desk.hear(OTHER, propose(AS_WITNESS, ballot(0, OTHER), end(1))), []);
    assert_eq!(desk.durable.kept.len(), 0);
}

#[test]
fn a_witness_remembers_a_task_as_long_as_it_is_told_to() {
    let mut desk = Desk::new();

    desk.hear(OTHER, propose(AS_WITNESS, ballot(0, OTHER), end(1)));

    assert_eq!((desk.kept().until, desk.kept().bytes), (at(61_000), 0));
    assert!(desk.durable.shared.contains(&TASK));
}

#[test]
fn a_leader_does_not_make_way_for_a_later_council() {
    let later = |stage: Stage| {
        let mut desk = Desk::with(&AS_HOME, stage);
        let council = Council { term: TERM + 1, ..council(&AS_HOME) };
        let (expires_in, age) = (Duration::from_secs(60), Duration::ZERO);
        let ballot = ballot(1, OTHER);
        let prepare = Prepare { task: TASK, council, ballot, expires_in, leader_gave_up: true, age };
        desk.hear(OTHER, Counsel::Prepare(prepare));
        desk.kept().council.term
    };

    assert_eq!([later(Stage::Leading), later(Stage::Idle)], [TERM, TERM + 1]);
}

#[test]
fn an_end_with_a_large_output_is_fetched_by_who_keeps_it() {
    let resolved = || {
        let (ballot, resolution) = (ballot(0, OTHER), Some(success(Payload::Blob(blob()), 0)));
        Counsel::Resolved(Box::new(Resolved { case: case(), ballot, resolution }))
    };
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    assert_eq!(desk.kinds(OTHER, resolved()), [(OTHER, "known")]);
    assert_eq!(fetches(&mut desk), [[BlobRef { holder: id(OTHER), ..blob() }]]);
    assert_eq!((desk.happened(), desk.durable.shared.len()), (vec!["resolved"], 0));

    let mut witness = Desk::with(&AS_WITNESS, Stage::Idle);
    witness.kept().retention = Duration::ZERO;
    assert_eq!(witness.kinds(OTHER, resolved()), [(OTHER, "known")]);
    assert_eq!(fetches(&mut witness).len(), 0);
}

// ── Copies ──────────────────────────────────────────────────────────────────────────────────────────────────────────

fn guard(members: [u8; 3], term: u64, age: Duration) -> Counsel {
    let KeptTask { name, spec, keeping, .. } = copy();
    let council = Council { term, ..council(&members) };
    Counsel::Guard(Box::new(Guard { task: TASK, council, name, spec, keeping, age }))
}

#[test]
fn a_new_copy_is_kept_for_what_is_left_of_its_time() {
    let mut desk = Desk::new();
    desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::from_secs(10)));
    assert_eq!(fetched(&mut desk, Ok(())), [(OTHER, "guarded")]);

    let kept = desk.kept();
    assert_eq!((kept.until, kept.retention, kept.bytes), (at(10_791_000), Duration::from_secs(3_600), 100));
    assert_eq!(kept.age(at(3_000)), Duration::from_secs(12), "ten then, and two since");
    assert_eq!(desk.written.last().map(Vec::len), Some(3), "task, input and council");
}

#[test]
fn a_copy_whose_module_cannot_be_had_is_none() {
    let mut desk = Desk::new();
    desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
    desk.ordered.clear();

    assert_eq!(fetched(&mut desk, Err("gone")), [(OTHER, "guarded")]);

    assert_eq!((desk.durable.kept.len(), &desk.ordered[..]), (0, &[Output::Forget { task: TASK }][..]));
}

#[test]
fn a_copy_that_cannot_be_written_leaves_what_was_there() {
    let fails = |mut desk: Desk| {
        desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
        desk.writes = false;
        assert_eq!(fetched(&mut desk, Ok(())), [(OTHER, "guarded")]);
        desk.durable.kept.len()
    };

    assert_eq!(fails(Desk::new()), 0);
    assert_eq!(fails(Desk::with(&AS_GUARDIAN, Stage::Idle)), 1, "and any promise stands");
}

#[test]
fn a_copy_of_what_has_ended_is_answered_with_its_end() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.kept().acceptor.accepted = Some(Vote { ballot: ballot(0, OTHER), resolution: end(1) });
    desk.kept().resolved = true;

    assert_eq!(desk.kinds(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO)), [(OTHER, "resolved")]);
    assert_eq!(desk.kinds(OTHER, guard(AS_GUARDIAN, TERM - 1, Duration::ZERO)), [(OTHER, "guarded")]);
    desk.hear(OTHER, guard(AS_GUARDIAN, TERM + 1, Duration::ZERO));
    assert!(fetches(&mut desk).len() == 1 && desk.durable.kept.is_empty(), "a later submission takes its place");
}

#[test]
fn whoever_leads_takes_no_copy() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Leading);

    let said = desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));

    assert!(matches!(&said[..], [(OTHER, Counsel::Guarded(Guarded { refusal: Some(_), .. }))]), "{said:?}");
}

#[test]
fn a_guardian_without_room_says_so() {
    let refused = |desk: &mut Desk| {
        let said = desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
        matches!(&said[..], [(OTHER, Counsel::Guarded(Guarded { refusal: Some(_), .. }))])
    };
    let mut desk = Desk::new();
    desk.durable.bytes = KEPT_BYTES_MAX - 99;
    assert!(refused(&mut desk));

    desk.durable.bytes -= 1;
    assert!(!refused(&mut desk));
}
