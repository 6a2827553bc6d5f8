//! Streams of their own for large data.
//!
//! **Not here:** what is said on it; that is `crate::blobs`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use quinn::{RecvStream, SendStream};
use shoal_protocol::PeerId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

/// Of a stream: frames of the control stream, at 0, leave before what is here.
const BEHIND_CONTROL: i32 = -1;

/// Bytes both ways between two members. Dropping it ends both directions; what was written before `shutdown` still
/// arrives.
pub struct BulkStream {
    peer: PeerId,
    send: SendStream,
    receive: RecvStream,
    /// A byte that was looked at, and not read yet.
    first: Option<u8>,
    _slot: OwnedSemaphorePermit,
}

impl BulkStream {
    pub(super) fn new(peer: PeerId, (send, receive): (SendStream, RecvStream), slot: OwnedSemaphorePermit) -> Self {
        // What was closed meanwhile sends nothing.
        let _ = send.set_priority(BEHIND_CONTROL);
        Self { peer, send, receive, first: None, _slot: slot }
    }

    /// The peer at the other end.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The byte that is read next, when it is there: what the stream is for is told by it. Nothing where the stream has ended.
    pub async fn first(&mut self) -> io::Result<Option<u8>> {
        if self.first.is_none() {
            let mut byte = [0];
            self.first = (AsyncReadExt::read(&mut self.receive, &mut byte).await? > 0).then_some(byte[0]);
        }
        Ok(self.first)
    }
}

impl fmt::Debug for BulkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl AsyncRead for BulkStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if into.remaining() > 0
            && let Some(first) = self.first.take()
        {
            into.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        AsyncRead::poll_read(Pin::new(&mut self.receive), context, into)
    }
}

impl AsyncWrite for BulkStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), context)
    }
}
