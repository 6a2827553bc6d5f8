//! The records in their file. The only place that names redb.
//!
//! **Invariant:** `sequence` grows by one with each transaction and stands in the same transaction, so that the file says
//! itself how far it goes. No panic of redb leaves this file.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, CommitError, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use shoal_protocol::store::Change;

use super::error::{StoreError, is_full};
use super::marker::{self, Mark, Marker};
use super::preview::Preview;
use super::{Bounds, Records, file_of};

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const FORMAT: &str = "format";
const BOOT: &str = "boot";
const SEQUENCE: &str = "sequence";
/// The layout described here.
const FORMAT_NOW: u64 = 1;
/// Pages kept in memory; the records are read once, at the start.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// What stood under the keys of a batch before.
type Undo = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type Batch<'a> = &'a [Change];

/// How the file is opened: a disk that fails on demand stands behind it in tests.
pub(super) type Opener = Box<dyn Fn(&Builder, &Path) -> Result<redb::Database, DatabaseError> + Send>;

pub(super) struct Database {
    path: PathBuf,
    data_dir: PathBuf,
    bounds: Bounds,
    opener: Opener,
    /// Absent while the file cannot be used.
    file: Option<redb::Database>,
    marker: Marker,
    mark: Mark,
    /// Bytes of keys and records.
    held: u64,
    /// A transaction that was reported as failed, and what to put back should it be found.
    disowned: Option<(u64, Undo)>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.path).field("mark", &self.mark).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens what is there, every page of it checked; makes an empty one where nothing was ever kept.
    pub(super) fn open(data_dir: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        Self::open_by(data_dir, bounds, Box::new(|builder, path| builder.open(path)))
    }

    /// The same, with the file opened in this way.
    pub(super) fn open_by(data_dir: &Path, bounds: Bounds, opener: Opener) -> Result<Self, StoreError> {
        let path = file_of(data_dir);
        let known = marker::read(data_dir);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) if known.is_some() => {
                return Err(StoreError::damaged(&path, "the file is gone, though tasks were kept in it"));
            }
            Ok(false) => create(data_dir, &path, Mark::default())?,
            Err(error) => return Err(StoreError::io("look for", &path, error)),
        }
        let marker = Marker::open(data_dir).map_err(|error| StoreError::io("open", &marker::path(data_dir), error))?;
        let mut database = Self {
            path,
            data_dir: data_dir.to_owned(),
            bounds,
            opener,
            file: None,
            marker,
            mark: known.unwrap_or_default(),
            held: 0,
            disowned: None,
        };
        database.reopen()?;
        Ok(database)
    }

    /// Opens the file again, after it could not be used.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        self.close();
        let path = self.path.clone();
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        // Opening repairs, and what it repairs may be the only trace of what was lost: first a look that changes nothing.
        guarded(&path, || {
            let preview = Preview::of(&path).map_err(|error| match error.kind() {
                std::io::ErrorKind::WouldBlock => StoreError::InUse { path: path.clone() },
                _ => StoreError::io("open", &path, error),
            })?;
            if preview.is_empty() {
                return Err(StoreError::damaged(&path, "it is empty"));
            }
            let file = builder.create_with_backend(preview).map_err(|error| of_open(&path, error))?;
            self.judge(&file)
        })?;
        let (file, mark, held) = guarded(&path, || {
            let file = (self.opener)(&builder, &path).map_err(|error| of_open(&path, error))?;
            let (mark, held) = self.judge(&file)?;
            Ok((file, mark, held))
        })?;
        self.mark = mark;
        self.held = held;
        self.file = Some(file);
        if let Some((sequence, undo)) = self.disowned.take()
            && sequence == mark.sequence
        {
            self.put_back(undo)?;
        }
        Ok(())
    }

    /// Whether the file has all that it should, how far it goes and how much it holds.
    fn judge(&self, file: &redb::Database) -> Result<(Mark, u64), StoreError> {
        let path = &self.path;
        let facts = read_facts(file).map_err(|error| of_read(path, error))?;
        let Some(Facts { format, mark }) = facts else {
            return Err(StoreError::damaged(path, "it is a database, but not of tasks"));
        };
        if format > FORMAT_NOW {
            return Err(StoreError::NewerFormat { path: path.clone(), theirs: format, ours: FORMAT_NOW });
        }
        if mark.sequence < self.mark.sequence {
            let why = format!(
                "it ends with write {}, though {} were acknowledged: the last ones cannot be read",
                mark.sequence, self.mark.sequence
            );
            return Err(StoreError::damaged(path, why));
        }
        Ok((mark, held(file).map_err(|error| of_read(path, error))?))
    }

    /// What was reported as not written must not be there.
    fn put_back(&mut self, undo: Undo) -> Result<(), StoreError> {
        let changes: Vec<Change> = undo
            .into_iter()
            .rev()
            .map(|(key, before)| match before {
                Some(bytes) => Change::Put { key, bytes },
                None => Change::Delete { key },
            })
            .collect();
        self.write(&[&changes], None).map(drop)
    }

    /// One more start; fsynced when this returns.
    pub(super) fn count_start(&mut self) -> Result<u32, StoreError> {
        let boot = self.mark.boot.saturating_add(1);
        self.write(&[], Some(boot))?;
        Ok(boot)
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all batches in one transaction with one fsync. The outer error is of all of them, and none is there then;
    /// an inner one is of a batch that was refused before anything of it was written.
    pub(super) fn commit(&mut self, batches: &[Batch<'_>]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.write(batches, None)
    }

    fn write(&mut self, batches: &[Batch<'_>], boot: Option<u32>) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let Some(file) = &self.file else {
            return Err(StoreError::Failed { path: self.path.clone(), why: "it is closed".into() });
        };
        let mark = Mark { sequence: self.mark.sequence + 1, boot: boot.unwrap_or(self.mark.boot) };
        let path = &self.path;
        let mut room = Room { path, bounds: self.bounds, held: self.held, free: free_bytes(&self.data_dir) };
        let mut undo = Undo::new();
        let written = guarded(path, || {
            let transaction = file.begin_write().map_err(|error| of_write(path, error.into()))?;
            let answers = {
                let mut records = transaction.open_table(RECORDS).map_err(|error| of_write(path, error.into()))?;
                let apply = |batch: &Batch<'_>| apply(&mut records, batch, &mut room, &mut undo);
                let answers: Result<Vec<_>, _> = batches.iter().map(apply).collect();
                answers.map_err(|error| of_write(path, error.into()))?
            };
            {
                let mut facts = transaction.open_table(FACTS).map_err(|error| of_write(path, error.into()))?;
                for (name, value) in [(SEQUENCE, mark.sequence), (BOOT, u64::from(mark.boot))] {
                    facts.insert(name, value).map_err(|error| of_write(path, error.into()))?;
                }
            }
            transaction.commit().map_err(|error: CommitError| of_write(path, error.into()))?;
            Ok(answers)
        });
        match written {
            Ok(answers) => {
                self.held = room.held;
                self.mark = mark;
                self.marker.write(mark);
                Ok(answers)
            }
            Err(error) => {
                // After a failed write neither redb nor the page cache can be relied on; the file is looked at anew.
                self.disowned = Some((mark.sequence, undo));
                self.close();
                Err(error)
            }
        }
    }

    /// Everything that is kept.
    pub(super) fn records(&self) -> Result<Records, StoreError> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        guarded(&self.path, || read_records(file).map_err(|error| of_read(&self.path, error)))
    }

    /// Lets go of the file; what redb says or does about that changes nothing.
    fn close(&mut self) {
        if let Some(file) = self.file.take() {
            let closed = catch_unwind(AssertUnwindSafe(|| drop(file)));
            if closed.is_err() {
                tracing::warn!(file = %self.path.display(), "the task store was not closed in order");
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
    }
}

/// Room for new keys.
struct Room<'a> {
    path: &'a Path,
    bounds: Bounds,
    held: u64,
    /// Unknown where the system does not say.
    free: Option<u64>,
}

impl Room<'_> {
    fn check(&self, needed: u64, has_new_key: bool) -> Result<(), StoreError> {
        if !has_new_key {
            return Ok(());
        }
        let Bounds { reserve_bytes, record_bytes_max } = self.bounds;
        if self.held.saturating_add(needed) > record_bytes_max {
            return Err(StoreError::Full { held: self.held, max: record_bytes_max, needed });
        }
        match self.free {
            Some(free) if free < reserve_bytes.saturating_add(needed) => {
                let why = format!("{free} bytes are free, {reserve_bytes} are reserved for results of accepted tasks");
                Err(StoreError::DiskFull { path: self.path.to_owned(), why })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Applies a batch, or refuses it before anything of it was applied.
fn apply(
    records: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    batch: Batch<'_>,
    room: &mut Room<'_>,
    undo: &mut Undo,
) -> Result<Result<(), StoreError>, StorageError> {
    let mut needed = 0;
    let mut has_new_key = false;
    for change in batch {
        if let Change::Put { key, bytes } = change {
            needed += size(key, bytes);
            has_new_key |= records.get(key.as_slice())?.is_none();
        }
    }
    if let Err(refused) = room.check(needed, has_new_key) {
        return Ok(Err(refused));
    }
    for change in batch {
        let (key, before) = match change {
            Change::Put { key, bytes } => {
                room.held += size(key, bytes);
                (key, records.insert(key.as_slice(), bytes.as_slice())?.map(|old| old.value().to_vec()))
            }
            Change::Delete { key } => (key, records.remove(key.as_slice())?.map(|old| old.value().to_vec())),
        };
        room.held = room.held.saturating_sub(before.as_ref().map_or(0, |old| size(key, old)));
        undo.push((key.clone(), before));
    }
    Ok(Ok(()))
}

fn size(key: &[u8], bytes: &[u8]) -> u64 {
    (key.len() + bytes.len()) as u64
}

/// What the file says of itself.
struct Facts {
    format: u64,
    mark: Mark,
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
    Ok(Some(Facts { format, mark: Mark { sequence, boot } }))
}

fn held(file: &redb::Database) -> Result<u64, redb::Error> {
    let mut held = 0;
    for entry in file.begin_read()?.open_table(RECORDS)?.iter()? {
        let (key, bytes) = entry?;
        held += size(key.value(), bytes.value());
    }
    Ok(held)
}

fn read_records(file: &redb::Database) -> Result<Records, redb::Error> {
    let reading = file.begin_read()?;
    let table = reading.open_table(RECORDS)?;
    let entries = table.iter()?;
    entries
        .map(|entry| entry.map(|(key, bytes)| (key.value().to_vec(), bytes.value().to_vec())))
        .collect::<Result<_, _>>()
        .map_err(Into::into)
}

/// An empty store: it gets its name when it is whole, so that a file of that name is never half a one.
pub(super) fn create(data_dir: &Path, path: &Path, from: Mark) -> Result<(), StoreError> {
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
        {
            let mut facts = transaction.open_table(FACTS).map_err(|error| of_write(&new, error.into()))?;
            for (name, value) in [(FORMAT, FORMAT_NOW), (SEQUENCE, from.sequence), (BOOT, u64::from(from.boot))] {
                facts.insert(name, value).map_err(|error| of_write(&new, error.into()))?;
            }
        }
        transaction.commit().map_err(|error| of_write(&new, error.into()))
    })?;
    std::fs::rename(&new, path).map_err(|error| StoreError::io("name", path, error))?;
    sync_dir(data_dir)
}

/// A file is only there after a crash if its directory was fsynced.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| StoreError::io("fsync", dir, error))
}

/// What can still be read of a damaged file, and what cannot; it is opened without the check that refuses it.
pub(super) fn salvage(path: &Path) -> (Records, Option<Mark>, Option<String>) {
    let mut found = Vec::new();
    let mut mark = None;
    let read = guarded(path, || {
        let file = Builder::new().set_cache_size(CACHE_BYTES).open(path).map_err(|error| of_open(path, error))?;
        let read = || -> Result<(), redb::Error> {
            mark = read_facts(&file)?.map(|facts| facts.mark);
            for entry in file.begin_read()?.open_table(RECORDS)?.iter()? {
                let (key, bytes) = entry?;
                found.push((key.value().to_vec(), bytes.value().to_vec()));
            }
            Ok(())
        };
        let outcome = catch_unwind(AssertUnwindSafe(read));
        // Closing writes, and what it would write is made of damage.
        std::mem::forget(file);
        match outcome {
            Ok(read) => read.map_err(|error| of_read(path, error)),
            Err(_) => Err(StoreError::damaged(path, "its pages contradict each other")),
        }
    });
    (found, mark, read.err().map(|error| error.to_string()))
}

/// redb asserts what a damaged file contradicts.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::damaged(path, format!("its pages contradict each other ({})", said.unwrap_or("no words"))))
    })
}

fn of_open(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
        error => of_read(path, error.into()),
    }
}

fn of_read(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => match error.kind() {
            // Shorter than it says, or not what it should be.
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => {
                StoreError::damaged(path, error.to_string())
            }
            _ => StoreError::io("read", path, error),
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

/// Free for users that are not root.
fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(dir).ok()?;
    #[allow(clippy::useless_conversion)] // the width of these differs between systems
    Some(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
}

#[cfg(test)]
pub(super) fn tests_set_format(data_dir: &Path, format: u64) {
    let file = redb::Database::open(file_of(data_dir)).unwrap();
    let transaction = file.begin_write().unwrap();
    transaction.open_table(FACTS).unwrap().insert(FORMAT, format).unwrap();
    transaction.commit().unwrap();
}
