//! How a mesh stands now: what peers see, what has crossed the network, what the disks hold.

use shoal_protocol::output::PeerState;
use shoal_protocol::{Peer, PeerId, Time};

use crate::sim::{Counts, Disk, Sim};

impl Sim {
    /// A peer's disk.
    pub fn disk(&self, index: usize) -> Option<&Disk> {
        self.node(index)?.disk.as_ref()
    }

    /// Whether every running peer sees every other running peer alive, and nobody else.
    pub fn converged(&self) -> bool {
        let running = || self.nodes().filter_map(|node| Some((self.id(node.index), node.peer.as_ref()?)));
        let mut up: Vec<PeerId> = running().map(|(id, _)| id).collect();
        up.sort_unstable();
        running().all(|(me, peer)| up.iter().copied().filter(|other| *other != me).eq(peer.alive()))
    }

    /// Pairs of running peers of which the first does not see the second alive, or sees it though it does not run.
    pub fn strangers(&self) -> Vec<(usize, usize)> {
        let mut strangers = Vec::new();
        for (node, peer) in self.nodes().filter_map(|node| Some((node, node.peer.as_ref()?))) {
            let views = peer.peers(node.clock(self.now));
            for other in self.nodes().filter(|other| other.index != node.index) {
                let id = self.id(other.index);
                let is_seen = views.iter().any(|view| view.peer == id && view.state == PeerState::Alive);
                if is_seen != other.peer.is_some() {
                    strangers.push((node.index, other.index));
                }
            }
        }
        strangers
    }

    /// A running peer, to ask it what people may ask.
    pub fn peer(&self, index: usize) -> Option<&Peer> {
        self.node(index)?.peer.as_ref()
    }

    /// What a peer's clock shows; nothing when its process does not run, or stands still.
    pub fn clock(&self, index: usize) -> Option<Time> {
        let node = self.node(index).filter(|node| node.peer.is_some() && !node.frozen)?;
        Some(node.clock(self.now))
    }

    /// Whom a peer is connected to.
    pub fn neighbours(&self, index: usize) -> Vec<usize> {
        self.node(index).map(|node| node.links.others().collect()).unwrap_or_default()
    }

    /// The hash over everything every peer did so far, in order.
    pub fn trace_hash(&self) -> String {
        let trace = self.shards.first().and_then(|shard| shard.trace.as_ref());
        trace.map_or_else(String::new, |trace| trace.finalize().to_hex().to_string())
    }

    /// What crossed the network.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { by_sender: self.nodes().map(|node| node.sent).collect(), ..Counts::default() };
        for (kind, count) in self.shards.iter().flat_map(|shard| &shard.sent) {
            *counts.by_kind.entry(*kind).or_default() += *count;
        }
        counts
    }
}
