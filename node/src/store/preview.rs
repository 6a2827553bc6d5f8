//! A look at a file that changes nothing: what redb writes while it checks and repairs stays in memory.
//!
//! **Not here:** what is concluded from it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

/// Unit of what is kept in memory.
const PAGE_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Preview {
    file: File,
    /// What the disk cannot read is zeros, not an error.
    skips: bool,
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
        let_go_of_memory(&file);
        let length = file.metadata()?.len();
        let seen = Mutex::new(Seen { length, original: length, written: BTreeMap::new() });
        Ok(Self { file, skips: false, seen })
    }

    /// The same, of a file on a disk that cannot read all of it.
    pub(super) fn of_what_can_be_read(path: &Path) -> io::Result<Self> {
        Ok(Self { skips: true, ..Self::of(path)? })
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
        match self.file.read_exact_at(&mut page[..there], start) {
            Err(error) if self.skips && is_unreadable(&error) => page.fill(0),
            read => read?,
        }
        Ok(page)
    }
}

/// After a write that failed, the system's memory may hold what the disk has not got, and call it clean: what is read next comes
/// from the disk, as far as the system heeds that.
fn let_go_of_memory(file: &File) {
    // What cannot be written now is not on the disk, and is let go as well.
    let _ = file.sync_all();
    #[cfg(target_os = "linux")]
    let _ = nix::fcntl::posix_fadvise(file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

/// Whether the disk has lost what should be there.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::EIO as i32)
}

/// All of a file, with zeros where the disk cannot read it.
pub(super) fn what_can_be_read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    for (number, block) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
        match file.read_exact_at(block, (number * PAGE_BYTES) as u64) {
            Err(error) if is_unreadable(&error) => block.fill(0),
            read => read?,
        }
    }
    Ok(bytes)
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

    // Those who read beside a writer ask before they do; here is none.

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
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
