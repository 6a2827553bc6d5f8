//! A file that appears, or replaces another, only when all of it is there.
//!
//! **Not here:** what cannot be made beside and moved over without another's noticing: pipes, devices, files of other users, with several
//! names, mounted by themselves, or in directories that are not to be written to. They are written in place.

use std::ffi::OsString;
use std::fs::{File, Metadata, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Failure;

/// As files are made, less what the user's umask takes.
const MODE: u32 = 0o666;

pub(crate) struct NewFile {
    path: PathBuf,
    out: Out,
}

enum Out {
    Beside(NamedTempFile),
    InPlace(File),
}

/// Whether writing there may wait for somebody who reads.
pub(crate) fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|there| !there.is_file())
}

impl NewFile {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::write(path, &error);
        // Through a link to the file itself.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let before = std::fs::metadata(&path).ok();
        if let Some(before) = &before
            && before.is_file()
        {
            // Whoever may not write to it may not replace it either.
            File::options().write(true).open(&path).map_err(failed)?;
        }
        let beside = match before {
            Some(before) if is_ours_alone(&before) => beside(&path, Some(before.permissions())).ok(),
            Some(_) => None,
            // A link to nowhere is followed.
            None if path.is_symlink() => None,
            None => beside(&path, None).ok(),
        };
        let out = match beside {
            Some(beside) => Out::Beside(beside),
            None => Out::InPlace(File::create(&path).map_err(failed)?),
        };
        Ok(Self { path, out })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match &mut self.out {
            Out::Beside(file) => file.write_all(bytes),
            Out::InPlace(file) => file.write_all(bytes),
        };
        written.map_err(|error| Failure::write(&self.path, &error))
    }

    /// All of it is there, and right.
    pub(crate) fn keep(self) -> Result<(), Failure> {
        let Out::Beside(file) = self.out else { return Ok(()) };
        let moved = file.persist(&self.path).or_else(|unmoved| {
            // A file that is mounted by itself, or another user's in a shared directory, cannot be moved over.
            let mut from = unmoved.file.reopen()?;
            let mut to = File::create(&self.path)?;
            std::io::copy(&mut from, &mut to).map(|_| to)
        });
        moved.map(drop).map_err(|error| Failure::write(&self.path, &error))
    }
}

/// Whether another file in its place is the same to everybody.
fn is_ours_alone(file: &Metadata) -> bool {
    let (user, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    file.is_file() && file.nlink() == 1 && (file.uid(), file.gid()) == (user, group)
}

/// A file of a name of its own in the same directory, so that it can be moved over.
fn beside(path: &Path, permissions: Option<Permissions>) -> std::io::Result<NamedTempFile> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    let mode = Permissions::from_mode(MODE);
    let file = tempfile::Builder::new().prefix(&prefix).suffix(".part").permissions(mode).tempfile_in(directory)?;
    permissions.map_or(Ok(()), |permissions| file.as_file().set_permissions(permissions))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, keep: bool) {
        let mut file = NewFile::create(path).expect("created");
        file.write(b"new").expect("written");
        if keep {
            file.keep().expect("kept");
        }
    }

    #[test]
    fn a_file_is_the_one_before_until_the_next_is_whole() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (path, link) = (dir.path().join("report"), dir.path().join("link"));
        std::fs::write(&path, "old").expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o664)).expect("set");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        let read = || std::fs::read_to_string(&path).expect("read");

        write(&path, false);
        assert_eq!(read(), "old");
        write(&link, true);
        assert_eq!(read(), "new");
        write(&dir.path().join("other"), false);

        assert!(link.is_symlink(), "what it was called by stays");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o664);
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 2, "nothing else is left");
    }

    #[test]
    fn what_cannot_be_replaced_is_written_in_place() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // With a name so long no other name fits beside it.
        let path = dir.path().join("x".repeat(255));
        std::fs::write(&path, "the old one").expect("written");
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        std::fs::write(&one, "the old one").expect("written");
        std::fs::hard_link(&one, &other).expect("linked");
        let (link, end) = (dir.path().join("link"), dir.path().join("end"));
        std::os::unix::fs::symlink(&end, &link).expect("linked");

        for path in [path.as_path(), &one, &link, Path::new("/dev/null")] {
            write(path, true);
        }

        for path in [path, other, end] {
            assert_eq!(std::fs::read_to_string(&path).expect("read"), "new", "{}", path.display());
        }
    }
}
