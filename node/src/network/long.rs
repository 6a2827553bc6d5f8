//! Messages too long for the control stream: each goes on a stream of its own, so that no frame waits behind it.
//!
//! ```text
//! [kind of stream][u32 length, big endian][message]   and the end of the stream
//! ```
//!
//! **Invariant:** a message is delivered whole, after `Connected` and before `Disconnected` of its peer, or not at all;
//! at most `LONG_MAX` are on their way to a peer, and `LONG_QUEUED_BYTES_MAX` of them wait or are.
//! **Not here:** order and repetition. A frame that was sent later may arrive earlier, and a message whose stream broke,
//! or for which there was no room, is gone: the protocol asks after what is not confirmed.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use quinn::RecvStream;
use shoal_protocol::PeerId;
use shoal_protocol::certificate::joining::PAPERS_BYTES_MAX;
use shoal_protocol::config::MESSAGE_BYTES_MAX;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::frame::FrameTooLong;
use super::kinds::Kind;
use super::limits::{DRAIN_MAX, LONG_MAX, LONG_TIMEOUT};
use super::links::{Link, Path};
use super::quic::CALLBACK_BYTES;
use super::{NetworkEvent, Shared};

/// Long messages of one neighbour that are read, or wait for the driver: the sender waits when it has as many.
const INCOMING_MAX: usize = 2 * LONG_MAX;

/// A message that has its place in the queue to a neighbour.
pub(super) struct Queued {
    pub(super) to: PeerId,
    pub(super) link: Arc<Link>,
    /// As many as it has bytes.
    pub(super) place: OwnedSemaphorePermit,
    pub(super) body: Vec<u8>,
}

/// Sends it once its turn has come.
pub(super) async fn send(queued: Queued, shared: Weak<Shared>) {
    let Queued { to, link, place, body } = queued;
    let sent = timeout(LONG_TIMEOUT, write(Kind::Long, &link, &body)).await.unwrap_or_else(|late| Err(late.into()));
    drop(place);
    match (sent, shared.upgrade()) {
        (Ok(()), Some(shared)) => shared.counters.long_out.one(),
        (Ok(()), None) => {}
        (Err(error), _) => tracing::debug!(peer = ?to, bytes = body.len(), %error, "a long message was not sent"),
    }
}

/// Writes a body on a stream of its own; returns when all of it has arrived.
pub(super) async fn write(kind: Kind, link: &Link, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let _slot = link.slots.long_out().await.ok_or(io::ErrorKind::NotConnected)?;
    let mut stream = kind.open(&link.connection).await?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(body).await?;
    // It cannot have ended before: this is its only end.
    let _ = stream.finish();
    // All of it is at the other side then.
    match stream.stopped().await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(io::ErrorKind::ConnectionRefused.into()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Long messages that come over one link.
pub(super) struct Incoming {
    from: PeerId,
    link: Arc<Link>,
    shared: Arc<Shared>,
    coming: JoinSet<()>,
}

impl Incoming {
    pub(super) fn new(from: PeerId, link: Arc<Link>, shared: Arc<Shared>) -> Self {
        Self { from, link, shared, coming: JoinSet::new() }
    }

    /// Takes what comes, until the connection ends.
    pub(super) async fn run(&mut self) {
        loop {
            tokio::select! {
                accepted = self.link.connection.accept_uni(), if self.coming.len() < INCOMING_MAX => match accepted {
                    Ok(stream) => self.take(stream),
                    // The control stream hears of it as well.
                    Err(_) => return std::future::pending().await,
                },
                Some(ended) = self.coming.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a long message ended by a fault of this program");
                    }
                }
            }
        }
    }

    /// The other side sends no more: takes what has come, and waits for the rest of it.
    pub(super) async fn finish(&mut self) {
        let rest = async {
            // Streams that have begun to arrive are there at once.
            while let Ok(Ok(stream)) = timeout(Duration::ZERO, self.link.connection.accept_uni()).await {
                self.take(stream);
                if self.coming.len() >= INCOMING_MAX {
                    self.coming.join_next().await;
                }
            }
            while self.coming.join_next().await.is_some() {}
        };
        let _ = timeout(DRAIN_MAX, rest).await;
    }

    fn take(&mut self, stream: RecvStream) {
        self.coming.spawn(receive(stream, self.from, Arc::clone(&self.link), Arc::clone(&self.shared)));
    }
}

/// Reads one and hands it to the driver.
async fn receive(stream: RecvStream, from: PeerId, link: Arc<Link>, shared: Arc<Shared>) {
    let (kind, body) = match timeout(LONG_TIMEOUT, read(stream)).await {
        Ok(Ok(Said::Body(kind, body))) => (kind, body),
        Ok(Ok(Said::CallBack(name, stream))) => return call_back(&shared, &link, name, stream).await,
        Ok(Err(ReadError::NotLong)) => return cut_off(from, &"it opened a stream of no kind", &shared),
        Ok(Err(ReadError::TooLong(error))) => return cut_off(from, &error, &shared),
        Ok(Err(ReadError::Io(error))) => {
            return tracing::debug!(peer = ?from, %error, "a long message did not arrive");
        }
        Err(_) => return tracing::debug!(peer = ?from, "a long message did not arrive in time"),
    };
    let Ok(room) = shared.events.reserve().await else { return };
    // Its link departs under the same lock, before `Disconnected` is told.
    let links = shared.links();
    if !link.is_muted() && links.newest(from).is_some_and(|newest| !newest.is_muted()) {
        room.send(match kind {
            Kind::Papers => NetworkEvent::Papers { from, body },
            Kind::Long | Kind::Control | Kind::Callback => {
                shared.counters.long_in.one();
                NetworkEvent::Frame { from, body }
            }
        });
    }
}

enum ReadError {
    NotLong,
    TooLong(FrameTooLong),
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What a stream of one direction had to say.
enum Said {
    Body(Kind, Vec<u8>),
    /// The stream is not at its end: what becomes of it is the answer.
    CallBack([u8; CALLBACK_BYTES], RecvStream),
}

async fn read(mut stream: RecvStream) -> Result<Said, ReadError> {
    let (kind, limit) = match Kind::of(&mut stream).await? {
        Some(kind @ Kind::Long) => (kind, MESSAGE_BYTES_MAX),
        Some(kind @ Kind::Papers) => (kind, PAPERS_BYTES_MAX),
        Some(Kind::Callback) => {
            let mut name = [0; CALLBACK_BYTES];
            stream.read_exact(&mut name).await.map_err(io::Error::other)?;
            return Ok(Said::CallBack(name, stream));
        }
        Some(Kind::Control) | None => return Err(ReadError::NotLong),
    };
    let announced = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(ReadError::TooLong(FrameTooLong { announced, limit }));
    }
    let mut body = vec![0; announced];
    stream.read_exact(&mut body).await.map_err(io::Error::other)?;
    Ok(Said::Body(kind, body))
}

/// Does a neighbour the favour, or stops its stream to say that it is none.
async fn call_back(shared: &Shared, link: &Link, name: [u8; CALLBACK_BYTES], mut stream: RecvStream) {
    // Through a relay there is no address to call.
    let called = match link.path {
        Path::Direct => shared.callbacks.call(&link.connection, name).await,
        Path::Relayed => Ok(false),
    };
    match called {
        Ok(true) => drop(stream.read_to_end(0).await),
        Ok(false) => drop(stream.stop(0_u32.into())),
        Err(error) => {
            tracing::debug!(%error, "a neighbour could not be called back");
            let _ = stream.stop(0_u32.into());
        }
    }
}

/// No honest peer does that.
fn cut_off(peer: PeerId, why: &dyn std::fmt::Display, shared: &Shared) {
    tracing::warn!(?peer, %why, "cutting off a neighbour");
    shared.counters.garbage.one();
    shared.links().of(peer).iter().for_each(|link| link.outbox.cut());
}
