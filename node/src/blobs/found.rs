//! What lies in the directories of a store when it is opened.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use shoal_protocol::id::BlobId;

use super::aside::SET_ASIDE_MAX;
use super::erase::Eraser;
use super::seal::{Beginning, Header, Keys};
use super::{BlobError, upgrade};

/// When it was last changed, which it is, and how large.
pub(super) type Found = (SystemTime, BlobId, u64);

/// Finds blobs by what their files say of themselves.
pub(super) struct Finder<'a> {
    pub(super) keys: &'a Keys,
    pub(super) eraser: &'a Eraser,
    pub(super) set_aside: &'a Path,
}

impl Finder<'_> {
    /// The sealed blobs in a directory, the longest unused first. A file that does not say what it is is set aside; files of
    /// other names are nobody's and stay.
    pub(super) fn find(&self, dir: &Path) -> Result<Vec<Found>, BlobError> {
        let mut blobs = Vec::new();
        for entry in entries(dir)? {
            let Some(name) = entry.file_name().to_str().map(str::to_owned).filter(|name| Keys::is_name(name)) else {
                continue;
            };
            let path = entry.path();
            match read(self.keys, &path) {
                Ok((modified, Beginning::Good(header))) => {
                    if self.has_its_name(&path, &name, header.id) {
                        blobs.push((modified, header.id, header.bytes));
                    }
                }
                Ok((_, Beginning::Blank)) => {
                    tracing::warn!(path = %path.display(), "a file without a header, of a write that was cut off, is removed");
                    self.eraser.doom(&path);
                }
                Ok((_, Beginning::Damaged)) => self.put_aside(&path, &name, "its header is damaged"),
                Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                    self.put_aside(&path, &name, &error.to_string());
                }
                // It may be whole, and somebody's: what keeps it from being read may be mended before the next start.
                Err(error) => {
                    let path = path.display();
                    tracing::error!(%path, %error, "a blob cannot be read, and is left where it is until the next start");
                }
            }
        }
        blobs.sort();
        Ok(blobs)
    }

    /// Whether it can be found where it is. One that another mesh has named gets the name that it has here.
    fn has_its_name(&self, path: &Path, name: &str, id: BlobId) -> bool {
        let right = self.keys.name(id);
        if right == name {
            return true;
        }
        let to = path.with_file_name(right);
        if to.exists() {
            // The file of that name is found by itself.
            self.eraser.doom(path);
            return false;
        }
        match fs::rename(path, &to) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a blob under the name of another cannot be renamed");
                false
            }
        }
    }

    fn put_aside(&self, path: &Path, name: &str, why: &str) {
        tracing::warn!(path = %path.display(), why, "a file of the store cannot be read and is set aside");
        if let Err(error) = fs::rename(path, self.set_aside.join(name)) {
            tracing::warn!(path = %path.display(), %error, "cannot set a damaged file aside");
        }
        keep_newest(self.set_aside, SET_ASIDE_MAX, self.eraser);
    }
}

fn read(keys: &Keys, path: &Path) -> io::Result<(SystemTime, Beginning)> {
    let file = File::open(path)?;
    let modified = file.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok((modified, Header::read(keys, &file)?))
}

/// What there is in a directory.
pub(super) fn entries(dir: &Path) -> Result<Vec<DirEntry>, BlobError> {
    let failed = || BlobError::io("list", dir);
    fs::read_dir(dir).map_err(failed())?.collect::<io::Result<_>>().map_err(failed())
}

/// Takes everything out of a directory.
pub(super) fn clear_out(dir: &Path, eraser: &Eraser) -> Result<(), BlobError> {
    for entry in entries(dir)? {
        eraser.doom(&entry.path());
    }
    Ok(())
}

/// Removes files of ours whose names end so, but for these; they are of no use without another, which is gone.
pub(super) fn remove_all_but(dir: &Path, ending: &str, kept: &BTreeSet<String>) -> Result<(), BlobError> {
    let is_ours = |name: &str| {
        name.strip_suffix(ending).is_some_and(|stem| Keys::is_name(stem) || upgrade::named(stem).is_some())
    };
    for entry in entries(dir)? {
        if entry.file_name().to_str().is_some_and(|name| is_ours(name) && !kept.contains(name)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// The oldest files in a directory go.
pub(super) fn keep_newest(dir: &Path, most: usize, eraser: &Eraser) {
    let Ok(entries) = entries(dir) else { return };
    let changed = |entry: &DirEntry| entry.metadata().and_then(|metadata| metadata.modified());
    let mut files: Vec<_> =
        entries.iter().map(|entry| (changed(entry).unwrap_or(SystemTime::UNIX_EPOCH), entry.path())).collect();
    files.sort();
    let surplus = files.len().saturating_sub(most);
    if surplus > 0 {
        for (_, path) in files.iter().take(surplus) {
            eraser.doom(path);
        }
        eraser.erase_soon();
    }
}
