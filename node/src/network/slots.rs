//! How many streams beside the control stream a neighbour may have open, and we to it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{BULK_IN_MAX, BULK_OUT_MAX, LONG_MAX, LONG_QUEUED_BYTES_MAX};

#[derive(Debug)]
pub(super) struct Slots {
    bulk_in: Arc<Semaphore>,
    bulk_out: Arc<Semaphore>,
    long_out: Arc<Semaphore>,
    /// Bytes.
    long_queued: Arc<Semaphore>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            bulk_in: Arc::new(Semaphore::new(BULK_IN_MAX)),
            bulk_out: Arc::new(Semaphore::new(BULK_OUT_MAX)),
            long_out: Arc::new(Semaphore::new(LONG_MAX)),
            long_queued: Arc::new(Semaphore::new(LONG_QUEUED_BYTES_MAX)),
        }
    }
}

impl Slots {
    /// A slot for a stream the peer has opened; none when it has too many.
    pub(super) fn try_bulk_in(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.bulk_in).try_acquire_owned().ok()
    }

    /// Waits for a slot for a stream to the peer.
    pub(super) async fn bulk_out(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.bulk_out).acquire_owned().await.ok()
    }

    /// Waits for a slot for a long message to the peer.
    pub(super) async fn long_out(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.long_out).acquire_owned().await.ok()
    }

    /// Room for so many bytes in the queue of long messages to the peer; none when it is full.
    pub(super) fn try_long_queued(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.long_queued).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }

    /// Waits until no bulk stream is open either way.
    pub(super) async fn bulk_idle(&self) {
        all_free(&self.bulk_in, BULK_IN_MAX).await;
        all_free(&self.bulk_out, BULK_OUT_MAX).await;
    }

    /// Waits until every long message to the peer has been sent.
    pub(super) async fn long_sent(&self) {
        all_free(&self.long_queued, LONG_QUEUED_BYTES_MAX).await;
    }
}

async fn all_free(slots: &Semaphore, all: usize) {
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    let _ = slots.acquire_many(all).await;
}
