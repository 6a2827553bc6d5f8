//! Finds the files of a log and checks them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use shoal_protocol::audit::{self, Verified, files};
use shoal_protocol::id::PeerId;

use crate::error::{Exit, Failure, own};

/// A log of the daemon has eight files of four megabytes.
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Which log, and whose it must be.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The file that is written to, audit.log; older files and the head are looked for beside it
    file: Option<PathBuf>,
    /// The peer that must have written it; otherwise the one that its head names
    #[arg(long, value_name = "PEER")]
    peer: Option<PeerId>,
    /// Where this peer's files are, when no file is named
    #[arg(long, value_name = "DIR", env = "SHOAL_NODE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

impl Which {
    pub(super) fn path(&self) -> PathBuf {
        let in_data_dir = || self.data_dir.clone().unwrap_or_else(crate::home::data_dir).join(files::LOG);
        self.file.clone().unwrap_or_else(in_data_dir)
    }

    /// What the log says, if it is as it was written.
    pub(super) fn read(&self) -> Result<Verified, Failure> {
        let path = self.path();
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let names = fs::read_dir(&dir).map_err(|error| Failure::read(&dir, &error))?;
        let names: Vec<String> = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let mut log = String::new();
        for name in files::in_order(names.iter().map(String::as_str)) {
            log += &text(&dir.join(name), LOG_BYTES_MAX.saturating_sub(log.len() as u64))?;
        }
        if log.is_empty() && !names.iter().any(|name| name == files::HEAD) {
            return Err(Failure::new(Exit::Usage, own::READ, format!("there is no audit log in {}", dir.display()))
                .fix("name its file: shoal audit verify DIR/audit.log"));
        }
        let head = names.iter().any(|name| name == files::HEAD).then(|| text(&dir.join(files::HEAD), 64 * 1024));
        audit::verify(&log, head.transpose()?.as_deref(), self.peer).map_err(|fault| {
            Failure::new(Exit::Denied, own::AUDIT, "the audit log is not as it was written")
                .why(fault.to_string())
                .fix(format!("keep {} as it is, and compare it with a copy or a head noted elsewhere", dir.display()))
        })
    }
}

fn text(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes));
    read.map_err(|error| Failure::read(path, &error))?;
    // What is no text is no entry either, and is found as such.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
