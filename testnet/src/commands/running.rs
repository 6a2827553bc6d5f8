//! What `up` writes about the mesh it started, for `down`, for scripts and for the person.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shoal_protocol::api::schema;
use shoal_protocol::certificate::Role;
use shoal_protocol::{MeshId, PeerId};
use shoal_testnet::{Cluster, Network, RUNNING};

use super::Failure;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) schema: String,
    /// Of the tool; ends the mesh when it is ended.
    pub(crate) pid: u32,
    pub(crate) dir: PathBuf,
    pub(crate) mesh: MeshId,
    pub(crate) network: Network,
    pub(crate) formed_in_ms: u64,
    pub(crate) peers: Vec<RunningPeer>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunningPeer {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) peer: PeerId,
    pub(crate) address: SocketAddr,
    /// For `shoal --api`.
    pub(crate) api: String,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
}

impl Running {
    pub(crate) fn of(cluster: &Cluster, pid: u32) -> Self {
        let peers = cluster.peers().iter().map(|peer| RunningPeer {
            name: peer.name.clone(),
            role: peer.role,
            peer: peer.peer,
            address: peer.address,
            api: peer.api(),
            config: peer.config.clone(),
            log: peer.log.clone(),
        });
        Self {
            schema: schema(),
            pid,
            dir: cluster.dir().to_owned(),
            mesh: cluster.mesh(),
            network: cluster.network().clone(),
            formed_in_ms: cluster.formed_in().as_millis() as u64,
            peers: peers.collect(),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        // Plain structs with text keys and paths this program made, which cannot fail to serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), Failure> {
        let path = dir.join(RUNNING);
        std::fs::write(&path, self.to_json()).map_err(|error| Failure::file("write", &path, &error))
    }

    pub(crate) fn read(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(RUNNING);
        let text = std::fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?;
        serde_json::from_slice(&text).map_err(|error| Failure::file("understand", &path, &error.into()))
    }
}

/// Where `up --keep` puts its mesh when it is not told, and `down` looks for it: one a user.
pub(crate) fn default_dir() -> Result<PathBuf, Failure> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let user = nix::unistd::geteuid().as_raw();
    let dir = std::env::temp_dir().join(format!("shoal-testnet-{user}"));
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    let metadata = made.and_then(|()| std::fs::symlink_metadata(&dir));
    let metadata = metadata.map_err(|error| Failure::file("make", &dir, &error))?;
    // Anybody may make a directory of that name, and keys go into it.
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
        let what = format!("{} belongs to somebody else, or is open to others", dir.display());
        return Err(Failure::new(super::DENIED, what, "choose a directory with --dir"));
    }
    Ok(dir)
}
