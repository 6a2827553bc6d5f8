use std::collections::BTreeMap;

use super::*;

const NOW: u64 = 1_700_000_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn certificate_of(mesh: &SecretKey, node: &SecretKey) -> MemberCertificate {
    MemberCertificate {
        mesh: mesh.mesh(),
        peer: node.peer(),
        name: "cam-17".into(),
        role: Role::Edge,
        labels: BTreeMap::from([("site".into(), "a".into())]),
        not_before_unix_s: NOW - 60,
        expires_unix_s: NOW + 60,
        serial: 1,
    }
}

#[test]
fn a_certificate_is_believed_only_when_all_of_it_is_right() {
    let (mesh, node) = (key(1), key(2));
    let issuer = Issuer::of(&mesh);
    let honest = certificate_of(&mesh, &node);
    let check = |chain: &Chain, now| chain.verify(mesh.mesh(), node.peer(), now);

    assert_eq!(check(&honest.sign(&issuer), NOW), Ok(honest.clone()));
    assert!(matches!(check(&honest.sign(&issuer), NOW + 60), Err(CertificateError::Expired { ago_s: 0, .. })));
    assert!(matches!(check(&honest.sign(&issuer), NOW - 61), Err(CertificateError::NotYetValid { wait_s: 1, .. })));
    assert!(matches!(check(&honest.sign(&Issuer::of(&node)), NOW), Err(CertificateError::OtherMesh { .. })));
    let foreign = certificate_of(&key(9), &node).sign(&Issuer::of(&key(9)));
    assert!(matches!(check(&foreign, NOW), Err(CertificateError::OtherMesh { .. })));
    let stolen = certificate_of(&mesh, &key(3)).sign(&issuer);
    assert!(matches!(check(&stolen, NOW), Err(CertificateError::OtherHolder { .. })));
}

#[test]
fn an_issuer_is_one_while_the_mesh_s_own_key_says_so() {
    let (mesh, node, issuer) = (key(1), key(2), key(3));
    let honest = IssuerCertificate {
        mesh: mesh.mesh(),
        issuer: issuer.peer(),
        not_before_unix_s: NOW - 30,
        expires_unix_s: NOW + 30,
    };
    let verdict = |certificate: Signed, key: SecretKey, now| {
        let chain = certificate_of(&mesh, &node).sign(&Issuer::new(key, certificate));
        chain.verify(mesh.mesh(), node.peer(), now).map(drop)
    };
    let why = |verdict: Result<(), CertificateError>| match verdict {
        Err(CertificateError::Issuer { name, why }) if name == "cam-17" => *why,
        other => panic!("{other:?}"),
    };

    assert_eq!(verdict(honest.sign(&mesh), key(3), NOW), Ok(()));
    let late = why(verdict(honest.sign(&mesh), key(3), NOW + 30));
    assert!(matches!(late, CertificateError::Expired { .. }), "it outlives nothing that it signed: {late}");
    let early = why(verdict(honest.sign(&mesh), key(3), NOW - 31));
    assert!(matches!(early, CertificateError::NotYetValid { .. }), "{early}");
    let forged = why(verdict(honest.sign(&issuer), key(3), NOW));
    assert!(matches!(forged, CertificateError::BadSignature { what: "issuer certificate" }), "{forged}");
    let lent = verdict(honest.sign(&mesh), key(4), NOW);
    assert!(matches!(lent, Err(CertificateError::BadSignature { what: "member certificate" })), "{lent:?}");
}

#[test]
fn no_document_passes_for_one_of_another_kind() {
    let (mesh, node) = (key(1), key(2));
    let issuer = Issuer::of(&mesh);
    let chain = certificate_of(&mesh, &node).sign(&issuer);
    let twisted = Chain::new(issuer.certificate().clone(), issuer.certificate().clone());

    assert!(chain.verify(mesh.mesh(), node.peer(), NOW).is_ok());
    assert!(twisted.verify(mesh.mesh(), node.peer(), NOW).is_err());
}

#[test]
fn a_changed_label_breaks_the_signature() {
    let (mesh, node) = (key(1), key(2));
    let mut bytes = certificate_of(&mesh, &node).sign(&Issuer::of(&mesh)).to_bytes();
    let at = bytes.windows(4).position(|window| window == b"site").expect("the label is in the bytes");
    bytes[at] = b'S';

    let verdict = Chain::from_bytes(&bytes).expect("still a chain").verify(mesh.mesh(), node.peer(), NOW);

    assert!(matches!(verdict, Err(CertificateError::BadSignature { .. })));
}

#[test]
fn a_record_signed_by_another_peer_is_refused() {
    let (mesh, node, other) = (key(1), key(2), key(3));
    let certificate = certificate_of(&mesh, &node).sign(&Issuer::of(&mesh));
    let record = PeerRecord { certificate, addresses: vec!["/ip4/127.0.0.1".into()], sequence: 3 };

    assert!(record.sign(&node).verify(mesh.mesh(), NOW).is_ok());
    let forged = SignedRecord { peer: node.peer(), ..record.sign(&other) };
    assert!(matches!(forged.verify(mesh.mesh(), NOW), Err(CertificateError::BadSignature { .. })));
    assert!(record.sign(&other).verify(mesh.mesh(), NOW).is_err(), "the certificate names another holder");
}

#[test]
fn a_certificate_with_three_labels_stays_small() {
    let (mesh, node) = (key(1), key(2));
    let mut certificate = certificate_of(&mesh, &node);
    certificate.labels.insert("residency".into(), "eu".into());
    certificate.labels.insert("owner".into(), "lab".into());

    assert!(certificate.sign(&Issuer::of(&mesh)).to_bytes().len() <= 500);
}
