//! Setting a damaged store aside and going on with what of it is good, when a person asks for that.
//!
//! **Invariant:** nothing of the damaged file is changed or deleted; it gets another name. What goes on has a greater count
//! of starts than any before, because attempts are numbered by it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::IgnoredAny;
use shoal_protocol::store::{self, Change};

use super::database::{self, Database};
use super::marker::{self, Mark};
use super::{Bounds, FILE_NAME, StoreError, file_of};

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
    /// The damaged file's new name.
    pub set_aside: PathBuf,
    /// Records that go on.
    pub kept: usize,
    /// Records that were found, and whose checksums are wrong.
    pub damaged: usize,
    /// Why reading ended before the end of the file, if it did.
    pub cut_short: Option<String>,
}

/// Sets the store of this data directory aside if it is damaged, and begins a new one with what is good. Nothing is done to
/// a store that can be opened.
pub fn repair(data_dir: &Path) -> Result<Option<Repaired>, StoreError> {
    match Database::open(data_dir, Bounds::default()) {
        Ok(_) => return Ok(None),
        Err(StoreError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let path = file_of(data_dir);
    let room = data_dir.join(ROOM);
    let done = room.join(DONE);
    let mut repaired = Repaired { set_aside: free_name(data_dir)?, kept: 0, damaged: 0, cut_short: None };
    // A repair that was cut off before the last step has done the rest already.
    if path.exists() || !done.exists() {
        clear(&room)?;
        std::fs::create_dir(&room).map_err(|error| StoreError::io("make", &room, error))?;
        rebuild(data_dir, &room, &mut repaired)?;
    }
    if path.exists() {
        std::fs::rename(&path, &repaired.set_aside).map_err(|error| StoreError::io("set aside", &path, error))?;
    }
    std::fs::rename(&done, &path).map_err(|error| StoreError::io("name", &path, error))?;
    database::sync_dir(data_dir)?;
    clear(&room)?;
    Ok(Some(repaired))
}

/// Makes the new store in a room of its own, whole before it gets its name.
fn rebuild(data_dir: &Path, room: &Path, repaired: &mut Repaired) -> Result<(), StoreError> {
    // Reading may repair a file in place; the copy that is read is not the one that is kept.
    let (path, copy) = (file_of(data_dir), room.join("copy.redb"));
    let (found, mark, cut_short) = match std::fs::copy(&path, &copy) {
        Ok(_) => database::salvage(&copy),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            (Vec::new(), None, Some("there is no file".into()))
        }
        Err(error) => return Err(StoreError::io("copy", &path, error)),
    };
    let (good, bad): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(key, bytes)| store::decode::<IgnoredAny>(key, bytes).is_ok());
    (repaired.kept, repaired.damaged, repaired.cut_short) = (good.len(), bad.len(), cut_short);

    let marks = [mark, marker::read(data_dir)].into_iter().flatten();
    let later = |a: Mark, b: Mark| Mark { sequence: a.sequence.max(b.sequence), boot: a.boot.max(b.boot) };
    let from = marks.fold(Mark { sequence: 0, boot: hours_since_2020() }, later);
    database::create(room, &file_of(room), from)?;
    let mut fresh = Database::open(room, Bounds { reserve_bytes: 0, ..Bounds::default() })?;
    let puts: Vec<Change> = good.into_iter().map(|(key, bytes)| Change::Put { key, bytes }).collect();
    for batch in puts.chunks(BATCH) {
        for answer in fresh.commit(&[batch])? {
            answer?;
        }
    }
    drop(fresh);
    std::fs::rename(file_of(room), room.join(DONE)).map_err(|error| StoreError::io("name", room, error))?;
    database::sync_dir(room)
}

fn free_name(data_dir: &Path) -> Result<PathBuf, StoreError> {
    let mut names = (1..=ASIDE_MAX).map(|n| data_dir.join(format!("{FILE_NAME}.damaged-{n}")));
    let full = || StoreError::damaged(&file_of(data_dir), "too many damaged stores lie beside it; delete some");
    names.find(|name| !name.exists()).ok_or_else(full)
}

fn clear(room: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(room) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("remove", room, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn hours_since_2020() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.saturating_sub(COUNT_FROM).as_secs() / 3_600).unwrap_or(u32::MAX)
}
