//! How it is written.

use bytes::BytesMut;
use mqtt5_protocol::packet::MqttPacket;
use mqtt5_protocol::packet::connack::ConnAckPacket;
use mqtt5_protocol::packet::connect::ConnectPacket;
use mqtt5_protocol::packet::disconnect::DisconnectPacket;
use mqtt5_protocol::packet::pingreq::PingReqPacket;
use mqtt5_protocol::packet::pingresp::PingRespPacket;
use mqtt5_protocol::packet::puback::PubAckPacket;
use mqtt5_protocol::packet::pubcomp::PubCompPacket;
use mqtt5_protocol::packet::publish::PublishPacket;
use mqtt5_protocol::packet::pubrec::PubRecPacket;
use mqtt5_protocol::packet::pubrel::PubRelPacket;
use mqtt5_protocol::packet::suback::{SubAckPacket, SubAckReasonCode};
use mqtt5_protocol::packet::subscribe::{SubscribePacket, TopicFilter};
use mqtt5_protocol::{Properties, QoS, ReasonCode};

use super::packet::{Connect, MqttError, Packet, Publish};
use crate::stream::spec::MqttVersion;

/// What a version is called on the wire.
pub(super) fn level(version: MqttVersion) -> u8 {
    match version {
        MqttVersion::V311 => 4,
        MqttVersion::V5 => 5,
    }
}

impl Packet {
    /// Appends its bytes. After an error there are none of it.
    pub fn encode(&self, version: MqttVersion, into: &mut BytesMut) -> Result<(), MqttError> {
        let protocol_version = level(version);
        match self {
            Self::Connect(it) => put(&connect(it, version), into),
            Self::ConnAck { session_present, code, .. } => {
                put(&ConnAckPacket { protocol_version, ..ConnAckPacket::new(*session_present, reason(*code)?) }, into)
            }
            Self::Publish(it) => put(&publish(it, protocol_version), into),
            Self::PubAck { id, code } => put(&PubAckPacket::new_with_reason(*id, reason(*code)?), into),
            Self::PubRec { id, code } => put(&PubRecPacket::new_with_reason(*id, reason(*code)?), into),
            Self::PubRel { id } => put(&PubRelPacket::new(*id), into),
            Self::PubComp { id } => put(&PubCompPacket::new(*id), into),
            Self::Subscribe { id, topic, qos } => {
                let filters = vec![TopicFilter::new(topic.clone(), QoS::from(*qos))];
                put(&SubscribePacket { protocol_version, filters, ..SubscribePacket::new(*id) }, into)
            }
            Self::SubAck { id, code } => {
                let code = SubAckReasonCode::from_u8(*code).ok_or_else(|| unknown(*code))?;
                put(&SubAckPacket { protocol_version, reason_codes: vec![code], ..SubAckPacket::new(*id) }, into)
            }
            Self::TooLarge { .. } => Err(MqttError::Unspeakable("that a message was too large".to_owned())),
            Self::PingReq => put(&PingReqPacket::default(), into),
            Self::PingResp => put(&PingRespPacket::default(), into),
            Self::Disconnect { code } => put(&DisconnectPacket::new(reason(*code)?), into),
        }
    }
}

fn put(packet: &impl MqttPacket, into: &mut BytesMut) -> Result<(), MqttError> {
    let before = into.len();
    packet.encode(into).map_err(|error| {
        into.truncate(before);
        MqttError::Unspeakable(error.to_string())
    })
}

fn reason(code: u8) -> Result<ReasonCode, MqttError> {
    ReasonCode::from_u8(code).ok_or_else(|| unknown(code))
}

fn unknown(code: u8) -> MqttError {
    MqttError::Unspeakable(format!("there is no code {code}"))
}

fn connect(it: &Connect, version: MqttVersion) -> ConnectPacket {
    let mut properties = Properties::default();
    if version == MqttVersion::V5 {
        properties.set_session_expiry_interval(it.session_expiry_s);
        properties.set_receive_maximum(it.receive_maximum.max(1));
        properties.set_maximum_packet_size(it.packet_bytes_max.max(1));
    }
    let (username, password) = it.login.clone().map_or((None, None), |(name, password)| (Some(name), password));
    ConnectPacket {
        protocol_version: level(version),
        // The session is never begun anew: what was not acknowledged is to come again.
        clean_start: false,
        keep_alive: it.keep_alive_s,
        client_id: it.client_id.clone(),
        username,
        password,
        will: None,
        properties,
        will_properties: Properties::default(),
    }
}

fn publish(it: &Publish, protocol_version: u8) -> PublishPacket {
    PublishPacket {
        topic_name: it.topic.clone(),
        packet_id: (it.qos > 0).then_some(it.id),
        payload: it.payload.clone(),
        qos: QoS::from(it.qos),
        retain: it.retained,
        dup: it.repeated,
        properties: Properties::default(),
        protocol_version,
        stream_id: None,
    }
}
