//! How many files a running process may open.

use std::fs;

use nix::libc;

/// Lets it open so many more than it has, and no more; what it was allowed before.
pub(super) fn files(pid: u32, more: u64) -> Option<libc::rlimit> {
    // A new file takes the lowest free number, and the limit is on the number.
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let highest = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok()).max()?;
    let before = exchange(pid, None)?;
    exchange(pid, Some(libc::rlimit { rlim_cur: highest + 1 + more, ..before }))?;
    Some(before)
}

pub(super) fn restore(pid: u32, before: libc::rlimit) {
    let _ = exchange(pid, Some(before));
}

/// Sets the limit, if one is given; what it was.
fn exchange(pid: u32, new: Option<libc::rlimit>) -> Option<libc::rlimit> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    #[allow(unsafe_code)] // one system call on two structures that live through it
    let result = unsafe { libc::prlimit(libc::pid_t::try_from(pid).ok()?, libc::RLIMIT_NOFILE, new, &raw mut old) };
    (result == 0).then_some(old)
}
