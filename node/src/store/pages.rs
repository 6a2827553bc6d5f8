//! The records in the database's file, as redb has it; with `salvage.rs` the only place that names redb.
//!
//! **Invariant:** how far the file goes stands in the same transaction as what it says, so that the file tells itself. No
//! panic of redb leaves these two files.
//! **Not here:** what can be read of a file that redb does not open: `salvage.rs`.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{Builder, CommitError, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use shoal_protocol::store::Change;

use super::Records;
use super::error::{StoreError, is_full};
use super::marker::Mark;
use super::preview::Preview;

pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const FORMAT: &str = "format";
const BOOT: &str = "boot";
const SEQUENCE: &str = "sequence";
const LOG: &str = "log";
/// The layout described here, with a log in front of it; the first had none.
pub(super) const FORMAT_NOW: u64 = 2;
/// Pages kept in memory; the records are read once, at the start.
pub(super) const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Somebody else has the file, it seems: looked at again so often…
const IN_USE_LOOKS: u32 = 25;
/// …and after this. A process that is just being started has what its parent had open, also a file that this one looked at a
/// moment ago, until it is another program.
const IN_USE_PAUSE: Duration = Duration::from_millis(20);

/// What the file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// The layout.
    pub(super) format: u64,
    /// The log it goes with; the first format had none.
    pub(super) log: Option<u64>,
    /// How far it goes.
    pub(super) mark: Mark,
}

/// Changes that put back what stood under the keys of others.
pub(super) type Undo = Vec<Change>;

/// How the file is opened: a disk that fails on demand stands behind it in tests.
pub(super) type Opener = Box<dyn Fn(&Builder, &Path) -> Result<redb::Database, DatabaseError> + Send>;

/// The open file.
pub(super) struct Pages {
    file: Option<redb::Database>,
    path: PathBuf,
}

impl Pages {
    /// A file that redb has opened.
    pub(super) fn new(path: &Path, file: redb::Database) -> Self {
        Self { file: Some(file), path: path.to_owned() }
    }

    /// Opens the file, every page of it checked, after a look that changes nothing. Opening repairs, and what it repairs may
    /// be the only trace of what was lost: `judge` sees it first.
    pub(super) fn open<T>(
        path: &Path,
        opener: &Opener,
        judge: impl Fn(&Self) -> Result<T, StoreError>,
    ) -> Result<(Self, T), StoreError> {
        let mut left = IN_USE_LOOKS;
        loop {
            match Self::open_now(path, opener, &judge) {
                Err(StoreError::InUse { .. }) if left > 0 => left -= 1,
                opened => return opened,
            }
            std::thread::sleep(IN_USE_PAUSE);
        }
    }

    fn open_now<T>(
        path: &Path,
        opener: &Opener,
        judge: &impl Fn(&Self) -> Result<T, StoreError>,
    ) -> Result<(Self, T), StoreError> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        guarded(path, || {
            let preview = Preview::of(path).map_err(|error| match error.kind() {
                std::io::ErrorKind::WouldBlock => StoreError::InUse { path: path.to_owned() },
                _ => StoreError::of_read(path, error),
            })?;
            judge(&Self::new(path, look(path, &builder, preview)?))
        })?;
        guarded(path, || {
            let pages = Self::new(path, opener(&builder, path).map_err(|error| of_open(path, error))?);
            let judged = judge(&pages)?;
            Ok((pages, judged))
        })
    }

    /// What the file says of itself; nothing, if it is a database of something else.
    pub(super) fn facts(&self) -> Result<Option<Facts>, StoreError> {
        self.read(read_facts)
    }

    /// Everything in the file.
    pub(super) fn records(&self) -> Result<Records, StoreError> {
        self.read(|file| {
            let reading = file.begin_read()?;
            let table = reading.open_table(RECORDS)?;
            let entries = table.iter()?;
            entries
                .map(|entry| entry.map(|(key, bytes)| (key.value().to_vec(), bytes.value().to_vec())))
                .collect::<Result<_, _>>()
                .map_err(Into::into)
        })
    }

    /// Bytes of keys and records.
    pub(super) fn held(&self) -> Result<u64, StoreError> {
        self.read(|file| {
            let mut held = 0;
            for entry in file.begin_read()?.open_table(RECORDS)?.iter()? {
                let (key, bytes) = entry?;
                held += (key.value().len() + bytes.value().len()) as u64;
            }
            Ok(held)
        })
    }

    /// How many bytes stand under each of these keys.
    pub(super) fn sizes<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Option<u64>>, StoreError> {
        self.read(|file| {
            let table = file.begin_read()?.open_table(RECORDS)?;
            keys.map(|key| Ok(table.get(key)?.map(|bytes| bytes.value().len() as u64))).collect()
        })
    }

    /// Makes these changes, in one transaction with one fsync.
    pub(super) fn write<'a>(
        &self,
        changes: impl Iterator<Item = &'a Change>,
        facts: Facts,
    ) -> Result<(), (StoreError, Undo)> {
        let path = &self.path;
        let mut undo = Undo::new();
        let Some(file) = &self.file else { return Ok(()) };
        let written = guarded(path, || {
            let transaction = file.begin_write().map_err(|error| of_write(path, error.into()))?;
            {
                let mut records = transaction.open_table(RECORDS).map_err(|error| of_write(path, error.into()))?;
                for change in changes {
                    let (key, before) = match change {
                        Change::Put { key, bytes } => (key, records.insert(key.as_slice(), bytes.as_slice())),
                        Change::Delete { key } => (key, records.remove(key.as_slice())),
                    };
                    let before = before.map_err(|error| of_write(path, error.into()))?;
                    let key = key.clone();
                    undo.push(match before {
                        Some(bytes) => Change::Put { key, bytes: bytes.value().to_vec() },
                        None => Change::Delete { key },
                    });
                }
            }
            put_facts(path, &transaction, facts)?;
            transaction.commit().map_err(|error: CommitError| of_write(path, error.into()))
        });
        undo.reverse();
        written.map_err(|error| (error, undo))
    }

    pub(super) fn read<T>(
        &self,
        reader: impl FnOnce(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        guarded(&self.path, || {
            // Only dropping takes it.
            let Some(file) = &self.file else { return Err(StoreError::damaged(&self.path, "it is closed")) };
            reader(file).map_err(|error| of_read(&self.path, error))
        })
    }
}

impl Drop for Pages {
    /// Lets go of the file; what redb says or does about that changes nothing.
    fn drop(&mut self) {
        if let Some(file) = self.file.take()
            && catch_unwind(AssertUnwindSafe(|| drop(file))).is_err()
        {
            tracing::warn!(file = %self.path.display(), "the task store was not closed in order");
        }
    }
}

fn read_facts(file: &redb::Database) -> Result<Option<Facts>, redb::Error> {
    let reading = file.begin_read()?;
    let table = match reading.open_table(FACTS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let fact = |name: &str| Ok::<_, redb::Error>(table.get(name)?.map(|value| value.value()));
    let (Some(format), Some(sequence), Some(boot)) = (fact(FORMAT)?, fact(SEQUENCE)?, fact(BOOT)?) else {
        return Ok(None);
    };
    let boot = u32::try_from(boot).unwrap_or(u32::MAX);
    Ok(Some(Facts { format, log: fact(LOG)?, mark: Mark { sequence, boot } }))
}

fn put_facts(path: &Path, transaction: &redb::WriteTransaction, facts: Facts) -> Result<(), StoreError> {
    let Facts { format, log, mark } = facts;
    let mut table = transaction.open_table(FACTS).map_err(|error| of_write(path, error.into()))?;
    let named = [(FORMAT, Some(format)), (LOG, log), (SEQUENCE, Some(mark.sequence)), (BOOT, Some(mark.boot.into()))];
    for (name, value) in named {
        if let Some(value) = value {
            table.insert(name, value).map_err(|error| of_write(path, error.into()))?;
        }
    }
    Ok(())
}

/// An empty store: it gets its name when it is whole, so that a file of that name is never half a one.
pub(super) fn create(data_dir: &Path, path: &Path, facts: Facts) -> Result<(), StoreError> {
    let new = path.with_extension("redb.new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::io("remove", &new, error));
        }
        Ok(()) | Err(_) => {}
    }
    guarded(&new, || {
        let file = Builder::new().set_cache_size(CACHE_BYTES).create(&new).map_err(|error| of_open(&new, error))?;
        let transaction = file.begin_write().map_err(|error| of_write(&new, error.into()))?;
        transaction.open_table(RECORDS).map_err(|error| of_write(&new, error.into()))?;
        put_facts(&new, &transaction, facts)?;
        transaction.commit().map_err(|error| of_write(&new, error.into()))
    })?;
    std::fs::rename(&new, path).map_err(|error| StoreError::io("name", path, error))?;
    sync_dir(data_dir)
}

/// A file is only there after a crash if its directory was fsynced.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| StoreError::io("fsync", dir, error))
}

pub(super) fn look(path: &Path, builder: &Builder, preview: Preview) -> Result<redb::Database, StoreError> {
    if preview.is_empty() {
        return Err(StoreError::damaged(path, "it is empty"));
    }
    builder.create_with_backend(preview).map_err(|error| of_open(path, error))
}

/// redb asserts what a damaged file contradicts.
pub(super) fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::damaged(path, format!("its pages contradict each other ({})", said.unwrap_or("no words"))))
    })
}

pub(super) fn of_open(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        error => of_read(path, error.into()),
    }
}

pub(super) fn of_read(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => match error.kind() {
            // Shorter than it says, or not what it should be.
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
                StoreError::damaged(path, error.to_string())
            }
            _ => StoreError::of_read(path, error),
        },
        error => StoreError::damaged(path, error.to_string()),
    }
}

fn of_write(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) if is_full(&error) => {
            StoreError::DiskFull { path: path.to_owned(), why: error.to_string() }
        }
        error => StoreError::Failed { path: path.to_owned(), why: error.to_string() },
    }
}

#[cfg(test)]
pub(super) fn tests_set_facts(path: &Path, format: u64, with_log: bool) {
    let file = redb::Database::open(path).unwrap();
    let transaction = file.begin_write().unwrap();
    transaction.open_table(FACTS).unwrap().insert(FORMAT, format).unwrap();
    if !with_log {
        transaction.open_table(FACTS).unwrap().remove(LOG).unwrap();
    }
    transaction.commit().unwrap();
}
