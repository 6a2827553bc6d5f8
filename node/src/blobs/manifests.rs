//! What owners say of blobs, on disk beside them.
//!
//! ```text
//! hash and size known ─► manifest signed, or verified ─► manifests/NAME, synced ─► only then the bytes get their name
//! ```
//!
//! A manifest outlives its blob: bytes that come again are under it again. It goes when a user removes the blob, when its time
//! is over, or when there are too many of blobs that are not here.
//!
//! **Invariant:** a blob that came with a manifest is never visible without it; what cannot be read any more seals its blob.
//! **Not here:** whom they let have it. That is `shoal_protocol::residency`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use shoal_protocol::certificate::SecretKey;
use shoal_protocol::id::BlobId;
use shoal_protocol::residency::{Labels, MANIFESTS_PER_BLOB_MAX, Manifest, SignedManifest};
use shoal_protocol::{PeerId, cbor};

use super::erase::Eraser;
use super::found::entries;
use super::index::Evicted;
use super::seal::{Keys, Small};
use super::{BlobError, BlobStore, Stored, upgrade};

/// Blobs with a manifest, here or remembered: a few kilobytes each at most, most of them a few hundred bytes.
const MANIFESTS_MAX: usize = 16_384;

/// All there are.
#[derive(Debug)]
pub(super) struct Manifests {
    dir: PathBuf,
    keys: Arc<Keys>,
    eraser: Eraser,
    known: BTreeMap<BlobId, Known>,
    /// Names of files that cannot be read: of which blobs they are is known when those are asked for.
    damaged: BTreeSet<String>,
    /// What is said of such a blob.
    sealed: Labels,
    /// Counts changes: of those whose blobs are not here, the oldest goes.
    changes: u64,
    /// Counts what was forgotten: a file that was written meanwhile may be gone again.
    forgotten: u64,
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
    blob: BlobId,
    bytes: u64,
    signed: Vec<SignedManifest>,
}

/// What stood in one of the version before, which was named after its blob.
#[derive(Debug, Deserialize)]
struct Clear {
    bytes: u64,
    signed: Vec<SignedManifest>,
}

impl Manifests {
    /// Reads what is in `dir`; what is damaged there seals its blob.
    pub(super) fn open(dir: PathBuf, keys: Arc<Keys>, eraser: Eraser) -> Result<Self, BlobError> {
        let (known, damaged) = (BTreeMap::new(), BTreeSet::new());
        let mut manifests =
            Self { dir, keys, eraser, known, damaged, sealed: Labels::sealed(), changes: 0, forgotten: 0 };
        let names: Vec<String> =
            entries(&manifests.dir)?.iter().filter_map(|entry| entry.file_name().to_str().map(str::to_owned)).collect();
        manifests.seal_clear(names.iter().filter_map(|name| upgrade::named(name)))?;
        for name in names.into_iter().filter(|name| Keys::is_name(name)) {
            manifests.read(name);
        }
        Ok(manifests)
    }

    /// Those of the version before. They are removed once all of them are on the disk as they are now.
    fn seal_clear(&mut self, clear: impl Iterator<Item = BlobId>) -> Result<(), BlobError> {
        let mut sealed = Vec::new();
        for id in clear {
            let path = self.dir.join(upgrade::clear_name(id));
            let read = fs::read(&path).map_err(|error| error.to_string());
            let read = read.and_then(|bytes| cbor::decode::<Clear>(&bytes).map_err(|error| error.to_string()));
            let read = read.and_then(|Clear { bytes, signed }| OnDisk { blob: id, bytes, signed }.verified());
            match read {
                Ok((on_disk, known)) => {
                    write(&self.dir, &self.keys, &on_disk)?;
                    self.known.insert(id, known);
                    sealed.push(path);
                }
                Err(why) => {
                    tell_damaged(&path, &why);
                    self.known.insert(id, Known { labels: Labels::sealed(), ..Known::default() });
                }
            }
        }
        if !sealed.is_empty() {
            let synced = File::open(&self.dir).and_then(|dir| Ok(nix::unistd::syncfs(dir)?));
            synced.map_err(BlobError::io("sync", &self.dir))?;
            sealed.iter().for_each(|path| drop(fs::remove_file(path)));
        }
        Ok(())
    }

    fn read(&mut self, name: String) {
        let path = self.dir.join(&name);
        let read = fs::read(&path).map_err(|error| error.to_string());
        let opened = read.and_then(|bytes| {
            self.keys.open(Small::Manifest, &bytes).ok_or_else(|| "it was changed, or is not of this store".to_owned())
        });
        let on_disk =
            opened.and_then(|plain| cbor::decode::<OnDisk>(&plain).map_err(|error| error.to_string())?.verified());
        match on_disk {
            Ok((on_disk, known)) => {
                let (id, right) = (on_disk.blob, self.dir.join(self.keys.name(on_disk.blob)));
                // One that another mesh has named gets the name that it has here.
                if right != path && !right.exists() && fs::rename(&path, &right).is_err() {
                    tracing::warn!(blob = %id, path = %path.display(), "a manifest under the name of another cannot be renamed");
                }
                // What was sealed just now is what counts.
                self.known.entry(id).or_insert(known);
            }
            Err(why) => {
                tell_damaged(&path, &why);
                self.damaged.insert(name);
            }
        }
    }

    fn labels_of(&self, id: BlobId) -> Option<&Labels> {
        match self.known.get(&id) {
            Some(known) => Some(&known.labels),
            None if !self.damaged.is_empty() && self.damaged.contains(&self.keys.name(id)) => Some(&self.sealed),
            None => None,
        }
    }

    /// What is known of a blob with what is verified; nothing when that is no more than before.
    fn with(&self, id: BlobId, new: &[(SignedManifest, Labels)]) -> Result<Option<Known>, BlobError> {
        let mut signed = self.known.get(&id).map(|known| known.signed.clone()).unwrap_or_default();
        let mut labels = self.labels_of(id).cloned().unwrap_or_default();
        // What was signed before cannot be read: written anew the file would say less, and the blob could leave.
        if signed.is_empty() && !labels.is_empty() {
            return Err(BlobError::Sealed { id });
        }
        let before = signed.len();
        for (manifest, says) in new {
            if !signed.contains(manifest) {
                labels.join(says);
                signed.push(manifest.clone());
            }
        }
        if signed.len() == before {
            return Ok(None);
        }
        if signed.len() > MANIFESTS_PER_BLOB_MAX {
            let why =
                format!("it has {MANIFESTS_PER_BLOB_MAX} manifests already, by other owners or with other labels");
            return Err(BlobError::Manifest { id, why });
        }
        Ok(Some(Known { signed, labels, changed: 0 }))
    }

    /// What is known of a blob is on disk like this.
    fn learnt(&mut self, id: BlobId, known: Known) {
        self.damaged.remove(&self.keys.name(id));
        self.changes += 1;
        self.known.insert(id, Known { changed: self.changes, ..known });
    }

    /// Whether this is what is said of a blob already.
    fn says(&mut self, id: BlobId, labels: &Labels) -> bool {
        let is_said = self.labels_of(id) == Some(labels);
        if is_said {
            self.touch(id);
        }
        is_said
    }

    /// Somebody says it again: its blob is about to come, and must find it here.
    fn touch(&mut self, id: BlobId) {
        self.changes += 1;
        if let Some(known) = self.known.get_mut(&id) {
            known.changed = self.changes;
        }
    }

    /// Whether there was something.
    fn forget(&mut self, id: BlobId) -> bool {
        let name = self.keys.name(id);
        self.forgotten += 1;
        let was_known = self.known.remove(&id).is_some();
        let was_there = self.damaged.remove(&name) || was_known;
        if was_there {
            self.eraser.doom(&self.dir.join(name));
            // A damaged one of the version before.
            let _ = fs::remove_file(self.dir.join(upgrade::clear_name(id)));
            self.eraser.erase_soon();
        }
        was_there
    }
}

impl OnDisk {
    /// What it says, if all of it is signed by whom it names.
    fn verified(self) -> Result<(Self, Known), String> {
        let mut labels = Labels::default();
        for manifest in &self.signed {
            labels.join(&manifest.verify(self.blob, self.bytes).map_err(|error| error.to_string())?.labels);
        }
        let known = Known { signed: self.signed.clone(), labels, changed: 0 };
        Ok((self, known))
    }
}

fn tell_damaged(path: &Path, why: &str) {
    tracing::error!(path = %path.display(), why, "the manifest of a blob cannot be read: the blob goes nowhere");
}

fn write(dir: &Path, keys: &Keys, content: &OnDisk) -> Result<(), BlobError> {
    replace(dir, keys, content, |_| Ok(()))
}

/// It is on the disk when this returns.
fn write_synced(dir: &Path, keys: &Keys, content: &OnDisk) -> Result<(), BlobError> {
    replace(dir, keys, content, File::sync_all)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(BlobError::io("write", dir))
}

fn replace(
    dir: &Path,
    keys: &Keys,
    content: &OnDisk,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), BlobError> {
    let path = dir.join(keys.name(content.blob));
    let failed = || BlobError::io("write", &path);
    let sealed = keys.seal(Small::Manifest, cbor::encode(content)).map_err(failed())?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed())?;
    io::Write::write_all(&mut file, &sealed).map_err(failed())?;
    sync(file.as_file()).map_err(failed())?;
    file.persist(&path).map(|_| ()).map_err(|error| failed()(error.error))
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
        if labels.is_empty() || self.manifests().says(stored.id, labels) {
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

    /// Whoever only looks does not wait for the disk meanwhile: the loop of the daemon does, at every turn.
    fn keep_manifests(&self, stored: Stored, new: Vec<(SignedManifest, Labels)>) -> Result<(), BlobError> {
        let _alone = self.0.labelling.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.make_room_for(stored.id)?;
            let (known, forgotten, dir) = {
                let mut manifests = self.manifests();
                let Some(known) = manifests.with(stored.id, &new)? else {
                    manifests.touch(stored.id);
                    return Ok(());
                };
                (known, manifests.forgotten, manifests.dir.clone())
            };
            let on_disk = OnDisk { blob: stored.id, bytes: stored.bytes, signed: known.signed.clone() };
            write_synced(&dir, &self.0.keys, &on_disk)?;
            let mut manifests = self.manifests();
            if manifests.forgotten == forgotten {
                manifests.learnt(stored.id, known);
                return Ok(());
            }
        }
    }

    /// Forgets what was said of blobs that are not here, of the half that was there first. Whoever calls is the only one who adds
    /// any.
    fn make_room_for(&self, id: BlobId) -> Result<(), BlobError> {
        let mut idle: Vec<(u64, BlobId)> = {
            let manifests = self.manifests();
            if manifests.known.len() < MANIFESTS_MAX || manifests.known.contains_key(&id) {
                return Ok(());
            }
            manifests.known.iter().map(|(id, known)| (known.changed, *id)).collect()
        };
        let is_here = |id| self.bytes_in_any_form(id).is_some();
        // One that could not be read at the start lies there all the same.
        idle.retain(|(_, id)| !is_here(*id) && !self.path(*id).exists());
        if idle.is_empty() {
            return Err(BlobError::TooManyHeld { max: MANIFESTS_MAX });
        }
        idle.sort_unstable();
        for (changed, id) in idle.iter().take(idle.len().div_ceil(2)) {
            let mut manifests = self.manifests();
            // It may have come meanwhile, or be about to: then it was said again.
            let is_as_it_was = manifests.known.get(id).is_some_and(|known| known.changed == *changed);
            if is_as_it_was && !is_here(*id) {
                manifests.forget(*id);
            }
        }
        Ok(())
    }

    fn bytes_in_any_form(&self, id: BlobId) -> Option<u64> {
        let index = self.index();
        index.bytes_of(id).or_else(|| index.part_of(id))
    }

    /// A user has removed it: what is put again is put anew. Whether anything was said of it.
    pub(super) fn forget_manifests(&self, id: BlobId) -> bool {
        self.manifests().forget(id)
    }

    /// Whether the time of a blob is over: it is not read, and goes at the next [`Self::expire`].
    pub(super) fn is_over(&self, id: BlobId) -> bool {
        self.manifests().labels_of(id).is_some_and(|labels| labels.is_over(now_unix_s()))
    }

    /// Deletes what is not to be read any more, whoever holds it, and has it erased; what was there.
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
        self.change_holds(&[id], |holds| holds.unpin(id));
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
        // One that could not be read at the start lies there all the same.
        self.0.eraser.doom(&self.path(id));
        drop(index);
        if self.forget_aside(id) {
            self.0.eraser.erase_soon();
        }
        self.forget_manifests(id);
        !there.is_empty()
    }

    fn manifests(&self) -> MutexGuard<'_, Manifests> {
        // Each change is complete before anything that could panic.
        self.0.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_unix_s() -> u64 {
    crate::driver::unix_time().as_secs()
}
