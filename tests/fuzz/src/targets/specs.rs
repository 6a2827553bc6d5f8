//! Tasks, as other peers and other versions write them.

use shoal_protocol::cbor;
use shoal_protocol::id::BlobId;
use shoal_protocol::task::spec::{Payload, TaskSpec};

pub(super) fn spec(bytes: &[u8]) {
    let Ok(spec) = cbor::decode::<TaskSpec>(bytes) else { return };
    let _ = (spec.check(), spec.input_bytes(), spec.inline_bytes());
    let written = cbor::encode(&spec);
    let again = cbor::decode::<TaskSpec>(&written).expect("what was written can be read");
    assert_eq!(cbor::encode(&again), written);
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut spec = TaskSpec::of_module(BlobId([4; 32]), 5);
    let small = cbor::encode(&spec);
    spec.args = vec!["-v".into(), "--level".into()];
    spec.inputs = vec![Payload::inline(vec![1, 2, 3])];
    spec.policy.labels.insert("site".into(), "a".into());
    spec.deadline = Some(core::time::Duration::from_secs(1));
    spec.lambda = Some(0.5);
    spec.retries = Some(2);
    vec![small, cbor::encode(&spec)]
}
