//! One packet, as bytes and as itself.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::properties;
use crate::stream::spec::MqttVersion;

/// Why bytes are no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MqttError {
    /// They break a rule.
    #[error("the broker sent what is no MQTT: {0}")]
    Malformed(&'static str),
    /// A packet is larger than this end takes.
    #[error("the broker sent a packet of {size} bytes, {limit} are allowed")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
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
    pub topic: Bytes,
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
}

/// What a client and a broker say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The first word.
    Connect(Connect),
    /// Its answer.
    ConnAck {
        /// The broker has kept the session.
        session_present: bool,
        /// 0 for yes.
        code: u8,
        /// What it has of properties.
        receive_maximum: u16,
        /// The greatest quality of service.
        maximum_qos: u8,
        /// The time between pings that it wants.
        keep_alive_s: Option<u16>,
    },
    /// A message.
    Publish(Publish),
    /// A message of QoS 1 has arrived.
    PubAck {
        /// Which.
        id: u16,
        /// Below 128 for yes.
        code: u8,
    },
    /// A message of QoS 2 has arrived.
    PubRec {
        /// Which.
        id: u16,
        /// Below 128 for yes.
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
        /// Below 128: the quality of service.
        code: u8,
    },
    /// Are you there?
    PingReq,
    /// Yes.
    PingResp,
    /// The last word.
    Disconnect {
        /// Why; 0 for an ordinary end.
        code: u8,
    },
}

/// The longest that four bytes can say.
const LENGTH_MAX: usize = 268_435_455;

/// Takes a packet from the front of the buffer, once all of it is there.
pub fn decode(buffer: &mut BytesMut, version: MqttVersion, limit: usize) -> Result<Option<Packet>, MqttError> {
    let Some((header, length)) = frame(buffer)? else { return Ok(None) };
    let size = header + length;
    if size > limit {
        return Err(MqttError::TooLarge { size, limit });
    }
    if buffer.len() < size {
        return Ok(None);
    }
    let mut packet = buffer.split_to(size).freeze();
    let first = packet[0];
    packet.advance(header);
    read(first, Reader::new(packet), version).map(Some)
}

/// Bytes of the header, and of what follows it.
fn frame(buffer: &[u8]) -> Result<Option<(usize, usize)>, MqttError> {
    let mut length = 0;
    for (at, byte) in buffer.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((at + 2, length)));
        }
    }
    if buffer.len() >= 5 { Err(MqttError::Malformed("a length without an end")) } else { Ok(None) }
}

fn read(first: u8, mut reader: Reader, version: MqttVersion) -> Result<Packet, MqttError> {
    let flags = first & 0x0f;
    Ok(match first >> 4 {
        2 => {
            let session_present = reader.u8()? & 1 == 1;
            let code = reader.u8()?;
            let found = reader.properties(version)?;
            Packet::ConnAck {
                session_present,
                code,
                receive_maximum: found.receive_maximum.unwrap_or(u16::MAX),
                maximum_qos: found.maximum_qos.unwrap_or(2),
                keep_alive_s: found.server_keep_alive_s,
            }
        }
        3 => {
            let qos = flags >> 1 & 3;
            if qos == 3 {
                return Err(MqttError::Malformed("a quality of service that there is not"));
            }
            let topic = reader.string()?;
            let id = if qos == 0 { 0 } else { reader.id()? };
            reader.properties(version)?;
            let (repeated, retained) = (flags & 8 != 0, flags & 1 != 0);
            Packet::Publish(Publish { repeated, qos, retained, topic, id, payload: reader.rest() })
        }
        4 => Packet::PubAck { id: reader.id()?, code: reader.code(version)? },
        5 => Packet::PubRec { id: reader.id()?, code: reader.code(version)? },
        6 => Packet::PubRel { id: reader.id()? },
        7 => Packet::PubComp { id: reader.id()? },
        9 => {
            let id = reader.id()?;
            reader.properties(version)?;
            Packet::SubAck { id, code: reader.u8()? }
        }
        12 => Packet::PingReq,
        13 => Packet::PingResp,
        14 => Packet::Disconnect { code: reader.code(version)? },
        _ => return Err(MqttError::Malformed("a packet that brokers do not send")),
    })
}

impl Packet {
    /// Appends its bytes. What is longer than MQTT can say is not sent: the callers' own limits are far below.
    pub fn encode(&self, version: MqttVersion, into: &mut BytesMut) {
        let mut body = BytesMut::new();
        let first = self.body(version, &mut body);
        debug_assert!(body.len() <= LENGTH_MAX, "limits of records and windows are far below");
        into.put_u8(first);
        put_variable(into, body.len());
        into.extend_from_slice(&body);
    }

    /// Writes what follows the header, and gives its first byte.
    fn body(&self, version: MqttVersion, body: &mut BytesMut) -> u8 {
        let v5 = version == MqttVersion::V5;
        match self {
            Self::Connect(connect) => {
                connect.body(version, body);
                0x10
            }
            Self::ConnAck { session_present, code, .. } => {
                body.put_u8(u8::from(*session_present));
                body.put_u8(*code);
                no_properties(v5, body);
                0x20
            }
            Self::Publish(publish) => {
                put_bytes(body, &publish.topic);
                if publish.qos > 0 {
                    body.put_u16(publish.id);
                }
                no_properties(v5, body);
                body.extend_from_slice(&publish.payload);
                0x30 | u8::from(publish.repeated) << 3 | publish.qos << 1 | u8::from(publish.retained)
            }
            Self::PubAck { id, code } => put_ack(v5, body, *id, *code, 0x40),
            Self::PubRec { id, code } => put_ack(v5, body, *id, *code, 0x50),
            Self::PubRel { id } => put_ack(v5, body, *id, 0, 0x62),
            Self::PubComp { id } => put_ack(v5, body, *id, 0, 0x70),
            Self::Subscribe { id, topic, qos } => {
                body.put_u16(*id);
                no_properties(v5, body);
                put_bytes(body, topic.as_bytes());
                body.put_u8(*qos);
                0x82
            }
            Self::SubAck { id, code } => {
                body.put_u16(*id);
                no_properties(v5, body);
                body.put_u8(*code);
                0x90
            }
            Self::PingReq => 0xc0,
            Self::PingResp => 0xd0,
            Self::Disconnect { code } => {
                if v5 && *code != 0 {
                    body.put_u8(*code);
                }
                0xe0
            }
        }
    }
}

impl Connect {
    fn body(&self, version: MqttVersion, body: &mut BytesMut) {
        put_bytes(body, b"MQTT");
        body.put_u8(match version {
            MqttVersion::V311 => 4,
            MqttVersion::V5 => 5,
        });
        let (name, password) = match &self.login {
            Some((name, password)) => (Some(name), password.as_ref()),
            None => (None, None),
        };
        // The session is never begun anew: what was not acknowledged is to come again.
        body.put_u8(u8::from(name.is_some()) << 7 | u8::from(password.is_some()) << 6);
        body.put_u16(self.keep_alive_s);
        if version == MqttVersion::V5 {
            put_variable(body, 5 + 3);
            body.put_u8(properties::SESSION_EXPIRY);
            body.put_u32(self.session_expiry_s);
            body.put_u8(properties::RECEIVE_MAXIMUM);
            body.put_u16(self.receive_maximum.max(1));
        }
        put_bytes(body, self.client_id.as_bytes());
        if let Some(name) = name {
            put_bytes(body, name.as_bytes());
        }
        if let Some(password) = password {
            put_bytes(body, password);
        }
    }
}

fn no_properties(v5: bool, body: &mut BytesMut) {
    if v5 {
        body.put_u8(0);
    }
}

fn put_ack(v5: bool, body: &mut BytesMut, id: u16, code: u8, first: u8) -> u8 {
    body.put_u16(id);
    if v5 && code != 0 {
        body.put_u8(code);
    }
    first
}

/// Topics, names and passwords are bounded far below what two bytes can say; what is beyond is cut.
fn put_bytes(body: &mut BytesMut, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    body.put_u16(length);
    body.extend_from_slice(&bytes[..usize::from(length)]);
}

fn put_variable(into: &mut BytesMut, mut length: usize) {
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        into.put_u8(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            return;
        }
    }
}

/// The rest of a packet.
pub(super) struct Reader(Bytes);

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, MqttError> {
        if self.0.len() < length {
            return Err(MqttError::Malformed("a packet that ends too early"));
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn u8(&mut self) -> Result<u8, MqttError> {
        Ok(self.take(1)?.get_u8())
    }

    pub(super) fn u16(&mut self) -> Result<u16, MqttError> {
        Ok(self.take(2)?.get_u16())
    }

    pub(super) fn string(&mut self) -> Result<Bytes, MqttError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    pub(super) fn variable(&mut self) -> Result<usize, MqttError> {
        let mut length = 0;
        for at in 0..4 {
            let byte = self.u8()?;
            length |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(MqttError::Malformed("a length without an end"))
    }

    fn id(&mut self) -> Result<u16, MqttError> {
        match self.u16()? {
            0 => Err(MqttError::Malformed("packet id 0")),
            id => Ok(id),
        }
    }

    /// MQTT 5 leaves a code of 0 out.
    fn code(&mut self, version: MqttVersion) -> Result<u8, MqttError> {
        if version == MqttVersion::V311 || self.is_empty() { Ok(0) } else { self.u8() }
    }

    fn properties(&mut self, version: MqttVersion) -> Result<properties::Properties, MqttError> {
        match version {
            MqttVersion::V311 => Ok(properties::Properties::default()),
            MqttVersion::V5 => properties::read(self),
        }
    }

    fn rest(self) -> Bytes {
        self.0
    }
}
