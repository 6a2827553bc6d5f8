//! Our QUIC transport: one quinn endpoint a listener, our own TLS rules, and libp2p's traits on top.
//!
//! ```text
//! datagram ─► door: may this address try? ─► handshake: is it a member? ─► muxer ─► libp2p (identify, discovery)
//!              └ no word, or a Retry           └ a TLS alert
//! ```
//!
//! A datagram that begins with the name of an open invitation goes another way after the door: `join/`. One that bears the name of a
//! call this peer has asked for ends before it: `callback.rs`. A relayed connection has its datagrams from a stream: `circuit.rs`.
//!
//! **Invariant:** who has no member certificate of this mesh never gets a stream, but for the one of a machine with a
//! ticket, which leads to the desk and nowhere else; and what its attempts take up is bounded, all addresses together and each.
//! **Not here:** what is said on streams, and whom to dial.

mod address;
mod arrivals;
mod callback;
mod card;
mod circuit;
mod door;
mod error;
mod handshake;
pub(crate) mod join;
mod listener;
mod muxer;
mod probe;
mod punch;
mod settings;
mod tls;
mod transport;
mod veil;

pub(super) use address::{format as multiaddress, socket_of};
pub(crate) use address::{multiaddresses, sockets_of};
pub(super) use arrivals::Arrivals;
pub(super) use callback::{CALLBACK_BYTES, Callbacks};
pub(super) use circuit::Circuits;
pub(super) use error::QuicError;
pub(super) use handshake::Finish;
pub use join::{Visit, VisitError, Visited};
pub(super) use muxer::open_bulk;
pub use probe::Probe;
pub use settings::Congestion;
pub(crate) use settings::SOCKET_BUFFER_BYTES;
pub(super) use settings::Settings;
pub(super) use tls::{Proven, Shown};
pub(super) use transport::Quic;
