//! Where a user's peer keeps its things, when nothing else was said.

use std::path::PathBuf;

use shoal_protocol::api::default_socket;

/// The socket of this user's daemon.
pub(crate) fn socket() -> PathBuf {
    let runtime = std::env::var("XDG_RUNTIME_DIR").ok();
    default_socket(runtime.as_deref(), nix::unistd::getuid().as_raw())
}

/// The directory a peer keeps its key, certificate and blobs in.
pub(crate) fn data_dir() -> PathBuf {
    match user_data() {
        Some(dir) if !nix::unistd::getuid().is_root() => dir,
        Some(_) | None => PathBuf::from("/var/lib/shoal"),
    }
}

/// The user's own data, modules among it.
pub(crate) fn user_data() -> Option<PathBuf> {
    let given = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    given.or_else(|| std::env::home_dir().map(|home| home.join(".local/share"))).map(|base| base.join("shoal"))
}

/// The files the daemon's configuration is read from when none is named.
pub(crate) fn configuration_files() -> Vec<PathBuf> {
    let given = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let user = given.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    let user = user.map(|base| base.join("shoal/config.toml"));
    std::iter::once(PathBuf::from("/etc/shoal/shoal.toml")).chain(user).collect()
}
