//! A disk that fills up, or fails, at each of the operations that a commit is made of.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::*;

/// Fails from the given operation on, until it is mended.
#[derive(Debug, Default)]
struct Disk {
    /// Operations until it fails; negative: it fails.
    left: AtomicI64,
    /// No file can be opened now.
    is_out_of_files: AtomicBool,
    error: Mutex<Option<io::ErrorKind>>,
}

impl Disk {
    fn fail_after(&self, operations: i64, error: io::ErrorKind) {
        self.left.store(operations, Ordering::SeqCst);
        *self.error.lock().unwrap() = Some(error);
    }

    fn mend(&self) {
        *self.error.lock().unwrap() = None;
    }

    fn operate(&self) -> io::Result<()> {
        match *self.error.lock().unwrap() {
            Some(error) if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 => Err(error.into()),
            Some(_) | None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct Failing {
    inner: FileBackend,
    disk: Arc<Disk>,
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.operate()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.operate()?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.operate()?;
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }
}

/// The log on the same disk; a write that fails has written a part.
struct FailingLog {
    file: File,
    disk: Arc<Disk>,
}

impl log::Target for FailingLog {
    fn write(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        let failed = self.disk.operate();
        let written = if failed.is_ok() { blocks } else { &blocks[..blocks.len() / 2] };
        self.file.write_all_at(written, offset)?;
        failed?;
        // All of it is written, and whether it stays is not known.
        self.disk.operate()
    }
}

fn on(disk: &Arc<Disk>, dir: &Path) -> Running {
    let open = |disk: &Disk, path: &Path| match disk.is_out_of_files.load(Ordering::SeqCst) {
        true => Err(io::Error::from_raw_os_error(nix::errno::Errno::EMFILE as i32)),
        false => File::options().read(true).write(true).open(path),
    };
    let (of_pages, of_log) = (Arc::clone(disk), Arc::clone(disk));
    let openers = database::Openers {
        pages: Box::new(move |builder, path| {
            let (inner, disk) = (FileBackend::new(open(&of_pages, path)?)?, Arc::clone(&of_pages));
            builder.create_with_backend(Failing { inner, disk })
        }),
        log: Box::new(move |path| Ok(Box::new(FailingLog { file: open(&of_log, path)?, disk: Arc::clone(&of_log) }))),
    };
    start(Store::of(Database::open_by(dir, bounds(), openers).unwrap()).unwrap())
}

/// One write before, some while the disk is bad, one after; what was said of each of them is what the next start finds.
fn story(operations: i64, error: io::ErrorKind) -> (bool, Result<(), String>) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    drop(open(dir.path()));
    let running = on(&disk, dir.path());
    running.persist(1, vec![put(1, "before")]).unwrap();

    disk.fail_after(operations, error);
    let text = "x".repeat(9_000);
    let during: Vec<_> = (2..5).map(|n| running.persist(n, vec![put(n as u32, &text), put(1, &text)])).collect();
    disk.mend();
    std::thread::sleep(Duration::from_millis(600));
    let after = running.persist(9, vec![put(9, "after")]);
    drop(running);

    let found = open(dir.path()).records;
    let kept = |also: Option<u64>| {
        let mut records = vec![record(1, "before")];
        for (n, _) in (2..5).zip(&during).filter(|(n, result)| result.is_ok() || also == Some(*n)) {
            records[0] = record(1, &text);
            records.push(record(n as u32, &text));
        }
        records.extend(after.is_ok().then(|| record(9, "after")));
        records
    };
    // Whether an fsync that failed has written nothing, nobody can know; of a full disk it is known.
    let first = (2..5).zip(&during).find(|(_, result)| result.is_err()).map(|(n, _)| n);
    let unknown = first.filter(|_| error != io::ErrorKind::StorageFull);
    let is_right = found == kept(None) || unknown.is_some() && found == kept(unknown);
    assert!(is_right, "{error:?} after {operations} operations: {} records, {during:?}, {after:?}", found.len());
    (during.iter().any(Result::is_err), after)
}

#[test]
fn a_full_disk_refuses_truly_and_is_used_again_when_it_has_room() {
    let mut failures = 0;
    for operations in 0..24 {
        let (failed, after) = story(operations, io::ErrorKind::StorageFull);
        failures += u32::from(failed);
        assert_eq!(after, Ok(()), "after {operations} operations");
    }
    assert!(failures > 12, "the disk was full in {failures} of 24 stories only");
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_until_the_next_start() {
    for operations in 0..12 {
        let (failed, after) = story(operations, io::ErrorKind::Other);
        assert_eq!(failed, after.is_err(), "after {operations} operations: {after:?}");
    }
}

/// Both at once: the disk is full, and when it has room again too many files are open to look.
#[test]
fn a_store_that_cannot_be_opened_again_now_is_tried_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    drop(open(dir.path()));
    let running = on(&disk, dir.path());
    disk.fail_after(0, io::ErrorKind::StorageFull);
    running.persist(1, vec![put(1, "full")]).unwrap_err();
    disk.is_out_of_files.store(true, Ordering::SeqCst);
    disk.mend();
    std::thread::sleep(std::time::Duration::from_millis(600));
    running.persist(2, vec![put(2, "no files")]).unwrap_err();

    disk.is_out_of_files.store(false, Ordering::SeqCst);

    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut ticket = 3;
    while running.persist(ticket, vec![put(3, "after")]).is_err() {
        assert!(std::time::Instant::now() < deadline, "it never takes anything again");
        std::thread::sleep(std::time::Duration::from_millis(50));
        ticket += 1;
    }
}
