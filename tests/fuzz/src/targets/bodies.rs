//! What users' programs send to the local API.

use shoal_protocol::api::TaskRequest;

pub(super) fn body(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<TaskRequest>(bytes) else { return };
    let written = serde_json::to_vec(&request).expect("it is JSON again");
    assert!(serde_json::from_slice::<TaskRequest>(&written).is_ok(), "what was written can be read");
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let id = "04".repeat(32);
    let smallest = format!(r#"{{"variants":[{{"module":"{id}"}}]}}"#);
    let more = format!(r#"{{"name":"count","variants":[{{"name":"int8","module":"{id}","loss":0.5}}],"args":["-v"],"#)
        + r#""inputs":[{"inline":"AQID"}],"memory_bytes":1048576,"wall_ms":1000,"deadline_ms":5000,"lambda":0.5,"#
        + r#""labels":{"site":"a"},"role":"edge","cloud":"never","durable":2,"idempotency_key":"k","retries":3}"#;
    vec![smallest.into_bytes(), more.into_bytes()]
}
