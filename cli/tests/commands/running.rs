//! Handing in tasks: what is sent, what comes out, and how the command exits.

use std::process::{Command, Stdio};

use shoal_protocol::api::{
    BlobView, EventView, InputRequest, LabelsView, Listing, OutputView, TaskRequest, TaskView, codes, schema,
};
use shoal_protocol::id::BlobId;
use shoal_protocol::output::Event;
use shoal_protocol::task::TaskState;
use shoal_protocol::task::report::LimitKind;
use shoal_protocol::task::spec::CloudUse;

use crate::fake::{Fake, Ran, Reply};
use crate::fixtures::{self, TASK};

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn after(look_ms: u64) -> String {
    format!("GET /v1/tasks/{TASK}?wait_ms={look_ms}")
}

/// A daemon that accepts the task, and tells this of it when it is waited for.
fn fake(end: &TaskView) -> Fake {
    let fake =
        Fake::new().on("POST /v1/tasks", Reply::json(&fixtures::accepted())).on(&after(20_000), Reply::json(end));
    fake.file("wordcount.wasm", MODULE);
    fake
}

#[test]
fn the_output_of_a_task_is_standard_output_exactly() {
    let ran = fake(&fixtures::done(OutputView::Text("no newline".into()))).run(&["run", "wordcount"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "no newline"));
    assert_eq!(ran.err, "task sLDDSz4D wordcount.wasm → nas in 12.3 ms   → shoal explain sLDDSz4D\n");

    let binary = fake(&fixtures::done(OutputView::Base64("AP8A".into()))).run(&["run", "wordcount", "-q"]);
    assert_eq!((binary.bytes.as_slice(), binary.err.as_str()), (b"\0\xff\0".as_slice(), ""));

    let large = OutputView::Blob { id: BlobId([1; 32]), bytes: 5, holder: None };
    let large = fake(&fixtures::done(large)).on(&format!("GET /v1/tasks/{TASK}/result"), Reply::bytes(b"large"));
    assert_eq!(large.run(&["run", "wordcount"]).out, "large");
}

#[test]
fn output_goes_to_the_file_that_is_named() {
    let fake = fake(&fixtures::done(OutputView::Text("report".into())));

    let ran = fake.run(&["run", "wordcount", "-o", "report.txt"]);

    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert_eq!(std::fs::read(fake.path("report.txt")).expect("written"), b"report");
}

#[test]
fn everything_asked_for_reaches_the_daemon() {
    let fake = fake(&fixtures::done(OutputView::Text(String::new())));
    fake.file("small.wasm", b"\0asm small");
    fake.file("a.txt", b"first ");

    let arguments = [
        "run",
        "./wordcount.wasm",
        "-i",
        "a.txt",
        "-i",
        "-",
        "-i",
        &BlobId([2; 32]).to_string(),
        "--mem",
        "32Mi",
        "--timeout",
        "1.5s",
        "--deadline",
        "200ms",
        "--output-limit",
        "1Ki",
        "--on",
        "site=a",
        "--on",
        "nas",
        "--cloud",
        "allow",
        "--lambda",
        "2.5",
        "--variant",
        "int8=small.wasm:0.03",
        "--loss-max",
        "0.1",
        "--idempotency-key",
        "k",
        "--role",
        "edge",
        "--",
        "-x",
        "y",
    ];
    let ran = fake.run_with_input(&arguments, b"second\xff");

    assert_eq!(ran.code, 0, "{}", ran.err);
    let request: TaskRequest = fake.asked()[0].json();
    let module = |bytes: &[u8]| BlobId::of(bytes);
    assert_eq!(
        request.variants.iter().map(|v| (v.name.as_str(), v.module, v.loss)).collect::<Vec<_>>(),
        [("full", module(MODULE), 0.0), ("int8", module(b"\0asm small"), 0.03),]
    );
    let inputs = [
        InputRequest::Text("first ".into()),
        InputRequest::Base64("c2Vjb25k/w==".into()),
        InputRequest::Blob(BlobId([2; 32])),
    ];
    assert_eq!(request.inputs, inputs);
    assert_eq!(request.args, ["-x", "y"]);
    assert_eq!(request.memory_bytes, Some(32 << 20));
    assert_eq!((request.wall_ms, request.deadline_ms, request.output_bytes), (Some(1500), Some(200), Some(1024)));
    assert_eq!(request.labels.get("site").map(String::as_str), Some("a"));
    assert_eq!(request.peer.as_deref(), Some("nas"));
    assert_eq!((request.cloud, request.lambda, request.loss_max), (Some(CloudUse::Allow), Some(2.5), Some(0.1)));
    assert_eq!(request.idempotency_key.as_deref(), Some("k"));
    assert_eq!(request.name, "wordcount.wasm");
    assert!(!request.local_only && !request.wait && !request.dry_run);
}

#[test]
fn accuracy_is_asked_for_as_people_say_it() {
    let fake = fake(&fixtures::done(OutputView::Text(String::new())));
    let asked = ["run", "wordcount", "--loss", "0.033", "--variant", "small=wordcount.wasm:0.067"];

    let ran = fake.run(&[&asked[..], &["--min-accuracy", "0.95"]].concat());

    assert_eq!(ran.code, 0, "{}", ran.err);
    let request: TaskRequest = fake.asked()[0].json();
    assert_eq!(request.variants.iter().map(|of| of.loss).collect::<Vec<_>>(), [0.033, 0.067]);
    assert_eq!((request.min_accuracy, request.loss_max), (Some(0.95), None));
    for wrong in [&["--min-accuracy", "95"][..], &["--min-accuracy", "0.95", "--loss-max", "0.1"]] {
        assert_eq!(fake.run(&[&asked[..], wrong].concat()).code, 2, "{wrong:?}");
    }
}

#[test]
fn a_blob_is_uploaded_only_when_the_daemon_lacks_it() {
    let large = vec![b'x'; 300_000];
    let held = BlobView {
        schema: schema(),
        id: BlobId::of(MODULE),
        bytes: 8,
        is_module: true,
        pinned: false,
        complete: true,
        labels: LabelsView::default(),
    };
    let stored = BlobView {
        schema: schema(),
        id: BlobId::of(&large),
        bytes: large.len() as u64,
        is_module: false,
        pinned: false,
        complete: true,
        labels: LabelsView::default(),
    };
    let lacks = Reply::problem(&fixtures::problem(codes::NO_BLOB, 404, "the input is not here"));
    let fake = Fake::new()
        .on("POST /v1/tasks", lacks)
        .on("POST /v1/tasks", Reply::json(&fixtures::accepted()))
        .on("GET /v1/blobs", Reply::json(&Listing::new(vec![held])))
        .on("POST /v1/blobs", Reply::json(&stored))
        .on(&after(20_000), Reply::json(&fixtures::done(OutputView::Text("ok".into()))));
    fake.file("wordcount.wasm", MODULE);
    fake.file("large.txt", &large);

    let ran = fake.run(&["run", "wordcount", "-i", "large.txt"]);

    assert_eq!((ran.code, ran.out.as_str()), (0, "ok"), "{}", ran.err);
    let asked = fake.asked_what();
    assert_eq!(asked, ["POST /v1/tasks", "GET /v1/blobs", "POST /v1/blobs", "POST /v1/tasks", &after(20_000)]);
    assert_eq!(fake.asked()[2].body, large);
}

#[test]
fn a_task_that_fails_is_told_apart_from_a_mesh_that_fails() {
    let mut exited = fixtures::done(OutputView::Text("partial".into()));
    exited.exit_code = Some(3);
    exited.log = "reading\nno header in line 1\n".into();
    exited.problem = Some(fixtures::problem(codes::TASK_FAILED, 200, "the module exited with code 3"));
    let ran = fake(&exited).run(&["run", "wordcount"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "partial"));
    insta::assert_snapshot!(ran.err, @r"
    reading
    no header in line 1
    error[SH0420]: the module exited with code 3
      fix   see what it wrote: shoal logs sLDDSz4D
    ");

    let json = fake(&exited).run(&["run", "wordcount", "--json"]);
    assert_eq!(serde_json::from_str::<TaskView>(&json.out).expect("JSON"), exited);
    assert!(json.err.contains("\"exit\":1") && json.err.contains("\"guest_exit_code\":3"), "{}", json.err);

    let mut slow = fixtures::failed(fixtures::problem(codes::LIMIT_HIT, 200, "the module hit its limit of wall time"));
    slow.limit = Some(LimitKind::Wall);
    assert_eq!(fake(&slow).run(&["run", "wordcount"]).code, 124);
    slow.limit = Some(LimitKind::Memory);
    assert_eq!(fake(&slow).run(&["run", "wordcount"]).code, 1);
}

#[test]
fn a_detached_task_prints_its_id() {
    let fake = fake(&fixtures::accepted());

    let ran = fake.run(&["run", "wordcount", "-d"]);

    assert_eq!((ran.code, ran.out), (0, format!("{TASK}\n")));
    assert_eq!(fake.asked_what(), ["POST /v1/tasks"]);
}

#[test]
fn a_dry_run_explains_and_runs_nothing() {
    let fake = Fake::new().on("POST /v1/tasks", Reply::json(&fixtures::decision()));
    fake.file("wordcount.wasm", MODULE);

    let ran = fake.run(&["run", "wordcount", "--dry-run", "--local-only"]);

    assert!(ran.out.starts_with("wordcount.wasm would go → nas"), "{}{}", ran.out, ran.err);
    let request: TaskRequest = fake.asked()[0].json();
    assert!(request.dry_run && request.local_only);
}

#[test]
fn following_tells_each_step() {
    let changed = |sequence, state| {
        let event = Event::TaskChanged { task: TASK, state, executor: None, epoch: 1, note: None };
        let view = EventView { schema: schema(), sequence, at_us: 0, event, names: Default::default() };
        format!("data: {}\n\n", serde_json::to_string(&view).expect("serializable"))
    };
    let steps = [changed(1, TaskState::Placing), changed(2, TaskState::Running), changed(3, TaskState::Done)];
    let fake = fake(&fixtures::done(OutputView::Text("ok".into())))
        .on("GET /v1/events", Reply::bytes(steps.concat().as_bytes()));

    let ran = fake.run(&["run", "wordcount", "--follow"]);

    assert_eq!((ran.code, ran.out.as_str()), (0, "ok"));
    for step in ["placing", "running", "done"] {
        assert!(ran.err.contains(&format!("task sLDDSz4D  {step}")), "{}", ran.err);
    }
    assert_eq!(fake.asked_what()[0], "GET /v1/events", "subscribed before the task exists");
}

#[test]
fn ctrl_c_cancels_the_task() {
    let cancelled = TaskView { state: TaskState::Cancelled, ..fixtures::accepted() };
    let cancel = format!("POST /v1/tasks/{TASK}/cancel");
    let fake = Fake::new()
        .on("POST /v1/tasks", Reply::json(&fixtures::accepted()))
        .on(&after(20_000), Reply::hanging())
        .on(&cancel, Reply::json(&cancelled));
    fake.file("wordcount.wasm", MODULE);
    let child =
        fake.command(&["run", "wordcount"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("shoal runs");
    fake.wait_for(&after(20_000));

    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");

    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert!(killed.success());
    assert_eq!((ran.code, ran.err.as_str()), (130, "error[SH0130]: interrupted; task sLDDSz4D was cancelled\n"));
    assert!(fake.asked_what().contains(&cancel));
}

#[test]
fn results_and_logs_are_passed_on() {
    let mut end = fixtures::done(OutputView::Text("x".into()));
    end.log = "warned\n".into();
    let fake = Fake::new()
        .on(&format!("GET /v1/tasks/{TASK}?wait_ms=20000"), Reply::json(&end))
        .on("GET /v1/tasks/last", Reply::json(&end))
        .on(&format!("GET /v1/tasks/{TASK}/result"), Reply::bytes(b"\x01\x02"))
        .on(&format!("GET /v1/tasks/{TASK}/logs"), Reply::bytes(b"warned\n"));

    assert_eq!(fake.run(&["task", "result", "last"]).bytes, b"\x01\x02");
    assert_eq!(fake.run(&["logs", "last", "-f"]).out, "warned\n");
}

#[test]
fn a_blob_is_checked_against_its_name() {
    let id = BlobId::of(b"content");
    let good = Fake::new().on(&format!("GET /v1/blobs/{id}?from=nas"), Reply::bytes(b"content"));
    let ran = good.run(&["blob", "get", &id.to_string(), "--from", "nas", "-o", "out"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(std::fs::read(good.path("out")).expect("written"), b"content");

    let bad = Fake::new().on(&format!("GET /v1/blobs/{id}"), Reply::bytes(b"other"));
    let ran = bad.run(&["blob", "get", &id.to_string(), "-o", "out"]);
    assert_eq!(ran.code, 69);
    let left = std::fs::read_dir(bad.path("")).expect("read").count();
    assert_eq!(left, 1, "nothing but the socket");
}

#[test]
fn a_stored_blob_prints_its_name() {
    let id = BlobId::of(b"content");
    let stored = BlobView {
        schema: schema(),
        id,
        bytes: 7,
        is_module: false,
        pinned: false,
        complete: true,
        labels: LabelsView::default(),
    };
    let fake = Fake::new().on("POST /v1/blobs", Reply::json(&stored));
    fake.file("f", b"content");

    assert_eq!(fake.run(&["blob", "put", "f"]).out, format!("{id}\n"));
    assert_eq!(fake.run_with_input(&["blob", "put", "-"], b"content").out, format!("{id}\n"));
    assert!(fake.asked().iter().all(|asked| asked.body == b"content"));
}
