//! Our QUIC transport: one quinn endpoint a listener, our own TLS rules, and libp2p's traits on top.
//!
//! ```text
//! datagram ─► door: may this address try? ─► handshake: is it a member? ─► muxer ─► libp2p (identify, discovery)
//!              └ no word, or a Retry           └ a TLS alert
//! ```
//!
//! **Invariant:** who has no member certificate of this mesh never gets a stream, and what its attempts take up is
//! bounded, all addresses together and each.
//! **Not here:** what is said on streams, and whom to dial.

mod address;
mod arrivals;
mod card;
mod door;
mod error;
mod handshake;
mod listener;
mod muxer;
mod probe;
mod punch;
mod settings;
mod tls;
mod transport;
mod veil;

pub(super) use arrivals::Arrivals;
pub(super) use error::QuicError;
pub(super) use muxer::open_bulk;
pub use probe::Probe;
pub use settings::Congestion;
pub(crate) use settings::SOCKET_BUFFER_BYTES;
pub(super) use settings::Settings;
pub(super) use transport::Quic;
