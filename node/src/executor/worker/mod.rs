//! What runs inside a worker: one process that a guest may break without anybody else noticing.
//!
//! ```text
//! exec ─► no other files ─► Begin ─► engine ─► lockdown ─► Ready ─► Run, Run, Run…   (or Compile, once)
//! ```
//!
//! A worker is the daemon's own program, executed anew, so nothing that the daemon keeps in memory is in it. It holds one
//! connection, to the daemon, and whatever file comes with an order.
//!
//! **Invariant:** no byte that a stranger made is looked at before the lockdown.
//! **Not here:** what the daemon makes of the answers (`../process.rs`, `../run.rs`).

mod attempt;
mod compile;
mod engine;
mod guest;
mod inspect;
mod lockdown;
mod modules;
mod orders;
mod priority;
mod run;
mod syscalls;
mod ticker;
pub(super) mod wasi;

use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::sync::Arc;

pub(super) use lockdown::COMPILE_CPU_S;
use shoal_protocol::api::SandboxPart;
use shoal_protocol::cbor;
use wasmtime::Engine;

use super::line::{Kind, Line, PACKET_BYTES_MAX};
use super::words::{Begin, Ready};

/// The argument that makes this program a worker.
pub const ARGUMENT: &str = "worker";
/// Stack of the compiler, whose recursion follows a stranger's code.
const COMPILER_STACK_BYTES: usize = 64 * 1024 * 1024;
/// Where the daemon puts the connection.
const STDIN: RawFd = 0;
/// What a worker ends with when it cannot begin.
const EXIT_UNFIT: u8 = 71;

/// Runs this process as a worker if its first argument says so: to be called before anything else.
pub fn run_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    Some(match arguments.collect::<Vec<OsString>>().as_slice() {
        [] => serve(),
        [option, act] if option == "--attempt" => attempt::main(&act.to_string_lossy()),
        _ => {
            eprintln!("usage: {ARGUMENT} [--attempt ACT]; shoald starts its workers itself");
            ExitCode::from(64)
        }
    })
}

/// Serves the connection that is this process's standard input until the daemon closes it.
pub(super) fn serve() -> ExitCode {
    lockdown::leave_everything();
    #[allow(unsafe_code)] // Standard input is this connection, and nothing in this program reads it as anything else.
    let end = unsafe { OwnedFd::from_raw_fd(STDIN) };
    let line = Arc::new(Line::of(end));
    match begin(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // The daemon sees the exit code; a person who starts a worker by hand sees this.
            eprintln!("the worker cannot begin: {why}");
            ExitCode::from(EXIT_UNFIT)
        }
    }
}

fn begin(line: &Arc<Line>) -> Result<(), String> {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    let packet = line.receive(&mut buffer).map_err(|error| error.to_string())?;
    let begin: Begin = cbor::decode(packet.body).map_err(|error| error.to_string())?;
    let engine = engine::build().map_err(|error| format!("{error:#}"))?;
    let settings = settings_of(&engine);
    let ready = |parts: Vec<SandboxPart>| {
        let ready = cbor::encode(&Ready { settings, parts });
        line.send(Kind::Words, &ready, &[]).map_err(|error| error.to_string())
    };
    match begin {
        Begin::Run { memory_bytes_max } => {
            let modules = modules::Modules::new(engine.clone()).map_err(|error| format!("{error:#}"))?;
            let held = lockdown::to_run(memory_bytes_max, || ticker::Ticker::start(engine))?;
            ready(held.parts)?;
            orders::serve(line, modules, &held.helper, &mut buffer);
        }
        Begin::Compile => {
            priority::lower();
            let on_line = Arc::clone(line);
            let (here, began) = std::sync::mpsc::channel::<()>();
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let compiler = std::thread::Builder::new().name("compiler".to_owned()).stack_size(COMPILER_STACK_BYTES);
            let held = lockdown::to_compile(|| {
                let thread = compiler.spawn(move || {
                    // Held until the lockdown is complete.
                    if here.send(()).is_ok() && wait.recv().is_ok() {
                        compile::serve(&on_line, &engine, &mut buffer);
                    }
                })?;
                began.recv().map_err(std::io::Error::other)?;
                Ok(thread)
            })?;
            ready(held.parts)?;
            // The thread waits for this; if it is gone, the daemon sees the connection end.
            let _ = go.send(());
            let _ = held.helper.join();
        }
    }
    Ok(())
}

/// A name for the compiler, its settings and the processor that is the same in every process.
fn settings_of(engine: &Engine) -> [u8; 32] {
    let mut hasher = SettingsHasher(blake3::Hasher::new_derive_key("shoal compiled module settings v1"));
    engine.precompile_compatibility_hash().hash(&mut hasher);
    *hasher.0.finalize().as_bytes()
}

struct SettingsHasher(blake3::Hasher);

impl Hasher for SettingsHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Only asked by hash tables.
        0
    }
}

/// What came with an order, in its order.
pub(super) type Files = std::vec::IntoIter<OwnedFd>;
