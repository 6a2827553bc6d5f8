//! Who shows a certificate that is wrong in some way gets no stream and leaves no trace but a count.

use super::*;
use shoal_protocol::PeerId;
use shoal_protocol::certificate::{RevocationList, SignedRevocations};

/// The attacker's certificate, made by `forge`, is refused.
async fn is_refused(what: &str, forge: impl FnOnce(&Target, &SecretKey) -> Chain) {
    let target = Target::new().await;
    let key = SecretKey::from_bytes(&[66; 32]);
    let certificate = forge(&target, &key);
    is_refused_at(&target, what, key, certificate).await;
}

async fn is_refused_at(target: &Target, what: &str, key: SecretKey, certificate: Chain) {
    let (refused, admitted) = (target.counter("strangers_refused").await, target.counter("admitted").await);
    let probe = target.probe(key, &certificate);

    let attack = async {
        let connection = probe.connect(target.address).unwrap().await;
        // TLS 1.3 tells the client that it is through before the server has looked at it.
        if let Ok(connection) = connection {
            if let Ok(mut stream) = connection.open_uni().await {
                let _ = stream.write_all(b"\xC1\0\0\0\x02\x01\xA0").await;
            }
            assert!(connection.accept_uni().await.is_err(), "it is told nothing");
            connection.closed().await;
        }
    };
    target.stands(what, attack).await;

    target.counts("strangers_refused", refused).await;
    assert_eq!(target.counter("admitted").await, admitted);
    target.audits_a_refusal().await;
    target.knows_no_attacker().await;
}

#[test]
fn adversary_certificate_that_has_expired() {
    run(is_refused("expired certificate", |target, key| {
        MemberCertificate { expires_unix_s: 1_700_000_000, ..target.certificate(key) }
            .sign(&Issuer::of(&target.mesh_key))
    }));
}

#[test]
fn adversary_certificate_that_is_not_valid_yet() {
    run(is_refused("certificate of the future", |target, key| {
        MemberCertificate { not_before_unix_s: u64::MAX - 1, ..target.certificate(key) }
            .sign(&Issuer::of(&target.mesh_key))
    }));
}

#[test]
fn adversary_certificate_of_another_mesh() {
    run(is_refused("certificate of another mesh", |target, key| {
        let other = SecretKey::from_bytes(&[99; 32]);
        MemberCertificate { mesh: other.mesh(), ..target.certificate(key) }.sign(&Issuer::of(&other))
    }));
}

#[test]
fn adversary_certificate_of_another_peer() {
    run(is_refused("stolen certificate", |target, _| {
        target.certificate(&SecretKey::from_bytes(&[67; 32])).sign(&Issuer::of(&target.mesh_key))
    }));
}

#[test]
fn adversary_certificate_that_its_holder_signed() {
    run(is_refused("self-signed certificate", |target, key| target.certificate(key).sign(&Issuer::of(key))));
}

#[test]
fn adversary_certificate_with_a_forged_label() {
    run(is_refused("forged label", |target, key| {
        let honest = target.certificate(key).sign(&Issuer::of(&target.mesh_key)).to_bytes();
        let at = honest.windows(7).position(|bytes| bytes == b"outside").unwrap();
        let mut forged = honest;
        forged[at..at + 7].copy_from_slice(b"inside!");
        Chain::from_bytes(&forged).unwrap()
    }));
}

/// What a member may show who was admitted by an issuer that is none, or is one no more.
fn issued(target: &Target, key: &SecretKey, change: impl FnOnce(&mut IssuerCertificate), by: &SecretKey) -> Chain {
    let issuer = SecretKey::from_bytes(&[77; 32]);
    let mut certificate = IssuerCertificate {
        mesh: target.mesh_key.mesh(),
        issuer: issuer.peer(),
        not_before_unix_s: 0,
        expires_unix_s: u64::MAX,
    };
    change(&mut certificate);
    target.certificate(key).sign(&Issuer::new(issuer, certificate.sign(by)))
}

#[test]
fn adversary_certificate_of_an_issuer_that_is_one_no_more() {
    run(is_refused("expired issuer", |target, key| {
        issued(target, key, |issuer| issuer.expires_unix_s = 1_700_000_000, &target.mesh_key)
    }));
}

#[test]
fn adversary_certificate_of_an_issuer_that_certified_itself() {
    run(is_refused("issuer by its own word", |target, key| {
        issued(target, key, |_| (), &SecretKey::from_bytes(&[77; 32]))
    }));
}

#[test]
fn adversary_certificate_of_a_member_that_plays_the_issuer() {
    run(is_refused("a member as issuer", |target, key| {
        // A traitor with a good certificate of its own signs for a friend.
        issued(target, key, |issuer| issuer.issuer = key.peer(), &target.mesh_key)
    }));
}

/// A list of the mesh key's own.
fn revocations(target: &Target, peers: &[PeerId], issuers: &[PeerId]) -> SignedRevocations {
    let list = RevocationList {
        mesh: target.mesh_key.mesh(),
        version: 1,
        previous: [0; 32],
        issued_unix_s: 0,
        peers: peers.iter().copied().collect(),
        issuers: issuers.iter().copied().collect(),
    };
    list.sign_as_mesh(&target.mesh_key)
}

#[test]
fn adversary_certificate_that_was_revoked() {
    run(async {
        let target = Target::new().await;
        let key = SecretKey::from_bytes(&[66; 32]);
        let (_probe, connection) = target.traitor().await;
        target.client.revoke(&revocations(&target, &[key.peer()], &[])).await.unwrap();

        connection.closed().await;
        let certificate = target.certificate(&key).sign(&Issuer::of(&target.mesh_key));
        is_refused_at(&target, "revoked member", key, certificate).await;
    });
}

#[test]
fn adversary_certificate_of_an_issuer_that_was_revoked() {
    run(async {
        let target = Target::new().await;
        let key = SecretKey::from_bytes(&[66; 32]);
        let certificate = issued(&target, &key, |_| (), &target.mesh_key);
        let thief = SecretKey::from_bytes(&[77; 32]).peer();
        target.client.revoke(&revocations(&target, &[], &[thief])).await.unwrap();

        is_refused_at(&target, "revoked issuer", key, certificate).await;
    });
}

/// Whoever took an issuer's key cannot turn it against the mesh's other issuers, and a member cannot revoke anybody.
#[test]
fn adversary_revocation_by_whom_may_not() {
    run(async {
        let target = Target::new().await;
        let honest = target.client.peers().await.unwrap().items[0].peer;
        let issuer = Issuer::of(&target.mesh_key);
        let list = |peers: &[PeerId], issuers: &[PeerId]| RevocationList {
            mesh: target.mesh_key.mesh(),
            version: 1,
            previous: [0; 32],
            issued_unix_s: 0,
            peers: peers.iter().copied().collect(),
            issuers: issuers.iter().copied().collect(),
        };
        let traitor = SecretKey::from_bytes(&[66; 32]);

        for forged in [list(&[], &[issuer.id()]).sign(&issuer), list(&[honest], &[]).sign_as_mesh(&traitor)] {
            assert!(target.client.revoke(&forged).await.is_err());
        }

        assert!(target.client.revocations().await.unwrap().lists.is_empty());
        target.stands("revocations by whom may not", async {}).await;
    });
}
