//! Blobs on disk: bytes named by their BLAKE3 hash, within a quota, the least recently used going first.
//!
//! ```text
//! writer ─► temporary file ─► hash and size agree ─► renamed into place ─► read, served, evicted
//!                └── torn, short, wrong or no room: gone, nothing is left behind
//! ```
//!
//! **Invariant:** a name that can be looked up stands for a file that was complete when it got its name; bytes that no
//! longer hash to their name are set aside and never handed out.
//! **Not here:** who may have a blob (policy, in the protocol) and the network (`transfer.rs` takes any stream).

mod error;
mod index;
mod transfer;
mod writer;

#[cfg(test)]
mod tests;

pub use error::BlobError;
pub use transfer::{BlobServer, Download, ServeLimits, TransferError, fetch};
pub use writer::BlobWriter;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use shoal_protocol::id::BlobId;

use index::{Fingerprint, Index};

/// Corrupt files kept for whoever wants to look at them; the oldest go.
const SET_ASIDE_MAX: usize = 4;
/// Unit of reading and hashing.
const CHUNK_BYTES: usize = 128 * 1024;

/// What a blob is called and how large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The hash of its content.
    pub id: BlobId,
    /// Its size.
    pub bytes: u64,
}

/// The store; clones share it.
#[derive(Debug, Clone)]
pub struct BlobStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    objects: PathBuf,
    partial: PathBuf,
    set_aside: PathBuf,
    index: Mutex<Index>,
}

impl BlobStore {
    /// Opens the store in `dir`, removes what torn writes left, and evicts down to the quota.
    pub fn open(dir: &Path, quota_bytes: u64) -> Result<Self, BlobError> {
        let [objects, partial, set_aside] = ["objects", "partial", "set-aside"].map(|name| dir.join(name));
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(BlobError::io("remove unfinished writes in", &partial))?;
        }
        for path in [&objects, &partial, &set_aside] {
            fs::create_dir_all(path).map_err(BlobError::io("create", path))?;
        }
        let mut index = Index::new(quota_bytes);
        for (_, id, bytes) in found(&objects)? {
            index.insert(id, bytes, None);
        }
        let store = Self(Arc::new(Shared { objects, partial, set_aside, index: Mutex::new(index) }));
        // A smaller quota than last time, or none left: both only mean that the oldest blobs go.
        let evicted = store.index().make_room(0).unwrap_or_default();
        store.unlink(&evicted);
        Ok(store)
    }

    /// Stores bytes that are in memory; storing them again only marks them as used.
    pub fn put(&self, bytes: &[u8]) -> Result<Stored, BlobError> {
        let id = BlobId::of(bytes);
        let stored = Stored { id, bytes: bytes.len() as u64 };
        if self.touch(id) {
            return Ok(stored);
        }
        let mut writer = self.writer(Some((id, stored.bytes)))?;
        writer.write(bytes)?;
        writer.finish()
    }

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
            let path = self.path(*id);
            let file = File::open(&path).map_err(|error| self.reading_failed(*id, error))?;
            file.sync_all().map_err(BlobError::io("sync", &path))?;
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

    /// A blob to be written piece by piece; with `expected`, its room is taken at once and nothing else is accepted.
    pub fn writer(&self, expected: Option<(BlobId, u64)>) -> Result<BlobWriter, BlobError> {
        BlobWriter::new(self.clone(), expected)
    }

    /// A whole blob, checked against its name. For blobs of bounded size; others are read with [`Self::open_read`].
    pub fn read(&self, id: BlobId) -> Result<Vec<u8>, BlobError> {
        let _pin = self.pin(id)?;
        let path = self.path(id);
        let bytes = fs::read(&path).map_err(|error| self.reading_failed(id, error))?;
        if BlobId::of(&bytes) == id { Ok(bytes) } else { Err(self.put_aside(id)) }
    }

    /// A blob to be read piece by piece; its content was checked since it was last changed.
    pub fn open_read(&self, id: BlobId) -> Result<BlobReader, BlobError> {
        let pin = self.pin(id)?;
        let mut file = File::open(self.path(id)).map_err(|error| self.reading_failed(id, error))?;
        let fingerprint = fingerprint(&file).map_err(|error| self.reading_failed(id, error))?;
        if self.index().verified(id) != Some(fingerprint) {
            if hash(&mut file).map_err(|error| self.reading_failed(id, error))? != id {
                return Err(self.put_aside(id));
            }
            file.seek(SeekFrom::Start(0)).map_err(|error| self.reading_failed(id, error))?;
            self.index().set_verified(id, fingerprint);
        }
        Ok(BlobReader { file, bytes: fingerprint.bytes, _pin: pin })
    }

    /// The size of a blob that is here.
    pub fn stat(&self, id: BlobId) -> Option<u64> {
        self.index().bytes_of(id)
    }

    /// All blobs, in the order of their names.
    pub fn list(&self) -> Vec<(BlobId, u64)> {
        self.index().list()
    }

    /// Bytes used and the quota.
    pub fn usage(&self) -> (u64, u64) {
        self.index().usage()
    }

    /// Keeps a blob from being evicted for as long as the pin lives.
    pub fn pin(&self, id: BlobId) -> Result<Pin, BlobError> {
        if self.index().pin(id) { Ok(Pin { store: self.clone(), id }) } else { Err(BlobError::NotFound { id }) }
    }

    fn touch(&self, id: BlobId) -> bool {
        self.index().touch(id)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Each change of the index is complete before anything that could panic.
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.0.objects.join(file_name(id))
    }

    /// Takes `bytes` of the quota for a writer; blobs nobody uses make room.
    fn reserve(&self, bytes: u64) -> Result<(), BlobError> {
        let mut index = self.index();
        let evicted = index.make_room(bytes)?;
        index.reserve(bytes);
        // Under the lock, so that a blob written again meanwhile does not lose its new file.
        self.unlink(&evicted);
        Ok(())
    }

    fn release(&self, bytes: u64) {
        self.index().release(bytes);
    }

    fn unlink(&self, evicted: &[BlobId]) {
        for id in evicted {
            if let Err(error) = fs::remove_file(self.path(*id)) {
                tracing::warn!(blob = %id, %error, "cannot remove an evicted blob");
            }
        }
    }

    /// A file that vanished or cannot be read is no longer held; the error says which.
    fn reading_failed(&self, id: BlobId, error: io::Error) -> BlobError {
        if error.kind() == io::ErrorKind::NotFound {
            self.index().remove(id);
            return BlobError::NotFound { id };
        }
        BlobError::io("read", &self.path(id))(error)
    }

    /// Moves a corrupt blob out of reach.
    fn put_aside(&self, id: BlobId) -> BlobError {
        let mut index = self.index();
        index.remove(id);
        let to = self.0.set_aside.join(file_name(id));
        if let Err(error) = fs::rename(self.path(id), &to) {
            tracing::warn!(blob = %id, %error, "cannot set a corrupt blob aside");
        }
        drop(index);
        if let Ok(mut kept) = found(&self.0.set_aside) {
            let surplus = kept.len().saturating_sub(SET_ASIDE_MAX);
            for (_, old, _) in kept.drain(..surplus) {
                let _ = fs::remove_file(self.0.set_aside.join(file_name(old)));
            }
        }
        tracing::warn!(blob = %id, path = %to.display(), "a blob does not match its name and was set aside");
        BlobError::Corrupt { id, set_aside: to }
    }
}

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

/// An open blob; it stays while it is read.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    bytes: u64,
    _pin: Pin,
}

impl BlobReader {
    /// The size of the whole blob.
    pub fn size_bytes(&self) -> u64 {
        self.bytes
    }
}

impl AsRawFd for BlobReader {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

fn file_name(id: BlobId) -> String {
    id.to_string().trim_start_matches("b3:").to_owned()
}

/// The blobs in a directory, the longest unused first; files of other names are nobody's and stay.
fn found(dir: &Path) -> Result<Vec<(SystemTime, BlobId, u64)>, BlobError> {
    let failed = || BlobError::io("list", dir);
    let mut blobs = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let Some(id) = entry.file_name().to_str().and_then(|name| format!("b3:{name}").parse().ok()) else { continue };
        let metadata = entry.metadata().map_err(failed())?;
        if metadata.is_file() {
            blobs.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), id, metadata.len()));
        }
    }
    blobs.sort();
    Ok(blobs)
}

fn fingerprint(file: &File) -> io::Result<Fingerprint> {
    let metadata = file.metadata()?;
    Ok(Fingerprint { bytes: metadata.len(), modified: metadata.modified()? })
}

fn hash(file: &mut File) -> io::Result<BlobId> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(BlobId(*hasher.finalize().as_bytes()));
        }
        hasher.update(&chunk[..count]);
    }
}
