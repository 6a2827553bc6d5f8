//! A look at a file that changes nothing: what redb writes while it checks and repairs stays in memory.
//!
//! **Not here:** what is concluded from it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// Unit of what is kept in memory.
const PAGE_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Preview {
    file: File,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    length: u64,
    /// Of the file: what is beyond was never there.
    original: u64,
    written: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

impl Preview {
    /// The file must be nobody's; what another process writes meanwhile would pass for damage.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        file.try_lock()?;
        let length = file.metadata()?.len();
        Ok(Self { file, seen: Mutex::new(Seen { length, original: length, written: BTreeMap::new() }) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seen().length == 0
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as it would be now.
    fn page(&self, seen: &Seen, number: u64) -> io::Result<Box<[u8; PAGE_BYTES]>> {
        if let Some(page) = seen.written.get(&number) {
            return Ok(page.clone());
        }
        let mut page = Box::new([0; PAGE_BYTES]);
        let start = number * PAGE_BYTES as u64;
        let there = seen.original.saturating_sub(start).min(PAGE_BYTES as u64) as usize;
        self.file.read_exact_at(&mut page[..there], start)?;
        Ok(page)
    }
}

/// The parts of pages that a stretch of the file covers: page, where in it, how much.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(length as u64);
    let mut at = offset;
    std::iter::from_fn(move || {
        let within = (at % PAGE_BYTES as u64) as usize;
        let count = (PAGE_BYTES - within).min(end.saturating_sub(at) as usize);
        let part = (at / PAGE_BYTES as u64, within, count);
        at += count as u64;
        (count > 0).then_some(part)
    })
}

impl StorageBackend for Preview {
    fn len(&self) -> io::Result<u64> {
        Ok(self.seen().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let seen = self.seen();
        if offset.saturating_add(out.len() as u64) > seen.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        for (number, within, count) in parts(offset, out.len()) {
            out[done..done + count].copy_from_slice(&self.page(&seen, number)?[within..within + count]);
            done += count;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut seen = self.seen();
        seen.length = length;
        // What is cut off does not come back when the file grows again.
        seen.original = seen.original.min(length);
        seen.written.retain(|number, _| number * (PAGE_BYTES as u64) < length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut seen = self.seen();
        let mut done = 0;
        for (number, within, count) in parts(offset, data.len()) {
            let mut page = self.page(&seen, number)?;
            page[within..within + count].copy_from_slice(&data[done..done + count]);
            seen.written.insert(number, page);
            done += count;
        }
        Ok(())
    }
}
