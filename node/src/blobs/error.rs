//! What can go wrong with a blob on disk.

use std::io;
use std::path::{Path, PathBuf};

use shoal_protocol::id::BlobId;

/// Why a blob cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not in this store.
    #[error("blob {id} is not stored here")]
    NotFound {
        /// Which.
        id: BlobId,
    },
    /// Its bytes changed on disk; it is no longer held.
    #[error("blob {id} is corrupt: its bytes no longer hash to its name; it was set aside at {}", set_aside.display())]
    Corrupt {
        /// Which.
        id: BlobId,
        /// Where its file is.
        set_aside: PathBuf,
    },
    /// What was written is not what was announced; nothing was kept.
    #[error("the bytes written hash to {found}, not to {expected}")]
    WrongContent {
        /// What was announced.
        expected: BlobId,
        /// What came.
        found: BlobId,
    },
    /// More or fewer bytes than announced; nothing was kept.
    #[error("{found} bytes were written where {expected} were announced")]
    WrongSize {
        /// What was announced.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// It is being fetched already.
    #[error("blob {id} is on its way here already")]
    Arriving {
        /// Which.
        id: BlobId,
    },
    /// Over the quota, even with everything unused gone; nothing was kept.
    #[error(
        "no room for {needed} bytes: {held} of the quota of {quota} bytes cannot go ({pinned} are pinned, {leased} are outputs \
         left here, the rest is in use)"
    )]
    NoRoom {
        /// What was asked for.
        needed: u64,
        /// What cannot be evicted.
        held: u64,
        /// The most there may be.
        quota: u64,
        /// Of what is held, what users have pinned.
        pinned: u64,
        /// Of what is held, outputs that homes have a lease on.
        leased: u64,
    },
    /// So many are held on purpose that no more may be.
    #[error("{max} blobs are held here already, and no more can be")]
    TooManyHeld {
        /// The most there may be.
        max: usize,
    },
    /// What is said of it is not believed, or cannot be kept.
    #[error("the manifest of blob {id}: {why}")]
    Manifest {
        /// Which.
        id: BlobId,
        /// What is wrong.
        why: String,
    },
    /// Nobody can tell any more what was said of it.
    #[error("what was said of blob {id} before cannot be read, so that it goes nowhere")]
    Sealed {
        /// Which.
        id: BlobId,
    },
    /// It is needed here.
    #[error("blob {id} is held: {why}")]
    InUse {
        /// Which.
        id: BlobId,
        /// By what.
        why: &'static str,
    },
    /// What is pinned cannot be told.
    #[error("the list of what is pinned, {}, cannot be read", path.display())]
    HoldsDamaged {
        /// The file.
        path: PathBuf,
    },
    /// What is stored is sealed, and its key is not there.
    #[error("the key of the blobs in {}, {}, is not there, and they cannot be read without it", dir.display(), path.display())]
    KeyMissing {
        /// Where the key should be.
        path: PathBuf,
        /// What it is of.
        dir: PathBuf,
    },
    /// What is stored is sealed with another key.
    #[error("the key {} is not the one that the blobs in {} are sealed with", path.display(), dir.display())]
    WrongKey {
        /// The key.
        path: PathBuf,
        /// What it does not open.
        dir: PathBuf,
    },
    /// Others than the owner may read or change the key.
    #[error("the key of the blobs, {}, is open to other users (mode {mode:04o}), so it is no longer a secret", path.display())]
    KeyExposed {
        /// The key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not 32 bytes: cut short, or another file.
    #[error("the key of the blobs, {}, is damaged: {bytes} bytes instead of 32", path.display())]
    KeyDamaged {
        /// The key.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The disk has no space left; nothing was kept.
    #[error("the disk is full: cannot write to {}", path.display())]
    DiskFull {
        /// Where.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl BlobError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "store it with `shoal blob put`, or name a peer that holds it",
            Self::Corrupt { .. } => "store it again; if it happens twice, check the disk",
            Self::WrongContent { .. } | Self::WrongSize { .. } => "fetch it again, from another peer",
            Self::Arriving { .. } => "wait until it is here: `shoal blob ls` lists what is",
            Self::NoRoom { .. } => {
                "`shoal blob ls` shows what is pinned: `shoal blob unpin` what is not needed, or raise capacity.disk"
            }
            Self::TooManyHeld { .. } => "`shoal blob unpin` what is not needed any more",
            Self::Manifest { .. } => {
                "see what is said of it with `shoal blob stat`; `shoal blob rm` it to say something else"
            }
            Self::Sealed { .. } => "`shoal blob rm` it, then store it again and say anew where it may go",
            Self::InUse { .. } => "`shoal blob unpin` it, or wait until the tasks that need it have ended",
            Self::HoldsDamaged { .. } => "remove that file, start again, and pin what is to stay",
            Self::KeyMissing { .. } | Self::WrongKey { .. } => {
                "put back the key that the blobs were sealed with, or mount the device that has it (store.key_file); \
                 to give up what is stored, remove that directory and start again"
            }
            Self::KeyExposed { .. } => {
                "if nobody copied it: chmod 600, or mount its device with umask=077; otherwise move the blobs and the \
                 key away and store them again"
            }
            Self::KeyDamaged { .. } => {
                "restore it from a backup; to give up what is stored, remove it and the directory of the blobs"
            }
            Self::DiskFull { .. } => "free space on this disk, or move the data directory to a larger one",
            Self::Io { .. } => "check that the data directory exists and belongs to the user the daemon runs as",
        }
    }

    /// Names what failed and tells a full disk from other failures.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { what, path, source },
        }
    }
}
