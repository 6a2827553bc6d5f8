//! The API's Unix socket: for its owner only, one daemon each, replaced when its daemon is gone.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("another shoald is running: it answers at {}", .0.display())]
    Taken(PathBuf),
    /// There is a file, and it is no socket.
    #[error("{} is not a socket, so it is not replaced", .0.display())]
    NotASocket(PathBuf),
    /// A directory that somebody else owns could be swapped under us.
    #[error("the directory {} of the socket belongs to another user", .0.display())]
    ForeignDirectory(PathBuf),
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl SocketError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Taken(path) => format!(
                "use it (`shoal status`), stop it first, or give this one its own: --api unix:{}.2",
                path.display()
            ),
            Self::NotASocket(_) | Self::ForeignDirectory(_) => "choose another path: --api unix:PATH".into(),
            Self::Io { .. } => "choose a path in a directory of your own: --api unix:PATH".into(),
        }
    }
}

/// The bound socket; its file goes with it.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    /// Which file is ours: another daemon may have replaced it.
    inode: u64,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes the socket, or says who has it.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, Socket), SocketError> {
    let failed = |doing| move |source| SocketError::Io { doing, path: path.to_owned(), source };
    make_directory(path)?;
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(SocketError::Taken(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(failed("replace"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
    }
    // Made under a name of its own and renamed, so that nobody connects before the mode is set.
    let early = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&early);
    let listener = StdListener::bind(&early).map_err(failed("listen at"))?;
    let ready = fs::set_permissions(&early, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&early, path))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| fs::symlink_metadata(path));
    let inode = ready.map_err(failed("listen at"))?.ino();
    let listener = UnixListener::from_std(listener).map_err(failed("listen at"))?;
    Ok((listener, Socket { path: path.to_owned(), inode }))
}

fn make_directory(path: &Path) -> Result<(), SocketError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let failed = |doing| move |source| SocketError::Io { doing, path: dir.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create"))?;
    let metadata = fs::metadata(dir).map_err(failed("look at"))?;
    let me = nix::unistd::geteuid().as_raw();
    // Others may own a directory only if they cannot rename what is in it, as in /tmp.
    let sticky = metadata.mode() & 0o1000 != 0;
    if metadata.uid() != me && metadata.uid() != 0 && !sticky {
        return Err(SocketError::ForeignDirectory(dir.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_goes_with_its_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shoal/shoald.sock");

        let (listener, socket) = bind(&path).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(bind(&path), Err(SocketError::Taken(_))));
        drop((listener, socket));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_daemon_left_is_replaced_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shoald.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(bind(&path).is_ok());

        let file = dir.path().join("precious");
        fs::write(&file, "data").unwrap();
        assert!(matches!(bind(&file), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&file).unwrap(), b"data");
    }
}
