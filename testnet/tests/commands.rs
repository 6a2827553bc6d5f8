//! What a person does: `up`, `up --keep`, `down`, and what is left after each.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

mod support;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{processes_with, wait_for};

fn testnet(arguments: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal-testnet"));
    command.args(arguments).arg("--dir").arg(dir);
    command
}

fn output(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// The processes of a mesh, the tool included.
fn of_mesh(dir: &Path) -> Vec<u32> {
    processes_with(&dir.display().to_string())
}

fn up_in_foreground(dir: &Path) -> Child {
    let up = testnet(&["up", "--cloud", "1", "--edge", "1", "--json"], dir).stdout(Stdio::piped()).spawn().unwrap();
    wait_for("the mesh", || dir.join("testnet.json").exists().then_some(()));
    up
}

#[track_caller]
fn check_that_nothing_is_left(end: impl FnOnce(Pid)) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("mesh");
    let mut up = up_in_foreground(&dir);
    assert!(of_mesh(&dir).len() >= 3, "the tool and its two peers");

    end(Pid::from_raw(up.id().cast_signed()));

    up.wait().unwrap();
    wait_for("the end of the peers", || of_mesh(&dir).is_empty().then_some(()));
}

#[test]
fn kill_9_of_the_tool_ends_its_peers() {
    check_that_nothing_is_left(|tool| kill(tool, Signal::SIGKILL).unwrap());
}

#[test]
fn ctrl_c_ends_the_peers() {
    check_that_nothing_is_left(|tool| kill(tool, Signal::SIGINT).unwrap());
}

#[test]
fn up_tells_scripts_what_it_started() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("mesh");

    let mut up = up_in_foreground(&dir);
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGTERM).unwrap();
    let mut text = String::new();
    up.stdout.take().unwrap().read_to_string(&mut text).unwrap();

    assert!(up.wait().unwrap().success());
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["schema"], "shoal/v1");
    let names: Vec<_> = told["peers"].as_array().unwrap().iter().map(|peer| peer["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cloud-1", "edge-1"]);
    assert_eq!(told["peers"][0]["api"], format!("unix:{}/peers/cloud-1/api.sock", dir.display()));
}

#[test]
fn a_kept_mesh_runs_until_down() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("mesh");

    let up = output(testnet(&["up", "--keep", "--cloud", "1", "--edge", "1"], &dir));
    let second = output(testnet(&["up", "--keep", "--cloud", "1", "--edge", "1"], &dir));
    let running = of_mesh(&dir).len();
    let down = output(testnet(&["down"], &dir));
    let again = output(testnet(&["down"], &dir));

    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(up.status.success(), "{}", said(&up));
    assert!(String::from_utf8_lossy(&up.stdout).contains("edge-1"), "{up:?}");
    assert!(said(&up).contains(&format!("down --dir {}", dir.display())), "{}", said(&up));
    assert_eq!(second.status.code(), Some(69), "{}", said(&second));
    assert!(said(&second).contains("in use"), "{}", said(&second));
    assert!(running >= 3, "the tool and its two peers");
    assert!(down.status.success(), "{}", said(&down));
    wait_for("the end of the mesh", || of_mesh(&dir).is_empty().then_some(()));
    assert_eq!(again.status.code(), Some(69), "{}", said(&again));
}

#[test]
fn an_interrupted_task_is_answered_by_a_second_run_and_its_times_are_told_apart() {
    let mut recovery = Command::new(env!("CARGO_BIN_EXE_shoal-testnet"));
    recovery.args(["recovery", "--runs", "1", "--json"]);
    let output = output(recovery);

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let recoveries = told["recoveries"].as_array().unwrap();
    assert_eq!(recoveries.iter().map(|one| one["fault"].as_str().unwrap()).collect::<Vec<_>>(), ["killed", "frozen"]);
    for one in recoveries {
        assert!(one["attempts"].as_u64().unwrap() >= 2, "{one}");
        assert!(one["answered_ms"].as_f64() >= one["run_ms"].as_f64(), "{one}");
        assert!(one["elsewhere_ms"].as_f64() > Some(0.0), "{one}");
    }
}
