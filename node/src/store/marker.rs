//! How far the store was fsynced, in a file beside it that is itself never fsynced.
//!
//! After a crash the database falls back from a last transaction that is not whole: right if it was torn, a silent loss if
//! it was fsynced and damaged later. This file tells the two apart: it is written after each fsync, so it never promises
//! too much, and the system keeps it when only the process dies.
//!
//! **Invariant:** a marker that cannot be read says nothing, and is no error.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "tasks.synced";
const BYTES: usize = 20;
const CHECKSUM_BYTES: usize = 8;

/// What is known to be on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last transaction that was fsynced.
    pub(super) sequence: u64,
    /// The last start.
    pub(super) boot: u32,
}

#[derive(Debug)]
pub(super) struct Marker(File);

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

pub(super) fn read(data_dir: &Path) -> Option<Mark> {
    let bytes = std::fs::read(path(data_dir)).ok()?;
    let bytes: &[u8; BYTES] = bytes.as_slice().try_into().ok()?;
    let (content, checksum) = bytes.split_at(BYTES - CHECKSUM_BYTES);
    let (sequence, boot) = content.split_at(8);
    let mark = Mark {
        sequence: u64::from_le_bytes(sequence.try_into().ok()?),
        boot: u32::from_le_bytes(boot.try_into().ok()?),
    };
    (sum(content) == checksum).then_some(mark)
}

impl Marker {
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        File::options().create(true).truncate(false).write(true).open(path(data_dir)).map(Self)
    }

    /// Says that this is on disk. A mark that cannot be written only leaves the older one.
    pub(super) fn write(&self, mark: Mark) {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(mark.sequence.to_le_bytes());
        bytes.extend(mark.boot.to_le_bytes());
        bytes.extend(sum(&bytes));
        if let Err(error) = self.0.write_all_at(&bytes, 0) {
            tracing::debug!(%error, "the mark of the task store was not written");
        }
    }
}

fn sum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&blake3::hash(content).as_bytes()[..CHECKSUM_BYTES]);
    sum
}
