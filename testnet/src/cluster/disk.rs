//! A small disk of a peer's own, in memory: it can be filled without filling the machine's.
//!
//! **Invariant:** it is unmounted when this is dropped, and by the kernel with the mount namespace in any case.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::error::ClusterError;

#[derive(Debug)]
pub(super) struct Disk {
    place: PathBuf,
}

impl Disk {
    pub(super) fn mount(place: &Path, bytes: u64) -> Result<Self, ClusterError> {
        let options = format!("size={bytes},mode=0700");
        // Compiled modules are run from there.
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("shoal-testnet"), place, Some("tmpfs"), flags, Some(options.as_str()))
            .map_err(|errno| ClusterError::Disk { path: place.to_owned(), source: io::Error::from(errno) })?;
        Ok(Self { place: place.to_owned() })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still has a file open there keeps it until it ends.
        let _ = umount2(&self.place, MntFlags::MNT_DETACH);
    }
}
