//! Whom a member that came with a ticket turns to: for the mesh, and for its next certificate.

use std::path::Path;

use serde::{Deserialize, Serialize};
use shoal_protocol::config::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
use shoal_protocol::{MeshId, PeerId, cbor};

use crate::small_file;

const FILE_NAME: &str = "joined.cbor";
/// A file beyond this was not written by us.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The peer that let this one in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contacts {
    #[serde(rename = "m")]
    pub(crate) mesh: MeshId,
    #[serde(rename = "k")]
    pub(crate) inviter: PeerId,
    /// Multiaddresses of it.
    #[serde(rename = "a")]
    pub(crate) addresses: Vec<String>,
}

impl Contacts {
    /// Who let this peer into `mesh`; nobody when it was admitted otherwise.
    pub(crate) fn load(data_dir: &Path, mesh: MeshId) -> Option<Self> {
        let without = "peers are found by bootstrap and mDNS";
        let path = data_dir.join(FILE_NAME);
        let mut contacts: Self = small_file::read_or_set_aside(&path, FILE_BYTES_MAX, cbor::decode, without)?;
        contacts.addresses.retain(|address| address.len() <= ADDRESS_BYTES_MAX);
        contacts.addresses.truncate(ADDRESSES_MAX);
        (contacts.mesh == mesh).then_some(contacts)
    }

    pub(super) fn save(&self, data_dir: &Path) -> std::io::Result<()> {
        small_file::replace(&data_dir.join(FILE_NAME), &cbor::encode(self), 0o644)
    }
}
