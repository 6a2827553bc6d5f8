//! The programs that are installed beside this one.

use std::path::PathBuf;

use crate::error::{Exit, Failure, own};

/// The path of a program beside this one, or on the search path.
pub(crate) fn beside(name: &str) -> Result<PathBuf, Failure> {
    let here = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|dir| dir.join(name)));
    if let Some(path) = here.filter(|path| path.is_file()) {
        return Ok(path);
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search).map(|dir| dir.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        Failure::new(Exit::Unreachable, own::PROGRAM, format!("the program `{name}` is not installed"))
            .why("it is neither beside `shoal` nor on the search path")
            .fix(format!("build it: cargo build --release --bin {name}"))
    })
}
