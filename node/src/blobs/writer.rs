//! Writing a blob piece by piece.
//!
//! **Invariant:** nothing is visible under its name before size and hash are known to be right; a writer that is dropped
//! leaves neither a file nor a reservation.

use std::io::Write;

use shoal_protocol::id::BlobId;
use shoal_protocol::residency::Labels;
use tempfile::NamedTempFile;

use super::partial::footprint;
use super::{BlobError, BlobStore, Stored, fingerprint};

/// Quota taken at a time when the size is not known beforehand.
const RESERVE_STEP_BYTES: u64 = 1024 * 1024;

/// A blob that is being written.
#[derive(Debug)]
pub struct BlobWriter {
    store: BlobStore,
    file: NamedTempFile,
    hasher: blake3::Hasher,
    expected: Option<(BlobId, u64)>,
    written: u64,
    reserved: u64,
}

impl BlobWriter {
    pub(super) fn new(store: BlobStore, expected: Option<(BlobId, u64)>) -> Result<Self, BlobError> {
        let partial = &store.0.partial;
        let file = NamedTempFile::new_in(partial).map_err(BlobError::io("create a file in", partial))?;
        let reserved = expected.map_or(0, |(_, bytes)| footprint(bytes));
        store.reserve(reserved)?;
        Ok(Self { store, file, hasher: blake3::Hasher::new(), expected, written: 0, reserved })
    }

    /// Bytes written so far: where a broken transfer goes on.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Appends bytes; refused before the disk is touched when they are more than announced or than there is room for.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let written = self.written + bytes.len() as u64;
        match self.expected {
            Some((_, expected)) if written > expected => {
                return Err(BlobError::WrongSize { expected, found: written });
            }
            Some(_) => {}
            None => {
                let missing = written.saturating_sub(self.reserved);
                if missing > 0 {
                    self.reserved += self.reserve_at_least(missing)?;
                }
            }
        }
        self.file.write_all(bytes).map_err(BlobError::io("write to", self.file.path()))?;
        self.hasher.update(bytes);
        self.written = written;
        Ok(())
    }

    /// Takes a whole step where there is room for one, and what is needed otherwise.
    fn reserve_at_least(&self, bytes: u64) -> Result<u64, BlobError> {
        let step = RESERVE_STEP_BYTES.max(bytes);
        if self.store.reserve(step).is_ok() {
            return Ok(step);
        }
        self.store.reserve(bytes)?;
        Ok(bytes)
    }

    /// Checks size and hash and makes the blob visible. It may be lost in a power cut: what can be had again.
    pub fn finish(self) -> Result<Stored, BlobError> {
        self.commit(false, &Labels::default())
    }

    /// As [`Self::finish`], with what is said of the blob, which is on disk before it is visible.
    pub fn finish_labelled(self, labels: &Labels) -> Result<Stored, BlobError> {
        self.commit(false, labels)
    }

    /// As [`Self::finish`], and the blob is on disk when this returns.
    pub fn finish_durable(self) -> Result<Stored, BlobError> {
        self.commit(true, &Labels::default())
    }

    fn commit(mut self, durable: bool, labels: &Labels) -> Result<Stored, BlobError> {
        let stored = Stored { id: BlobId(*self.hasher.finalize().as_bytes()), bytes: self.written };
        if let Some((id, bytes)) = self.expected {
            if stored.bytes != bytes {
                return Err(BlobError::WrongSize { expected: bytes, found: stored.bytes });
            }
            if stored.id != id {
                return Err(BlobError::WrongContent { expected: id, found: stored.id });
            }
        }
        self.store.label(stored, labels)?;
        let missing = footprint(stored.bytes).saturating_sub(self.reserved);
        self.store.reserve(missing)?;
        self.reserved += missing;
        let path = self.store.path(stored.id);
        if durable {
            self.file.as_file().sync_all().map_err(BlobError::io("sync", self.file.path()))?;
        }
        let fingerprint = fingerprint(self.file.as_file()).map_err(BlobError::io("examine", self.file.path()))?;
        {
            let mut index = self.store.index();
            // Renaming keeps the old inode for whoever reads it; the content is the same.
            std::fs::rename(self.file.path(), &path).map_err(BlobError::io("write", &path))?;
            self.file.disable_cleanup(true);
            index.insert(stored.id, stored.bytes, Some(fingerprint));
            index.set_verified(stored.id, fingerprint);
            index.release(self.reserved);
            self.reserved = 0;
        }
        if durable {
            let objects = &self.store.0.objects;
            let synced = std::fs::File::open(objects).and_then(|dir| dir.sync_all());
            synced.map_err(BlobError::io("sync", objects))?;
        }
        Ok(stored)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        self.store.release(self.reserved);
    }
}
