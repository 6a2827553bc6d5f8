//! What a Shoal peer decides: a state machine without sockets, clocks, threads, files or global randomness.
//!
//! A driver owns one [`Peer`], tells it facts ([`Input`]) with the time they happened, and carries out the orders
//! ([`Output`]) it gives. The daemon, the simulator and the fuzzers drive the same type.

pub mod api;
pub mod audit;
pub mod blobs;
mod brief;
pub mod cbor;
pub mod certificate;
pub mod conduct;
pub mod config;
pub mod flow;
pub mod id;
pub mod input;
pub mod latency;
pub mod load;
pub mod membership;
pub mod message;
pub mod output;
mod peer;
mod peer_map;
pub mod pipeline;
pub mod placement;
pub mod privacy;
pub mod residency;
pub mod rng;
pub mod rules;
pub mod sabotage;
pub mod service;
pub mod store;
pub mod stream;
pub mod task;
pub mod time;

pub use certificate::{Member, Role};
pub use id::{BlobId, MeshId, PeerId, TaskId};
pub use input::Input;
pub use message::Message;
pub use output::{Event, Output};
pub use peer::{FindError, Holding, Peer};
pub use residency::Labels;
pub use task::TaskState;
pub use task::spec::TaskSpec;
pub use time::{Time, Wake};
