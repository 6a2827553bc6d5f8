//! How a worker gives up what it could do: files, system calls, privileges, resources.
//!
//! | part | what it takes | by |
//! |---|---|---|
//! | `parent` | outliving the daemon | `PR_SET_PDEATHSIG`, and the end of the connection |
//! | `limits` | memory, files, processes, core dumps | `setrlimit` |
//! | `privileges` | capabilities, set-user-id programs, being looked into | `capset`, `PR_SET_NO_NEW_PRIVS`, `PR_SET_DUMPABLE` |
//! | `files` | every path | Landlock (Linux 5.13) |
//! | `syscalls` | everything that is not on the list of `syscalls.rs` | seccomp |
//!
//! A kernel that lacks a part is no reason not to run: the part is reported as missing, `shoal status` and `shoal doctor`
//! show it, and work that is marked `restricted` is declined.
//!
//! **Invariant:** the order of the steps: what still needs a file or a thread comes before what forbids it.

use std::fs;
use std::io;

use landlock::{ABI, Access, AccessFs, AccessNet, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use shoal_protocol::api::SandboxPart;

use super::syscalls;

/// Memory of a worker beside a guest's own: its output of 64 MiB, the tables of its modules, buffers.
const BESIDE_GUEST_BYTES: u64 = 256 * 1024 * 1024;
/// Memory for compiling one module.
const COMPILE_BYTES: u64 = 512 * 1024 * 1024;
/// Address space for compiled code, which is mapped from files, and for what the allocator sets aside.
const ADDRESS_SLACK_BYTES: u64 = 1024 * 1024 * 1024;
/// A core's time for compiling one module, in whole seconds, as the kernel counts them.
pub(in super::super) const COMPILE_CPU_S: u64 = 2;
/// Open files: the modules of a worker, the inputs of a task, the connection.
const FILES_MAX: u64 = 128;
/// The newest rights we know; older kernels enforce what they have.
const LANDLOCK_ABI: ABI = ABI::V7;
/// What processes of this kind are called in listings.
const NAME: &std::ffi::CStr = c"shoald-worker";

/// A worker that is locked down.
#[derive(Debug)]
pub(super) struct Held<T> {
    /// What holds it, and what is missing.
    pub(super) parts: Vec<SandboxPart>,
    /// The thread that was started before threads were forbidden.
    pub(super) helper: T,
}

/// The first steps, before anything is read: no files but the three standard ones, no life without the daemon.
pub(super) fn leave_everything() {
    // Set again, and reported, at the end of the lockdown.
    let _ = die_with_parent();
    let first = libc::STDERR_FILENO + 1;
    #[allow(unsafe_code)] // Closes what this process does not use; nothing has been opened that could be in use.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, NAME.as_ptr());
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0);
        // The daemon decides when a worker ends; a supervisor that signals all processes of a service means the daemon.
        // A file that may not grow is an error like others.
        for name in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGXFSZ] {
            let _ = signal(name, SigHandler::SigIgn);
        }
    }
    // When memory runs out, a worker goes before the daemon. Raising one's own score needs no privilege.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
}

/// For a worker that runs tasks of up to `memory_bytes_max` of linear memory; `helper` starts its one other
/// thread, and waits until that runs: what threads do when they begin is forbidden afterwards.
pub(super) fn to_run<T>(memory_bytes_max: u64, helper: impl FnOnce() -> io::Result<T>) -> Result<Held<T>, String> {
    lock_down(memory_bytes_max.saturating_add(BESIDE_GUEST_BYTES), None, syscalls::forbid_the_rest, helper)
}

/// As [`to_run`] without the filter of system calls, which would refuse before Landlock is asked.
pub(super) fn to_try_files(memory_bytes_max: u64) -> Result<Held<()>, String> {
    lock_down(memory_bytes_max.saturating_add(BESIDE_GUEST_BYTES), None, || Ok(0), || Ok(()))
}

/// For a worker that compiles; `helper` as in [`to_run`].
pub(super) fn to_compile<T>(helper: impl FnOnce() -> io::Result<T>) -> Result<Held<T>, String> {
    lock_down(COMPILE_BYTES, Some(COMPILE_CPU_S), syscalls::forbid_the_rest, helper)
}

fn lock_down<T>(
    data_bytes: u64,
    cpu_s: Option<u64>,
    filter: impl FnOnce() -> Result<usize, String>,
    helper: impl FnOnce() -> io::Result<T>,
) -> Result<Held<T>, String> {
    let limits = limit(data_bytes, cpu_s);
    let root = leave_the_tree();
    let privileges = drop_privileges();
    let files = close_files();
    let helper = helper().map_err(|error| format!("it cannot start a thread: {error}"))?;
    // Not before the thread is there; to root, who is not held by it, seccomp forbids the same.
    let limits = limits.and_then(|()| set(Resource::RLIMIT_NPROC, 0));
    // Changed credentials cancel it.
    let parent = die_with_parent();
    let syscalls = filter();
    let parts = vec![
        part("parent", parent.map(|()| "ends with the daemon".to_owned())),
        part("limits", limits.map(|()| format!("{} MiB of memory, {FILES_MAX} files", data_bytes >> 20))),
        part("privileges", privileges.map(|()| "none, and none to be had".to_owned())),
        part(
            "files",
            files.map(|abi| format!("landlock {abi}{}", if root { ", an empty root directory" } else { "" })),
        ),
        part("syscalls", syscalls.map(|count| format!("seccomp, {count} allowed"))),
    ];
    Ok(Held { parts, helper })
}

fn part(name: &str, result: Result<String, String>) -> SandboxPart {
    let enforced = result.is_ok();
    SandboxPart { name: name.to_owned(), enforced, detail: result.unwrap_or_else(|why| why) }
}

fn die_with_parent() -> Result<(), String> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| format!("PR_SET_PDEATHSIG: {errno}"))
}

/// Landlock does not hide whether a path exists; where this process may, it leaves for a directory without any.
fn leave_the_tree() -> bool {
    nix::unistd::chroot("/proc/self/fdinfo").is_ok() && nix::unistd::chdir("/").is_ok()
}

fn limit(data_bytes: u64, cpu_s: Option<u64>) -> Result<(), String> {
    let (size, data) = mapped_bytes().ok_or("how much memory it has cannot be read: is /proc mounted?")?;
    // Memory that is written to, and not address space: a guest's 4 GiB are reserved and not taken.
    set(Resource::RLIMIT_DATA, data.saturating_add(data_bytes))?;
    set(Resource::RLIMIT_AS, size.saturating_add(data_bytes).saturating_add(ADDRESS_SLACK_BYTES))?;
    set(Resource::RLIMIT_CORE, 0)?;
    set(Resource::RLIMIT_FSIZE, 0)?;
    set(Resource::RLIMIT_NOFILE, FILES_MAX)?;
    set(Resource::RLIMIT_MEMLOCK, 0)?;
    let Some(seconds) = cpu_s else { return Ok(()) };
    // First a signal that says why; a second later the one that cannot be ignored.
    setrlimit(Resource::RLIMIT_CPU, seconds, seconds + 1).map_err(|errno| format!("RLIMIT_CPU: {errno}"))
}

fn set(resource: Resource, most: u64) -> Result<(), String> {
    setrlimit(resource, most, most).map_err(|errno| format!("{resource:?}: {errno}"))
}

/// Address space, and what of it is private and can be written to, in bytes.
fn mapped_bytes() -> Option<(u64, u64)> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_whitespace().map(|pages| pages.parse::<u64>().ok());
    let (size, data) = (pages.next()??, pages.nth(4)??);
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    let page = u64::try_from(page).ok()?;
    Some((size.saturating_mul(page), data.saturating_mul(page)))
}

fn drop_privileges() -> Result<(), String> {
    let said = |what: &'static str| move |errno: Errno| format!("{what}: {errno}");
    nix::sys::prctl::set_no_new_privs().map_err(said("PR_SET_NO_NEW_PRIVS"))?;
    nix::sys::prctl::set_dumpable(false).map_err(said("PR_SET_DUMPABLE"))?;
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
    const VERSION: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION, 0];
    let none = [0_u32; 6];
    #[allow(unsafe_code)] // Reads two arrays of the sizes that version 3 has; zero names the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    Errno::result(result).map(drop).map_err(said("capset"))
}

/// No path may be used, for anything; says which interface of the kernel does that.
fn close_files() -> Result<ABI, String> {
    let status = Ruleset::default()
        .set_compatibility(landlock::CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK_ABI)))
        .and_then(|rules| rules.scope(Scope::from_all(LANDLOCK_ABI)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error| format!("landlock: {error}"))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) | (_, landlock::LandlockStatus::NotEnabled) => {
            Err("this kernel has no Landlock, or it is not among the security modules that are switched on".to_owned())
        }
        (_, landlock::LandlockStatus::NotImplemented) => Err("this kernel has no Landlock".to_owned()),
        (_, landlock::LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi),
    }
}
