//! Finds the files of a directory by their names.

use std::path::{Path, PathBuf};

use super::error::UsecaseError;

/// Files looked at, and how deep.
const FILES_MAX: usize = 50_000;
const DEPTH_MAX: usize = 4;

/// All files below a directory in the order of their paths; other directories' links are not followed.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, UsecaseError> {
    let mut files = Vec::new();
    let mut dirs = vec![(dir.to_path_buf(), 0)];
    while let Some((at, depth)) = dirs.pop() {
        let unreadable = |source| UsecaseError::Unreadable { path: at.clone(), source };
        for entry in std::fs::read_dir(&at).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() && depth < DEPTH_MAX {
                dirs.push((entry.path(), depth + 1));
            } else if !kind.is_dir() {
                files.push(entry.path());
            }
            if files.len() > FILES_MAX {
                return Err(UsecaseError::TooMany { dir: dir.to_path_buf(), most: FILES_MAX });
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The name without its directories, in lower case.
pub(super) fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
}

pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, UsecaseError> {
    std::fs::read(path).map_err(|source| UsecaseError::Unreadable { path: path.to_path_buf(), source })
}

pub(super) fn text(path: &Path) -> Result<String, UsecaseError> {
    let bytes = bytes(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        UsecaseError::bad(path.display().to_string(), format!("line {}: not UTF-8 text", line + 1))
    })
}
