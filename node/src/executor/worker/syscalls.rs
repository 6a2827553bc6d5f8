//! The system calls of a worker that is locked down.
//!
//! Two filters, of which the kernel obeys the stricter: what an honest worker may come upon (a C library that looks for
//! the number of processors) fails with `EPERM` as everything that is not allowed does; what only an intruder asks for ends
//! the process on the spot, so that a worker that was broken into does not live to run the next task.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Whatever their arguments.
const ALLOWED: &[libc::c_long] = &[
    // The connection and the files that come with orders.
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads that are there already, and traps of guests.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_membarrier,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    // The end.
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What starts programs or processes, speaks to the network, or reaches into other processes or the kernel.
const DEADLY: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_chroot,
    libc::SYS_keyctl,
];

/// Forbids everything else, to all threads, for ever; says how many calls are left.
pub(super) fn forbid_the_rest() -> Result<usize, String> {
    let deadly = DEADLY.iter().map(|call| (*call, Vec::new())).collect();
    apply(deadly, SeccompAction::Allow, SeccompAction::KillProcess)?;
    // Last: it does not allow the call that installs a filter.
    let rules = allowed().map_err(|error| error.to_string())?;
    let count = rules.len();
    apply(rules, SeccompAction::Errno(libc::EPERM.cast_unsigned()), SeccompAction::Allow)?;
    Ok(count)
}

type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

fn allowed() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let is = |argument, operator, value: libc::c_int| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, u64::from(value.cast_unsigned()))
    };
    let has_not =
        |argument, flag: libc::c_int| is(argument, SeccompCmpOp::MaskedEq(u64::from(flag.cast_unsigned())), 0);
    let has = |argument, flag: libc::c_int| is(argument, SeccompCmpOp::MaskedEq(u64::from(flag.cast_unsigned())), flag);
    // Memory is written or executed, never both; code comes from files that the daemon sealed, and is made executable once
    // it is no longer written to.
    // Nor shared with anybody, which no limit on memory would count.
    let private = vec![has_not(2, libc::PROT_EXEC)?, has_not(3, libc::MAP_SHARED)?];
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(private)?]);
    let no_code = SeccompRule::new(vec![has_not(2, libc::PROT_EXEC)?])?;
    let no_writing = SeccompRule::new(vec![has_not(2, libc::PROT_WRITE)?])?;
    rules.insert(libc::SYS_mprotect, vec![no_code, no_writing]);
    // wasmtime gives back a guest's memory by it: of this process only (PIDFD_SELF).
    rules.insert(libc::SYS_process_madvise, vec![SeccompRule::new(vec![is(0, SeccompCmpOp::Eq, -10_000)?])?]);
    // The size of an open file.
    rules.insert(libc::SYS_statx, vec![SeccompRule::new(vec![has(2, libc::AT_EMPTY_PATH)?])?]);
    rules.insert(libc::SYS_newfstatat, vec![SeccompRule::new(vec![has(3, libc::AT_EMPTY_PATH)?])?]);
    // Standard output and error, which lead nowhere but when a person tries the sandbox.
    rules.insert(libc::SYS_write, vec![SeccompRule::new(vec![is(0, SeccompCmpOp::Le, libc::STDERR_FILENO)?])?]);
    Ok(rules)
}

fn apply(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<(), String> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let program: Result<BpfProgram, _> =
        SeccompFilter::new(rules, otherwise, matched, machine).and_then(BpfProgram::try_from);
    let program = program.map_err(|error| error.to_string())?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| format!("seccomp: {error}"))
}
