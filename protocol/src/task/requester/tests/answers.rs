//! What executors say about the attempt they were given.

use super::super::*;
use super::home::*;

/// A task was awarded to peer 2; peer 3 is an alternative, and so are the slow 5 and 6; peer 4 is slower still.
fn awarded() -> Home {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0), (5, 300, 0), (6, 300, 0), (4, 400, 0)]);
    let outputs = home.submit(1, elsewhere());
    let [(2, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((award.attempt, &award.alternatives[..]), (attempt(1, 1), &[id(3), id(5), id(6)][..]));
    home.assignments();
    home
}

fn accepted(epoch: u64, state: TaskState) -> Message {
    Message::Accepted(Accepted { attempt: attempt(1, epoch), state, start_in: Duration::ZERO, load: load() })
}

fn progress(epoch: u64, state: TaskState) -> Message {
    Message::Progress(Progress { attempt: attempt(1, epoch), state })
}

fn forwarded(to: u8) -> Message {
    Message::Forwarded(Forwarded { attempt: attempt(1, 1), to: id(to), load: load() })
}

fn cancel(to: u8, epoch: u64) -> Vec<Output> {
    vec![Output::Send { to: id(to), message: Message::Cancel(attempt(1, epoch)) }]
}

fn holder(home: &Home) -> Option<u8> {
    match &home.entry(1).phase {
        Phase::Awarded { to, .. } => Some(to.0[0]),
        _ => None,
    }
}

// ── Accepted, and on its way ────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn an_accepted_task_is_told_once_and_asked_after_in_a_while() {
    let mut home = awarded();
    home.now = at(1_200);

    assert_eq!(states(&home.hear(2, accepted(1, TaskState::Queued))), [TaskState::Queued]);

    assert_eq!(home.due_in(), Some(LEASE));
    assert_eq!(home.hear(2, accepted(1, TaskState::Queued)), [], "it is no news");
}

#[test]
fn a_running_task_does_not_go_back_to_be_queued_by_a_late_word() {
    let mut home = awarded();
    home.hear(2, progress(1, TaskState::Running));

    assert_eq!(home.hear(2, accepted(1, TaskState::Queued)), []);

    assert_eq!(home.entry(1).state, TaskState::Running);
}

#[test]
fn no_word_but_an_outcome_ends_a_task() {
    let mut home = awarded();

    assert_eq!(home.hear(2, accepted(1, TaskState::Failed)), []);
    assert_eq!(home.hear(2, progress(1, TaskState::Done)), []);

    assert_eq!(home.entry(1).state, TaskState::Placing);
}

#[test]
fn progress_is_told_when_it_is_some_and_the_lease_is_renewed() {
    let mut home = awarded();
    let tell = |home: &mut Home, state| states(&home.hear(2, progress(1, state)));

    assert_eq!(tell(&mut home, TaskState::Fetching), [TaskState::Fetching]);
    assert_eq!(tell(&mut home, TaskState::Running), [TaskState::Running]);
    home.now = at(1_700);
    assert_eq!(tell(&mut home, TaskState::Running), []);

    assert_eq!(home.due_in(), Some(LEASE));
}

#[test]
fn whoever_has_another_attempt_or_none_is_told_to_stop() {
    let mut home = awarded();

    assert_eq!(home.hear(2, accepted(2, TaskState::Running)), cancel(2, 2));
    assert_eq!(home.hear(4, accepted(1, TaskState::Running)), cancel(4, 1));
    assert_eq!(home.hear(2, progress(2, TaskState::Running)), cancel(2, 2));
    assert_eq!(home.hear(4, progress(1, TaskState::Running)), cancel(4, 1));
    assert_eq!(
        states(&home.hear(3, accepted(1, TaskState::Running))),
        [TaskState::Running],
        "it may have been passed on"
    );
}

#[test]
fn a_word_of_the_executor_makes_earlier_silence_good() {
    for word in [accepted(1, TaskState::Running), progress(1, TaskState::Running)] {
        let mut home = awarded();
        home.pass(Duration::from_secs(4));
        let Phase::Awarded { unanswered: 1.., .. } = home.entry(1).phase else { panic!("it was asked after") };

        home.hear(2, word);

        assert!(matches!(home.entry(1).phase, Phase::Awarded { unanswered: 0, .. }));
    }
}

// ── Passed on ───────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_task_is_passed_on_to_one_of_the_candidates_that_its_award_named() {
    let mut home = awarded();
    assert_eq!(home.hear(2, forwarded(4)), [], "that was none of them");
    assert_eq!(holder(&home), Some(2));

    assert_eq!(home.hear(2, forwarded(3)), []);

    assert_eq!((holder(&home), home.entry(1).executor), (Some(3), Some(id(3))));
    let given = Assignment::Given { to: id(3), attempt: attempt(1, 1), run: RUN, known_after: Duration::ZERO };
    assert_eq!(home.assignments(), [Assignment::Settled { to: id(2), attempt: attempt(1, 1) }, given]);
    let record = home.entry(1).records.last().expect("it was decided");
    assert_eq!((record.method, record.executor), (Method::Forwarded, Some(id(3))));
    let verdicts: Vec<_> = record.verdicts.iter().map(|(peer, verdict, _)| (peer.0[0], *verdict)).collect();
    assert_eq!(verdicts, [(2, Verdict::Declined), (3, Verdict::Won)]);
}

#[test]
fn an_alternative_that_passes_on_what_it_is_not_known_to_have_is_believed_later() {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0), (4, 45, 0)]);
    home.submit(1, elsewhere());

    assert_eq!(home.hear(3, forwarded(4)), []);
    assert_eq!(holder(&home), Some(2));
    home.hear(2, forwarded(3));

    assert_eq!(holder(&home), Some(4));
}

#[test]
fn a_task_passed_on_to_who_is_gone_is_placed_anew_and_to_who_is_here_it_is_not() {
    let mut home = awarded();
    home.gone.insert(id(3));

    let outputs = home.hear(2, forwarded(3));

    assert_eq!(awards(&outputs).iter().map(|(to, award)| (*to, award.attempt.epoch)).collect::<Vec<_>>(), [(2, 2)]);
    assert_eq!(home.requester.replacements, 1);
}

#[test]
fn an_attempt_that_is_passed_on_while_its_task_is_cancelled_does_not_run_for_nobody() {
    let mut home = awarded();
    let outputs = home.act(|home, _, _, out| home.cancel(task(1), out));
    assert_eq!(outputs[..1], cancel(2, 1), "it may have it still");

    assert_eq!(home.hear(2, forwarded(3)), cancel(3, 1));
    assert_eq!(home.hear(3, forwarded(4)), cancel(4, 1), "and so on");
}

#[test]
fn nobody_has_an_attempt_cancelled_by_saying_that_it_was_passed_on() {
    let mut home = awarded();

    for liar in [3, 4] {
        assert_eq!(home.hear(liar, forwarded(2)), []);
    }
    assert_eq!(holder(&home), Some(2));
}

#[test]
fn a_refusal_that_comes_before_the_word_that_it_was_passed_on_counts_then() {
    let mut home = awarded();
    home.hear(3, declined(attempt(1, 1), DeclineReason::QueueFull));

    let outputs = home.hear(2, forwarded(3));

    let [(to, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert!(to != 3 && award.attempt == attempt(1, 2), "{outputs:?}");
    assert_eq!((home.entry(1).failures, home.requester.replacements), (0, 0), "nobody lost it");
}

// ── Declined ────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_refusal_is_noted_and_the_next_one_gets_the_task() {
    let mut home = awarded();
    assert_eq!(home.hear(3, declined(attempt(1, 1), DeclineReason::QueueFull)), [], "it does not have the task");
    assert_eq!(home.hear(2, declined(attempt(1, 2), DeclineReason::QueueFull)), [], "that is another attempt");

    let outputs = home.hear(2, declined(attempt(1, 1), DeclineReason::Leaving));

    assert_eq!(awards(&outputs).iter().map(|(to, award)| (*to, award.attempt.epoch)).collect::<Vec<_>>(), [(3, 2)]);
    assert_eq!(home.entry(1).tried.get(&id(2)).map(String::as_str), Some("shutting down"));
    let verdict = (id(2), Verdict::Declined, "shutting down".to_owned());
    assert_eq!(home.entry(1).records[0].verdicts, [verdict]);
    assert!(home.assignments().contains(&Assignment::Settled { to: id(2), attempt: attempt(1, 1) }));
    assert_eq!((home.entry(1).failures, home.requester.replacements), (0, 0), "nobody failed");
}

#[test]
fn reasons_are_written_down_for_people() {
    let why = |reason| {
        let mut home = awarded();
        home.hear(2, declined(attempt(1, 1), reason));
        home.entry(1).tried.get(&id(2)).cloned().unwrap_or_default()
    };

    assert_eq!(why(DeclineReason::QueueFull), "queue full");
    let memory = DeclineReason::Memory { wanted_bytes: 64 << 20, free_bytes: 3 << 20 };
    assert_eq!(why(memory), "needs 64 MiB, 3 MiB free");
    assert_eq!(why(DeclineReason::FetchFailed("gone".into())), "could not fetch: gone");
    assert_eq!(why(DeclineReason::Unacceptable("too long".into())), "too long");
    assert_eq!(why(DeclineReason::Unacceptable("x".repeat(9_999))).len(), REASON_CHARS_MAX);
}

#[test]
fn an_executor_that_lost_the_task_counts_as_a_failure_and_may_get_it_again() {
    let mut home = awarded();
    for lost in 1..=2u32 {
        let outputs = home.hear(2, declined(attempt(1, u64::from(lost)), DeclineReason::Unknown));

        let [(2, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
        assert_eq!(award.attempt.epoch, u64::from(lost) + 1);
        assert_eq!((home.entry(1).failures, home.requester.replacements), (lost, u64::from(lost)));
        let verdicts = &home.entry(1).records[lost as usize - 1].verdicts;
        assert!(matches!(&verdicts[..], [(_, Verdict::Lost, _)]), "{verdicts:?}");
    }
}

// ── Countered ───────────────────────────────────────────────────────────────────────────────────────────────────────

fn counter(home: &mut Home, start_ms: u64) -> Vec<Output> {
    home.hear(2, declined(attempt(1, 1), DeclineReason::Counter(Box::new(offer(attempt(1, 1), start_ms)))))
}

#[test]
fn a_later_start_is_taken_while_nobody_else_is_better() {
    for start_ms in [39, 40] {
        let mut home = awarded();

        let outputs = counter(&mut home, start_ms);

        let [(2, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
        assert_eq!((award.firm, award.expected_start, award.attempt), (true, ms(start_ms), attempt(1, 1)));
        assert_eq!(award.alternatives, [id(3), id(5), id(6)]);
        let verdicts = &home.entry(1).records[0].verdicts;
        let note = format!("countered: starts in {start_ms} ms");
        assert_eq!(verdicts, &[(id(2), Verdict::Won, note)]);
    }
}

#[test]
fn a_counter_about_another_task_is_a_refusal_and_changes_nothing_there() {
    let mut home = awarded();
    home.submit(2, elsewhere());

    let counter = DeclineReason::Counter(Box::new(offer(attempt(2, 1), 5)));
    let outputs = home.hear(2, declined(attempt(1, 1), counter));

    assert!(awards(&outputs).iter().all(|(_, award)| award.attempt == attempt(1, 2)), "{outputs:?}");
    assert_eq!((home.entry(1).epoch, home.entry(2).epoch), (2, 1));
}

#[test]
fn a_start_that_is_later_than_the_next_best_is_let_go() {
    let mut home = awarded();

    let outputs = counter(&mut home, 41);

    let [(3, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(award.attempt, attempt(1, 2));
    assert!(said(&outputs).contains(&(2, &Message::Release(attempt(1, 1)))));
    assert_eq!(home.entry(1).tried.get(&id(2)).map(String::as_str), Some("starts too late"));
    assert_eq!(home.entry(1).records[0].verdicts[0].1, Verdict::Declined);
}

/// Excluded peers are no rivals of anybody, however little is known of their cost.
#[test]
fn a_counter_is_compared_with_those_that_may_run_the_task() {
    let mut home = Home::among(&[(2, 0, 0)]);
    home.submit(1, elsewhere());

    let outputs = counter(&mut home, 5_000);

    assert_eq!(awards(&outputs).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2]);
}
