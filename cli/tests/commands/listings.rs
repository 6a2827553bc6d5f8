//! What is listed, as text and as JSON.

use insta::assert_snapshot;
use shoal_protocol::api::{
    BlobStat, BlobView, Check, ConfigValue, ConfigView, EventView, HolderView, LabelsView, Listing, OutputView,
    PathView, PeerView, PingView, RttView, SCHEMA, Status, TaskView, schema,
};
use shoal_protocol::config::{FINISHED_TASKS_MAX, HOME_TASKS_MAX};
use shoal_protocol::id::BlobId;
use shoal_protocol::output::{Event, PeerState};
use shoal_protocol::placement::explain::{BuildCost, Cost};
use shoal_protocol::task::TaskState;
use std::collections::BTreeMap;

use crate::fake::{Fake, Reply};
use crate::fixtures::{self, NAS, TASK};

fn mesh() -> Fake {
    Fake::new()
        .on("GET /v1/status", Reply::json(&fixtures::status()))
        .on("GET /v1/peers", Reply::json(&fixtures::peers()))
}

#[test]
fn status_shows_mesh_peers_and_warnings() {
    let ran = mesh().run(&["status"]);

    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_snapshot!(ran.out, @r"
    mesh home-lab (b7b7…)   peers 3 alive · 1 suspect   you: cam-17 edge   tasks 2 running · 1 waiting · 311 done · 0 failed
    sandbox whole: parent, limits, privileges, files, syscalls
    PEER     ROLE   STATE    RTT(p50/p99)  PATH     CPU        MEM       QUEUE  OK%   LABELS               ID
    cam-17*  edge   alive    -             -        37% of 2   210/512M  1/128  100   site=a               cacacaca
    fra-1    cloud  alive    24/31.2ms     relayed   5% of 16  3/32G     0/128  -     -                    f4f4f4f4
    nas      edge   alive    0.8/2.1ms     direct   12% of 4   1.1/4G    0/128  99.8  residency=eu,site=a  4a4a4a4a
    cam-18   edge   suspect  ~3.4ms        -        -          -         -      -     -                    09090909
    ! cam-18 last seen 4m ago   → shoal ping cam-18
    ");
}

#[test]
fn status_names_what_the_sandbox_lacks() {
    let mut status = fixtures::status();
    status.sandbox[3].enforced = false;

    let ran = Fake::new().on("GET /v1/status", Reply::json(&status)).run(&["status"]);

    assert!(ran.out.contains("\nsandbox not whole: files missing   → shoal doctor\n"), "{}", ran.out);
}

#[test]
fn doctor_says_what_is_wrong_why_and_what_to_do() {
    let check = |name: &str, ok, found: &str| Check {
        name: name.into(),
        ok,
        found: found.into(),
        why: "what it is for".into(),
        fix: if ok { String::new() } else { "do this".into() },
    };
    let checks = Listing::new(vec![check("clock", true, "in step"), check("sandbox: files", false, "no Landlock")]);

    let ran = Fake::new().on("GET /v1/checks", Reply::json(&checks)).run(&["doctor"]);

    assert_eq!(ran.code, 0);
    assert_snapshot!(ran.out, @r"
    ok  clock            in step
    !   sandbox: files   no Landlock
          why   what it is for
          fix   do this
    1 of 2 checks found something
    ");
}

#[test]
fn status_as_json_is_what_the_daemon_said() {
    let ran = mesh().run(&["status", "--json"]);

    assert_eq!(serde_json::from_str::<Status>(&ran.out).expect("JSON"), fixtures::status());
    assert!(ran.out.starts_with("{\n  \"schema\": \"shoal/v1\""), "{}", ran.out);
}

#[test]
fn peers_are_sorted_and_filtered() {
    let names = |arguments: &[&str]| {
        let ran = mesh().run(arguments);
        let listing: Listing<PeerView> = serde_json::from_str(&ran.out).expect("JSON");
        assert_eq!(listing.schema, SCHEMA);
        listing.items.into_iter().map(|peer| peer.name).collect::<Vec<_>>()
    };

    assert_eq!(names(&["peers", "--json"]), ["cam-17", "nas", "cam-18", "fra-1"]);
    assert_eq!(names(&["peers", "--json", "--sort", "load"]), ["fra-1", "nas", "cam-17", "cam-18"]);
    assert_eq!(names(&["peers", "--json", "--sort", "name"]), ["cam-17", "cam-18", "fra-1", "nas"]);
    assert_eq!(names(&["peers", "--json", "-l", "site=a", "-l", "residency=eu"]), ["nas"]);
}

#[test]
fn explain_shows_every_term_and_what_would_change_it() {
    let task = TASK.to_string();
    let fake = Fake::new()
        .on("GET /v1/tasks/last", Reply::json(&fixtures::done(OutputView::Text("x".into()))))
        .on(&format!("GET /v1/tasks/{task}/explain"), Reply::json(&Listing::new(vec![fixtures::decision()])));

    let ran = fake.run(&["explain", "last"]);

    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_snapshot!(ran.out, @r"
    task sLDDSz4D wordcount.wasm → nas   (decided in 3.1 ms by offers, 3 asked, λ=1)
      PEER    VERDICT   cost  = loss  + wait  + transfer  + compute  home in  note
      nas     won       11.8  = 0     + 0.8   + 8.1       + 2.9      11.8 ms  holds 94% of the input
      fra-1   offered   38.4  = 0     + 2.0   + 34.3      + 2.1      38.4 ms  4.2 MB would cross the WAN
      cam-17  declined  -                                                     queue 128/128
      cam-18  excluded  -                                                     label residency=eu is missing
    what would change it: fra-1 wins if the input were under 0.9 MB
                          fra-1 wins if the queue of nas were over 14
    ");
}

#[test]
fn explain_as_json_is_a_listing_of_decisions() {
    let fake = Fake::new()
        .on("GET /v1/tasks/last", Reply::json(&fixtures::accepted()))
        .on(&format!("GET /v1/tasks/{TASK}/explain"), Reply::json(&Listing::new(vec![fixtures::decision()])));

    let ran = fake.run(&["explain", "last", "--json"]);

    let listing: shoal_protocol::api::Explanation = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(listing, Listing::new(vec![fixtures::decision()]));
}

#[test]
fn a_dry_run_of_explain_needs_no_task() {
    let fake = Fake::new().on("POST /v1/tasks", Reply::json(&fixtures::decision()));
    fake.file("m.wasm", b"\0asm\x01\0\0\0");

    let ran = fake.run(&["explain", "--dry-run", "m.wasm", "--no-cloud"]);

    assert!(ran.out.starts_with("m.wasm would go → nas   (decided in"), "{}{}", ran.out, ran.err);
    let request: shoal_protocol::api::TaskRequest = fake.asked()[0].json();
    assert!(request.dry_run && !request.wait);
}

#[test]
fn a_dry_run_names_the_build_each_peer_would_run() {
    let mut decision = fixtures::decision();
    decision.candidates[0].variant = 1;
    let fake = Fake::new().on("POST /v1/tasks", Reply::json(&decision));
    fake.file("m.wasm", b"\0asm\x01\0\0\0");

    let ran = fake.run(&["explain", "--dry-run", "m.wasm", "--variant", "int8=m.wasm:0.03"]);

    assert!(ran.out.contains("build int8; holds 94% of the input"), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("build full; 4.2 MB would cross the WAN"), "{}", ran.out);
}

#[test]
fn explaining_shows_what_each_build_would_have_cost() {
    let mut decision = fixtures::decision();
    let cost = |loss, compute| Cost { loss, compute, ..Cost::default() };
    let build = |variant, name: &str, cost| BuildCost { variant, name: name.into(), declared_loss: 0.0, cost };
    decision.candidates[0].variant = 1;
    decision.candidates[0].builds = vec![build(0, "full", cost(0.0, 208.0)), build(1, "int8", cost(33.3, 62.0))];
    let fake = Fake::new()
        .on("GET /v1/tasks/last", Reply::json(&fixtures::accepted()))
        .on(&format!("GET /v1/tasks/{TASK}/explain"), Reply::json(&Listing::new(vec![decision])));

    let ran = fake.run(&["explain", "last"]);

    let builds = "builds at nas (cost = loss + time): full 208.0 = 0.0 + 208.0 · int8 95.3 = 33.3 + 62.0 (chosen)";
    assert!(ran.out.contains(builds), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("build int8; holds 94% of the input"), "{}", ran.out);
}

#[test]
fn tasks_are_listed_with_how_they_ended() {
    let mut exited = fixtures::done(OutputView::Text(String::new()));
    exited.exit_code = Some(3);
    let tasks = Listing::new(vec![fixtures::accepted(), exited, fixtures::done(OutputView::Text("x".into()))]);
    let fake =
        || Fake::new().on(&format!("GET /v1/tasks?limit={}", HOME_TASKS_MAX + FINISHED_TASKS_MAX), Reply::json(&tasks));

    assert_snapshot!(fake().run(&["task", "ls"]).out, @r"
    TASK      MODULE          STATE     PEER  INPUT  TIME     AGE
    sLDDSz4D  wordcount.wasm  accepted  -     2K     -        300 µs
    sLDDSz4D  wordcount.wasm  exit 3    nas   2K     12.3 ms  5 s
    sLDDSz4D  wordcount.wasm  done      nas   2K     12.3 ms  5 s
    ");
    let shown: Listing<TaskView> =
        serde_json::from_str(&fake().run(&["task", "ls", "--json", "--state", "done", "-n", "1"]).out).expect("JSON");
    assert_eq!(shown.items, tasks.items[1..2]);
}

#[test]
fn a_task_is_shown_in_full() {
    let fake = Fake::new().on("GET /v1/tasks/tp3", Reply::json(&fixtures::done(OutputView::Text("hello".into()))));

    assert_snapshot!(fake.run(&["task", "show", "tp3"]).out, @r"
    task      sLDDSz4DCdAn1W1xf36N2
    module    wordcount.wasm
    state     done, exit code 0
    peer      nas (edge)
    input     2K
    output    5B
    age       5 s
    time      12.3 ms   (placing 400 µs · preparing 1 ms · queued 0 µs · running 8.1 ms)
    ");
}

#[test]
fn a_blob_is_described_pinned_and_removed() {
    let id = BlobId([0xb1; 32]);
    let stat = BlobStat {
        schema: schema(),
        id,
        bytes: Some(3_000_000),
        local: false,
        partial_bytes: Some(1_000_000),
        durable: false,
        pinned: true,
        leases: 1,
        is_module: false,
        holders: vec![HolderView { peer: NAS, name: "nas".into() }],
        labels: LabelsView::default(),
        owners: Vec::new(),
    };
    let fake = Fake::new()
        .on(&format!("GET /v1/blobs/{id}/stat?seek=true"), Reply::json(&stat))
        .on(&format!("POST /v1/blobs/{id}/pin"), Reply::bytes(b""))
        .on(&format!("DELETE /v1/blobs/{id}"), Reply::bytes(b""));
    let named = id.to_string();

    assert_snapshot!(fake.run(&["blob", "stat", &named, "--seek"]).out, @r"
    blob      b3:b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1
    size      2.9M
    here      partial, about 977K
    kept      pinned, the output of a task, left here for its home
    also at   nas
    ");
    assert!(fake.run(&["blob", "pin", &named]).err.contains("shoal blob unpin"));
    assert!(fake.run(&["blob", "rm", &named]).err.contains("removed"));
}

#[test]
fn blobs_configuration_and_distances_are_listed() {
    let blob = |n, is_module, pinned, complete| BlobView {
        schema: schema(),
        id: BlobId([n; 32]),
        bytes: 3_000_000,
        is_module,
        pinned,
        complete,
        labels: LabelsView::default(),
    };
    let blobs = vec![blob(0xb1, true, true, true), blob(0xb2, false, false, false)];
    let value = |key: &str, value: &str, origin: &str| ConfigValue {
        key: key.into(),
        value: value.into(),
        origin: origin.into(),
    };
    let values =
        vec![value("node.name", "\"cam-17\"", "/etc/shoal/shoal.toml:2"), value("net.mdns", "true", "default")];
    let rtt = RttView {
        schema: schema(),
        a: "nas".into(),
        b: "cam-17".into(),
        measured_ms: Some(0.82),
        predicted_ms: Some(1.0),
    };
    let fake = mesh()
        .on("GET /v1/blobs", Reply::json(&Listing::new(blobs)))
        .on("GET /v1/config", Reply::json(&ConfigView { schema: schema(), values }))
        .on(&format!("GET /v1/rtt?a=nas&b={}", fixtures::CAM), Reply::json(&rtt));

    assert_snapshot!(fake.run(&["blob", "ls"]).out, @r"
    SIZE  KIND     KEPT    BLOB
    2.9M  module   pinned  b3:b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1
    2.9M  partial          b3:b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2
    ");
    assert_snapshot!(fake.run(&["config", "show", "--origin"]).out, @r#"
    KEY        VALUE     ORIGIN
    node.name  "cam-17"  /etc/shoal/shoal.toml:2
    net.mdns   true      default
    "#);
    assert_snapshot!(fake.run(&["config", "show"]).out, @r#"
    node.name = "cam-17"
    net.mdns = true
    "#);
    assert_snapshot!(fake.run(&["rtt", "nas"]).out, @"nas ↔ cam-17   0.8 ms measured · 1 ms predicted");
}

#[test]
fn pings_are_summed_up() {
    let answer = |rtt_ms| pong(rtt_ms, None);
    let fake =
        || Fake::new().on("POST /v1/peers/nas/ping", answer(Some(1.0))).on("POST /v1/peers/nas/ping", answer(None));

    let ran = fake().run(&["ping", "nas", "-c", "2"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "nas: 1.00 ms\nnas: no answer within a second\n"));
    assert_snapshot!(ran.out, @"nas  1 of 2 answered   min 1 · median 1 · max 1 ms");

    let silent = Fake::new().on("POST /v1/peers/nas/ping", answer(None)).run(&["ping", "nas", "-c", "1", "--json"]);
    assert_eq!(silent.code, 124);
    assert!(silent.out.contains("\"answered\": 0"), "{}", silent.out);
}

fn pong(rtt_ms: Option<f64>, path: Option<PathView>) -> Reply {
    Reply::json(&PingView { schema: schema(), peer: NAS, name: "nas".into(), rtt_ms, path })
}

#[test]
fn pings_may_go_on_until_the_connection_is_direct() {
    let fake = Fake::new()
        .on("POST /v1/peers/nas/ping", pong(Some(40.0), Some(PathView::Relayed)))
        .on("POST /v1/peers/nas/ping", pong(Some(20.0), Some(PathView::Direct)));

    let ran = fake.run(&["ping", "nas", "--until-direct"]);

    assert_eq!((ran.code, ran.err.as_str()), (0, "nas: 40.00 ms (relayed)\nnas: 20.00 ms (direct)\n"));
    assert_snapshot!(ran.out, @"nas  2 of 2 answered   min 20 · median 40 · max 40 ms");
}

#[test]
fn events_are_lines_and_gaps_are_told() {
    let event = |sequence, event| {
        let names = BTreeMap::from([(NAS, "nas".to_owned())]);
        let view = EventView { schema: schema(), sequence, at_us: 1_500_000 * sequence, event, names };
        format!("id: {sequence}\ndata: {}\n\n", serde_json::to_string(&view).expect("serializable"))
    };
    let stream = [
        event(
            1,
            Event::TaskChanged {
                task: TASK,
                state: TaskState::Running,
                executor: Some(NAS),
                epoch: 2,
                note: Some("nas took over".into()),
            },
        ),
        ": still here\n\nevent: lagged\ndata: {\"missed\":7}\n\n".to_owned(),
        event(2, Event::PeerChanged { peer: NAS, name: "nas".into(), state: PeerState::Dead }),
    ];
    let fake = || Fake::new().on("GET /v1/events", Reply::bytes(stream.concat().as_bytes()));

    let ran = fake().run(&["events", "-f", "-n", "2"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "following events; Ctrl-C ends\n7 events were missed\n"));
    assert_snapshot!(ran.out, @r"
        1.500s  task sLDDSz4D  running at nas (attempt 2)  nas took over
        3.000s  peer nas  dead
    ");

    let json = fake().run(&["events", "--json", "-q", "-n", "2"]);
    let lines: Vec<EventView> = json.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), json.err.as_str()), (2, ""));
    assert_eq!(fake().run(&["events"]).code, 69, "a stream that ends by itself is a failure");
}

#[test]
fn nothing_is_coloured_where_nobody_looks() {
    let plain = mesh().run(&["status"]);
    let mut forced = mesh();
    forced = forced.on("GET /v1/status", Reply::json(&fixtures::status()));
    let coloured = forced.command(&["status"]).env("CLICOLOR_FORCE", "1").output().expect("runs");
    let refused = forced.command(&["status"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().expect("runs");

    assert!(!plain.out.contains('\x1b'));
    assert!(coloured.stdout.contains(&0x1b));
    assert!(!refused.stdout.contains(&0x1b));
}
