//! What the office signs for members.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use shoal_protocol::certificate::{Issuer, IssuerCertificate, MemberCertificate, Role, SecretKey};

use super::*;
use crate::driver::unix_time;

struct Desk {
    office: Office,
    mesh: SecretKey,
    _dir: tempfile::TempDir,
}

/// An office whose issuer's certificate ends in so many seconds.
fn office(issuer_left_s: u64) -> Desk {
    let dir = tempfile::tempdir().unwrap();
    let (mesh, key) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[7; 32]));
    let expires_unix_s = unix_time().as_secs() + issuer_left_s;
    let certificate = IssuerCertificate { mesh: mesh.mesh(), issuer: key.peer(), not_before_unix_s: 0, expires_unix_s };
    let path = dir.path().join("issuer.key");
    std::fs::write(&path, *key.to_bytes()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(dir.path().join("issuer.cert"), certificate.sign(&mesh).to_bytes()).unwrap();
    let office = Office::open(dir.path(), mesh.mesh(), "lab", SecretKey::from_bytes(&[2; 32]).peer()).unwrap();
    Desk { office, mesh, _dir: dir }
}

/// What a member shows that was admitted by hand, `age_s` ago for `life_s`.
fn shown(desk: &Desk, age_s: u64, life_s: u64) -> MemberCertificate {
    let signed = unix_time().as_secs() - age_s;
    MemberCertificate {
        mesh: desk.mesh.mesh(),
        peer: SecretKey::from_bytes(&[3; 32]).peer(),
        name: "cam".into(),
        role: Role::Cloud,
        labels: BTreeMap::from([("site".into(), "a".into())]),
        not_before_unix_s: signed - CLOCK_SKEW_S,
        expires_unix_s: signed + life_s,
        serial: u64::MAX,
    }
}

async fn renewed(desk: &Desk, shown: &MemberCertificate) -> MemberCertificate {
    let chain = desk.office.renew(shown.clone()).await.unwrap();
    chain.verify(desk.mesh.mesh(), shown.peer, unix_time().as_secs()).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn the_next_certificate_says_the_same_with_later_dates_and_is_signed_once() {
    let desk = office(90 * 86_400);
    let old = shown(&desk, 25 * 86_400, 30 * 86_400);

    let next = renewed(&desk, &old).await;

    assert_eq!((&next.name, next.role, &next.labels, next.peer), (&old.name, old.role, &old.labels, old.peer));
    assert!(
        next.expires_unix_s >= unix_time().as_secs() + 29 * 86_400 && next.not_before_unix_s > old.not_before_unix_s
    );
    assert!(desk.office.has_newer(&old) && !desk.office.has_newer(&next));
    assert_eq!(renewed(&desk, &old).await, next, "asked again, it gets the same");
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_is_signed_beyond_the_issuer_s_own_end() {
    let desk = office(86_400);
    let next = renewed(&desk, &shown(&desk, 29 * 86_400, 30 * 86_400 - 7_200)).await;
    assert!(next.expires_unix_s <= unix_time().as_secs() + 86_400);

    let desk = office(60);
    let error = desk.office.renew(shown(&desk, 25 * 86_400, 30 * 86_400)).await.unwrap_err();
    assert!(error.to_string().contains("ends no later"), "{error}");
    assert!(error.hint().contains("rotate-issuer"), "{}", error.hint());
}

#[tokio::test(flavor = "current_thread")]
async fn labels_are_changed_and_the_change_outlives_renewals() {
    let desk = office(90 * 86_400);
    let old = shown(&desk, 60, 30 * 86_400);
    let set = BTreeMap::from([("room".to_owned(), "3".to_owned())]);

    let (chain, _) = desk.office.relabel(old.clone(), set.clone(), vec!["site".into()]).await.unwrap();

    let relabelled = chain.verify(desk.mesh.mesh(), old.peer, unix_time().as_secs()).unwrap();
    assert_eq!(relabelled.labels, set);
    // It has not got the new one yet, and asks with the old.
    assert_eq!(renewed(&desk, &old).await, relabelled);
}

#[tokio::test(flavor = "current_thread")]
async fn labels_nobody_would_believe_are_not_signed() {
    let desk = office(90 * 86_400);
    let old = shown(&desk, 60, 30 * 86_400);
    let many = (0..40).map(|n| (format!("label-{n}"), String::new())).collect();

    assert!(desk.office.relabel(old.clone(), many, Vec::new()).await.is_err());
    assert!(!desk.office.has_newer(&old), "and nothing is noted");
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_is_signed_for_a_key_that_was_revoked() {
    let desk = office(90 * 86_400);
    let old = shown(&desk, 25 * 86_400, 30 * 86_400);
    desk.office.bars([old.peer].into());

    let renewed = desk.office.renew(old.clone()).await.unwrap_err();
    let relabelled = desk.office.relabel(old, BTreeMap::new(), vec!["site".into()]).await.unwrap_err();

    assert!(renewed.to_string().contains("revoked") && relabelled.to_string().contains("revoked"), "{renewed}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_key_that_others_can_read_signs_nothing() {
    let desk = office(90 * 86_400);
    let path = desk._dir.path().join("issuer.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();

    let error = desk.office.renew(shown(&desk, 25 * 86_400, 30 * 86_400)).await.unwrap_err();

    assert!(error.to_string().contains("open to other users"), "{error}");
}

#[test]
fn a_member_that_is_known_by_its_certificate_alone_keeps_its_life() {
    let desk = office(60);
    let old = shown(&desk, 60, 1_000);

    assert_eq!(ledger::Issued::of(&old).life_s, 1_000);
    assert!(old.sign(&Issuer::of(&desk.mesh)).verify(desk.mesh.mesh(), old.peer, unix_time().as_secs()).is_ok());
}
