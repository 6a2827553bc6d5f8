//! As much of an MQTT client as measuring needs: it publishes as fast as it is acknowledged, and it listens.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shoal_protocol::stream::MqttVersion;
use shoal_protocol::stream::mqtt::{Connect, Packet, Publish, Reader};

/// Nothing that is waited for takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Messages that are sent before their acknowledgements are waited for.
const UNACKNOWLEDGED_MAX: usize = 1_000;
const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
const VERSION: MqttVersion = MqttVersion::V5;

/// A connection to a broker.
#[derive(Debug)]
pub struct MqttClient {
    stream: TcpStream,
    reader: Reader,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl MqttClient {
    /// Connects under this name.
    pub fn connect(broker: &str, client_id: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(broker)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let reader = Reader::new(VERSION, PACKET_BYTES_MAX);
        let mut client = Self { stream, reader, incoming: BytesMut::new(), outgoing: BytesMut::new() };
        client.queue(&Packet::Connect(Connect {
            client_id: client_id.to_owned(),
            keep_alive_s: 0,
            login: None,
            session_expiry_s: 3_600,
            receive_maximum: u16::MAX,
            packet_bytes_max: PACKET_BYTES_MAX as u32,
        }))?;
        client.flush()?;
        match client.receive()? {
            Packet::ConnAck { code: 0, .. } => Ok(client),
            other => Err(io::Error::other(format!("{other:?} instead of a welcome"))),
        }
    }

    /// Publishes these with QoS 1 or 2 and returns when the broker has all of them.
    pub fn publish_all(&mut self, topic: &str, qos: u8, payloads: impl IntoIterator<Item = String>) -> io::Result<u64> {
        let (mut sent, mut unacknowledged) = (0_u64, 0);
        for payload in payloads {
            // The oldest ids are free again long before they come round.
            let id = u16::try_from(sent % u64::from(u16::MAX)).unwrap_or(0) + 1;
            self.queue(&Packet::Publish(Publish {
                repeated: false,
                qos,
                retained: false,
                topic: topic.to_owned(),
                id,
                payload: payload.into(),
            }))?;
            sent += 1;
            unacknowledged += 1;
            if unacknowledged == UNACKNOWLEDGED_MAX {
                self.flush()?;
                // Half of them: the broker always has something to do.
                self.acknowledged(UNACKNOWLEDGED_MAX / 2)?;
                unacknowledged -= UNACKNOWLEDGED_MAX / 2;
            }
        }
        self.flush()?;
        self.acknowledged(unacknowledged)?;
        Ok(sent)
    }

    fn acknowledged(&mut self, mut left: usize) -> io::Result<()> {
        while left > 0 {
            match self.receive()? {
                Packet::PubAck { .. } | Packet::PubComp { .. } => left -= 1,
                Packet::PubRec { id, .. } => {
                    self.queue(&Packet::PubRel { id })?;
                    self.flush()?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Listens to a topic from now on.
    pub fn subscribe(&mut self, topic: &str) -> io::Result<()> {
        self.queue(&Packet::Subscribe { id: 1, topic: topic.to_owned(), qos: 2 })?;
        self.flush()?;
        match self.receive()? {
            Packet::SubAck { code: 0..=2, .. } => Ok(()),
            other => Err(io::Error::other(format!("{other:?} instead of a subscription"))),
        }
    }

    /// The next message of a topic that is listened to.
    pub fn next_message(&mut self) -> io::Result<Bytes> {
        loop {
            match self.receive()? {
                Packet::Publish(Publish { qos, id, payload, .. }) => {
                    match qos {
                        1 => self.queue(&Packet::PubAck { id, code: 0 })?,
                        2 => self.queue(&Packet::PubRec { id, code: 0 })?,
                        _ => {}
                    }
                    self.flush()?;
                    return Ok(payload);
                }
                Packet::PubRel { id } => {
                    self.queue(&Packet::PubComp { id })?;
                    self.flush()?;
                }
                _ => {}
            }
        }
    }

    /// How long [`MqttClient::next_message`] waits.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    fn queue(&mut self, packet: &Packet) -> io::Result<()> {
        packet.encode(VERSION, &mut self.outgoing).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Packet> {
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some(packet) = self.reader.next(&mut self.incoming).map_err(io::Error::other)? {
                return Ok(packet);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.incoming.extend_from_slice(&chunk[..count]),
            }
        }
    }
}
