//! Blobs on disk: bytes named by their BLAKE3 hash, within a quota, the least recently used going first.
//!
//! ```text
//! writer ───► temporary file ─► hash and size agree ─┬► renamed into place ─► read, served, evicted ─► erased
//! download ─► partial file ─► every group verified ──┘
//! ```
//!
//! A writer that fails leaves nothing behind; a download leaves what was verified, and is gone on with later. Everything that
//! lies on the disk is sealed (`seal/`).
//!
//! **Invariant:** a name that can be looked up stands for a file that was complete when it got its name; bytes that no
//! longer hash to their name are set aside and never handed out.
//! **Not here:** who may have a blob (policy, in the protocol) and the network (`transfer.rs` takes any stream).

mod erase;
mod error;
mod found;
mod holds;
mod index;
mod manifests;
mod partial;
mod reader;
mod seal;
mod transfer;
mod tree;
mod unlock;
mod upgrade;
mod writer;

#[cfg(test)]
mod tests;

pub use error::BlobError;
pub use holds::Held;
pub use reader::BlobReader;
pub use transfer::{Arriving, Asker, BlobServer, Download, Pace, ServeLimits, TransferError, fetch};
pub use unlock::Sealing;
pub use writer::BlobWriter;

pub(crate) use erase::erase_file;
pub(crate) use seal::{BlobKey, Cipher};

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use shoal_protocol::certificate::SecretKey;
use shoal_protocol::id::{BlobId, PeerId, TaskId};
use shoal_protocol::residency::Labels;

use erase::Eraser;
use found::Finder;
use holds::{Holds, HoldsFile};
use index::{Evicted, Fingerprint, Index};
use manifests::Manifests;
use partial::{Partial, footprint};
use seal::{Content, Keys};
use tree::{Shape, Tree, Unsound};

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
    keys: Arc<Keys>,
    eraser: Eraser,
    /// Whole blobs.
    objects: PathBuf,
    /// Their trees, of those that were fetched or served: made again where one is missing.
    trees: PathBuf,
    /// Files that are being written.
    partial: PathBuf,
    /// Blobs that are here in part.
    incoming: PathBuf,
    set_aside: PathBuf,
    /// Those of which the version before wrote the file, and which are not sealed yet. Locked after the index.
    clear: Mutex<BTreeSet<BlobId>>,
    index: Mutex<Index>,
    /// Those that somebody brings or reads.
    live: Mutex<BTreeMap<BlobId, Weak<Partial>>>,
    /// Locked before the index, where both are.
    holds: Mutex<Holds>,
    /// Locked before what is held.
    holds_file: Mutex<HoldsFile>,
    /// Locked before the index, where both are.
    manifests: Mutex<Manifests>,
    /// Who labels blobs here.
    owner: OnceLock<SecretKey>,
    /// Bytes that came over streams and were verified, since the start.
    fetched: AtomicU64,
}

impl BlobStore {
    /// Opens the store in `dir`, whose key is there as well.
    pub fn open(dir: &Path, quota_bytes: u64) -> Result<Self, BlobError> {
        Self::open_sealed(dir, quota_bytes, &Sealing::within(dir))
    }

    /// Opens the store in `dir`, removes what torn writes left, and evicts down to the quota. What the version before wrote in
    /// the clear is sealed meanwhile.
    pub fn open_sealed(dir: &Path, quota_bytes: u64, sealing: &Sealing) -> Result<Self, BlobError> {
        let names = ["objects", "trees", "partial", "incoming", "set-aside", "manifests", "erasing"];
        let [objects, trees, partial, incoming, set_aside, manifests, erasing] = names.map(|name| dir.join(name));
        for path in [&objects, &trees, &partial, &incoming, &set_aside, &manifests, &erasing] {
            fs::create_dir_all(path).map_err(BlobError::io("create", path))?;
        }
        let keys = Arc::new(unlock::unlock(dir, sealing)?);
        let eraser = Eraser::open(erasing)?;
        found::clear_out(&partial, &eraser)?;
        upgrade::remove_what_can_be_had_again(&incoming, &set_aside)?;
        let finder = Finder { keys: &keys, eraser: &eraser, set_aside: &set_aside };
        let holds_path = dir.join("holds.cbor");
        let holds = Holds::open(&holds_path, &keys)?;
        let is_sealed = fs::read(&holds_path).is_ok_and(|bytes| Keys::is_sealed(&bytes));
        let mut index = Index::new(quota_bytes);
        index.set_held(holds.all());
        let clear = upgrade::clear_blobs(&objects)?;
        let mut whole = finder.find(&objects)?;
        whole.extend(clear.iter().copied());
        whole.sort();
        for (_, id, bytes) in whole {
            index.insert(id, bytes, None);
        }
        let mut surplus = Vec::new();
        for (_, id, bytes) in finder.find(&incoming)? {
            index.insert_part(id, bytes, true);
            surplus.extend(index.lay_down_part(id));
        }
        let clear = Mutex::new(clear.into_iter().map(|(_, id, _)| id).collect());
        let (index, holds, holds_file) = (Mutex::new(index), Mutex::new(holds), Mutex::new(HoldsFile(holds_path)));
        let manifests = Mutex::new(Manifests::open(manifests, Arc::clone(&keys), eraser.clone())?);
        let (owner, fetched) = (OnceLock::new(), AtomicU64::new(0));
        let shared = Shared {
            keys,
            eraser,
            objects,
            trees,
            partial,
            incoming,
            set_aside,
            clear,
            index,
            live: Mutex::default(),
            holds,
            holds_file,
            manifests,
            owner,
            fetched,
        };
        let store = Self(Arc::new(shared));
        if !is_sealed {
            // From now on something lies under the key of this store.
            store.save_holds()?;
        }
        store.unlink(&surplus);
        // A smaller quota than last time, or none left: both only mean that the oldest blobs go.
        let evicted = store.index().make_room(0).unwrap_or_default();
        store.unlink(&evicted);
        store.remove_stray_trees()?;
        // What lapsed while nobody was here.
        store.expire();
        // And what a crash kept from being erased.
        store.0.eraser.erase_soon();
        upgrade::seal_in_the_background(&store);
        Ok(store)
    }

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
            let content = self.open_content(*id)?;
            content.file().sync_all().map_err(BlobError::io("sync", &self.path(*id)))?;
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
        let content = self.open_content(id)?;
        let mut bytes = vec![0; usize::try_from(content.bytes()).unwrap_or(usize::MAX)];
        content.sealed().read_exact_at(0, &mut bytes).map_err(|error| self.reading_failed(id, error))?;
        if BlobId::of(&bytes) == id { Ok(bytes) } else { Err(self.put_aside(id)) }
    }

    /// A blob to be read piece by piece; its content was checked since it was last changed.
    pub fn open_read(&self, id: BlobId) -> Result<BlobReader, BlobError> {
        let pin = self.pin(id)?;
        let content = self.open_content(id)?;
        let fingerprint = fingerprint(content.file()).map_err(|error| self.reading_failed(id, error))?;
        if self.index().verified(id) != Some(fingerprint) {
            if hash(content.sealed().reader()).map_err(|error| self.reading_failed(id, error))? != id {
                return Err(self.put_aside(id));
            }
            self.index().set_verified(id, fingerprint);
        }
        Ok(BlobReader::new(content, pin))
    }

    /// The file of a whole blob, whoever wrote it.
    fn open_content(&self, id: BlobId) -> Result<Content, BlobError> {
        match self.open_file(id).map_err(|error| self.reading_failed(id, error))? {
            Some(content) => Ok(content),
            // It was removed between the look at the index and this.
            None if self.index().bytes_of(id).is_none() => Err(BlobError::NotFound { id }),
            None => Err(self.put_aside(id)),
        }
    }

    fn open_file(&self, id: BlobId) -> io::Result<Option<Content>> {
        let find = |path: &Path| match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        };
        if let Some(file) = find(&self.path(id))? {
            return Content::open(&self.0.keys, file, id);
        }
        if let Some(file) = find(&self.clear_path(id))? {
            return Content::clear(file).map(Some);
        }
        // It may have been sealed between the two looks.
        Content::open(&self.0.keys, File::open(self.path(id))?, id)
    }

    /// A blob to be sent in slices, each checked against the tree as it is read.
    fn open_slices(&self, id: BlobId) -> Result<Slices, BlobError> {
        let pin = self.pin(id)?;
        let content = self.open_content(id)?;
        let tree = self.tree(id, &content)?;
        Ok(Slices { store: self.clone(), id, content, tree, _pin: pin })
    }

    /// The tree of a blob: from disk, or made from its content, which is read for that once.
    fn tree(&self, id: BlobId, content: &Content) -> Result<Tree<Vec<u8>>, BlobError> {
        let shape = Shape::of(content.bytes());
        if self.stat(id) == Some(shape.bytes())
            && let Ok(mut hashes) = fs::read(self.tree_path(id))
            && hashes.len() as u64 == shape.tree_bytes()
            && content.turn_hashes(&self.0.keys, &mut hashes).is_ok()
        {
            return Ok(Tree::new(id, shape, hashes));
        }
        self.build_tree(id, content)
    }

    fn build_tree(&self, id: BlobId, content: &Content) -> Result<Tree<Vec<u8>>, BlobError> {
        let shape = Shape::of(content.bytes());
        let built = Tree::build(shape, io::BufReader::with_capacity(CHUNK_BYTES, content.sealed().reader()));
        let (found, tree) = built.map_err(|error| self.reading_failed(id, error))?;
        if found != id {
            return Err(self.put_aside(id));
        }
        if shape.tree_bytes() > 0
            && content.key().is_some()
            && let Err(error) = self.keep_tree(id, content, tree.hashes().to_vec())
        {
            // It only saves hashing the blob again the next time.
            tracing::warn!(blob = %id, %error, "the tree of a blob cannot be kept");
        }
        Ok(tree.named(id))
    }

    fn keep_tree(&self, id: BlobId, content: &Content, mut hashes: Vec<u8>) -> io::Result<()> {
        content.turn_hashes(&self.0.keys, &mut hashes)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0.partial)?;
        io::Write::write_all(&mut file, &hashes)?;
        file.persist(self.tree_path(id)).map(|_| ()).map_err(|error| error.error)
    }

    /// Trees of blobs that are not here any more, after a crash between the two files.
    fn remove_stray_trees(&self) -> Result<(), BlobError> {
        let whole = self.list().into_iter().map(|(id, _)| self.0.keys.name(id)).collect();
        let parts = self.parts().into_iter().map(|(id, _)| partial::tree_name(&self.0.keys, id)).collect();
        found::remove_all_but(&self.0.trees, "", &whole)?;
        found::remove_all_but(&self.0.incoming, partial::TREE_ENDING, &parts)
    }

    /// The size of a blob of which a part is here.
    pub fn part_of(&self, id: BlobId) -> Option<u64> {
        self.index().part_of(id)
    }

    /// All blobs that are here in part, with their sizes when they are whole.
    pub fn parts(&self) -> Vec<(BlobId, u64)> {
        self.index().parts()
    }

    /// Bytes that came over streams and were verified, since the store was opened.
    pub fn fetched_bytes(&self) -> u64 {
        self.0.fetched.load(Ordering::Relaxed)
    }

    /// The size of a blob that is here.
    pub fn stat(&self, id: BlobId) -> Option<u64> {
        let bytes = self.index().bytes_of(id)?;
        (!self.is_over(id)).then_some(bytes)
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
        if !self.is_over(id) && self.index().pin(id) {
            Ok(Pin { store: self.clone(), id })
        } else {
            Err(BlobError::NotFound { id })
        }
    }

    /// Keeps a blob until [`Self::unpin_for_user`], over restarts and power cuts. Blocks for a few fsyncs.
    pub fn pin_for_user(&self, id: BlobId) -> Result<(), BlobError> {
        let _pin = self.pin(id)?;
        self.make_durable(&[id])?;
        let was = self.held(id).pinned;
        self.change_holds(|holds| holds.pin(id))?;
        self.save_holds().inspect_err(|_| {
            if !was {
                self.change_holds(|holds| holds.unpin(id));
            }
        })
    }

    /// What users have pinned.
    pub fn pinned(&self) -> std::collections::BTreeSet<BlobId> {
        self.holds().pinned().clone()
    }

    /// Lets it go again; whether it was pinned. Blocks for an fsync.
    pub fn unpin_for_user(&self, id: BlobId) -> Result<bool, BlobError> {
        let was = self.change_holds(|holds| holds.unpin(id));
        self.save_holds().map(|()| was)
    }

    /// An output that is to stay here until a date, for the home of its task; the one that stays already where none is named.
    /// Outputs together may take half of the quota. It outlives the daemon after the next [`Self::save_holds`].
    pub fn lease(&self, home: PeerId, task: TaskId, blob: Option<BlobId>, until_unix_s: u64) -> Result<(), BlobError> {
        let known = || self.holds().leased(home, task);
        let Some(id) = blob.or_else(known) else { return Ok(()) };
        let _pin = self.pin(id)?;
        let bytes = self.stat(id).map_or(0, footprint);
        let is_new = !self.held(id).is_held();
        let (pinned, leased) = self.index().held_bytes();
        let (_, quota) = self.usage();
        if is_new && leased.saturating_add(bytes) > quota / 2 {
            return Err(BlobError::NoRoom { needed: bytes, held: pinned + leased, quota, pinned, leased });
        }
        self.change_holds(|holds| holds.lease(home, task, id, until_unix_s))
    }

    /// The home of a task does not need its output any more; whether it did.
    pub fn release_lease(&self, home: PeerId, task: TaskId) -> bool {
        self.change_holds(|holds| holds.release(home, task))
    }

    /// Lets outputs go whose time is over; whether there were any.
    pub fn expire_leases(&self, now_unix_s: u64) -> bool {
        self.change_holds(|holds| holds.expire(now_unix_s))
    }

    /// Writes down what is held. Blocks for an fsync.
    pub fn save_holds(&self) -> Result<(), BlobError> {
        let file = self.0.holds_file.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken once it is our turn to write: the last to write writes the newest.
        let record = self.holds().record();
        file.write(record, &self.0.keys)
    }

    /// Why a blob stays, if it does.
    pub fn held(&self, id: BlobId) -> Held {
        self.index().held(id)
    }

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
        index.remove(id);
        index.remove_part(id);
        self.unlink(removed.as_slice());
        drop(index);
        let was_aside = self.forget_aside(id);
        if removed.is_none() && !was_aside {
            return Err(BlobError::NotFound { id });
        }
        self.forget_manifests(id);
        self.0.eraser.erase();
        Ok(())
    }

    /// Erases what was set aside of a blob; whether there was something.
    fn forget_aside(&self, id: BlobId) -> bool {
        self.0.eraser.doom(&self.0.set_aside.join(self.0.keys.name(id)))
    }

    /// A key for something else that is kept beside these blobs.
    pub(crate) fn derived_key(&self, context: &str) -> [u8; 32] {
        self.0.keys.derived(context)
    }

    /// How much of a blob that is here in part is on disk; what its file takes, so about.
    pub fn part_bytes(&self, id: BlobId) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let (content, _) = partial::paths(self, id);
        fs::metadata(content).map_or(0, |metadata| (metadata.blocks() * 512).min(metadata.len()))
    }

    fn change_holds<T>(&self, change: impl FnOnce(&mut Holds) -> T) -> T {
        let mut holds = self.holds();
        let changed = change(&mut holds);
        self.index().set_held(holds.all());
        changed
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        // Each change is complete before anything that could panic.
        self.0.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manifests(&self) -> MutexGuard<'_, Manifests> {
        // Each change is complete before anything that could panic.
        self.0.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, id: BlobId) -> bool {
        self.index().touch(id)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Each change of the index is complete before anything that could panic.
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: BlobId) -> PathBuf {
        self.0.objects.join(self.0.keys.name(id))
    }

    /// Where its bytes are on the disk.
    #[cfg(test)]
    pub(crate) fn file_of(&self, id: BlobId) -> PathBuf {
        self.path(id)
    }

    fn tree_path(&self, id: BlobId) -> PathBuf {
        self.0.trees.join(self.0.keys.name(id))
    }

    /// A whole file gets its place. Something else may be there that nobody can read, or may read any more.
    fn install(&self, id: BlobId, from: &Path, to: &Path) -> Result<(), BlobError> {
        if self.0.eraser.doom(to) | self.forget_clear(id) {
            self.0.eraser.erase_soon();
        }
        fs::rename(from, to).map_err(BlobError::io("write", to))
    }

    /// A blob in part that somebody brings or reads just now.
    fn live(&self, id: BlobId) -> Option<Arc<Partial>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner).get(&id)?.upgrade()
    }

    fn enliven(&self, partial: Partial) -> Arc<Partial> {
        let partial = Arc::new(partial);
        let mut live = self.0.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, partial| partial.strong_count() > 0);
        live.insert(partial.id(), Arc::downgrade(&partial));
        partial
    }

    /// Takes room for a blob of which a part is to be here.
    fn begin(&self, id: BlobId, bytes: u64) -> Result<(), BlobError> {
        let mut index = self.index();
        if index.is_part_taken(id) {
            return Err(BlobError::Arriving { id });
        }
        if index.part_of(id).is_some() {
            index.remove_part(id);
            self.unlink(&[Evicted::Part(id)]);
        }
        let evicted = index.make_room(footprint(bytes))?;
        index.insert_part(id, bytes, true);
        self.unlink(&evicted);
        drop(index);
        self.0.eraser.keep_up();
        Ok(())
    }

    /// The size of a blob of which a part is here, for the one who brings the rest.
    fn take_up(&self, id: BlobId) -> Result<Option<u64>, BlobError> {
        let mut index = self.index();
        if index.is_part_taken(id) { Err(BlobError::Arriving { id }) } else { Ok(index.take_part(id)) }
    }

    /// Nobody brings the rest of it any more.
    fn lay_down(&self, id: BlobId) {
        let mut index = self.index();
        let surplus = index.lay_down_part(id);
        self.unlink(&surplus);
    }

    /// What is here of it is of no use.
    fn discard(&self, id: BlobId) {
        let mut index = self.index();
        index.remove_part(id);
        self.unlink(&[Evicted::Part(id)]);
    }

    /// Takes `bytes` of the quota for a writer; blobs nobody uses make room.
    fn reserve(&self, bytes: u64) -> Result<(), BlobError> {
        let mut index = self.index();
        let evicted = index.make_room(bytes)?;
        index.reserve(bytes);
        // Under the lock, so that a blob written again meanwhile does not lose its new file.
        self.unlink(&evicted);
        drop(index);
        self.0.eraser.keep_up();
        Ok(())
    }

    fn release(&self, bytes: u64) {
        self.index().release(bytes);
    }

    /// Takes what was evicted out of reach at once; it is erased soon.
    fn unlink(&self, evicted: &[Evicted]) {
        for evicted in evicted {
            let (content, tree, was_clear) = match *evicted {
                Evicted::Blob(id) => (self.path(id), self.tree_path(id), self.forget_clear(id)),
                Evicted::Part(id) => {
                    let (content, tree) = partial::paths(self, id);
                    (content, tree, false)
                }
            };
            if !(self.0.eraser.doom(&content) | was_clear) {
                tracing::warn!(path = %content.display(), "what was evicted is gone already");
            }
            // Not every blob has one.
            let _ = fs::remove_file(tree);
        }
        if !evicted.is_empty() {
            self.0.eraser.erase_soon();
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
        let name = self.0.keys.name(id);
        let (from, to) = match self.is_clear(id) {
            true => (self.clear_path(id), self.0.set_aside.join(upgrade::clear_name(id))),
            false => (self.path(id), self.0.set_aside.join(&name)),
        };
        let _ = fs::remove_file(self.tree_path(id));
        // It may not be the first time.
        if self.forget_aside(id) {
            self.0.eraser.erase_soon();
        }
        if let Err(error) = fs::rename(from, &to) {
            tracing::warn!(blob = %id, %error, "cannot set a corrupt blob aside");
        }
        self.no_longer_clear(id);
        drop(index);
        found::keep_newest(&self.0.set_aside, SET_ASIDE_MAX, &self.0.eraser);
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

/// An open blob with its tree; it stays while it is sent.
#[derive(Debug)]
struct Slices {
    store: BlobStore,
    id: BlobId,
    content: Content,
    tree: Tree<Vec<u8>>,
    _pin: Pin,
}

impl Slices {
    fn shape(&self) -> Shape {
        self.tree.shape()
    }

    /// A slice with its hashes. Nothing is handed out that its receiver would find to be wrong.
    fn encode(&mut self, groups: &std::ops::Range<u64>) -> Result<Vec<u8>, BlobError> {
        let failed = |unsound, store: &BlobStore| match unsound {
            Unsound::Changed => None,
            Unsound::Io(error) => Some(store.reading_failed(self.id, error)),
        };
        match self.tree.encode(self.content.sealed(), groups) {
            Ok(encoded) => return Ok(encoded),
            Err(unsound) => failed(unsound, &self.store).map_or(Ok(()), Err)?,
        }
        // The tree may be damaged and the blob whole; if not, it is set aside.
        self.tree = self.store.build_tree(self.id, &self.content)?;
        let again = self.tree.encode(self.content.sealed(), groups);
        again.map_err(|unsound| failed(unsound, &self.store).unwrap_or_else(|| self.store.put_aside(self.id)))
    }
}

fn fingerprint(file: &File) -> io::Result<Fingerprint> {
    let metadata = file.metadata()?;
    Ok(Fingerprint { bytes: metadata.len(), modified: metadata.modified()? })
}

fn hash(mut content: impl Read) -> io::Result<BlobId> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = content.read(&mut chunk)?;
        if count == 0 {
            return Ok(BlobId(*hasher.finalize().as_bytes()));
        }
        hasher.update(&chunk[..count]);
    }
}
