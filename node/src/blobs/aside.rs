//! Blobs whose files turn out to be gone, or to hold something else: nobody reads them any more.

use std::fs;
use std::io;

use shoal_protocol::id::BlobId;

use super::{BlobError, BlobStore, found, upgrade};

/// Corrupt files kept for whoever wants to look at them; the oldest go.
pub(super) const SET_ASIDE_MAX: usize = 4;

impl BlobStore {
    /// A file that vanished or cannot be read is no longer held; the error says which.
    pub(super) fn reading_failed(&self, id: BlobId, error: io::Error) -> BlobError {
        if error.kind() == io::ErrorKind::NotFound {
            self.index().remove(id);
            return BlobError::NotFound { id };
        }
        BlobError::io("read", &self.path(id))(error)
    }

    /// Moves a corrupt blob out of reach.
    pub(super) fn put_aside(&self, id: BlobId) -> BlobError {
        let mut index = self.index();
        index.remove(id);
        let name = self.0.keys.name(id);
        let (from, to) = match self.is_clear(id) {
            true => (self.clear_path(id), self.0.set_aside.join(upgrade::clear_name(id))),
            false => (self.path(id), self.0.set_aside.join(&name)),
        };
        let _ = fs::remove_file(self.tree_path(id));
        // It may not be the first time.
        if self.forget_aside(id) {
            self.0.eraser.erase_soon();
        }
        if let Err(error) = fs::rename(from, &to) {
            tracing::warn!(blob = %id, %error, "cannot set a corrupt blob aside");
        }
        self.no_longer_clear(id);
        drop(index);
        found::keep_newest(&self.0.set_aside, SET_ASIDE_MAX, &self.0.eraser);
        tracing::warn!(blob = %id, path = %to.display(), "a blob does not match its name and was set aside");
        BlobError::Corrupt { id, set_aside: to }
    }

    /// Erases what was set aside of a blob; whether there was something.
    pub(super) fn forget_aside(&self, id: BlobId) -> bool {
        self.0.eraser.doom(&self.0.set_aside.join(self.0.keys.name(id)))
    }
}
