//! Peers beyond the view that have a blob, by the records they leave in the mesh; and the records that this peer leaves.
//!
//! What a user has pinned is told to the mesh, and the modules of services that are kept here. Where outputs stay their homes know, and what is here by chance may be gone
//! before anybody asks.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_protocol::{BlobId, PeerId, Time};

use super::Driver;
use crate::network::Network;

/// Pins change when a person says so: nobody waits for this.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the mesh was told that this peer has.
#[derive(Debug, Default)]
pub(crate) struct Provided {
    blobs: BTreeSet<BlobId>,
    looked: Time,
}

/// Who says it provides a blob, the nearest first. Those who are not connected are being called.
pub(super) async fn find(network: &Network, blob: BlobId) -> Vec<PeerId> {
    network.find_providers(blob).await.unwrap_or_default()
}

impl Driver {
    /// Each second.
    pub(super) fn tell_what_is_pinned(&mut self) {
        let now = self.clock.now();
        if now.since(self.provided.looked) < LOOK_EVERY {
            return;
        }
        self.provided.looked = now;
        // Records of who has what may be anywhere in the mesh: what may not is found by who may have it, in the view.
        let mut pinned = self.blobs.pinned();
        pinned.extend(self.services.modules_here());
        pinned.retain(|blob| self.blobs.labels(*blob).is_empty());
        for blob in pinned.difference(&self.provided.blobs.clone()) {
            // A network that is busy is told the next time.
            if self.network.provide(*blob).is_ok() {
                self.provided.blobs.insert(*blob);
            }
        }
        for blob in self.provided.blobs.clone().difference(&pinned) {
            if self.network.unprovide(*blob).is_ok() {
                self.provided.blobs.remove(blob);
            }
        }
    }
}
