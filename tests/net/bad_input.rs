//! Modules and requests that are wrong or hostile: each a clear end, and the peer goes on.

use shoal_cli::client::ClientError;
use shoal_protocol::TaskState;
use shoal_protocol::api::codes;
use shoal_protocol::task::report::LimitKind;

use super::*;

async fn still_works(client: &Client) {
    let view = client.run(task_of(client, example("wordcount"), &[], "a b").await).await.unwrap();
    assert_eq!(view.exit_code, Some(0), "{view:?}");
}

#[track_caller]
fn assert_ended(view: &TaskView, state: TaskState, code: &str, limit: Option<LimitKind>) {
    let problem = view.problem.as_ref().unwrap_or_else(|| panic!("no problem told: {view:?}"));
    assert_eq!((view.state, problem.code.as_str(), view.limit), (state, code, limit), "{view:?}");
    assert!(!problem.title.is_empty() && !problem.hint.is_empty(), "{problem:?}");
}

#[test]
fn hostile_modules_end_with_their_reason() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let wat = |text: &str| wat::parse_str(text).unwrap();
        let module =
            |body: &str| wat(&format!("(module (memory (export \"memory\") 1) (func (export \"_start\") {body}))"));
        let flood = wat(
            "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func $w (param i32 i32 i32 i32) (result i32)))
               (memory (export \"memory\") 2)
               (func (export \"_start\")
                 (i32.store (i32.const 4) (i32.const 65536))
                 (loop (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))))",
        );
        let greedy = wat("(module (memory (export \"memory\") 1)
               (func (export \"_start\")
                 (if (i32.eq (memory.grow (i32.const 65535)) (i32.const -1)) (then unreachable))))");
        let cases = [
            (b"this is not wasm".to_vec(), TaskState::Failed, codes::INVALID_MODULE, None),
            (wat("(module)"), TaskState::Failed, codes::INVALID_MODULE, None),
            (module("unreachable"), TaskState::Failed, codes::TRAPPED, None),
            (module("(loop br 0)"), TaskState::Failed, codes::LIMIT_HIT, Some(LimitKind::Wall)),
            (flood, TaskState::Failed, codes::LIMIT_HIT, Some(LimitKind::Output)),
            (greedy, TaskState::Failed, codes::LIMIT_HIT, Some(LimitKind::Memory)),
            (
                wat("(module (memory (export \"memory\") 65536) (func (export \"_start\")))"),
                TaskState::Failed,
                codes::LIMIT_HIT,
                Some(LimitKind::Memory),
            ),
        ];
        for peer in ["edge-1", "edge-2"] {
            for (bytes, state, code, limit) in &cases {
                let mut request = task_of(&client, bytes, &[], "").await;
                request.wall_ms = Some(300);
                request.peer = Some(peer.into());
                assert_ended(&client.run(request).await.unwrap(), *state, code, *limit);
            }
            still_works(&client).await;
        }
    });
}

#[test]
fn a_module_that_exits_with_a_code_is_done_and_its_code_is_told() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let exit = "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
            (memory (export \"memory\") 1) (func (export \"_start\") (call $exit (i32.const 7))))";

        let view = client.run(task_of(&client, &wat::parse_str(exit).unwrap(), &[], "").await).await.unwrap();

        assert_eq!(view.exit_code, Some(7));
        assert_ended(&view, TaskState::Done, codes::TASK_FAILED, None);
    });
}

#[test]
fn requests_that_cannot_be_met_are_refused_with_a_code() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let good = task_of(&client, example("noop"), &[], "").await;
        let code = async |request: TaskRequest| match client.run(request).await {
            Err(ClientError::Problem(problem)) => problem.code,
            other => panic!("not refused: {other:?}"),
        };

        let mut unknown_module = good.clone();
        unknown_module.variants[0].module = shoal_protocol::BlobId([9; 32]);
        assert_eq!(code(unknown_module).await, codes::NO_BLOB);
        let unknown_peer = TaskRequest { peer: Some("nobody".into()), ..good.clone() };
        assert_eq!(code(unknown_peer).await, codes::NO_PEER);
        let no_variant = TaskRequest { variants: vec![], ..good.clone() };
        assert_eq!(code(no_variant).await, codes::BAD_REQUEST);
        let too_much = TaskRequest { memory_bytes: Some(u64::MAX), ..good.clone() };
        assert!([codes::TOO_LARGE, codes::BAD_REQUEST].contains(&code(too_much).await.as_str()));

        let labelled = TaskRequest { labels: [("site".to_owned(), "moon".to_owned())].into(), ..good };
        let view = client.run(labelled).await.unwrap();
        assert_ended(&view, TaskState::Failed, codes::NO_CANDIDATE, None);
        still_works(&client).await;
    });
}
