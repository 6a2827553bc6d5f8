//! What turns the decisions of one peer into I/O: network, sandbox, disk and the measuring of the host.

pub mod blobs;
pub mod executor;
pub mod load_sampler;
pub mod network;
pub mod speed;
