//! Room within the quota: writers take it, blobs nobody uses make it, and a pin says that somebody uses one.
//!
//! **Not here:** which go first (`index.rs`), and what stays over restarts (`holds.rs`).

use shoal_protocol::id::BlobId;

use super::index::Index;
use super::{BlobError, BlobStore};

/// Blobs that make room in one go: whoever wants to know of a blob meanwhile waits for as many renames, also the loop of the
/// daemon.
const EVICTED_AT_ONCE: usize = 64;

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
        self.with_room(bytes, |index| {
            index.reserve(bytes);
            Ok(())
        })
    }

    /// Does what takes `bytes` of the quota once there is room for them; blobs nobody uses make it. Where it turns out that there
    /// is none all of them stay, but for those that had gone when somebody came to need one of the rest.
    pub(super) fn with_room<T>(
        &self,
        bytes: u64,
        take: impl FnOnce(&mut Index) -> Result<T, BlobError>,
    ) -> Result<T, BlobError> {
        self.index().can_fit(bytes)?;
        loop {
            let mut index = self.index();
            let (evicted, fits) = index.evict(bytes, EVICTED_AT_ONCE);
            // Under the lock, so that a blob written again meanwhile does not lose its new file.
            self.unlink(&evicted);
            if evicted.is_empty() {
                index.can_fit(bytes)?;
            }
            if fits {
                let taken = take(&mut index);
                drop(index);
                self.0.eraser.keep_up();
                return taken;
            }
            drop(index);
            self.0.eraser.keep_up();
        }
    }

    pub(super) fn release(&self, bytes: u64) {
        self.index().release(bytes);
    }
}
