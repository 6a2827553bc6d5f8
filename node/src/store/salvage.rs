//! What can still be read of a damaged file.
//!
//! **Invariant:** nothing in the file is changed; no panic of redb leaves this file.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{Builder, ConcurrencyMode, ReadableDatabase, ReadableTable, StorageBackend};

use super::error::StoreError;
use super::pages::{CACHE_BYTES, Facts, Pages, RECORDS, guarded, look, of_open, of_read};
use super::preview::Preview;

/// What is left of a damaged file.
#[derive(Default)]
pub(super) struct Salvaged {
    pub(super) records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How far the file goes, where redb finds a state in it that it takes for whole.
    pub(super) facts: Option<Facts>,
    /// Why not all of it can be read.
    pub(super) cut_short: Option<String>,
}

/// What can still be read of a damaged file, and what cannot. Nothing in it is changed.
pub(super) fn salvage(path: &Path) -> Salvaged {
    let mut left = Salvaged::default();
    let preview = || Preview::of_what_can_be_read(path).map_err(|error| StoreError::of_read(path, error));
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    let read = guarded(path, || {
        let pages = Pages::new(path, look(path, &builder, preview()?)?);
        left.facts = pages.facts()?;
        pages.read(|file| Ok(from_both_ends(path, file, &mut left.records)))?
    });
    let Err(error) = read else { return left };
    left.cut_short = Some(error.to_string());
    if left.facts.is_none() {
        let _ = guarded(path, || {
            let file = as_it_lies(path, &mut builder, preview()?)?;
            from_both_ends(path, &file, &mut left.records)
        });
    }
    left
}

/// Where redb's header says whether the last writer ended in order (`docs/design.md` of redb, "Database header")…
const GOD_BYTE: u64 = 9;
/// …by these bits: recovery is required, and the last commit was not flushed.
const NOT_IN_ORDER: u8 = 1 << 1 | 1 << 3;
/// What each of its files begins with. What is salvaged is one of them, whatever its first bytes say.
const MAGIC: [u8; GOD_BYTE as usize] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// The file as a reader beside a writer sees it: pages are read when they are asked for, none is verified. A writer that was
/// killed leaves that to the next one, which verifies every page and gives up at the first that is bad.
fn as_it_lies(path: &Path, builder: &mut Builder, preview: Preview) -> Result<redb::ReadOnlyDatabase, StoreError> {
    let mut flags = [0];
    preview.read(GOD_BYTE, &mut flags).map_err(|error| StoreError::of_read(path, error))?;
    let header = [MAGIC.as_slice(), &[flags[0] & !NOT_IN_ORDER]].concat();
    preview.write(0, &header).map_err(|error| StoreError::of_read(path, error))?;
    builder.set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder.open_read_only_with_backend(preview).map_err(|error| of_open(path, error))
}

/// All records, or those before the first page that cannot be read, and those after the last.
fn from_both_ends(
    path: &Path,
    file: &impl ReadableDatabase,
    found: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<(), StoreError> {
    let mut read = |backwards: bool| {
        guarded(path, || {
            let mut read = || -> Result<(), redb::Error> {
                let table = file.begin_read()?.open_table(RECORDS)?;
                let mut entries = table.iter()?;
                while let Some(entry) = if backwards { entries.next_back() } else { entries.next() } {
                    let (key, bytes) = entry?;
                    found.insert(key.value().to_vec(), bytes.value().to_vec());
                }
                Ok(())
            };
            read().map_err(|error| of_read(path, error))
        })
    };
    read(false).inspect_err(|_| drop(read(true)))
}
