//! Erasing: what is removed loses its header on the disk before it loses its last name.
//!
//! ```text
//! removed, evicted, over ─► renamed into erasing/ ─► header overwritten with zeros ─► synced ─► unlinked
//!                            └ nobody finds it here   └ without its key the rest is noise
//! ```
//!
//! The first step is quick and is taken under the lock of the index; the others wait for the disk. A crash leaves the file in
//! `erasing/`, which is emptied at the next start.
//!
//! **Invariant:** a file whose removal was answered has no key left in the blocks that it had. Who has it open reads on.
//! **Not here:** copies that a disk makes by itself: of a flash that moves blocks, of a file system that never overwrites.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::BlobError;
use super::seal::HEADER_BYTES;

/// Up to so many are synced one by one; more of them with everything else of their file system.
const ONE_BY_ONE_MAX: usize = 8;
/// Taken at a time.
const ROUND_MAX: usize = 1_024;
/// So much may wait beside the quota; beyond that, who wants room waits as well.
const WAITING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What empties `erasing/`; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Eraser(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Begins the names of this run of the daemon.
    run: u64,
    count: AtomicU64,
    waiting_bytes: AtomicU64,
    /// One round at a time.
    round: Mutex<()>,
    /// Somebody is about to begin.
    is_called: AtomicBool,
}

impl Eraser {
    pub(super) fn open(dir: PathBuf) -> Result<Self, BlobError> {
        let failed = BlobError::io("use", &dir);
        let run = getrandom::u64().map_err(|error| failed(io::Error::other(error)))?;
        let (count, waiting_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let (round, is_called) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Shared { dir, run, count, waiting_bytes, round, is_called })))
    }

    /// Takes a file away from its place; whether there was one, and it is gone from there.
    pub(super) fn doom(&self, path: &Path) -> bool {
        self.try_doom(path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot remove a file");
            false
        })
    }

    /// The same for who can say why not: the error is the system's, and the file is where it was.
    pub(super) fn try_doom(&self, path: &Path) -> io::Result<bool> {
        let Shared { dir, run, count, waiting_bytes, .. } = &*self.0;
        let to = dir.join(format!("{run:016x}-{}", count.fetch_add(1, Ordering::Relaxed)));
        let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
        match fs::rename(path, &to) {
            Ok(()) => {
                waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
                Ok(true)
            }
            // Or there is nowhere to take it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// For who has taken much away to make room: waits while too much of it is still there.
    pub(super) fn keep_up(&self) {
        if self.0.waiting_bytes.load(Ordering::Relaxed) > WAITING_BYTES_MAX {
            self.erase();
        }
    }

    /// Erases what was taken away; blocks for an fsync or a few. Whether all of it is gone from this disk.
    pub(super) fn erase(&self) -> bool {
        let _one = self.0.round.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.0.waiting_bytes.store(0, Ordering::Relaxed);
            let doomed = match fs::read_dir(&self.0.dir) {
                Ok(entries) => entries.flatten().take(ROUND_MAX).map(|entry| entry.path()).collect::<Vec<_>>(),
                Err(error) => {
                    tracing::warn!(path = %self.0.dir.display(), %error, "cannot see what is to be erased");
                    return false;
                }
            };
            if doomed.is_empty() {
                return true;
            }
            if !self.erase_all(&doomed) {
                return false;
            }
        }
    }

    /// Has it done by a thread of its own.
    pub(super) fn erase_soon(&self) {
        if self.0.is_called.swap(true, Ordering::AcqRel) {
            return;
        }
        let eraser = self.clone();
        let begun = std::thread::Builder::new().name("eraser".into()).spawn(move || {
            // What is taken away from now on calls again.
            eraser.0.is_called.store(false, Ordering::Release);
            eraser.erase();
        });
        if let Err(error) = begun {
            self.0.is_called.store(false, Ordering::Release);
            tracing::warn!(%error, "no thread to erase what was removed: that waits for the next");
        }
    }

    /// Whether all of them are erased and gone.
    fn erase_all(&self, doomed: &[PathBuf]) -> bool {
        let one_by_one = doomed.len() <= ONE_BY_ONE_MAX;
        let mut are_erased = true;
        for path in doomed {
            match blank(path, one_by_one) {
                // Who unlinks here has overwritten it before.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    are_erased = false;
                    tracing::error!(path = %path.display(), %error, "a removed file cannot be erased, only unlinked");
                }
                Ok(()) => {}
            }
        }
        if !one_by_one {
            let synced = File::open(&self.0.dir).and_then(|dir| Ok(nix::unistd::syncfs(dir)?));
            if let Err(error) = synced {
                are_erased = false;
                tracing::error!(%error, "removed files may be unlinked before they are erased");
            }
        }
        let unlinked = |path: &PathBuf| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot remove what was erased");
                false
            }
            Ok(()) | Err(_) => true,
        };
        // All of them, whatever becomes of one.
        doomed.iter().filter(|path| !unlinked(path)).count() == 0 && are_erased
    }
}

/// Erases a file of this form elsewhere, and removes it.
pub(crate) fn erase_file(path: &Path) -> io::Result<()> {
    blank(path, true)?;
    fs::remove_file(path)
}

/// Overwrites the beginning of a file: its header, or the nonce and more of one that was sealed as a whole.
fn blank(path: &Path, synced: bool) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let bytes = usize::try_from(file.metadata()?.len().min(HEADER_BYTES)).unwrap_or(0);
    file.write_all_at(&[0; HEADER_BYTES as usize][..bytes], 0)?;
    if synced { file.sync_data() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_erased_has_no_header_left_wherever_else_it_has_a_name() {
        for count in [1, ONE_BY_ONE_MAX + 5] {
            let dir = tempfile::tempdir().unwrap();
            let [from, erasing, kept] = ["from", "erasing", "kept"].map(|name| dir.path().join(name));
            for dir in [&from, &erasing, &kept] {
                fs::create_dir(dir).unwrap();
            }
            let eraser = Eraser::open(erasing.clone()).unwrap();
            for n in 0..count {
                let file = from.join(n.to_string());
                fs::write(&file, [7; 200]).unwrap();
                fs::hard_link(&file, kept.join(n.to_string())).unwrap();
                assert!(eraser.doom(&file));
                assert!(!eraser.doom(&file), "it is not there any more");
            }

            assert!(eraser.erase());

            assert_eq!(fs::read_dir(&erasing).unwrap().count(), 0);
            for n in 0..count {
                let left = fs::read(kept.join(n.to_string())).unwrap();
                assert!(left[..128] == [0; 128] && left[128..] == [7; 72], "{left:?}");
            }
        }
    }

    #[test]
    fn what_another_has_erased_meanwhile_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let eraser = Eraser::open(dir.path().to_owned()).unwrap();
        let left = dir.path().join("left");
        fs::write(&left, [7; 3]).unwrap();

        assert!(eraser.erase_all(&[dir.path().join("erased by another"), left.clone()]));

        assert!(!left.exists());
    }

    #[test]
    fn what_was_left_by_a_crash_is_erased_and_not_mixed_up() {
        let dir = tempfile::tempdir().unwrap();
        let (erasing, file) = (dir.path().join("erasing"), dir.path().join("file"));
        fs::create_dir(&erasing).unwrap();
        fs::write(&file, [7; 3]).unwrap();
        assert!(Eraser::open(erasing.clone()).unwrap().doom(&file));
        fs::write(&file, [8; 3]).unwrap();

        let again = Eraser::open(erasing.clone()).unwrap();
        assert!(again.doom(&file));
        assert_eq!(fs::read_dir(&erasing).unwrap().count(), 2);
        assert!(again.erase());

        assert_eq!(fs::read_dir(&erasing).unwrap().count(), 0);
    }
}
