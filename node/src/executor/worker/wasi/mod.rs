//! WASI preview 1 for a command that reads standard input and writes two outputs.
//!
//! wasmtime's own WASI crate would bring the component model, async and a file-system library into every build, and
//! link code that opens files and sockets into the sandbox. What is not linked cannot be reached, so this is written
//! here: what a command needs works, every other function exists and answers that it is not permitted.
//!
//! A run is reproducible: both clocks begin at zero when the run begins and advance in steps of a millisecond (the
//! realtime clock therefore shows 1970), random numbers follow from the task's id, the environment is empty. Where answers
//! are compared the clocks advance by a step with each look at them, and while the guest waits.
//!
//! **Invariant:** a guest's pointers and lengths are checked against its memory before use; no host call allocates by a
//! number the guest chose, and none runs long without looking at the run's limits.

mod abi;
mod clock;
mod process;
mod stdio;

use wasmtime::{Caller, Linker, Result};

use super::guest::Guest;
use abi::{Errno, answer};

/// The import module of preview 1.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

/// Every function of preview 1; all are defined by [`add_to_linker`].
pub(in crate::executor) const FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

type Guests<'a> = Caller<'a, Guest>;

/// Defines all of preview 1.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(MODULE, "args_get", |mut c: Guests<'_>, list: u32, text: u32| {
        answer(&mut c, |memory, guest| process::args_get(memory, guest, list, text))
    })?;
    linker.func_wrap(MODULE, "args_sizes_get", |mut c: Guests<'_>, count: u32, bytes: u32| {
        answer(&mut c, |memory, guest| process::args_sizes_get(memory, guest, count, bytes))
    })?;
    linker
        .func_wrap(MODULE, "environ_get", |mut c: Guests<'_>, _list: u32, _text: u32| answer(&mut c, |_, _| Ok(())))?;
    linker.func_wrap(MODULE, "environ_sizes_get", |mut c: Guests<'_>, count: u32, bytes: u32| {
        answer(&mut c, |memory, _| process::environ_sizes_get(memory, count, bytes))
    })?;
    linker.func_wrap(MODULE, "clock_res_get", |mut c: Guests<'_>, id: u32, to: u32| {
        answer(&mut c, |memory, _| clock::resolution(memory, id, to))
    })?;
    linker.func_wrap(MODULE, "clock_time_get", |mut c: Guests<'_>, id: u32, _precision: u64, to: u32| {
        answer(&mut c, |memory, guest| clock::time(memory, guest, id, to))
    })?;
    linker.func_wrap(
        MODULE,
        "poll_oneoff",
        |mut c: Guests<'_>, subscriptions: u32, events: u32, count: u32, written: u32| {
            answer(&mut c, |memory, guest| clock::poll(memory, guest, subscriptions, events, count, written))
        },
    )?;
    linker.func_wrap(MODULE, "fd_close", |mut c: Guests<'_>, fd: u32| {
        answer(&mut c, |_, guest| stdio::close(guest, fd))
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut c: Guests<'_>, fd: u32, to: u32| {
        answer(&mut c, |memory, guest| stdio::fdstat(memory, guest, fd, to))
    })?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut c: Guests<'_>, fd: u32, to: u32| {
        answer(&mut c, |memory, guest| stdio::filestat(memory, guest, fd, to))
    })?;
    linker.func_wrap(MODULE, "fd_read", |mut c: Guests<'_>, fd: u32, iovs: u32, count: u32, read: u32| {
        answer(&mut c, |memory, guest| stdio::read(memory, guest, fd, iovs, count, read))
    })?;
    linker.func_wrap(MODULE, "fd_write", |mut c: Guests<'_>, fd: u32, iovs: u32, count: u32, written: u32| {
        answer(&mut c, |memory, guest| stdio::write(memory, guest, fd, iovs, count, written))
    })?;
    linker.func_wrap(MODULE, "fd_seek", |mut c: Guests<'_>, fd: u32, _offset: u64, _whence: u32, _to: u32| {
        answer(&mut c, |_, guest| stdio::seek(guest, fd))
    })?;
    linker.func_wrap(MODULE, "fd_tell", |mut c: Guests<'_>, fd: u32, _to: u32| {
        answer(&mut c, |_, guest| stdio::seek(guest, fd))
    })?;
    // "No directory was opened for you": what ends the search for them in every libc.
    linker.func_wrap(MODULE, "fd_prestat_get", |_: Guests<'_>, _fd: u32, _to: u32| Errno::BADF.0)?;
    linker.func_wrap(MODULE, "fd_prestat_dir_name", |_: Guests<'_>, _fd: u32, _to: u32, _len: u32| Errno::BADF.0)?;
    linker.func_wrap(MODULE, "random_get", |mut c: Guests<'_>, to: u32, len: u32| {
        answer(&mut c, |memory, guest| process::random(memory, guest, to, len))
    })?;
    linker.func_wrap(MODULE, "sched_yield", |mut c: Guests<'_>| answer(&mut c, |_, guest| Ok(guest.checkpoint()?)))?;
    linker.func_wrap(MODULE, "proc_exit", |_: Guests<'_>, code: u32| process::exit(code))?;
    refuse_the_rest(linker)
}

/// Files, directories, sockets, signals: there are none.
fn refuse_the_rest(linker: &mut Linker<Guest>) -> Result<()> {
    macro_rules! refuse {
        ($($name:literal ($($param:ty),*) $errno:ident;)*) => {
            $(linker.func_wrap(MODULE, $name, |_: Guests<'_>, $(_: $param),*| Errno::$errno.0)?;)*
        };
    }
    refuse! {
        "fd_advise"(u32, u64, u64, u32) NOTCAPABLE;
        "fd_allocate"(u32, u64, u64) NOTCAPABLE;
        "fd_datasync"(u32) NOTCAPABLE;
        "fd_fdstat_set_flags"(u32, u32) NOTCAPABLE;
        "fd_fdstat_set_rights"(u32, u64, u64) NOTCAPABLE;
        "fd_filestat_set_size"(u32, u64) NOTCAPABLE;
        "fd_filestat_set_times"(u32, u64, u64, u32) NOTCAPABLE;
        "fd_pread"(u32, u32, u32, u64, u32) SPIPE;
        "fd_pwrite"(u32, u32, u32, u64, u32) SPIPE;
        "fd_readdir"(u32, u32, u32, u64, u32) NOTCAPABLE;
        "fd_renumber"(u32, u32) NOTCAPABLE;
        "fd_sync"(u32) NOTCAPABLE;
        "path_create_directory"(u32, u32, u32) NOTCAPABLE;
        "path_filestat_get"(u32, u32, u32, u32, u32) NOTCAPABLE;
        "path_filestat_set_times"(u32, u32, u32, u32, u64, u64, u32) NOTCAPABLE;
        "path_link"(u32, u32, u32, u32, u32, u32, u32) NOTCAPABLE;
        "path_open"(u32, u32, u32, u32, u32, u64, u64, u32, u32) NOTCAPABLE;
        "path_readlink"(u32, u32, u32, u32, u32, u32) NOTCAPABLE;
        "path_remove_directory"(u32, u32, u32) NOTCAPABLE;
        "path_rename"(u32, u32, u32, u32, u32, u32) NOTCAPABLE;
        "path_symlink"(u32, u32, u32, u32, u32) NOTCAPABLE;
        "path_unlink_file"(u32, u32, u32) NOTCAPABLE;
        "proc_raise"(u32) NOSYS;
        "sock_accept"(u32, u32, u32) NOTCAPABLE;
        "sock_recv"(u32, u32, u32, u32, u32, u32) NOTCAPABLE;
        "sock_send"(u32, u32, u32, u32, u32) NOTCAPABLE;
        "sock_shutdown"(u32, u32) NOTCAPABLE;
    }
    Ok(())
}
