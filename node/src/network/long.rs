//! Messages too long for the control stream: each goes on a stream of its own, so that no frame waits behind it.
//!
//! ```text
//! [u32 length, big endian][message]   and the end of the stream
//! ```
//!
//! **Invariant:** a message is delivered whole, after `Connected` and before `Disconnected` of its peer, or not at all;
//! at most `LONG_MAX` are on their way to a peer, and `LONG_QUEUED_MAX` wait or are.
//! **Not here:** order and repetition. A frame that was sent later may arrive earlier, and a message whose stream broke
//! is gone: the protocol asks after what is not confirmed.

use std::io;
use std::sync::Arc;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use shoal_protocol::PeerId;
use shoal_protocol::config::MESSAGE_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use super::frame::FrameTooLong;
use super::handler::Beside;
use super::limits::{LONG_TIMEOUT, STREAM_OPEN_TIMEOUT};
use super::links::Link;
use super::swarm::Command;
use super::{NetworkEvent, Shared};

/// A message that has its place in the queue to a neighbour.
pub(super) struct Queued {
    pub(super) to: PeerId,
    pub(super) link: Arc<Link>,
    pub(super) place: OwnedSemaphorePermit,
    pub(super) body: Vec<u8>,
}

/// Sends it once its turn has come.
pub(super) async fn send(queued: Queued, commands: mpsc::Sender<Command>, shared: Arc<Shared>) {
    let Queued { to, link, place, body } = queued;
    let sent = tokio::select! {
        sent = timeout(LONG_TIMEOUT, write(to, &link, &body, commands)) => sent.unwrap_or_else(|late| Err(late.into())),
        () = link.gate.closed() => Err(io::ErrorKind::ConnectionReset.into()),
    };
    drop(place);
    match sent {
        Ok(()) => shared.counters.long_out.one(),
        Err(error) => tracing::debug!(peer = ?to, bytes = body.len(), %error, "a long message was not sent"),
    }
}

async fn write(to: PeerId, link: &Link, body: &[u8], commands: mpsc::Sender<Command>) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotConnected);
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let _slot = link.gate.long_out().await.ok_or_else(gone)?;
    let (reply, opened) = oneshot::channel();
    let order = Command::Open { peer: to, connection: link.connection, beside: Beside::Long, reply };
    commands.send(order).await.map_err(|_| gone())?;
    // The network closes when the last handle to it is gone, and a message that waits must not be one.
    drop(commands);
    let opened = timeout(STREAM_OPEN_TIMEOUT, opened).await?;
    let mut stream = opened.map_err(|_| gone())?.map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(body).await?;
    stream.close().await?;
    // Its end says that the message has arrived. A stream dropped before that is refused by a receiver that has not
    // confirmed its protocol yet.
    match stream.read(&mut [0]).await? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads one and hands it to the driver.
pub(super) async fn receive(stream: libp2p::Stream, slot: OwnedSemaphorePermit, from: PeerId, shared: Arc<Shared>) {
    let body = match timeout(LONG_TIMEOUT, read(stream)).await {
        Ok(Ok(body)) => body,
        Ok(Err(ReadError::TooLong(error))) => return cut_off(from, &error, &shared),
        Ok(Err(ReadError::Io(error))) => {
            return tracing::debug!(peer = ?from, %error, "a long message did not arrive");
        }
        Err(_) => return tracing::debug!(peer = ?from, "a long message did not arrive in time"),
    };
    let Ok(room) = shared.events.reserve().await else { return };
    // Its link departs under the same lock, before `Disconnected` is told.
    let links = shared.links();
    if links.newest(from).is_some_and(|link| !link.is_muted()) {
        shared.counters.long_in.one();
        room.send(NetworkEvent::Frame { from, body });
    }
    drop(slot);
}

enum ReadError {
    TooLong(FrameTooLong),
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn read(mut stream: libp2p::Stream) -> Result<Vec<u8>, ReadError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let announced = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if announced > MESSAGE_BYTES_MAX {
        return Err(ReadError::TooLong(FrameTooLong { announced, limit: MESSAGE_BYTES_MAX }));
    }
    let mut body = vec![0; announced];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// No honest peer announces more than the limit.
fn cut_off(peer: PeerId, error: &FrameTooLong, shared: &Shared) {
    tracing::warn!(?peer, %error, "cutting off a neighbour");
    shared.counters.garbage.one();
    shared.links().of(peer).iter().for_each(|link| link.outbox.cut());
}
