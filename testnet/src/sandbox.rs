//! A process tree that ends as a whole, whatever kills its head.
//!
//! ```text
//! outer ── waits, passes signals on
//!   └ init ── process 1 of a new pid namespace: collects orphans, passes signals on; the kernel kills it with `outer`
//!       └ the tool itself, and what it starts; the kernel kills all of them with `init`
//! ```
//!
//! Without the right to make namespaces, a user namespace is made first in which the caller is root; emulated links need that too.
//!
//! **Invariant:** called before any thread exists, and nothing started afterwards outlives `outer`.
//! **Not here:** network namespaces; those are the emulator's.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getegid, geteuid, pipe};

/// Passed on to the tool; the terminal's own Ctrl-C reaches it without help.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Why the tool runs without a sandbox. Its children are then killed one by one when it dies, but not theirs.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct SandboxError {
    step: &'static str,
    source: io::Error,
}

/// Continues in the sandbox; only the process inside returns from here.
///
/// An error means that nothing has changed and the caller goes on unprotected.
pub fn enter() -> Result<(), SandboxError> {
    // An unshared namespace cannot be left again, so a child tries first.
    rehearse()?;
    make_namespaces()?;
    let signals = Supervised::block_signals().map_err(|errno| failed("blocking signals", errno))?;
    let (outer_lives, outer_end) = pipe().map_err(|errno| failed("making a pipe", errno))?;
    match fork_single_threaded().map_err(|errno| failed("starting the sandbox", errno))? {
        ForkResult::Parent { child } => {
            drop(outer_lives);
            let code = signals.supervise(child);
            drop(outer_end);
            std::process::exit(code)
        }
        ForkResult::Child => {
            drop(outer_end);
            become_init(outer_lives, signals)
        }
    }
}

/// Process 1 of the namespace: starts the tool, which is what returns.
fn become_init(outer_lives: OwnedFd, signals: Supervised) -> Result<(), SandboxError> {
    if set_pdeathsig(Signal::SIGKILL).is_err() || has_ended(&outer_lives) {
        std::process::exit(1);
    }
    remount_proc();
    match fork_single_threaded() {
        Ok(ForkResult::Parent { child }) => std::process::exit(signals.supervise(child)),
        Ok(ForkResult::Child) => {
            drop(outer_lives);
            signals.unblock().map_err(|errno| failed("restoring signals", errno))
        }
        Err(errno) => Err(failed("starting the tool in the sandbox", errno)),
    }
}

fn rehearse() -> Result<(), SandboxError> {
    match fork_single_threaded().map_err(|errno| failed("forking", errno))? {
        ForkResult::Child => {
            let errno = match make_namespaces() {
                Ok(()) => 0,
                Err(error) => error.source.raw_os_error().unwrap_or(libc::EPERM),
            };
            std::process::exit(errno)
        }
        ForkResult::Parent { child } => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(WaitStatus::Exited(_, errno)) => {
                Err(failed("making user and process namespaces", Errno::from_raw(errno)))
            }
            Ok(_) => Err(failed("making user and process namespaces", Errno::EINTR)),
            Err(errno) => Err(failed("waiting for the rehearsal", errno)),
        },
    }
}

fn make_namespaces() -> Result<(), SandboxError> {
    let inner = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    match unshare(inner) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => {
            become_root_in_user_namespace()?;
            unshare(inner).map_err(|errno| failed("making a process namespace", errno))
        }
        Err(errno) => Err(failed("making a process namespace", errno)),
    }
}

/// Makes a user namespace in which the caller, whoever it is outside, is root. Needs a process of one thread.
pub fn become_root_in_user_namespace() -> Result<(), SandboxError> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| failed("making a user namespace", errno))?;
    let write = |path, text: String| fs::write(path, text).map_err(|source| SandboxError { step: path, source });
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {user} 1"))?;
    write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// Shows the processes of this namespace in /proc. Where the kernel refuses, the outer numbers stay visible, which only misleads tools
/// that look themselves up by number.
fn remount_proc() {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    if mount(None::<&str>, "/", None::<&str>, private, None::<&str>).is_ok() {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let _ = mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>);
    }
}

/// A closed pipe is how init learns that its parent died before the death signal was armed.
fn has_ended(outer_lives: &OwnedFd) -> bool {
    let mut ends = [PollFd::new(outer_lives.as_fd(), PollFlags::POLLIN)];
    poll(&mut ends, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

fn fork_single_threaded() -> nix::Result<ForkResult> {
    #[allow(unsafe_code)] // no other thread exists yet whose locks the child could inherit
    unsafe {
        fork()
    }
}

fn failed(step: &'static str, errno: Errno) -> SandboxError {
    SandboxError { step, source: errno.into() }
}

/// The signals of a process that only waits for another.
struct Supervised {
    before: SigSet,
    signals: SignalFd,
}

impl Supervised {
    fn block_signals() -> nix::Result<Self> {
        let mut set = SigSet::from_iter(PASSED_ON);
        set.add(Signal::SIGCHLD);
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { before, signals })
    }

    fn unblock(self) -> nix::Result<()> {
        self.before.thread_set_mask()
    }

    /// Waits until the child ends, passing signals on to it, and returns its exit code.
    fn supervise(&self, child: Pid) -> i32 {
        loop {
            let Ok(Some(received)) = self.signals.read_signal() else { continue };
            match Signal::try_from(received.ssi_signo as i32) {
                Ok(Signal::SIGCHLD) => {
                    if let Some(code) = collect(child) {
                        return code;
                    }
                }
                // From the terminal it has gone to the whole process group already.
                Ok(_) if received.ssi_code == libc::SI_KERNEL => {}
                Ok(signal) => drop(kill(child, signal)),
                Err(_) => {}
            }
        }
    }
}

/// Collects every process that has ended; the exit code if the awaited one is among them.
fn collect(awaited: Pid) -> Option<i32> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == awaited => return Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == awaited => return Some(128 + signal as i32),
            Ok(WaitStatus::StillAlive) => return None,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Some(1),
        }
    }
}
