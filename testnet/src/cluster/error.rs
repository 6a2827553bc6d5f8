//! Why a mesh cannot be started, or not be treated as asked.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::emulator::EmulatorError;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("a mesh of no peers cannot be started")]
    NoPeers,
    #[error("`{name}` cannot be the name of a peer: letters, digits, - and _ can")]
    BadName { name: String },
    #[error("two peers are named {name}")]
    DuplicateName { name: String },
    #[error("there is no peer number {index}: the mesh has {count}, counted from 0")]
    NoSuchPeer { index: usize, count: usize },
    #[error("no peer is named {name}: the mesh has {}", names.join(", "))]
    UnknownName { name: String, names: Vec<String> },
    #[error("the program `{name}` was not found{}", place.as_ref().map(|place| format!(" at {}", place.display())).unwrap_or_default())]
    ProgramMissing { name: &'static str, place: Option<PathBuf> },
    #[error("cannot {doing} {}: {source}", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot mount a disk at {}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error("the socket {} has a path of {} bytes; the system takes {limit}", path.display(), path.as_os_str().len())]
    SocketPathTooLong { path: PathBuf, limit: usize },
    #[error("{} is in use by another testnet", dir.display())]
    DirInUse { dir: PathBuf },
    #[error("{} holds other things than a testnet", dir.display())]
    DirNotOurs { dir: PathBuf },
    #[error("the system gives no entropy for keys: {0}")]
    Entropy(io::Error),
    #[error("cannot find a free port on loopback: {0}")]
    Port(io::Error),
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    #[error("{what} needs emulated links, and this mesh is on loopback")]
    NotEmulated { what: &'static str },
    #[error("cannot start {name}: {source}")]
    Spawn { name: String, source: io::Error },
    #[error("{name} ended while the mesh was forming ({status}); it said:\n{log_end}")]
    Ended { name: String, status: ExitStatus, log: PathBuf, log_end: String },
    #[error("{name} is not running")]
    NotRunning { name: String },
    #[error("{name} is running already")]
    Running { name: String },
    #[error("cannot signal {name}: {source}")]
    Signal { name: String, source: io::Error },
    #[error("after {after:?} {}", missing.join("; "))]
    TimedOut { after: Duration, missing: Vec<String>, logs: PathBuf },
}

impl ClusterError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoPeers => "give --cloud or --edge a number above 0".into(),
            Self::BadName { .. } | Self::DuplicateName { .. } => "give every peer a plain name of its own".into(),
            Self::NoSuchPeer { .. } => "count the peers from 0, in the order they were given".into(),
            Self::UnknownName { names, .. } => format!("use one of {}", names.join(", ")),
            Self::ProgramMissing { name, .. } => {
                format!("build it with `cargo build --release --bin {name}`, or name it in {}_BIN", name.to_uppercase())
            }
            Self::File { .. } => "check the path and its mode; --dir chooses another place".into(),
            Self::Disk { .. } => "run as root, or allow user namespaces".into(),
            Self::SocketPathTooLong { .. } => "choose a shorter --dir".into(),
            Self::DirInUse { dir } => {
                format!("end it with `shoal-testnet down --dir {}`, or choose another --dir", dir.display())
            }
            Self::DirNotOurs { .. } => "choose an empty --dir, or one that does not exist".into(),
            Self::Entropy(_) | Self::Port(_) => "see what limits this process with `ulimit -a`".into(),
            Self::Emulator(error) => error.hint(),
            Self::NotEmulated { .. } => {
                "leave out --loopback; emulated links need root, or user namespaces and /dev/net/tun".into()
            }
            Self::Spawn { .. } => "check that shoald was built for this machine".into(),
            Self::Ended { log, .. } => format!("correct that; all it said is in {}", log.display()),
            Self::NotRunning { .. } => "restart it first".into(),
            Self::Running { .. } => "stop or kill it first".into(),
            Self::Signal { .. } => "see whether it runs with `ps`".into(),
            Self::TimedOut { logs, .. } => format!("read why in {}/peers/*/shoald.log", logs.display()),
        }
    }
}
