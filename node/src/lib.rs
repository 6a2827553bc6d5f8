//! shoald: drives one `shoal_protocol::Peer` with a real network, disk, sandbox and local API.
//!
//! `daemon.rs` wires the rooms together; `driver/` owns the peer; the others each own one piece of the world.

mod api;
mod audit;
pub mod blobs;
pub mod config;
pub mod daemon;
mod driver;
pub mod executor;
pub mod joining;
pub mod load_sampler;
pub mod network;
mod privacy;
mod small_file;
pub mod speed;
pub mod store;
mod streams;
pub mod telemetry;
