//! What an owner and a successor say to each other, each time on a bulk stream of its own.
//!
//! ```text
//! [0xFFFF][u32 length][CBOR Shipment]   and back   [u32 length][CBOR Receipt]
//! ```
//!
//! A request for a blob begins with its length, which is never 0xFFFF: a peer that knows no streams takes this for a request
//! that is too long, and refuses it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use shoal_protocol::PeerId;
use shoal_protocol::cbor;
use shoal_protocol::stream::succession::{Receipt, SHIPMENT_BYTES_MAX, Shipment};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::network::{BulkError, BulkStream, Network};

/// The first two bytes.
pub(crate) const MARK: [u8; 2] = [0xff, 0xff];
/// All of an exchange: a shipment, two fsyncs.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// A single change may be larger than a shipment should be: a batch with one large record.
const BODY_BYTES_MAX: u32 = 4 * SHIPMENT_BYTES_MAX as u32;
const RECEIPT_BYTES_MAX: u32 = 4_096;

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShipError {
    #[error(transparent)]
    Network(#[from] BulkError),
    #[error("it broke off: {0}")]
    Broken(#[from] io::Error),
    #[error("it does not answer")]
    Silent,
    #[error("it does not know of streams")]
    Unknown,
    #[error("a shipment has {0} bytes")]
    TooLarge(usize),
}

/// Sends a shipment and waits for its receipt.
pub(super) async fn ship(network: &Network, to: PeerId, shipment: &Shipment) -> Result<Receipt, ShipError> {
    let body = cbor::encode(shipment);
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= BODY_BYTES_MAX);
    let length = length.ok_or(ShipError::TooLarge(body.len()))?;
    let exchange = async {
        let mut stream = network.open_bulk(to).await?;
        stream.write_all(&MARK).await?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&body).await?;
        stream.flush().await?;
        let receipt = read(&mut stream, RECEIPT_BYTES_MAX).await?;
        cbor::decode(&receipt).map_err(|_| ShipError::Unknown)
    };
    timeout(EXCHANGE_TIMEOUT, exchange).await.unwrap_or(Err(ShipError::Silent))
}

/// A shipment that has come, after its mark.
pub(super) async fn receive(stream: &mut BulkStream) -> Result<Shipment, ShipError> {
    let body = timeout(EXCHANGE_TIMEOUT, read(stream, BODY_BYTES_MAX)).await.map_err(|_| ShipError::Silent)??;
    cbor::decode(&body).map_err(|error| ShipError::Broken(io::Error::other(error.to_string())))
}

/// Answers it.
pub(super) async fn answer(stream: &mut BulkStream, receipt: &Receipt) -> io::Result<()> {
    let body = cbor::encode(receipt);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&body).await?;
    stream.shutdown().await
}

async fn read(stream: &mut BulkStream, limit: u32) -> Result<Vec<u8>, ShipError> {
    let length = stream.read_u32().await?;
    if length > limit {
        // What answers so is the answer to another question.
        return Err(ShipError::Unknown);
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// A stream whose first two bytes have been looked at.
#[derive(Debug)]
pub(crate) struct Looked<S> {
    first: [u8; 2],
    given: usize,
    rest: S,
}

impl<S> Looked<S> {
    pub(crate) fn new(first: [u8; 2], rest: S) -> Self {
        Self { first, given: 0, rest }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Looked<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given < self.first.len() {
            let left = &self.first[self.given..];
            let count = left.len().min(into.remaining());
            into.put_slice(&left[..count]);
            self.given += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.rest).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Looked<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_looked_at_is_read_first_however_little_is_asked_for() {
        let mut looked = Looked::new([1, 2], std::io::Cursor::new(vec![3, 4]));
        let mut one = [0; 1];
        looked.read_exact(&mut one).await.unwrap();
        let mut rest = Vec::new();
        looked.read_to_end(&mut rest).await.unwrap();

        assert_eq!((one, rest), ([1], vec![2, 3, 4]));
    }
}
