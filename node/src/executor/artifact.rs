//! Compiled modules on disk. Loading one means running machine code, so only files that this store wrote are loaded.
//!
//! ```text
//! secret             32 random bytes, readable by the owner alone
//! <key>              [BLAKE3 keyed with the secret, over key and code: 32 bytes][code]
//! ```
//!
//! **Invariant:** a file whose seal does not match (torn, altered, written by anyone else, or under another name) is
//! removed and reported as absent. The key covers module, compiler version and settings, so a file never outlives them.
//! **Not here:** what compiled code is; the bytes are opaque.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::NamedTempFile;

use super::ExecutorError;

const SEAL_BYTES: usize = 32;
/// What a torn write leaves begins with this.
const TEMPORARY_PREFIX: &str = ".partial-";

#[derive(Debug)]
pub(super) struct ArtifactCache {
    dir: PathBuf,
    secret: [u8; 32],
    bytes_max: u64,
}

impl ArtifactCache {
    /// Opens or creates the cache; refuses a directory that belongs to somebody else.
    pub(super) fn open(dir: &Path, bytes_max: u64) -> Result<Self, ExecutorError> {
        let unusable = |reason: String| ExecutorError::Cache { path: dir.to_owned(), reason };
        let secret = prepare_dir(dir).and_then(|()| secret_of(dir)).map_err(|error| unusable(error.to_string()))?;
        Ok(Self { dir: dir.to_owned(), secret, bytes_max })
    }

    /// The code stored under a key; anything but what was stored is removed and absent.
    pub(super) fn load(&self, key: &blake3::Hash) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot open a compiled module");
                return None;
            }
        };
        let mut seal = [0; SEAL_BYTES];
        let mut code = Vec::new();
        let read = file.read_exact(&mut seal).and_then(|()| file.read_to_end(&mut code));
        if read.is_err() || self.seal(key, &code) != seal {
            tracing::warn!(path = %path.display(), "a compiled module was damaged or is not ours: it is compiled again");
            let _ = fs::remove_file(&path);
            return None;
        }
        // The age of a file is the time since its last use; losing that only costs a compilation.
        let _ = file.set_modified(SystemTime::now());
        Some(code)
    }

    /// Stores code under a key, removing the longest unused files when there is no room.
    pub(super) fn store(&self, key: &blake3::Hash, code: &[u8]) -> io::Result<()> {
        let bytes = (SEAL_BYTES + code.len()) as u64;
        if bytes > self.bytes_max {
            return Ok(());
        }
        self.make_room(bytes)?;
        let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(&self.dir)?;
        file.write_all(self.seal(key, code).as_bytes())?;
        file.write_all(code)?;
        // Without a sync: what a power cut tears does not match its seal.
        file.persist(self.path(key)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Forgets code that the engine would not load after all.
    pub(super) fn remove(&self, key: &blake3::Hash) {
        let _ = fs::remove_file(self.path(key));
    }

    fn seal(&self, key: &blake3::Hash, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(key.as_bytes());
        hasher.update(code);
        hasher.finalize()
    }

    fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.dir.join(key.to_hex().as_str())
    }

    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut files = Vec::new();
        let mut used = bytes;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let is_code = entry.file_name().to_str().is_some_and(|name| blake3::Hash::from_hex(name).is_ok());
            if is_code {
                let metadata = entry.metadata()?;
                used += metadata.len();
                files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path(), metadata.len()));
            }
        }
        files.sort();
        for (_, path, bytes) in files {
            if used <= self.bytes_max {
                break;
            }
            fs::remove_file(path)?;
            used -= bytes;
        }
        Ok(())
    }
}

/// A directory of our own that nobody else can write to or look into.
fn prepare_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let metadata = fs::symlink_metadata(dir)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is not a directory"));
    }
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// The secret of this cache; a new one, which makes all files strangers, when there is none that is whole.
fn secret_of(dir: &Path) -> io::Result<[u8; 32]> {
    let path = dir.join("secret");
    if let Ok(bytes) = fs::read(&path)
        && let Ok(secret) = bytes.try_into()
    {
        return Ok(secret);
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    // Created readable by its owner alone, which is what temporary files are.
    let mut file: NamedTempFile = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(dir)?;
    file.write_all(&secret)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(secret)
}
