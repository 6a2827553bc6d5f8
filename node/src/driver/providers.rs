//! Peers beyond the view that have a blob, by the records they leave in the mesh.
//!
//! The one place where such records come in; until the network keeps any, nobody is found.

use shoal_protocol::{BlobId, PeerId};

use crate::network::Network;

/// Who says it provides a blob, the nearest first.
pub(super) async fn find(_network: &Network, _blob: BlobId) -> Vec<PeerId> {
    Vec::new()
}
