//! The properties that MQTT 5 has at most packets: most are passed over.

use super::packet::{MqttError, Reader};

/// What a client asks of a connection.
pub(super) const SESSION_EXPIRY: u8 = 17;
/// How many deliveries may be unacknowledged.
pub(super) const RECEIVE_MAXIMUM: u8 = 33;
/// The greatest quality of service that a broker has.
const MAXIMUM_QOS: u8 = 36;
/// A broker's own idea of the time between pings.
const SERVER_KEEP_ALIVE: u8 = 19;

/// What is of use to a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) receive_maximum: Option<u16>,
    pub(super) maximum_qos: Option<u8>,
    pub(super) server_keep_alive_s: Option<u16>,
}

/// Reads the properties at this place of a packet.
pub(super) fn read(reader: &mut Reader) -> Result<Properties, MqttError> {
    let length = reader.variable()?;
    let mut inside = Reader::new(reader.take(length)?);
    let mut found = Properties::default();
    while !inside.is_empty() {
        let id = inside.u8()?;
        match id {
            RECEIVE_MAXIMUM => found.receive_maximum = Some(inside.u16()?),
            MAXIMUM_QOS => found.maximum_qos = Some(inside.u8()?),
            SERVER_KEEP_ALIVE => found.server_keep_alive_s = Some(inside.u16()?),
            1 | 23 | 25 | 37 | 40 | 41 | 42 => drop(inside.u8()?),
            34 | 35 => drop(inside.u16()?),
            2 | SESSION_EXPIRY | 24 | 39 => drop(inside.take(4)?),
            11 => drop(inside.variable()?),
            3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 | 31 => drop(inside.string()?),
            38 => {
                inside.string()?;
                inside.string()?;
            }
            _ => return Err(MqttError::Malformed("a property that there is not")),
        }
    }
    Ok(found)
}
