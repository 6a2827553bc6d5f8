//! What mesh to start: who exists, on what network, and how they find each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use shoal_protocol::certificate::Role;
use shoal_protocol::config::{NAME_BYTES_MAX, SERVICE_IDLE_DEFAULT, Weights};

use super::error::ClusterError;
use crate::emulator::{Links, NatKind, Node};

const MIB: u64 = 1024 * 1024;
/// A mesh forms within a few seconds; a machine that is busy compiling takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many times longer a run holds its slot on an edge peer than on a cloud peer, which this machine stands for.
const EDGE_SLOWDOWN: f64 = 4.0;

/// A mesh to start. [`ClusterConfig::new`] gives a usable one; every field may be changed.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    pub mesh_name: String,
    /// Cloud peers first, then edge peers, unless changed.
    pub peers: Vec<PeerPlan>,
    pub network: Where,
    pub discovery: Discovery,
    /// Where keys, data, sockets and logs are kept; `None` is a temporary directory that goes with the cluster.
    pub dir: Option<PathBuf>,
    /// Each peer's data lie on a disk of its own, in memory, of so many bytes. It is mounted in the mount namespace of this
    /// program, which must be one of its own: see [`crate::sandbox::enter`].
    pub disk_bytes: Option<u64>,
    /// The daemon; `None` is `SHOALD_BIN`, then the one beside this program, then the one on the search path.
    pub shoald: Option<PathBuf>,
    /// What streams of other peers may touch at any of them that takes them over: directories, and `mqtt:HOST:PORT`.
    pub take_over: Vec<String>,
    /// A service that is not called for so long is not kept ready any more.
    pub service_idle: Duration,
    /// Filter of the peers' log lines.
    pub log: String,
    /// How long the mesh may take to form.
    pub patience: Duration,
    /// Whether to show on standard error, if it is a terminal, how far the start is.
    pub show_progress: bool,
}

/// The network the peers are put on.
#[derive(Clone, Debug)]
pub enum Where {
    /// Emulated links; an error where this machine does not allow them.
    Emulated(Links),
    /// Emulated links where this machine allows them, loopback otherwise; [`super::Cluster::network`] tells which.
    EmulatedIfPossible(Links),
    /// Loopback without any emulation.
    Loopback,
}

/// How peers find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Each is told the addresses of the first few and hears of the rest from them. Nothing is sent to a real network.
    Bootstrap,
    /// By multicast. Only on an emulated network: on loopback it would reach into the network this machine is on.
    Mdns,
}

/// One peer to start.
#[derive(Clone, Debug)]
pub struct PeerPlan {
    pub name: String,
    pub role: Role,
    /// What is between it and the others; only on an emulated network.
    pub nat: NatKind,
    /// Signed into its certificate.
    pub labels: BTreeMap<String, String>,
    /// Tasks that run at once.
    pub cores: u16,
    pub memory_bytes: u64,
    /// Tasks that may wait.
    pub queue_max: u32,
    /// What it says of its uplink; `None` is what its emulated uplink has.
    pub uplink_bits_per_s: Option<u64>,
    /// A run holds its slot this many times longer than it took, 1 or more.
    pub slowdown: f64,
    /// What it says of the speed of its cores, 1 being the reference; `None` is 1 divided by the slowdown. Never measured:
    /// peers that start together on one machine would measure each other.
    pub speed: Option<f64>,
    /// Of a second of one core.
    pub price: f64,
    pub weights: Weights,
}

impl PeerPlan {
    pub fn edge(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            role: Role::Edge,
            nat: NatKind::None,
            labels: BTreeMap::new(),
            cores: 1,
            memory_bytes: 512 * MIB,
            queue_max: 128,
            uplink_bits_per_s: None,
            slowdown: EDGE_SLOWDOWN,
            speed: None,
            price: 0.0,
            weights: Weights::default(),
        }
    }

    pub fn cloud(name: impl Into<String>) -> Self {
        Self {
            role: Role::Cloud,
            cores: 4,
            memory_bytes: 2048 * MIB,
            queue_max: 512,
            slowdown: 1.0,
            ..Self::edge(name)
        }
    }

    pub(super) fn node(&self) -> Node {
        Node { name: self.name.clone(), role: self.role, nat: self.nat }
    }
}

impl ClusterConfig {
    /// Peers named cloud-1, cloud-2, … edge-1, edge-2, … on emulated links if possible.
    pub fn new(cloud: usize, edge: usize) -> Self {
        let clouds = (1..=cloud).map(|number| PeerPlan::cloud(format!("cloud-{number}")));
        let edges = (1..=edge).map(|number| PeerPlan::edge(format!("edge-{number}")));
        Self {
            mesh_name: "testnet".into(),
            peers: clouds.chain(edges).collect(),
            network: Where::EmulatedIfPossible(Links::default()),
            discovery: Discovery::Bootstrap,
            dir: None,
            disk_bytes: None,
            shoald: None,
            take_over: Vec::new(),
            service_idle: SERVICE_IDLE_DEFAULT,
            log: "info".into(),
            patience: PATIENCE,
            show_progress: false,
        }
    }

    /// The same mesh on plain loopback.
    pub fn on_loopback(self) -> Self {
        Self { network: Where::Loopback, ..self }
    }

    pub(super) fn check(&self) -> Result<(), ClusterError> {
        if self.peers.is_empty() {
            return Err(ClusterError::NoPeers);
        }
        let mut names = BTreeSet::new();
        for plan in &self.peers {
            let name = &plan.name;
            // A name becomes a directory.
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
                return Err(ClusterError::BadName { name: name.clone() });
            }
            if !names.insert(name) {
                return Err(ClusterError::DuplicateName { name: name.clone() });
            }
        }
        let behind_nat = self.peers.iter().any(|plan| plan.nat != NatKind::None);
        match (&self.network, self.discovery) {
            (Where::Loopback | Where::EmulatedIfPossible(_), _) if behind_nat => {
                Err(ClusterError::NotEmulated { what: "a NAT" })
            }
            (Where::Loopback, Discovery::Mdns) => Err(ClusterError::NotEmulated { what: "discovery by multicast" }),
            (Where::Loopback | Where::Emulated(_) | Where::EmulatedIfPossible(_), _) => Ok(()),
        }
    }
}
