//! Services, as text and as JSON.

use insta::assert_snapshot;
use shoal_protocol::api::services::{RolloutView, ServiceView, VersionView, WarmView};
use shoal_protocol::api::{Listing, Problem, codes, schema};
use shoal_protocol::id::{BlobId, PeerId};

use crate::fake::{Fake, Reply};
use crate::fixtures::NAS;

fn version(number: u32) -> VersionView {
    VersionView {
        number,
        module: BlobId([number as u8; 32]),
        module_bytes: 69_000,
        memory_bytes: 64 << 20,
        wall_ms: 60_000,
        class: String::new(),
        note: String::new(),
        deployed_unix_s: 1_800_000_000,
        share: 0.0,
        held_back: false,
        calls: 0,
        failures: 0,
        p50_ms: None,
        p99_ms: None,
    }
}

fn service() -> ServiceView {
    let first = VersionView { share: 1.0, calls: 180, p50_ms: Some(0.43), p99_ms: Some(12.3), ..version(1) };
    let second = VersionView { held_back: true, calls: 20, failures: 20, note: "reads CJK".into(), ..version(2) };
    let ready = |peer, name: &str, instances| WarmView { peer, name: name.into(), version: 1, instances };
    ServiceView {
        schema: schema(),
        name: "ocr".parse().expect("a name"),
        generation: 7,
        current: 1,
        rollout: Some(RolloutView { to: 2, share: 0.1, from_unix_s: None, over_s: None }),
        versions: vec![first, second],
        warm: vec![ready(NAS, "nas", 2), ready(PeerId([7; 32]), "cam", 1)],
        signer: NAS,
        issued_unix_s: 1_800_000_000,
        signed: String::new(),
        spread: None,
    }
}

#[test]
fn a_service_is_shown_with_its_versions_and_what_is_wrong_with_them() {
    let ran =
        Fake::new().on("GET /v1/services/ocr?removed=false", Reply::json(&service())).run(&["service", "show", "ocr"]);

    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_snapshot!(ran.out, @r"
    service ocr   generation 7, signed by 4a4a4a4a… on 2027-01-15 08:00:00Z
    VERSION  SHARE      CALLS  FAILED  p50     p99      READY AT   DEPLOYED              NOTE
    1        100%       180    0       430 µs  12.3 ms  nas×2 cam  2027-01-15 08:00:00Z
    2        held back  20     20      -       -        -          2027-01-15 08:00:00Z  reads CJK
    ! version 2 fails: 20 of 20 calls from here, which get version 1 now   → shoal service rollback ocr
    ");
}

#[test]
fn services_are_listed() {
    let ran = Fake::new().on("GET /v1/services", Reply::json(&Listing::new(vec![service()]))).run(&["service", "ls"]);

    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_snapshot!(ran.out, @r"
    SERVICE  VERSION  COMING   PEERS READY  CALLS  FAILED  p50
    ocr      1        2 (10%)  2            200    20      430 µs
    ");
}

#[test]
fn a_service_in_json_has_the_schema_and_every_count() {
    let daemon = Fake::new().on("GET /v1/services/ocr?removed=false", Reply::json(&service()));

    let ran = daemon.run(&["service", "show", "ocr", "--json"]);

    let shown: ServiceView = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(shown, service());
}

#[test]
fn an_unknown_service_is_told_with_what_was_probably_meant() {
    let problem = Problem {
        code: codes::NO_SERVICE.into(),
        status: 404,
        title: "there is no service `oc`".into(),
        detail: String::new(),
        hint: "see those there are: `shoal service ls`".into(),
        retryable: false,
        retry_after_ms: None,
    };
    let daemon = Fake::new()
        .on("POST /v1/services/oc/call", Reply::problem(&problem))
        .on("GET /v1/services", Reply::json(&Listing::new(vec![service()])));

    let ran = daemon.run(&["service", "call", "oc"]);

    assert_eq!(ran.code, 2);
    assert_snapshot!(ran.err, @r"
    error[SH0460]: there is no service `oc`
      fix   did you mean ocr?
    ");
}
