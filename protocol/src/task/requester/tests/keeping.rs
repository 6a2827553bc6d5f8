//! Tasks on disk, as the requesting half sees them.

use super::super::*;
use super::home::*;

fn kept(n: u8, spec: TaskSpec) -> Home {
    let mut home = Home::with_store(&[(2, 0, 0), (3, 40, 0)]);
    let outputs = home.submit_as(n, spec, Durability::Disk);
    assert!(outputs.contains(&Output::Acknowledged { task: task(n) }), "{outputs:?}");
    home
}

/// The same home after a restart, with the task on its disk.
fn restarted(records: &[(Vec<u8>, Vec<u8>)], boot: u32) -> Home {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    home.act(|home, now, around, out| home.restored(now, records, (boot, 1_700_000_001_000), around, out));
    home
}

/// Submits a kept task and gives what its disk has then.
fn records() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut home = Home::with_store(&[(2, 0, 0)]);
    let mut written = BTreeMap::new();
    home.requester.submit_into(&mut written, elsewhere());
    written.into_iter().collect()
}

impl Requester {
    /// Takes a task on and notes what would be written.
    fn submit_into(&mut self, written: &mut BTreeMap<Vec<u8>, Vec<u8>>, spec: TaskSpec) {
        let mut out = Outbox::of(id(ME));
        let keeping = Keeping { durability: Durability::Disk, retention: Duration::from_secs(3_600) };
        let kept =
            KeptTask { name: "kept".into(), spec, keeping, accepted: at(1_000), aged: Duration::ZERO, failures: 0 };
        let council =
            Council { term: self.durable.new_term(), members: vec![Contact { peer: id(ME), address: String::new() }] };
        let mut lent = Lent { now: at(1_000), is_here: &|_| true, out: &mut out };
        self.durable.admit(task(1), kept, council, &mut lent);
        while let Some(output) = out.pop() {
            if let Output::Persist { changes, .. } = output {
                for change in changes {
                    match change {
                        crate::store::Change::Put { key, bytes } => drop(written.insert(key, bytes)),
                        crate::store::Change::Delete { key } => drop(written.remove(&key)),
                    }
                }
            }
        }
    }
}

fn queried(outputs: &[Output]) -> Vec<(u8, u64)> {
    let query = |(to, message): &(u8, &Message)| match message {
        Message::Query(of) => Some((*to, of.epoch)),
        _ => None,
    };
    said(outputs).iter().filter_map(query).collect()
}

/// The last epoch before those of this start; what ran before it has smaller ones.
fn before(home: &Home) -> u64 {
    home.entry(1).issued
}

fn says_it_runs(home: &mut Home, from: u8, epoch: u64) -> Vec<Output> {
    home.hear(from, Message::Progress(Progress { attempt: attempt(1, epoch), state: TaskState::Running }))
}

#[test]
fn a_kept_task_is_acknowledged_before_it_is_placed_and_with_epochs_of_this_start() {
    let mut home = Home::with_store(&[(2, 0, 0)]);

    let outputs = home.submit_as(1, elsewhere(), Durability::Disk);

    let acknowledged = outputs.iter().position(|output| *output == Output::Acknowledged { task: task(1) });
    let awarded = outputs.iter().position(|output| matches!(output, Output::Send { .. }));
    assert!(acknowledged.is_some() && acknowledged < awarded, "{outputs:?}");
    let [(2, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((award.attempt.epoch, award.kept), (epoch::before_first(0, 1) + 1, true));
    assert_eq!(home.submit_as(1, elsewhere(), Durability::Disk), [Output::Acknowledged { task: task(1) }]);
}

#[test]
fn a_task_that_cannot_be_written_is_refused() {
    let mut home = Home::with_store(&[(2, 0, 0)]);
    home.writes = false;

    let outputs = home.submit_as(1, elsewhere(), Durability::Disk);

    assert_eq!(ends(&outputs), [Err(TaskError::NotStored { why: "full".into() })]);
    assert!(home.requester.book.get(task(1)).is_none() && home.due_in().is_none());
}

#[test]
fn what_is_handed_in_again_after_its_end_is_not_run_again() {
    let mut home = kept(1, elsewhere());
    let epoch = home.entry(1).epoch;
    let first = ends(&home.hear(2, done(attempt(1, epoch))));

    let again = home.submit_as(1, elsewhere(), Durability::Disk);

    assert_eq!((ends(&again), again.len(), first.len()), (first, 1, 1));
}

#[test]
fn an_executor_is_thanked_when_the_end_is_decided() {
    let mut home = kept(1, elsewhere());
    let epoch = home.entry(1).epoch;

    home.hear(2, done(attempt(1, epoch)));

    let thanks = Message::OutcomesReceived(vec![attempt(1, epoch)]);
    assert_eq!(said(&home.pass(Duration::from_secs(20))), [(2, &thanks)]);
}

// ── After a restart ─────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_restored_task_waits_for_who_has_it_and_is_then_placed_anew() {
    let mut home = restarted(&records(), 2);
    assert_eq!((home.due_in(), home.entry(1).ours), (Some(Duration::from_secs(3)), true));

    let outputs = home.pass(Duration::from_secs(3));

    let [(2, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(award.attempt.epoch, epoch::before_first(0, 2) + 1);
}

#[test]
fn an_attempt_of_before_the_restart_goes_on_where_it_runs() {
    let mut home = restarted(&records(), 2);
    let (earlier, last) = (epoch::before_first(0, 1) + 1, before(&home));
    assert_eq!(says_it_runs(&mut home, 3, earlier), []);

    let outputs = home.pass(Duration::from_secs(3));

    assert!(last > earlier);
    assert_eq!((queried(&outputs), awards(&outputs).len()), (vec![(3, earlier)], 0));
    assert_eq!((states(&outputs), home.entry(1).executor), (vec![TaskState::Running], Some(id(3))));
    assert_eq!(home.due_in(), Some(LEASE));
    assert_eq!(ends(&home.hear(3, done(attempt(1, earlier)))).len(), 1);
}

#[test]
fn the_latest_attempt_of_before_the_restart_is_the_one_that_goes_on() {
    let mut home = restarted(&records(), 2);
    let first = epoch::before_first(0, 1) + 1;
    says_it_runs(&mut home, 2, first + 1);
    says_it_runs(&mut home, 3, first);
    assert_eq!(queried(&home.pass(Duration::from_secs(3))), [(2, first + 1)]);

    let mut home = restarted(&records(), 2);
    says_it_runs(&mut home, 2, first);
    says_it_runs(&mut home, 3, first);
    assert_eq!(queried(&home.pass(Duration::from_secs(3))), [(3, first)], "whoever spoke last of the same");
}

#[test]
fn an_attempt_that_was_never_made_is_not_adopted() {
    for made_up in [epoch::before_first(0, 1), epoch::before_first(0, 2) + 1, 0] {
        let mut home = restarted(&records(), 2);
        assert_eq!(says_it_runs(&mut home, 3, made_up), []);
        assert_eq!(ends(&home.hear(3, done(attempt(1, made_up)))), []);

        let outputs = home.pass(Duration::from_secs(3));

        assert_eq!(awards(&outputs).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2], "epoch {made_up:x}");
    }
}

#[test]
fn whoever_said_it_has_the_task_and_went_away_is_not_waited_for() {
    let mut home = restarted(&records(), 2);
    says_it_runs(&mut home, 3, epoch::before_first(0, 1) + 1);
    home.gone.insert(id(3));

    assert_eq!(awards(&home.pass(Duration::from_secs(3))).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_result_of_before_the_restart_is_taken_at_once_and_teaches_nothing() {
    let mut home = restarted(&records(), 2);
    let of = attempt(1, epoch::before_first(0, 1) + 3);
    let mut learnt = None;

    let result = outcome(of, Ending::Exited(0), Payload::inline(b"out".to_vec()));
    let outputs = home.act(|home, now, around, out| learnt = home.handle_outcome(now, id(3), result, around, out));

    assert_eq!((ends(&outputs).len(), learnt.is_none()), (1, true), "what was expected of it is not known any more");
    assert!(matches!(&ends(&outputs)[..], [Ok(result)] if result.executor == id(3) && result.attempts == 3));
}

#[test]
fn a_task_that_is_under_way_is_not_taken_for_one_of_before() {
    let mut home = kept(1, elsewhere());
    let current = home.entry(1).epoch;

    assert_eq!(said(&says_it_runs(&mut home, 3, 1)), [(3, &Message::Cancel(attempt(1, 1)))]);
    assert_eq!(ends(&home.hear(3, done(attempt(1, 1)))), []);

    assert_eq!((home.entry(1).epoch, home.requester.stale_outcomes), (current, 1));
}

#[test]
fn an_unfinished_task_in_memory_is_nothing_to_adopt() {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    home.submit(1, elsewhere());

    assert!(!home.requester.may_adopt(attempt(1, 1), id(3)));
    assert!(!home.requester.may_adopt(attempt(44, 1), id(3)));
    assert!(!home.requester.held_back(attempt(1, 1), id(3)));
}

#[test]
fn a_damaged_record_is_shown_as_a_failure_and_answered_by_nobody() {
    let mut found = records();
    let (_, bytes) = found.iter_mut().find(|(key, _)| key[0] == b'c').expect("its council is on disk");
    bytes[10] ^= 4;
    let home = restarted(&found, 2);

    let entry = home.entry(1);
    assert_eq!((entry.state, entry.name.as_str(), entry.spec.variants.len()), (TaskState::Failed, "(unreadable)", 0));
    assert!(entry.is_damaged() && entry.is_kept(), "it stays until its store says otherwise");
    assert!(!home.requester.answers_for(task(1)), "another may know more");
    assert_eq!(home.due_in(), None);
}

#[test]
fn a_peer_answers_for_what_is_in_its_book() {
    let mut home = kept(1, elsewhere());
    home.submit(2, elsewhere());

    assert_eq!([1, 2, 3].map(|n| home.requester.answers_for(task(n))), [true, true, false]);
}

// ── Waiting for somebody ────────────────────────────────────────────────────────────────────────────────────────────

fn nowhere() -> TaskSpec {
    let mut spec = spec();
    spec.policy.labels.insert("moon".into(), "yes".into());
    spec
}

#[test]
fn a_kept_task_that_nobody_may_run_is_tried_again_less_and_less_often() {
    let mut home = kept(1, nowhere());
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let pause = home.due_in().expect("it is tried again");
        pauses.push(u64::try_from(pause.as_millis()).expect("it is short"));
        home.pass(pause);
    }

    assert_eq!(pauses, [300, 600, 1_200, 2_400, 4_800, 9_600, 10_000, 10_000]);
}

/// As after a night of bad links, for which everybody is to blame.
#[test]
fn a_kept_task_takes_who_was_late_before_when_nobody_else_came_for_half_a_minute() {
    let mut home = Home::with_store(&[(2, 0, 0), (3, 40, 0), (4, 80, 0)]);
    for late in [2, 3] {
        for _ in 0..3 {
            home.estimates.kept_word(home.now, id(late), Kept::Never);
        }
    }
    home.estimates.kept_word(home.now, id(4), Kept::Lied);
    home.submit_as(1, elsewhere(), Durability::Disk);
    let began = home.now;
    assert!(matches!(home.entry(1).phase, Phase::Waiting));

    let mut awarded = Vec::new();
    while awarded.len() < 12 {
        let next = home.due_in().expect("it is not given up");
        let outputs = home.pass(next);
        for (to, _) in awards(&outputs) {
            awarded.push((to, home.now.since(began).as_secs()));
            home.gone.insert(id(to));
            home.act(|home, now, around, out| home.peer_lost(now, id(to), around, out));
            home.gone.remove(&id(to));
        }
    }

    assert_eq!(awarded[..3], [(2, 28), (3, 57), (2, 86)], "half a minute each, another one each time");
    assert!(awarded.iter().all(|(to, _)| *to != 4), "never to the liar: {awarded:?}");
    assert_eq!(home.entry(1).failures, 0, "nobody expected better");
}

#[test]
fn a_task_that_may_be_tried_once_waits_for_who_is_trusted() {
    let mut home = Home::with_store(&[(2, 0, 0)]);
    for _ in 0..3 {
        home.estimates.kept_word(home.now, id(2), Kept::Never);
    }
    home.submit_as(1, TaskSpec { retries: Some(0), ..elsewhere() }, Durability::Disk);

    let outputs = home.pass(Duration::from_secs(600));

    assert!(awards(&outputs).is_empty(), "{outputs:?}");
}

#[test]
fn few_decisions_are_remembered_of_a_task_that_waits() {
    let mut home = kept(1, nowhere());
    home.pass(Duration::from_secs(600));

    let records = &home.entry(1).records;
    assert_eq!(records.len(), 16);
    assert!(records[0].epoch > 1 && records.is_sorted_by_key(|record| record.epoch), "the latest ones");
}

#[test]
fn few_decisions_are_remembered_of_a_task_that_is_refused_again_and_again() {
    let mut home = kept(1, elsewhere());

    for _ in 0..120 {
        let next = home.due_in().expect("it is not given up");
        match home.entry(1).phase {
            Phase::Awarded { to, .. } => {
                home.hear(to.0[0], declined(attempt(1, home.entry(1).epoch), DeclineReason::QueueFull))
            }
            _ => home.pass(next),
        };
    }

    assert!(home.entry(1).epoch > before(&home) + 40);
    assert!(home.entry(1).records.len() <= RECORDS_MAX);
}

#[test]
fn a_task_withdrawn_while_another_led_it_does_not_go_on_here() {
    let mut home = kept(1, elsewhere());
    home.act(|home, _, _, out| home.deposed(task(1), out));
    home.act(|home, _, _, out| home.cancel(task(1), out));

    let outputs = home.act(|home, now, around, out| home.leads(now, task(1), None, around, out));

    assert_eq!(ends(&outputs), [Err(TaskError::Cancelled)]);
}

#[test]
fn a_task_with_a_deadline_ends_by_it() {
    let mut home = kept(1, TaskSpec { deadline: Some(Duration::from_secs(5)), ..nowhere() });
    assert_eq!(ends(&home.pass(ms(4_999))), []);

    let outputs = home.pass(ms(1));

    assert_eq!(ends(&outputs), [Err(TaskError::DeadlinePassed { after: Duration::from_secs(5) })]);
}

#[test]
fn who_runs_a_task_when_its_deadline_passes_is_told() {
    let mut home = kept(1, TaskSpec { deadline: Some(ms(100)), ..elsewhere() });
    let epoch = home.entry(1).epoch;

    let outputs = home.pass(ms(100));

    assert!(said(&outputs).contains(&(2, &Message::Cancel(attempt(1, epoch)))), "{outputs:?}");
    assert_eq!(ends(&outputs), [Err(TaskError::DeadlinePassed { after: ms(100) })]);
}

/// No majority of its council was there in all the time it was kept, or its own disk failed when it ended.
#[test]
fn who_waits_for_a_task_that_is_forgotten_hears_so_and_no_end() {
    let forgotten = |home: &mut Home| home.act(|home, _, _, out| home.forgotten(task(1), out));
    let mut home = kept(1, TaskSpec { deadline: Some(ms(100)), ..elsewhere() });
    let epoch = home.entry(1).epoch;

    let outputs = forgotten(&mut home);

    assert_eq!(ends(&outputs), []);
    assert!(outputs.contains(&Output::Forgotten { task: task(1) }), "{outputs:?}");
    assert!(said(&outputs).contains(&(2, &Message::Cancel(attempt(1, epoch)))), "{outputs:?}");
    assert_eq!(forgotten(&mut home), []);

    let mut heir = kept(1, elsewhere());
    heir.requester.book.open(task(1)).unwrap().ours = false;
    assert!(!forgotten(&mut heir).contains(&Output::Forgotten { task: task(1) }), "nobody waits where it was followed");
}

// ── Guardians ───────────────────────────────────────────────────────────────────────────────────────────────────────

fn guardian(outputs: &[Output]) -> Option<(u8, crate::task::durable::Case)> {
    said(outputs).into_iter().find_map(|(to, message)| match message {
        Message::Council(counsel) => match &**counsel {
            Counsel::Guard(guard) => {
                Some((to, crate::task::durable::Case { task: guard.task, term: guard.council.term }))
            }
            _ => None,
        },
        _ => None,
    })
}

fn answer(home: &mut Home, from: u8, case: crate::task::durable::Case, refusal: Option<&str>) -> Vec<Output> {
    let refusal = refusal.map(str::to_owned);
    let counsel = Counsel::Guarded(crate::task::durable::Guarded { case, refusal });
    home.hear(from, Message::Council(Box::new(counsel)))
}

#[test]
fn two_others_are_needed_to_guard_a_task() {
    let mut home = Home::with_store(&[(2, 5, 0)]);

    let outputs = home.submit_as(1, elsewhere(), Durability::Guarded);

    let reasons = "a guardian and a witness that are willing are needed, other peers that are here: 1".to_owned();
    assert_eq!(ends(&outputs), [Err(TaskError::NoGuardian { asked: 0, reasons })]);
}

#[test]
fn a_guardian_that_refused_is_not_asked_again_for_half_a_minute() {
    let mut home = Home::with_store(&[(2, 5, 0), (3, 10, 0), (4, 20, 0)]);
    let outputs = home.submit_as(1, elsewhere(), Durability::Guarded);
    let (first, case) = guardian(&outputs).expect("somebody is asked");
    assert_eq!(first, 2, "the nearest");

    let outputs = answer(&mut home, 2, case, Some("no room"));
    assert!(matches!(&ends(&outputs)[..], [Err(TaskError::NoGuardian { reasons, .. })] if reasons == "no room"));
    let asked = |home: &mut Home, n| guardian(&home.submit_as(n, elsewhere(), Durability::Guarded)).map(|(to, _)| to);

    assert_eq!(asked(&mut home, 2), Some(3));
    home.now = at(30_999);
    assert_eq!(asked(&mut home, 3), Some(3));
    home.now = at(31_000);
    assert_eq!(asked(&mut home, 4), Some(2), "it may have room by now");
}

#[test]
fn a_guarded_task_is_not_known_until_it_is_promised() {
    let mut home = Home::with_store(&[(2, 5, 0), (3, 10, 0)]);
    let outputs = home.submit_as(1, elsewhere(), Durability::Guarded);
    let (guardian, case) = guardian(&outputs).expect("somebody is asked");
    assert_eq!(home.requester.find(home.now, task(1)), None);
    assert_eq!(home.submit_as(1, elsewhere(), Durability::Guarded), [], "the answer to the first is one to this");

    let outputs = answer(&mut home, guardian, case, None);

    assert!(outputs.contains(&Output::Acknowledged { task: task(1) }));
    home.now = at(4_000);
    let found = home.requester.find(home.now, task(1)).expect("it is known");
    assert_eq!((found.state, found.holder, found.age), (TaskState::Placing, id(ME), Duration::from_secs(3)));
    assert_eq!((found.unpromised, found.result), (false, None));
}

#[test]
fn a_task_withdrawn_before_it_was_promised_ends_when_it_is() {
    let mut home = Home::with_store(&[(2, 5, 0), (3, 10, 0)]);
    let outputs = home.submit_as(1, elsewhere(), Durability::Guarded);
    let (guardian, case) = guardian(&outputs).expect("somebody is asked");
    let outputs = home.act(|home, _, _, out| home.cancel(task(1), out));
    assert_eq!(ends(&outputs), []);

    answer(&mut home, guardian, case, None);

    assert!(matches!(home.entry(1).phase, Phase::Resolving), "{:?}", home.entry(1).phase);
}

#[test]
fn few_peers_are_known_to_be_reluctant() {
    let mut home = Home::with_store(&[]);
    home.requester.reluctant = (0..64).map(|n| (PeerId([100 + n; 32]), at(1_000))).collect();
    home.places.extend(Home::among(&[(2, 5, 0), (3, 10, 0), (4, 20, 0)]).places.drain(1..));
    let outputs = home.submit_as(1, elsewhere(), Durability::Guarded);
    let (first, case) = guardian(&outputs).expect("somebody is asked");

    answer(&mut home, first, case, Some("no room"));

    assert_eq!((home.requester.reluctant.len(), home.requester.reluctant.contains_key(&id(first))), (64, false));
}
