//! Storing a blob: from memory, or piece by piece; and its file gets its place.

use std::fs;
use std::path::Path;

use shoal_protocol::id::BlobId;
use shoal_protocol::residency::Labels;

use super::{BlobError, BlobStore, BlobWriter, Stored};

impl BlobStore {
    /// Stores bytes that are in memory; storing them again only marks them as used.
    pub fn put(&self, bytes: &[u8]) -> Result<Stored, BlobError> {
        self.put_labelled(bytes, &Labels::default())
    }

    /// The same, with what is said of them: that is on disk before they are visible. What was said before holds as well.
    pub fn put_labelled(&self, bytes: &[u8], labels: &Labels) -> Result<Stored, BlobError> {
        let id = BlobId::of(bytes);
        let stored = Stored { id, bytes: bytes.len() as u64 };
        self.label(stored, labels)?;
        if self.touch(id) {
            return Ok(stored);
        }
        let mut writer = BlobWriter::of(self.clone(), stored)?;
        writer.write(bytes)?;
        writer.finish()
    }

    /// A blob to be written piece by piece; with `expected`, its room is taken at once and nothing else is accepted.
    pub fn writer(&self, expected: Option<(BlobId, u64)>) -> Result<BlobWriter, BlobError> {
        BlobWriter::new(self.clone(), expected)
    }

    fn touch(&self, id: BlobId) -> bool {
        self.index().touch(id)
    }

    /// A whole file gets its place. Something else may be there that nobody can read, or may read any more.
    pub(super) fn install(&self, id: BlobId, from: &Path, to: &Path) -> Result<(), BlobError> {
        if self.0.eraser.doom(to) | self.forget_clear(id) {
            self.0.eraser.erase_soon();
        }
        fs::rename(from, to).map_err(BlobError::io("write", to))
    }
}
