//! Who follows a leader, word by word.

use super::super::*;
use super::desk::*;

const AS_GUARDIAN: [u8; 3] = [OTHER, ME, THIRD];
const AS_HOME: [u8; 3] = [ME, OTHER, THIRD];
const AS_WITNESS: [u8; 3] = [OTHER, THIRD, ME];

fn bids(said: &[(u8, Counsel)]) -> Vec<(u8, Ballot, bool)> {
    said.iter()
        .filter_map(|(to, counsel)| match counsel {
            Counsel::Prepare(prepare) => Some((*to, prepare.ballot, prepare.leader_gave_up)),
            _ => None,
        })
        .collect()
}

fn bid_of(desk: &mut Desk) -> Option<Ballot> {
    match &desk.kept().stage {
        Stage::Preparing { ballot, .. } => Some(*ballot),
        _ => None,
    }
}

// ── Looking after leaders ───────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn whoever_has_a_copy_follows_a_leader_that_is_away_for_a_lease() {
    let follows = |members: [u8; 3]| {
        let mut desk = Desk::with(&members, Stage::Idle);
        // Somebody else leads it.
        desk.kept().see(ballot(3, OTHER));
        desk.gone.insert(id(OTHER));
        let looks = (LEASE.as_millis() / WATCH_EVERY.as_millis()) as u32;
        assert_eq!(desk.pass(WATCH_EVERY * looks), [], "not before the lease is over");
        desk.pass(WATCH_EVERY);
        bid_of(&mut desk)
    };

    assert_eq!(follows(AS_GUARDIAN), Some(ballot(4, ME)));
    assert_eq!(follows(AS_HOME), Some(ballot(4, ME)));
    assert_eq!(follows(AS_WITNESS), None, "a witness has nothing to lead with");
}

#[test]
fn what_has_ended_or_is_led_from_here_is_not_followed() {
    let mut ended = Desk::with(&AS_GUARDIAN, Stage::Idle);
    ended.kept().resolved = true;
    let mut led = Desk::with(&AS_GUARDIAN, Stage::Leading);
    for desk in [&mut ended, &mut led] {
        desk.gone.insert(id(OTHER));

        assert_eq!(desk.pass(ms(20_000)), []);
        assert_eq!(bid_of(desk), None);
    }
}

#[test]
fn a_leader_that_came_back_meanwhile_has_a_whole_lease_again() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.gone.insert(id(OTHER));
    desk.pass(ms(4_000));
    desk.gone.clear();
    desk.pass(ms(600));
    assert_eq!(desk.durable.away.len(), 0);
    desk.gone.insert(id(OTHER));

    desk.pass(ms(4_900));
    assert_eq!(bid_of(&mut desk), None);
    desk.pass(ms(1_200));
    assert_eq!(bid_of(&mut desk), Some(ballot(1, ME)));
}

#[test]
fn nobody_is_remembered_who_leads_nothing_any_more() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.add(TaskId([8; 16]), &AS_HOME, Stage::Leading);
    desk.gone.insert(id(OTHER));
    desk.pass(ms(1_000));
    assert_eq!((desk.durable.away.len(), desk.durable.doubted.len()), (1, 0));

    desk.kept().resolved = true;
    desk.pass(ms(1_000));
    assert_eq!(desk.durable.away.len(), 0);

    desk.gone.clear();
    desk.kept().resolved = false;
    desk.pass(ms(1_000));
    assert_eq!(desk.durable.doubted.len(), 1);
    desk.kept().resolved = true;
    desk.pass(ms(1_000));
    assert_eq!(desk.durable.doubted.len(), 0);
}

#[test]
fn a_bid_of_ones_own_that_led_to_nothing_is_made_again() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.kept().acceptor.promised = ballot(3, ME);
    desk.kept().see(ballot(3, ME));

    desk.pass(ms(6_000));

    assert_eq!(bid_of(&mut desk), Some(ballot(3, ME)));
}

#[test]
fn a_leader_that_is_here_is_asked_now_and_then_whether_it_leads() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.pass(ms(600));
    assert_eq!(desk.durable.doubted.get(&id(OTHER)), Some(&at(1_500)), "since the first look");

    assert_eq!(desk.pass(ms(4_800)), []);
    assert_eq!(desk.pass(ms(200)), [(OTHER, "inquire")]);
    assert_eq!(desk.pass(ms(4_800)), []);
    assert_eq!(desk.pass(ms(200)), [(OTHER, "inquire")]);
}

/// The look that comes just when the time is over asks.
#[test]
fn doubt_is_over_after_five_seconds_and_not_later() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.durable.doubted.insert(id(OTHER), at(1_000));
    desk.now = at(1_000) + DOUBT_AFTER;
    let said = desk.act(|durable, lent| durable.watch(lent));
    assert_eq!(said, [(OTHER, Counsel::Inquire(vec![case()]))]);

    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.gone.insert(id(OTHER));
    desk.durable.away.insert(id(OTHER), at(1_000));
    desk.now = at(1_000) + LEASE;
    let said = desk.act(|durable, lent| durable.watch(lent));
    assert_eq!(bids(&said), [(OTHER, ballot(1, ME), false), (THIRD, ballot(1, ME), false)]);
}

/// In a large mesh it may be there without a place for each other in the views.
#[test]
fn a_leader_that_is_missed_is_called_once_before_it_is_followed() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.act(|durable, lent| durable.watch(lent));
    assert_eq!(desk.wanted(), Vec::<u8>::new());
    desk.gone.insert(id(OTHER));

    let said = desk.act(|durable, lent| durable.watch(lent));
    assert_eq!((said, desk.wanted()), (vec![], vec![OTHER]));

    desk.act(|durable, lent| durable.watch(lent));
    assert_eq!(desk.wanted(), Vec::<u8>::new());
}

#[test]
fn members_meet_until_all_know_the_end() {
    let mut desk = Desk::with(&AS_HOME, Stage::Telling { known: BTreeSet::from([id(ME), id(OTHER)]) });
    assert_eq!(desk.durable.partners(), BTreeSet::from([ME, OTHER, THIRD].map(id)));

    desk.hear(THIRD, Counsel::Known(case()));

    assert_eq!(desk.durable.partners(), BTreeSet::new());
}

#[test]
fn nothing_is_looked_after_when_nothing_is_shared() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    assert_eq!(desk.durable.next_deadline(), Some(desk.now + WATCH_EVERY));
    desk.act(|durable, lent| durable.watch(lent));
    assert_eq!(desk.durable.next_deadline(), Some(desk.now + WATCH_EVERY));

    let mut alone = Desk::with(&[ME], Stage::Leading);
    alone.act(|durable, lent| durable.watch(lent));
    assert_eq!(alone.durable.next_deadline(), Some(at(3_601_000)), "when it is forgotten");
}

// ── Bidding ─────────────────────────────────────────────────────────────────────────────────────────────────────────

fn take_over(desk: &mut Desk) -> Option<Ballot> {
    let standing = Standing { case: case(), ballot: ballot(0, OTHER), holds: false, leads: false };
    desk.hear(OTHER, Counsel::Standing(standing));
    bid_of(desk)
}

#[test]
fn a_bid_is_above_all_that_was_heard_of_unless_it_is_ones_own_and_the_highest() {
    let bid = |promised: Ballot, seen: Ballot| {
        let mut desk = Desk::with(&AS_HOME, Stage::Idle);
        desk.kept().acceptor.promised = promised;
        desk.kept().seen = seen;
        let leader = seen.max(promised).owner;
        desk.gone.insert(leader);
        desk.durable.away.insert(leader, Time::ZERO);
        desk.now = at(60_000);
        desk.act(|durable, lent| durable.watch(lent));
        bid_of(&mut desk)
    };

    assert_eq!(bid(ballot(3, ME), ballot(3, ME)), Some(ballot(3, ME)));
    assert_eq!(bid(ballot(3, ME), ballot(2, OTHER)), Some(ballot(3, ME)));
    assert_eq!(bid(ballot(3, ME), ballot(4, OTHER)), Some(ballot(5, ME)));
    assert_eq!(bid(ballot(0, ME), ballot(0, ME)), Some(ballot(1, ME)), "in round 0 something may have been proposed");
    assert_eq!(bid(ballot(2, OTHER), ballot(2, OTHER)), Some(ballot(3, ME)));
}

#[test]
fn a_bid_goes_to_the_others_first_and_to_oneself_with_the_first_promise() {
    let mut desk = Desk::with(&AS_GUARDIAN, preparing(ballot(1, ME)));
    desk.gone.insert(id(OTHER));

    let said = desk.act(|durable, lent| durable.bid(TASK, None, lent));
    let own = |to| (to, ballot(1, ME), false);
    assert_eq!((bids(&said), desk.wanted()), (vec![own(OTHER), own(THIRD)], vec![OTHER]));
    let said = desk.act(|durable, lent| durable.bid(TASK, Some(id(THIRD)), lent));
    assert_eq!((bids(&said), desk.wanted()), (vec![own(THIRD)], vec![]));

    let promised = Promised { case: case(), ballot: ballot(1, ME), accepted: None };
    let said = desk.hear(THIRD, Counsel::Promised(Box::new(promised)));
    assert_eq!((bids(&said), desk.wanted()), (vec![own(ME)], vec![]));
    let said = desk.act(|durable, lent| durable.bid(TASK, None, lent));
    assert_eq!(
        (bids(&said), desk.wanted()),
        (vec![own(OTHER), own(ME)], vec![OTHER]),
        "whoever promised need not again"
    );
}

#[test]
fn a_bid_is_repeated_less_and_less_often_and_withdrawn_after_the_fourth_time() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.gone.insert(id(OTHER));
    assert_eq!(take_over(&mut desk), Some(ballot(1, ME)));
    let began = desk.now;
    let again = [(OTHER, "prepare"), (THIRD, "prepare")];

    for pause in [400, 800, 1_600] {
        assert_eq!(desk.pass(ms(pause - 1)), []);
        assert_eq!(desk.pass(ms(1)), again);
    }
    assert_eq!(desk.pass(ms(3_199)), []);
    assert!(!desk.is_idle());
    desk.pass(ms(1));
    assert!(desk.is_idle() && desk.now == began + ms(6_000));
    assert_eq!(desk.durable.away.get(&id(OTHER)), Some(&desk.now), "another lease passes before the next");
}

#[test]
fn a_refusal_withdraws_a_bid_only_when_somebody_is_above_it() {
    let refused = |of: Case, from: u8, promised: Ballot| {
        let mut desk = Desk::with(&AS_GUARDIAN, preparing(ballot(2, ME)));
        desk.hear(from, Counsel::Refused(Refused { case: of, promised, leader_is_here: false }));
        let seen = desk.kept().seen;
        (desk.is_idle(), seen)
    };

    assert_eq!(refused(case(), THIRD, ballot(3, THIRD)), (true, ballot(3, THIRD)));
    assert_eq!(refused(case(), THIRD, ballot(2, ME)), (false, ballot(2, ME)));
    assert_eq!(refused(case(), THIRD, ballot(1, THIRD)), (false, ballot(1, THIRD)));
    let unheard = (false, ballot(0, OTHER));
    assert_eq!(refused(Case { term: TERM + 1, ..case() }, THIRD, ballot(3, THIRD)), unheard);
    assert_eq!(refused(case(), STRANGER, ballot(3, THIRD)), unheard);
}

#[test]
fn a_leader_that_is_outbid_leads_no_more_and_its_own_ballot_is_no_reason() {
    for stage in [Stage::Leading, proposing(ballot(0, ME), &[ME])] {
        let mut desk = Desk::with(&AS_HOME, stage);
        let refused = |promised| Counsel::Refused(Refused { case: case(), promised, leader_is_here: true });

        desk.hear(OTHER, refused(ballot(0, ME)));
        assert_eq!(desk.happened(), Vec::<&str>::new());
        desk.hear(OTHER, refused(ballot(1, OTHER)));
        assert_eq!((desk.happened(), desk.is_idle()), (vec!["deposed"], true));
    }
}

// ── Who leads ───────────────────────────────────────────────────────────────────────────────────────────────────────

fn standing(ballot: Ballot, holds: bool, leads: bool) -> Counsel {
    Counsel::Standing(Standing { case: case(), ballot, holds, leads })
}

#[test]
fn a_leader_that_says_it_does_not_lead_is_followed_at_once() {
    let follows = |members: [u8; 3], from: u8, said: Counsel, stage: Stage| {
        let mut desk = Desk::with(&members, stage);
        if members == AS_HOME {
            desk.kept().see(ballot(1, OTHER));
        }
        let said = desk.hear(from, said);
        bids(&said).first().map(|(_, ballot, gave_up)| (ballot.round, *gave_up))
    };
    let gave_up = || standing(ballot(0, OTHER), true, false);

    assert_eq!(follows(AS_GUARDIAN, OTHER, gave_up(), Stage::Idle), Some((1, true)));
    assert_eq!(follows(AS_HOME, OTHER, gave_up(), Stage::Idle), Some((2, true)));
    assert_eq!(follows(AS_WITNESS, OTHER, gave_up(), Stage::Idle), None, "a witness has nothing to lead with");
    assert_eq!(follows(AS_GUARDIAN, THIRD, gave_up(), Stage::Idle), None, "that one never led");
    assert_eq!(follows(AS_GUARDIAN, OTHER, standing(ballot(0, OTHER), true, true), Stage::Idle), None, "it leads");
    assert_eq!(follows(AS_GUARDIAN, OTHER, gave_up(), preparing(ballot(1, ME))), None, "it is being followed");
    assert_eq!(follows(AS_GUARDIAN, STRANGER, gave_up(), Stage::Idle), None);
    let other_term =
        Standing { case: Case { term: TERM + 1, ..case() }, ballot: ballot(0, OTHER), holds: true, leads: false };
    assert_eq!(follows(AS_GUARDIAN, OTHER, Counsel::Standing(other_term), Stage::Idle), None);
}

#[test]
fn nobody_is_followed_where_the_end_is_known() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Idle);
    desk.kept().resolved = true;

    assert_eq!(desk.hear(OTHER, standing(ballot(4, OTHER), false, false)), []);

    assert_eq!(desk.kept().seen, ballot(0, OTHER));
}

#[test]
fn whoever_knows_nothing_of_a_task_does_not_pass_for_its_leader() {
    let mut desk = Desk::with(&AS_HOME, Stage::Idle);

    desk.hear(THIRD, standing(ballot(0, THIRD), false, false));
    assert_eq!(desk.kept().seen, ballot(0, ME));
    desk.hear(THIRD, standing(ballot(2, THIRD), false, true));
    assert_eq!(desk.kept().seen, ballot(2, THIRD));
}

#[test]
fn a_leader_hears_from_another_that_it_was_followed() {
    let mut desk = Desk::with(&AS_HOME, Stage::Leading);

    desk.hear(OTHER, standing(ballot(0, ME), true, false));
    assert_eq!(desk.happened(), Vec::<&str>::new());
    desk.hear(OTHER, standing(ballot(1, OTHER), true, true));
    assert_eq!((desk.happened(), desk.is_idle()), (vec!["deposed"], true));
}

#[test]
fn whoever_should_have_a_copy_and_has_none_gets_it_from_the_leader() {
    let wanted = |from: u8, holds: bool| {
        let mut desk = Desk::with(&AS_HOME, Stage::Leading);
        desk.hear(from, standing(ballot(0, ME), holds, false));
        desk.happened()
    };

    assert_eq!(wanted(OTHER, false), ["copy wanted"]);
    assert_eq!(wanted(OTHER, true), Vec::<&str>::new());
    assert_eq!(wanted(THIRD, false), Vec::<&str>::new(), "a witness keeps none");
}

#[test]
fn only_the_guardians_word_that_it_has_a_copy_confirms_one() {
    let confirmed = |from: u8, holds: bool| {
        let mut desk = Desk::with(&AS_HOME, Stage::Leading);
        desk.kept().confirmed = false;
        desk.hear(from, standing(ballot(0, ME), holds, false));
        desk.kept().confirmed
    };
    assert_eq!([confirmed(OTHER, true), confirmed(OTHER, false), confirmed(THIRD, true)], [true, false, false]);

    let mut desk = Desk::with(&AS_HOME, Stage::Leading);
    desk.hear(OTHER, standing(ballot(0, ME), false, false));
    assert!(desk.kept().confirmed, "what was confirmed stays so");
}

#[test]
fn who_asks_hears_who_leads_and_who_has_a_copy() {
    let answer = |members: [u8; 3], stage: Stage| {
        let said = Desk::with(&members, stage).hear(OTHER, Counsel::Inquire(vec![case()]));
        match &said[..] {
            [(OTHER, Counsel::Standing(standing))] => (standing.holds, standing.leads),
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(answer(AS_HOME, Stage::Leading), (true, true));
    assert_eq!(answer(AS_HOME, Stage::Idle), (true, false));
    assert_eq!(answer(AS_GUARDIAN, preparing(ballot(1, ME))), (true, true), "whoever bids may lead in a moment");
    assert_eq!(answer(AS_WITNESS, Stage::Idle), (false, false));
}

#[test]
fn who_asks_after_a_submission_that_was_refused_hears_that_it_was() {
    let answer = |members: [u8; 3], term: u64| {
        let mut desk = Desk::with(&members, Stage::Leading);
        desk.kept().refused_since = Some(TERM - 2);
        desk.kinds(OTHER, Counsel::Inquire(vec![Case { term, ..case() }]))
    };

    assert_eq!(answer(AS_HOME, TERM - 1), [(OTHER, "resolved")]);
    assert_eq!(answer(AS_HOME, TERM - 2), [(OTHER, "resolved")]);
    assert_eq!(answer(AS_HOME, TERM - 3), [], "that is before its time");
    assert_eq!(answer(AS_HOME, TERM), [(OTHER, "standing")]);
    assert_eq!(answer(AS_GUARDIAN, TERM - 1), [], "its home says so, nobody else");
}

#[test]
fn a_task_is_withdrawn_by_its_home_from_who_leads_it() {
    let withdrawn = |stage: Stage, from: u8, term: u64| {
        let mut desk = Desk::with(&AS_GUARDIAN, stage);
        desk.hear(from, Counsel::Withdraw(Case { term, ..case() }));
        desk.happened()
    };

    assert_eq!(withdrawn(Stage::Leading, OTHER, TERM), ["withdrawn"]);
    assert_eq!(withdrawn(Stage::Leading, THIRD, TERM), Vec::<&str>::new());
    assert_eq!(withdrawn(Stage::Leading, OTHER, TERM + 1), Vec::<&str>::new());
    assert_eq!(withdrawn(Stage::Idle, OTHER, TERM), Vec::<&str>::new());
    let mut desk = Desk::with(&AS_HOME, Stage::Idle);
    desk.kept().see(ballot(1, OTHER));
    let said = desk.act(|durable, lent| durable.withdraw(TASK, lent.out));
    assert_eq!(said, [(OTHER, Counsel::Withdraw(case()))]);
}

/// A home that is cut off refuses a task whose copy its guardian has: the user was told, and nobody else.
#[test]
fn an_heir_acknowledges_nothing_anew_that_its_home_may_have_refused() {
    let follows = |promises: &[(u8, Option<Vote>)]| {
        let mut desk = Desk::with(&AS_GUARDIAN, preparing(ballot(1, ME)));
        for (from, accepted) in promises {
            let promised = Promised { case: case(), ballot: ballot(1, ME), accepted: accepted.clone() };
            let own = desk.hear(*from, Counsel::Promised(Box::new(promised)));
            for (_, counsel) in own.into_iter().filter(|(to, _)| *to == ME) {
                for (_, answer) in desk.hear(ME, counsel) {
                    desk.hear(ME, answer);
                }
            }
        }
        assert!(desk.kept().leads());
        desk.durable.unpromised(TASK).is_some()
    };

    assert!(follows(&[(THIRD, None)]), "home may have refused it");
    assert!(!follows(&[(THIRD, None), (OTHER, None)]), "that it says later counts as well");
    assert!(!follows(&[(OTHER, None)]), "it has not, and cannot any more");
    let refused = Vote { ballot: ballot(0, OTHER), resolution: refusal() };
    assert!(follows(&[(OTHER, Some(refused))]));
}

#[test]
fn a_home_that_is_back_is_asked_whether_it_refused() {
    let mut desk = Desk::with(&AS_GUARDIAN, Stage::Leading);
    desk.kept().acceptor.promised = ballot(1, ME);
    desk.kept().confirmed = false;
    let standing = |leads| Standing { case: case(), ballot: ballot(0, OTHER), holds: true, leads };

    let said = desk.hear(OTHER, Counsel::Standing(standing(false)));
    assert_eq!(bids(&said), [(OTHER, ballot(1, ME), true)]);
    assert_eq!(bids(&desk.hear(THIRD, Counsel::Standing(standing(false)))), []);
    let said = desk.hear(OTHER, Counsel::Inquire(vec![case()]));
    assert!(matches!(&said[..], [(OTHER, Counsel::Standing(_)), (OTHER, Counsel::Prepare(_))]), "{said:?}");

    let promised = Promised { case: case(), ballot: ballot(1, ME), accepted: None };
    desk.hear(OTHER, Counsel::Promised(Box::new(promised)));
    assert_eq!(desk.durable.unpromised(TASK), None);
    assert_eq!(bids(&desk.hear(OTHER, Counsel::Standing(standing(false)))), []);
}
