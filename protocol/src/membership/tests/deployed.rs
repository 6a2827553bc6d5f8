//! Business rules on their way to everybody.

use super::mesh::{Mesh, mesh_key, ms, secs};
use crate::certificate::{Issuer, IssuerCertificate, RevocationList, SecretKey};
use crate::message::{Message, Ping, RulesWord};
use crate::output::Output;
use crate::rules::tests::{rule, set};
use crate::rules::{Rule, RuleSet, SignedRules, VerifiedRules};

fn of_the_mesh(version: u64, rules: Vec<Rule>) -> RuleSet {
    RuleSet { mesh: mesh_key().mesh(), ..set(version, rules) }
}

fn signed(version: u64, rules: Vec<Rule>) -> SignedRules {
    SignedRules::sign(&of_the_mesh(version, rules), &Issuer::of(&mesh_key()))
}

/// By an issuer that the mesh has certified as well.
fn signed_by(n: u8, version: u64) -> SignedRules {
    let key = SecretKey::from_bytes(&[n; 32]);
    let (mesh, issuer, expires_unix_s) = (mesh_key().mesh(), key.peer(), u64::MAX);
    let certificate = IssuerCertificate { mesh, issuer, not_before_unix_s: 0, expires_unix_s };
    SignedRules::sign(&of_the_mesh(version, vec![rule("a")]), &Issuer::new(key, certificate.sign(&mesh_key())))
}

fn verified(signed: SignedRules) -> VerifiedRules {
    signed.verify(mesh_key().mesh()).unwrap()
}

fn hand_in(mesh: &mut Mesh, at: usize, signed: SignedRules) -> bool {
    mesh.on(at, |membership, lent| membership.deploy(lent, verified(signed)))
}

fn version(mesh: &Mesh, at: usize) -> u64 {
    mesh.node(at).membership.deployed().held().map_or(0, |held| held.rules.set().version)
}

#[test]
fn rules_are_in_force_everywhere_in_a_few_round_trips_and_later_ones_replace_them() {
    for seed in 0..10 {
        let mut mesh = Mesh::formed(20, seed);

        assert!(hand_in(&mut mesh, 3, signed(1, vec![rule("a")])));
        let took = mesh.run_until(ms(500), "in force", |mesh| (0..20).all(|at| version(mesh, at) == 1));
        println!("seed {seed}: {took:?}");
        assert!(hand_in(&mut mesh, 11, signed(2, vec![rule("b")])));
        mesh.run_until(ms(500), "replaced", |mesh| (0..20).all(|at| version(mesh, at) == 2));
        assert!(!hand_in(&mut mesh, 3, signed(1, vec![rule("a")])), "an earlier set replaces nothing");

        mesh.run_for(secs(60));
        assert!((0..20).all(|at| version(&mesh, at) == 2), "seed {seed}");
    }
}

#[test]
fn who_was_cut_off_learns_them_when_it_is_back_and_who_joins_with_the_first_answer() {
    let mut mesh = Mesh::formed(12, 3);
    mesh.partition(0..4);
    mesh.run_for(secs(10));
    hand_in(&mut mesh, 11, signed(1, vec![rule("a")]));
    mesh.run_for(secs(10));
    assert!((0..4).all(|at| version(&mesh, at) == 0));

    mesh.mend();

    mesh.run_until(secs(15), "all have them", |mesh| (0..12).all(|at| version(mesh, at) == 1));
}

#[test]
fn of_two_sets_of_one_version_the_same_is_in_force_everywhere() {
    let mut mesh = Mesh::formed(8, 1);
    hand_in(&mut mesh, 0, signed(1, vec![rule("a")]));
    hand_in(&mut mesh, 7, signed(1, vec![rule("b")]));

    mesh.run_for(secs(90));

    let names: std::collections::BTreeSet<String> = (0..8)
        .map(|at| mesh.node(at).membership.deployed().held().unwrap().rules.set().rules[0].name.clone())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn an_earlier_set_is_not_verified_and_no_more_than_some_at_once() {
    let mut mesh = Mesh::formed(2, 1);
    hand_in(&mut mesh, 0, signed(3, vec![rule("a")]));
    let from = mesh.id(1);
    let mut told = |signed: SignedRules| {
        mesh.on(0, |membership, lent| {
            membership.rules_word(lent, from, RulesWord::Here(signed));
            lent.out.drain().iter().filter(|order| matches!(order, Output::VerifyRules { .. })).count()
        })
    };

    assert_eq!(told(signed(3, vec![rule("a")])), 0, "the same");
    assert_eq!(told(signed(2, vec![rule("b")])), 0, "an earlier one");
    let started: usize = (4..100).map(|version| told(signed(version, vec![rule("a")]))).sum();
    assert_eq!(started, 4);
}

#[test]
fn what_a_stolen_issuer_deployed_gives_way_to_any_other_set() {
    let mut mesh = Mesh::formed(4, 1);
    hand_in(&mut mesh, 0, signed_by(100, 1 << 39));
    mesh.run_until(ms(500), "in force", |mesh| (0..4).all(|at| version(mesh, at) == 1 << 39));
    let thief = SecretKey::from_bytes(&[100; 32]).peer();
    let (peers, issuers) = (Default::default(), [thief].into());
    let stop =
        RevocationList { mesh: mesh_key().mesh(), version: 1, previous: [0; 32], issued_unix_s: 1, peers, issuers };
    let stop = stop.sign_as_mesh(&mesh_key()).verify(mesh_key().mesh()).unwrap();
    mesh.on(0, |membership, lent| membership.revoke(lent, stop));
    mesh.run_for(secs(2));

    assert!(!hand_in(&mut mesh, 1, signed_by(100, (1 << 39) + 1)), "it is not heard any more");
    assert!(hand_in(&mut mesh, 1, signed(1, vec![rule("a")])));

    mesh.run_until(ms(500), "replaced", |mesh| (0..4).all(|at| version(mesh, at) == 1));
}

#[test]
fn who_says_nothing_of_rules_is_sent_none() {
    let mut mesh = Mesh::formed(2, 1);
    hand_in(&mut mesh, 0, signed(1, vec![rule("a")]));
    let from = mesh.id(1);

    let orders = mesh.on(0, |membership, lent| {
        let ping = Ping {
            sequence: 1,
            incarnation: 0,
            coordinate: None,
            load: None,
            revocations: 0,
            rules: 0,
            services: 0,
            wants_load: false,
        };
        lent.out.drain();
        membership.pinged(lent, from, ping);
        lent.out.drain()
    });

    assert!(orders.iter().all(|order| !matches!(order, Output::Send { message: Message::Rules(_), .. })), "{orders:?}");
}
