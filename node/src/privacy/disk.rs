//! The ledger as a file: replaced as a whole, and never taken for empty because it cannot be read.
//!
//! ```text
//! privacy.ledger = BLAKE3 of the rest (32 bytes) · version (1 byte) · CBOR
//! ```

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use shoal_protocol::cbor;
use shoal_protocol::privacy::ledger::Ledger;

use crate::small_file;

const FILE_NAME: &str = "privacy.ledger";
const VERSION: u8 = 1;
const HASH_BYTES: usize = 32;
/// A file beyond this was not written by us: as many releases and figures as there may be take less.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Where a ledger is kept.
pub(super) trait Disk: fmt::Debug + Send {
    /// What was written last; nothing where nothing ever was.
    fn read(&self) -> io::Result<Option<Vec<u8>>>;

    /// Returns when these bytes are on disk instead of the ones before. After an error either may be there.
    fn replace(&self, bytes: &[u8]) -> io::Result<()>;
}

/// A file in the data directory.
#[derive(Debug)]
pub(super) struct File(PathBuf);

impl File {
    pub(super) fn within(dir: &Path) -> Self {
        Self(dir.join(FILE_NAME))
    }
}

impl Disk for File {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        small_file::read(&self.0, FILE_BYTES_MAX)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        small_file::replace(&self.0, bytes, 0o600)
    }
}

/// The ledger that is on disk, or why it cannot be told what was spent.
pub(super) fn load(disk: &dyn Disk) -> Result<Ledger, String> {
    let read = disk.read().map_err(|error| format!("{FILE_NAME} cannot be read: {error}"))?;
    let Some(bytes) = read else { return Ok(Ledger::default()) };
    let damaged = |why: &str| format!("{FILE_NAME} is damaged: {why}; restore it from a backup that is not older");
    let (hash, rest) = bytes.split_at_checked(HASH_BYTES).ok_or_else(|| damaged("it is cut short"))?;
    if blake3::hash(rest).as_bytes() != hash {
        return Err(damaged("its hash is another"));
    }
    match rest.split_first() {
        Some((&VERSION, body)) => cbor::decode(body).map_err(|error| damaged(&error.to_string())),
        Some((version, _)) => Err(damaged(&format!("its version is {version}, and this release reads {VERSION}"))),
        None => Err(damaged("it is empty")),
    }
}

/// Returns when it is on disk.
pub(super) fn save(disk: &dyn Disk, ledger: &Ledger) -> Result<(), String> {
    let mut rest = vec![VERSION];
    rest.extend(cbor::encode(ledger));
    let mut bytes = blake3::hash(&rest).as_bytes().to_vec();
    bytes.extend(rest);
    disk.replace(&bytes).map_err(|error| format!("{FILE_NAME} cannot be written: {error}"))
}
