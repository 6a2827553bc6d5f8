//! Taking blobs out: those a user removes, and those that are evicted.

use std::{fs, io};

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
        // Where it cannot be taken away it is still here, and nothing is forgotten of it.
        let path = self.path(id);
        if let Some(removed) = removed {
            self.take_away(removed).map_err(BlobError::io("remove", &path))?;
        }
        // One that could not be read at the start lies there all the same.
        let was_hidden = self.0.eraser.try_doom(&path).map_err(BlobError::io("remove", &path))?;
        index.remove(id);
        index.remove_part(id);
        drop(index);
        let was_aside = self.forget_aside(id);
        // What was said of it outlives it.
        let was_spoken_of = self.forget_manifests(id);
        if removed.is_none() && !was_aside && !was_hidden && !was_spoken_of {
            return Err(BlobError::NotFound { id });
        }
        if self.0.eraser.erase() {
            return Ok(());
        }
        let why = "nobody is given it any more, but the blocks of some removed file could not be overwritten: the log says why";
        Err(BlobError::io("erase", &path)(io::Error::other(why)))
    }

    /// Takes what was evicted out of reach at once; it is erased soon.
    pub(super) fn unlink(&self, evicted: &[Evicted]) {
        for evicted in evicted {
            match self.take_away(*evicted) {
                Ok(true) => {}
                Ok(false) => tracing::warn!(?evicted, "what was evicted is gone already"),
                Err(error) => {
                    tracing::warn!(?evicted, %error, "what was evicted cannot be removed: it is there at the next start")
                }
            }
        }
        if !evicted.is_empty() {
            self.0.eraser.erase_soon();
        }
    }

    /// Whether there was something; the error is the system's, and then it is where it was.
    fn take_away(&self, evicted: Evicted) -> io::Result<bool> {
        let (content, tree) = match evicted {
            Evicted::Blob(id) => (self.path(id), self.tree_path(id)),
            Evicted::Part(id) => partial::paths(self, id),
        };
        let mut was_there = self.0.eraser.try_doom(&content)?;
        if let Evicted::Blob(id) = evicted {
            was_there |= self.forget_clear(id);
        }
        // Not every blob has one.
        let _ = fs::remove_file(tree);
        Ok(was_there)
    }
}
