//! Finding a module by path, by name, or by hash.

use std::path::{Path, PathBuf};

use shoal_protocol::api::codes;
use shoal_protocol::config::MODULE_BYTES_MAX;
use shoal_protocol::id::BlobId;

use super::inputs::LocalBlob;
use crate::error::{Exit, Failure, own};
use crate::{format, home};

/// A module that a task names.
#[derive(Debug)]
pub(crate) struct Module {
    /// For listings: `wordcount.wasm`.
    pub(crate) name: String,
    pub(crate) id: BlobId,
    /// Its bytes, unless only the hash is known.
    pub(crate) blob: Option<LocalBlob>,
}

impl Module {
    /// `b3:HASH` is itself, something with a `/` or `.wasm` is a path, anything else a name.
    pub(crate) fn find(text: &str) -> Result<Self, Failure> {
        if text.starts_with("b3:") {
            let id: BlobId = text.parse().map_err(|error| Failure::usage(format!("{error}")))?;
            return Ok(Self { name: id.short(), id, blob: None });
        }
        let path = if text.contains('/') || text.ends_with(".wasm") { PathBuf::from(text) } else { by_name(text)? };
        Self::read(&path)
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let size = std::fs::metadata(path).map_err(|error| Failure::read(path, &error))?.len();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        if size > MODULE_BYTES_MAX {
            return Err(Failure::new(Exit::Usage, codes::TOO_LARGE, format!("`{}` is too large", path.display()))
                .why(format!("it has {}, a module at most {}", format::bytes(size), format::bytes(MODULE_BYTES_MAX)))
                .fix("build it with opt-level = \"s\" and strip it"));
        }
        let bytes = std::fs::read(path).map_err(|error| Failure::read(path, &error))?;
        if !bytes.starts_with(b"\0asm") {
            let title = format!("`{}` is not a WebAssembly module", path.display());
            return Err(Failure::new(Exit::TaskFailed, codes::INVALID_MODULE, title)
                .why("a module begins with the bytes 00 61 73 6d; this file does not")
                .fix("build it with: cargo build --release --target wasm32-wasip1"));
        }
        let blob = LocalBlob::in_memory(name.clone(), bytes);
        Ok(Self { name, id: blob.id, blob: Some(blob) })
    }
}

fn by_name(name: &str) -> Result<PathBuf, Failure> {
    let places = places();
    let file = format!("{name}.wasm");
    if let Some(found) = places.iter().map(|dir| dir.join(&file)).find(|path| path.is_file()) {
        return Ok(found);
    }
    let known: Vec<String> = places.iter().flat_map(|dir| names_in(dir)).collect();
    let near = format::near(name, known.iter().map(String::as_str));
    let searched: Vec<_> = places.iter().map(|dir| dir.display().to_string()).collect();
    let fix = if near.is_empty() {
        "name a file (./module.wasm), or add its directory to SHOAL_MODULES".to_owned()
    } else {
        format!("did you mean {}?", near.join(" or "))
    };
    Err(Failure::new(Exit::Usage, own::NO_MODULE, format!("there is no module named `{name}`"))
        .why(format!("{file} was looked for in {}", searched.join(", ")))
        .fix(fix))
}

/// Directories searched for names, first match wins.
fn places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from(".")];
    places.extend(std::env::split_paths(&std::env::var_os("SHOAL_MODULES").unwrap_or_default()));
    // A program run from its build directory finds the examples of its own repository.
    let exe = std::env::current_exe().ok();
    let repository = exe.iter().flat_map(|exe| exe.ancestors().skip(1)).map(|dir| dir.join("examples/modules"));
    places.extend(repository.filter(|dir| dir.is_dir()).take(1));
    places.extend(home::user_data().map(|data| data.join("modules")));
    places.retain(|dir| !dir.as_os_str().is_empty());
    places
}

fn names_in(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let modules = files.filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    modules.filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned())).collect()
}
