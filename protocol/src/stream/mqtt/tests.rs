use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::stream::MqttVersion;

const LIMIT: usize = 1 << 20;

fn decode(buffer: &mut BytesMut, version: MqttVersion, limit: usize) -> Result<Option<Packet>, MqttError> {
    Reader::new(version, limit).next(buffer)
}

fn encoded(packet: &Packet, version: MqttVersion) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

#[track_caller]
fn comes_back(packet: Packet) {
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let mut bytes = encoded(&packet, version);

        assert_eq!(decode(&mut bytes, version, LIMIT), Ok(Some(packet.clone())), "{version:?}");
        assert!(bytes.is_empty());
    }
}

#[test]
fn packets_of_a_broker_read_back() {
    comes_back(Packet::PubAck { id: 7, code: 0 });
    comes_back(Packet::PubRec { id: 7, code: 0 });
    comes_back(Packet::PubRel { id: 7 });
    comes_back(Packet::PubComp { id: 65_535 });
    comes_back(Packet::SubAck { id: 1, code: 2 });
    comes_back(Packet::PingResp);
    comes_back(Packet::Disconnect { code: 0 });
    let (receive_maximum, maximum_qos, keep_alive_s) = (u16::MAX, 2, None);
    comes_back(Packet::ConnAck { session_present: true, code: 0, receive_maximum, maximum_qos, keep_alive_s });
}

#[test]
fn the_first_word_has_the_bytes_of_the_standard() {
    let connect = Packet::Connect(Connect {
        client_id: "c".into(),
        keep_alive_s: 30,
        login: Some(("u".into(), Some(b"p".to_vec()))),
        session_expiry_s: 60,
        receive_maximum: 100,
        packet_bytes_max: 1_000,
    });

    let v311 = encoded(&connect, MqttVersion::V311);
    let v5 = encoded(&connect, MqttVersion::V5);

    assert_eq!(&v311[..], b"\x10\x13\0\x04MQTT\x04\xc0\0\x1e\0\x01c\0\x01u\0\x01p");
    assert!(
        v5.starts_with(b"\x10\x21\0\x04MQTT\x05\xc0\0\x1e\x0d") && v5.ends_with(b"\0\x01c\0\x01u\0\x01p"),
        "{v5:?}"
    );
    // Properties come in any order: expiry, receive maximum, largest packet.
    for property in [&b"\x11\0\0\0\x3c"[..], b"\x21\0\x64", b"\x27\0\0\x03\xe8"] {
        assert!(v5.windows(property.len()).any(|bytes| bytes == property), "{property:?} in {v5:?}");
    }
}

#[test]
fn what_a_broker_says_of_itself_is_read_and_the_rest_passed_over() {
    // Session present, success, and: receive maximum 20, topic alias maximum 10, a user property, server keep alive 60.
    let mut bytes = BytesMut::from(&b"\x20\x13\x01\0\x10\x21\0\x14\x22\0\x0a\x26\0\x01a\0\x01b\x13\0\x3c"[..]);

    let read = decode(&mut bytes, MqttVersion::V5, LIMIT).unwrap();

    let (receive_maximum, maximum_qos, keep_alive_s) = (20, 2, Some(60));
    assert_eq!(
        read,
        Some(Packet::ConnAck { session_present: true, code: 0, receive_maximum, maximum_qos, keep_alive_s })
    );
}

#[test]
fn a_refusal_is_told_in_the_codes_of_the_newer_version() {
    for (version, bytes) in [(MqttVersion::V311, &b"\x20\x02\0\x04"[..]), (MqttVersion::V5, b"\x20\x03\0\x86\0")] {
        let read = decode(&mut BytesMut::from(bytes), version, LIMIT).unwrap();

        assert!(matches!(read, Some(Packet::ConnAck { code: 0x86, .. })), "{version:?}: {read:?}");
    }
}

#[test]
fn what_cannot_be_said_leaves_nothing_half_said() {
    let topic = "t".repeat(usize::from(u16::MAX) + 1);
    let mut bytes = encoded(&Packet::PingReq, MqttVersion::V5);
    let before = bytes.clone();

    let error = Packet::Subscribe { id: 1, topic, qos: 1 }.encode(MqttVersion::V5, &mut bytes).unwrap_err();

    assert!(matches!(error, MqttError::Unspeakable(_)), "{error}");
    assert_eq!(bytes, before);
}

#[test]
fn a_packet_over_the_limit_that_is_no_message_is_refused_before_it_is_there() {
    let mut bytes = BytesMut::from(&b"\x40\xff\xff\xff\x7f"[..]);

    assert!(matches!(decode(&mut bytes, MqttVersion::V5, LIMIT), Err(MqttError::TooLarge { .. })));
}

fn large(qos: u8) -> Packet {
    let id = if qos == 0 { 0 } else { 7 };
    let payload = Bytes::from(vec![b'x'; LIMIT]);
    Packet::Publish(Publish { repeated: false, qos, retained: false, topic: "city/speed".into(), id, payload })
}

#[test]
fn a_message_over_the_limit_is_passed_over_however_it_comes_and_can_be_acknowledged() {
    for (version, qos) in [(MqttVersion::V311, 0), (MqttVersion::V311, 1), (MqttVersion::V5, 2)] {
        let mut wire = encoded(&large(qos), version);
        let bytes = wire.len();
        Packet::PingResp.encode(version, &mut wire).unwrap();
        for piece in [1, 7, 4_096, wire.len()] {
            let (mut reader, mut buffer, mut read) = (Reader::new(version, LIMIT), BytesMut::new(), Vec::new());
            for chunk in wire.chunks(piece) {
                buffer.extend_from_slice(chunk);
                while let Some(packet) = reader.next(&mut buffer).unwrap() {
                    read.push(packet);
                }
                assert!(buffer.len() < 64 || chunk.len() > 64, "it is not kept");
            }

            let id = if qos == 0 { 0 } else { 7 };
            assert_eq!(
                read,
                [Packet::TooLarge { qos, id, bytes }, Packet::PingResp],
                "{version:?} in pieces of {piece}"
            );
        }
    }
}

#[test]
fn a_message_over_the_limit_whose_topic_does_not_end_in_it_is_none() {
    let limit = 4;
    let mut bytes = BytesMut::from(&b"\x32\x05\0\x04abc"[..]);

    assert!(matches!(decode(&mut bytes, MqttVersion::V5, limit), Err(MqttError::Malformed(_))));
}

fn publishes() -> impl Strategy<Value = Publish> {
    let payload = proptest::collection::vec(any::<u8>(), 0..300);
    (any::<bool>(), 0..3u8, any::<bool>(), "[a-zü/ ]{1,100}", 1..=u16::MAX, payload).prop_map(
        |(repeated, qos, retained, topic, id, payload)| Publish {
            // What is not acknowledged is not repeated.
            repeated: repeated && qos > 0,
            qos,
            retained,
            topic,
            id: if qos == 0 { 0 } else { id },
            payload: Bytes::from(payload),
        },
    )
}

proptest! {
    #[test]
    fn a_message_reads_back_however_it_is_cut(publish in publishes(), v5: bool, at: prop::sample::Index) {
        let version = if v5 { MqttVersion::V5 } else { MqttVersion::V311 };
        let bytes = encoded(&Packet::Publish(publish.clone()), version);
        let at = at.index(bytes.len());
        let mut buffer = BytesMut::from(&bytes[..at]);

        prop_assert_eq!(decode(&mut buffer, version, LIMIT), Ok(None));
        buffer.extend_from_slice(&bytes[at..]);
        prop_assert_eq!(decode(&mut buffer, version, LIMIT), Ok(Some(Packet::Publish(publish))));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), kind in 1..16u8, v5: bool) {
        let version = if v5 { MqttVersion::V5 } else { MqttVersion::V311 };
        let mut framed = BytesMut::from(&[kind << 4, bytes.len() as u8][..]);
        framed.extend_from_slice(&bytes);
        let _ = decode(&mut framed, version, LIMIT);
        let _ = decode(&mut BytesMut::from(&bytes[..]), version, LIMIT);
    }
}
