//! Where the programs are that a mesh is made of.

use std::path::{Path, PathBuf};

use super::error::ClusterError;

/// The daemon: the one named, or in `SHOALD_BIN`, or beside this program, or on the search path.
pub(crate) fn shoald(named: Option<&Path>) -> Result<PathBuf, ClusterError> {
    let from_environment = || std::env::var_os("SHOALD_BIN").filter(|path| !path.is_empty()).map(PathBuf::from);
    match named.map(Path::to_owned).or_else(from_environment) {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(ClusterError::ProgramMissing { name: "shoald", place: Some(path) }),
        None => beside_or_on_path("shoald"),
    }
}

/// A program of the same build as this one, or on the search path.
pub fn beside_or_on_path(name: &'static str) -> Result<PathBuf, ClusterError> {
    let here = std::env::current_exe().ok();
    // Tests are built one directory below the programs.
    let beside = here.iter().flat_map(|exe| exe.ancestors().skip(1).take(2)).map(Path::to_owned).collect::<Vec<_>>();
    let search = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&search))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or(ClusterError::ProgramMissing { name, place: None })
}
