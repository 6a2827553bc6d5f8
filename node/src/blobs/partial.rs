//! A blob that is here in part: what has come is verified and on disk, and outlives streams and the daemon.
//!
//! ```text
//! size proved ─► file of that size, full of holes ─► slices, each verified before it is written ─► renamed into place
//!                  └── left behind by a cut or a crash: hashed again when it is wanted again, and gone on with
//! ```
//!
//! Which groups are there is not written down: what hashes to the tree beside it is there, whatever a power cut did.
//!
//! **Invariant:** a group counts as here only after it was verified; nobody reads one that does not.
//! **Not here:** where groups come from. That is `transfer/`.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_protocol::id::BlobId;
use tokio::sync::watch;

use super::seal::{Content, HEADER_BYTES, Keys, Sealed};
use super::tree::{self, Decoded, GROUPS_MAX, InFile, Shape, Tree};
use super::{BlobError, BlobStore, Stored, fingerprint};

/// What the name of a tree has that the name of its blob has not.
pub(super) const TREE_ENDING: &str = ".tree";

/// Which groups are here.
#[derive(Debug)]
struct Groups {
    here: Vec<bool>,
    missing: u64,
}

impl Groups {
    fn none_of(shape: Shape) -> Self {
        let count = shape.groups().min(GROUPS_MAX);
        Self { here: vec![false; usize::try_from(count).unwrap_or(0)], missing: count }
    }

    fn add(&mut self, groups: Range<u64>) {
        for group in groups {
            if let Some(here) = usize::try_from(group).ok().and_then(|group| self.here.get_mut(group))
                && !std::mem::replace(here, true)
            {
                self.missing -= 1;
            }
        }
    }

    fn has(&self, group: u64) -> bool {
        usize::try_from(group).ok().and_then(|group| self.here.get(group)).is_some_and(|here| *here)
    }
}

/// What came of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Added {
    /// Groups that were verified and are kept.
    pub(super) groups: u64,
    /// Whether what followed them is not what this blob has there.
    pub(super) is_wrong: bool,
}

/// A blob of proved size that is on its way here, or has been; one at a time of each blob, shared by those who bring and
/// those who read it.
#[derive(Debug)]
pub(super) struct Partial {
    store: BlobStore,
    id: BlobId,
    shape: Shape,
    content: Content,
    hashes: Sealed,
    groups: Mutex<Groups>,
    /// Counts what comes, for those who wait for it.
    progress: watch::Sender<u64>,
    is_finished: AtomicBool,
}

impl Partial {
    /// Takes up what is here of a blob, if there is something; as much as hashes to what it should.
    pub(super) fn resume(store: &BlobStore, id: BlobId, bytes: u64) -> Result<Option<Arc<Self>>, BlobError> {
        // Somebody still reads what came before.
        if let Some(live) = store.live(id).filter(|live| live.shape.bytes() == bytes && !live.is_finished()) {
            return Ok(Some(live));
        }
        let Some(kept) = store.take_up(id)? else { return Ok(None) };
        let shape = Shape::of(bytes);
        if kept != bytes {
            // The size was proved when the file was made: it is another blob that is asked for now, or none.
            store.lay_down(id);
            return Ok(None);
        }
        let partial = match Self::open(store, id, shape, false) {
            Ok(partial) => partial,
            Err(error) => {
                tracing::warn!(blob = %id, %error, "what came of a blob before is of no use: it is fetched anew");
                store.discard(id);
                return Ok(None);
            }
        };
        let mut groups = Groups::none_of(shape);
        let tree = Tree::new(id, shape, InFile(&partial.hashes));
        tree::sound(&tree, partial.content.sealed(), 0..shape.groups(), |found| groups.add(found));
        *partial.groups() = groups;
        Ok(Some(store.enliven(partial)))
    }

    /// Makes room for a blob whose size is proved by its last group, which is the first to be kept.
    pub(super) fn create(store: &BlobStore, id: BlobId, shape: Shape, proof: &[u8]) -> Result<Arc<Self>, BlobError> {
        store.begin(id, shape.bytes())?;
        let partial = Self::open(store, id, shape, true).inspect_err(|_| store.discard(id))?;
        partial.add(&shape.last(), proof)?;
        Ok(store.enliven(partial))
    }

    fn open(store: &BlobStore, id: BlobId, shape: Shape, is_new: bool) -> Result<Self, BlobError> {
        let (content_path, hashes_path) = paths(store, id);
        let keys = &store.0.keys;
        let open = |path: &Path| OpenOptions::new().read(true).write(true).create(is_new).truncate(is_new).open(path);
        let content = open(&content_path).and_then(|file| match is_new {
            true => {
                file.set_len(HEADER_BYTES.saturating_add(shape.bytes()))?;
                let mut content = Content::begin(keys, file)?;
                // At once, so that another process can go on with it.
                content.complete(keys, id, shape.bytes())?;
                Ok(content)
            }
            false => {
                let content = Content::open(keys, file, id)?.filter(|content| content.bytes() == shape.bytes());
                content.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not what it was"))
            }
        });
        let content = content.map_err(BlobError::io("open", &content_path))?;
        let hashes = open(&hashes_path).and_then(|file| {
            file.set_len(shape.tree_bytes())?;
            Sealed::tree(keys, content.key(), file)
        });
        let hashes = hashes.map_err(BlobError::io("open", &hashes_path))?;
        let groups = Mutex::new(Groups::none_of(shape));
        Ok(Self {
            store: store.clone(),
            id,
            shape,
            content,
            hashes,
            groups,
            progress: watch::Sender::new(0),
            is_finished: AtomicBool::new(false),
        })
    }

    pub(super) fn id(&self) -> BlobId {
        self.id
    }

    fn is_finished(&self) -> bool {
        self.is_finished.load(Ordering::Relaxed)
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Verifies a slice, or what has come of it, and keeps what is right.
    pub(super) fn add(&self, slice: &Range<u64>, encoded: &[u8]) -> Result<Added, BlobError> {
        let (content_path, hashes_path) = paths(&self.store, self.id);
        let mut tree = Tree::new(self.id, self.shape, InFile(&self.hashes));
        let Decoded { groups, mut content, is_wrong } =
            tree::decode(&mut tree, slice, encoded).map_err(BlobError::io("write to", &hashes_path))?;
        let at = self.shape.span(slice).start;
        let written = self.content.sealed().write_own_at(at, &mut content);
        written.map_err(BlobError::io("write to", &content_path))?;
        self.groups().add(slice.start..slice.start + groups);
        self.store.0.fetched.fetch_add(content.len() as u64, Ordering::Relaxed);
        if groups > 0 {
            self.progress.send_modify(|count| *count += groups);
        }
        Ok(Added { groups, is_wrong })
    }

    /// Whether a group is here.
    pub(super) fn has(&self, group: u64) -> bool {
        self.groups().has(group)
    }

    /// Groups that are not here.
    pub(super) fn missing(&self) -> u64 {
        self.groups().missing
    }

    /// The groups that are not here, of these.
    pub(super) fn missing_of(&self, among: Range<u64>) -> Vec<u64> {
        let groups = self.groups();
        among.filter(|group| !groups.has(*group)).collect()
    }

    /// Bytes of groups that are here.
    pub(super) fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.content.sealed().read_exact_at(at, into)
    }

    /// Told whenever something has come.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// Makes it a blob like any other, if all of it is here.
    pub(super) fn finish(&self) -> Result<Stored, BlobError> {
        let bytes = self.shape.bytes();
        if self.is_finished() {
            return Ok(Stored { id: self.id, bytes });
        }
        if self.missing() > 0 {
            let found = bytes.saturating_sub(self.missing() * tree::GROUP_BYTES);
            return Err(BlobError::WrongSize { expected: bytes, found });
        }
        if self.store.is_readable(self.id)? {
            // Somebody else was faster: there is no place for it under another key.
            self.store.discard(self.id);
            self.is_finished.store(true, Ordering::Relaxed);
            return Ok(Stored { id: self.id, bytes });
        }
        let (content_path, hashes_path) = paths(&self.store, self.id);
        let [to, tree_to] = [self.store.path(self.id), self.store.tree_path(self.id)];
        let fingerprint = fingerprint(self.content.file()).map_err(BlobError::io("examine", &content_path))?;
        let mut index = self.store.index();
        if index.bytes_of(self.id).is_some() {
            drop(index);
            self.store.discard(self.id);
            self.is_finished.store(true, Ordering::Relaxed);
            return Ok(Stored { id: self.id, bytes });
        }
        if self.shape.tree_bytes() > 0 {
            fs::rename(&hashes_path, &tree_to).map_err(BlobError::io("write", &tree_to))?;
        } else {
            let _ = fs::remove_file(&hashes_path);
        }
        self.store.install(self.id, &content_path, &to)?;
        index.arrived(self.id, bytes, fingerprint);
        self.is_finished.store(true, Ordering::Relaxed);
        Ok(Stored { id: self.id, bytes })
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        // Each change is complete before anything that could panic.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_finished() {
            self.store.lay_down(self.id);
        }
    }
}

/// Room that a blob takes with its tree.
pub(super) fn footprint(bytes: u64) -> u64 {
    bytes.saturating_add(Shape::of(bytes).tree_bytes())
}

/// Its content and its tree, while it is not whole.
pub(super) fn paths(store: &BlobStore, id: BlobId) -> (PathBuf, PathBuf) {
    let (incoming, keys) = (&store.0.incoming, &store.0.keys);
    (incoming.join(keys.name(id)), incoming.join(tree_name(keys, id)))
}

/// What its tree is called.
pub(super) fn tree_name(keys: &Keys, id: BlobId) -> String {
    keys.name(id) + TREE_ENDING
}
