//! One simulated machine: an identity that outlives its processes, and the process that runs now.

use std::collections::{BTreeMap, BTreeSet};

use shoal_protocol::certificate::{Member, MemberCertificate, PeerRecord, Role, SecretKey, SignedRecord};
use shoal_protocol::config::PeerConfig;
use shoal_protocol::message::TaskRef;
use shoal_protocol::{Input, Peer, Time};

use super::TODAY_UNIX_S;
use super::event::Event;

/// The address of the machine with this index.
pub(super) fn address(index: usize) -> String {
    format!("sim/{index}")
}

/// The machine at an address.
pub(super) fn index_of(address: &str) -> Option<usize> {
    address.strip_prefix("sim/")?.parse().ok()
}

#[derive(Debug)]
pub(super) struct Node {
    index: usize,
    key: SecretKey,
    pub(super) member: Member,
    pub(super) config: PeerConfig,
    /// The running process; none after a crash.
    pub(super) peer: Option<Peer>,
    /// Counts processes, so that what was meant for an earlier one does not reach a later one.
    pub(super) process: u64,
    pub(super) wake_at: Option<Time>,
    pub(super) running: BTreeSet<TaskRef>,
    /// Whom it was connected to when it crashed.
    pub(super) neighbours_before: Vec<usize>,
    /// The record of the current process.
    record: Option<SignedRecord>,
    pub(super) frozen: bool,
    /// What reached it while frozen.
    pub(super) waiting: Vec<Event>,
}

impl Node {
    pub(super) fn new(index: usize, role: Role, config: PeerConfig, mesh_key: &SecretKey, seed: u64) -> Self {
        let mut entropy = blake3::Hasher::new_derive_key("shoal simulator node key");
        entropy.update(&seed.to_le_bytes()).update(&(index as u64).to_le_bytes());
        let key = SecretKey::from_bytes(entropy.finalize().as_bytes());
        let member = Member { peer: key.peer(), name: format!("{role}-{index}"), role, labels: BTreeMap::new() };
        debug_assert_ne!(mesh_key.peer(), key.peer());
        Self {
            index,
            key,
            member,
            config,
            peer: None,
            process: 0,
            wake_at: None,
            running: BTreeSet::new(),
            record: None,
            neighbours_before: Vec::new(),
            frozen: false,
            waiting: Vec::new(),
        }
    }

    pub(super) fn boot(&mut self, now: Time, seed: u64) {
        self.process += 1;
        if self.process > 1 {
            self.record = None;
        }
        self.frozen = false;
        self.peer = Some(Peer::new(self.member.clone(), self.config.clone(), seed, now));
    }

    pub(super) fn crash(&mut self) {
        self.peer = None;
        self.process += 1;
        self.wake_at = None;
        self.running.clear();
        self.frozen = false;
        self.waiting.clear();
    }

    /// Its signed record; each process says a newer one.
    pub(super) fn record(&mut self, mesh_key: &SecretKey) -> SignedRecord {
        if let Some(record) = &self.record {
            return record.clone();
        }
        let certificate = MemberCertificate {
            mesh: mesh_key.mesh(),
            peer: self.member.peer,
            name: self.member.name.clone(),
            role: self.member.role,
            labels: self.member.labels.clone(),
            not_before_unix_s: TODAY_UNIX_S,
            expires_unix_s: TODAY_UNIX_S + 30 * 86_400,
            serial: 0,
        };
        let certificate = certificate.sign(mesh_key);
        let record = PeerRecord { certificate, addresses: vec![address(self.index)], sequence: self.sequence() };
        self.record.insert(record.sign(&self.key)).clone()
    }

    /// Whether that is the record it says now.
    pub(super) fn is_current(&self, record: &SignedRecord) -> bool {
        self.record.as_ref() == Some(record)
    }

    /// What a driver says of its record, once the signatures were checked.
    pub(super) fn verified(&mut self, mesh_key: &SecretKey) -> Input {
        let record = self.record(mesh_key);
        let addresses = vec![address(self.index)];
        Input::RecordVerified { record, member: self.member.clone(), addresses, sequence: self.sequence() }
    }

    /// Known before its first process runs, so that others can remember it.
    fn sequence(&self) -> u64 {
        self.process.max(1)
    }
}
