//! What an owner and a successor say to each other, each time on a bulk stream of its own.
//!
//! ```text
//! [0xFFFF][u32 length][CBOR Shipment]   and back   [u32 length][CBOR Receipt]
//! ```
//!
//! A request for a blob begins with its length, which is never 0xFFFF: a peer that knows no streams takes this for a request
//! that is too long, and refuses it.

use std::io;
use std::time::Duration;

use shoal_protocol::PeerId;
use shoal_protocol::cbor;
use shoal_protocol::stream::succession::{Receipt, SHIPMENT_BYTES_MAX, Shipment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

/// A shipment that has come, with its mark.
pub(super) async fn receive(stream: &mut BulkStream) -> Result<Shipment, ShipError> {
    let marked = async {
        let mut mark = [0; MARK.len()];
        stream.read_exact(&mut mark).await?;
        if mark != MARK {
            return Err(ShipError::Broken(io::Error::other("it does not begin like a shipment")));
        }
        read(stream, BODY_BYTES_MAX).await
    };
    let body = timeout(EXCHANGE_TIMEOUT, marked).await.map_err(|_| ShipError::Silent)??;
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
