//! What members say to each other of their certificates, each on a stream of its own: seldom, short, and in no order.
//!
//! ```text
//! [kind of stream][u32 length, big endian][CBOR]   and the end of the stream
//! ```
//!
//! **Not here:** what it means, and how streams of this kind are taken in: `long.rs` sorts them.

use std::sync::Arc;

use shoal_protocol::PeerId;
use shoal_protocol::certificate::joining::PAPERS_BYTES_MAX;
use tokio::time::timeout;

use super::kinds::Kind;
use super::limits::STREAM_OPEN_TIMEOUT;
use super::{Network, SendError, long, quic};

impl Network {
    /// Says something about certificates to a neighbour; returns when it has arrived there.
    pub async fn send_papers(&self, to: PeerId, body: &[u8]) -> Result<(), SendError> {
        if body.len() > PAPERS_BYTES_MAX {
            return Err(SendError::TooLarge(body.len()));
        }
        let link = self.shared.links().newest(to).filter(|link| link.outbox.is_open()).cloned();
        let link = link.ok_or(SendError::NotConnected(to))?;
        let written = timeout(STREAM_OPEN_TIMEOUT, long::write(Kind::Papers, &link, body)).await;
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
