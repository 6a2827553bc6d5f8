//! Many Shoal peers on one machine, for demonstrations and tests.
//!
//! - [`Cluster`]: a mesh of real `shoald` processes, and what can be done to it.
//! - [`chaos`]: such a mesh where everything goes wrong, and whether the promises held.
//! - [`compare`]: the same case on such a mesh and in the simulator.
//! - [`demo`]: such a mesh at work, and what came of it in numbers.
//! - [`Emulator`]: network namespaces joined by links with delay, jitter, loss and bandwidth.
//! - [`promises`]: what is promised about tasks, checked on what users were told.
//! - [`overload`]: what such a mesh makes of several times the work that it can do.
//! - [`recovery`]: how long an answer takes whose executor vanishes.
//! - [`stream`]: messages a second through a stream, and what a killed peer costs.
//! - [`usecase`]: a home, a city and a factory on such a mesh, judged on data their models have not seen.
//! - [`sandbox`]: nothing the tool starts outlives it.

pub mod chaos;
pub mod cluster;
pub mod compare;
pub mod demo;
pub mod emulator;
mod keeper;
pub mod overload;
mod plot;
pub mod promises;
pub mod recovery;
pub mod sandbox;
pub mod sim;
pub mod stream;
pub mod usecase;

pub use cluster::{Cluster, ClusterConfig, ClusterError, Discovery, Network, Peer, PeerPlan, Where};
pub use emulator::{Emulator, EmulatorError, Link, Links, LinksError, NatKind, Node};
pub use shoal_protocol::output::PeerState;

/// In the directory of a mesh whose tool runs detached: what the tool says.
pub const DETACHED_LOG: &str = "testnet.log";
/// What `up` writes in a mesh's directory once it is up.
pub const RUNNING: &str = "testnet.json";
