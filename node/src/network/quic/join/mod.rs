//! The way in for machines that have a ticket.
//!
//! ```text
//! joiner: first datagram, whose connection id begins with the invitation's locator
//!   ─► door ─► desk: an invitation that is known? ─► handshake of its own kind ─► one stream: request, answers ─► closed
//!               └ to everybody else there is no desk: an ordinary handshake, refused like any stranger's
//! ```
//!
//! The locator follows from the ticket's secret and says nothing about it. Whoever watches the path may copy it, and gets a
//! handshake and a refusal.
//!
//! **Invariant:** nothing here leads to a stream of a member: the two kinds of handshake share an endpoint and a card.
//! **Not here:** who is let in. That is [`crate::joining`].

mod desk;
mod tls;
mod visit;
mod wire;

pub(super) use desk::Desk;
pub use visit::{Visit, VisitError, Visited};

use std::time::Duration;

use quinn::{TransportConfig, VarInt};

/// What both sides must want to speak.
const PROTOCOL: &[u8] = b"shoal-join/1";
/// Time from the end of the handshake to the whole request, and from the answer to the joiner's goodbye.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection without any packet is dead after this.
const SILENT_MAX: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Unread bytes of a joiner: its request.
const WINDOW_BYTES: u32 = 2 * 1024;

/// One stream of a few bytes, instead of what members get.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(WINDOW_BYTES.into())
        .receive_window(WINDOW_BYTES.into())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(quinn::IdleTimeout::try_from(SILENT_MAX).ok())
        .allow_spin(false);
    transport
}

#[cfg(test)]
mod tests;
