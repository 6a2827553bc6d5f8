//! Beginning an attempt: who gets it, what the award says, and how long it is waited for.

use super::super::*;
use super::home::*;
use crate::task::spec::Patience;

fn method(home: &mut Home, spec: &TaskSpec) -> (Method, Option<u8>) {
    let mut found = None;
    home.act(|home, now, around, _| {
        let decision = home.dry_run(now, spec, around, |_| None);
        found = Some((decision.method, decision.executor.map(|peer| peer.0[0])));
    });
    found.expect("it was asked")
}

#[test]
fn how_it_is_decided_follows_from_who_may_run_it() {
    let mut home = Home::among(&[(2, 10, 100), (3, 30, 110)]);
    let local = {
        let mut spec = spec();
        spec.policy.local_only = true;
        spec
    };
    let pinned = {
        let mut spec = spec();
        spec.policy.peer = Some(id(3));
        spec
    };
    let impossible = {
        let mut spec = spec();
        spec.policy.peer = Some(id(77));
        spec
    };

    assert_eq!(method(&mut home, &local), (Method::Local, Some(ME)));
    assert_eq!(method(&mut home, &pinned), (Method::Pinned, Some(3)));
    assert_eq!(method(&mut home, &impossible), (Method::None, None));
    assert_eq!(method(&mut home, &elsewhere()), (Method::Award, Some(2)));
    assert_eq!(method(&mut Home::among(&[(2, 10, 100)]), &elsewhere()), (Method::Award, Some(2)), "one, by its label");
    home.places.iter_mut().for_each(|place| place.heard_ago = Duration::from_secs(6));
    assert_eq!(method(&mut home, &elsewhere()), (Method::Offers, Some(2)));
}

#[test]
fn who_is_not_much_worse_is_named_in_the_award() {
    let alternatives = |neighbours: &[(u8, u64, u64)]| {
        let outputs = Home::among(neighbours).submit(1, elsewhere());
        let awards = awards(&outputs);
        let [(to, award)] = awards[..] else { panic!("{outputs:?}") };
        let near: Vec<u8> = award.alternatives.iter().map(|peer| peer.0[0]).collect();
        (to, near, award.firm)
    };

    // 100 ms at the best: half as much again, and one more, is near.
    let near = [(2, 0, 0), (3, 20, 0), (4, 30, 0), (5, 40, 0), (6, 51, 0), (7, 52, 0)];
    assert_eq!(alternatives(&near), (2, vec![3, 4, 5, 6], false));
    let far = [(2, 0, 0), (3, 600, 0), (4, 700, 0), (5, 800, 0), (6, 900, 0)];
    assert_eq!(alternatives(&far), (2, vec![3, 4, 5], false), "a few in any case: far is not nobody");
    assert_eq!(alternatives(&[(2, 0, 0)]), (2, vec![], true), "with nobody else, a later start is better than talk");
}

#[test]
fn an_award_names_eight_alternatives_at_most_and_the_nearest() {
    let neighbours: Vec<_> = (2..=12u8).map(|n| (n, if n == 2 { 0 } else { 20 + u64::from(n) }, 0)).collect();
    let outputs = Home::among(&neighbours).submit(1, elsewhere());

    let [(2, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(award.alternatives, (3..=10).map(id).collect::<Vec<_>>());
}

#[test]
fn a_neighbour_that_has_not_told_its_load_is_waited_for_a_moment() {
    let mut home = Home::among(&[(2, 10, 0)]);
    home.unheard.insert(id(2));
    let mut outputs = home.submit(1, elsewhere());
    outputs.extend(home.pass(ms(100)));
    assert_eq!((awards(&outputs).len(), ends(&outputs).len()), (0, 0));

    home.unheard.clear();

    let told = home.pass(ms(100));
    assert!(matches!(awards(&told)[..], [(2, _)]), "{told:?}");
    assert_eq!(home.entry(1).records.len(), 1, "that it waited is no decision of its own");
}

#[test]
fn nobody_waits_for_a_load_beyond_a_deadline() {
    let mut home = Home::among(&[(2, 10, 0)]);
    home.unheard.insert(id(2));
    home.submit(1, TaskSpec { deadline: Some(ms(300)), ..elsewhere() });

    let outputs = home.pass(ms(500));

    assert!(matches!(ends(&outputs)[..], [Err(TaskError::NoCandidate { .. })]), "{outputs:?}");
}

#[test]
fn a_neighbour_that_never_tells_its_load_is_not_waited_for_for_ever() {
    let mut home = Home::among(&[(2, 10, 0)]);
    home.unheard.insert(id(2));
    home.submit(1, elsewhere());

    let outputs = home.pass(Duration::from_secs(3));

    let [Err(TaskError::NoCandidate { reasons, .. })] = &ends(&outputs)[..] else { panic!("{outputs:?}") };
    assert!(reasons.contains("load unknown"), "{reasons}");
}

#[test]
fn home_has_alternatives_as_well() {
    let mut home = Home::among(&[(2, 40, 0)]);

    home.submit(1, spec());

    let [Message::Award(award)] = &home.to_self[..] else { panic!("{:?}", home.to_self) };
    assert_eq!((&award.alternatives[..], award.firm), (&[id(2)][..], false));
    assert_eq!(home.entry(1).records[0].method, Method::Local, "it stays where it arose");
    assert_eq!((home.assignments(), home.requester.negotiation_messages), (vec![], 0));
}

#[test]
fn an_award_elsewhere_is_no_local_one() {
    let mut home = Home::among(&[(2, 0, 0)]);
    home.submit(1, elsewhere());
    assert_eq!(home.entry(1).records[0].method, Method::Award);

    let mut home = Home::among(&[(2, 40, 0)]);
    let mut pinned = spec();
    pinned.policy.peer = Some(id(ME));
    home.submit(1, pinned);
    assert_eq!(home.entry(1).records[0].method, Method::Local, "nobody else was allowed");
}

#[test]
fn an_award_is_waited_for_as_long_as_its_result_may_take() {
    let mut home = Home::among(&[(2, 10, 20)]);
    home.submit(1, elsewhere());
    assert_eq!(home.due_in(), Some(AWARD_PATIENCE + ms(30) + ms(20) + ms(200)));

    let mut local = spec();
    local.inputs = vec![Payload::inline(vec![0; 125_000])];
    home.places[0].start_in = ms(7);
    home.requester.deadlines.clear(&task(1));
    local.policy.local_only = true;
    home.submit(2, local);
    assert_eq!(home.due_in(), Some(AWARD_PATIENCE + ms(7) + ms(200)), "nothing crosses the network");
}

/// 125 kB need ten milliseconds of the uplink, one input after the other.
#[test]
fn what_is_sent_waits_for_the_uplink_and_counts_as_known_when_it_has_arrived() {
    let mut home = Home::among(&[(2, 10, 0)]);
    let mut spec = elsewhere();
    spec.inputs = vec![Payload::inline(vec![0; 125_000])];
    let given = |n, known_after| Assignment::Given { to: id(2), attempt: attempt(n, 1), run: RUN, known_after };

    home.submit(1, spec.clone());
    assert_eq!(home.due_in(), Some(AWARD_PATIENCE + ms(30) + ms(200) + ms(10)));
    assert_eq!(home.assignments(), [given(1, ms(20))]);
    home.requester.deadlines.clear(&task(1));
    home.now = at(1_004);
    home.submit(2, spec.clone());
    assert_eq!(home.due_in(), Some(AWARD_PATIENCE + ms(30) + ms(200) + ms(16)));
    assert_eq!(home.assignments(), [given(2, ms(26))]);
    home.now = at(1_100);
    home.submit(3, spec);
    assert_eq!(home.assignments(), [given(3, ms(20))], "the uplink was idle meanwhile");
    assert_eq!(home.requester.negotiation_messages, 3);
}

#[test]
fn an_uplink_in_use_is_part_of_the_cost() {
    let mut home = Home::among(&[(2, 10, 0)]);
    let mut large = elsewhere();
    large.inputs = vec![Payload::inline(vec![0; 12_500_000])];
    home.places[0].start_in = ms(500);
    home.submit(1, large);

    home.submit(2, TaskSpec { inputs: vec![Payload::inline(vec![0])], ..spec() });
    home.submit(3, spec());

    assert_eq!(home.entry(2).executor, Some(id(ME)), "a second of uplink is before it");
    assert_eq!(home.entry(3).executor, Some(id(2)), "what sends nothing does not wait for what is sent");
}

#[test]
fn each_attempt_has_a_record_of_its_own_number() {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    home.submit(1, elsewhere());
    home.now = at(1_003);
    home.hear(2, declined(attempt(1, 1), DeclineReason::QueueFull));

    let records = &home.entry(1).records;
    assert_eq!(records.iter().map(|record| record.epoch).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(records.iter().map(|record| record.decided_in_us).collect::<Vec<_>>(), [0, 3_000]);
    assert_eq!(records[1].executor, Some(id(3)));
}

#[test]
fn an_award_carries_the_task_and_what_is_safe_here() {
    let mut home = Home::among(&[(2, 0, 0)]);
    home.submit(1, elsewhere());
    home.hear(2, done(attempt(1, 1)));

    let outputs = home.submit(2, elsewhere());

    let [(2, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((&award.received[..], award.home, award.work), (&[attempt(1, 1)][..], id(ME), RUN));
    assert_eq!((&award.spec, award.kept, award.hops), (&elsewhere(), false, 0));
}

/// What it was told itself needs no mention: an award to oneself takes nothing that others are owed.
#[test]
fn an_award_at_home_carries_no_acknowledgements() {
    let mut home = Home::among(&[(2, 0, 0)]);
    let mut local = spec();
    local.policy.local_only = true;
    home.submit(1, local);

    let [Message::Award(award)] = &home.to_self[..] else { panic!("{:?}", home.to_self) };
    assert_eq!(award.received, []);
}

// ── Nobody ──────────────────────────────────────────────────────────────────────────────────────────────────────────

fn error(outputs: &[Output]) -> TaskError {
    match &ends(outputs)[..] {
        [Err(error)] => error.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_that_nobody_may_run_fails_at_once_with_the_reasons_counted() {
    let mut home = Home::among(&[(2, 0, 0), (3, 0, 0)]);
    home.places[2].load.memory_bytes = 0;
    let mut spec = spec();
    spec.policy.labels.insert("moon".into(), "yes".into());

    let outputs = home.submit(1, spec);
    let reasons = "3 × missing label".to_owned();
    assert_eq!(error(&outputs), TaskError::NoCandidate { candidates: 3, excluded: 3, reasons });

    let mut pinned = elsewhere();
    pinned.policy.labels.insert("away".into(), "yes".into());
    home.places[1].load.memory_bytes = 0;
    let reasons = "1 × missing label, 2 × too little memory".to_owned();
    assert_eq!(error(&home.submit(2, pinned)), TaskError::NoCandidate { candidates: 3, excluded: 3, reasons });
}

#[test]
fn a_task_that_everybody_declined_fails_with_what_they_said() {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    home.submit(1, elsewhere());
    home.hear(2, declined(attempt(1, 1), DeclineReason::QueueFull));

    let outputs = home.hear(3, declined(attempt(1, 2), DeclineReason::QueueFull));

    assert_eq!(error(&outputs), TaskError::AllDeclined { asked: 2, reasons: "queue full".into() }, "said once");
}

#[test]
fn who_cannot_wait_hears_that_all_are_busy_when_they_are() {
    let last_word = |patience, reason| {
        let mut home = Home::among(&[(2, 0, 0)]);
        home.submit(1, TaskSpec { patience, ..elsewhere() });
        error(&home.hear(2, declined(attempt(1, 1), reason)))
    };
    let brief = Patience::Within(Duration::from_secs(10));

    let overloaded = TaskError::Overloaded { held: 1, retry_after: RETRY };
    assert_eq!(last_word(brief, DeclineReason::QueueFull), overloaded);
    let declined = |why: &str| TaskError::AllDeclined { asked: 1, reasons: why.into() };
    assert_eq!(last_word(Patience::Endless, DeclineReason::QueueFull), declined("queue full"));
    assert_eq!(last_word(brief, DeclineReason::Leaving), declined("shutting down"));
}

#[test]
fn a_task_whose_only_executor_died_waits_for_another_for_ten_seconds() {
    let mut home = Home::among(&[(2, 0, 0)]);
    home.submit(1, elsewhere());
    let lose = |home: &mut Home| home.act(|home, now, around, out| home.peer_lost(now, id(2), around, out));
    home.now = at(10_999);
    let outputs = lose(&mut home);
    assert_eq!((ends(&outputs), home.due_in()), (vec![], Some(RETRY)));
    assert_eq!(home.entry(1).tried.len(), 0, "who declined may have room by then");
    home.places[1].member.labels.clear();

    assert_eq!(ends(&home.pass(RETRY_FOR - RETRY)), []);
    assert!(matches!(error(&home.pass(RETRY * 2)), TaskError::NoCandidate { .. }));
}

/// However often somebody is asked meanwhile who then declines.
#[test]
fn a_task_that_nobody_takes_after_its_executor_died_is_given_up_after_ten_seconds() {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    home.submit(1, elsewhere());
    home.act(|home, now, around, out| home.peer_lost(now, id(2), around, out));
    let lost = home.now;
    let mut ended = Vec::new();

    while ended.is_empty() {
        let outputs = match home.entry(1).phase {
            Phase::Awarded { to, .. } => {
                home.hear(to.0[0], declined(attempt(1, home.entry(1).epoch), DeclineReason::Sandbox))
            }
            _ => home.pass(RETRY),
        };
        ended = ends(&outputs);
        assert!(home.now.since(lost) < RETRY_FOR + RETRY * 2);
    }

    assert!(home.now.since(lost) >= RETRY_FOR);
}

#[test]
fn a_task_that_waited_goes_to_who_came_meanwhile() {
    let mut home = Home::among(&[(2, 0, 0)]);
    home.submit(1, elsewhere());
    home.act(|home, now, around, out| home.peer_lost(now, id(2), around, out));

    let outputs = home.pass(RETRY);

    assert_eq!(awards(&outputs).iter().map(|(to, award)| (*to, award.attempt.epoch)).collect::<Vec<_>>(), [(2, 3)]);
}

// ── Room ────────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_home_that_is_full_of_bytes_takes_no_more() {
    let mut home = Home::among(&[(2, 0, 0)]);
    let of_bytes = |bytes: usize| TaskSpec { inputs: vec![Payload::inline(vec![0; bytes])], ..elsewhere() };
    let most = usize::try_from(crate::config::HOME_BYTES_MAX).expect("it fits");

    assert_eq!(ends(&home.submit(1, of_bytes(most))), []);
    let refused = home.submit(2, of_bytes(1));

    let expected = TaskError::Overloaded { held: 1, retry_after: Duration::from_secs(1) };
    assert_eq!(error(&refused), expected);
    assert_eq!(ends(&home.submit(3, of_bytes(0))), [], "what weighs nothing has room");
}

#[test]
fn a_home_that_has_as_many_tasks_as_it_may_takes_no_more() {
    let mut home = Home::among(&[(2, 0, 0)]);
    for n in 0..crate::config::HOME_TASKS_MAX as u128 {
        home.requester.book.enter(Time::ZERO, TaskId((n << 32).to_be_bytes()), String::new(), elsewhere());
    }

    let held = crate::config::HOME_TASKS_MAX;
    assert_eq!(
        error(&home.submit(1, elsewhere())),
        TaskError::Overloaded { held, retry_after: Duration::from_secs(1) }
    );
}

#[test]
fn who_would_wait_too_long_is_refused_before_anything_is_begun() {
    let mut home = Home::among(&[(2, 0, 800)]);
    let spec = |longest| TaskSpec { patience: Patience::Within(ms(longest)), ..elsewhere() };

    assert_eq!(ends(&home.submit(1, spec(800))), []);
    assert_eq!(error(&home.submit(2, spec(500))), TaskError::Overloaded { held: 1, retry_after: ms(300) });
    assert!(home.requester.book.get(task(2)).is_none());
    let nowhere = {
        let mut nowhere = spec(500);
        nowhere.policy.labels.insert("moon".into(), "yes".into());
        nowhere
    };
    assert!(matches!(error(&home.submit(3, nowhere)), TaskError::NoCandidate { .. }), "that is what its user hears");
}
