//! Business rules where tasks are placed.

use super::super::*;
use super::home::*;
use crate::certificate::Role;
use crate::flow::SITE;
use crate::placement::policy::Exclusion;
use crate::rules::tests::set;
use crate::rules::{Compiled, Rule, Then, When};
use crate::task::spec::{About, Priority};

fn ruled(then: Then) -> Compiled {
    let when = When { class: Some("reading".into()), ..When::default() };
    Compiled::new(set(1, vec![Rule { name: "it".into(), line: 9, when, then }]))
}

/// A reading that no home here may run.
fn reading(input_bytes: usize) -> TaskSpec {
    let about = Box::new(About { class: "reading".into(), ..About::default() });
    TaskSpec { about, inputs: vec![Payload::inline(vec![0; input_bytes])], ..elsewhere() }
}

/// Neighbour 2 is at home's site, 3 at another.
fn two_sites(rules: Compiled) -> Home {
    let mut home = Home::among(&[(2, 30, 0), (3, 2, 0)]);
    for (place, site) in home.places.iter_mut().zip(["a", "a", "b"]) {
        place.member.labels.insert(SITE.into(), site.into());
    }
    home.rules = Some(rules);
    home
}

#[test]
fn who_breaks_a_rule_gets_nothing_and_the_record_names_the_rule_and_its_line() {
    let mut home = two_sites(ruled(Then { wan_hours: Some(crate::rules::Hours(Vec::new())), ..Then::default() }));

    let outputs = home.submit(1, reading(1_000));

    assert_eq!(awards(&outputs).iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2], "the nearer is at another site");
    let record = home.entry(1).records.last().unwrap();
    let excluded = record.assessments.iter().find(|it| it.peer == id(3)).unwrap().exclusion.clone().unwrap();
    let Exclusion::Rule { name, line, .. } = *excluded else { panic!("{excluded:?}") };
    assert_eq!((name.as_str(), line), ("it", 9));
    assert_eq!(record.rules.iter().map(|rule| rule.line).collect::<Vec<_>>(), [9]);
}

#[test]
fn a_task_that_no_rule_is_about_goes_where_it_is_cheapest() {
    let mut home = two_sites(ruled(Then { tiers: Some(vec![Role::Cloud]), ..Then::default() }));

    assert_eq!(awards(&home.submit(1, elsewhere())).len(), 1);
    assert_eq!(awards(&home.submit(2, reading(1_000))).len(), 0, "nobody here is a cloud");
    assert!(home.entry(1).records[0].rules.is_empty());
}

#[test]
fn a_rule_sets_priority_and_lambda_over_what_the_user_says() {
    let mut home = two_sites(ruled(Then { priority: Some(Priority::Low), lambda: Some(0.25), ..Then::default() }));

    home.submit(1, TaskSpec { priority: Priority::High, lambda: Some(8.0), ..reading(1_000) });

    assert_eq!((home.entry(1).spec.priority, home.entry(1).records[0].lambda), (Priority::Low, 0.25));
}

#[test]
fn an_award_says_nothing_of_what_rules_look_at() {
    let mut home = two_sites(ruled(Then { lambda: Some(1.0), ..Then::default() }));

    let outputs = home.submit(1, reading(1_000));

    assert_eq!(*awards(&outputs)[0].1.spec.about, About::default());
    assert_eq!(home.entry(1).spec.about.class, "reading", "another attempt needs it again");
}

/// 100 Mbit/s here: a share of a hundredth is 125 kB a second, and five of them may go at once.
#[test]
fn what_is_over_the_share_goes_to_the_same_site_or_waits() {
    let share = || ruled(Then { uplink_share: Some(0.01), ..Then::default() });
    let mut home = two_sites(share());
    let to = |outputs: &[Output]| awards(outputs).iter().map(|(to, _)| *to).collect::<Vec<_>>();

    let first: Vec<_> = (1..=7).map(|n| to(&home.submit(n, reading(100_000)))).collect();

    assert_eq!(first[..5], [[3]; 5]);
    assert_eq!(first[5..], [[2]; 2], "the other site's share is used up");

    let mut home = two_sites(share());
    home.places.remove(1);
    let alone: Vec<_> = (1..=7).map(|n| to(&home.submit(n, reading(100_000)))).collect();
    assert_eq!((alone[4].len(), alone[5].len(), alone[6].len()), (1, 0, 0), "nobody else may run them");
    assert_eq!(home.entry(6).records.len(), 1);

    let later = home.pass(Duration::from_secs(3));

    assert_eq!(to(&later), [3, 3], "they go when the share is free");
    assert_eq!(home.entry(6).epoch, attempt(6, 1).epoch, "to wait is no attempt");
}

#[test]
fn what_leaves_is_told_once_with_its_source() {
    let mut home = two_sites(ruled(Then { lambda: Some(1.0), ..Then::default() }));
    home.submit(1, reading(1_000));

    let moved = home.requester.take_moved();

    let [Moved { source, inline_bytes: 1_000, .. }] = &moved[..] else { panic!("{moved:?}") };
    assert_eq!((source.as_str(), home.requester.take_moved().len()), ("reading", 0));
}
