//! Records from the topic of a broker: acknowledged when they are on disk, so that the broker gives again what is not.
//!
//! ```text
//! QoS 1   PUBLISH ─► intake … on disk ─► PUBACK
//! QoS 2   PUBLISH ─► intake … on disk ─► PUBREC;  PUBREL ─► intake … on disk that its id is free ─► PUBCOMP
//! ```
//!
//! **Invariant:** what one connection has received is acknowledged on that connection or on none: packet ids belong to it.
//! **Not here:** whether a message was taken before. The stream's journal knows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shoal_protocol::stream::mqtt::{Packet, Publish};
use shoal_protocol::stream::{BrokerSpec, Mark, RECORD_BYTES_MAX, digest};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::intake::{Delivery, Done, Intake, NOT_TAKEN};
use super::super::mqtt::{Backoff, BrokerError, Connected, Connection, connect};
use super::super::status::{Note, Status};

/// What the answer to the subscription calls it.
const SUBSCRIBE_ID: u16 = 1;
/// While the stream has no room, it is asked again this often.
const ROOM_LOOK: Duration = Duration::from_millis(5);
/// A connection that lasted so long was a good one: the next one need not wait.
const LASTED: Duration = Duration::from_secs(5);
/// Another peer has this client id now: time in which this one hears that it owns the stream no more.
const TAKEN_OVER_PAUSE: Duration = Duration::from_secs(2);

/// Receives until the stream ends.
pub(in crate::streams) async fn run(spec: BrokerSpec, client_id: String, intake: Intake, status: Arc<Status>) {
    let mut backoff = Backoff::default();
    while !intake.is_closed() {
        let error = match connect(&spec, client_id.clone()).await {
            Ok(connected) => {
                let since = Instant::now();
                let ended = match Session::begin(&spec, connected, &intake, &status).await {
                    Ok(mut session) => match session.run().await {
                        Ok(()) => return session.connection.close().await,
                        Err(error) => error,
                    },
                    Err(error) => error,
                };
                if since.elapsed() >= LASTED {
                    backoff.reset();
                }
                ended
            }
            Err(error) => error,
        };
        tracing::debug!(%error, "no broker");
        status.note(Note::Source, error.to_string());
        let pause = match error {
            BrokerError::TakenOver { .. } => TAKEN_OVER_PAUSE,
            _ => backoff.pause(),
        };
        sleep(pause).await;
    }
}

/// What a connection is for, from its first word to its last.
struct Session<'a> {
    spec: &'a BrokerSpec,
    connection: Connection,
    intake: &'a Intake,
    status: &'a Status,
    acknowledge: (UnboundedSender<u16>, UnboundedReceiver<u16>),
    received: (UnboundedSender<u16>, UnboundedReceiver<u16>),
    complete: (UnboundedSender<u16>, UnboundedReceiver<u16>),
    /// What the stream has no room for yet. Nothing more is read while there is something here.
    waiting: VecDeque<Delivery>,
}

impl<'a> Session<'a> {
    async fn begin(
        spec: &'a BrokerSpec,
        connected: Connected,
        intake: &'a Intake,
        status: &'a Status,
    ) -> Result<Self, BrokerError> {
        let Connected { mut connection, session_present, maximum_qos } = connected;
        if !session_present && status.has_connected() {
            let lost = "the broker had forgotten this client: what it had not delivered is lost";
            tracing::warn!(broker = spec.broker, lost);
            status.note(Note::Session, lost.to_owned());
        }
        let qos = spec.qos.unwrap_or(1).min(maximum_qos);
        connection.queue(&Packet::Subscribe { id: SUBSCRIBE_ID, topic: spec.topic.clone(), qos })?;
        connection.flush().await?;
        // Bounded by what the broker may have unacknowledged.
        Ok(Self {
            spec,
            connection,
            intake,
            status,
            acknowledge: mpsc::unbounded_channel(),
            received: mpsc::unbounded_channel(),
            complete: mpsc::unbounded_channel(),
            waiting: VecDeque::new(),
        })
    }

    /// Until the stream ends, or the connection.
    async fn run(&mut self) -> Result<(), BrokerError> {
        while !self.intake.is_closed() {
            let has_room = self.waiting.is_empty();
            let ping_at = self.connection.ping_at();
            tokio::select! {
                Some(id) = self.acknowledge.1.recv() => self.answer(Packet::PubAck { id, code: 0 }, id)?,
                Some(id) = self.received.1.recv() => self.answer(Packet::PubRec { id, code: 0 }, id)?,
                Some(id) = self.complete.1.recv() => self.answer(Packet::PubComp { id }, id)?,
                packet = self.connection.receive(), if has_room => self.take_all(packet?)?,
                () = sleep(ROOM_LOOK), if !has_room => self.hand_over(),
                () = sleep_until(ping_at) => self.connection.ping().await?,
                () = sleep(Duration::from_secs(1)) => {} // looks whether the stream has ended
            }
            self.connection.flush().await?;
        }
        Ok(())
    }

    /// One answer, and all that are ready with it: they leave together.
    fn answer(&mut self, first: Packet, id: u16) -> Result<(), BrokerError> {
        let mut next = Some((first, id));
        while let Some((packet, id)) = next {
            if id == NOT_TAKEN {
                return Err(BrokerError::NotTaken);
            }
            self.connection.queue(&packet)?;
            next = self.next_answer();
        }
        Ok(())
    }

    fn next_answer(&mut self) -> Option<(Packet, u16)> {
        if let Ok(id) = self.acknowledge.1.try_recv() {
            return Some((Packet::PubAck { id, code: 0 }, id));
        }
        if let Ok(id) = self.received.1.try_recv() {
            return Some((Packet::PubRec { id, code: 0 }, id));
        }
        let id = self.complete.1.try_recv().ok()?;
        Some((Packet::PubComp { id }, id))
    }

    /// A packet, and all that have come with it.
    fn take_all(&mut self, first: Packet) -> Result<(), BrokerError> {
        let mut next = Some(first);
        while let Some(packet) = next {
            self.take(packet)?;
            next = if self.waiting.is_empty() { self.connection.ready()? } else { None };
        }
        Ok(())
    }

    fn take(&mut self, packet: Packet) -> Result<(), BrokerError> {
        match packet {
            Packet::Publish(publish) => self.take_message(publish),
            Packet::TooLarge { qos, id, bytes } => {
                self.refuse(bytes);
                let done = self.done(qos, id);
                self.waiting.push_back(Delivery { records: Vec::new(), mark: None, repeated: false, done, room: None });
                self.hand_over();
            }
            Packet::PubRel { id } => {
                let done = Done::Packet(self.complete.0.clone(), id);
                let mark = Some(Mark::Released(id));
                self.waiting.push_back(Delivery { records: Vec::new(), mark, repeated: true, done, room: None });
                self.hand_over();
            }
            Packet::SubAck { id: SUBSCRIBE_ID, code } if code >= 0x80 => {
                let why = format!("it does not let this user subscribe to `{}` (code {code})", self.spec.topic);
                return Err(BrokerError::Refused { broker: self.spec.broker.clone(), why });
            }
            Packet::SubAck { .. } => self.status.connected(),
            // What answers what this side sends, and it sends nothing of that.
            _ => {}
        }
        Ok(())
    }

    fn take_message(&mut self, publish: Publish) {
        let Publish { repeated, qos, topic, id, payload, .. } = publish;
        let mark = (qos > 0).then(|| Mark::Packet(id, digest(&[topic.as_bytes(), &payload])));
        let done = self.done(qos, id);
        let record =
            if self.spec.with_topic { [topic.as_bytes(), b"\t", &payload[..]].concat().into() } else { payload };
        let records: Vec<Bytes> = match record.len() <= RECORD_BYTES_MAX {
            true => vec![record],
            false => {
                self.refuse(record.len());
                Vec::new()
            }
        };
        self.waiting.push_back(Delivery { records, mark, repeated, done, room: None });
        self.hand_over();
    }

    fn refuse(&self, bytes: usize) {
        self.status.refused(1);
        tracing::warn!(bytes, limit = RECORD_BYTES_MAX, "a message is too large for a record");
    }

    /// How a message is acknowledged.
    fn done(&self, qos: u8, id: u16) -> Done {
        match qos {
            // To nobody: a lane that nobody reads.
            0 => Done::Packet(mpsc::unbounded_channel().0, 0),
            1 => Done::Packet(self.acknowledge.0.clone(), id),
            _ => Done::Packet(self.received.0.clone(), id),
        }
    }

    fn hand_over(&mut self) {
        while let Some(delivery) = self.waiting.pop_front() {
            if let Err(back) = self.intake.try_hand(delivery) {
                return self.waiting.push_front(back);
            }
        }
    }
}
