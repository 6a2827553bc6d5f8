//! Asking for offers: when it is decided, for whom, and what the others hear.

use super::super::*;
use super::home::*;
use crate::task::spec::Variant;

/// Three busy neighbours that were silent long enough to be asked: they would end a task after 205, 225 and 305 ms.
fn asking() -> Home {
    let mut home = Home::among(&[(2, 10, 100), (3, 30, 110), (4, 10, 200), (5, 10, 900)]);
    home.places.iter_mut().for_each(|place| place.heard_ago = Duration::from_secs(6));
    let outputs = home.submit(1, elsewhere());
    let asked: Vec<u8> = said(&outputs).iter().map(|(to, _)| *to).collect();
    assert_eq!(asked, [2, 3, 4], "the three best are asked");
    home
}

/// Whom the task is given to when this one offers to start it so late.
fn offered(home: &mut Home, from: u8, start_ms: u64) -> Option<u8> {
    let outputs = home.hear(from, Message::Offer(offer(attempt(1, 1), start_ms)));
    awards(&outputs).first().map(|(to, _)| *to)
}

/// The neighbour would end it after its way there and back and the run, had it an idle core.
fn at_distance(from: u8, rtt_ms: u64) -> Home {
    let mut home = Home::among(&[(2, 10, 100), (3, 30, 110), (4, rtt_ms, 200)]);
    home.places.iter_mut().for_each(|place| place.heard_ago = Duration::from_secs(6));
    home.submit(1, elsewhere());
    assert!(matches!(home.entry(1).phase, Phase::Asking { .. }) && from == 4);
    home
}

#[test]
fn the_best_offer_wins_when_all_have_come_and_the_others_are_let_go() {
    let mut home = asking();

    assert_eq!(offered(&mut home, 2, 90), None);
    assert_eq!(offered(&mut home, 4, 60), None);
    let outputs = home.hear(3, Message::Offer(offer(attempt(1, 1), 80)));

    let [(to, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((to, award.firm, award.expected_start), (4, true, ms(60)));
    let released: Vec<_> = said(&outputs).into_iter().filter(|(_, it)| matches!(it, Message::Release(_))).collect();
    let release = Message::Release(attempt(1, 1));
    assert_eq!(released, [(2, &release), (3, &release)]);
    assert_eq!(home.requester.negotiation_messages, 3 + 2 + 1, "three asks, two releases, an award");
}

#[test]
fn the_record_has_offers_as_they_were_made() {
    let mut home = asking();

    let awarded = [(2, 90), (4, 60), (3, 80)].map(|(from, start_ms)| offered(&mut home, from, start_ms));

    assert_eq!(awarded, [None, None, Some(4)]);
    let record = home.entry(1).records.last().expect("it was decided");
    let start = |n| record.assessments.iter().find(|it| it.peer == id(n)).map(|it| it.start_in);
    assert_eq!([2, 3, 4, 5].map(start), [90, 80, 60, 900].map(|start_ms| Some(ms(start_ms))));
    assert_eq!((record.asked, record.method, record.executor), (3, Method::Offers, Some(id(4))));
    let verdicts: Vec<_> = record.verdicts.iter().map(|(peer, verdict, _)| (peer.0[0], *verdict)).collect();
    assert_eq!(verdicts, [(2, Verdict::Offered), (4, Verdict::Won), (3, Verdict::Offered)]);
}

#[test]
fn an_idle_core_is_taken_at_once() {
    assert_eq!(offered(&mut asking(), 4, 0), Some(4));
    assert_eq!(offered(&mut asking(), 4, 1), Some(4));
    assert_eq!(offered(&mut asking(), 4, 2), None, "almost idle is not idle");
}

/// The cheapest of the two that have not answered is believed to end it after 205 ms; 230.6 is near enough to that.
#[test]
fn an_idle_core_far_away_is_not_worth_more_than_a_busy_one_nearby() {
    assert_eq!(offered(&mut at_distance(4, 130), 4, 0), Some(4));
    assert_eq!(offered(&mut at_distance(4, 131), 4, 0), None);
    assert_eq!(offered(&mut at_distance(4, 900), 4, 0), None);
}

#[test]
fn who_has_answered_is_not_waited_for() {
    let mut home = asking();
    assert_eq!(offered(&mut home, 2, 90), None);
    assert_eq!(offered(&mut home, 3, 300), None);

    assert_eq!(offered(&mut home, 4, 400), Some(2));
}

#[test]
fn an_offer_for_another_attempt_or_from_who_was_not_ranked_is_let_go() {
    let mut home = asking();
    let let_go = |outputs: &[Output], to: u8, of: TaskRef| {
        assert_eq!(outputs, [Output::Send { to: id(to), message: Message::Release(of) }]);
    };

    let_go(&home.hear(2, Message::Offer(offer(attempt(1, 2), 0))), 2, attempt(1, 2));
    let_go(&home.hear(2, Message::Offer(offer(attempt(7, 1), 0))), 2, attempt(7, 1));
    let_go(&home.hear(9, Message::Offer(offer(attempt(1, 1), 0))), 9, attempt(1, 1));
    assert_eq!(offered(&mut home, 4, 0), Some(4));
    let_go(&home.hear(2, Message::Offer(offer(attempt(1, 1), 0))), 2, attempt(1, 1));
}

#[test]
fn a_peer_is_asked_about_the_build_that_is_best_there_and_no_word_of_it_changes_that() {
    let mut home = Home::among(&[(2, 10, 100), (3, 30, 110)]);
    home.places.iter_mut().for_each(|place| place.heard_ago = Duration::from_secs(6));
    let mut spec = elsewhere();
    let build = spec.variants[0].clone();
    // All take as long: the one that loses least is the best.
    spec.variants = [0.3, 0.1, 0.2].map(|loss| Variant { loss, ..build.clone() }).to_vec();

    let asked = home.submit(1, spec);
    let outputs = home.hear(2, Message::Offer(Offer { variant: 200, ..offer(attempt(1, 1), 0) }));

    let builds = |output: &Output| match output {
        Output::Send { message: Message::Ask(ask), .. } => Some(ask.variants.len()),
        _ => None,
    };
    assert_eq!(asked.iter().filter_map(builds).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(awards(&outputs).first().map(|(_, award)| award.variant), Some(1));
}

#[test]
fn offers_are_awaited_for_the_longest_way_and_a_little_more() {
    let mut home = asking();
    assert_eq!(home.due_in(), Some(ms(36) + OFFER_PATIENCE), "1.2 times 30 ms");
    offered(&mut home, 3, 500);

    let outputs = home.pass(ms(36) + OFFER_PATIENCE);

    let to: Vec<u8> = awards(&outputs).iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [3], "the only offer there is");
}

#[test]
fn who_is_silent_is_not_asked_again() {
    let mut home = asking();

    let outputs = home.pass(ms(36) + OFFER_PATIENCE);

    let [(5, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(award.attempt, attempt(1, 2));
    let tried: Vec<_> = home.entry(1).tried.iter().map(|(peer, why)| (peer.0[0], why.as_str())).collect();
    assert_eq!(tried, [(2, "silent"), (3, "silent"), (4, "silent")]);
}

#[test]
fn who_declines_to_offer_is_not_waited_for() {
    let mut home = asking();
    let refuse = |home: &mut Home, from| home.hear(from, declined(attempt(1, 1), DeclineReason::QueueFull));

    assert_eq!(refuse(&mut home, 2), []);
    assert_eq!(offered(&mut home, 3, 300), None);
    let outputs = refuse(&mut home, 4);

    assert_eq!(awards(&outputs).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [3]);
    assert_eq!(home.entry(1).tried.keys().copied().collect::<Vec<_>>(), [id(2), id(4)]);
}

#[test]
fn who_dies_is_not_waited_for() {
    let mut home = asking();
    let lose = |home: &mut Home, n| home.act(|home, now, around, out| home.peer_lost(now, id(n), around, out));

    assert_eq!(lose(&mut home, 2), []);
    assert_eq!(offered(&mut home, 3, 300), None);
    let outputs = lose(&mut home, 4);

    assert_eq!(awards(&outputs).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [3]);
    assert_eq!((home.entry(1).failures, home.requester.replacements), (0, 0), "nothing was lost with them");
}

#[test]
fn an_offer_of_one_that_has_gone_since_is_not_taken() {
    let mut home = asking();
    assert_eq!([offered(&mut home, 2, 60), offered(&mut home, 3, 90)], [None, None]);

    home.gone.insert(id(2));
    let outputs = home.hear(4, Message::Offer(offer(attempt(1, 1), 200)));

    let [(to, award)] = awards(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(to, 3);
    assert!(!award.alternatives.contains(&id(2)), "nor is it named to others: {award:?}");
    assert!(!said(&outputs).iter().any(|(to, _)| *to == 2), "{outputs:?}");
}

#[test]
fn a_task_is_placed_anew_when_all_that_offered_have_gone() {
    let mut home = asking();
    assert_eq!([offered(&mut home, 2, 60), offered(&mut home, 3, 90)], [None, None]);

    home.gone.extend([id(2), id(3)]);
    home.places.retain(|place| !home.gone.contains(&place.member.peer));
    let outputs = home.act(|home, now, around, out| home.peer_lost(now, id(4), around, out));

    assert_eq!(awards(&outputs).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [5]);
}

/// What is said to oneself is no message.
#[test]
fn home_is_asked_like_others_and_costs_nothing() {
    let mut home = Home::among(&[(2, 10, 100), (3, 30, 110)]);
    home.places.iter_mut().for_each(|place| place.heard_ago = Duration::from_secs(6));
    home.places[0].start_in = ms(150);

    home.submit(1, spec());
    assert!(matches!(&home.to_self[..], [Message::Ask(_)]), "{:?}", home.to_self);
    assert_eq!(home.requester.negotiation_messages, 2);
    home.hear(ME, Message::Offer(offer(attempt(1, 1), 400)));
    home.hear(2, Message::Offer(offer(attempt(1, 1), 200)));
    let outputs = home.hear(3, Message::Offer(offer(attempt(1, 1), 300)));

    assert_eq!(awards(&outputs).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2]);
    assert!(matches!(&home.to_self[..], [Message::Ask(_), Message::Release(_)]), "{:?}", home.to_self);
    assert_eq!(home.requester.negotiation_messages, 4, "two asks, a release, an award");
}

#[test]
fn an_ask_says_what_an_offer_must_reckon_with() {
    let mut home = Home::among(&[(2, 10, 100), (3, 30, 110)]);
    home.places.iter_mut().for_each(|place| place.heard_ago = Duration::from_secs(6));
    let mut spec = elsewhere();
    spec.inputs = vec![Payload::inline(vec![0; 1_000])];
    spec.deadline = Some(Duration::from_secs(4));
    let memory_bytes = spec.limits.memory_bytes;

    let outputs = home.submit(1, spec);

    let variants = vec![AskVariant { module: MODULE, module_bytes: 1_000, work: RUN }];
    let deadline_in = Some(Duration::from_secs(4));
    let ask = Message::Ask(Ask { attempt: attempt(1, 1), variants, input_bytes: 1_000, memory_bytes, deadline_in });
    assert_eq!(said(&outputs), [(2, &ask), (3, &ask)]);
}
