//! The commands as a person types them, against a real mesh.

use std::process::{Command, Output};

use super::*;

/// The built command, beside this test.
fn shoal() -> Command {
    let mut command = Command::new(shoal_tests::program("shoal"));
    command.env_remove("SHOAL_API").env("NO_COLOR", "1");
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn lines(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn run_explain_and_errors_as_a_person_meets_them() {
    run(async {
        let mesh = mesh(1, 1, |_| ()).await;
        let api = mesh.peers()[1].api();
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("wordcount.wasm");
        std::fs::write(&module, example("wordcount")).unwrap();
        let input = dir.path().join("words");
        std::fs::write(&input, "a b b").unwrap();
        let on_mesh = || {
            let mut command = shoal();
            command.args(["--api", &api]);
            command
        };

        let mut command = on_mesh();
        command.arg("run").arg(&module).arg("-i").arg(&input);
        let ran = output(command).await;
        assert_eq!(ran.status.code(), Some(0), "{}", lines(&ran.stderr));
        assert_eq!(
            lines(&ran.stdout),
            native("wordcount", &[], "a b b"),
            "stdout is the task's output and nothing else"
        );

        let mut command = on_mesh();
        command.args(["explain", "last", "--json"]);
        let explained = output(command).await;
        let json: serde_json::Value = serde_json::from_slice(&explained.stdout).unwrap();
        assert_eq!(json["schema"], "shoal/v1");

        let mut command = on_mesh();
        command.arg("run").arg(dir.path().join("absent.wasm"));
        let missing = output(command).await;
        assert_ne!(missing.status.code(), Some(0));
        assert!(missing.stdout.is_empty() && lines(&missing.stderr).contains("absent.wasm"));

        let mut command = on_mesh();
        command.args(["task", "show", "nosuchtask"]);
        let unknown = output(command).await;
        assert!(lines(&unknown.stderr).contains("SH0404"), "{}", lines(&unknown.stderr));

        let mut command = on_mesh();
        command.args(["ping", "nobody"]);
        let nobody = output(command).await;
        assert!(lines(&nobody.stderr).contains("SH0405"), "{}", lines(&nobody.stderr));

        let mut command = shoal();
        command.arg("--api").arg(format!("unix:{}", dir.path().join("no.sock").display())).arg("status");
        let unreachable = output(command).await;
        assert_eq!(unreachable.status.code(), Some(69), "{}", lines(&unreachable.stderr));
    });
}

#[test]
fn a_peer_is_stopped_and_started_again_in_one_line() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (data, api) = (dir.path().join("data"), format!("unix:{}", dir.path().join("api.sock").display()));
        let up = || {
            let mut command = shoal();
            command
                .args(["--api", &api, "up", "-d", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--data-dir"])
                .arg(&data);
            command
        };
        let shutdown = || {
            let mut command = shoal();
            command.args(["--api", &api, "shutdown"]);
            command
        };
        for _ in 0..2 {
            let started = output(up()).await;
            assert_eq!(started.status.code(), Some(0), "{}", lines(&started.stderr));

            let stopped = output(shutdown()).await;

            assert!(lines(&stopped.stdout).starts_with("shoald has stopped"), "{}", lines(&stopped.stdout));
        }
        let mut labelled = up();
        labelled.args(["--label", "site=a"]);
        let refused = output(labelled).await;
        assert_eq!(refused.status.code(), Some(2), "its certificate says its labels: {}", lines(&refused.stderr));
    });
}

#[test]
fn what_is_too_large_is_said_to_be_however_large_it_is() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        for mebibytes in [17, 64] {
            let text = "x".repeat(mebibytes << 20);
            let refused = client.submit(&task_of(&client, example("wordcount"), &[], &text).await).await.unwrap_err();
            assert_eq!(refused.code(), Some(shoal_protocol::api::codes::TOO_LARGE), "{refused}");
        }
    });
}
