//! What whoever leads a task says, and when: copies, votes, ends.

use super::super::*;
use super::desk::*;
use crate::id::BlobId;
use crate::output::TaskError;
use crate::task::epoch;
use crate::task::spec::{BlobRef, Payload};

const AS_HOME: [u8; 3] = [ME, OTHER, THIRD];
const AS_GUARDIAN: [u8; 3] = [OTHER, ME, THIRD];

// ── Beginning ───────────────────────────────────────────────────────────────────────────────────────────────────────

fn admit(desk: &mut Desk, members: &[u8]) -> Vec<(u8, Counsel)> {
    let council = Council { term: desk.durable.new_term(), ..council(members) };
    desk.act(|durable, lent| durable.admit(TASK, KeptTask { accepted: lent.now, ..copy() }, council, lent))
}

#[test]
fn terms_say_which_start_of_the_peer_they_are_of() {
    let mut desk = Desk::new();

    assert_eq!([desk.durable.new_term(), desk.durable.new_term()], [2 << 32 | 1, 2 << 32 | 2]);
}

#[test]
fn a_task_alone_is_admitted_when_it_is_written() {
    let mut desk = Desk::new();

    assert_eq!((admit(&mut desk, &[ME]), desk.happened()), (vec![], vec!["admitted"]));

    assert_eq!(desk.written[0].len(), 3, "task, input and council");
    let kept = desk.kept();
    // Twice its lifetime and its retention, an hour each.
    assert_eq!((kept.until, kept.bytes, kept.confirmed), (at(10_801_000), 100, true));
    assert!(kept.copy.is_none() && desk.durable.shared.is_empty(), "its home has it in its book");
    assert_eq!(desk.durable.unpromised(TASK), None);
}

#[test]
fn a_guarded_task_is_admitted_when_its_guardian_has_it_and_refused_after_two_seconds() {
    let mut desk = Desk::new();
    let said = admit(&mut desk, &AS_HOME);
    let [(OTHER, Counsel::Guard(guard))] = &said[..] else { panic!("{said:?}") };
    assert_eq!((guard.name.as_str(), guard.age), ("kept", Duration::ZERO));
    let case = Case { task: TASK, term: guard.council.term };
    assert!(!desk.kept().confirmed && desk.durable.unpromised(TASK).is_some());
    let guarded = |term, refusal: Option<&str>| {
        let case = Case { term, ..case };
        Counsel::Guarded(Guarded { case, refusal: refusal.map(str::to_owned) })
    };

    desk.hear(THIRD, guarded(case.term, None));
    desk.hear(OTHER, guarded(case.term + 1, None));
    assert_eq!((desk.happened(), desk.kept().confirmed), (vec![], false));
    desk.hear(OTHER, guarded(case.term, None));
    assert_eq!((desk.happened(), desk.kept().confirmed), (vec!["admitted"], true));
    desk.hear(OTHER, guarded(case.term, Some("no room")));
    assert_eq!((desk.happened(), desk.kept().confirmed), (vec![], true), "it has said that it has it");

    let mut desk = Desk::new();
    admit(&mut desk, &AS_HOME);
    desk.pass(GUARD_PATIENCE - ms(1));
    assert_eq!(desk.happened(), Vec::<&str>::new());
    desk.pass(ms(1));
    assert_eq!(desk.happened(), ["refused"]);
    assert!(matches!(desk.kept().stage, Stage::Proposing { .. }), "that is its end before the council");
}

#[test]
fn a_submission_after_a_refused_one_remembers_since_when_it_was_refused() {
    let since = |members: &[u8], earlier: Option<u64>| {
        let mut desk = Desk::with(members, Stage::Idle);
        desk.kept().refused_since = earlier;
        admit(&mut desk, &[ME]);
        desk.kept().refused_since
    };

    assert_eq!(since(&AS_HOME, None), Some(TERM));
    assert_eq!(since(&AS_HOME, Some(3)), Some(3));
    assert_eq!(since(&AS_GUARDIAN, None), None, "that was another's");
}

#[test]
fn a_task_can_be_kept_unless_an_earlier_submission_of_it_is_still_there() {
    let can = |desk: &Desk| desk.durable.can_keep(TASK, &copy().spec);
    assert_eq!(can(&Desk::new()), Ok(()));
    assert!(matches!(can(&Desk::with(&AS_HOME, Stage::Leading)), Err(TaskError::NotStored { .. })));

    let mut refused = Desk::with(&AS_HOME, Stage::Idle);
    refused.kept().acceptor.accepted = Some(Vote { ballot: ballot(0, ME), resolution: refusal() });
    assert!(matches!(can(&refused), Err(TaskError::NotStored { .. })), "it is not decided yet");
    assert!(matches!(refused.durable.unpromised(TASK), Some(TaskError::NotStored { .. })));
    refused.kept().resolved = true;
    assert_eq!((can(&refused), refused.durable.unpromised(TASK)), (Ok(()), None));
    assert!(refused.durable.is_led_or_refused(TASK) && refused.durable.copy_of(TASK).is_none());

    let mut ended = Desk::with(&AS_HOME, Stage::Idle);
    ended.kept().acceptor.accepted = Some(Vote { ballot: ballot(0, ME), resolution: end(1) });
    ended.kept().resolved = true;
    assert!(matches!(can(&ended), Err(TaskError::NotStored { .. })));
    let mut damaged = Desk::new();
    damaged.durable.damaged.insert(TASK, "torn".into());
    assert!(matches!(can(&damaged), Err(TaskError::RecordDamaged { .. })));
    let storeless = Durable::new(id(ME));
    assert!(matches!(storeless.can_keep(TASK, &copy().spec), Err(TaskError::NotStored { .. })));
}

#[test]
fn a_task_of_another_or_one_that_is_confirmed_is_not_unpromised() {
    let mut desk = Desk::with(&AS_HOME, Stage::Leading);
    assert_eq!(desk.durable.unpromised(TASK), None);
    desk.kept().confirmed = false;
    assert!(desk.durable.unpromised(TASK).is_some());
    desk.kept().see(ballot(1, OTHER));
    assert_eq!(desk.durable.unpromised(TASK), None, "another leads it, so it was promised");
}

#[test]
fn a_copy_that_was_lost_is_given_again_by_who_leads() {
    let given = |members: [u8; 3], stage: Stage| {
        let mut desk = Desk::with(&members, stage);
        let said = desk.act(|durable, lent| durable.guard_again(TASK, copy(), lent));
        said.iter().map(|(to, counsel)| (*to, counsel.kind())).collect::<Vec<_>>()
    };

    assert_eq!(given(AS_HOME, Stage::Leading), [(OTHER, "guard")]);
    assert_eq!(given(AS_GUARDIAN, Stage::Leading), [(OTHER, "guard")], "its home gets it back");
    assert_eq!(given(AS_HOME, Stage::Idle), []);
}

#[test]
fn failures_are_written_of_what_is_kept_here() {
    let mut desk = Desk::with(&AS_HOME, Stage::Leading);
    desk.act(|durable, lent| durable.note_failures(TASK, &copy(), lent));
    desk.act(|durable, lent| durable.note_failures(TaskId([8; 16]), &copy(), lent));

    assert_eq!(desk.written.len(), 1);
}

// ── Ending ──────────────────────────────────────────────────────────────────────────────────────────────────────────

fn asked(desk: &mut Desk) -> Vec<u8> {
    let said = desk.act(|durable, lent| durable.ask_votes(TASK, None, lent));
    said.iter().map(|(to, counsel)| if counsel.kind() == "propose" { *to } else { panic!("{counsel:?}") }).collect()
}

#[test]
fn an_end_is_proposed_by_who_leads_and_once() {
    let proposes = |stage: Stage, promised: Ballot| {
        let mut desk = Desk::with(&AS_HOME, stage);
        desk.kept().acceptor.promised = promised;
        !desk.act(|durable, lent| durable.propose(TASK, end(1), lent)).is_empty()
    };

    assert!(proposes(Stage::Leading, ballot(0, ME)) && proposes(Stage::Guarding, ballot(0, ME)));
    assert!(!proposes(Stage::Leading, ballot(1, OTHER)), "it is bound to another");
    assert!(!proposes(Stage::Idle, ballot(0, ME)) && !proposes(Stage::Writing, ballot(0, ME)));
    assert!(!proposes(proposing(ballot(0, ME), &[]), ballot(0, ME)), "an end that is being decided stays");
}

#[test]
fn votes_are_asked_of_oneself_first_then_of_who_has_a_copy_then_of_all() {
    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[]));
    assert_eq!(asked(&mut desk), [ME], "ours is on disk before another hears of it");

    desk.kept().stage = proposing(ballot(0, ME), &[ME]);
    assert_eq!((asked(&mut desk), desk.wanted()), (vec![OTHER], vec![]));
    desk.gone.insert(id(OTHER));
    assert_eq!((asked(&mut desk), desk.wanted()), (vec![OTHER, THIRD], vec![OTHER]), "and called");
    desk.gone.clear();
    desk.kept().repeats = 1;
    assert_eq!(asked(&mut desk), [OTHER, THIRD]);
    desk.kept().stage = proposing(ballot(0, ME), &[ME, THIRD]);
    assert_eq!(asked(&mut desk), [OTHER], "who has voted need not again");
    let only = desk.act(|durable, lent| durable.ask_votes(TASK, Some(id(THIRD)), lent));
    assert_eq!(only, []);
}

/// Whether this peer itself is there is no question.
#[test]
fn the_witness_is_not_asked_because_of_oneself() {
    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[ME]));
    desk.gone.extend([id(ME), id(THIRD)]);

    assert_eq!((asked(&mut desk), desk.wanted()), (vec![OTHER], vec![]));
}

fn accepted(ballot: Ballot, term: u64) -> Counsel {
    Counsel::Accepted(Voted { case: Case { task: TASK, term }, ballot })
}

#[test]
fn two_votes_of_three_decide_and_the_first_own_one_asks_the_others() {
    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[]));

    assert_eq!(desk.kinds(OTHER, accepted(ballot(0, ME), TERM + 1)), []);
    assert_eq!(desk.kinds(OTHER, accepted(ballot(1, ME), TERM)), []);
    assert_eq!(desk.kinds(STRANGER, accepted(ballot(0, ME), TERM)), []);
    assert_eq!(desk.kinds(ME, accepted(ballot(0, ME), TERM)), [(OTHER, "propose")]);
    let said = desk.hear(OTHER, accepted(ballot(0, ME), TERM));

    assert_eq!(desk.happened(), ["resolved"]);
    let resolved =
        |resolution| Counsel::Resolved(Box::new(Resolved { case: case(), ballot: ballot(0, ME), resolution }));
    assert_eq!(said, [(OTHER, resolved(None)), (THIRD, resolved(Some(end(1))))], "who voted knows what for");
    assert!(matches!(&desk.kept().stage, Stage::Telling { known } if known.len() == 1));
}

#[test]
fn a_vote_of_another_that_comes_before_ones_own_asks_nobody() {
    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[]));

    assert_eq!(desk.kinds(OTHER, accepted(ballot(0, ME), TERM)), []);
    assert_eq!(desk.happened(), Vec::<&str>::new());
}

#[test]
fn an_end_of_a_task_alone_is_told_to_nobody() {
    let mut desk = Desk::with(&[ME], proposing(ballot(0, ME), &[]));

    assert_eq!(desk.kinds(ME, accepted(ballot(0, ME), TERM)), []);

    assert_eq!((desk.happened(), desk.is_idle()), (vec!["resolved"], true));
}

#[test]
fn an_end_is_told_until_everybody_knows_it() {
    let mut desk = Desk::with(&AS_HOME, proposing(ballot(0, ME), &[ME]));
    desk.hear(OTHER, accepted(ballot(0, ME), TERM));

    assert_eq!(desk.pass(REPEAT), [(OTHER, "resolved"), (THIRD, "resolved")]);
    desk.hear(OTHER, Counsel::Known(case()));
    desk.hear(THIRD, Counsel::Known(Case { term: TERM + 1, ..case() }));
    assert_eq!(desk.pass(REPEAT * 2), [(THIRD, "resolved")]);
    desk.gone.insert(id(THIRD));
    assert_eq!(desk.pass(REPEAT * 4), [], "whoever is away hears of it when it is back");
    desk.gone.clear();
    let said = desk.act(|durable, lent| durable.peer_back(id(THIRD), lent));
    assert_eq!(said.iter().map(|(to, it)| (*to, it.kind())).collect::<Vec<_>>(), [(THIRD, "resolved")]);
    desk.hear(THIRD, Counsel::Known(case()));

    assert!(desk.is_idle() && desk.durable.shared.is_empty());
    assert_eq!(desk.pass(ms(60_000)), []);
}

#[test]
fn words_are_repeated_every_five_seconds_at_last() {
    let mut desk = Desk::with(&AS_HOME, Stage::Idle);
    desk.act(|durable, lent| durable.begin(TASK, proposing(ballot(0, ME), &[ME]), lent.now));
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let before = desk.now;
        while desk.pass(ms(100)).is_empty() {}
        pauses.push(desk.now.since(before).as_millis());
    }

    assert_eq!(pauses, [400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
}

#[test]
fn a_member_that_is_back_is_asked_about_what_is_led_from_here() {
    let asked = |stage: Stage, peer: u8| {
        let mut desk = Desk::with(&AS_HOME, stage);
        let said = desk.act(|durable, lent| durable.peer_back(id(peer), lent));
        said.iter().map(|(to, counsel)| (*to, counsel.kind())).collect::<Vec<_>>()
    };

    assert_eq!(asked(Stage::Leading, OTHER), [(OTHER, "inquire")]);
    assert_eq!(asked(Stage::Leading, STRANGER), []);
    assert_eq!(asked(Stage::Idle, OTHER), []);
    assert_eq!(asked(proposing(ballot(0, ME), &[ME]), OTHER), [(OTHER, "propose"), (OTHER, "inquire")]);
    assert_eq!(asked(proposing(ballot(0, ME), &[ME]), THIRD), [(THIRD, "inquire")], "its vote may not be needed");
}

// ── Room ────────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn an_end_weighs_what_its_output_and_its_log_do_and_starts_its_retention() {
    let settled = |resolution: Resolution| {
        let mut desk = Desk::with(&AS_HOME, Stage::Leading);
        desk.add(TaskId([8; 16]), &[ME], Stage::Leading);
        assert_eq!(desk.durable.holdings()[1].held, 200);
        let vote = Vote { ballot: ballot(2, OTHER), resolution };
        desk.act(|durable, lent| durable.settle(TASK, vote, lent.now, lent.out));
        assert_eq!((desk.kept().until, desk.kept().acceptor.promised), (at(601_000), ballot(2, OTHER)));
        (desk.kept().bytes, desk.durable.holdings()[1].held)
    };

    assert_eq!(settled(success(Payload::inline(vec![0; 30]), 4)), (34, 134));
    let blob = BlobRef { id: BlobId([5; 32]), bytes: 1 << 20, holder: id(OTHER) };
    assert_eq!(settled(success(Payload::Blob(blob), 4)), (4, 104), "a large output is in the store of blobs");
    assert_eq!(settled(end(1)), (0, 100));
}

#[test]
fn an_end_at_a_witness_is_kept_as_long_as_it_was_told_to() {
    let mut desk = Desk::with(&[OTHER, THIRD, ME], Stage::Idle);
    desk.kept().retention = Duration::ZERO;
    let vote = Vote { ballot: ballot(0, OTHER), resolution: end(1) };

    desk.act(|durable, lent| durable.settle(TASK, vote, lent.now, lent.out));

    assert_eq!(desk.kept().until, at(3_601_000));
}

#[test]
fn bytes_are_counted_once_and_leave_with_their_task() {
    let mut desk = Desk::with(&AS_HOME, Stage::Leading);
    desk.add(TASK, &AS_HOME, Stage::Leading);
    desk.add(TaskId([8; 16]), &AS_HOME, Stage::Leading);
    let held = |desk: &Desk| desk.durable.holdings().map(|holding| holding.held);
    assert_eq!(held(&desk), [2, 200], "the second takes the place of the first");

    desk.act(|durable, lent| durable.drop_kept(TASK, lent.out));
    assert_eq!(held(&desk), [1, 100]);
    desk.durable.forget_council(TaskId([8; 16]));
    assert_eq!((held(&desk), desk.durable.shared.len()), ([0, 0], 0));
}

#[test]
fn too_many_bytes_or_tasks_leave_no_room() {
    let mut desk = Desk::with(&AS_HOME, Stage::Leading);
    desk.durable.bytes = KEPT_BYTES_MAX - 100;
    let full = |desk: &Desk, bytes| desk.durable.full(bytes);

    assert_eq!(full(&desk, 100), None);
    assert_eq!(full(&desk, 101).as_deref(), Some("it keeps 1 tasks of 255 MiB"));
    assert!(matches!(desk.durable.can_keep(TaskId([8; 16]), &copy().spec), Ok(())));
    desk.durable.bytes += 1;
    let refused = desk.durable.can_keep(TaskId([8; 16]), &copy().spec);
    assert_eq!(refused, Err(TaskError::Overloaded { held: 1, retry_after: Duration::from_secs(10) }));
}

#[test]
fn what_is_over_is_forgotten_at_its_time() {
    let mut desk = Desk::with(&AS_HOME, Stage::Idle);
    desk.kept().resolved = true;
    desk.durable.deadlines.clear(&Due::Watch);
    assert_eq!(desk.durable.next_deadline(), Some(at(3_601_000)));

    desk.pass(ms(3_600_000));

    assert_eq!((desk.happened(), desk.durable.kept.len()), (vec!["forgotten"], 0));
    assert!(desk.ordered.contains(&Output::Forget { task: TASK }));
}

/// An end that home decided with the witness, and what it says of it until the guardian has heard of it.
fn untold(known: &[u8]) -> Desk {
    let known = known.iter().map(|n| id(*n)).collect();
    let mut desk = Desk::with(&AS_HOME, Stage::Telling { known });
    desk.kept().acceptor.accepted = Some(Vote { ballot: ballot(0, ME), resolution: end(1) });
    desk.kept().resolved = true;
    desk.gone.insert(id(OTHER));
    desk
}

#[test]
fn an_end_is_kept_beyond_its_time_for_a_guardian_that_has_not_heard_of_it() {
    let mut desk = untold(&[ME, THIRD]);
    desk.pass(ms(3_600_000) + LOOK_AGAIN);
    assert_eq!((desk.happened(), desk.durable.kept.len()), (vec![], 1));

    desk.gone.clear();
    let inquired = desk.kinds(OTHER, Counsel::Inquire(vec![case()]));
    assert_eq!(inquired, [(OTHER, "resolved")], "it is not led again by one that was away");
    desk.hear(OTHER, Counsel::Known(case()));
    desk.pass(ms(1));

    assert_eq!((desk.happened(), desk.durable.kept.len()), (vec!["forgotten"], 0));
}

#[test]
fn an_end_is_not_kept_beyond_its_time_for_a_witness() {
    let mut desk = untold(&[ME, OTHER]);
    desk.pass(ms(3_600_000));

    assert_eq!((desk.happened(), desk.durable.kept.len()), (vec!["forgotten"], 0));
}

#[test]
fn an_end_is_not_kept_for_ever_for_whoever_does_not_come_back() {
    let mut desk = untold(&[ME]);
    desk.pass(ms(3_599_000) + UNTOLD_MAX);
    assert_eq!((desk.happened(), desk.durable.kept.len()), (vec![], 1));
    desk.pass(LOOK_AGAIN);

    assert_eq!((desk.happened(), desk.durable.kept.len()), (vec!["forgotten"], 0));
}

#[test]
fn an_end_whose_time_is_over_makes_room() {
    let mut desk = untold(&[ME]);
    desk.durable.bytes = KEPT_BYTES_MAX;
    desk.pass(ms(3_600_000));
    assert_eq!((desk.happened(), desk.durable.kept.len()), (vec![], 1), "there is room for it, and for no more");

    desk.durable.bytes += 1;
    desk.pass(LOOK_AGAIN);
    assert_eq!((desk.happened(), desk.durable.kept.len()), (vec!["forgotten"], 0));
}

#[test]
fn what_one_decides_alone_is_not_forgotten_before_it_has_an_end() {
    let forgotten = |members: &[u8]| {
        let mut desk = Desk::with(members, Stage::Leading);
        desk.pass(ms(3_600_000) + LOOK_AGAIN);
        desk.durable.kept.is_empty()
    };
    assert_eq!([forgotten(&[ME]), forgotten(&AS_HOME)], [false, true]);

    let mut desk = Desk::with(&[ME], proposing(ballot(0, ME), &[]));
    desk.writes = false;
    desk.kept().resolved = true;
    desk.pass(ms(3_600_000) + LOOK_AGAIN);
    assert_eq!(desk.durable.kept.len(), 1, "its end is not on disk");
    desk.kept().stage = Stage::Idle;
    desk.pass(LOOK_AGAIN);
    assert_eq!((desk.happened(), desk.durable.kept.len()), (vec!["forgotten"], 0));
}

// ── The disk ────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_council_is_written_with_the_date_at_which_it_is_forgotten() {
    let desk = Desk::with(&AS_HOME, Stage::Leading);
    let change = desk.durable.council_change(TASK, desk.now);

    let Some(crate::store::Change::Put { key, bytes }) = change else { panic!("{change:?}") };
    let found: record::CouncilRecord = crate::store::decode(&key, &bytes).expect("it was written just now");
    assert_eq!(found.until_unix_ms, 1_700_000_030_000 + 3_601_000);
    assert_eq!(desk.durable.council_change(TaskId([8; 16]), desk.now), None);
}

#[test]
fn what_cannot_be_written_is_counted_and_refused() {
    let mut desk = Desk::new();
    desk.writes = false;
    for n in 1..=2 {
        admit(&mut desk, &AS_HOME);

        // Neither can be written that it is gone again.
        assert_eq!((desk.durable.store_failures, desk.happened()), (2 * n, vec!["refused"]));
        assert_eq!(desk.durable.kept.len(), 0);
    }
}

#[test]
fn whoever_looks_for_a_fault_sees_all_there_is_of_a_task() {
    let desk = Desk::with(&AS_HOME, Stage::Leading);

    let described = desk.durable.describe(TASK);
    assert!(described.contains("Leading") && described.contains("council"), "{described}");
    assert_eq!(desk.durable.describe(TaskId([8; 16])), "None");
}

#[test]
fn members_know_their_roles() {
    let home = Desk::with(&AS_HOME, Stage::Leading).durable;
    let guardian = Desk::with(&AS_GUARDIAN, Stage::Leading).durable;

    assert_eq!([home.is_home(TASK), guardian.is_home(TASK), home.is_home(TaskId([8; 16]))], [true, false, false]);
    assert_eq!([home.is_led_or_refused(TASK), guardian.is_led_or_refused(TASK)], [true, false]);
    assert_eq!((home.guardian_of(TASK), home.council_of(TASK)), (Some(id(OTHER)), AS_HOME.map(id).to_vec()));
    assert_eq!((home.council_of(TaskId([8; 16])), home.epoch_before(TASK)), (vec![], epoch::before_first(0, 2)));
    assert!(guardian.copy_of(TASK).is_some_and(|(copy, end)| copy.name == "kept" && end.is_none()));
}

/// The disk was slow beyond the whole time of a short task, which was then handed in again.
#[test]
fn a_batch_acknowledges_its_own_submission_only() {
    let mut desk = Desk::new();
    admit(&mut desk, &[ME]);
    desk.happened();
    let earlier = Case { task: TASK, term: desk.kept().council.term };
    desk.kept().stage = Stage::Writing;
    desk.kept().council.term += 1;

    desk.act(|durable, lent| durable.written(earlier, lent));

    assert_eq!(desk.happened(), Vec::<&str>::new());
    let until = desk.kept().until.since(desk.now);
    desk.pass(until + Duration::from_secs(1));
    assert_eq!(desk.happened(), Vec::<&str>::new(), "what is on its way to the disk is not forgotten");
}
