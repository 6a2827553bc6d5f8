//! Setting a damaged store aside and going on with what of it is good, when a person asks for that.
//!
//! **Invariant:** nothing of the damaged files is changed or deleted; they get other names. What goes on has a greater count
//! of starts than any before, because attempts are numbered by it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::IgnoredAny;
use shoal_protocol::TaskId;
use shoal_protocol::store::{self, Change};

use super::database::{self, Database};
use super::log;
use super::marker::{self, Mark};
use super::pages::{self, Facts};
use super::preview::what_can_be_read;
use super::salvage::{Salvaged, salvage};
use super::{Bounds, StoreError, file_of};

/// Where the new store is made.
const ROOM: &str = "tasks.repair";
/// Its name there once it is whole.
const DONE: &str = "done.redb";
/// Damaged stores are set aside under so many numbers.
const ASIDE_MAX: u32 = 1_000;
/// Records in one transaction.
const BATCH: usize = 1_024;
/// 2020-01-01: hours since then are more than any count of starts that a peer reaches by being restarted.
const COUNT_FROM: Duration = Duration::from_secs(1_577_836_800);

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The damaged database's new name; its log has one beside it.
    pub set_aside: PathBuf,
    /// Records that go on.
    pub kept: usize,
    /// Records that were found, and whose checksums are wrong.
    pub damaged: usize,
    /// Why reading ended before the end of the file, if it did.
    pub cut_short: Option<String>,
    /// Tasks that had not ended as far as can be read, and of which something may be missing: they are not acted on here.
    pub doubted: Vec<TaskId>,
}

/// Marks in what is left of a store what must not be acted on, at this date in milliseconds since 1970: of which tasks that is.
type Doubt = fn(&mut BTreeMap<Vec<u8>, Vec<u8>>, u64) -> Vec<TaskId>;

/// Sets the store of this data directory aside if it is damaged, and begins a new one with what is good. Nothing is done to
/// a store that can be opened, or where there is none.
pub fn repair(data_dir: &Path, doubt: Doubt) -> Result<Option<Repaired>, StoreError> {
    if !database::is_in(data_dir) {
        return Ok(None);
    }
    match Database::open(data_dir, Bounds::default()) {
        Ok(_) => return Ok(None),
        Err(StoreError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let (path, log_path) = (file_of(data_dir), log::path(data_dir));
    let room = data_dir.join(ROOM);
    let (done, done_log) = (room.join(DONE), log::path(&room));
    let (set_aside, log_aside) = free_names(data_dir)?;
    let mut repaired = Repaired { set_aside, kept: 0, damaged: 0, cut_short: None, doubted: Vec::new() };
    // A repair that was cut off before the last step has done the rest already.
    if path.exists() || !done.exists() {
        clear(&room)?;
        std::fs::create_dir(&room).map_err(|error| StoreError::io("make", &room, error))?;
        rebuild(data_dir, &room, doubt, &mut repaired)?;
    }
    rename_if_there(&path, &repaired.set_aside)?;
    if done_log.exists() {
        rename_if_there(&log_path, &log_aside)?;
        rename_if_there(&done_log, &log_path)?;
    }
    rename_if_there(&done, &path)?;
    pages::sync_dir(data_dir)?;
    clear(&room)?;
    Ok(Some(repaired))
}

/// Whether a repair was cut off before its last step: the database has no name then.
pub(super) fn is_unfinished(data_dir: &Path) -> bool {
    data_dir.join(ROOM).join(DONE).exists()
}

/// Makes the new store in a room of its own, whole before it gets its name.
fn rebuild(data_dir: &Path, room: &Path, doubt: Doubt, repaired: &mut Repaired) -> Result<(), StoreError> {
    let Salvaged { mut records, facts, cut_short: in_database } = salvage(&file_of(data_dir));
    let (last, in_log) = replay(data_dir, facts, &mut records)?;
    let (mut good, bad): (BTreeMap<_, _>, BTreeMap<_, _>) =
        records.into_iter().partition(|(key, bytes)| store::decode::<IgnoredAny>(key, bytes).is_ok());
    (repaired.kept, repaired.damaged) = (good.len(), bad.len());
    repaired.cut_short = in_database.or(in_log);
    // Of pages that fail their checksums nobody can say what they held: an old record is a good one, and a key that is wrong names
    // a task that there never was.
    repaired.doubted = doubt(&mut good, u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX));

    let marks = [facts.map(|facts| facts.mark), marker::read(data_dir)].into_iter().flatten();
    let later = |a: Mark, b: Mark| Mark { sequence: a.sequence.max(b.sequence), boot: a.boot.max(b.boot) };
    let from = marks.fold(Mark { sequence: last, boot: hours_since_2020() }, later);
    let bounds = Bounds { reserve_bytes: 0, ..Bounds::default() };
    database::create(room, from, bounds)?;
    let mut fresh = Database::open(room, bounds)?;
    let puts: Vec<Change> = good.into_iter().map(|(key, bytes)| Change::Put { key, bytes }).collect();
    for batch in puts.chunks(BATCH) {
        for answer in fresh.commit(&[batch])? {
            answer?;
        }
    }
    fresh.checkpoint()?;
    drop(fresh);
    std::fs::rename(file_of(room), room.join(DONE)).map_err(|error| StoreError::io("name", room, error))?;
    pages::sync_dir(room)
}

/// Applies what the log has beyond the database: the number of the last write, and what is missing of it.
fn replay(
    data_dir: &Path,
    facts: Option<Facts>,
    records: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<(u64, Option<String>), StoreError> {
    let path = log::path(data_dir);
    let has = facts.map_or(0, |facts| facts.mark.sequence);
    let image = match what_can_be_read(&path) {
        Ok(image) => image,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // The first format had none.
            let had_none = facts.is_some_and(|facts| facts.log.is_none());
            return Ok((has, (!had_none).then(|| "there is no log".into())));
        }
        Err(error) => return Err(StoreError::io("read", &path, error)),
    };
    let found = match log::scan(&image, facts.and_then(|facts| facts.log)) {
        Ok(found) if facts.and_then(|facts| facts.log).is_none_or(|id| id == found.id) => found,
        Ok(_) => return Ok((has, Some("the log belongs to another store".into()))),
        Err(why) => return Ok((has, Some(format!("of the log, {why}")))),
    };
    let known = marker::read(data_dir).map_or(0, |mark| mark.sequence);
    let ends_early = found.entries.last().map_or(has, |entry| entry.sequence.max(has)) < known;
    let missing = match found.beyond(has) {
        Err(why) => Some(format!("in the log, {why}")),
        Ok(_) => ends_early.then(|| "the last writes are missing".into()),
    };
    // Where nothing says how far the database went, what was written before a gap may have been overwritten in it.
    let from = if facts.is_some() { has } else { found.gap().max(has) };
    let beyond = || found.entries.iter().filter(|entry| entry.sequence > from);
    for change in beyond().flat_map(|entry| entry.changes.clone()) {
        match change {
            Change::Put { key, bytes } => drop(records.insert(key, bytes)),
            Change::Delete { key } => drop(records.remove(&key)),
        }
    }
    Ok((beyond().next_back().map_or(has, |entry| entry.sequence), missing))
}

/// New names for the damaged database and its log.
fn free_names(data_dir: &Path) -> Result<(PathBuf, PathBuf), StoreError> {
    let aside = |path: PathBuf, n: u32| {
        let mut name = path.into_os_string();
        name.push(format!(".damaged-{n}"));
        PathBuf::from(name)
    };
    let mut names = (1..=ASIDE_MAX).map(|n| (aside(file_of(data_dir), n), aside(log::path(data_dir), n)));
    let full = || StoreError::damaged(&file_of(data_dir), "too many damaged stores lie beside it; delete some");
    names.find(|(database, log)| !database.exists() && !log.exists()).ok_or_else(full)
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), StoreError> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("rename", from, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn clear(room: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(room) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("remove", room, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn hours_since_2020() -> u32 {
    u32::try_from(unix_time().saturating_sub(COUNT_FROM).as_secs() / 3_600).unwrap_or(u32::MAX)
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
