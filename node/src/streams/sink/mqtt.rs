//! Results as messages of a topic, each published once: QoS 2, whose packet id is on disk before the message leaves.
//!
//! ```text
//! on disk: number, id, Publishing ─► PUBLISH(id) ─► PUBREC ─► on disk: Released ─► PUBREL ─► PUBCOMP ─► the stream's position
//! ```
//!
//! | dies | goes on with | the broker |
//! |---|---|---|
//! | before PUBREC is on disk | PUBLISH of the same id, said to be a repetition | knows the id, and keeps one message; or never had it |
//! | after | PUBREL of the same id | has let the message go, or does so now |
//! | after PUBCOMP | PUBREL of the same id, as the stream's position is not on disk | says that it knows of no such id, which is an answer as well |
//!
//! **Limit:** the broker must not forget the session between the two (`persistence true`). Where it says that it has, and the
//! message had been let go, it is not known whether it arrived: it is published again, and a reader sees its number twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shoal_protocol::store;
use shoal_protocol::stream::mqtt::{Packet, Publish};
use shoal_protocol::stream::{BrokerSpec, of_stream};
use tokio::time::{sleep, sleep_until, timeout};

use super::super::mqtt::{Backoff, BrokerError, Connected, Connection, connect};
use super::super::persist::Persist;
use super::super::status::{Note, Status};
use super::Which;

/// A broker that is there answers each step at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How far the last message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// The broker may have it.
    #[serde(rename = "p")]
    Publishing,
    /// The broker has it, and may have passed it on.
    #[serde(rename = "r")]
    Released,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Outbox {
    #[serde(rename = "n")]
    sequence: u64,
    #[serde(rename = "i")]
    id: u16,
    #[serde(rename = "p")]
    phase: Phase,
}

#[derive(Debug)]
pub(in crate::streams) struct MqttSink {
    spec: BrokerSpec,
    client_id: String,
    key: Vec<u8>,
    persist: Persist,
    status: Arc<Status>,
    connection: Option<Connection>,
}

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the broker does not answer")]
    NoAnswer,
    #[error("the broker refuses results for `{topic}` (code {code})")]
    Refused { topic: String, code: u8 },
    #[error("it could not be written down: {0}")]
    Disk(String),
    #[error("the broker does not speak QoS 2")]
    Qos,
}

impl MqttSink {
    pub(super) fn new(
        spec: BrokerSpec,
        client_id: String,
        which: Which,
        persist: Persist,
        status: Arc<Status>,
    ) -> Self {
        let key = of_stream(which as u8, persist.name());
        Self { spec, client_id, key, persist, status, connection: None }
    }

    pub(super) async fn publish(&mut self, sequence: u64, line: String) {
        let payload = Bytes::from(line);
        let mut backoff = Backoff::default();
        loop {
            match self.step(sequence, &payload).await {
                Ok(()) => return self.status.clear(Note::Sink),
                Err(error) => {
                    self.connection = None;
                    tracing::debug!(%error, window = sequence, "not published yet");
                    self.status.note(Note::Sink, error.to_string());
                    sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// From wherever the message is to its end.
    async fn step(&mut self, sequence: u64, payload: &Bytes) -> Result<(), StepError> {
        let before = self.outbox();
        let (mut outbox, repeated) = match before {
            Some(outbox) if outbox.sequence == sequence => (outbox, true),
            Some(Outbox { id, .. }) => (Outbox { sequence, id: id % u16::MAX + 1, phase: Phase::Publishing }, false),
            None => (Outbox { sequence, id: 1, phase: Phase::Publishing }, false),
        };
        if !repeated {
            self.write(outbox).await?;
        }
        let forgotten = self.connect().await?;
        if forgotten && outbox.phase == Phase::Released {
            let doubt = format!(
                "the broker had forgotten this client: window {sequence} is published again, perhaps for a second time"
            );
            tracing::warn!(window = sequence, doubt);
            self.status.note(Note::Session, doubt);
            outbox.phase = Phase::Publishing;
            self.write(outbox).await?;
        }
        if outbox.phase == Phase::Publishing {
            self.send(Packet::Publish(Publish {
                repeated,
                qos: 2,
                retained: false,
                topic: self.spec.topic.clone(),
                id: outbox.id,
                payload: payload.clone(),
            }))
            .await?;
            let code = self.answer(|packet| match packet {
                Packet::PubRec { id, code } if id == outbox.id => Some(code),
                _ => None,
            });
            let code = code.await?;
            if code >= 0x80 {
                return Err(StepError::Refused { topic: self.spec.topic.clone(), code });
            }
            outbox.phase = Phase::Released;
            self.write(outbox).await?;
        }
        self.send(Packet::PubRel { id: outbox.id }).await?;
        self.answer(|packet| matches!(packet, Packet::PubComp { id } if id == outbox.id).then_some(())).await
    }

    fn outbox(&self) -> Option<Outbox> {
        let bytes = self.persist.get(&self.key)?;
        store::decode(&self.key, &bytes).ok()
    }

    async fn write(&self, outbox: Outbox) -> Result<(), StepError> {
        let bytes = store::encode(&self.key, &outbox);
        let change = store::Change::Put { key: self.key.clone(), bytes };
        self.persist.write(vec![change]).await.map_err(StepError::Disk)
    }

    /// Whether the broker has forgotten this client.
    async fn connect(&mut self) -> Result<bool, StepError> {
        if let Some(connection) = &mut self.connection {
            // A connection that was idle may be gone without a word.
            if connection.ping_at() > tokio::time::Instant::now() {
                return Ok(false);
            }
            self.connection = None;
        }
        let Connected { connection, session_present, maximum_qos } =
            connect(&self.spec, self.client_id.clone()).await?;
        if maximum_qos < 2 {
            return Err(StepError::Qos);
        }
        self.connection = Some(connection);
        Ok(!session_present)
    }

    async fn send(&mut self, packet: Packet) -> Result<(), StepError> {
        let connection = self.connection.as_mut().ok_or(StepError::NoAnswer)?;
        connection.queue(&packet)?;
        Ok(connection.flush().await?)
    }

    /// The first packet that is what is waited for.
    async fn answer<T>(&mut self, wanted: impl Fn(Packet) -> Option<T>) -> Result<T, StepError> {
        let connection = self.connection.as_mut().ok_or(StepError::NoAnswer)?;
        let waiting = async {
            loop {
                let ping_at = connection.ping_at();
                tokio::select! {
                    packet = connection.receive() => if let Some(found) = wanted(packet?) { return Ok(found) },
                    () = sleep_until(ping_at) => connection.ping().await?,
                }
            }
        };
        timeout(ANSWER_TIMEOUT, waiting).await.unwrap_or(Err(StepError::NoAnswer))
    }
}
