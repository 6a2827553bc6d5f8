//! What this peer keeps on disk: keys and bytes, in atomic batches, each answered when it is fsynced.
//!
//! ```text
//! driver ─ persist(ticket, changes) ─► bounded queue ─► one thread ─► one record in the log, one fsync for all that waits
//!    ▲                                                                   │                    later ─► the database
//!    └──────────── every ticket answered, in order ◄─────────────────────┘
//! ```
//!
//! **Invariant:** what was answered as written is found again, or opening the store says that it is damaged: it never
//! opens as if less had been promised. Of a batch, all or nothing is there.
//! **Not here:** what the records mean, and whether a single one is good: `shoal_protocol::store` and `task::durable`.

mod committer;
mod database;
mod error;
mod log;
mod marker;
mod pages;
mod preview;
mod repair;
mod salvage;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use committer::{Answer, Committer, Counts};
pub use error::StoreError;
pub use repair::{Repaired, repair};

pub(crate) use database::{free_bytes, is_in};
pub(crate) use preview::is_unreadable;

use database::Database;

/// The file of the records.
const FILE_NAME: &str = "tasks.redb";
/// Space on the disk that only changes of what is kept already may use: a result finds room when a new task does not.
pub(crate) const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// Records kept in all; beyond that new ones are refused.
const RECORD_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Of the log: two thousand writes one after the other, ten thousand small tasks together, until the database takes them.
/// Half of the reserve, which the database needs room in for as much.
const LOG_BYTES: u64 = 8 * 1024 * 1024;

/// Keys and what stands under them.
pub type Records = Vec<(Vec<u8>, Vec<u8>)>;

/// Bounds of a store.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Free space that new keys may not use.
    pub reserve_bytes: u64,
    /// Bytes of keys and records.
    pub record_bytes_max: u64,
    /// Size of a log that is made.
    pub log_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { reserve_bytes: RESERVE_BYTES, record_bytes_max: RECORD_BYTES_MAX, log_bytes: LOG_BYTES }
    }
}

/// A store that nobody writes to yet.
#[derive(Debug)]
pub struct Store {
    database: Database,
    /// Everything that is kept.
    pub records: Records,
    /// Counts the times it was opened, from 1.
    pub boot: u32,
}

impl Store {
    /// Opens the store of this data directory, or makes one. The count of starts is fsynced when this returns.
    pub fn open(data_dir: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        Self::of(Database::open(data_dir, bounds)?)
    }

    fn of(mut database: Database) -> Result<Self, StoreError> {
        let boot = database.count_start()?;
        let records = database.records()?;
        Ok(Self { database, records, boot })
    }

    /// Begins to write; `answer` is called on the store's thread, once for each group of batches that were written.
    pub fn start(self, answer: impl FnMut(Vec<Answer>) + Send + 'static) -> Result<Committer, StoreError> {
        Committer::start(self.database, answer)
    }
}

/// Where the records of this data directory are.
pub fn file_of(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}
