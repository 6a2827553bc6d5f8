//! What a stream that a neighbour has opened is for, by its first byte.

use std::time::Duration;

use shoal_protocol::privacy::words::OPENING;
use tokio::time::timeout;

use crate::network::BulkStream;
use crate::streams::shipping::MARK;

/// Time to say anything at all.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Blobs; also where nothing is said: their server has a patience of its own.
    Blobs,
    /// A statistic.
    Question,
    /// To hand over a shipment of a stream of records.
    Shipment,
}

/// Looks at the first byte, which stays to be read.
pub(super) async fn purpose(stream: &mut BulkStream) -> Purpose {
    match timeout(OPENING_TIMEOUT, stream.first()).await {
        Ok(Ok(Some(first))) if first == OPENING[0] => Purpose::Question,
        Ok(Ok(Some(first))) if first == MARK[0] => Purpose::Shipment,
        _ => Purpose::Blobs,
    }
}
