//! Blobs on disk: bytes named by their BLAKE3 hash, within a quota, the least recently used going first.
//!
//! ```text
//! writer ───► temporary file ─► hash and size agree ─┬► renamed into place ─► read, served, evicted
//! download ─► partial file ─► every group verified ──┘
//! ```
//!
//! A writer that fails leaves nothing behind; a download leaves what was verified, and is gone on with later.
//!
//! **Invariant:** a name that can be looked up stands for a file that was complete when it got its name; bytes that no
//! longer hash to their name are set aside and never handed out.
//! **Not here:** who may have a blob (policy, in the protocol) and the network (`transfer.rs` takes any stream).

mod error;
mod holds;
mod index;
mod manifests;
mod partial;
mod transfer;
mod tree;
mod writer;

#[cfg(test)]
mod tests;

pub use error::BlobError;
pub use holds::Held;
pub use transfer::{Arriving, Asker, BlobServer, Download, Pace, ServeLimits, TransferError, fetch};
pub use writer::BlobWriter;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::SystemTime;

use shoal_protocol::certificate::SecretKey;
use shoal_protocol::id::{BlobId, PeerId, TaskId};
use shoal_protocol::residency::Labels;

use holds::{Holds, HoldsFile};
use index::{Evicted, Fingerprint, Index};
use manifests::Manifests;
use partial::{Partial, footprint};
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
    /// Whole blobs, by name.
    objects: PathBuf,
    /// Their trees, of those that were fetched or served: made again where one is missing.
    trees: PathBuf,
    /// Files that are being written.
    partial: PathBuf,
    /// Blobs that are here in part.
    incoming: PathBuf,
    set_aside: PathBuf,
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
    /// Opens the store in `dir`, removes what torn writes left, and evicts down to the quota.
    pub fn open(dir: &Path, quota_bytes: u64) -> Result<Self, BlobError> {
        let names = ["objects", "trees", "partial", "incoming", "set-aside", "manifests"];
        let [objects, trees, partial, incoming, set_aside, manifests] = names.map(|name| dir.join(name));
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(BlobError::io("remove unfinished writes in", &partial))?;
        }
        for path in [&objects, &trees, &partial, &incoming, &set_aside, &manifests] {
            fs::create_dir_all(path).map_err(BlobError::io("create", path))?;
        }
        let holds_path = dir.join("holds.cbor");
        let holds = Holds::open(&holds_path)?;
        let mut index = Index::new(quota_bytes);
        index.set_held(holds.all());
        for (_, id, bytes) in found(&objects)? {
            index.insert(id, bytes, None);
        }
        let mut surplus = Vec::new();
        for (_, id, bytes) in found(&incoming)? {
            index.insert_part(id, bytes, true);
            surplus.extend(index.lay_down_part(id));
        }
        let (index, holds, holds_file) = (Mutex::new(index), Mutex::new(holds), Mutex::new(HoldsFile(holds_path)));
        let manifests = Mutex::new(Manifests::open(manifests)?);
        let (owner, fetched) = (OnceLock::new(), AtomicU64::new(0));
        let shared = Shared {
            objects,
            trees,
            partial,
            incoming,
            set_aside,
            index,
            live: Mutex::default(),
            holds,
            holds_file,
            manifests,
            owner,
            fetched,
        };
        let store = Self(Arc::new(shared));
        store.unlink(&surplus);
        // A smaller quota than last time, or none left: both only mean that the oldest blobs go.
        let evicted = store.index().make_room(0).unwrap_or_default();
        store.unlink(&evicted);
        store.remove_stray_trees()?;
        // What lapsed while nobody was here.
        store.expire();
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

    /// A blob to be sent in slices, each checked against the tree as it is read.
    fn open_slices(&self, id: BlobId) -> Result<Slices, BlobError> {
        let pin = self.pin(id)?;
        let content = File::open(self.path(id)).map_err(|error| self.reading_failed(id, error))?;
        let bytes = content.metadata().map_err(|error| self.reading_failed(id, error))?.len();
        let tree = self.tree(id, &content, Shape::of(bytes))?;
        Ok(Slices { store: self.clone(), id, content, tree, _pin: pin })
    }

    /// The tree of a blob: from disk, or made from its content, which is read for that once.
    fn tree(&self, id: BlobId, content: &File, shape: Shape) -> Result<Tree<Vec<u8>>, BlobError> {
        if self.stat(id) == Some(shape.bytes())
            && let Ok(hashes) = fs::read(self.tree_path(id))
            && hashes.len() as u64 == shape.tree_bytes()
        {
            return Ok(Tree::new(id, shape, hashes));
        }
        self.build_tree(id, content, shape)
    }

    fn build_tree(&self, id: BlobId, content: &File, shape: Shape) -> Result<Tree<Vec<u8>>, BlobError> {
        let mut from_start = content;
        let built = from_start
            .seek(SeekFrom::Start(0))
            .and_then(|_| Tree::build(shape, io::BufReader::with_capacity(CHUNK_BYTES, content)));
        let (found, tree) = built.map_err(|error| self.reading_failed(id, error))?;
        if found != id {
            return Err(self.put_aside(id));
        }
        if shape.tree_bytes() > 0
            && let Err(error) = self.keep_tree(id, tree.hashes())
        {
            // It only saves hashing the blob again the next time.
            tracing::warn!(blob = %id, %error, "the tree of a blob cannot be kept");
        }
        Ok(tree.named(id))
    }

    fn keep_tree(&self, id: BlobId, hashes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.0.partial)?;
        io::Write::write_all(&mut file, hashes)?;
        file.persist(self.tree_path(id)).map(|_| ()).map_err(|error| error.error)
    }

    /// Trees of blobs that are not here any more, after a crash between the two files.
    fn remove_stray_trees(&self) -> Result<(), BlobError> {
        for (_, id, _) in found(&self.0.trees)? {
            if self.stat(id).is_none() {
                let _ = fs::remove_file(self.tree_path(id));
            }
        }
        let incoming = &self.0.incoming;
        for entry in fs::read_dir(incoming).map_err(BlobError::io("list", incoming))?.flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| format!("b3:{}", name.strip_suffix(".tree")?).parse().ok());
            if id.is_some_and(|id| self.part_of(id).is_none()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
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
        file.write(&record)
    }

    /// Why a blob stays, if it does.
    pub fn held(&self, id: BlobId) -> Held {
        self.index().held(id)
    }

    /// Removes a blob, or what is here of one, that nothing holds.
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
            (Some(_), _) => Evicted::Blob(id),
            (None, Some(_)) => Evicted::Part(id),
            (None, None) => return Err(BlobError::NotFound { id }),
        };
        index.remove(id);
        index.remove_part(id);
        self.unlink(&[removed]);
        drop(index);
        self.forget_manifests(id);
        Ok(())
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
        self.0.objects.join(file_name(id))
    }

    fn tree_path(&self, id: BlobId) -> PathBuf {
        self.0.trees.join(file_name(id))
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
        index.remove_part(id);
        let evicted = index.make_room(footprint(bytes))?;
        index.insert_part(id, bytes, true);
        self.unlink(&evicted);
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
        Ok(())
    }

    fn release(&self, bytes: u64) {
        self.index().release(bytes);
    }

    fn unlink(&self, evicted: &[Evicted]) {
        for evicted in evicted {
            let (content, tree) = match evicted {
                Evicted::Blob(id) => (self.path(*id), self.tree_path(*id)),
                Evicted::Part(id) => partial::paths(self, *id),
            };
            if let Err(error) = fs::remove_file(&content) {
                tracing::warn!(path = %content.display(), %error, "cannot remove what was evicted");
            }
            // Not every blob has one.
            let _ = fs::remove_file(tree);
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
        let _ = fs::remove_file(self.tree_path(id));
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

/// An open blob with its tree; it stays while it is sent.
#[derive(Debug)]
struct Slices {
    store: BlobStore,
    id: BlobId,
    content: File,
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
        match self.tree.encode(&self.content, groups) {
            Ok(encoded) => return Ok(encoded),
            Err(unsound) => failed(unsound, &self.store).map_or(Ok(()), Err)?,
        }
        // The tree may be damaged and the blob whole; if not, it is set aside.
        self.tree = self.store.build_tree(self.id, &self.content, self.shape())?;
        let again = self.tree.encode(&self.content, groups);
        again.map_err(|unsound| failed(unsound, &self.store).unwrap_or_else(|| self.store.put_aside(self.id)))
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
