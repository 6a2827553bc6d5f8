//! The demonstration as a person starts it, made short. Build the daemon first: `cargo build --release --bins`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::{processes_with, wait_for};

/// A demonstration whose files, and so the arguments of its peers, are below a directory of the test's own.
fn demo(arguments: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal-testnet"));
    command.arg("demo").args(arguments).env("TMPDIR", dir).stdin(Stdio::null());
    command
}

#[test]
fn every_answer_is_right_although_a_peer_is_killed() {
    let dir = tempfile::tempdir().unwrap();

    let output = demo(&["--json", "--seconds", "4", "--seed", "3"], dir.path()).output().unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], "shoal/v1");
    assert_eq!(report["ok"], true);
    let modes: Vec<&str> =
        report["phases"].as_array().unwrap().iter().map(|phase| phase["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["mesh", "cloud", "local"]);
    for phase in report["phases"].as_array().unwrap() {
        assert!(phase["tasks"].as_u64().unwrap() > 50, "{phase}");
        assert_eq!((&phase["right"], &phase["lost"]), (&phase["tasks"], &Value::from(0)), "{phase}");
        assert!(phase["latency"]["p99_ms"].as_f64() >= phase["latency"]["p50_ms"].as_f64(), "{phase}");
    }
    let [mesh, cloud, local] = [0, 1, 2].map(|phase| &report["phases"][phase]);
    assert_eq!((&cloud["cloud_percent"], &local["edge_percent"]), (&Value::from(100.0), &Value::from(100.0)));
    assert!(mesh["wan_bytes"].as_u64() < cloud["wan_bytes"].as_u64());
    assert_eq!(local["wan_bytes"], 0);
    let tasks: u64 = report["users"].as_array().unwrap().iter().map(|user| user["right"].as_u64().unwrap()).sum();
    assert_eq!((report["users"].as_array().unwrap().len(), tasks), (5, mesh["tasks"].as_u64().unwrap()));
    assert!(report["fault"]["peer"].as_str().unwrap().starts_with("cloud-"), "{}", report["fault"]);
    assert_eq!(report["fault"]["answered"], report["fault"]["held"]);
    assert!(!report["decisions"].as_array().unwrap().is_empty());
    assert_eq!(report["axes"]["stranger"]["refused_by"], 5);
    assert_eq!(report["axes"]["stranger"]["admitted_by"], 0);
    assert_eq!(processes_with(&dir.path().display().to_string()), [] as [u32; 0]);
}

#[test]
fn ctrl_c_ends_the_peers_and_takes_their_files_away() {
    let dir = tempfile::tempdir().unwrap();
    let of_demo = || processes_with(&dir.path().display().to_string());
    let mut demo = demo(&["--loopback"], dir.path()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("five peers", || (of_demo().len() >= 5).then_some(()));

    kill(Pid::from_raw(demo.id().cast_signed()), Signal::SIGINT).unwrap();

    assert_eq!(demo.wait().unwrap().code(), Some(130));
    wait_for("the end of the peers", || of_demo().is_empty().then_some(()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_length_that_shows_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();

    let output = demo(&["--seconds", "1"], dir.path()).output().unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("2 to 600") && said.contains("fix"), "{said}");
    assert!(output.stdout.is_empty());
}
