//! One file per verb.

mod bench;
mod chaos;
mod compare;
mod demo;
mod down;
mod exec;
mod links;
mod overload;
mod recovery;
mod running;
mod sim;
mod stream;
mod up;
mod usecase;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use shoal_testnet::{ClusterError, EmulatorError, LinksError};

const USAGE: u8 = 2;
const UNREACHABLE: u8 = 69;
const NO_CAPACITY: u8 = 75;
const DENIED: u8 = 77;
const BAD_CONFIGURATION: u8 = 78;
const TIMED_OUT: u8 = 124;
const INTERRUPTED: u8 = 130;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Up(up::Up),
    Down(down::Down),
    Bench(bench::Bench),
    Chaos(chaos::Chaos),
    Compare(compare::Compare),
    Demo(demo::Demo),
    Exec(exec::Exec),
    Links(links::PrintLinks),
    Overload(overload::Overload),
    Recovery(recovery::Recovery),
    #[command(subcommand)]
    Sim(sim::Sim),
    Stream(stream::Stream),
    Usecase(usecase::Usecase),
}

impl Command {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Up(up) => up.run(),
            Self::Down(down) => down.run(),
            Self::Bench(bench) => bench.run(),
            Self::Chaos(chaos) => chaos.run(),
            Self::Compare(compare) => compare.run(),
            Self::Demo(demo) => demo.run(),
            Self::Exec(exec) => exec.run(),
            Self::Links(links) => links.run(),
            Self::Overload(overload) => overload.run(),
            Self::Recovery(recovery) => recovery.run(),
            Self::Sim(sim) => sim.run(),
            Self::Stream(stream) => stream.run(),
            Self::Usecase(usecase) => usecase.run(),
        }
    }
}

/// The event loop of a command; made after the sandbox, which needs a process of one thread.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::cannot_run("an event loop", &error))
}

/// What went wrong and what to do about it.
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) fix: String,
    pub(crate) code: ExitCode,
}

impl Failure {
    fn new(code: u8, what: impl ToString, fix: impl Into<String>) -> Self {
        Self { what: what.to_string(), fix: fix.into(), code: code.into() }
    }

    fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        let what = format!("cannot {doing} {}: {error}", path.display());
        Self::new(BAD_CONFIGURATION, what, "check the path and its mode; --dir chooses another place")
    }

    fn cannot_run(what: &str, error: &io::Error) -> Self {
        Self::new(NO_CAPACITY, format!("cannot run {what}: {error}"), "see what limits this process with `ulimit -a`")
    }
}

impl From<LinksError> for Failure {
    fn from(error: LinksError) -> Self {
        Self::new(BAD_CONFIGURATION, &error, error.hint())
    }
}

impl From<EmulatorError> for Failure {
    fn from(error: EmulatorError) -> Self {
        Self::new(emulator_code(&error), &error, error.hint())
    }
}

fn emulator_code(error: &EmulatorError) -> u8 {
    match error {
        EmulatorError::UnknownName { .. } | EmulatorError::DuplicateName { .. } => BAD_CONFIGURATION,
        EmulatorError::NodeCount { .. } | EmulatorError::NoSuchNode { .. } | EmulatorError::NotAPartition { .. } => {
            USAGE
        }
        EmulatorError::Unavailable(_) | EmulatorError::Setup { .. } | EmulatorError::Start(_) => NO_CAPACITY,
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        let code = match &error {
            ClusterError::Emulator(inner) => emulator_code(inner),
            ClusterError::NoPeers
            | ClusterError::BadName { .. }
            | ClusterError::DuplicateName { .. }
            | ClusterError::NoSuchPeer { .. }
            | ClusterError::UnknownName { .. }
            | ClusterError::SocketPathTooLong { .. }
            | ClusterError::DirNotOurs { .. }
            | ClusterError::NotRunning { .. }
            | ClusterError::Running { .. } => USAGE,
            ClusterError::ProgramMissing { .. } | ClusterError::DirInUse { .. } | ClusterError::Ended { .. } => {
                UNREACHABLE
            }
            ClusterError::File { .. } => BAD_CONFIGURATION,
            ClusterError::Entropy(_)
            | ClusterError::Port(_)
            | ClusterError::Disk { .. }
            | ClusterError::NotEmulated { .. }
            | ClusterError::Spawn { .. }
            | ClusterError::Signal { .. } => NO_CAPACITY,
            ClusterError::TimedOut { .. } => TIMED_OUT,
        };
        Self::new(code, &error, error.hint())
    }
}
