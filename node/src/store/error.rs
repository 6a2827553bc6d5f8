//! What can go wrong with the store.

use std::io;
use std::path::{Path, PathBuf};

use super::preview::is_unreadable;

/// Why the store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What it kept cannot be read as a whole; nothing was changed.
    #[error("the task store {} is damaged: {why}", path.display())]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Another process has it.
    #[error("the task store {} is in use by another process", path.display())]
    InUse {
        /// Its file.
        path: PathBuf,
    },
    /// A later release wrote it; nothing was changed.
    #[error("the task store {} has format {theirs}, this shoald reads format {ours}", path.display())]
    NewerFormat {
        /// Its file.
        path: PathBuf,
        /// The format it has.
        theirs: u64,
        /// The newest known here.
        ours: u64,
    },
    /// The disk has no space left, or not enough beyond the reserve; nothing was changed.
    #[error("disk full: {why} ({})", path.display())]
    DiskFull {
        /// Its file.
        path: PathBuf,
        /// What was short.
        why: String,
    },
    /// More would be kept than the store may hold; nothing was changed.
    #[error("the task store is full: {held} of {max} bytes are kept, {needed} more are wanted")]
    Full {
        /// What is kept.
        held: u64,
        /// The most there may be.
        max: u64,
        /// What was asked for.
        needed: u64,
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
    /// The disk failed while it was written to; whether the last batches are on it shows at the next start.
    #[error("the disk failed under the task store {}: {why}", path.display())]
    Failed {
        /// Its file.
        path: PathBuf,
        /// What was seen.
        why: String,
    },
}

impl StoreError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Damaged { .. } => "check the disk; then restore the file from a backup, or keep what can still be \
                 read with `shoald repair-store` and the --config or --data-dir of this peer (the damaged file is set aside)"
                .into(),
            Self::InUse { .. } => "use the shoald that runs (`shoal status`), or stop it first".into(),
            Self::NewerFormat { .. } => "start the release of shoald that wrote it, or a later one".into(),
            Self::DiskFull { .. } => "free space on this disk; nothing else needs to be done".into(),
            Self::Full { .. } => "wait until kept results expire, or submit with a shorter --retention".into(),
            Self::Io { .. } => "check that the data directory exists and belongs to the user shoald runs as".into(),
            Self::Failed { .. } => "check the disk, then start shoald again; what it acknowledged is kept".into(),
        }
    }

    /// Whether it says something of what is in the store, and not of what the system lets a process do now.
    pub(super) fn is_about_its_content(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::NewerFormat { .. } | Self::Failed { .. } => true,
            Self::InUse { .. } | Self::DiskFull { .. } | Self::Full { .. } | Self::Io { .. } => false,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) {
            Self::DiskFull { path, why: source.to_string() }
        } else {
            Self::Io { what, path, source }
        }
    }

    /// A file cannot be read: what the disk has lost is damage, and stays so however often it is tried.
    pub(super) fn of_read(path: &Path, source: io::Error) -> Self {
        if is_unreadable(&source) {
            return Self::damaged(path, format!("the disk cannot read all of it ({source})"));
        }
        Self::io("read", path, source)
    }

    pub(super) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), why: why.into() }
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_cannot_read_is_damage_and_what_it_does_not_let_us_read_is_not() {
        let of = |errno: nix::errno::Errno| StoreError::of_read(Path::new("f"), errno.into());

        assert!(matches!(of(nix::errno::Errno::EIO), StoreError::Damaged { .. }));
        assert!(matches!(of(nix::errno::Errno::EACCES), StoreError::Io { .. }));
    }
}
