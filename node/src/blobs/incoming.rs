//! Blobs that are here in part: which there are, and who brings the rest.
//!
//! **Invariant:** nobody else brings a blob while somebody does.
//! **Not here:** what of it is here. That is `partial.rs`.

use std::fs;
use std::sync::{Arc, PoisonError};

use shoal_protocol::id::BlobId;

use super::index::Evicted;
use super::partial::{self, Partial, footprint};
use super::{BlobError, BlobStore};

impl BlobStore {
    /// The size of a blob of which a part is here.
    pub fn part_of(&self, id: BlobId) -> Option<u64> {
        self.index().part_of(id)
    }

    /// All blobs that are here in part, with their sizes when they are whole.
    pub fn parts(&self) -> Vec<(BlobId, u64)> {
        self.index().parts()
    }

    /// How much of a blob that is here in part is on disk; what its file takes, so about.
    pub fn part_bytes(&self, id: BlobId) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let (content, _) = partial::paths(self, id);
        fs::metadata(content).map_or(0, |metadata| (metadata.blocks() * 512).min(metadata.len()))
    }

    /// A blob in part that somebody brings or reads just now.
    pub(super) fn live(&self, id: BlobId) -> Option<Arc<Partial>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner).get(&id)?.upgrade()
    }

    pub(super) fn enliven(&self, partial: Partial) -> Arc<Partial> {
        let partial = Arc::new(partial);
        let mut live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, partial| partial.strong_count() > 0);
        live.insert(partial.id(), Arc::downgrade(&partial));
        partial
    }

    /// Takes room for a blob of which a part is to be here.
    pub(super) fn begin(&self, id: BlobId, bytes: u64) -> Result<(), BlobError> {
        {
            let mut index = self.index();
            if index.is_part_taken(id) {
                return Err(BlobError::Arriving { id });
            }
            if index.part_of(id).is_some() {
                index.remove_part(id);
                self.unlink(&[Evicted::Part(id)]);
            }
        }
        self.with_room(footprint(bytes), |index| {
            if index.is_part_taken(id) {
                return Err(BlobError::Arriving { id });
            }
            index.insert_part(id, bytes, true);
            Ok(())
        })
    }

    /// The size of a blob of which a part is here, for the one who brings the rest.
    pub(super) fn take_up(&self, id: BlobId) -> Result<Option<u64>, BlobError> {
        let mut index = self.index();
        if index.is_part_taken(id) { Err(BlobError::Arriving { id }) } else { Ok(index.take_part(id)) }
    }

    /// Nobody brings the rest of it any more.
    pub(super) fn lay_down(&self, id: BlobId) {
        let mut index = self.index();
        let surplus = index.lay_down_part(id);
        self.unlink(&surplus);
    }

    /// What is here of it is of no use.
    pub(super) fn discard(&self, id: BlobId) {
        let mut index = self.index();
        index.remove_part(id);
        self.unlink(&[Evicted::Part(id)]);
    }
}
