//! Taking blobs out: those a user removes, and those that are evicted.

use std::fs;

use shoal_protocol::id::BlobId;

use super::holds::Held;
use super::index::Evicted;
use super::{BlobError, BlobStore, partial};

impl BlobStore {
    /// Removes a blob, or what is here of one, that nothing holds. When this returns, nobody can read what its file was.
    /// Blocks for an fsync.
    pub fn remove(&self, id: BlobId) -> Result<(), BlobError> {
        let mut index = self.index();
        let held = index.held(id);
        let why = match held {
            Held { pinned: true, .. } => Some("it is pinned"),
            Held { leases: 1.., .. } => Some("it is the output of a task, left here for its home"),
            _ if index.is_in_use(id) => Some("a task or a reader needs it"),
            _ if index.is_part_taken(id) => Some("it is being fetched"),
            Held { .. } => None,
        };
        if let Some(why) = why {
            return Err(BlobError::InUse { id, why });
        }
        let removed = match (index.bytes_of(id), index.part_of(id)) {
            (Some(_), _) => Some(Evicted::Blob(id)),
            (None, Some(_)) => Some(Evicted::Part(id)),
            (None, None) => None,
        };
        index.remove(id);
        index.remove_part(id);
        self.unlink(removed.as_slice());
        // One that could not be read at the start lies there all the same.
        let was_hidden = self.0.eraser.doom(&self.path(id));
        drop(index);
        let was_aside = self.forget_aside(id);
        if removed.is_none() && !was_aside && !was_hidden {
            return Err(BlobError::NotFound { id });
        }
        self.forget_manifests(id);
        self.0.eraser.erase();
        Ok(())
    }

    /// Takes what was evicted out of reach at once; it is erased soon.
    pub(super) fn unlink(&self, evicted: &[Evicted]) {
        for evicted in evicted {
            let (content, tree, was_clear) = match *evicted {
                Evicted::Blob(id) => (self.path(id), self.tree_path(id), self.forget_clear(id)),
                Evicted::Part(id) => {
                    let (content, tree) = partial::paths(self, id);
                    (content, tree, false)
                }
            };
            if !(self.0.eraser.doom(&content) | was_clear) {
                tracing::warn!(path = %content.display(), "what was evicted is gone already");
            }
            // Not every blob has one.
            let _ = fs::remove_file(tree);
        }
        if !evicted.is_empty() {
            self.0.eraser.erase_soon();
        }
    }
}
