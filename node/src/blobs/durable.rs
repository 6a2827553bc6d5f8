//! Blobs that are known to survive a power cut.

use std::fs::File;

use shoal_protocol::id::BlobId;

use super::{BlobError, BlobStore};

impl BlobStore {
    /// Whether a blob is known to survive a power cut.
    pub fn is_durable(&self, id: BlobId) -> bool {
        self.index().is_durable(id)
    }

    /// Makes sure that blobs that are here survive a power cut; blocks for an fsync unless that was done before.
    pub fn make_durable(&self, ids: &[BlobId]) -> Result<(), BlobError> {
        let mut is_new = false;
        for id in ids {
            let _pin = self.pin(*id)?;
            if self.index().is_durable(*id) {
                continue;
            }
            // Of one that lay here at the start nobody knows whether all of it reached the disk before the power failed: it is read.
            let content = self.open_read(*id)?;
            if let Err(error) = content.sync_all() {
                // The system's memory may claim it all the same, and calls it synced from now on: it has to be stored anew.
                drop(self.put_aside(*id));
                return Err(BlobError::io("sync", &self.path(*id))(error));
            }
            is_new = true;
        }
        if is_new {
            let objects = &self.0.objects;
            File::open(objects).and_then(|dir| dir.sync_all()).map_err(BlobError::io("sync", objects))?;
            let mut index = self.index();
            ids.iter().for_each(|id| index.set_durable(*id));
        }
        Ok(())
    }
}
