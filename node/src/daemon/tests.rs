//! A whole daemon in this process, spoken to over its socket as any client would.

mod fixture;

use serde_json::json;
use shoal_protocol::api::{BlobView, Explanation, Listing, OutputView, Problem, Status, TaskView};
use shoal_protocol::{PeerId, TaskId, TaskState};

use super::StartError;
use crate::api::SocketError;
use fixture::{Daemon, Reply, daemon, in_daemon, module};

const ECHO: &str = include_str!("tests/echo.wat");

#[track_caller]
fn problem(reply: &Reply, status: u16, code: &str) -> Problem {
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.head.contains("application/problem+json"), "{reply:?}");
    let problem: Problem = reply.json();
    assert_eq!((problem.status, problem.code.as_str()), (status, code), "{problem:?}");
    assert!(!problem.hint.is_empty() && !problem.title.is_empty(), "{problem:?}");
    problem
}

async fn put(daemon: &Daemon, bytes: &[u8]) -> BlobView {
    let reply = daemon.post("/v1/blobs", bytes).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()
}

async fn run(daemon: &Daemon, request: serde_json::Value) -> TaskView {
    let reply = daemon.post("/v1/tasks", request.to_string().as_bytes()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[test]
fn a_task_is_run_and_every_view_of_it_agrees() {
    in_daemon(|daemon| async move {
        let echo = put(&daemon, &module(ECHO)).await;

        let view = run(
            &daemon,
            json!({"variants": [{"module": echo.id}], "inputs": [{"text": "hello "}, {"base64": "dGhlcmU="}],
                "name": "echo", "wait": true}),
        )
        .await;

        assert_eq!((view.state, view.exit_code), (TaskState::Done, Some(0)), "{view:?}");
        assert_eq!(view.output, Some(OutputView::Text("hello there".into())));
        let again: TaskView = daemon.get("/v1/tasks/last").await.json();
        assert_eq!((again.task, &again.output), (view.task, &view.output));
        let prefix: String = view.task.to_string().chars().take(8).collect();
        assert_eq!(daemon.get(&format!("/v1/tasks/{prefix}/result")).await.body, b"hello there");
        let listed: Listing<TaskView> = daemon.get("/v1/tasks").await.json();
        assert_eq!(listed.items.len(), 1);
        let explained: Explanation = daemon.get("/v1/tasks/last/explain").await.json();
        assert_eq!(explained.items[0].executor, view.executor.map(|executor| executor.peer));
        let blobs: Listing<BlobView> = daemon.get("/v1/blobs").await.json();
        assert!(blobs.items.iter().any(|blob| blob.id == echo.id && blob.is_module), "{blobs:?}");
    });
}

#[test]
fn input_too_large_for_a_frame_goes_through_the_store() {
    in_daemon(|daemon| async move {
        let echo = put(&daemon, &module(ECHO)).await;
        let text = "0123456789abcdef".repeat(20_000);

        let view =
            run(&daemon, json!({"variants": [{"module": echo.id}], "inputs": [{"text": text}], "wait": true})).await;

        assert_eq!(view.state, TaskState::Done, "{view:?}");
        assert_eq!(view.input_bytes, text.len() as u64);
        let result = daemon.get("/v1/tasks/last/result").await;
        assert!(result.body == text.as_bytes(), "{} bytes, {}", result.body.len(), result.head);
    });
}

#[test]
fn the_same_idempotency_key_names_the_same_task() {
    in_daemon(|daemon| async move {
        let echo = put(&daemon, &module(ECHO)).await;
        let request =
            json!({"variants": [{"module": echo.id}], "inputs": [{"text": "x"}], "idempotency_key": "k", "wait": true});

        let first = run(&daemon, request.clone()).await;
        let second = run(&daemon, request).await;

        assert_eq!(first.task, second.task);
        let listed: Listing<TaskView> = daemon.get("/v1/tasks").await.json();
        assert_eq!(listed.items.len(), 1);
    });
}

#[test]
fn a_task_that_is_not_waited_for_can_be_followed_and_withdrawn() {
    in_daemon(|daemon| async move {
        let endless = put(&daemon, &module("(module (func (export \"_start\") (loop br 0)))")).await;
        let mut events = daemon.follow("/v1/events?since=0").await;

        let request = json!({"variants": [{"module": endless.id}]});
        let reply = daemon.post("/v1/tasks", request.to_string().as_bytes()).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let task = reply.json::<TaskView>().task;
        problem(&daemon.get(&format!("/v1/tasks/{task}/result")).await, 409, "SH0404");
        events.until(&format!("{task}")).await;
        events.until("\"running\"").await;
        let patient: TaskView = daemon.get(&format!("/v1/tasks/{task}?wait_ms=50")).await.json();
        assert_eq!(patient.state, TaskState::Running);

        let cancelled = daemon.post(&format!("/v1/tasks/{task}/cancel"), b"").await;

        assert_eq!(cancelled.json::<TaskView>().state, TaskState::Cancelled);
        events.until("\"cancelled\"").await;
    });
}

#[test]
fn a_guest_that_fails_is_a_result_and_not_an_error_of_the_api() {
    in_daemon(|daemon| async move {
        let trap = put(&daemon, &module("(module (func (export \"_start\") unreachable))")).await;
        let noise = put(&daemon, b"not wasm at all").await;

        let trapped = run(&daemon, json!({"variants": [{"module": trap.id}], "wait": true})).await;
        let invalid = run(&daemon, json!({"variants": [{"module": noise.id}], "wait": true})).await;

        for view in [trapped, invalid] {
            assert_eq!(view.state, TaskState::Failed, "{view:?}");
            assert!(view.problem.is_some(), "{view:?}");
        }
    });
}

#[test]
fn blobs_come_back_as_they_went_in() {
    in_daemon(|daemon| async move {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();

        let blob = put(&daemon, &bytes).await;

        assert_eq!((blob.id, blob.bytes), (shoal_protocol::BlobId::of(&bytes), bytes.len() as u64));
        let back = daemon.get(&format!("/v1/blobs/{}", blob.id)).await;
        assert!(back.status == 200 && back.body == bytes);
        assert!(back.head.contains("content-length: 3000000"), "{}", back.head);
    });
}

#[test]
fn what_cannot_be_answered_says_why_and_what_to_do() {
    in_daemon(|daemon| async move {
        let missing = shoal_protocol::BlobId([7; 32]);

        problem(&daemon.post("/v1/tasks", b"{").await, 400, "SH0400");
        problem(&daemon.post("/v1/tasks", br#"{"variants": [], "mem": 1}"#).await, 400, "SH0400");
        problem(&daemon.post("/v1/tasks", br#"{"variants": []}"#).await, 400, "SH0400");
        let unknown = json!({"variants": [{"module": missing}]}).to_string();
        problem(&daemon.post("/v1/tasks", unknown.as_bytes()).await, 404, "SH0406");
        let noop = put(&daemon, &module("(module (func (export \"_start\")))")).await;
        let of_noop = |more: serde_json::Value| {
            let mut request = json!({"variants": [{"module": noop.id}]});
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            request.to_string()
        };
        for (more, status, code) in [
            (json!({"inputs": [{"blob": missing}]}), 404, "SH0406"),
            (json!({"inputs": [{"base64": "?"}]}), 400, "SH0400"),
            (json!({"memory_bytes": 1u64 << 40}), 413, "SH0414"),
            (json!({"lambda": -1.0}), 400, "SH0400"),
            (json!({"min_accuracy": 1.5}), 400, "SH0400"),
            (json!({"min_accuracy": 0.9, "loss_max": 0.1}), 400, "SH0400"),
            (json!({"variants": [{"module": noop.id, "loss": 0.06}], "min_accuracy": 0.95}), 400, "SH0400"),
            (json!({"peer": "nobody"}), 404, "SH0405"),
            (json!({"peer": "nobody", "dry_run": true}), 404, "SH0405"),
            (json!({"idempotency_key": ""}), 400, "SH0400"),
            (json!({"args": ["x".repeat(8_000)]}), 413, "SH0414"),
        ] {
            problem(&daemon.post("/v1/tasks", of_noop(more).as_bytes()).await, status, code);
        }
        let coarse = json!({"variants": [{"module": noop.id, "loss": 0.06}], "min_accuracy": 0.95});
        let refused = problem(&daemon.post("/v1/tasks", of_noop(coarse).as_bytes()).await, 400, "SH0400");
        let both = "accuracy 0.95 is asked for (a loss of at most 0.05), and the best has 0.94 (a loss of 0.06)";
        assert!(format!("{} {}", refused.title, refused.detail).contains(both), "{refused:?}");
        problem(&daemon.get("/v1/tasks/nonesuch").await, 404, "SH0404");
        problem(&daemon.post("/v1/tasks/nonesuch/cancel", b"").await, 404, "SH0404");
        problem(&daemon.post("/v1/peers/nobody/ping", b"").await, 404, "SH0405");
        problem(&daemon.post("/v1/peers/solo/ping", b"").await, 400, "SH0400");
        problem(&daemon.get("/v1/rtt?a=nobody").await, 404, "SH0405");
        problem(&daemon.get("/v1/rtt").await, 400, "SH0400");
        problem(&daemon.get("/v1/blobs/b3:12").await, 400, "SH0400");
        problem(&daemon.get(&format!("/v1/blobs/{missing}")).await, 404, "SH0406");
        problem(&daemon.get(&format!("/v1/blobs/{missing}?from=nobody")).await, 404, "SH0405");
        problem(&daemon.get("/v2/anything").await, 404, "SH0400");
        problem(&daemon.post("/v1/status", b"").await, 405, "SH0400");
        let large = daemon.announce("/v1/tasks", 17 * 1024 * 1024).await;
        problem(&large, 413, "SH0414");
        problem(&daemon.announce("/v1/blobs", 300 * 1024 * 1024).await, 413, "SH0414");
    });
}

#[test]
fn a_dry_run_decides_and_runs_nothing() {
    in_daemon(|daemon| async move {
        let noop = put(&daemon, &module("(module (func (export \"_start\")))")).await;

        let request = json!({"variants": [{"module": noop.id}], "dry_run": true}).to_string();
        let reply = daemon.post("/v1/tasks", request.as_bytes()).await;

        let decision: shoal_protocol::placement::explain::Decision = reply.json();
        assert_eq!(decision.candidates.len(), 1);
        let listed: Listing<TaskView> = daemon.get("/v1/tasks").await.json();
        assert!(listed.items.is_empty());
    });
}

#[test]
fn the_status_names_this_peer_and_a_second_daemon_is_refused() {
    in_daemon(|daemon| async move {
        let status: Status = daemon.get("/v1/status").await.json();
        assert_eq!((status.me.name.as_str(), status.mesh_name.as_str()), ("solo", "test"));
        assert!(status.addresses.iter().all(|address| address.starts_with("/ip4/127.0.0.1/udp/")), "{status:?}");

        let same_dir = daemon.start_another(None).await.unwrap_err();
        let elsewhere = tempfile::tempdir().unwrap();
        let same_socket = daemon.start_another(Some(elsewhere.path())).await.unwrap_err();

        assert!(matches!(same_dir, StartError::DataDirTaken(_)), "{same_dir:?}");
        assert!(matches!(same_socket, StartError::Socket(SocketError::Taken(_))), "{same_socket:?}");
        assert!(!same_dir.hint().is_empty() && !same_socket.hint().is_empty());
    });
}

#[test]
fn a_daemon_asked_to_stop_ends_and_leaves_no_socket() {
    let (daemon, running) = daemon();
    running.block_on(async |ended| {
        let stopping = async {
            let reply = daemon.post("/v1/shutdown", b"").await;
            assert_eq!(reply.status, 202, "{reply:?}");
        };
        let (ended, ()) = tokio::join!(ended, stopping);
        ended.unwrap();
        assert!(!daemon.socket().exists());
    });
}

#[test]
fn output_that_is_not_text_is_handed_out_as_it_is() {
    in_daemon(|daemon| async move {
        let echo = put(&daemon, &module(ECHO)).await;

        let view =
            run(&daemon, json!({"variants": [{"module": echo.id}], "inputs": [{"base64": "AP8A"}], "wait": true}))
                .await;

        assert_eq!(view.output, Some(OutputView::Base64("AP8A".into())));
        assert_eq!(daemon.get("/v1/tasks/last/result").await.body, b"\0\xff\0");
    });
}

#[test]
fn a_submission_that_cannot_be_kept_as_asked_is_refused() {
    in_daemon(|daemon| async move {
        let echo = put(&daemon, &module(ECHO)).await;

        let copies = json!({"variants": [{"module": echo.id}], "durable": 3});
        problem(&daemon.post("/v1/tasks", copies.to_string().as_bytes()).await, 400, "SH0400");
        let retention = json!({"variants": [{"module": echo.id}], "durable": 1, "retention_ms": u64::MAX});
        problem(&daemon.post("/v1/tasks", retention.to_string().as_bytes()).await, 400, "SH0400");
        let alone = json!({"variants": [{"module": echo.id}], "durable": 2});
        problem(&daemon.post("/v1/tasks", alone.to_string().as_bytes()).await, 503, "SH0505");
    });
}

#[test]
fn a_kept_task_is_acknowledged_run_and_found_by_its_key() {
    in_daemon(|daemon| async move {
        let echo = put(&daemon, &module(ECHO)).await;
        let request = json!({"variants": [{"module": echo.id}], "inputs": [{"text": "kept"}], "durable": 1,
            "idempotency_key": "k", "submitter": PeerId([7; 32])});
        let body = request.to_string();

        let accepted = daemon.post("/v1/tasks", body.as_bytes()).await;

        assert_eq!(accepted.status, 202, "{accepted:?}");
        let accepted: TaskView = accepted.json();
        assert_eq!(accepted.task, TaskId::derive(PeerId([7; 32]), b"k"));
        let ended: TaskView = daemon.get(&format!("/v1/tasks/{}?wait_ms=20000", accepted.task)).await.json();
        assert_eq!((ended.state, ended.output), (TaskState::Done, Some(OutputView::Text("kept".into()))));
        let again: TaskView = daemon.post("/v1/tasks", body.as_bytes()).await.json();
        assert_eq!((again.task, again.state), (accepted.task, TaskState::Done));
    });
}
