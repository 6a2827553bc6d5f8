//! Room within the quota: writers take it, blobs nobody uses make it, and a pin says that somebody uses one.
//!
//! **Not here:** which go first (`index.rs`), and what stays over restarts (`holds.rs`).

use shoal_protocol::id::BlobId;

use super::{BlobError, BlobStore};

/// A blob that cannot be evicted while this lives.
#[derive(Debug)]
pub struct Pin {
    store: BlobStore,
    id: BlobId,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.index().unpin(self.id);
    }
}

impl BlobStore {
    /// Bytes used and the quota.
    pub fn usage(&self) -> (u64, u64) {
        self.index().usage()
    }

    /// Keeps a blob from being evicted for as long as the pin lives.
    pub fn pin(&self, id: BlobId) -> Result<Pin, BlobError> {
        if !self.is_over(id) && self.index().pin(id) {
            Ok(Pin { store: self.clone(), id })
        } else {
            Err(BlobError::NotFound { id })
        }
    }

    /// Takes `bytes` of the quota for a writer; blobs nobody uses make room.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), BlobError> {
        let mut index = self.index();
        let evicted = index.make_room(bytes)?;
        index.reserve(bytes);
        // Under the lock, so that a blob written again meanwhile does not lose its new file.
        self.unlink(&evicted);
        drop(index);
        self.0.eraser.keep_up();
        Ok(())
    }

    pub(super) fn release(&self, bytes: u64) {
        self.index().release(bytes);
    }
}
