//! What owners say of blobs, on disk beside them.
//!
//! ```text
//! hash and size known ─► manifest signed, or verified ─► manifests/HASH, synced ─► only then the bytes get their name
//! ```
//!
//! A manifest outlives its blob: bytes that come again are under it again. It goes when a user removes the blob, when its time
//! is over, or when there are too many of blobs that are not here.
//!
//! **Invariant:** a blob that came with a manifest is never visible without it; what cannot be read any more seals its blob.
//! **Not here:** whom they let have it. That is `shoal_protocol::residency`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shoal_protocol::certificate::SecretKey;
use shoal_protocol::id::BlobId;
use shoal_protocol::residency::{Labels, MANIFESTS_PER_BLOB_MAX, Manifest, SignedManifest};
use shoal_protocol::{PeerId, cbor};

use super::{BlobError, BlobStore, Evicted, Stored, file_name, found};

/// Blobs with a manifest, here or remembered: a few kilobytes each at most, most of them a few hundred bytes.
const MANIFESTS_MAX: usize = 16_384;

/// All there are.
#[derive(Debug)]
pub(super) struct Manifests {
    dir: PathBuf,
    known: BTreeMap<BlobId, Known>,
    /// Counts changes: of those whose blobs are not here, the oldest goes.
    changes: u64,
}

#[derive(Debug, Default)]
struct Known {
    signed: Vec<SignedManifest>,
    /// What all of them say together.
    labels: Labels,
    changed: u64,
}

/// What stands in a file.
#[derive(Debug, Serialize, Deserialize)]
struct OnDisk {
    bytes: u64,
    signed: Vec<SignedManifest>,
}

impl Manifests {
    /// Reads what is in `dir`; what is damaged there seals its blob.
    pub(super) fn open(dir: PathBuf) -> Result<Self, BlobError> {
        let mut known = BTreeMap::new();
        for (_, id, _) in found(&dir)? {
            let read = read(&dir, id).unwrap_or_else(|why| {
                tracing::error!(blob = %id, why, "the manifest of a blob cannot be read: the blob goes nowhere");
                Known { labels: Labels::sealed(), ..Known::default() }
            });
            known.insert(id, read);
        }
        Ok(Self { dir, known, changes: 0 })
    }

    fn labels_of(&self, id: BlobId) -> Option<&Labels> {
        self.known.get(&id).map(|known| &known.labels)
    }

    /// Adds what is verified, and has it on disk when this returns.
    fn add(&mut self, stored: Stored, new: Vec<(SignedManifest, Labels)>) -> Result<(), BlobError> {
        let id = stored.id;
        let mut signed = self.known.get(&id).map(|known| known.signed.clone()).unwrap_or_default();
        let mut labels = self.labels_of(id).cloned().unwrap_or_default();
        let before = signed.len();
        for (manifest, says) in new {
            if !signed.contains(&manifest) {
                labels.join(&says);
                signed.push(manifest);
            }
        }
        if signed.len() == before {
            return Ok(());
        }
        if signed.len() > MANIFESTS_PER_BLOB_MAX {
            let why =
                format!("it has {MANIFESTS_PER_BLOB_MAX} manifests already, by other owners or with other labels");
            return Err(BlobError::Manifest { id, why });
        }
        write(&self.dir, id, &OnDisk { bytes: stored.bytes, signed: signed.clone() })?;
        self.changes += 1;
        self.known.insert(id, Known { signed, labels, changed: self.changes });
        Ok(())
    }

    fn forget(&mut self, id: BlobId) {
        if self.known.remove(&id).is_some()
            && let Err(error) = fs::remove_file(self.dir.join(file_name(id)))
        {
            tracing::warn!(blob = %id, %error, "cannot remove the manifest of a blob");
        }
    }

    /// Of blobs that are not here, the half that was there first.
    fn oldest_of(&self, is_here: impl Fn(BlobId) -> bool) -> Vec<BlobId> {
        let mut idle: Vec<_> = self.known.iter().filter(|(id, _)| !is_here(**id)).collect();
        idle.sort_by_key(|(_, known)| known.changed);
        let half = idle.len().div_ceil(2);
        idle.into_iter().take(half).map(|(id, _)| *id).collect()
    }
}

fn read(dir: &Path, id: BlobId) -> Result<Known, String> {
    let bytes = fs::read(dir.join(file_name(id))).map_err(|error| error.to_string())?;
    let OnDisk { bytes, signed } = cbor::decode(&bytes).map_err(|error| error.to_string())?;
    let mut labels = Labels::default();
    for manifest in &signed {
        labels.join(&manifest.verify(id, bytes).map_err(|error| error.to_string())?.labels);
    }
    Ok(Known { signed, labels, changed: 0 })
}

fn write(dir: &Path, id: BlobId, content: &OnDisk) -> Result<(), BlobError> {
    let path = dir.join(file_name(id));
    let failed = || BlobError::io("write", &path);
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed())?;
    std::io::Write::write_all(&mut file, &cbor::encode(content)).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(&path).map_err(|error| failed()(error.error))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed())
}

impl BlobStore {
    /// From now on blobs can be labelled here, in the name of this key.
    pub fn sign_as(&self, key: SecretKey) {
        // The first one stays: a daemon has one key.
        let _ = self.0.owner.set(key);
    }

    /// What is said of a blob, whether it is here or was.
    pub fn labels(&self, id: BlobId) -> Labels {
        self.manifests().labels_of(id).cloned().unwrap_or_default()
    }

    /// What its owners have signed of it, to go before its bytes.
    pub fn signed_manifests(&self, id: BlobId) -> Vec<SignedManifest> {
        self.manifests().known.get(&id).map(|known| known.signed.clone()).unwrap_or_default()
    }

    /// Owners of a blob, as its manifests name them.
    pub fn owners(&self, id: BlobId) -> Vec<PeerId> {
        let bytes = self.stat(id).or_else(|| self.part_of(id)).unwrap_or_default();
        let signed = self.signed_manifests(id);
        let mut owners: Vec<PeerId> =
            signed.iter().filter_map(|signed| Some(signed.verify(id, bytes).ok()?.owner)).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// Signs and keeps what this peer says of a blob, before its bytes are visible. Blocks for two fsyncs.
    pub fn label(&self, stored: Stored, labels: &Labels) -> Result<(), BlobError> {
        if labels.is_empty() || *labels == self.labels(stored.id) {
            return Ok(());
        }
        let id = stored.id;
        let Some(key) = self.0.owner.get() else {
            return Err(BlobError::Manifest { id, why: "this store has no key to sign one with".into() });
        };
        let signed = Manifest::sign(id, stored.bytes, labels.clone(), key);
        self.keep_manifests(stored, vec![(signed, labels.clone())])
    }

    /// Keeps what came before the bytes of a blob, if it is right. Blocks for two fsyncs where something is new.
    pub fn believe(&self, stored: Stored, signed: Vec<SignedManifest>) -> Result<(), BlobError> {
        let id = stored.id;
        let verified = signed.into_iter().take(MANIFESTS_PER_BLOB_MAX + 1).map(|signed| {
            let manifest = signed.verify(id, stored.bytes);
            let manifest = manifest.map_err(|error| BlobError::Manifest { id, why: error.to_string() })?;
            Ok((signed, manifest.labels))
        });
        self.keep_manifests(stored, verified.collect::<Result<_, BlobError>>()?)
    }

    fn keep_manifests(&self, stored: Stored, new: Vec<(SignedManifest, Labels)>) -> Result<(), BlobError> {
        let mut manifests = self.manifests();
        if manifests.known.len() >= MANIFESTS_MAX && !manifests.known.contains_key(&stored.id) {
            let here: Vec<_> = manifests.oldest_of(|id| self.bytes_in_any_form(id).is_some());
            if here.is_empty() {
                return Err(BlobError::TooManyHeld { max: MANIFESTS_MAX });
            }
            here.into_iter().for_each(|id| manifests.forget(id));
        }
        manifests.add(stored, new)
    }

    fn bytes_in_any_form(&self, id: BlobId) -> Option<u64> {
        let index = self.index();
        index.bytes_of(id).or_else(|| index.part_of(id))
    }

    /// A user has removed it: what is put again is put anew.
    pub(super) fn forget_manifests(&self, id: BlobId) {
        self.manifests().forget(id);
    }

    /// Whether the time of a blob is over: it is not read, and goes at the next [`Self::expire`].
    pub(super) fn is_over(&self, id: BlobId) -> bool {
        self.manifests().labels_of(id).is_some_and(|labels| labels.is_over(now_unix_s()))
    }

    /// Deletes what is not to be read any more, whoever holds it; what was there.
    pub fn expire(&self) -> Vec<BlobId> {
        let now = now_unix_s();
        let over: Vec<BlobId> = {
            let manifests = self.manifests();
            let is_over = |known: &Known| known.labels.is_over(now);
            manifests.known.iter().filter(|(_, known)| is_over(known)).map(|(id, _)| *id).collect()
        };
        over.into_iter().filter(|id| self.delete(*id)).collect()
    }

    fn delete(&self, id: BlobId) -> bool {
        self.change_holds(|holds| holds.unpin(id));
        let mut index = self.index();
        if index.is_part_taken(id) {
            // It is deleted when it has come: until then nobody reads it.
            return false;
        }
        let there = [index.bytes_of(id).map(|_| Evicted::Blob(id)), index.part_of(id).map(|_| Evicted::Part(id))];
        let there: Vec<Evicted> = there.into_iter().flatten().collect();
        index.remove(id);
        index.remove_part(id);
        self.unlink(&there);
        drop(index);
        self.forget_manifests(id);
        !there.is_empty()
    }
}

fn now_unix_s() -> u64 {
    crate::driver::unix_time().as_secs()
}
