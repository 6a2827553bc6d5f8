//! Everything going wrong with real processes, for a short while. Build them first: `cargo build --release --bins`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{alone, processes_with, wait_for};

fn chaos(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal-testnet"));
    command.arg("chaos").args(arguments).arg("--dir").arg(dir);
    command
}

#[track_caller]
fn assert_kept(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert!(output.status.success(), "{said}\n{told:#}");
    assert_eq!(told["violations"], serde_json::json!([]));
    assert!(told["tasks_acknowledged"].as_u64() > Some(10), "{told:#}");
    told
}

fn count(faults: &serde_json::Value) -> u64 {
    faults.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn no_promise_is_broken_in_a_short_storm_and_its_history_says_what_happened() {
    let _one = alone();
    let home = tempfile::tempdir().unwrap();

    let output = chaos(home.path(), &["--seconds", "15", "--seed", "4", "--json"]).output().unwrap();

    let told = assert_kept(&output);
    assert!(count(&told["faults"]) >= 4, "{told:#}");
    let history = std::fs::read_to_string(home.path().join("history.txt")).unwrap();
    assert!(history.contains("FAULT") && history.contains("is acknowledged"), "{history}");
}

#[test]
fn on_loopback_links_are_left_alone_and_that_is_said() {
    let _one = alone();
    let home = tempfile::tempdir().unwrap();

    let output = chaos(home.path(), &["--seconds", "8", "--peers", "3", "--loopback", "--json"]).output().unwrap();

    let told = assert_kept(&output);
    assert!(told["impossible"]["partition"].is_string() && told["faults"]["partition"].is_null(), "{told:#}");
}

#[test]
fn a_storm_that_is_ended_in_the_middle_leaves_nothing_behind() {
    let _one = alone();
    let home = tempfile::tempdir().unwrap();
    let mut storm = chaos(home.path(), &["--seconds", "60"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(storm.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("5 peers"), "{line}");

    kill(Pid::from_raw(storm.id().cast_signed()), Signal::SIGTERM).unwrap();

    assert_eq!(storm.wait().unwrap().code(), Some(130));
    let dir = home.path().display().to_string();
    wait_for("the end of the peers", || processes_with(&dir).is_empty().then_some(()));
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&dir), "{mounts}");
}
