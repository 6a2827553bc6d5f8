//! Files of the data directory that are read and written as a whole.
//!
//! **Invariant:** after a crash at any moment such a file is the one before or the one after, never a mixture.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;

/// Begins the names of files that are being written.
const UNFINISHED: &str = ".tmp";
/// One that nobody has written to for so long will not be finished.
const UNFINISHED_MIN: Duration = Duration::from_secs(3_600);

/// What is in it; nothing where there is no such file.
///
/// # Errors
/// The system's, and [`io::ErrorKind::InvalidData`] for a file of more than `bytes_max`, which was not written by us.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let length = file.metadata()?.len();
    // Neither does one grow meanwhile into what does not fit in memory.
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(bytes_max)).unwrap_or_default());
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let why = format!("it has {} bytes, and at most {bytes_max} are ever written", length.max(bytes.len() as u64));
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Some(bytes))
}

/// What it says, as `decode` reads it; nothing where there is no such file. One that was not written by us, or is not whole any
/// more, is set aside, so that the next one does not replace it; one that the system cannot read at the moment stays where it is.
/// Both are logged, with what is done `without` it.
pub(crate) fn read_or_set_aside<T, E: Display>(
    path: &Path,
    bytes_max: u64,
    decode: impl FnOnce(&[u8]) -> Result<T, E>,
    without: &str,
) -> Option<T> {
    let file = path.display();
    let why = match read(path, bytes_max) {
        Ok(bytes) => match decode(&bytes?) {
            Ok(found) => return Some(found),
            Err(error) => error.to_string(),
        },
        Err(error) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
        Err(error) => {
            tracing::error!(%file, %error, without, "a file of the data directory cannot be read now");
            return None;
        }
    };
    let set_aside = fs::rename(path, damaged(path)).is_ok();
    tracing::error!(%file, set_aside, why, without, "a file of the data directory is damaged");
    None
}

/// Where one that is damaged is kept for people.
fn damaged(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".damaged");
    name.into()
}

/// Replaces it, and returns when the new one and its name are on disk.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    written(path, bytes, mode)?.persist(path).map_err(|error| error.error)?;
    File::open(dir_of(path))?.sync_all()
}

/// Makes one that is not there yet, and returns when it and its name are on disk.
///
/// # Errors
/// The system's; [`io::ErrorKind::AlreadyExists`] where there is one.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    written(path, bytes, mode)?.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(dir_of(path))?.sync_all()
}

fn written(path: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir_of(path))?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes files of a directory that a killed process was writing. Those of one that writes just now are younger.
pub(crate) fn remove_unfinished(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_unfinished = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_unfinished && age.is_some_and(|age| age >= UNFINISHED_MIN) {
            let removed = fs::remove_file(entry.path());
            tracing::info!(file = %entry.path().display(), removed = removed.is_ok(), "a file that was never finished");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_read_up_to_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read(&path, 4).unwrap(), None);

        replace(&path, b"once", 0o600).unwrap();
        replace(&path, b"more", 0o640).unwrap();

        assert_eq!(read(&path, 4).unwrap().as_deref(), Some(&b"more"[..]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let error = read(&path, 3).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("4 bytes"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn one_that_is_there_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");

        create(&path, b"first", 0o600).unwrap();
        let again = create(&path, b"second", 0o600).unwrap_err();

        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let [old, young, other] = [".tmpOld", ".tmpYoung", "other"].map(|name| dir.path().join(name));
        for path in [&old, &young, &other] {
            let file = File::create(path).unwrap();
            let age = if *path == young { Duration::ZERO } else { 2 * UNFINISHED_MIN };
            file.set_modified(std::time::SystemTime::now() - age).unwrap();
        }

        remove_unfinished(dir.path());

        assert!(!old.exists() && young.exists() && other.exists());
    }

    #[test]
    fn what_is_damaged_is_set_aside_and_what_cannot_be_read_now_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("names.cbor");
        let read = || read_or_set_aside(&path, 8, |bytes| String::from_utf8(bytes.to_vec()), "there are none");
        assert_eq!(read(), None, "no file is no damage");

        replace(&path, b"a, b", 0o600).unwrap();
        assert_eq!(read().as_deref(), Some("a, b"));

        for bytes in [&b"\xff\xff"[..], b"more than we write"] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(read(), None);
            assert_eq!(fs::read(dir.path().join("names.cbor.damaged")).unwrap(), bytes);
            assert!(!path.exists());
        }

        fs::create_dir(&path).unwrap();
        assert_eq!(read(), None);
        assert!(path.is_dir(), "nothing is wrong with what it says, as far as anybody knows");
    }
}
