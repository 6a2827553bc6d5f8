//! What is said when it does not work, and the exit code.

use std::time::Duration;

use insta::assert_snapshot;
use shoal_cli::client::{Client, ClientError};
use shoal_protocol::api::codes;

use crate::fake::{Fake, Ran, Reply, shoal};
use crate::fixtures;

fn refusing(code: &str, status: u16, title: &str) -> Fake {
    let fake = Fake::new()
        .on("POST /v1/tasks", Reply::problem(&fixtures::problem(code, status, title)))
        .on("GET /v1/status", Reply::json(&fixtures::status()))
        .on("GET /v1/peers", Reply::json(&fixtures::peers()));
    fake.file("m.wasm", b"\0asm\x01\0\0\0");
    fake
}

#[test]
fn a_daemon_that_does_not_run_is_69() {
    let ran = Ran::of(shoal(&["status", "--api", "unix:/nonexistent/api.sock"]).output().expect("shoal runs"));

    assert_eq!((ran.code, ran.out.as_str()), (69, ""));
    assert_snapshot!(ran.err, @r"
    error[SH0101]: no shoald answers at /nonexistent/api.sock
      why   no such file or directory
      fix   start a peer with `shoal up -d`, or name its socket with --api unix:PATH
    ");
}

#[test]
fn an_error_of_the_daemon_is_shown_with_what_why_and_fix() {
    let mut problem = fixtures::problem(codes::NO_CANDIDATE, 409, "no peer can run this task");
    problem.detail = "the module needs 900 MiB; the largest free is nas with 700 MiB".into();
    problem.hint = "drop --no-cloud, or --mem 640Mi".into();
    problem.retry_after_ms = Some(40_000);
    let fake = Fake::new().on("POST /v1/tasks", Reply::problem(&problem));
    fake.file("m.wasm", b"\0asm\x01\0\0\0");

    let ran = fake.run(&["run", "m.wasm"]);

    assert_eq!((ran.code, ran.out.as_str()), (75, ""));
    assert_snapshot!(ran.err, @r"
    error[SH0412]: no peer can run this task
      why   the module needs 900 MiB; the largest free is nas with 700 MiB
      fix   drop --no-cloud, or --mem 640Mi (worth trying again in 40000 ms)
    ");
    let json = fake.run(&["run", "m.wasm", "--json"]);
    assert_eq!(
        json.err,
        "{\"schema\":\"shoal/v1\",\"error\":{\"exit\":75,\"code\":\"SH0412\",\"title\":\"no peer can run this task\",\
         \"why\":\"the module needs 900 MiB; the largest free is nas with 700 MiB\",\
         \"fix\":\"drop --no-cloud, or --mem 640Mi (worth trying again in 40000 ms)\"}}\n"
    );
}

#[test]
fn each_refusal_has_its_exit_code() {
    for (code, exit) in [
        (codes::BAD_REQUEST, 2),
        (codes::DENIED, 77),
        (codes::NO_PEER, 2),
        (codes::ALL_DECLINED, 75),
        (codes::OVERLOADED, 75),
        (codes::SHUTTING_DOWN, 75),
        (codes::INVALID_MODULE, 1),
        (codes::INTERNAL, 69),
        (codes::KEY_TAKEN, 2),
        (codes::KEPT_LESS, 2),
        (codes::NO_STREAM, 2),
        (codes::BAD_STREAM, 2),
        (codes::RESIDENCY, 77),
        (codes::DEADLINE_PASSED, 124),
    ] {
        assert_eq!(refusing(code, 400, "refused").run(&["run", "m.wasm"]).code, exit, "{code}");
    }
}

#[test]
fn an_unknown_peer_is_answered_with_near_names() {
    let ran = refusing(codes::NO_PEER, 404, "no peer is called `naas`").run(&["run", "m.wasm", "--peer", "naas"]);

    assert_eq!(ran.code, 2);
    assert_snapshot!(ran.err, @r"
    error[SH0405]: no peer is called `naas`
      fix   did you mean nas? see who is there: shoal peers
    ");
}

#[test]
fn an_unknown_module_is_answered_with_near_names_and_where_it_was_looked_for() {
    let fake = Fake::new();
    fake.file("wordcount.wasm", b"\0asm\x01\0\0\0");

    let ran = fake.run(&["run", "wordcont"]);

    assert_eq!(ran.code, 2);
    assert!(ran.err.starts_with("error[SH0112]: there is no module named `wordcont`\n"), "{}", ran.err);
    assert!(ran.err.contains("why   wordcont.wasm was looked for in ., "), "{}", ran.err);
    assert!(ran.err.contains("fix   did you mean wordcount"), "{}", ran.err);
    assert!(fake.asked().is_empty(), "nothing was asked of the daemon");
}

#[test]
fn modules_are_found_by_name_in_the_directories_named() {
    let fake = refusing(codes::DENIED, 403, "reached the daemon");
    std::fs::create_dir(fake.path("lib")).expect("made");
    fake.file("lib/other.wasm", b"\0asm\x01\0\0\0");

    let found = fake.command(&["run", "other"]).env("SHOAL_MODULES", fake.path("lib")).output().expect("runs");

    assert_eq!(found.status.code(), Some(77));
}

#[test]
fn bad_files_are_refused_before_anything_is_sent() {
    let fake = Fake::new();
    fake.file("text.wasm", b"hello");
    fake.file("m.wasm", b"\0asm\x01\0\0\0");

    let not_wasm = fake.run(&["run", "text.wasm"]);
    let no_module = fake.run(&["run", "./missing.wasm"]);
    let no_input = fake.run(&["run", "m.wasm", "-i", "missing.txt"]);
    let directory = fake.run(&["run", "m.wasm", "-i", "."]);

    assert_eq!([not_wasm.code, no_module.code, no_input.code, directory.code], [1, 2, 2, 2]);
    assert!(not_wasm.err.starts_with("error[SH0415]: `text.wasm` is not a WebAssembly module"), "{}", not_wasm.err);
    assert!(no_input.err.starts_with("error[SH0110]: cannot read `missing.txt`"), "{}", no_input.err);
    assert!(fake.asked().is_empty());
}

#[test]
fn wrong_usage_is_2_and_suggests() {
    for (arguments, said) in [
        (&["stauts"][..], "'status'"),
        (&["run"], "<MODULE>"),
        (&["run", "m.wasm", "--mem", "64Q"], "64Mi"),
        (&["run", "m.wasm", "--timeout", "30"], "30s"),
        (&["run", "m.wasm", "--no-clud"], "--no-cloud"),
        (&["run", "m.wasm", "--no-cloud", "--cloud", "allow"], "cannot be used with"),
        (&["peers", "-l", "site"], "site=a"),
        (&["blob", "get", "b3:12"], "64 hexadecimal digits"),
        (&["mesh", "admit", "--key", "12"], "64 hexadecimal digits"),
        (&["status", "--api", "tcp:1"], "unix:PATH"),
    ] {
        let ran = Ran::of(shoal(arguments).output().expect("shoal runs"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.err.contains(said), "{arguments:?} said {}", ran.err);
    }
}

#[test]
fn another_version_of_the_api_is_76() {
    let mut other = fixtures::status();
    other.schema = "shoal/v9".into();
    let ran = Fake::new().on("GET /v1/status", Reply::json(&other)).run(&["status"]);
    assert_eq!(ran.code, 76);
    assert!(ran.err.starts_with("error[SH0104]: shoald speaks shoal/v9, this program speaks shoal/v1"), "{}", ran.err);

    let unlike = Reply::bytes(b"{\"schema\":\"shoal/v9\",\"name\":{}}");
    assert_eq!(Fake::new().on("GET /v1/status", unlike).run(&["status"]).code, 76);
    assert_eq!(Fake::new().on("GET /v1/status", Reply::bytes(b"<html>")).run(&["status"]).code, 76);
    assert_eq!(Fake::new().run(&["status"]).code, 76, "an answer that is no problem document");
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_times_out() {
    let fake = Fake::new().on("GET /v1/status", Reply::hanging());
    let client = Client::new(fake.socket()).with_timeout(Duration::from_millis(50));

    assert!(matches!(client.status().await, Err(ClientError::Timeout { .. })));
}

#[tokio::test]
async fn connections_are_used_again_and_replaced_when_the_daemon_closed_them() {
    let fake = Fake::new()
        .on("GET /v1/status", Reply::json(&fixtures::status()))
        .on("GET /v1/status", Reply::json(&fixtures::status()).then_close())
        .on("GET /v1/status", Reply::json(&fixtures::status()));
    let client = Client::new(fake.socket());

    for _ in 0..5 {
        assert_eq!(client.status().await.expect("answered"), fixtures::status());
    }

    assert_eq!(fake.asked_what().len(), 5);
    assert_eq!(fake.connections(), 2);
}
