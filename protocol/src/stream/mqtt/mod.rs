//! MQTT 3.1.1 and 5 as a client speaks it: packets to bytes and back.
//!
//! Own code, since what a stream needs of a client is what the crates hide: which packet ids are not acknowledged, kept over a
//! crash. `rumqttc` (0.25) forgets them, ends the connection when a broker repeats a PUBREL, and offers its codec only together
//! with that client, one set of types a version; `mqtt-protocol-core` brings a dozen crates for what is four hundred lines here.
//!
//! **Invariant:** no bytes of a broker make this panic, or hold more than the limit it is given.
//! **Not here:** sockets, and what is said when (the node's `streams::mqtt`).

mod packet;
mod properties;
#[cfg(test)]
mod tests;

pub use packet::{Connect, MqttError, Packet, Publish, decode};
