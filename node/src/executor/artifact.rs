//! Compiled modules on disk. Loading one means running machine code, so only files that this store wrote are loaded.
//!
//! ```text
//! <name>    keyed BLAKE3 of the key
//! file      [nonce: 16 bytes][keyed BLAKE3 over key, nonce and what follows: 32 bytes][code, sealed]
//! ```
//!
//! All three keys follow from that of the blobs: code says as much as the module that it was made of.
//!
//! **Invariant:** a file whose seal does not match (torn, altered, written by anyone else, or under another name) is
//! removed and reported as absent. The key covers module, compiler version and settings, so a file never outlives them.
//! **Not here:** what compiled code is; the bytes are opaque.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::ExecutorError;
use crate::blobs::{BlobKey, Cipher, erase_file};

const NONCE_BYTES: usize = 16;
const SEAL_BYTES: usize = 32;
/// What a torn write leaves begins with this.
const TEMPORARY_PREFIX: &str = ".partial-";
/// Where the version before had its key; its code was in the clear.
const SECRET_BEFORE: &str = "secret";

#[derive(Debug)]
pub(super) struct ArtifactCache {
    dir: PathBuf,
    names: Zeroizing<[u8; 32]>,
    seals: Zeroizing<[u8; 32]>,
    codes: Zeroizing<[u8; 32]>,
    bytes_max: u64,
}

impl ArtifactCache {
    /// Opens or creates the cache; refuses a directory that belongs to somebody else.
    pub(super) fn open(dir: &Path, bytes_max: u64, secret: [u8; 32]) -> Result<Self, ExecutorError> {
        let unusable = |error: io::Error| ExecutorError::Cache { path: dir.to_owned(), reason: error.to_string() };
        prepare_dir(dir).and_then(|()| remove_clear(dir)).map_err(unusable)?;
        let secret = Zeroizing::new(secret);
        let key = |context| Zeroizing::new(blake3::derive_key(context, &*secret));
        Ok(Self {
            dir: dir.to_owned(),
            names: key("shoal 2026-11 names of compiled modules"),
            seals: key("shoal 2026-11 seals of compiled modules"),
            codes: key("shoal 2026-11 codes of compiled modules"),
            bytes_max,
        })
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
        let (mut nonce, mut seal, mut code) = ([0; NONCE_BYTES], [0; SEAL_BYTES], Vec::new());
        let read = file.read_exact(&mut nonce).and_then(|()| file.read_exact(&mut seal));
        let read = read.and_then(|()| file.read_to_end(&mut code));
        let is_ours = read.is_ok() && self.seal(key, &nonce, &code) == seal;
        if !is_ours || self.turn(key, &nonce, &mut code).is_err() {
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
        let bytes = (NONCE_BYTES + SEAL_BYTES + code.len()) as u64;
        if bytes > self.bytes_max {
            return Ok(());
        }
        self.make_room(bytes)?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let mut code = code.to_vec();
        self.turn(key, &nonce, &mut code)?;
        let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(&self.dir)?;
        file.write_all(&nonce)?;
        file.write_all(self.seal(key, &nonce, &code).as_bytes())?;
        file.write_all(&code)?;
        // Without a sync: what a power cut tears does not match its seal.
        file.persist(self.path(key)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Whether there is something under a key.
    pub(super) fn has(&self, key: &blake3::Hash) -> bool {
        self.path(key).exists()
    }

    /// Forgets code that the engine would not load after all, or that nobody may read any more.
    pub(super) fn remove(&self, key: &blake3::Hash) {
        let path = self.path(key);
        match erase_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot erase a compiled module");
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn seal(&self, key: &blake3::Hash, nonce: &[u8; NONCE_BYTES], code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.seals);
        hasher.update(key.as_bytes());
        hasher.update(nonce);
        hasher.update(code);
        hasher.finalize()
    }

    /// Seals code or opens it.
    fn turn(&self, key: &blake3::Hash, nonce: &[u8; NONCE_BYTES], code: &mut [u8]) -> io::Result<()> {
        let mut hasher = blake3::Hasher::new_keyed(&self.codes);
        hasher.update(key.as_bytes());
        hasher.update(nonce);
        Cipher::new(&BlobKey::of(*hasher.finalize().as_bytes()))?.apply(0, code)
    }

    fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.dir.join(blake3::keyed_hash(&self.names, key.as_bytes()).to_hex().as_str())
    }

    fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut files = Vec::new();
        let mut used = bytes;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if is_code(&entry) {
                let metadata = match entry.metadata() {
                    // Forgotten meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    known => known?,
                };
                used += metadata.len();
                files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path(), metadata.len()));
            }
        }
        files.sort();
        for (_, path, bytes) in files {
            if used <= self.bytes_max {
                break;
            }
            match erase_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => used -= bytes,
            }
        }
        Ok(())
    }
}

fn is_code(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| blake3::Hash::from_hex(name).is_ok())
}

/// What the version before has left.
fn remove_clear(dir: &Path) -> io::Result<()> {
    let secret = dir.join(SECRET_BEFORE);
    if !secret.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if is_code(&entry) {
            fs::remove_file(entry.path())?;
        }
    }
    // Last: as long as it is there, there may be more.
    fs::remove_file(secret)
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
