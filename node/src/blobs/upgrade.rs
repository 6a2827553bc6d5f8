//! What the version before wrote: clear files, named by what they hash to.
//!
//! ```text
//! blob ──────► stays readable ─► in the background: sealed copy, synced, in its place ─► clear file removed
//! manifest ──► sealed when the store is opened          part of a blob, tree, what was set aside ─► removed: can be had again
//! ```
//!
//! **Invariant:** a clear file goes when the sealed one is on the disk, and not before; whatever ends this, the next start
//! goes on with it.
//! **Not here:** a way back. The version before does not find what is sealed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::SystemTime;

use shoal_protocol::id::BlobId;
use tempfile::NamedTempFile;

use super::found::{Found, entries};
use super::seal::Content;
use super::{BlobError, BlobStore, CHUNK_BYTES, fingerprint};

/// What the version before called the file of a blob.
pub(super) fn clear_name(id: BlobId) -> String {
    id.to_string().trim_start_matches("b3:").to_owned()
}

/// The blob that a file of the version before is named after.
pub(super) fn named(name: &str) -> Option<BlobId> {
    format!("b3:{name}").parse().ok()
}

/// Blobs in the clear.
pub(super) fn clear_blobs(objects: &Path) -> Result<Vec<Found>, BlobError> {
    let mut blobs = Vec::new();
    for entry in entries(objects)? {
        let Some(id) = entry.file_name().to_str().and_then(named) else { continue };
        let metadata = entry.metadata().map_err(BlobError::io("list", objects))?;
        if metadata.is_file() {
            blobs.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), id, metadata.len()));
        }
    }
    Ok(blobs)
}

/// Parts of blobs, and files that were damaged already.
pub(super) fn remove_what_can_be_had_again(incoming: &Path, set_aside: &Path) -> Result<(), BlobError> {
    for dir in [incoming, set_aside] {
        for entry in entries(dir)? {
            let name = entry.file_name();
            let stem = name.to_str().map(|name| name.strip_suffix(".tree").unwrap_or(name));
            if stem.and_then(named).is_some() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    Ok(())
}

/// Seals clear blobs, one after the other, for as long as somebody uses the store.
pub(super) fn seal_in_the_background(store: &BlobStore) {
    let clear: Vec<BlobId> = store.clear().iter().copied().collect();
    if clear.is_empty() {
        return;
    }
    tracing::info!(blobs = clear.len(), "blobs of the version before are being sealed");
    let shared = Arc::downgrade(&store.0);
    let sealing = move || {
        for id in clear {
            let Some(store) = shared.upgrade().map(BlobStore) else { return };
            if let Err(error) = store.seal_clear(id) {
                tracing::warn!(blob = %id, %error, fix = error.hint(), "a blob of the version before is not sealed yet");
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("sealer".into()).spawn(sealing) {
        tracing::warn!(%error, "no thread to seal blobs of the version before: they wait for the next start");
    }
}

impl BlobStore {
    /// Those that are not sealed yet.
    fn clear(&self) -> MutexGuard<'_, BTreeSet<BlobId>> {
        self.0.clear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its file is one of the version before.
    pub(super) fn is_clear(&self, id: BlobId) -> bool {
        self.clear().contains(&id)
    }

    pub(super) fn clear_path(&self, id: BlobId) -> PathBuf {
        self.0.objects.join(clear_name(id))
    }

    pub(super) fn no_longer_clear(&self, id: BlobId) {
        self.clear().remove(&id);
    }

    /// Removes the clear file of a blob; whether there was one.
    pub(super) fn forget_clear(&self, id: BlobId) -> bool {
        if !self.is_clear(id) {
            return false;
        }
        let was_there = fs::remove_file(self.clear_path(id)).is_ok();
        self.no_longer_clear(id);
        was_there
    }

    /// Puts a sealed file in the place of a clear one.
    pub(super) fn seal_clear(&self, id: BlobId) -> Result<(), BlobError> {
        // What is gone by now needs no sealing.
        let Ok(_pin) = self.pin(id) else { return Ok(()) };
        if !self.is_clear(id) {
            return Ok(());
        }
        let (path, to, partial) = (self.clear_path(id), self.path(id), &self.0.partial);
        if File::open(&to).and_then(|file| Content::open(&self.0.keys, file, id)).is_ok_and(|sealed| sealed.is_some()) {
            // A crash came between the two.
            self.forget_clear(id);
            return Ok(());
        }
        let clear = File::open(&path).map_err(|error| self.reading_failed(id, error))?;
        let modified =
            clear.metadata().and_then(|metadata| metadata.modified()).map_err(BlobError::io("read", &path))?;
        let failed = || BlobError::io("write to", partial);
        let (file, temporary) = NamedTempFile::new_in(partial).map_err(failed())?.into_parts();
        let mut content = Content::begin(&self.0.keys, file).map_err(failed())?;
        let (found, bytes) = copy(clear, &content).map_err(failed())?;
        if found != id {
            return Err(self.put_aside(id));
        }
        content.complete(&self.0.keys, id, bytes).map_err(failed())?;
        // The blob was not used by being sealed.
        content.file().set_modified(modified).and_then(|()| content.file().sync_all()).map_err(failed())?;
        let fingerprint = fingerprint(content.file()).map_err(failed())?;
        {
            let mut index = self.index();
            if index.bytes_of(id).is_none() {
                // Its time was over meanwhile.
                self.0.eraser.doom(&temporary);
                self.0.eraser.erase_soon();
                return Ok(());
            }
            self.0.eraser.doom(&to);
            fs::rename(&temporary, &to).map_err(BlobError::io("write", &to))?;
            index.set_verified(id, fingerprint);
        }
        File::open(&self.0.objects).and_then(|dir| dir.sync_all()).map_err(BlobError::io("sync", &self.0.objects))?;
        self.forget_clear(id);
        Ok(())
    }
}

/// Copies a clear file into a sealed one; what it hashes to, and its size.
fn copy(mut from: impl Read, to: &Content) -> io::Result<(BlobId, u64)> {
    let (mut hasher, mut at) = (blake3::Hasher::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            return Ok((BlobId(*hasher.finalize().as_bytes()), at));
        }
        hasher.update(&chunk[..count]);
        to.sealed().write_own_at(at, &mut chunk[..count])?;
        at += count as u64;
    }
}
