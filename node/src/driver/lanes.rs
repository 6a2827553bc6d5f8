//! The uplink's lanes: at which rates blobs may leave, in all, over the WAN, and to one neighbour.
//!
//! **Invariant:** a new cap holds at once, also for what is being sent.

use std::collections::BTreeMap;

use shoal_protocol::PeerId;

use crate::blobs::Pace;

/// Each is shared by all streams that it concerns.
#[derive(Debug)]
pub(super) struct Lanes {
    all: Pace,
    wan: Pace,
    /// To neighbours that fetched something; as many as are connected.
    links: BTreeMap<PeerId, Pace>,
    link_bytes_per_s: Option<u64>,
}

impl Lanes {
    /// With what the configuration gives blobs of the uplink.
    pub(super) fn new(all: Pace) -> Self {
        Self { all, wan: Pace::new(None), links: BTreeMap::new(), link_bytes_per_s: None }
    }

    /// What holds for a stream to this peer.
    pub(super) fn to(&mut self, peer: PeerId, is_far: bool) -> Pace {
        let link = self.links.entry(peer).or_insert_with(|| Pace::new(self.link_bytes_per_s));
        let lane = self.all.and(link);
        if is_far { lane.and(&self.wan) } else { lane }
    }

    /// The caps that business rules set.
    pub(super) fn cap(&mut self, wan_bytes_per_s: Option<u64>, link_bytes_per_s: Option<u64>) {
        self.wan.cap(wan_bytes_per_s);
        self.link_bytes_per_s = link_bytes_per_s;
        self.links.values().for_each(|link| link.cap(link_bytes_per_s));
    }

    /// A peer is not connected any more.
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.links.remove(&peer);
    }
}
