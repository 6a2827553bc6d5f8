//! A mesh of real `shoald` processes on this machine, and what can be done to it.
//!
//! ```text
//! ClusterConfig ─► files (keys, certificates, configuration) ─► place (emulated network | loopback) ─► process × n ─► formation
//! ```
//!
//! ```no_run
//! # async fn story() -> Result<(), shoal_testnet::ClusterError> {
//! use std::time::Duration;
//! use shoal_testnet::{Cluster, ClusterConfig, PeerState};
//!
//! let cluster = Cluster::start(ClusterConfig::new(3, 2)).await?;
//! let (edge, cloud) = (cluster.index("edge-1")?, cluster.index("cloud-1")?);
//! let status = cluster.client(edge)?.status().await;
//! cluster.kill(cloud)?;
//! cluster.wait_for_state(edge, cloud, PeerState::Dead, Duration::from_secs(5)).await?;
//! cluster.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! Peers are named by their place in [`ClusterConfig::peers`]. Call [`crate::sandbox::enter`] first thing in `main`, before any
//! thread exists: it gains the rights emulation needs and ends everything with the tool. Without it, each peer still ends with it.
//!
//! **Invariant:** no process of a cluster outlives it, however it ends.
//! **Not here:** what the peers are given to do.

mod config;
mod disk;
mod error;
mod files;
mod formation;
mod place;
mod process;
pub(crate) mod program;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Serialize;
use shoal_cli::client::Client;
use shoal_protocol::certificate::Role;
use shoal_protocol::{MeshId, PeerId};

pub use self::config::{ClusterConfig, Discovery, PeerPlan, Where};
pub use self::error::ClusterError;
use self::files::MeshFiles;
pub use self::files::{is_in_use, make_ours};
pub use self::place::Network;
use self::place::Place;
use self::process::Process;
pub use self::program::beside_or_on_path;
use crate::emulator::{Emulator, Link};

/// Time a peer has to hand back its work and say goodbye after it was asked to end: somewhat more than it takes itself.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
/// Time a restarted peer has until its API answers.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks at something that is waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// A running mesh.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: processes, their network, their files.
    processes: Vec<Process>,
    peers: Vec<Peer>,
    place: Place,
    mesh: MeshId,
    formed_in: Duration,
    files: MeshFiles,
}

/// What stays the same about a peer through kills and restarts.
#[derive(Clone, Debug, Serialize)]
pub struct Peer {
    pub name: String,
    pub role: Role,
    /// Its id, as its certificate says.
    pub peer: PeerId,
    /// Where the others reach it.
    pub address: SocketAddr,
    /// Socket of its API.
    pub socket: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Keys, blobs, peers it remembers.
    pub data_dir: PathBuf,
    /// What it writes to its outputs, all its lives in one file.
    pub log: PathBuf,
}

impl Peer {
    /// The API's address as `shoal --api` wants it.
    pub fn api(&self) -> String {
        format!("unix:{}", self.socket.display())
    }
}

impl Cluster {
    /// Makes the mesh, starts its peers and waits until each sees all the others alive.
    pub async fn start(config: ClusterConfig) -> Result<Self, ClusterError> {
        let began = Instant::now();
        config.check()?;
        let program = program::shoald(config.shoald.as_deref())?;
        let place = Place::start(&config)?;
        let addresses = place.addresses(&config)?;
        let files = MeshFiles::write(&config, &place, &addresses)?;
        let peers = files.peers().to_vec();
        let processes = peers.iter().map(|peer| Process::new(&program, peer)).collect();
        let mut cluster = Self { processes, peers, place, mesh: files.mesh(), formed_in: Duration::ZERO, files };
        for index in 0..cluster.peers.len() {
            cluster.processes[index].start(|command| cluster.place.spawn(index, command))?;
        }
        // All of them, so that one which has ended already is told.
        let all: Vec<usize> = (0..cluster.peers.len()).collect();
        let formed = formation::wait_all_alive(&cluster, &all, config.patience, config.show_progress).await;
        // The error names the logs.
        formed.inspect_err(|_| cluster.files.keep())?;
        cluster.formed_in = began.elapsed();
        Ok(cluster)
    }

    /// The peers, in the order of the configuration.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The place of a peer in that order.
    pub fn index(&self, name: &str) -> Result<usize, ClusterError> {
        let found = self.peers.iter().position(|peer| peer.name == name);
        found.ok_or_else(|| ClusterError::UnknownName {
            name: name.to_owned(),
            names: self.peers.iter().map(|peer| peer.name.clone()).collect(),
        })
    }

    /// A client of a peer's API.
    pub fn client(&self, index: usize) -> Result<Client, ClusterError> {
        Ok(Client::new(&self.peer(index)?.socket))
    }

    /// The directory all files of the mesh are in.
    pub fn dir(&self) -> &Path {
        self.files.dir()
    }

    pub fn mesh(&self) -> MeshId {
        self.mesh
    }

    /// What the peers talk over.
    pub fn network(&self) -> &Network {
        self.place.network()
    }

    /// The emulated network, where there is one: statistics, one-way cuts, programs of one's own beside a peer.
    /// Its nodes have the same places as the peers.
    pub fn emulator(&self) -> Option<&Emulator> {
        self.place.emulator()
    }

    /// From the call of [`Cluster::start`] until every peer saw all the others alive.
    pub fn formed_in(&self) -> Duration {
        self.formed_in
    }

    /// The process id, while it runs; as seen in the process namespace of this program.
    pub fn pid(&self, index: usize) -> Result<Option<u32>, ClusterError> {
        self.process(index).map(Process::pid)
    }

    /// Whether the process exists; a frozen one does.
    pub fn is_running(&self, index: usize) -> Result<bool, ClusterError> {
        Ok(self.pid(index)?.is_some())
    }

    /// Ends a peer without a chance to react (SIGKILL).
    pub fn kill(&self, index: usize) -> Result<(), ClusterError> {
        self.process(index)?.kill()
    }

    /// Stops a peer in its tracks (SIGSTOP): it holds everything and answers nothing.
    pub fn freeze(&self, index: usize) -> Result<(), ClusterError> {
        self.process(index)?.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen peer go on as if no time had passed.
    pub fn thaw(&self, index: usize) -> Result<(), ClusterError> {
        self.process(index)?.signal(Signal::SIGCONT)
    }

    /// Asks a peer to hand back its work and end (SIGTERM); kills it if it has not after [`STOP_GRACE`].
    pub async fn stop(&self, index: usize) -> Result<ExitStatus, ClusterError> {
        self.process(index)?.stop(STOP_GRACE).await
    }

    /// Starts a peer again with its old identity and data, stopping it first if it runs, and waits for its API.
    pub async fn restart(&self, index: usize) -> Result<(), ClusterError> {
        let process = self.process(index)?;
        if process.pid().is_some() {
            process.stop(STOP_GRACE).await?;
        }
        process.start(|command| self.place.spawn(index, command))?;
        formation::wait_for_api(self, index, RESTART_PATIENCE).await
    }

    /// Starts a peer that has ended, with its old identity and data, and waits for nothing.
    pub fn start_again(&self, index: usize) -> Result<(), ClusterError> {
        self.process(index)?.start(|command| self.place.spawn(index, command))
    }

    /// How a peer's process ended, unless it runs.
    pub fn ended(&self, index: usize) -> Result<Option<ExitStatus>, ClusterError> {
        self.process(index).map(Process::status)
    }

    /// The end of what a peer said.
    pub fn last_words(&self, index: usize) -> Result<String, ClusterError> {
        self.process(index).map(Process::log_end)
    }

    /// Cuts every link between different groups; every peer is in one group.
    pub fn partition(&self, groups: &[&[usize]]) -> Result<(), ClusterError> {
        Ok(self.emulated("a partition")?.partition(groups)?)
    }

    /// Undoes every partition and cut.
    pub fn heal(&self) -> Result<(), ClusterError> {
        self.emulated("healing a partition")?.heal();
        Ok(())
    }

    /// Changes both directions of a link.
    pub fn set_link(&self, a: usize, b: usize, link: Link) -> Result<(), ClusterError> {
        let emulator = self.emulated("changing a link")?;
        emulator.set_link(a, b, link)?;
        Ok(emulator.set_link(b, a, link)?)
    }

    /// Waits until every peer that runs and is not frozen sees all the others of its kind alive.
    pub async fn wait_all_alive(&self, patience: Duration) -> Result<(), ClusterError> {
        formation::wait_all_alive(self, &formation::awake(self), patience, false).await
    }

    /// Waits until one peer believes this of another, and says how long that took.
    pub async fn wait_for_state(
        &self,
        observer: usize,
        subject: usize,
        state: shoal_protocol::output::PeerState,
        patience: Duration,
    ) -> Result<Duration, ClusterError> {
        formation::wait_for_state(self, observer, subject, state, patience).await
    }

    /// The names of peers whose process has ended since the last call, and how.
    pub fn newly_ended(&self) -> Vec<(String, ExitStatus)> {
        let ended = |(peer, process): (&Peer, &Process)| Some((peer.name.clone(), process.take_news()?));
        self.peers.iter().zip(&self.processes).filter_map(ended).collect()
    }

    /// Ends all peers in order: each is asked, and killed if it takes longer than [`STOP_GRACE`].
    pub async fn shutdown(self) {
        for process in &self.processes {
            // One that has ended already is at the end.
            let _ = process.ask_to_end();
        }
        let deadline = Instant::now() + STOP_GRACE;
        while self.processes.iter().any(|process| process.pid().is_some()) && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        // Dropping kills what is left.
    }

    fn peer(&self, index: usize) -> Result<&Peer, ClusterError> {
        self.peers.get(index).ok_or(ClusterError::NoSuchPeer { index, count: self.peers.len() })
    }

    fn process(&self, index: usize) -> Result<&Process, ClusterError> {
        self.processes.get(index).ok_or(ClusterError::NoSuchPeer { index, count: self.peers.len() })
    }

    fn emulated(&self, what: &'static str) -> Result<&Emulator, ClusterError> {
        self.place.emulator().ok_or(ClusterError::NotEmulated { what })
    }
}
