//! Members that are members no more.

use std::collections::BTreeSet;

use super::mesh::{Mesh, mesh_key, ms, secs};
use super::*;
use crate::certificate::{
    Issuer, IssuerCertificate, RevocationList, SecretKey, SignedRevocations, VerifiedRevocations,
};
use crate::output::{Event, Output};

fn list(version: u64, peers: &[PeerId]) -> RevocationList {
    let peers = peers.iter().copied().collect();
    let mesh = mesh_key().mesh();
    RevocationList { mesh, version, previous: [0; 32], issued_unix_s: version, peers, issuers: BTreeSet::new() }
}

fn signed(list: &RevocationList) -> SignedRevocations {
    list.sign(&Issuer::of(&mesh_key()))
}

/// Signed by an issuer that the mesh has certified, and by whom nothing else is signed.
fn signed_by(n: u8, list: &RevocationList) -> SignedRevocations {
    let key = SecretKey::from_bytes(&[n; 32]);
    let (mesh, issuer, expires_unix_s) = (mesh_key().mesh(), key.peer(), u64::MAX);
    let certificate = IssuerCertificate { mesh, issuer, not_before_unix_s: 0, expires_unix_s };
    list.sign(&Issuer::new(key, certificate.sign(&mesh_key())))
}

fn verified(signed: SignedRevocations) -> VerifiedRevocations {
    signed.verify(mesh_key().mesh()).unwrap()
}

fn hand_in(mesh: &mut Mesh, at: usize, signed: SignedRevocations) -> Vec<PeerId> {
    mesh.on(at, |membership, lent| membership.revoke(lent, verified(signed)))
}

fn forgets(mesh: &Mesh, who: usize, at: usize) -> bool {
    let membership = &mesh.node(at).membership;
    membership.is_revoked(mesh.id(who)) && membership.neighbour(mesh.id(who)).is_none()
}

#[test]
fn one_that_is_revoked_is_forgotten_by_all_in_a_few_round_trips() {
    for seed in 0..10 {
        let mut mesh = Mesh::formed(20, seed);
        let lost = mesh.id(7);

        assert_eq!(hand_in(&mut mesh, 0, signed(&list(1, &[lost]))), [lost]);

        let took = mesh.run_until(ms(100), "forgotten by all", |mesh| {
            (0..20).filter(|at| *at != 7).all(|at| forgets(mesh, 7, at))
        });
        println!("seed {seed}: {took:?}");
        assert!(mesh.node(7).membership.is_revoked(lost), "it is told itself");
        mesh.run_for(secs(60));
        assert!((0..20).filter(|at| *at != 7).all(|at| forgets(&mesh, 7, at)), "seed {seed}: somebody let it in again");
    }
}

#[test]
fn whoever_was_cut_off_finds_out_when_it_is_back() {
    let mut mesh = Mesh::formed(12, 3);
    mesh.partition(0..4);
    mesh.run_for(secs(10));
    let lost = mesh.id(9);
    hand_in(&mut mesh, 11, signed(&list(1, &[lost])));
    mesh.run_for(secs(10));
    assert!((0..4).all(|at| !mesh.node(at).membership.is_revoked(lost)));

    mesh.mend();

    mesh.run_until(secs(15), "all know", |mesh| (0..12).filter(|at| *at != 9).all(|at| forgets(mesh, 9, at)));
}

#[test]
fn who_joins_later_learns_it_with_the_first_answer() {
    let mut mesh = Mesh::new(4, 1);
    mesh.on(1, |membership, lent| membership.discovered(lent, None, "at 0".into(), true));
    mesh.run_for(secs(2));
    let lost = mesh.id(3);
    hand_in(&mut mesh, 0, signed(&list(1, &[lost])));
    mesh.on(2, |membership, lent| membership.discovered(lent, None, "at 0".into(), true));

    mesh.run_until(ms(600), "it knows", |mesh| mesh.node(2).membership.is_revoked(lost));
}

#[test]
fn a_record_an_address_or_a_connection_does_not_bring_it_back() {
    let mut mesh = Mesh::formed(3, 1);
    let lost = mesh.id(2);
    hand_in(&mut mesh, 0, signed(&list(1, &[lost])));
    let (record, member) = (mesh.record(2), mesh.member(2));

    mesh.on(0, |membership, lent| {
        membership.discovered(lent, Some(lost), "at 2".into(), false);
        membership.record_verified(lent, record, member.clone(), vec!["at 2".into()], 9);
        membership.connected(lent, member, None);
    });

    assert!(forgets(&mesh, 2, 0));
    assert_eq!(mesh.node(0).membership.prospects.count(), 0, "nobody looks for it");
}

#[test]
fn a_newer_list_adds_and_an_older_one_or_the_same_changes_nothing() {
    let mut mesh = Mesh::formed(5, 1);
    let (first, second) = (mesh.id(3), mesh.id(4));
    let one = list(1, &[first]);
    let two = RevocationList { peers: [first, second].into(), ..one.next(signed(&one).digest(), 2) };

    assert_eq!(hand_in(&mut mesh, 0, signed(&one)), [first]);
    let head = mesh.node(0).membership.revocations().head();
    assert_eq!(hand_in(&mut mesh, 0, signed(&one)), []);
    assert_eq!(hand_in(&mut mesh, 0, signed(&two)), [second]);
    assert_ne!(mesh.node(0).membership.revocations().head(), head);
    assert_eq!(hand_in(&mut mesh, 0, signed(&one)), []);

    assert_eq!(mesh.node(0).membership.revocations().lists().count(), 1);
}

#[test]
fn who_was_revoked_once_stays_so_when_the_next_list_leaves_it_out() {
    let mut mesh = Mesh::formed(5, 1);
    let (first, second) = (mesh.id(3), mesh.id(4));
    hand_in(&mut mesh, 0, signed(&list(1, &[first])));

    hand_in(&mut mesh, 0, signed(&list(2, &[second])));

    assert!(mesh.node(0).membership.is_revoked(first) && mesh.node(0).membership.is_revoked(second));
}

#[test]
fn two_signers_revoke_side_by_side() {
    let mut mesh = Mesh::formed(6, 1);
    let (first, second) = (mesh.id(4), mesh.id(5));
    hand_in(&mut mesh, 0, signed_by(100, &list(1, &[first])));
    hand_in(&mut mesh, 1, signed_by(101, &list(1, &[second])));

    mesh.run_until(secs(1), "all know of both", |mesh| (0..4).all(|at| forgets(mesh, 4, at) && forgets(mesh, 5, at)));
    let heads: BTreeSet<u64> = (0..4).map(|at| mesh.node(at).membership.revocations().head()).collect();
    assert_eq!(heads.len(), 1, "the order in which they came is of no importance");
}

#[test]
fn what_a_stolen_issuer_revokes_is_void_once_the_mesh_key_says_so() {
    let mut mesh = Mesh::formed(4, 1);
    let victim = mesh.id(3);
    let thief = SecretKey::from_bytes(&[100; 32]).peer();
    hand_in(&mut mesh, 0, signed_by(100, &list(1, &[victim])));
    assert!(mesh.node(0).membership.is_revoked(victim));

    let stop = RevocationList { issuers: [thief].into(), ..list(1, &[]) };
    hand_in(&mut mesh, 0, stop.sign_as_mesh(&mesh_key()));

    assert!(!mesh.node(0).membership.is_revoked(victim));
    hand_in(&mut mesh, 0, signed_by(100, &list(2, &[victim])));
    assert!(!mesh.node(0).membership.is_revoked(victim), "it is not heard any more");
}

#[test]
fn a_neighbour_that_repeats_itself_is_not_verified_again_and_no_more_than_some_at_once() {
    let mut mesh = Mesh::formed(2, 1);
    let lost = PeerId([9; 32]);
    hand_in(&mut mesh, 0, signed(&list(3, &[lost])));
    let mut told = |list: SignedRevocations| {
        mesh.on(0, |membership, lent| {
            membership.revocations_told(lent, list);
            let orders = lent.out.drain();
            orders.iter().filter(|order| matches!(order, Output::VerifyRevocations(_))).count()
        })
    };

    assert_eq!(told(signed(&list(3, &[lost]))), 0, "the same");
    assert_eq!(told(signed(&list(2, &[lost]))), 0, "an older one");
    let started: usize = (4..100).map(|version| told(signed(&list(version, &[lost])))).sum();
    assert_eq!(started, 16);
}

#[test]
fn lists_of_many_signers_have_a_bound() {
    let mut mesh = Mesh::formed(2, 1);
    for n in 100..120 {
        let newer = RevocationList { issued_unix_s: u64::from(n), ..list(1, &[PeerId([n; 32])]) };
        hand_in(&mut mesh, 0, signed_by(n, &newer));
    }

    let held = mesh.node(0).membership.revocations();

    assert_eq!(held.lists().count(), 8);
    assert!(held.has(PeerId([119; 32])) && !held.has(PeerId([100; 32])), "the newest are held");
}

#[test]
fn a_second_list_of_one_version_is_said_to_be_one() {
    let mut mesh = Mesh::formed(2, 1);
    let (a, b) = (signed(&list(1, &[PeerId([8; 32])])), signed(&list(1, &[PeerId([9; 32])])));
    let (low, high) = if a.digest() < b.digest() { (a, b) } else { (b, a) };
    hand_in(&mut mesh, 0, low);

    let orders = mesh.on(0, |membership, lent| {
        membership.revoke(lent, verified(high));
        lent.out.drain()
    });

    assert!(orders.contains(&Output::Notify(Event::RevocationsForked { version: 1 })));
    assert!(mesh.node(0).membership.is_revoked(PeerId([8; 32])), "nobody is let in by it");
}
