//! Machines come into a mesh, and start.

use core::time::Duration;

use rand::RngExt;
use shoal_protocol::certificate::Role;
use shoal_protocol::config::PeerConfig;
use shoal_protocol::{Input, Peer};

use crate::sim::marks::REGIONS;
use crate::sim::node::{self, Identity, Node};
use crate::sim::{Disk, Edition, SYNC, Sim};

impl Sim {
    /// Adds a peer that knows the first one as its bootstrap address; it starts at once.
    pub fn add(&mut self, role: Role, config: PeerConfig) -> usize {
        let index = self.add_cold(role, config);
        self.boot(index);
        index
    }

    /// Adds a peer that does not run yet; it starts, knowing nobody, with [`Sim::start`].
    pub fn add_cold(&mut self, role: Role, config: PeerConfig) -> usize {
        let (index, seed) = (self.len(), self.common.seed);
        let identity = Identity::new(index, role, seed);
        self.common.indices.insert(identity.member.peer, index);
        self.common.ids.push(identity.member.peer);
        self.common.identities.push(identity);
        let disk = self.common.keeps_tasks.then(|| Disk::new(SYNC));
        if let Some(shard) = self.shard_mut(index) {
            let mut node = Node::new(index, config, seed);
            node.disk = disk;
            shard.nodes.push(node);
        }
        index
    }

    /// Adds `count` like peers.
    pub fn add_many(&mut self, count: usize, role: Role, config: &PeerConfig) -> Vec<usize> {
        (0..count).map(|_| self.add(role, config.clone())).collect()
    }

    /// Puts a label into a machine's certificate; before its first start.
    pub fn label(&mut self, index: usize, key: &str, value: &str) {
        if let Some(identity) = self.common.identities.get_mut(index) {
            identity.member.labels.insert(key.to_owned(), value.to_owned());
        }
    }

    /// Has the certificate of a machine, which has not started yet, say in which of [`REGIONS`] it is.
    pub fn settle(&mut self, index: usize, region: usize) {
        let Some(identity) = self.common.identities.get_mut(index) else { return };
        if let Some(name) = REGIONS.get(region) {
            identity.member.labels.insert(shoal_protocol::residency::RESIDENCY.to_owned(), (*name).to_owned());
        }
        if self.common.regions.len() <= index {
            self.common.regions.resize(index + 1, None);
        }
        self.common.regions[index] = Some(region);
    }

    /// Which version a machine runs from its next start on.
    pub fn install(&mut self, index: usize, edition: Edition) {
        if let Some(node) = self.node_mut(index) {
            node.edition = edition;
        }
    }

    /// Starts a peer that remembers these others from an earlier life, as a daemon does from its disk. They must have been
    /// added; those that do not run yet are called as soon as they do.
    pub fn start(&mut self, index: usize, remembered: &[usize]) {
        self.boot_process(index);
        for other in remembered {
            let Some(identity) = self.common.identities.get_mut(*other) else { continue };
            let record = identity.record(self.common.mesh, &self.common.issuer);
            let verified = identity.verified(&record);
            if let (Some(verified), Some(shard)) = (verified, self.shard_mut(index)) {
                shard.given(Duration::ZERO, index, verified);
            }
        }
    }

    /// Tells a peer the address of another.
    pub fn introduce(&mut self, index: usize, other: usize) {
        self.give(index, Input::Discovered { peer: None, address: node::address(other), bootstrap: true });
    }

    fn boot_process(&mut self, index: usize) {
        let (now, seed) = (self.now, self.rng.random());
        let Some(member) = self.common.identities.get(index).map(|identity| identity.member.clone()) else { return };
        let Some(node) = self.node_mut(index) else { return };
        node.boot(Peer::new(member, node.config.clone(), seed, node.clock(now)));
        let (process, unix_ms) = (node.process, node.unix_ms(now));
        let restored = node.disk.as_mut().map(|disk| disk.start(unix_ms));
        let Some(identity) = self.common.identities.get_mut(index) else { return };
        identity.boot(process);
        let record = identity.record(self.common.mesh, &self.common.issuer);
        restored.into_iter().for_each(|restored| self.give(index, restored));
        let lists = self.node(index).map(|node| node.revocations.clone()).unwrap_or_default();
        for list in lists {
            if let Ok(verified) = list.verify(self.common.mesh) {
                self.give(index, Input::Revoked(Box::new(verified)));
            }
        }
        if let Some(rules) = self.node(index).and_then(|node| node.rules.clone()) {
            self.give(index, Input::RulesDeployed(rules));
        }
        self.give(index, Input::RecordSigned(record));
    }

    pub(super) fn boot(&mut self, index: usize) {
        self.boot_process(index);
        let bootstrap = if index == 0 { 1 } else { 0 };
        let address = node::address(bootstrap);
        self.give(index, Input::Discovered { peer: None, address, bootstrap: true });
    }
}
