//! A connection to an MQTT broker, in packets.
//!
//! ```text
//! connect ─► CONNECT, CONNACK ─► receive, send … ─► broken: whoever holds it connects again, after a pause that grows
//! ```
//!
//! **Not here:** bytes (`shoal_protocol::stream::mqtt`), and what is said (`source/mqtt.rs`, `sink/mqtt.rs`). TLS: the broker is
//! on this machine, or on a network that is trusted.

mod backoff;
mod connection;

pub(super) use backoff::Backoff;
pub(super) use connection::{BrokerError, Connected, Connection, connect};
