//! What members say to each other of their certificates, each on a stream of its own: seldom, short, and in no order.
//!
//! ```text
//! [kind of stream][u32 length, big endian][CBOR]   and the end of the stream
//! ```
//!
//! **Not here:** what it means, and how streams of this kind are taken in: `long.rs` sorts them.

use std::io;
use std::sync::Arc;

use shoal_protocol::PeerId;
use shoal_protocol::certificate::joining::PAPERS_BYTES_MAX;
use tokio::time::timeout;

use super::kinds::Kind;
use super::limits::STREAM_OPEN_TIMEOUT;
use super::links::Link;
use super::{Network, SendError, quic};

impl Network {
    /// Says something about certificates to a neighbour; returns when it has arrived there.
    pub async fn send_papers(&self, to: PeerId, body: &[u8]) -> Result<(), SendError> {
        if body.len() > PAPERS_BYTES_MAX {
            return Err(SendError::TooLarge(body.len()));
        }
        let link = self.shared.links().newest(to).filter(|link| link.outbox.is_open()).cloned();
        let link = link.ok_or(SendError::NotConnected(to))?;
        let written = timeout(STREAM_OPEN_TIMEOUT, write(&link, body)).await;
        match written.unwrap_or_else(|late| Err(late.into())) {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::debug!(peer = ?to, %error, "papers did not arrive");
                Err(SendError::NotConnected(to))
            }
        }
    }

    /// Shows this certificate in handshakes from now on; connections that are up go on.
    pub fn show(&self, certificate: &shoal_protocol::certificate::Chain) -> Result<(), super::NetworkError> {
        let shown: &Arc<quic::Shown> = &self.shown;
        shown.replace(certificate).map_err(|error| super::NetworkError::Transport(error.to_string()))
    }
}

async fn write(link: &Link, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let _slot = link.slots.long_out().await.ok_or(io::ErrorKind::NotConnected)?;
    let mut stream = Kind::Papers.open(&link.connection).await?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(body).await?;
    // It cannot have ended before: this is its only end.
    let _ = stream.finish();
    match stream.stopped().await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(io::ErrorKind::ConnectionRefused.into()),
        Err(error) => Err(io::Error::other(error)),
    }
}
