//! What strangers show.

use shoal_protocol::cbor;
use shoal_protocol::certificate::{
    Chain, Issuer, IssuerCertificate, MemberCertificate, PeerRecord, Role, SignedRecord,
};

use super::key;

const NOW: u64 = 1_000;

fn member() -> MemberCertificate {
    MemberCertificate {
        mesh: key(1).mesh(),
        peer: key(2).peer(),
        name: "cam".into(),
        role: Role::Edge,
        labels: [("site".to_owned(), "a".to_owned())].into(),
        not_before_unix_s: 1,
        expires_unix_s: 2_000,
        serial: 3,
    }
}

/// What is not what the issuer signed is not believed.
pub(super) fn chain(bytes: &[u8]) {
    let Ok(chain) = Chain::from_bytes(bytes) else { return };
    let _ = chain.claimed_mesh();
    if let Ok(believed) = chain.verify(key(1).mesh(), key(2).peer(), NOW) {
        assert_eq!(believed, member(), "nobody signed that");
    }
}

pub(super) fn chains() -> Vec<Vec<u8>> {
    vec![member().sign(&Issuer::of(&key(1))).to_bytes()]
}

/// Certificates of an issuer that signs anything: what is below the signature is read, too.
pub(super) fn signed(payload: &[u8]) {
    let (mesh, as_issuer) = (key(1), payload.first().is_some_and(|byte| byte & 1 == 1));
    let payload = payload.get(1..).unwrap_or_default();
    let document = |kind: &str, payload: &[u8]| {
        let text = [b"shoal v1 ", kind.as_bytes(), b"\0", payload].concat();
        let (mut bytes, signature) = (vec![0xa2, 0x61, b'p', 0x5a], mesh.sign(&text));
        bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(payload);
        bytes.extend([0x61, b's', 0x58, 64]);
        bytes.extend(signature);
        bytes
    };
    let good =
        IssuerCertificate { mesh: mesh.mesh(), issuer: mesh.peer(), not_before_unix_s: 1, expires_unix_s: 2_000 };
    let (member_of, issuer_of) = match as_issuer {
        true => (cbor::encode(&member()), payload.to_vec()),
        false => (payload.to_vec(), cbor::encode(&good)),
    };
    let chain = [
        vec![0xa2, 0x61, b'm'],
        document("member certificate", &member_of),
        vec![0x61, b'i'],
        document("issuer certificate", &issuer_of),
    ]
    .concat();
    let chain = Chain::from_bytes(&chain).expect("it has the form of one");
    let _ = chain.claimed_mesh();
    if let Ok(believed) = chain.verify(mesh.mesh(), key(2).peer(), NOW) {
        assert!(believed.expires_unix_s > NOW && believed.peer == key(2).peer(), "{believed:?}");
    }
}

pub(super) fn payloads() -> Vec<Vec<u8>> {
    let issuer =
        IssuerCertificate { mesh: key(1).mesh(), issuer: key(1).peer(), not_before_unix_s: 1, expires_unix_s: 2_000 };
    vec![[vec![0], cbor::encode(&member())].concat(), [vec![1], cbor::encode(&issuer)].concat()]
}

pub(super) fn record(bytes: &[u8]) {
    let Ok(record) = cbor::decode::<SignedRecord>(bytes) else { return };
    if let Ok((_, certificate)) = record.verify(key(1).mesh(), NOW) {
        assert_eq!(certificate, member(), "nobody signed that");
    }
}

pub(super) fn records() -> Vec<Vec<u8>> {
    let certificate = member().sign(&Issuer::of(&key(1)));
    let record = PeerRecord { certificate, addresses: vec!["/ip4/127.0.0.1/udp/1/quic-v1".into()], sequence: 4 };
    vec![cbor::encode(&record.sign(&key(2)))]
}
