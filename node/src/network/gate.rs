//! What the handlers of one connection and its link share: whether the peer has been admitted, and the slots of its
//! bulk streams and long messages.
//!
//! **Invariant:** it opens at most once, and only `link.rs` opens it, after a good verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::limits::{BULK_IN_MAX, BULK_OUT_MAX, LONG_MAX, LONG_QUEUED_MAX};

#[derive(Debug)]
pub(super) struct Gate {
    open: AtomicBool,
    /// All handlers of a connection are polled by one task, so one waker wakes them all.
    connection: AtomicWaker,
    closed: CancellationToken,
    bulk_in: Arc<Semaphore>,
    bulk_out: Arc<Semaphore>,
    long_in: Arc<Semaphore>,
    long_out: Arc<Semaphore>,
    long_queued: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            open: AtomicBool::new(false),
            connection: AtomicWaker::new(),
            closed: CancellationToken::new(),
            bulk_in: Arc::new(Semaphore::new(BULK_IN_MAX)),
            bulk_out: Arc::new(Semaphore::new(BULK_OUT_MAX)),
            // The same slack as for bulk: its sender may be done with one before we are.
            long_in: Arc::new(Semaphore::new(2 * LONG_MAX)),
            long_out: Arc::new(Semaphore::new(LONG_MAX)),
            long_queued: Arc::new(Semaphore::new(LONG_QUEUED_MAX)),
        }
    }

    /// The peer has been admitted.
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.connection.wake();
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// As [`Gate::is_open`], and the connection's task is woken when it opens.
    pub(super) fn poll_open(&self, context: &Context<'_>) -> bool {
        if self.is_open() {
            return true;
        }
        self.connection.register(context.waker());
        self.is_open()
    }

    /// The connection is gone.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// A slot for a stream the peer has opened; none when it has too many.
    pub(super) fn try_bulk_in(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.bulk_in).try_acquire_owned().ok()
    }

    /// Waits for a slot for a stream to the peer.
    pub(super) async fn bulk_out(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.bulk_out).acquire_owned().await.ok()
    }

    /// A slot for a long message from the peer; none when too many are on their way.
    pub(super) fn try_long_in(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.long_in).try_acquire_owned().ok()
    }

    /// Waits for a slot for a long message to the peer.
    pub(super) async fn long_out(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.long_out).acquire_owned().await.ok()
    }

    /// A place in the queue of long messages to the peer; none when it is full.
    pub(super) fn try_long_queued(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.long_queued).try_acquire_owned().ok()
    }

    /// Waits until no bulk stream is open either way.
    pub(super) async fn bulk_idle(&self) {
        all_free(&self.bulk_in, BULK_IN_MAX).await;
        all_free(&self.bulk_out, BULK_OUT_MAX).await;
    }

    /// Waits until every long message to the peer has been sent.
    pub(super) async fn long_sent(&self) {
        all_free(&self.long_queued, LONG_QUEUED_MAX).await;
    }
}

async fn all_free(slots: &Semaphore, all: usize) {
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    let _ = slots.acquire_many(all).await;
}
