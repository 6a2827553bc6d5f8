//! Records of services on their way to everybody.

use super::mesh::{Mesh, mesh_key, ms, secs};
use crate::api::services::Spread;
use crate::certificate::{Issuer, IssuerCertificate, RevocationList, SecretKey};
use crate::message::{Message, Ping, ServicesWord};
use crate::output::Output;
use crate::service::tests::{record, removed};
use crate::service::{Registry, ServiceRecord, SignedService, VerifiedService};

fn of_the_mesh(record: ServiceRecord) -> ServiceRecord {
    ServiceRecord { mesh: mesh_key().mesh(), ..record }
}

fn signed(record: ServiceRecord) -> SignedService {
    SignedService::by_issuer(&of_the_mesh(record), &Issuer::of(&mesh_key()))
}

/// By an issuer that the mesh has certified as well.
fn signed_by(n: u8, record: ServiceRecord) -> SignedService {
    let key = SecretKey::from_bytes(&[n; 32]);
    let (mesh, issuer, expires_unix_s) = (mesh_key().mesh(), key.peer(), u64::MAX);
    let certificate = IssuerCertificate { mesh, issuer, not_before_unix_s: 0, expires_unix_s };
    SignedService::by_issuer(&of_the_mesh(record), &Issuer::new(key, certificate.sign(&mesh_key())))
}

fn verified(signed: SignedService) -> VerifiedService {
    signed.verify(mesh_key().mesh()).unwrap()
}

fn hand_in(mesh: &mut Mesh, at: usize, signed: SignedService) -> bool {
    mesh.on(at, |membership, lent| membership.deploy_services(lent, vec![verified(signed)]))
}

fn registry(mesh: &Mesh, at: usize) -> &Registry {
    mesh.node(at).membership.services().registry()
}

/// The generation of a service; 0 where it is not there.
fn generation(mesh: &Mesh, at: usize, name: &str) -> u64 {
    registry(mesh, at).service(&name.parse().unwrap()).map_or(0, |held| held.record.generation)
}

#[test]
fn services_are_known_everywhere_in_a_few_round_trips_and_so_is_that_one_is_removed() {
    for seed in 0..10 {
        let mut mesh = Mesh::formed(20, seed);

        assert!(hand_in(&mut mesh, 3, signed(record("ocr", 1))));
        let took = mesh.run_until(ms(500), "known", |mesh| (0..20).all(|at| generation(mesh, at, "ocr") == 1));
        println!("seed {seed}: {took:?}");
        assert!(hand_in(&mut mesh, 11, signed(record("ocr", 2))));
        assert!(hand_in(&mut mesh, 7, signed(record("asr", 1))));
        mesh.run_until(secs(4), "both known", |mesh| {
            (0..20).all(|at| generation(mesh, at, "ocr") == 2 && generation(mesh, at, "asr") == 1)
        });
        assert!(!hand_in(&mut mesh, 3, signed(record("ocr", 1))), "an earlier record replaces nothing");

        assert!(hand_in(&mut mesh, 0, signed(removed("ocr", 3))));
        mesh.run_until(secs(4), "removed", |mesh| (0..20).all(|at| generation(mesh, at, "ocr") == 0));
        mesh.run_for(secs(60));
        assert!((0..20).all(|at| generation(&mesh, at, "asr") == 1), "seed {seed}");
    }
}

#[test]
fn who_was_cut_off_has_all_of_them_when_it_is_back_and_gives_what_it_has() {
    let mut mesh = Mesh::formed(12, 3);
    mesh.partition(0..4);
    mesh.run_for(secs(10));
    for n in 0..40 {
        hand_in(&mut mesh, 11, signed(record(&format!("s{n}"), 1)));
    }
    hand_in(&mut mesh, 0, signed(record("ocr", 1)));
    mesh.run_for(secs(10));
    assert_eq!(registry(&mesh, 1).services().count(), 1);

    mesh.mend();

    mesh.run_until(secs(30), "all have all", |mesh| (0..12).all(|at| registry(mesh, at).services().count() == 41));
}

#[test]
fn of_two_records_of_one_generation_the_same_is_in_force_everywhere() {
    let mut mesh = Mesh::formed(8, 1);
    let noted = |note: &str| {
        let mut record = record("ocr", 1);
        record.versions[0].note = note.into();
        signed(record)
    };
    hand_in(&mut mesh, 0, noted("a"));
    hand_in(&mut mesh, 7, noted("b"));

    mesh.run_for(secs(90));

    let name = "ocr".parse().unwrap();
    let notes: std::collections::BTreeSet<String> =
        (0..8).map(|at| registry(&mesh, at).service(&name).unwrap().record.versions[0].note.clone()).collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn what_is_not_newer_is_not_verified_and_no_more_than_some_at_once() {
    let mut mesh = Mesh::formed(2, 1);
    hand_in(&mut mesh, 0, signed(record("ocr", 3)));
    let from = mesh.id(1);
    let mut told = |signed: SignedService| {
        mesh.on(0, |membership, lent| {
            membership.services_word(lent, from, ServicesWord::Here(vec![signed]));
            lent.out.drain().iter().filter(|order| matches!(order, Output::VerifyServices { .. })).count()
        })
    };

    assert_eq!(told(signed(record("ocr", 3))), 0, "the same");
    assert_eq!(told(signed(record("ocr", 2))), 0, "an earlier one");
    let started: usize = (4..100).map(|generation| told(signed(record("ocr", generation)))).sum();
    assert_eq!(started, 4);
}

#[test]
fn what_a_stolen_issuer_deployed_gives_way_to_any_other_record() {
    let mut mesh = Mesh::formed(4, 1);
    hand_in(&mut mesh, 0, signed_by(100, record("ocr", 1 << 39)));
    mesh.run_until(ms(500), "known", |mesh| (0..4).all(|at| generation(mesh, at, "ocr") == 1 << 39));
    let thief = SecretKey::from_bytes(&[100; 32]).peer();
    let (peers, issuers) = (Default::default(), [thief].into());
    let stop =
        RevocationList { mesh: mesh_key().mesh(), version: 1, previous: [0; 32], issued_unix_s: 1, peers, issuers };
    let stop = stop.sign_as_mesh(&mesh_key()).verify(mesh_key().mesh()).unwrap();
    mesh.on(0, |membership, lent| membership.revoke(lent, stop));
    mesh.run_for(secs(2));

    assert!(!hand_in(&mut mesh, 1, signed_by(100, record("ocr", (1 << 39) + 1))), "it is not heard any more");
    assert!(hand_in(&mut mesh, 1, signed(record("ocr", 1))));

    mesh.run_until(secs(2), "replaced", |mesh| (0..4).all(|at| generation(mesh, at, "ocr") == 1));
}

#[test]
fn who_says_nothing_of_services_is_sent_nothing_about_them() {
    let mut mesh = Mesh::formed(2, 1);
    hand_in(&mut mesh, 0, signed(record("ocr", 1)));
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
        assert!(membership.readers_of_services().is_empty());
        lent.out.drain()
    });

    let is_about = |order: &Output| matches!(order, Output::Send { message: Message::Services(_), .. });
    assert!(!orders.iter().any(is_about), "{orders:?}");
}

/// Whoever has been a neighbour once is not remembered for that.
#[test]
fn who_reads_of_services_is_known_as_long_as_it_is_connected() {
    let mut mesh = Mesh::formed(2, 1);
    assert!(hand_in(&mut mesh, 0, signed(record("ocr", 1))));
    let reader = mesh.id(1);
    mesh.run_until(secs(5), "both hold it", |mesh| mesh.node(0).membership.readers_of_services() == [reader]);

    mesh.kill(1);

    mesh.run_until(secs(20), "it is gone", |mesh| mesh.node(0).membership.readers_of_services().is_empty());
}

/// Who deploys can wait until it is known around.
#[test]
fn it_is_known_how_many_neighbours_hold_what_was_deployed() {
    let mut mesh = Mesh::formed(4, 1);
    let spread = |mesh: &Mesh| mesh.node(0).membership.spread_of_services();

    assert!(hand_in(&mut mesh, 0, signed(record("ocr", 1))));
    assert_eq!(spread(&mesh), Spread { neighbours: 3, holding: 0 });
    mesh.run_until(ms(500), "all hold it", |mesh| spread(mesh).is_complete());
    assert!((0..4).all(|at| generation(&mesh, at, "ocr") == 1));

    assert!(hand_in(&mut mesh, 0, signed(record("ocr", 2))));
    assert_eq!(spread(&mesh).holding, 0, "they hold the one before");
    mesh.run_until(ms(500), "all hold that", |mesh| spread(mesh).is_complete());
}
