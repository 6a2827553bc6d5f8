//! One connection: packets out and in, with a ping when nothing else is said.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use shoal_protocol::stream::mqtt::{Connect, MqttError, Packet, Reader};
use shoal_protocol::stream::{BrokerSpec, MqttVersion, RECORD_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout};

/// A broker that is there answers the first word at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A write that takes longer goes to nobody.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Seconds of silence after which the broker lets go of the connection, and so does this side.
const KEEP_ALIVE_S: u16 = 20;
/// How long a broker keeps what was not acknowledged while nobody is connected: a week.
const SESSION_EXPIRY_S: u32 = 7 * 24 * 3_600;
/// Deliveries that a broker may have unacknowledged: what two groups of writes bring, and few enough to know again.
pub(in crate::streams) const RECEIVE_MAXIMUM: u16 = 4_096;
/// A record, its topic and the rest of the packet. One that is larger comes from a topic that this stream is not for, and
/// would come again for ever if it ended the connection: a broker of MQTT 5 is told not to send it, of an older one it is passed over.
const PACKET_BYTES_MAX: usize = 4 * RECORD_BYTES_MAX;
/// Room for what the broker sends at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// A password file is a line.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// MQTT 5: another connection uses this client id now.
const TAKEN_OVER: u8 = 0x8e;

/// Why there is no connection, or not any more.
#[derive(Debug, thiserror::Error)]
pub(in crate::streams) enum BrokerError {
    #[error("broker {broker} cannot be reached: {source}")]
    Unreachable { broker: String, source: io::Error },
    #[error("broker {broker} does not answer")]
    Silent { broker: String },
    #[error("broker {broker} refuses this client: {why}")]
    Refused { broker: String, why: String },
    #[error("the password file {path} cannot be read: {source}")]
    Password { path: String, source: io::Error },
    #[error(transparent)]
    Malformed(#[from] MqttError),
    #[error("the connection to broker {broker} broke: {source}")]
    Broken { broker: String, source: io::Error },
    #[error("broker {broker} ended the connection: another client uses this client id now")]
    TakenOver { broker: String },
    #[error("what the broker sent could not be written down: it is to send it again")]
    NotTaken,
    #[error("broker {broker} ended the connection (code {code})")]
    Ended { broker: String, code: u8 },
}

/// A connection that has been answered.
#[derive(Debug)]
pub(in crate::streams) struct Connected {
    pub(in crate::streams) connection: Connection,
    /// The broker knows this client from before.
    pub(in crate::streams) session_present: bool,
    pub(in crate::streams) maximum_qos: u8,
}

/// Packets both ways.
#[derive(Debug)]
pub(in crate::streams) struct Connection {
    broker: String,
    version: MqttVersion,
    reader: Reader,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    incoming: BytesMut,
    outgoing: BytesMut,
    ping_every: Duration,
    last_written: Instant,
    last_heard: Instant,
}

/// Connects as this client, whose session goes on.
pub(in crate::streams) async fn connect(spec: &BrokerSpec, client_id: String) -> Result<Connected, BrokerError> {
    let broker = spec.broker.clone();
    let silent = || BrokerError::Silent { broker: broker.clone() };
    let opened = timeout(CONNECT_TIMEOUT, TcpStream::connect(&spec.broker)).await.map_err(|_| silent())?;
    let unreachable = |source| BrokerError::Unreachable { broker: broker.clone(), source };
    let stream = opened.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let (read, write) = stream.into_split();
    let now = Instant::now();
    let mut connection = Connection {
        broker: broker.clone(),
        version: spec.version,
        reader: Reader::new(spec.version, PACKET_BYTES_MAX),
        read,
        write,
        incoming: BytesMut::with_capacity(BUFFER_BYTES),
        outgoing: BytesMut::new(),
        ping_every: Duration::from_secs(u64::from(KEEP_ALIVE_S)) / 2,
        last_written: now,
        last_heard: now,
    };
    let login = match &spec.username {
        Some(name) => Some((name.clone(), password(spec).await?)),
        None => None,
    };
    connection.queue(&Packet::Connect(Connect {
        client_id,
        keep_alive_s: KEEP_ALIVE_S,
        login,
        session_expiry_s: SESSION_EXPIRY_S,
        receive_maximum: RECEIVE_MAXIMUM,
        packet_bytes_max: PACKET_BYTES_MAX as u32,
    }))?;
    connection.flush().await?;
    match timeout(CONNECT_TIMEOUT, connection.receive()).await.map_err(|_| silent())?? {
        Packet::ConnAck { code: 0, session_present, maximum_qos, keep_alive_s, .. } => {
            if let Some(seconds) = keep_alive_s.filter(|seconds| *seconds > 0) {
                connection.ping_every = connection.ping_every.min(Duration::from_secs(u64::from(seconds)) / 2);
            }
            Ok(Connected { connection, session_present, maximum_qos })
        }
        Packet::ConnAck { code, .. } => Err(BrokerError::Refused { broker, why: refusal(code) }),
        _ => Err(MqttError::Malformed("another first word than CONNACK".to_owned()).into()),
    }
}

/// Read anew each time, so that it can be changed; without the end of its line.
async fn password(spec: &BrokerSpec) -> Result<Option<Vec<u8>>, BrokerError> {
    let Some(path) = spec.password_file() else { return Ok(None) };
    let read = async {
        let mut bytes = Vec::new();
        tokio::fs::File::open(path).await?.take(PASSWORD_BYTES_MAX).read_to_end(&mut bytes).await?;
        Ok(bytes)
    };
    let mut bytes: Vec<u8> =
        read.await.map_err(|source| BrokerError::Password { path: path.display().to_string(), source })?;
    while bytes.last().is_some_and(|byte| b"\r\n".contains(byte)) {
        bytes.pop();
    }
    Ok(Some(bytes))
}

fn refusal(code: u8) -> String {
    let why = match code {
        0x84 => "it does not speak this version of MQTT",
        0x85 => "the client id is not allowed",
        0x86 => "the user name or the password is wrong",
        0x87 => "this user may not connect",
        0x88 => "it is not available",
        _ => return format!("code {code}"),
    };
    why.to_owned()
}

impl Connection {
    /// Says this with the next flush.
    pub(in crate::streams) fn queue(&mut self, packet: &Packet) -> Result<(), BrokerError> {
        Ok(packet.encode(self.version, &mut self.outgoing)?)
    }

    /// Sends what is queued.
    pub(in crate::streams) async fn flush(&mut self) -> Result<(), BrokerError> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE_TIMEOUT, self.write.write_all(&self.outgoing)).await;
        self.outgoing.clear();
        self.last_written = Instant::now();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(BrokerError::Broken { broker: self.broker.clone(), source }),
            Err(_) => Err(BrokerError::Silent { broker: self.broker.clone() }),
        }
    }

    /// A packet that is here already.
    pub(in crate::streams) fn ready(&mut self) -> Result<Option<Packet>, BrokerError> {
        match self.reader.next(&mut self.incoming)? {
            Some(Packet::Disconnect { code: TAKEN_OVER }) => {
                Err(BrokerError::TakenOver { broker: self.broker.clone() })
            }
            Some(Packet::Disconnect { code }) => Err(BrokerError::Ended { broker: self.broker.clone(), code }),
            packet => Ok(packet),
        }
    }

    /// The next packet. Nothing is lost when this is not waited for to its end.
    pub(in crate::streams) async fn receive(&mut self) -> Result<Packet, BrokerError> {
        loop {
            if let Some(packet) = self.ready()? {
                return Ok(packet);
            }
            self.incoming.reserve(BUFFER_BYTES);
            let read = self.read.read_buf(&mut self.incoming).await;
            match read {
                Ok(0) => {
                    let source = io::ErrorKind::UnexpectedEof.into();
                    return Err(BrokerError::Broken { broker: self.broker.clone(), source });
                }
                Ok(_) => self.last_heard = Instant::now(),
                Err(source) => return Err(BrokerError::Broken { broker: self.broker.clone(), source }),
            }
        }
    }

    /// When something is to be said again, whatever it is.
    pub(in crate::streams) fn ping_at(&self) -> Instant {
        self.last_written + self.ping_every
    }

    /// Asks whether the broker is there; an error if it was silent for too long.
    pub(in crate::streams) async fn ping(&mut self) -> Result<(), BrokerError> {
        if self.last_heard.elapsed() > 3 * self.ping_every {
            return Err(BrokerError::Silent { broker: self.broker.clone() });
        }
        self.queue(&Packet::PingReq)?;
        self.flush().await
    }

    /// Says goodbye; the broker keeps the session.
    pub(in crate::streams) async fn close(mut self) {
        if self.queue(&Packet::Disconnect { code: 0 }).is_ok() {
            // Whoever does not hear it will find out by silence.
            let _ = self.flush().await;
        }
    }
}
