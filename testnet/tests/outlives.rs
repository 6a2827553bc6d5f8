//! Nothing the tool starts outlives it, whatever kills it.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use shoal_testnet::Emulator;
use support::{alone, arguments, children_of, descendants, is_gone, network_of, processes, wait_for};

/// The grandchild has a session of its own, so no process group and no death signal of its parent reaches it.
const SCRIPT: &str = r#"setsid sleep 600.25 & echo ready; wait"#;

#[test]
fn kill_9_of_the_outermost_process_ends_the_whole_tree() {
    check(|outer| kill(Pid::from_raw(outer.id() as i32), Signal::SIGKILL).unwrap());
}

#[test]
fn kill_9_of_the_tool_inside_ends_the_whole_tree() {
    check(|outer| {
        let init = children_of(outer.id())[0];
        let tool = children_of(init)[0];
        kill(Pid::from_raw(tool as i32), Signal::SIGKILL).unwrap();
    });
}

#[test]
fn ctrl_c_sent_to_the_outermost_process_ends_the_whole_tree() {
    check(|outer| kill(Pid::from_raw(outer.id() as i32), Signal::SIGINT).unwrap());
}

/// A shell that runs the tests in the background has them, and what they start, ignore Ctrl-C.
#[allow(unsafe_code)] // restoring a default is the one thing a signal handler cannot get wrong
fn heed_ctrl_c() {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.unwrap();
}

#[track_caller]
fn check(end: impl FnOnce(&Child)) {
    if let Some(reason) = Emulator::unavailable() {
        eprintln!("\n*** SKIPPED: links cannot be emulated on this machine: {reason} ***\n");
        return;
    }
    let _one = alone();
    heed_ctrl_c();
    let mut outer = Command::new(env!("CARGO_BIN_EXE_shoal-testnet"))
        .args(["exec", "--edge", "2", "--cloud", "1", "edge-1", "--", "sh", "-c", SCRIPT])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(outer.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    let tree = wait_for("the grandchild's start", || {
        let tree = descendants(outer.id());
        tree.iter().any(|pid| arguments(*pid).contains("600.25")).then_some(tree)
    });
    let own_network = fs::read_link("/proc/self/ns/net").unwrap();
    let networks: Vec<PathBuf> =
        tree.iter().filter_map(|pid| network_of(*pid)).filter(|net| *net != own_network).collect();
    assert!(!networks.is_empty(), "the program did not run in a network namespace of its own");

    end(&outer);

    outer.wait().unwrap();
    wait_for("the end of the tree", || tree.iter().all(|pid| is_gone(*pid)).then_some(()));
    let left: Vec<u32> =
        processes().filter(|pid| network_of(*pid).is_some_and(|net| networks.contains(&net))).collect();
    assert_eq!(left, [] as [u32; 0], "processes still hold the namespaces");
}
