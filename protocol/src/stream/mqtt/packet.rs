//! What a client and a broker say, and how it is read.

use bytes::{Bytes, BytesMut};
use mqtt5_protocol::packet::{FixedHeader, Packet as Wire, connack::ConnAckPacket, publish::PublishPacket};

use super::encoding::level;
use crate::stream::spec::MqttVersion;

/// The kind of packet that is a message.
const PUBLISH: u8 = 3;
/// What is told of bytes that are no packet.
const REASON_CHARS_MAX: usize = 200;

/// Why bytes are no packet, or a packet has none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MqttError {
    /// They break a rule.
    #[error("the broker sent what is no MQTT: {0}")]
    Malformed(String),
    /// A packet is larger than this end takes.
    #[error("the broker sent a packet of {size} bytes, {limit} are allowed")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// It says more than MQTT can.
    #[error("this cannot be said in MQTT: {0}")]
    Unspeakable(String),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// It may have been sent before.
    pub repeated: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The broker kept it from before.
    pub retained: bool,
    /// Where it was published.
    pub topic: String,
    /// What acknowledgements call it; 0 with QoS 0.
    pub id: u16,
    /// What it says.
    pub payload: Bytes,
}

/// How a client introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Who it is.
    pub client_id: String,
    /// Seconds after which silence means that it has gone.
    pub keep_alive_s: u16,
    /// A user's name, and a password.
    pub login: Option<(String, Option<Vec<u8>>)>,
    /// How long the broker keeps the session when it has gone (MQTT 5).
    pub session_expiry_s: u32,
    /// Deliveries that may be unacknowledged (MQTT 5).
    pub receive_maximum: u16,
    /// What a broker does not send, since it is larger (MQTT 5).
    pub packet_bytes_max: u32,
}

/// What a client and a broker say. Codes are those of MQTT 5, whatever the version: 0 for yes, below 128 for a kind of yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The first word.
    Connect(Connect),
    /// Its answer.
    ConnAck {
        /// The broker has kept the session.
        session_present: bool,
        /// Whether it lets the client in.
        code: u8,
        /// Deliveries that it takes unacknowledged.
        receive_maximum: u16,
        /// The greatest quality of service.
        maximum_qos: u8,
        /// The time between pings that it wants.
        keep_alive_s: Option<u16>,
    },
    /// A message.
    Publish(Publish),
    /// A message that was passed over: it is to be acknowledged all the same, or it would come again for ever.
    TooLarge {
        /// 0, 1 or 2.
        qos: u8,
        /// What acknowledgements call it; 0 with QoS 0.
        id: u16,
        /// How large it was.
        bytes: usize,
    },
    /// A message of QoS 1 has arrived.
    PubAck {
        /// Which.
        id: u16,
        /// Whether it is taken.
        code: u8,
    },
    /// A message of QoS 2 has arrived.
    PubRec {
        /// Which.
        id: u16,
        /// Whether it is taken.
        code: u8,
    },
    /// It will not be sent again.
    PubRel {
        /// Which.
        id: u16,
    },
    /// Its id is free.
    PubComp {
        /// Which.
        id: u16,
    },
    /// What a client wants to hear.
    Subscribe {
        /// What the answer calls it.
        id: u16,
        /// A filter.
        topic: String,
        /// At most.
        qos: u8,
    },
    /// The answer.
    SubAck {
        /// To which.
        id: u16,
        /// The quality of service, or why not.
        code: u8,
    },
    /// Are you there?
    PingReq,
    /// Yes.
    PingResp,
    /// The last word.
    Disconnect {
        /// Why.
        code: u8,
    },
}

/// Takes packets off a stream of bytes.
#[derive(Debug)]
pub struct Reader {
    version: MqttVersion,
    limit: usize,
    /// Bytes that are still to come of a message that is too large.
    passed_over: usize,
}

impl Reader {
    /// A reader of packets of at most `limit` bytes.
    pub fn new(version: MqttVersion, limit: usize) -> Self {
        Self { version, limit, passed_over: 0 }
    }

    /// Takes a packet from the front of the buffer, once all of it is there; of a message over the limit, only how it is acknowledged.
    ///
    /// # Errors
    /// The bytes are no packet, or one over the limit that is no message.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, MqttError> {
        let gone = self.passed_over.min(buffer.len());
        drop(buffer.split_to(gone));
        self.passed_over -= gone;
        let Some(Size { head, size }) = size_of_first(buffer)?.filter(|_| self.passed_over == 0) else {
            return Ok(None);
        };
        if size > self.limit {
            return self.pass_over(buffer, head, size);
        }
        if buffer.len() < size {
            return Ok(None);
        }
        let mut bytes = buffer.split_to(size).freeze();
        let header = FixedHeader::decode(&mut bytes).map_err(malformed)?;
        let read = Wire::decode_from_body_with_version(header.packet_type, &header, &mut bytes, level(self.version));
        from_broker(read.map_err(malformed)?).map(Some)
    }

    fn pass_over(&mut self, buffer: &mut BytesMut, head: usize, size: usize) -> Result<Option<Packet>, MqttError> {
        let kind = buffer.first().copied().unwrap_or_default();
        let qos = (kind >> 1) & 0b11;
        if kind >> 4 != PUBLISH || qos > 2 {
            return Err(MqttError::TooLarge { size, limit: self.limit });
        }
        // Its topic comes first, then its id.
        let Some(&[high, low]) = buffer.get(head..head + 2) else { return Ok(None) };
        let at = head + 2 + usize::from(u16::from_be_bytes([high, low]));
        let id_bytes = if qos == 0 { 0 } else { 2 };
        if at + id_bytes > size {
            return Err(malformed("a topic without an end"));
        }
        let id = match buffer.get(at..at + id_bytes) {
            None => return Ok(None),
            Some(&[high, low]) => not_zero(u16::from_be_bytes([high, low]))?,
            Some(_) => 0,
        };
        let gone = size.min(buffer.len());
        drop(buffer.split_to(gone));
        self.passed_over = size - gone;
        Ok(Some(Packet::TooLarge { qos, id, bytes: size }))
    }
}

/// How a packet begins.
struct Size {
    /// Bytes of its kind and its length.
    head: usize,
    /// All of it.
    size: usize,
}

/// Of the first packet, once it is known: its kind, its length in up to four bytes, and as much as that says.
fn size_of_first(buffer: &[u8]) -> Result<Option<Size>, MqttError> {
    let mut length = 0;
    for (at, byte) in buffer.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some(Size { head: at + 2, size: at + 2 + length }));
        }
    }
    if buffer.len() >= 5 { Err(malformed("a length without an end")) } else { Ok(None) }
}

fn not_zero(id: u16) -> Result<u16, MqttError> {
    if id == 0 { Err(malformed("packet id 0")) } else { Ok(id) }
}

fn malformed(why: impl ToString) -> MqttError {
    MqttError::Malformed(why.to_string().chars().take(REASON_CHARS_MAX).collect())
}

fn from_broker(read: Wire) -> Result<Packet, MqttError> {
    let id = not_zero;
    Ok(match read {
        Wire::ConnAck(answer) => welcome(&answer),
        Wire::Publish(message) => {
            let PublishPacket { topic_name, packet_id, payload, qos, retain, dup, .. } = message;
            Packet::Publish(Publish {
                repeated: dup,
                qos: qos.into(),
                retained: retain,
                topic: topic_name,
                id: packet_id.map(id).transpose()?.unwrap_or(0),
                payload,
            })
        }
        Wire::PubAck(it) => Packet::PubAck { id: id(it.packet_id)?, code: it.reason_code.into() },
        Wire::PubRec(it) => Packet::PubRec { id: id(it.packet_id)?, code: it.reason_code.into() },
        Wire::PubRel(it) => Packet::PubRel { id: id(it.packet_id)? },
        Wire::PubComp(it) => Packet::PubComp { id: id(it.packet_id)? },
        // One filter is asked for at a time.
        Wire::SubAck(it) => match it.reason_codes.as_slice() {
            [code] => Packet::SubAck { id: id(it.packet_id)?, code: *code as u8 },
            _ => return Err(malformed("an answer to another subscription")),
        },
        Wire::PingReq => Packet::PingReq,
        Wire::PingResp => Packet::PingResp,
        Wire::Disconnect(it) => Packet::Disconnect { code: it.reason_code.into() },
        Wire::Connect(_) | Wire::Subscribe(_) | Wire::Unsubscribe(_) | Wire::UnsubAck(_) | Wire::Auth(_) => {
            return Err(malformed("a packet that brokers do not send"));
        }
    })
}

fn welcome(answer: &ConnAckPacket) -> Packet {
    let said = &answer.properties;
    Packet::ConnAck {
        session_present: answer.session_present,
        code: answer.reason_code.into(),
        receive_maximum: said.get_receive_maximum().unwrap_or(u16::MAX),
        maximum_qos: said.get_maximum_qos().unwrap_or(2),
        keep_alive_s: said.get_server_keep_alive(),
    }
}
