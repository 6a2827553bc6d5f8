//! A fresh stream beside the control stream, for data that must not delay control frames.
//!
//! **Not here:** what is said on it; that is `crate::blobs`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncRead as _, AsyncWrite as _};
use shoal_protocol::PeerId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes both ways between two admitted peers. Dropping it ends both directions; what was written before
/// `shutdown` still arrives.
pub struct BulkStream {
    peer: PeerId,
    stream: libp2p::Stream,
    _slot: OwnedSemaphorePermit,
}

impl BulkStream {
    pub(super) fn new(peer: PeerId, stream: libp2p::Stream, slot: OwnedSemaphorePermit) -> Self {
        Self { peer, stream, _slot: slot }
    }

    /// The peer at the other end.
    pub fn peer(&self) -> PeerId {
        self.peer
    }
}

impl fmt::Debug for BulkStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl AsyncRead for BulkStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = futures::ready!(Pin::new(&mut self.stream).poll_read(context, into.initialize_unfilled()))?;
        into.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BulkStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
