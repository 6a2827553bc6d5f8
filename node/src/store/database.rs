//! The records: a database, and in front of it the log that makes an acknowledgement cheap.
//!
//! ```text
//! commit ─► record in the log, fsync ─► acknowledged ─► pending, in memory
//! checkpoint ─► all that is pending in one transaction of the database ─► the log begins anew
//! open ─► what the log has beyond the database is pending again
//! ```
//!
//! **Invariant:** a number grows by one with each transaction and stands in it, wherever it is. What is pending is in the
//! log as well, so memory is bounded by the log's size.
//! **Not here:** the layout of the two files (`pages.rs`, `log.rs`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shoal_protocol::cbor;
use shoal_protocol::store::Change;

use super::error::{StoreError, is_full};
use super::log::{self, Entry, Found, Log};
use super::marker::{self, Mark, Marker};
use super::pages::{self, FORMAT_NOW, Facts, Pages, Undo};
use super::{Bounds, Records, file_of, repair};

pub(super) type Batch<'a> = &'a [Change];

/// How the two files are opened for writing.
pub(super) struct Openers {
    pub(super) pages: pages::Opener,
    pub(super) log: log::Opener,
}

impl Default for Openers {
    fn default() -> Self {
        Self { pages: Box::new(|builder, path| builder.open(path)), log: Box::new(log::open_target) }
    }
}

pub(super) struct Database {
    path: PathBuf,
    data_dir: PathBuf,
    bounds: Bounds,
    openers: Openers,
    /// Absent while the files cannot be used.
    files: Option<Files>,
    marker: Marker,
    /// The last transaction that was acknowledged.
    mark: Mark,
    /// A transaction of the database that was reported as failed, and what to put back should it be found.
    disowned: Option<(u64, Undo)>,
    /// A record of the log that was reported as failed, and must not be found.
    struck: Option<u64>,
}

struct Files {
    pages: Pages,
    log: Log,
    /// In the log, and not in the database: what stands under these keys, or that nothing does.
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Bytes of keys and records, with what is pending.
    held: u64,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.path).field("mark", &self.mark).finish_non_exhaustive()
    }
}

impl Database {
    /// Opens what is there, all of it checked; makes an empty one where nothing was ever kept.
    pub(super) fn open(data_dir: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        Self::open_by(data_dir, bounds, Openers::default())
    }

    /// The same, with the files opened in this way.
    pub(super) fn open_by(data_dir: &Path, bounds: Bounds, openers: Openers) -> Result<Self, StoreError> {
        let path = file_of(data_dir);
        let known = marker::read(data_dir);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) if is_in(data_dir) => {
                return Err(StoreError::damaged(&path, "the file is gone, though tasks were kept in it"));
            }
            Ok(false) => create(data_dir, Mark::default(), bounds)?,
            Err(error) => return Err(StoreError::io("look for", &path, error)),
        }
        let marker = Marker::open(data_dir).map_err(|error| StoreError::io("open", &marker::path(data_dir), error))?;
        let mut database = Self {
            path,
            data_dir: data_dir.to_owned(),
            bounds,
            openers,
            files: None,
            marker,
            mark: known.unwrap_or_default(),
            disowned: None,
            struck: None,
        };
        database.reopen()?;
        Ok(database)
    }

    /// Opens the files again, after they could not be used.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        self.files = None;
        let (pages, (facts, found)) = Pages::open(&self.path, &self.openers.pages, |pages| self.judge(pages))?;
        let log_path = log::path(&self.data_dir);
        let found = match found {
            Some(found) => found,
            None => create_log(&self.data_dir, self.bounds)?,
        };
        let beyond = self.beyond(&found, facts)?;
        let beyond =
            &beyond[..beyond.partition_point(|entry| self.struck.is_none_or(|struck| entry.sequence < struck))];
        let file = (self.openers.log)(&log_path).map_err(|error| StoreError::io("open", &log_path, error))?;
        let mut log = Log::open(file, &found, beyond);
        if self.struck.is_some() {
            log.strike().map_err(|error| of_log(&log_path, error))?;
            self.struck = None;
        }
        self.mark.sequence = beyond.last().map_or(facts.mark.sequence, |entry| entry.sequence);
        self.mark.boot = facts.mark.boot;
        let held = pages.held()?;
        let mut files = Files { pages, log, pending: BTreeMap::new(), held };
        let changes: Vec<&Change> = beyond.iter().flat_map(|entry| &entry.changes).collect();
        files.apply_all(&changes)?;
        self.files = Some(files);
        // Until it is undone, or was never there.
        if let Some((sequence, undo)) = self.disowned.clone()
            && sequence == facts.mark.sequence
        {
            // What was reported as not written must not be there.
            if let Some(files) = &mut self.files {
                let undone = files.apply_all(&undo.iter().collect::<Vec<_>>());
                if let Err(error) = undone {
                    self.files = None;
                    return Err(error);
                }
            }
            self.write_through(self.next_mark(), true)?;
        }
        self.disowned = None;
        Ok(())
    }

    /// Whether the files have all that they should. A store of the first format has no log.
    fn judge(&self, pages: &Pages) -> Result<(Facts, Option<Found>), StoreError> {
        let path = &self.path;
        let Some(facts) = pages.facts()? else {
            return Err(StoreError::damaged(path, "it is a database, but not of tasks"));
        };
        if facts.format > FORMAT_NOW {
            return Err(StoreError::NewerFormat { path: path.clone(), theirs: facts.format, ours: FORMAT_NOW });
        }
        let Some(id) = facts.log else {
            return match facts.mark.sequence < self.mark.sequence {
                true => Err(StoreError::damaged(path, ends_early(facts.mark.sequence, self.mark.sequence))),
                false => Ok((facts, None)),
            };
        };
        let log_path = log::path(&self.data_dir);
        let image = std::fs::read(&log_path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::damaged(&log_path, "the file is gone"),
            _ => StoreError::of_read(&log_path, error),
        })?;
        let found = log::scan(&image, None).map_err(|why| StoreError::damaged(&log_path, why))?;
        if found.id != id {
            return Err(StoreError::damaged(&log_path, format!("it belongs to another store than {}", path.display())));
        }
        self.beyond(&found, facts)?;
        Ok((facts, Some(found)))
    }

    fn beyond<'a>(&self, found: &'a Found, facts: Facts) -> Result<&'a [Entry], StoreError> {
        let beyond = found.beyond(facts.mark.sequence);
        let beyond = beyond.map_err(|why| StoreError::damaged(&log::path(&self.data_dir), why))?;
        let last = beyond.last().map_or(facts.mark.sequence, |entry| entry.sequence);
        if last < self.mark.sequence {
            return Err(StoreError::damaged(&self.path, ends_early(last, self.mark.sequence)));
        }
        Ok(beyond)
    }

    /// One more start, which the database has with all that was pending when this returns.
    pub(super) fn count_start(&mut self) -> Result<u32, StoreError> {
        let mark = Mark { boot: self.mark.boot.saturating_add(1), ..self.next_mark() };
        self.write_through(mark, true)?;
        Ok(mark.boot)
    }

    pub(super) fn is_open(&self) -> bool {
        self.files.is_some()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all batches as one record with one fsync. The outer error is of all of them, and none is there then; an inner
    /// one is of a batch that was refused before anything of it was written.
    pub(super) fn commit(&mut self, batches: &[Batch<'_>]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let every: Vec<&Change> = batches.iter().copied().flatten().collect();
        if self.files.as_ref().is_some_and(|files| !files.log.has_room(cbor::encoded_len(&every))) {
            self.checkpoint()?;
        }
        let mark = self.next_mark();
        let (bounds, free) = (self.bounds, free_bytes(&self.data_dir));
        let Some(files) = &mut self.files else { return Err(self.closed()) };
        let known = match files.known(&every) {
            Ok(known) => known,
            Err(error) => return Err(self.failed(error)),
        };
        let mut accepted = Vec::with_capacity(every.len());
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            let admitted = files.admit(batch, &known, bounds, free, &self.path);
            if admitted.is_ok() {
                files.apply(*batch, &known);
                accepted.extend(*batch);
            }
            answers.push(admitted);
        }
        if accepted.is_empty() {
            return Ok(answers);
        }
        let body = cbor::encode(&accepted);
        if !files.log.has_room(body.len()) {
            // More than the whole log holds; nothing else is pending then.
            self.write_through(mark, false)?;
            return Ok(answers);
        }
        match files.log.append(mark.sequence, &body) {
            Ok(()) => {
                self.note(mark);
                Ok(answers)
            }
            Err(error) => {
                self.struck = Some(mark.sequence);
                Err(self.failed(of_log(&log::path(&self.data_dir), error)))
            }
        }
    }

    /// Whether [`Database::checkpoint`] has something to do.
    pub(super) fn has_pending(&self) -> bool {
        self.files.as_ref().is_some_and(|files| !files.pending.is_empty())
    }

    /// The database takes what is pending; the log begins anew.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        if self.has_pending() { self.write_through(self.mark, true) } else { Ok(()) }
    }

    /// Everything that is kept and not pending: all of it after [`Database::count_start`].
    pub(super) fn records(&self) -> Result<Records, StoreError> {
        match &self.files {
            Some(files) => files.pages.records(),
            None => Err(self.closed()),
        }
    }

    /// Writes what is pending to the database; `promised`: it is acknowledged already, or may be there if this fails.
    fn write_through(&mut self, mark: Mark, promised: bool) -> Result<(), StoreError> {
        let Some(files) = &mut self.files else { return Err(self.closed()) };
        let changes: Vec<Change> = core::mem::take(&mut files.pending).into_iter().map(as_change).collect();
        let facts = Facts { format: FORMAT_NOW, log: Some(files.log.id()), mark };
        match files.pages.write(changes.iter(), facts) {
            Ok(()) => {
                files.log.restart();
                self.note(mark);
                Ok(())
            }
            Err((error, undo)) => {
                if !promised {
                    self.disowned = Some((mark.sequence, undo));
                }
                Err(self.failed(error))
            }
        }
    }

    fn next_mark(&self) -> Mark {
        Mark { sequence: self.mark.sequence + 1, ..self.mark }
    }

    fn note(&mut self, mark: Mark) {
        self.mark = mark;
        self.marker.write(mark);
    }

    /// After a failed write neither redb nor the page cache can be relied on; the files are looked at anew.
    fn failed(&mut self, error: StoreError) -> StoreError {
        self.files = None;
        error
    }

    fn closed(&self) -> StoreError {
        StoreError::Failed { path: self.path.clone(), why: "it is closed".into() }
    }
}

/// What stands in the database under keys that are not pending, in bytes.
type Known<'a> = BTreeMap<&'a [u8], u64>;

impl Files {
    fn known<'a>(&self, changes: &[&'a Change]) -> Result<Known<'a>, StoreError> {
        let keys: Vec<&[u8]> =
            changes.iter().map(|change| key(change)).filter(|key| !self.pending.contains_key(*key)).collect();
        let sizes = self.pages.sizes(keys.iter().copied())?;
        Ok(keys.into_iter().zip(sizes).filter_map(|(key, size)| Some((key, size?))).collect())
    }

    /// Bytes of the record that stands under a key.
    fn bytes_under(&self, key: &[u8], known: &Known<'_>) -> Option<u64> {
        match self.pending.get(key) {
            Some(bytes) => bytes.as_ref().map(|bytes| bytes.len() as u64),
            None => known.get(key).copied(),
        }
    }

    /// Refuses a batch with a new key that there is no room for.
    fn admit(
        &self,
        batch: Batch<'_>,
        known: &Known<'_>,
        bounds: Bounds,
        free: Option<u64>,
        path: &Path,
    ) -> Result<(), StoreError> {
        let puts = || batch.iter().filter(|change| matches!(change, Change::Put { .. }));
        if puts().all(|put| self.bytes_under(key(put), known).is_some()) {
            return Ok(());
        }
        let needed = puts().map(size).sum();
        let Bounds { reserve_bytes, record_bytes_max, .. } = bounds;
        if self.held.saturating_add(needed) > record_bytes_max {
            return Err(StoreError::Full { held: self.held, max: record_bytes_max, needed });
        }
        match free {
            Some(free) if free < reserve_bytes.saturating_add(needed) => {
                let why = format!("{free} bytes are free, {reserve_bytes} are reserved for results of accepted tasks");
                Err(StoreError::DiskFull { path: path.to_owned(), why })
            }
            // Unknown where the system does not say.
            Some(_) | None => Ok(()),
        }
    }

    fn apply_all(&mut self, changes: &[&Change]) -> Result<(), StoreError> {
        let known = self.known(changes)?;
        self.apply(changes.iter().copied(), &known);
        Ok(())
    }

    fn apply<'a>(&mut self, changes: impl IntoIterator<Item = &'a Change>, known: &Known<'_>) {
        for change in changes {
            let key = key(change);
            let before = self.bytes_under(key, known).map_or(0, |bytes| bytes + key.len() as u64);
            let (bytes, now) = match change {
                Change::Put { bytes, .. } => (Some(bytes.clone()), size(change)),
                Change::Delete { .. } => (None, 0),
            };
            self.held = self.held.saturating_sub(before).saturating_add(now);
            self.pending.insert(key.to_vec(), bytes);
        }
    }
}

fn key(change: &Change) -> &[u8] {
    match change {
        Change::Put { key, .. } | Change::Delete { key } => key,
    }
}

/// Bytes that a change brings.
pub(super) fn size(change: &Change) -> u64 {
    match change {
        Change::Put { key, bytes } => (key.len() + bytes.len()) as u64,
        Change::Delete { key } => key.len() as u64,
    }
}

fn as_change((key, bytes): (Vec<u8>, Option<Vec<u8>>)) -> Change {
    match bytes {
        Some(bytes) => Change::Put { key, bytes },
        None => Change::Delete { key },
    }
}

fn of_log(path: &Path, error: std::io::Error) -> StoreError {
    match is_full(&error) {
        true => StoreError::DiskFull { path: path.to_owned(), why: error.to_string() },
        false => StoreError::Failed { path: path.to_owned(), why: error.to_string() },
    }
}

fn ends_early(last: u64, acknowledged: u64) -> String {
    format!("it ends with write {last}, though {acknowledged} were acknowledged: the last ones cannot be read")
}

/// Makes an empty store in `room`: first the log, then the database, whose name says that both are whole.
pub(super) fn create(room: &Path, from: Mark, bounds: Bounds) -> Result<(), StoreError> {
    let log = create_log(room, bounds)?.id;
    pages::create(room, &file_of(room), Facts { format: FORMAT_NOW, log: Some(log), mark: from })
}

fn create_log(dir: &Path, bounds: Bounds) -> Result<Found, StoreError> {
    let path = log::path(dir);
    let found = log::create(&path, bounds.log_bytes).map_err(|error| StoreError::io("make", &path, error))?;
    pages::sync_dir(dir)?;
    Ok(found)
}

/// Whether a store is there, or anything that is left of one.
pub(crate) fn is_in(data_dir: &Path) -> bool {
    let has = marker::read(data_dir).is_some() || file_of(data_dir).exists();
    has || holds_anything(data_dir) || repair::is_unfinished(data_dir)
}

/// Whether a log lies here that something was written to.
fn holds_anything(data_dir: &Path) -> bool {
    let image = std::fs::read(log::path(data_dir));
    image.is_ok_and(|image| log::scan(&image, None).is_ok_and(|found| !found.entries.is_empty()))
}

/// Free for users that are not root.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(dir).ok()?;
    #[allow(clippy::useless_conversion)] // the width of these differs between systems
    Some(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
}
