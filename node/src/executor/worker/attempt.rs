//! Tries, from inside, what a worker must not be able to do. `shoald worker --attempt ACT` locks itself down as a worker
//! does and then acts as an intruder would. `free:ACT` acts without the lockdown, which shows that the act is one that would
//! succeed; `files:ACT` without the filter of system calls, which shows what Landlock does by itself.
//!
//! | ends with | means |
//! |---|---|
//! | 0 | refused |
//! | a signal | ended in the act |
//! | 1 | done: the sandbox has a hole |
//! | 64 | no such act |

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::kill;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::{engine, lockdown};

/// Linear memory of the tasks that the locked down process is made for.
const GUEST_BYTES: u64 = 64 * 1024 * 1024;
/// More memory than such a worker may have, with all that is beside the guest.
const TOO_MUCH_BYTES: usize = 1024 * 1024 * 1024;
/// More of a core's time than compiling may take.
const TOO_LONG_S: i64 = 3 * lockdown::COMPILE_CPU_S as i64;

const PRIVATE: libc::c_int = libc::MAP_PRIVATE;
const DONE: u8 = 1;
const NO_SUCH_ACT: u8 = 64;

type Act = fn() -> io::Result<()>;

/// Every act by its name.
const ACTS: &[(&str, Act)] = &[
    ("open", || fs::read("/etc/passwd").map(drop)),
    ("create", || fs::write("/tmp/shoal-attempt", "here").and_then(|()| fs::remove_file("/tmp/shoal-attempt"))),
    ("list", || fs::read_dir("/").map(drop)),
    ("own-memory", || fs::File::options().write(true).open("/proc/self/mem").map(drop)),
    ("exec", || Command::new("/bin/true").status().map(drop)),
    ("fork", fork),
    ("thread", || std::thread::Builder::new().spawn(|| ()).map(drop)),
    ("tcp", || {
        TcpStream::connect_timeout(&([127, 0, 0, 1], 9).into(), Duration::from_secs(1)).or_else(refused).map(drop)
    }),
    ("udp", || UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("unix-socket", || UnixStream::pair().map(drop)),
    ("kill", || kill(Pid::this(), None).map_err(io::Error::from)),
    ("trace", || system_call(libc::SYS_ptrace, [libc::PTRACE_TRACEME.into(), 0, 0, 0])),
    ("memory-file", || system_call(libc::SYS_memfd_create, [c"attempt".as_ptr() as libc::c_long, 0, 0, 0])),
    ("code", || map(PRIVATE, libc::PROT_READ | libc::PROT_EXEC, None)),
    ("code-that-is-written-to", || {
        map(PRIVATE, libc::PROT_READ, Some(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC))
    }),
    ("shared-memory", || map(libc::MAP_SHARED, libc::PROT_READ, None)),
    ("namespace", || system_call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0])),
    ("raise-limits", raise_limits),
    ("dump", || nix::sys::prctl::set_dumpable(true).map_err(io::Error::from)),
    ("memory", take_memory),
];

/// Acts of a worker that compiles.
const ACTS_OF_A_COMPILER: &[(&str, Act)] = &[("spin", spin)];

/// Makes one attempt; `list` names them all.
pub(super) fn main(act: &str) -> ExitCode {
    if act == "all" {
        ACTS.iter().chain(ACTS_OF_A_COMPILER).for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let (how, name) = act.split_once(':').unwrap_or(("held", act));
    let find = |acts: &[(&str, Act)]| acts.iter().find(|(known, _)| *known == name).map(|(_, act)| *act);
    let (act, entered) = match (find(ACTS), find(ACTS_OF_A_COMPILER), how) {
        (Some(act), _, "held") => (act, enter(|| lockdown::to_run(GUEST_BYTES, || Ok(())))),
        (Some(act), _, "files") => (act, enter(|| lockdown::to_try_files(GUEST_BYTES))),
        (_, Some(act), "held") => (act, enter(|| lockdown::to_compile(|| Ok(())))),
        (Some(act), _, "free") | (_, Some(act), "free") => (act, Ok(())),
        (_, _, _) => {
            eprintln!("no attempt is called {act:?}; `--attempt all` lists them");
            return ExitCode::from(NO_SUCH_ACT);
        }
    };
    if let Err(why) = entered {
        eprintln!("the lockdown failed: {why}");
        return ExitCode::from(DONE);
    }
    match act() {
        Ok(()) => {
            say(name, "done");
            ExitCode::from(DONE)
        }
        Err(error) => {
            say(name, &format!("refused ({error})"));
            ExitCode::SUCCESS
        }
    }
}

/// Standard output may be a file, which a worker cannot make longer.
fn say(name: &str, what: &str) {
    let _ = writeln!(io::stdout(), "{name}: {what}");
}

/// Becomes a worker in all but the connection.
fn enter(lock_down: impl FnOnce() -> Result<lockdown::Held<()>, String>) -> Result<(), String> {
    lockdown::leave_everything();
    let _engine = engine::build().map_err(|error| format!("{error:#}"))?;
    let held = lock_down()?;
    match held.parts.iter().find(|part| !part.enforced) {
        Some(part) => Err(format!("{}: {}", part.name, part.detail)),
        None => Ok(()),
    }
}

fn fork() -> io::Result<()> {
    #[allow(unsafe_code)] // The child ends at once.
    match unsafe { nix::unistd::fork() }? {
        #[allow(unsafe_code)]
        nix::unistd::ForkResult::Child => unsafe { libc::_exit(0) },
        nix::unistd::ForkResult::Parent { .. } => Ok(()),
    }
}

/// Nobody listens there, and to be told so is to have been on the network.
fn refused(error: io::Error) -> io::Result<TcpStream> {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        say("tcp", "done");
        std::process::exit(DONE.into());
    }
    Err(error)
}

fn system_call(number: libc::c_long, arguments: [libc::c_long; 4]) -> io::Result<()> {
    let [a, b, c, d] = arguments;
    #[allow(unsafe_code)] // Each act above gives a call that keeps no pointer.
    let result = unsafe { libc::syscall(number, a, b, c, d) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Maps a page, and changes what may be done with it.
fn map(kind: libc::c_int, protection: libc::c_int, then: Option<libc::c_int>) -> io::Result<()> {
    const PAGE: usize = 4096;
    let kind = kind | libc::MAP_ANONYMOUS;
    #[allow(unsafe_code)] // A page of its own, which nobody uses.
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), PAGE, protection, kind, -1, 0);
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match then {
            Some(then) if libc::mprotect(page, PAGE, then) != 0 => Err(io::Error::last_os_error()),
            Some(_) | None => Ok(()),
        }
    }
}

fn raise_limits() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).map_err(io::Error::from)
}

fn take_memory() -> io::Result<()> {
    const STEP_BYTES: usize = 16 * 1024 * 1024;
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while taken.len() * STEP_BYTES < TOO_MUCH_BYTES {
        let mut step = Vec::new();
        step.try_reserve_exact(STEP_BYTES).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // Touched, not only set aside.
        step.resize(STEP_BYTES, 1);
        taken.push(step);
    }
    drop(black_box(taken));
    Ok(())
}

fn spin() -> io::Result<()> {
    // Its own time, which passes slowly on a busy machine.
    while clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.tv_sec() < TOO_LONG_S {}
    Ok(())
}
