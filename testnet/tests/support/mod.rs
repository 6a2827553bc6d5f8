//! What tests of real networks and processes share.

#![allow(dead_code)] // each test binary uses a part of it

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shoal_testnet::{Emulator, sandbox};

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Runs a test here if links can be emulated here, otherwise as root of a user namespace.
pub(crate) fn emulated(name: &str, test: impl FnOnce()) {
    const INSIDE: &str = "SHOAL_TESTNET_INSIDE_USER_NAMESPACE";
    let Some(reason) = Emulator::unavailable() else { return test() };
    if std::env::var_os(INSIDE).is_some() {
        eprintln!("\n*** SKIPPED {name}: links cannot be emulated on this machine: {reason} ***\n");
        return;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    #[allow(unsafe_code)] // the child has one thread; what it allocates is a few bytes that no lock of ours guards
    unsafe {
        again.pre_exec(|| sandbox::become_root_in_user_namespace().map_err(std::io::Error::other));
    }
    match again.status() {
        Ok(status) => assert!(status.success(), "{name} failed in its user namespace: {status}"),
        Err(error) => eprintln!("\n*** SKIPPED {name}: {reason}; and no user namespace: {error} ***\n"),
    }
}

/// For tests that do not go beside each other: what is promised in seconds is promised on a machine that is not full, and
/// what is said of all its processes is said of one test's.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {LONG:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn descendants(of: u32) -> Vec<u32> {
    let children = children_of(of);
    let mut all = children.clone();
    all.extend(children.into_iter().flat_map(descendants));
    all
}

pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    processes().filter(|pid| status_field(*pid, "PPid:").as_deref() == Some(&parent.to_string())).collect()
}

pub(crate) fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Processes that live and have this text among their arguments.
pub(crate) fn processes_with(text: &str) -> Vec<u32> {
    processes().filter(|pid| arguments(*pid).contains(text) && !is_gone(*pid)).collect()
}

fn status_field(pid: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
}

/// A process nobody has waited for yet is as good as gone: its memory, files and namespaces are.
pub(crate) fn is_gone(pid: u32) -> bool {
    status_field(pid, "State:").is_none_or(|state| state.starts_with('Z'))
}

pub(crate) fn arguments(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

pub(crate) fn network_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(Path::new("/proc").join(pid.to_string()).join("ns/net")).ok()
}
