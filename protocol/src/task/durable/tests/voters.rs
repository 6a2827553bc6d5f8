//! What members answer in corners that whole stories seldom reach.

use super::super::*;
use super::desk::*;
use crate::id::BlobId;
use crate::message::TaskRef;
use crate::output::TaskError;
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
            assert_eq!(desk.durable.fetching.get(&TASK).map(|it| it.attempt), Some(attempt), "the last");
            Some(blobs)
        }
        _ => None,
    };
    core::mem::take(&mut desk.ordered).into_iter().filter_map(fetch).collect()
}

fn fetched(desk: &mut Desk, result: Result<(), &str>) -> Vec<(u8, &'static str)> {
    let result = result.map_err(str::to_owned);
    let attempt = desk.durable.fetching.get(&TASK).expect("something is fetched").attempt;
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
    let attempt = TaskRef { task: TASK, epoch: 1 };

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
    assert_eq!(desk.kinds(OTHER, resolved()), [], "the end is here, and its output is not");
    assert_eq!(fetches(&mut desk), [[BlobRef { holder: id(OTHER), ..blob() }]]);
    assert_eq!((desk.happened(), desk.durable.shared.len()), (vec!["resolved"], 0));
    assert_eq!(fetched(&mut desk, Err("gone")), []);
    assert_eq!(desk.kinds(OTHER, resolved()), []);
    assert_eq!(fetches(&mut desk).len(), 1, "it is fetched again when it is told again");
    assert_eq!(fetched(&mut desk, Ok(())), [(OTHER, "known")]);

    let mut witness = Desk::with(&AS_WITNESS, Stage::Idle);
    witness.kept().retention = Duration::ZERO;
    assert_eq!(witness.kinds(OTHER, resolved()), [(OTHER, "known")]);
    assert_eq!(fetches(&mut witness).len(), 0);
}

#[test]
fn an_end_that_could_not_be_written_is_not_said_to_be_known() {
    let resolved =
        || Counsel::Resolved(Box::new(Resolved { case: case(), ballot: ballot(0, OTHER), resolution: Some(end(1)) }));
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.writes = false;

    assert_eq!(desk.kinds(OTHER, resolved()), []);
    assert_eq!(desk.kinds(OTHER, resolved()), [], "it is in memory, where it may be lost");
    desk.writes = true;
    assert_eq!(desk.kinds(OTHER, resolved()), [(OTHER, "known")]);
}

#[test]
fn a_home_votes_for_a_large_output_of_its_own_when_that_is_on_its_disk() {
    let mine = BlobRef { holder: id(ME), ..blob() };
    let vote = || propose(AS_HOME, ballot(0, ME), success(Payload::Blob(mine), 0));
    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[]));

    assert_eq!(desk.kinds(ME, vote()), []);
    assert_eq!(fetches(&mut desk), [[mine]]);
    assert_eq!(fetched(&mut desk, Ok(())), [(ME, "vote")]);
    fetches(&mut desk);
    assert_eq!(desk.kinds(ME, vote()), [(ME, "vote")], "it is there already");

    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[]));
    let elsewhere = propose(AS_HOME, ballot(0, ME), success(Payload::Blob(blob()), 0));
    assert_eq!(desk.kinds(ME, elsewhere), [(ME, "vote")], "one that stays where it was made");
}

/// By a later ballot it may be what was decided already, and others that have the output vote for it.
#[test]
fn a_home_whose_output_is_lost_ends_the_task_without_it() {
    let mine = BlobRef { holder: id(ME), ..blob() };
    for (round, is_free) in [(0, true), (3, false)] {
        let vote = Vote { ballot: ballot(round, ME), resolution: success(Payload::Blob(mine), 0) };
        let stage = Stage::Proposing { vote: Box::new(vote.clone()), votes: BTreeSet::new() };
        let mut desk = Desk::with(&AS_HOME, stage);
        desk.hear(ME, propose(AS_HOME, vote.ballot, vote.resolution));

        assert_eq!(fetched(&mut desk, Err("it cannot be synced")), [], "it may be synced in a while");
        desk.kept().repeats = 4;
        let again = propose(AS_HOME, ballot(round, ME), success(Payload::Blob(mine), 0));
        desk.hear(ME, again);

        let said = fetched(&mut desk, Err("it cannot be synced"));

        let Stage::Proposing { vote, .. } = &desk.kept().stage else { panic!("it proposes") };
        let lost = |error: &TaskError| error.to_string().contains("its output is lost: it cannot be synced");
        assert_eq!(vote.resolution.result.as_ref().is_err_and(lost), is_free);
        assert_eq!(said.len(), usize::from(is_free), "its own vote comes first: {said:?}");
    }
}

#[test]
fn votes_count_for_what_they_take() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    let before = desk.durable.bytes;

    desk.hear(OTHER, propose(AS_GUARDIAN, ballot(0, OTHER), success(Payload::inline(vec![1; 700]), 300)));
    assert_eq!((desk.kept().bytes, desk.durable.bytes), (1_000, before + 900));
    desk.hear(OTHER, propose(AS_GUARDIAN, ballot(0, OTHER), end(1)));
    assert_eq!((desk.kept().bytes, desk.durable.bytes), (1_000, before + 900), "what it counted for at most");
}

#[test]
fn a_witness_remembers_nothing_for_ever() {
    let mut desk = Desk::new();
    let mut bid = prepare(AS_WITNESS, ballot(1, OTHER), false);
    if let Counsel::Prepare(prepare) = &mut bid {
        prepare.expires_in = Duration::from_secs(365 * 86_400);
    }
    desk.hear(OTHER, bid);

    let now = desk.now;
    assert_eq!(desk.kept().until, now + REMEMBERED_MAX);
}

// ── Who starts anew ─────────────────────────────────────────────────────────────────────────────────────────────────

/// A guardian that bid for the lead of a task, and a process later.
fn begun_anew(promised: Ballot, accepted: Option<Vote>) -> Desk {
    let mut before = Desk::with(&AS_GUARDIAN, Stage::Idle);
    (before.kept().acceptor.promised, before.kept().acceptor.accepted) = (promised, accepted);
    let council = before.durable.council_change(TASK, before.now).expect("it is kept");
    let task = record::put_task(TASK, &copy(), 1_700_000_000_000);
    let records = [task, council].into_iter().filter_map(|change| match change {
        crate::store::Change::Put { key, bytes } => Some((key, bytes)),
        crate::store::Change::Delete { .. } => None,
    });
    let records = records.collect::<Vec<_>>();
    let mut after = Desk { durable: Durable::new(id(ME)), ..Desk::new() };
    after.act(|durable, lent| durable.restored(&records, 3, 1_700_000_031_000, lent));
    after
}

#[test]
fn an_heir_that_starts_anew_asks_again_what_its_promises_bind_it_to() {
    let decided = Vote { ballot: ballot(0, OTHER), resolution: end(1) };
    let mut desk = begun_anew(ballot(1, ME), None);
    assert_eq!((desk.happened(), desk.is_idle()), (vec![], true));

    desk.gone.insert(id(OTHER));
    let said = desk.pass(LEASE + WATCH_EVERY * 2);
    assert!(said.contains(&(THIRD, "prepare")), "{said:?}");
    let (case, accepted) = (case(), Some(decided.clone()));
    desk.hear(THIRD, Counsel::Promised(Box::new(Promised { case, ballot: ballot(1, ME), accepted })));
    desk.hear(ME, Counsel::Promised(Box::new(Promised { case, ballot: ballot(1, ME), accepted: None })));
    let Stage::Proposing { vote, .. } = &desk.kept().stage else { panic!("it leads: {:?}", desk.kept().stage) };
    assert_eq!(vote.resolution, decided.resolution, "what may have been decided before");

    let mut desk = begun_anew(ballot(1, ME), Some(Vote { ballot: ballot(1, ME), ..decided }));
    assert!(matches!(desk.kept().stage, Stage::Proposing { .. }), "it had proposed that, and nothing else");
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
fn nobody_else_replaces_what_is_kept_for_a_home() {
    let refuses = |mut desk: Desk, from: u8, members: [u8; 3], term: u64| {
        desk.hear(from, guard(members, term, Duration::ZERO));
        fetches(&mut desk).is_empty() && desk.durable.kept.len() == 1
    };
    let guardian = || Desk::with(&AS_GUARDIAN, Stage::Idle);
    assert!(!refuses(guardian(), OTHER, AS_GUARDIAN, TERM + 1), "its home may");

    assert!(refuses(guardian(), STRANGER, [STRANGER, ME, THIRD], TERM + 1), "another home");
    assert!(refuses(guardian(), STRANGER, [STRANGER, ME, THIRD], TERM));
    assert!(refuses(guardian(), OTHER, [OTHER, ME, STRANGER], TERM), "the same submission has the same council");
    assert!(refuses(Desk::with(&AS_HOME, Stage::Idle), OTHER, AS_HOME, TERM + 1), "it would know of that itself");
    let mut witness = Desk::with(&AS_WITNESS, Stage::Idle);
    let council = Council { term: TERM + 1, ..council(&[STRANGER, THIRD, ME]) };
    let (expires_in, age) = (Duration::from_secs(60), Duration::ZERO);
    let bid = Prepare { task: TASK, council, ballot: ballot(1, STRANGER), expires_in, leader_gave_up: true, age };
    assert_eq!(witness.kinds(STRANGER, Counsel::Prepare(bid)), []);
    assert_eq!(witness.kept().council.term, TERM);
}

#[test]
fn a_guardian_fetches_for_so_many_at_once() {
    let mut desk = Desk::new();
    for n in 0..FETCHING_MAX {
        let task = TaskId((n as u128).to_le_bytes());
        let (attempt, from) = (TaskRef { task, epoch: 0 }, if n % 2 == 0 { OTHER } else { THIRD });
        desk.durable.fetching.insert(task, Fetching { attempt, from: id(from), waiting: Waiting::Known(case()) });
    }

    let said = desk.kinds(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
    assert_eq!((said, fetches(&mut desk).len()), (vec![(OTHER, "guarded")], 0));

    desk.durable.fetching.pop_first();
    desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
    assert_eq!(fetches(&mut desk).len(), 1);
    desk.durable.bytes = KEPT_BYTES_MAX;
    assert_eq!(fetched(&mut desk, Ok(())), [(OTHER, "guarded")], "somebody else took the room meanwhile");
    assert_eq!(desk.durable.kept.len(), 0);
}

#[test]
fn a_guardian_that_fetches_much_for_one_peer_fetches_for_others() {
    let mut desk = Desk::new();
    for n in 0..FETCHING_PER_PEER_MAX {
        let task = TaskId((n as u128).to_le_bytes());
        let attempt = TaskRef { task, epoch: 0 };
        desk.durable.fetching.insert(task, Fetching { attempt, from: id(OTHER), waiting: Waiting::Known(case()) });
    }

    let said = desk.kinds(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
    assert_eq!((said, fetches(&mut desk).len()), (vec![(OTHER, "guarded")], 0));

    desk.durable.fetching.values_mut().for_each(|it| it.from = id(THIRD));
    desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
    assert_eq!(fetches(&mut desk).len(), 1);
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

/// It is bound to another before its own promise is on disk: what comes of its bid then is nothing.
#[test]
fn a_bid_that_is_outbid_while_it_is_written_wins_nothing() {
    let promises = BTreeMap::from([(id(THIRD), None)]);
    let bid = Stage::Preparing { ballot: ballot(1, ME), promises, leader_gave_up: false };
    let mut desk = Desk::with(&AS_GUARDIAN, bid);

    assert_eq!(desk.kinds(OTHER, prepare(AS_GUARDIAN, ballot(2, OTHER), true)), [(OTHER, "promised")]);
    let own = Promised { case: case(), ballot: ballot(1, ME), accepted: None };
    desk.hear(ME, Counsel::Promised(Box::new(own)));

    assert_eq!((desk.is_idle(), desk.happened()), (true, vec![]));
}

#[test]
fn the_retention_of_an_end_that_is_decided_alone_is_written_with_it() {
    let mut desk = Desk::with(&[ME], proposing(ballot(0, ME), &[]));
    desk.now = at(700_000);
    let (vote, expires_in, age) =
        (Vote { ballot: ballot(0, ME), resolution: end(1) }, Duration::from_secs(60), Duration::ZERO);

    let own = Propose { task: TASK, council: council(&[ME]), vote, expires_in, age };
    desk.hear(ME, Counsel::Propose(Box::new(own)));

    assert_eq!(desk.kept().until, at(700_000) + Duration::from_secs(600));
    let lasts = desk.durable.council_change(TASK, desk.now);
    assert_eq!(desk.written[0].first(), lasts.as_ref(), "after a restart it is kept as long");
}

/// The disk has what it said before, and so does it.
#[test]
fn a_submission_that_cannot_be_written_leaves_what_was_said_of_the_one_before() {
    let mut desk = Desk::with(&AS_HOME, Stage::Idle);
    desk.kept().acceptor.accepted = Some(Vote { ballot: ballot(0, ME), resolution: refusal() });
    desk.kept().resolved = true;
    let council = Council { term: TERM + 1, ..council(&AS_HOME) };
    desk.writes = false;

    desk.act(|durable, lent| durable.admit(TASK, copy(), council, lent));

    assert_eq!(desk.happened(), ["refused"]);
    assert_eq!(desk.kept().council.term, TERM);
    assert!(desk.kept().resolved && desk.kept().end().is_some_and(Resolution::is_refusal));
    assert_eq!((desk.written.len(), desk.durable.superseded.len()), (1, 0), "nothing is deleted");
}

#[test]
fn who_cannot_write_does_not_claim_to_lead() {
    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[]));
    let leads = |desk: &mut Desk| match &desk.hear(OTHER, Counsel::Inquire(vec![case()]))[..] {
        [(OTHER, Counsel::Standing(standing))] => standing.leads,
        said => panic!("{said:?}"),
    };
    assert!(leads(&mut desk));

    desk.writes = false;
    desk.hear(ME, propose(AS_HOME, ballot(0, ME), end(1)));
    assert!(!leads(&mut desk), "the others do without it");

    desk.writes = true;
    desk.hear(ME, propose(AS_HOME, ballot(0, ME), end(1)));
    assert!(leads(&mut desk));
}

/// A slow fetch for what was proposed before says nothing of what is waited for now.
#[test]
fn what_an_earlier_fetch_brings_is_no_vote_for_what_came_after() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    let large = |n| success(Payload::Blob(BlobRef { id: BlobId([n; 32]), ..blob() }), 0);
    desk.hear(OTHER, propose(AS_GUARDIAN, ballot(0, OTHER), large(5)));
    let earlier = desk.durable.fetching[&TASK].attempt;
    desk.hear(OTHER, propose(AS_GUARDIAN, ballot(2, OTHER), large(6)));

    let said = desk.act(|durable, lent| assert!(durable.fetched(earlier, &Ok(()), lent)));
    assert_eq!(said, []);
    assert_eq!(fetched(&mut desk, Ok(())), [(OTHER, "vote")]);
    assert_eq!(desk.act(|durable, lent| assert!(durable.fetched(earlier, &Ok(()), lent))), []);
}

#[test]
fn a_copy_for_another_council_is_not_taken() {
    let mut desk = Desk::new();
    desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
    desk.add(TASK, &[STRANGER, ME, THIRD], Stage::Idle);
    desk.kept().copy = None;

    assert_eq!(fetched(&mut desk, Ok(())), []);
    assert!(desk.kept().copy.is_none());
}

/// A guardian that was asked to vote on refusing a task has no copy of it, and that is no damage.
#[test]
fn a_member_that_voted_without_a_copy_starts_anew_with_what_it_said() {
    let mut desk = Desk::new();
    desk.hear(OTHER, propose(AS_GUARDIAN, ballot(0, OTHER), refusal()));
    assert!(desk.kept().lacks_copy);
    let put = |changes: &Vec<crate::store::Change>| match &changes[..] {
        [crate::store::Change::Put { key, bytes }] => (key.clone(), bytes.clone()),
        other => panic!("{other:?}"),
    };
    let records: Vec<_> = desk.written.iter().map(put).collect();

    let mut after = Desk::new();
    after.act(|durable, lent| durable.restored(&records, 3, 1_700_000_031_000, lent));

    assert_eq!(after.happened(), Vec::<&str>::new());
    assert_eq!(after.kept().acceptor.accepted.as_ref().map(|vote| vote.ballot), Some(ballot(0, OTHER)));
    assert!(!after.kept().is_heir(id(ME)) && !after.kept().leads());
}

#[test]
fn a_member_that_lost_its_copy_has_damaged_records() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.hear(OTHER, propose(AS_GUARDIAN, ballot(0, OTHER), end(1)));
    let [crate::store::Change::Put { key, bytes }] = &desk.written[0][..] else { panic!("one record") };
    let records = vec![(key.clone(), bytes.clone())];

    let mut after = Desk::new();
    after.act(|durable, lent| durable.restored(&records, 3, 1_700_000_031_000, lent));

    assert_eq!(after.happened(), ["damaged"]);
}

/// One whose time was over at home only: it would lead with nothing to run.
#[test]
fn a_home_without_its_task_bids_for_nothing() {
    let mut desk = Desk::new();
    desk.hear(OTHER, prepare(AS_HOME, ballot(1, OTHER), true));
    desk.gone.insert(id(OTHER));

    assert_eq!(desk.pass(Duration::from_secs(30)), []);
    assert!(desk.is_idle());
}

#[test]
fn what_is_fetched_already_is_not_fetched_again() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    let large = || propose(AS_GUARDIAN, ballot(0, OTHER), success(Payload::Blob(blob()), 0));
    desk.hear(OTHER, large());
    desk.hear(OTHER, large());

    assert_eq!(core::mem::take(&mut desk.ordered).len(), 1);
    assert_eq!(fetched(&mut desk, Ok(())), [(OTHER, "vote")]);
}

#[test]
fn a_member_whose_first_copy_could_not_be_written_still_has_none() {
    let mut desk = Desk::new();
    desk.hear(OTHER, propose(AS_GUARDIAN, ballot(0, OTHER), end(1)));
    desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
    desk.writes = false;
    fetched(&mut desk, Ok(()));
    assert!(desk.kept().lacks_copy && desk.kept().copy.is_none());

    desk.writes = true;
    desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
    fetched(&mut desk, Ok(()));
    assert!(!desk.kept().lacks_copy && desk.kept().is_heir(id(ME)));
    desk.writes = false;
    desk.hear(OTHER, guard(AS_GUARDIAN, TERM, Duration::ZERO));
    fetched(&mut desk, Ok(()));
    assert!(!desk.kept().lacks_copy && desk.kept().is_heir(id(ME)), "the one before is on disk");
}
