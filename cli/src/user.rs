//! Who submits: a secret of this user, by which its tasks are found again from any peer.
//!
//! **Invariant:** the file is this user's alone (0600), is whole when it has its name, and is never written again.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use shoal_protocol::PeerId;

use crate::error::{Exit, Failure, own};

/// Below the user's data.
const FILE_NAME: &str = "user.key";
/// Longer than any secret as text.
const TEXT_BYTES_MAX: u64 = 256;

/// The submitter that this user's daemon is told of; made when there is none yet.
pub(crate) fn submitter() -> Result<PeerId, Failure> {
    let dir = crate::home::user_data().ok_or_else(|| {
        Failure::new(Exit::Usage, own::READ, "there is no directory for this user's key")
            .fix("set HOME or XDG_DATA_HOME")
    })?;
    let path = dir.join(FILE_NAME);
    let secret = match read(&path)? {
        Some(secret) => secret,
        None => {
            create(&dir, &path).map_err(|error| failed("write", &path, &error))?;
            read(&path)?.ok_or_else(|| failed("read", &path, &io::ErrorKind::NotFound.into()))?
        }
    };
    // The daemon learns what names this user's tasks, not the secret itself.
    Ok(PeerId(blake3::derive_key("shoal submitter v1", &secret.0)))
}

fn read(path: &Path) -> Result<Option<PeerId>, Failure> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path, &error)),
    };
    if metadata.mode() & 0o077 != 0 {
        return Err(Failure::new(Exit::Denied, own::READ, format!("{} can be read by others", path.display()))
            .why("whoever has it can fetch and cancel this user's tasks")
            .fix(format!("chmod 600 {}", path.display())));
    }
    let damaged = || {
        Failure::new(Exit::Usage, own::READ, format!("{} is not a user's key", path.display()))
            .fix("restore it from a backup, or remove it: tasks submitted with it are then found by their id only")
    };
    if metadata.len() > TEXT_BYTES_MAX {
        return Err(damaged());
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed("read", path, &error))?;
    text.trim().parse().map(Some).map_err(|_| damaged())
}

/// Two commands may do this at once: one of their files gets the name, and both read that one.
fn create(dir: &Path, path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let new = Unfinished(dir.join(format!("{FILE_NAME}.{}", std::process::id())));
    // What a process of the same id left behind when it died.
    drop(std::fs::remove_file(&new.0));
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&new.0)?;
    writeln!(file, "{}", PeerId(secret))?;
    file.sync_all()?;
    match std::fs::hard_link(&new.0, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => std::fs::File::open(dir)?.sync_all(),
    }
}

struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It was never there, or it has its name by now.
        drop(std::fs::remove_file(&self.0));
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Usage, own::READ, format!("cannot {what} {}", path.display())).why(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (home, path) = (dir.path().join("shoal"), dir.path().join("shoal").join(FILE_NAME));

        create(&home, &path).unwrap();
        let first = read(&path).unwrap();
        create(&home, &path).unwrap();

        assert!(first.is_some());
        assert_eq!(read(&path).unwrap(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_damaged_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        create(dir.path(), &path).unwrap();

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&path).unwrap_err().exit, Exit::Denied);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "hello").unwrap();
        assert_eq!(read(&path).unwrap_err().exit, Exit::Usage);
    }
}
