//! The key of a store: made with it, found again, and never replaced while something lies under it.
//!
//! ```text
//! store.key there?  yes ─► opens what lies here? ── yes ─► go on       no ─► refused: it is another store's
//!                   no  ─► does anything lie here? ─ no ─► made        yes ─► refused: its blobs could not be read
//! ```
//!
//! **Invariant:** a new key is made only for a store in which nothing is sealed; a key that others could have read is not used.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use shoal_protocol::MeshId;
use zeroize::Zeroizing;

use super::BlobError;
use super::seal::{Beginning, Header, Keys, Small};
use crate::small_file;

/// Files that are asked whether a key is theirs.
const WITNESSES_MAX: usize = 64;
/// Whatever lets anybody but the owner in.
const OTHERS: u32 = 0o077;

/// What a store is sealed with.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// The file of its key; on another device it is not lost with this one.
    pub key_file: PathBuf,
    /// Whose names for blobs are hidden.
    pub mesh: MeshId,
    /// Content stays as it is: what a benchmark compares with.
    is_clear: bool,
}

impl Sealing {
    /// With this key, in this mesh.
    pub fn new(key_file: PathBuf, mesh: MeshId) -> Self {
        Self { key_file, mesh, is_clear: false }
    }

    /// With a key beside the blobs, of a store that is of no mesh.
    pub fn within(dir: &Path) -> Self {
        Self::new(dir.join("store.key"), MeshId([0; 32]))
    }

    /// The same, with content as it is. Only to measure what sealing costs.
    #[doc(hidden)]
    #[must_use]
    pub fn in_the_clear(self) -> Self {
        Self { is_clear: true, ..self }
    }
}

/// The keys of the store in `dir`.
pub(super) fn unlock(dir: &Path, sealing: &Sealing) -> Result<Keys, BlobError> {
    let path = &sealing.key_file;
    let witnesses = witnesses(dir);
    let root = match load(path)? {
        Some(root) => root,
        None if witnesses.is_empty() => create(path)?,
        None => return Err(BlobError::KeyMissing { path: path.clone(), dir: dir.to_owned() }),
    };
    let keys = Keys::of(&root, sealing.mesh).map_err(BlobError::io("use", path))?;
    if !witnesses.is_empty() && !witnesses.iter().any(|witness| is_under(&keys, witness)) {
        return Err(BlobError::WrongKey { path: path.clone(), dir: dir.to_owned() });
    }
    Ok(if sealing.is_clear { keys.in_the_clear() } else { keys })
}

/// Files of the store that are sealed, some of them.
fn witnesses(dir: &Path) -> Vec<PathBuf> {
    let holds = dir.join("holds.cbor");
    let is_sealed = fs::read(&holds).is_ok_and(|bytes| Keys::is_sealed(&bytes));
    let folders = ["objects", "incoming", "manifests"].map(|name| dir.join(name));
    let entries = folders.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let sealed = entries.filter(|entry| entry.file_name().to_str().is_some_and(Keys::is_name));
    is_sealed.then_some(holds).into_iter().chain(sealed.map(|entry| entry.path())).take(WITNESSES_MAX).collect()
}

fn is_under(keys: &Keys, witness: &Path) -> bool {
    let Ok(file) = File::open(witness) else { return false };
    if matches!(Header::read(keys, &file), Ok(Beginning::Good(_))) {
        return true;
    }
    let Ok(bytes) = fs::read(witness) else { return false };
    Keys::is_sealed(&bytes) && [Small::Holds, Small::Manifest].iter().any(|what| keys.open(*what, &bytes).is_some())
}

fn load(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, BlobError> {
    let failed = || BlobError::io("read", path);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed()(error)),
    };
    // Of the open file, not of the name: nobody can swap the file between the check and the read.
    let metadata = file.metadata().map_err(failed())?;
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(BlobError::KeyExposed { path: path.to_owned(), mode });
    }
    let mut root = Zeroizing::new([0; 32]);
    if metadata.len() != root.len() as u64 {
        return Err(BlobError::KeyDamaged { path: path.to_owned(), bytes: metadata.len() });
    }
    file.read_exact(&mut *root).map_err(failed())?;
    Ok(Some(root))
}

fn create(path: &Path) -> Result<Zeroizing<[u8; 32]>, BlobError> {
    let failed = || BlobError::io("create", path);
    let mut root = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *root).map_err(|error| failed()(io::Error::other(error)))?;
    // A half-written key would stop every later start; and its name must survive a power cut: what is sealed from now on depends
    // on it.
    small_file::create(path, &*root, 0o600).map_err(failed())?;
    Ok(root)
}
