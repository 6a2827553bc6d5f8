//! A connection as libp2p sees it: the bidirectional streams that are not ours, and the other side's address.
//!
//! **Not here:** our own streams of one direction. libp2p knows nothing of those.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{AsyncRead, AsyncWrite, FutureExt, StreamExt};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use quinn::{ConnectionError, RecvStream, SendStream};
use tokio::sync::mpsc;

use super::address;
use super::error::QuicError;

/// The first byte of a stream for bulk. One of libp2p's begins with the length of its protocol's name, 19.
const BULK: u8 = 0xB1;
/// Streams whose first byte has not come.
const UNSORTED_MAX: usize = 8;

type Pair = (SendStream, RecvStream);
type Opening = BoxFuture<'static, Result<Pair, ConnectionError>>;

/// Opens a stream for bulk.
pub(in crate::network) async fn open_bulk(connection: &quinn::Connection) -> io::Result<Pair> {
    let (mut send, receive) = connection.open_bi().await?;
    send.write_all(&[BULK]).await?;
    Ok((send, receive))
}

/// One connection with a member. Dropping it closes the connection.
pub(in crate::network) struct Muxer {
    connection: quinn::Connection,
    /// Where the other side was when last looked.
    remote: SocketAddr,
    inbound: Option<Opening>,
    /// Streams that came, until it is known for whom they are.
    unsorted: FuturesUnordered<BoxFuture<'static, Option<(u8, Pair)>>>,
    /// Takes those that are not libp2p's.
    bulk: mpsc::Sender<Pair>,
    outbound: Option<Opening>,
    closing: Option<BoxFuture<'static, ConnectionError>>,
}

impl Muxer {
    pub(super) fn new(connection: quinn::Connection, bulk: mpsc::Sender<Pair>) -> Self {
        let remote = connection.remote_address();
        let unsorted = FuturesUnordered::new();
        Self { connection, remote, inbound: None, unsorted, bulk, outbound: None, closing: None }
    }

    pub(super) fn connection(&self) -> quinn::Connection {
        self.connection.clone()
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Result<Pair, ConnectionError>> {
        let connection = &self.connection;
        let opening = self.inbound.get_or_insert_with(|| {
            let connection = connection.clone();
            async move { connection.accept_bi().await }.boxed()
        });
        let opened = ready!(opening.poll_unpin(context));
        self.inbound = None;
        Poll::Ready(opened)
    }
}

/// Waits for the first byte of a stream; none when nothing comes any more.
async fn sort((send, mut receive): Pair) -> Option<(u8, Pair)> {
    let mut first = [0];
    receive.read_exact(&mut first).await.ok()?;
    let [first] = first;
    Some((first, (send, receive)))
}

impl Drop for Muxer {
    fn drop(&mut self) {
        self.connection.close(0_u32.into(), &[]);
    }
}

impl StreamMuxer for Muxer {
    type Substream = Stream;
    type Error = QuicError;

    fn poll_inbound(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Stream, QuicError>> {
        loop {
            if self.unsorted.len() < UNSORTED_MAX
                && let Poll::Ready(opened) = self.poll_accept(context)
            {
                self.unsorted.push(sort(opened?).boxed());
                continue;
            }
            match self.unsorted.poll_next_unpin(context) {
                // Whoever opens more of them than it may loses them.
                Poll::Ready(Some(Some((BULK, pair)))) => drop(self.bulk.try_send(pair)),
                Poll::Ready(Some(Some((first, pair)))) => return Poll::Ready(Ok(Stream::new(pair, Some(first)))),
                Poll::Ready(Some(None)) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_outbound(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Stream, QuicError>> {
        let connection = self.connection.clone();
        let opening = self.outbound.get_or_insert_with(|| async move { connection.open_bi().await }.boxed());
        let opened = ready!(opening.poll_unpin(context));
        self.outbound = None;
        Poll::Ready(Ok(Stream::new(opened?, None)))
    }

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, QuicError>> {
        // Whenever something happens on the connection libp2p asks; a move to another address comes with datagrams.
        let remote = self.connection.remote_address();
        if std::mem::replace(&mut self.remote, remote) == remote {
            return Poll::Pending;
        }
        Poll::Ready(Ok(StreamMuxerEvent::AddressChange(address::format(remote))))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), QuicError>> {
        let connection = self.connection.clone();
        let closing = self.closing.get_or_insert_with(|| {
            connection.close(0_u32.into(), &[]);
            async move { connection.closed().await }.boxed()
        });
        match ready!(closing.poll_unpin(context)) {
            ConnectionError::LocallyClosed => Poll::Ready(Ok(())),
            error => Poll::Ready(Err(error.into())),
        }
    }
}

/// One bidirectional stream of libp2p's.
pub(in crate::network) struct Stream {
    send: SendStream,
    receive: RecvStream,
    /// Read already, to know whose stream it is.
    first: Option<u8>,
    /// How closing ended: it may be asked for again.
    closed: Option<Result<(), io::ErrorKind>>,
}

impl Stream {
    fn new((send, receive): Pair, first: Option<u8>) -> Self {
        Self { send, receive, first, closed: None }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if let (Some(first), Some(place)) = (self.first, into.first_mut()) {
            *place = first;
            self.first = None;
            return Poll::Ready(Ok(1));
        }
        AsyncRead::poll_read(Pin::new(&mut self.receive), context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(closed) = self.closed {
            return Poll::Ready(closed.map_err(Into::into));
        }
        let closed = ready!(AsyncWrite::poll_close(Pin::new(&mut self.send), context));
        self.closed = Some(closed.as_ref().copied().map_err(io::Error::kind));
        Poll::Ready(closed)
    }
}
