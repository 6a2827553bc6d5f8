//! What all shards see, and only the script changes.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use shoal_protocol::certificate::{Issuer, Member};
use shoal_protocol::{BlobId, MeshId, PeerId, TaskId};

use crate::sim::hash::FastMap;
use crate::sim::lures::Lure;
use crate::sim::marks::Mark;
use crate::sim::network::Network;
use crate::sim::node::Identity;
use crate::sim::work::Work;

/// What all shards see, and only the script changes.
#[derive(Debug)]
pub(in crate::sim) struct Common {
    pub(in crate::sim) seed: u64,
    pub(in crate::sim) mesh: MeshId,
    pub(in crate::sim) issuer: Issuer,
    pub(in crate::sim) network: Network,
    pub(in crate::sim) identities: Vec<Identity>,
    /// Their ids, side by side: each message asks for one.
    pub(in crate::sim) ids: Vec<PeerId>,
    pub(in crate::sim) indices: FastMap<PeerId, usize>,
    pub(in crate::sim) works: HashMap<TaskId, Work>,
    /// Modules that take the same on a reference core whatever the task.
    pub(in crate::sim) modules: HashMap<BlobId, Duration>,
    pub(in crate::sim) watches_beliefs: bool,
    pub(in crate::sim) times_decisions: bool,
    /// Whether machines have disks, and what users are told is for the script to judge.
    pub(in crate::sim) keeps_tasks: bool,
    /// Machines that lie.
    pub(in crate::sim) liars: BTreeSet<usize>,
    /// Some did: what they sent may still be on its way.
    pub(in crate::sim) has_liars: bool,
    /// Machines that ever did.
    pub(in crate::sim) lied: BTreeSet<usize>,
    /// Machines that want work, and do not do it.
    pub(in crate::sim) lures: BTreeMap<usize, Lure>,
    /// Whether answers may be wrong: then they are kept.
    pub(in crate::sim) forges: bool,
    pub(in crate::sim) watches_awards: bool,
    /// In which region each machine is, by index; in none beyond the last.
    pub(in crate::sim) regions: Vec<Option<usize>>,
    /// Blobs of marked data.
    pub(in crate::sim) marked: BTreeMap<BlobId, Mark>,
    pub(in crate::sim) watches_marks: bool,
    pub(in crate::sim) watches_moves: bool,
}

impl Common {
    pub(super) fn region(&self, index: usize) -> Option<usize> {
        self.regions.get(index).copied().flatten()
    }

    pub(in crate::sim) fn id(&self, index: usize) -> PeerId {
        self.ids.get(index).copied().unwrap_or(PeerId([0; 32]))
    }

    pub(in crate::sim) fn index(&self, peer: PeerId) -> Option<usize> {
        self.indices.get(&peer).copied()
    }

    pub(super) fn member(&self, index: usize) -> Option<Member> {
        self.identities.get(index).map(|identity| identity.member.clone())
    }
}
