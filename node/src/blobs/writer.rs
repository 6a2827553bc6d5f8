//! Writing a blob piece by piece.
//!
//! **Invariant:** nothing is visible under its name before size and hash are known to be right; a writer that is dropped
//! leaves neither a file nor a reservation, nor, in the blocks that it had, a key to what was written.

use shoal_protocol::id::BlobId;
use shoal_protocol::residency::Labels;
use tempfile::{NamedTempFile, TempPath};

use super::partial::footprint;
use super::seal::Content;
use super::{BlobError, BlobStore, Stored, fingerprint};

/// Quota taken at a time when the size is not known beforehand.
const RESERVE_STEP_BYTES: u64 = 1024 * 1024;
/// What is hashed by a thread while it is sealed and written by another: that takes about as long.
const BESIDE_BYTES: usize = 512 * 1024;

/// A blob that is being written.
#[derive(Debug)]
pub struct BlobWriter {
    store: BlobStore,
    content: Content,
    path: TempPath,
    /// None where the content was hashed before.
    hasher: Option<blake3::Hasher>,
    expected: Option<(BlobId, u64)>,
    /// The end of what was written: less than [`BESIDE_BYTES`] that are not in the file yet.
    pending: Vec<u8>,
    in_file: u64,
    reserved: u64,
}

impl BlobWriter {
    pub(super) fn new(store: BlobStore, expected: Option<(BlobId, u64)>) -> Result<Self, BlobError> {
        let partial = &store.0.partial;
        let failed = || BlobError::io("create a file in", partial);
        let (file, path) = NamedTempFile::new_in(partial).map_err(failed())?.into_parts();
        let content = Content::begin(&store.0.keys, file).map_err(failed())?;
        let reserved = expected.map_or(0, |(_, bytes)| footprint(bytes));
        store.reserve(reserved)?;
        let (hasher, pending) = (Some(blake3::Hasher::new()), Vec::new());
        Ok(Self { store, content, path, hasher, expected, pending, in_file: 0, reserved })
    }

    /// The same, for bytes that were hashed.
    pub(super) fn of(store: BlobStore, hashed: Stored) -> Result<Self, BlobError> {
        let mut writer = Self::new(store, Some((hashed.id, hashed.bytes)))?;
        writer.hasher = None;
        Ok(writer)
    }

    /// Bytes written so far: where a broken transfer goes on.
    pub fn written(&self) -> u64 {
        self.in_file + self.pending.len() as u64
    }

    /// Appends bytes; refused before the disk is touched when they are more than announced or than there is room for.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), BlobError> {
        let written = self.written() + bytes.len() as u64;
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
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BESIDE_BYTES - self.pending.len()));
            bytes = later;
            if now.len() == BESIDE_BYTES {
                self.put(now)?;
                continue;
            }
            self.pending.extend_from_slice(now);
            if self.pending.len() == BESIDE_BYTES {
                self.put_pending()?;
            }
        }
        Ok(())
    }

    fn put_pending(&mut self) -> Result<(), BlobError> {
        let mut pending = std::mem::take(&mut self.pending);
        self.put(&pending)?;
        pending.clear();
        self.pending = pending;
        Ok(())
    }

    /// Hashes bytes, and has them in the file.
    fn put(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let (content, hasher, at) = (&self.content, &mut self.hasher, self.in_file);
        let hash = |hasher: &mut Option<blake3::Hasher>| {
            if let Some(hasher) = hasher {
                hasher.update(bytes);
            }
        };
        let (written, is_hashed) = std::thread::scope(|scope| {
            let is_long = bytes.len() >= BESIDE_BYTES && hasher.is_some();
            let hashing = is_long.then(|| std::thread::Builder::new().spawn_scoped(scope, || hash(hasher)));
            (content.sealed().write_at(at, bytes), hashing.is_some_and(|begun| begun.is_ok()))
        });
        if !is_hashed {
            hash(&mut self.hasher);
        }
        written.map_err(BlobError::io("write to", &self.path))?;
        self.in_file += bytes.len() as u64;
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
        self.put_pending()?;
        let known = self.expected.map(|(id, _)| id).unwrap_or(BlobId([0; 32]));
        let id = self.hasher.as_ref().map_or(known, |hasher| BlobId(*hasher.finalize().as_bytes()));
        let stored = Stored { id, bytes: self.in_file };
        if let Some((id, bytes)) = self.expected {
            if stored.bytes != bytes {
                return Err(BlobError::WrongSize { expected: bytes, found: stored.bytes });
            }
            if stored.id != id {
                return Err(BlobError::WrongContent { expected: id, found: stored.id });
            }
        }
        self.store.label(stored, labels)?;
        if self.store.is_readable(stored.id)? {
            // The same content once more would be under another key, and the one before would have to be erased.
            if durable {
                self.store.make_durable(&[stored.id])?;
            }
            return Ok(stored);
        }
        let missing = footprint(stored.bytes).saturating_sub(self.reserved);
        self.store.reserve(missing)?;
        self.reserved += missing;
        let path = self.store.path(stored.id);
        let completed = self.content.complete(&self.store.0.keys, stored.id, stored.bytes);
        completed.map_err(BlobError::io("write to", &self.path))?;
        if durable {
            self.content.file().sync_all().map_err(BlobError::io("sync", &self.path))?;
        }
        let fingerprint = fingerprint(self.content.file()).map_err(BlobError::io("examine", &self.path))?;
        {
            let mut index = self.store.index();
            if index.bytes_of(stored.id).is_some() {
                // Somebody else was faster, and others may count on what is there by now.
                drop(index);
                if durable {
                    self.store.make_durable(&[stored.id])?;
                }
                return Ok(stored);
            }
            self.store.install(stored.id, &self.path, &path)?;
            self.path.disable_cleanup(true);
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
