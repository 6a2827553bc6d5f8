//! Executors that vanish, fall silent, or come back.

use super::super::*;
use super::home::*;

fn awarded() -> Home {
    let mut home = Home::among(&[(2, 0, 0), (3, 40, 0)]);
    home.submit(1, elsewhere());
    home.assignments();
    home
}

fn lose(home: &mut Home, n: u8) -> Vec<Output> {
    home.act(|home, now, around, out| home.peer_lost(now, id(n), around, out))
}

fn placed(outputs: &[Output]) -> Vec<(u8, u64)> {
    awards(outputs).iter().map(|(to, award)| (*to, award.attempt.epoch)).collect()
}

#[test]
fn what_a_dead_peer_held_is_placed_anew_and_nothing_else_is() {
    let mut home = awarded();
    assert_eq!(lose(&mut home, 3), [], "it held nothing");

    let outputs = lose(&mut home, 2);

    assert_eq!(placed(&outputs), [(3, 2)]);
    assert_eq!((home.entry(1).failures, home.requester.replacements), (1, 1));
    assert_eq!(home.requester.ok_percent(id(2)), Some(0.0));
    assert_eq!(home.assignments()[0], Assignment::Settled { to: id(2), attempt: attempt(1, 1) });
    assert!(matches!(&home.entry(1).records[0].verdicts[..], [(_, Verdict::Lost, why)] if why == "it died"));
    let note = outputs.iter().find_map(|output| match output {
        Output::Notify(Event::TaskChanged { note: Some(note), .. }) => Some(note.clone()),
        _ => None,
    });
    assert_eq!(note, Some(format!("{} was lost: it died", id(2).short())));
}

#[test]
fn an_output_on_its_way_is_lost_with_its_holder() {
    let mut home = awarded();
    let blob = crate::task::spec::BlobRef { id: BlobId([5; 32]), bytes: 1 << 20, holder: id(2) };
    home.hear(2, Message::Outcome(Box::new(outcome(attempt(1, 1), Ending::Exited(0), Payload::Blob(blob)))));
    assert_eq!(lose(&mut home, 3), []);

    assert_eq!(placed(&lose(&mut home, 2)), [(3, 2)]);
}

fn attempts_until_it_fails(retries: Option<u8>) -> u32 {
    let mut home = Home::among(&[(2, 0, 0)]);
    home.submit(1, TaskSpec { retries, ..elsewhere() });
    for n in 1u32.. {
        let outputs = home.hear(2, declined(attempt(1, u64::from(n)), DeclineReason::Unknown));
        if let [Err(error)] = &ends(&outputs)[..] {
            let last = "the executor lost the task".to_owned();
            assert_eq!(error, &TaskError::AttemptsExhausted { attempts: n, last });
            return n;
        }
        assert!(n < 100, "it never ends");
    }
    unreachable!()
}

#[test]
fn a_task_is_tried_as_often_as_its_user_allows_and_eight_times_at_most() {
    let tried = [Some(0), Some(1), Some(6), Some(7), Some(8), Some(200), None].map(attempts_until_it_fails);

    assert_eq!(tried, [1, 2, 7, 8, 8, 8, 8]);
}

#[test]
fn a_silent_executor_is_asked_three_times_and_then_taken_to_have_lost_the_task() {
    let mut home = awarded();
    let first = home.due_in().expect("it is waited for");
    let query = |outputs: &[Output]| said(outputs) == [(2, &Message::Query(attempt(1, 1)))];

    assert!(query(&home.pass(first)), "where is it?");
    assert_eq!(home.due_in(), Some(LEASE));
    assert!(query(&home.pass(LEASE)) && query(&home.pass(LEASE)));
    let outputs = home.pass(LEASE);

    assert_eq!(said(&outputs)[0], (2, &Message::Cancel(attempt(1, 1))));
    assert_eq!(placed(&outputs), [(3, 2)]);
    assert_eq!(home.entry(1).tried.get(&id(2)).map(String::as_str), Some("it did not answer"));
}

#[test]
fn an_executor_that_is_not_here_is_not_asked() {
    let mut home = awarded();
    home.gone.insert(id(2));

    let outputs = home.pass(home.due_in().expect("it is waited for"));

    assert_eq!(said(&outputs)[0], (2, &Message::Cancel(attempt(1, 1))));
    assert_eq!(placed(&outputs), [(3, 2)]);
}

#[test]
fn a_peer_that_is_back_is_asked_after_what_it_was_given() {
    let mut home = awarded();
    let back = |home: &mut Home, n| home.act(|home, now, around, out| home.peer_back(now, id(n), around, out));

    assert_eq!(back(&mut home, 3), []);
    assert_eq!(said(&back(&mut home, 2)), [(2, &Message::Query(attempt(1, 1)))]);
}

#[test]
fn acknowledgements_are_among_what_is_due() {
    let mut home = awarded();
    assert_eq!(Home::among(&[]).due_in(), None);
    home.hear(2, done(attempt(1, 1)));

    let outputs = home.pass(Duration::from_secs(20));

    assert_eq!(said(&outputs), [(2, &Message::OutcomesReceived(vec![attempt(1, 1)]))]);
    assert_eq!(home.due_in(), None);
}
