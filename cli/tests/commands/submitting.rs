//! Handing in tasks that outlive the command.

use std::os::unix::fs::PermissionsExt;

use shoal_protocol::api::{Problem, TaskRequest, codes};

use crate::fake::{Fake, Ran, Reply};
use crate::fixtures::{self, TASK};

fn fake(replies: impl IntoIterator<Item = Reply>) -> Fake {
    let fake = replies.into_iter().fold(Fake::new(), |fake, reply| fake.on("POST /v1/tasks", reply));
    fake.file("wordcount.wasm", b"\0asm\x01\0\0\0");
    fake
}

fn run(fake: &Fake, arguments: &[&str]) -> Ran {
    Ran::of(fake.command(arguments).env("XDG_DATA_HOME", fake.path("home")).output().expect("shoal runs"))
}

fn requests(fake: &Fake) -> Vec<TaskRequest> {
    fake.asked().iter().filter(|asked| asked.what == "POST /v1/tasks").map(|asked| asked.json()).collect()
}

#[test]
fn the_id_of_a_submitted_task_is_standard_output_exactly() {
    let fake = fake([Reply::json(&fixtures::accepted())]);

    let ran = run(&fake, &["submit", "wordcount", "--durable", "2", "--key", "k", "--retention", "48h"]);

    assert_eq!((ran.code, ran.out), (0, format!("{TASK}\n")));
    assert_eq!(ran.err, format!("→ shoal task result {TASK}\n"));
    let [request] = &requests(&fake)[..] else { panic!("one request") };
    assert_eq!((request.durable, request.retention_ms, request.wait), (2, Some(172_800_000), false));
    assert_eq!(request.idempotency_key.as_deref(), Some("k"));
}

#[test]
fn a_user_submits_under_one_name_that_is_made_when_first_needed() {
    let fake = fake([Reply::json(&fixtures::accepted())]);

    run(&fake, &["submit", "wordcount"]);
    run(&fake, &["submit", "wordcount"]);

    let requests = requests(&fake);
    assert!(requests[0].submitter.is_some());
    assert_eq!((requests[0].submitter, requests[0].durable), (requests[1].submitter, 1));
    let key = fake.path("home").join("shoal/user.key");
    assert_eq!(std::fs::metadata(&key).expect("made").permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("changed");
    let refused = run(&fake, &["submit", "wordcount"]);
    assert_eq!(refused.code, 77, "{refused:?}");
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
}

#[test]
fn an_overloaded_peer_is_asked_again_and_others_are_not() {
    let overloaded = Problem {
        retryable: true,
        retry_after_ms: Some(10),
        ..fixtures::problem(codes::OVERLOADED, 429, "this peer holds 16384 unfinished tasks, its limit")
    };
    let patient = fake([Reply::problem(&overloaded), Reply::problem(&overloaded), Reply::json(&fixtures::accepted())]);
    assert_eq!(run(&patient, &["submit", "wordcount"]).code, 0);
    assert_eq!(requests(&patient).len(), 3);

    let impatient = fake([Reply::problem(&overloaded)]);
    let ran = run(&impatient, &["submit", "wordcount", "--patience", "1ms"]);
    assert_eq!((ran.code, requests(&impatient).len()), (75, 1), "{ran:?}");

    let full =
        Problem { retryable: true, ..fixtures::problem(codes::STORE, 507, "the task cannot be kept: disk full") };
    let refused = fake([Reply::problem(&full)]);
    let ran = run(&refused, &["submit", "wordcount"]);
    assert_eq!((ran.code, requests(&refused).len()), (69, 1), "{ran:?}");
    assert!(ran.err.contains("disk full"), "{}", ran.err);
}

#[test]
fn copies_that_cannot_be_promised_are_a_wrong_argument() {
    let fake = fake([Reply::json(&fixtures::accepted())]);

    assert_eq!(run(&fake, &["submit", "wordcount", "--durable", "3"]).code, 2);
    assert_eq!(run(&fake, &["submit", "wordcount", "--durable", "0"]).code, 2);
}
