//! MQTT 3.1.1 and 5 as the client of a stream speaks it.
//!
//! The bytes are the business of `mqtt5-protocol`. Here is what of it a stream needs, in types that cannot say more, and what a
//! client makes of a byte stream: packets that are whole, and within a limit.
//!
//! The clients that there are do not do, since they hide which packet ids are not acknowledged: a stream keeps them over a crash.
//! `rumqttc` (0.25) forgets them, and ends the connection when a broker repeats a PUBREL.
//!
//! **Invariant:** no bytes of a broker make this panic, or take more memory than some ten times the limit of a packet.
//! **Not here:** sockets, and what is said when (the node's `streams::mqtt`).

mod encoding;
mod packet;
#[cfg(test)]
mod tests;

pub use packet::{Connect, MqttError, Packet, Publish, Reader};
