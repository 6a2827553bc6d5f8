//! Who shows a certificate that is wrong in some way gets no stream and leaves no trace but a count.

use super::*;

/// The attacker's certificate, made by `forge`, is refused.
async fn is_refused(what: &str, forge: impl FnOnce(&Target, &SecretKey) -> Signed) {
    let target = Target::new().await;
    let key = SecretKey::from_bytes(&[66; 32]);
    let certificate = forge(&target, &key);
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
    target.knows_no_attacker().await;
}

#[test]
fn adversary_certificate_that_has_expired() {
    run(is_refused("expired certificate", |target, key| {
        MemberCertificate { expires_unix_s: 1_700_000_000, ..target.certificate(key) }.sign(&target.mesh_key)
    }));
}

#[test]
fn adversary_certificate_that_is_not_valid_yet() {
    run(is_refused("certificate of the future", |target, key| {
        MemberCertificate { not_before_unix_s: u64::MAX - 1, ..target.certificate(key) }.sign(&target.mesh_key)
    }));
}

#[test]
fn adversary_certificate_of_another_mesh() {
    run(is_refused("certificate of another mesh", |target, key| {
        let other = SecretKey::from_bytes(&[99; 32]);
        MemberCertificate { mesh: other.mesh(), ..target.certificate(key) }.sign(&other)
    }));
}

#[test]
fn adversary_certificate_of_another_peer() {
    run(is_refused("stolen certificate", |target, _| {
        target.certificate(&SecretKey::from_bytes(&[67; 32])).sign(&target.mesh_key)
    }));
}

#[test]
fn adversary_certificate_that_its_holder_signed() {
    run(is_refused("self-signed certificate", |target, key| target.certificate(key).sign(key)));
}

#[test]
fn adversary_certificate_with_a_forged_label() {
    run(is_refused("forged label", |target, key| {
        let honest = target.certificate(key).sign(&target.mesh_key).to_bytes();
        let at = honest.windows(7).position(|bytes| bytes == b"outside").unwrap();
        let mut forged = honest;
        forged[at..at + 7].copy_from_slice(b"inside!");
        Signed::from_bytes(&forged).unwrap()
    }));
}
