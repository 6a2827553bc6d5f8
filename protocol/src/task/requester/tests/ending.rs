//! The end of an attempt: who may tell it, what it teaches, and when its executor may forget it.

use super::super::*;
use super::home::*;
use crate::task::spec::{BlobRef, OutputUse};

/// Its number is one that the planted bugs look for.
const N: u8 = 8;

fn awarded() -> Home {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    home.submit(N, elsewhere());
    home.assignments();
    home
}

fn blob(holder: u8) -> Payload {
    Payload::Blob(BlobRef { id: BlobId([5; 32]), bytes: 1 << 20, holder: id(holder) })
}

fn large(epoch: u64) -> Message {
    Message::Outcome(Box::new(outcome(attempt(N, epoch), Ending::Exited(0), blob(2))))
}

fn fetched(home: &mut Home, of: TaskRef, result: Result<(), String>) -> (bool, Vec<Output>) {
    let mut ours = false;
    let outputs = home.act(|home, now, around, out| ours = home.fetched(now, of, &result, around, out));
    (ours, outputs)
}

#[test]
fn a_result_is_handed_over_with_where_its_time_went() {
    let mut home = awarded();
    home.now = at(1_200);

    let outputs = home.hear(2, done(attempt(N, 1)));

    let [Ok(result)] = &ends(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((result.executor, result.variant, result.attempts), (id(2), 0, 1));
    let expected = Timings { placing_us: 0, prepare_us: 3_000, queued_us: 4_000, run_us: 80_000, total_us: 200_000 };
    assert_eq!(result.timings, expected);
    assert_eq!(states(&outputs), [TaskState::Done]);
    assert_eq!(home.assignments(), [Assignment::Settled { to: id(2), attempt: attempt(N, 1) }]);
    assert_eq!(home.requester.ok_percent(id(2)), Some(100.0));
    assert_eq!(home.due_in(), Some(Duration::from_secs(20)), "all that is left to do is to say thanks");
}

#[test]
fn a_run_that_trapped_is_a_failure_of_the_task_not_of_its_executor() {
    let mut home = awarded();
    let trapped = outcome(attempt(N, 1), Ending::Trapped("unreachable".into()), Payload::inline(Vec::new()));

    let outputs = home.hear(2, Message::Outcome(Box::new(trapped)));

    assert_eq!((states(&outputs), ends(&outputs).len()), (vec![TaskState::Failed], 1));
    assert_eq!((home.entry(N).failures, home.requester.ok_percent(id(2))), (0, Some(100.0)));
}

#[test]
fn an_outcome_of_another_attempt_or_of_a_stranger_is_counted_and_dropped() {
    let mut home = awarded();

    assert_eq!(home.hear(2, done(attempt(N, 2))), []);
    assert_eq!(home.hear(9, done(attempt(N, 1))), []);
    assert_eq!(home.hear(3, done(attempt(N, 1))), [], "it is not known to have it");

    assert_eq!(home.requester.stale_outcomes, 2);
    assert_eq!(ends(&home.hear(2, done(attempt(N, 1)))).len(), 1);
    assert_eq!(home.hear(2, done(attempt(N, 1))), [], "once");
    assert_eq!(home.requester.stale_outcomes, 3);
}

#[test]
fn an_executor_that_says_more_than_it_may_has_failed() {
    let of = attempt(N, 1);
    let long = "x".repeat(crate::config::ENDING_BYTES_MAX + 1);
    let large = vec![0; crate::config::INLINE_BYTES_MAX as usize + 1];
    let mut chatty = outcome(of, Ending::Exited(0), Payload::inline(Vec::new()));
    chatty.report.log = vec![b'x'; crate::config::LOG_BYTES_MAX + 1];
    let trapped = outcome(of, Ending::Trapped(long), Payload::inline(Vec::new()));

    for outcome in [trapped, outcome(of, Ending::Exited(0), Payload::inline(large)), chatty] {
        let mut home = awarded();

        let outputs = home.hear(2, Message::Outcome(Box::new(outcome)));

        assert_eq!((ends(&outputs).len(), home.entry(N).failures), (0, 1));
        assert!(home.entry(N).tried[&id(2)].len() <= REASON_CHARS_MAX);
    }
}

#[test]
fn an_executor_that_fails_is_not_asked_again() {
    let mut home = awarded();
    for failed in [(2u8, 3u8), (3, 0)].iter().enumerate() {
        let (n, (from, next)) = (failed.0 as u32 + 1, failed.1);
        let of = attempt(N, u64::from(n));
        let smoke = outcome(of, Ending::HostFailed("smoke".into()), Payload::inline(Vec::new()));

        let outputs = home.hear(*from, Message::Outcome(Box::new(smoke)));

        assert_eq!(awards(&outputs).first().map_or(0, |(to, _)| *to), *next);
        assert_eq!(home.entry(N).failures, n);
    }
}

#[test]
fn a_large_output_is_fetched_before_the_end_is_told() {
    let mut home = awarded();

    let outputs = home.hear(2, large(1));

    let Payload::Blob(wanted) = blob(2) else { unreachable!() };
    assert_eq!(outputs, [Output::Fetch { attempt: attempt(N, 1), blobs: vec![wanted] }]);
    assert_eq!(home.due_in(), None, "nobody is asked after it meanwhile");
    assert!(!fetched(&mut home, attempt(N, 2), Ok(())).0, "that is another attempt's");
    let (ours, outputs) = fetched(&mut home, attempt(N, 1), Ok(()));
    let [Ok(result)] = &ends(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((ours, &result.report.output), (true, &blob(ME)), "it can be had here");
    assert!(!fetched(&mut home, attempt(N, 1), Ok(())).0, "once");
}

#[test]
fn a_large_output_of_a_run_at_home_is_there() {
    let mut home = Home::among(&[]);
    home.submit(N, spec());

    let outputs = home.hear(ME, Message::Outcome(Box::new(outcome(attempt(N, 1), Ending::Exited(0), blob(ME)))));

    assert_eq!(ends(&outputs).len(), 1);
    let received = Message::OutcomesReceived(vec![attempt(N, 1)]);
    assert_eq!(home.to_self.last(), Some(&received), "this peer is told at once");
}

#[test]
fn an_output_that_cannot_be_had_is_made_again() {
    let mut home = awarded();
    for n in 1..=2 {
        home.hear(2, large(n));

        let (ours, outputs) = fetched(&mut home, attempt(N, n), Err("gone".into()));

        assert!(ours);
        assert_eq!(awards(&outputs).iter().map(|(to, it)| (*to, it.attempt.epoch)).collect::<Vec<_>>(), [(2, n + 1)]);
        assert_eq!(u64::from(home.entry(N).failures), n);
    }
}

#[test]
fn a_fetch_that_is_not_for_a_result_is_somebody_elses() {
    let mut home = awarded();

    assert!(!fetched(&mut home, attempt(N, 1), Ok(())).0);
    assert!(!fetched(&mut home, attempt(99, 1), Ok(())).0);

    assert!(matches!(home.entry(N).phase, Phase::Awarded { .. }), "it goes on");
}

#[test]
fn whoever_has_it_is_told_when_it_is_not_wanted_any_more() {
    let cancelled = |home: &mut Home| home.act(|home, _, _, out| home.cancel(task(N), out));
    let sent = |to: u8, message| Output::Send { to: id(to), message };

    let mut home = awarded();
    let outputs = cancelled(&mut home);
    assert_eq!(outputs[0], sent(2, Message::Cancel(attempt(N, 1))));
    assert_eq!((states(&outputs), ends(&outputs)), (vec![TaskState::Cancelled], vec![Err(TaskError::Cancelled)]));
    assert_eq!(home.assignments(), [Assignment::Settled { to: id(2), attempt: attempt(N, 1) }]);
    assert_eq!((home.due_in(), cancelled(&mut home)), (None, vec![]), "it is over");

    let mut home = awarded();
    home.hear(2, large(1));
    assert_eq!(cancelled(&mut home)[0], sent(2, Message::OutcomesReceived(vec![attempt(N, 1)])));

    let mut home = Home::among(&[(2, 10, 100), (3, 30, 110)]);
    home.places.iter_mut().for_each(|place| place.heard_ago = Duration::from_secs(6));
    home.submit(N, elsewhere());
    home.hear(3, Message::Offer(offer(attempt(N, 1), 90)));
    assert_eq!(
        cancelled(&mut home)[0],
        sent(3, Message::Release(attempt(N, 1))),
        "who has offered holds a core for it"
    );
}

#[test]
fn a_peer_that_goes_ends_what_is_in_memory_and_takes_no_more() {
    let mut home = Home::with_store(&[(2, 0, 0)]);
    home.submit(N, elsewhere());
    home.submit_as(2, elsewhere(), Durability::Disk);

    let outputs = home.act(|home, _, _, out| home.shut_down(out));

    assert_eq!(ends(&outputs), [Err(TaskError::ShuttingDown)]);
    assert!(!home.entry(2).state.is_final() && home.entry(N).state == TaskState::Failed);
    assert_eq!(ends(&home.submit(3, elsewhere())), [Err(TaskError::ShuttingDown)]);
}

#[test]
fn the_same_task_again_gets_the_same_answer() {
    let mut home = awarded();
    assert_eq!(home.submit(N, elsewhere()), [], "it is under way: the answer to the first is an answer to this one");
    let first = ends(&home.hear(2, done(attempt(N, 1))));

    let again = home.submit(N, elsewhere());

    assert_eq!((ends(&again), again.len()), (first, 1));
}

// ── Learning ────────────────────────────────────────────────────────────────────────────────────────────────────────

fn learnt(home: &mut Home, from: u8, of: Outcome) -> Option<Learnt> {
    let mut learnt = None;
    home.act(|home, now, around, out| learnt = home.handle_outcome(now, id(from), of, around, out));
    learnt
}

#[test]
fn a_run_that_came_to_its_end_teaches_what_the_module_and_the_peer_do() {
    let mut home = awarded();
    home.pass(ms(87));
    let output = Payload::inline(vec![0; 500]);
    let learnt = learnt(&mut home, 2, outcome(attempt(N, 1), Ending::Exited(1), output)).expect("it ended by itself");
    let mut estimates = Estimates::default();

    learnt.teach(&mut estimates);
    assert!(estimates.knows(MODULE));
    assert_eq!(
        (estimates.output_bytes(MODULE), estimates.quote_error(id(2))),
        (500, 1.0),
        "the first run sets the measure"
    );
    let unexpected = TaskSpec::of_module(MODULE, 1_000);
    assert_eq!(estimates.work(&unexpected, &unexpected.variants[0]), ms(80));
    assert!(estimates.prepare(id(2), &unexpected.variants[0], None).is_zero(), "it has the module");
    for _ in 0..99 {
        estimates.quoted(id(3), RUN, RUN);
        learnt.teach(&mut estimates);
    }
    assert!(estimates.quote_error(id(2)) < 1.0, "80 ms of the 100 that were expected");
}

#[test]
fn a_run_that_says_it_took_longer_than_was_waited_for_it_teaches_nothing() {
    let (mut home, output) = (awarded(), Payload::inline(Vec::new()));
    home.pass(ms(40));

    assert!(learnt(&mut home, 2, outcome(attempt(N, 1), Ending::Exited(0), output)).is_none());
}

#[test]
fn a_run_that_did_not_come_to_its_end_teaches_nothing() {
    let empty = || Payload::inline(Vec::new());
    let trapped = outcome(attempt(N, 1), Ending::Trapped("unreachable".into()), empty());
    assert!(learnt(&mut awarded(), 2, trapped).is_none());
    assert!(learnt(&mut awarded(), 9, outcome(attempt(N, 1), Ending::Exited(0), empty())).is_none());
}

// ── Records of peers ────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_peers_record_is_the_share_of_attempts_that_came_back() {
    let mut home = Home::among(&[]);
    assert_eq!(home.requester.ok_percent(id(2)), None);

    [true, true, false, true].into_iter().for_each(|well| home.requester.note_ending(id(2), well));

    assert_eq!(home.requester.ok_percent(id(2)), Some(75.0));
}

#[test]
fn records_of_peers_are_bounded() {
    let mut home = Home::among(&[]);
    let peer = |n: usize| PeerId(core::array::from_fn(|i| if i < 2 { (n >> (8 * (1 - i))) as u8 } else { 0 }));
    (0..ENDINGS_MAX).for_each(|n| home.requester.note_ending(peer(n), true));
    home.requester.note_ending(peer(7), false);
    assert_eq!((home.requester.endings.len(), home.requester.ok_percent(peer(0))), (ENDINGS_MAX, Some(100.0)));

    home.requester.note_ending(peer(ENDINGS_MAX), true);

    assert_eq!((home.requester.endings.len(), home.requester.ok_percent(peer(0))), (ENDINGS_MAX, None));
    assert_eq!(home.requester.ok_percent(peer(7)), Some(50.0));
}

#[test]
fn what_users_tasks_take_up_is_told() {
    let mut home = awarded();
    home.submit(2, elsewhere());

    let holdings = home.requester.holdings();

    let whats: Vec<_> = holdings.iter().map(|it| (it.what, it.held)).collect();
    assert_eq!(whats, [("kept tasks", 0), ("bytes of kept tasks", 0), ("unfinished tasks", 2)]);
}

#[test]
fn an_output_that_stays_where_it_was_made_is_the_result_and_its_home_has_a_say_in_it() {
    let lease = Duration::from_secs(60);
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    home.submit(N, TaskSpec { output: OutputUse::Keep(lease), ..elsewhere() });

    let outputs = home.hear(2, large(1));

    let [Ok(result)] = &ends(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(result.report.output, blob(2), "it is not brought here");
    let Payload::Blob(output) = blob(2) else { unreachable!() };
    assert_eq!(home.requester.take_seen(), [(id(2), output, Labels::default())]);
    let held = home.act(|home, _, _, out| home.hold(task(N), lease, out));
    assert_eq!(said(&held), [(2, &Message::Hold(Hold { task: task(N), lease }))]);
    assert_eq!(home.act(|home, _, _, out| home.hold(task(N + 1), lease, out)), [], "nobody knows that task");
}

#[test]
fn a_liar_cannot_name_somebody_else_as_the_holder_of_what_it_made() {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    home.submit(N, TaskSpec { output: OutputUse::Keep(Duration::from_secs(60)), ..elsewhere() });
    let outcome = outcome(attempt(N, 1), Ending::Exited(0), blob(3));

    let outputs = home.hear(2, Message::Outcome(Box::new(outcome)));

    let [Ok(result)] = &ends(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(result.report.output, blob(2));
}

#[test]
fn an_executor_is_told_the_cheapest_holder_of_what_it_lacks() {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    let Payload::Blob(input) = blob(ME) else { unreachable!() };
    home.holders.note(id(3), input.id, input.bytes);
    home.places.iter_mut().filter(|place| place.member.peer == id(3)).for_each(|place| {
        place.load.uplink_bits_per_s = 1_000_000_000;
    });

    let mut spec = TaskSpec { inputs: vec![blob(ME)], ..elsewhere() };
    spec.policy.peer = Some(id(2));
    let outputs = home.submit(N, spec);

    let [(2, award)] = &awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(award.spec.inputs, [blob(3)]);
}
