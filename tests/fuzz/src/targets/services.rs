//! Records of services, from neighbours and from disk.

use shoal_protocol::cbor;
use shoal_protocol::certificate::Issuer;
use shoal_protocol::id::BlobId;
use shoal_protocol::service::{Growth, Rollout, ServiceRecord, ServiceVersion, SignedService};
use shoal_protocol::task::spec::{Limits, Policy};

use super::key;

fn version(number: u32) -> ServiceVersion {
    ServiceVersion {
        number,
        module: BlobId([number as u8; 32]),
        module_bytes: 1_000,
        args: vec!["-v".into()],
        limits: Limits::default(),
        policy: Policy::default(),
        class: "letters".into(),
        labels: Default::default(),
        deployed_unix_s: 1_000,
        note: "better".into(),
    }
}

fn good() -> ServiceRecord {
    ServiceRecord {
        mesh: key(1).mesh(),
        name: "ocr".parse().expect("a name"),
        generation: 3,
        issued_unix_s: 1_000,
        versions: vec![version(1), version(2)],
        current: 1,
        rollout: Some(Rollout { to: 2, growth: Growth::Linear { from_unix_s: 1_000, over_s: 600 } }),
    }
}

fn signed(record: &ServiceRecord) -> SignedService {
    SignedService::by_issuer(record, &Issuer::of(&key(1)))
}

/// The first byte says whether the rest is a signed record, or one that an issuer would sign whatever it says.
pub(super) fn record(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    if first & 1 == 0 {
        let Ok(signed) = SignedService::from_bytes(bytes) else { return };
        let _ = signed.claim();
        if let Ok(believed) = signed.verify(key(1).mesh()) {
            assert_eq!(believed.record, good(), "nobody signed that");
        }
        return;
    }
    let Ok(record) = cbor::decode::<ServiceRecord>(bytes) else { return };
    let signed = signed(&record);
    let _ = signed.claim();
    let Ok(believed) = signed.verify(key(1).mesh()) else { return };
    for unix_s in [0, believed.record.issued_unix_s, u64::MAX] {
        let chosen = believed.record.choose(unix_s, u64::from(*first));
        assert_eq!(believed.record.version(chosen).is_none(), believed.record.is_removed(), "a version that is there");
    }
}

pub(super) fn records() -> Vec<Vec<u8>> {
    vec![[vec![0], signed(&good()).to_bytes()].concat(), [vec![1], cbor::encode(&good())].concat()]
}
