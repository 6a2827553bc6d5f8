//! What it costs to believe somebody: a member's certificates in a handshake, and a list of revoked keys.
//!
//! `cargo bench -p shoal-protocol --bench certificate`.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use shoal_protocol::PeerId;
use shoal_protocol::certificate::{
    Chain, Issuer, MemberCertificate, REVOKED_MAX, RevocationList, Role, SecretKey, SignedRevocations,
};

const NOW_UNIX_S: u64 = 1_800_000_000;

fn chain(mesh: &SecretKey, node: &SecretKey) -> Chain {
    let labels = [("site", "street-9"), ("owner", "city"), ("residency", "eu")];
    let certificate = MemberCertificate {
        mesh: mesh.mesh(),
        peer: node.peer(),
        name: "cam-17".into(),
        role: Role::Edge,
        labels: BTreeMap::from(labels.map(|(key, value)| (key.to_owned(), value.to_owned()))),
        not_before_unix_s: NOW_UNIX_S - 300,
        expires_unix_s: NOW_UNIX_S + 30 * 86_400,
        serial: 7,
    };
    certificate.sign(&Issuer::of(mesh))
}

fn revocations(mesh: &SecretKey, count: usize) -> SignedRevocations {
    let key = |n: usize| PeerId(*blake3::hash(&n.to_le_bytes()).as_bytes());
    let list = RevocationList {
        mesh: mesh.mesh(),
        version: 9,
        previous: [1; 32],
        issued_unix_s: NOW_UNIX_S,
        peers: (0..count).map(key).collect(),
        issuers: Default::default(),
    };
    list.sign(&Issuer::of(mesh))
}

fn believing(criterion: &mut Criterion) {
    let (mesh, node) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
    let shown = chain(&mesh, &node).to_bytes();
    criterion.bench_function("certificate chain, read and verified", |bench| {
        bench.iter(|| {
            let chain = Chain::from_bytes(black_box(&shown)).expect("a chain");
            chain.verify(mesh.mesh(), node.peer(), NOW_UNIX_S).expect("a good one")
        });
    });
    for count in [1, REVOKED_MAX] {
        let list = revocations(&mesh, count);
        criterion.bench_function(&format!("revocation list of {count}, verified"), |bench| {
            bench.iter(|| black_box(&list).clone().verify(mesh.mesh()).expect("a good one"));
        });
    }
}

criterion_group!(benches, believing);
criterion_main!(benches);
