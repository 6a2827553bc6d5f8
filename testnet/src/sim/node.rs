//! One simulated machine: an identity that outlives its processes, and the process that runs now.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use shoal_protocol::certificate::{
    Issuer, Member, MemberCertificate, PeerRecord, Role, SecretKey, SignedRecord, SignedRevocations,
};
use shoal_protocol::config::PeerConfig;
use shoal_protocol::message::TaskRef;
use shoal_protocol::rules::VerifiedRules;
use shoal_protocol::task::receipt::{Receipt, SignedReceipt};
use shoal_protocol::{Input, MeshId, Peer, Time};

use super::TODAY_UNIX_S;
use super::counts::Count;
use super::disk::Disk;
use super::editions::Edition;
use super::event::{CAUSE_BITS, Coming, Event, Stamp};
use super::forgers::Forger;
use super::links::{Call, Links};

const MILLION: u64 = 1_000_000;

/// The address of the machine with this index.
pub(super) fn address(index: usize) -> String {
    format!("sim/{index}")
}

/// The machine at an address.
pub(super) fn index_of(address: &str) -> Option<usize> {
    address.strip_prefix("sim/")?.parse().ok()
}

/// Who a machine is: known to all of them, and changed by the script only.
#[derive(Debug)]
pub(super) struct Identity {
    index: usize,
    key: SecretKey,
    pub(super) member: Member,
    /// Counts its processes.
    process: u64,
    /// The records that its processes said, with their numbers; the last one is said now.
    records: Vec<(u64, SignedRecord)>,
}

impl Identity {
    pub(super) fn new(index: usize, role: Role, seed: u64) -> Self {
        let mut entropy = blake3::Hasher::new_derive_key("shoal simulator node key");
        entropy.update(&seed.to_le_bytes()).update(&(index as u64).to_le_bytes());
        let key = SecretKey::from_bytes(entropy.finalize().as_bytes());
        let member = Member { peer: key.peer(), name: format!("{role}-{index}"), role, labels: BTreeMap::new() };
        Self { index, key, member, process: 0, records: Vec::new() }
    }

    /// Another process starts: it will say a newer record.
    pub(super) fn boot(&mut self, process: u64) {
        self.process = process;
    }

    /// Its signed record; each process says a newer one.
    pub(super) fn record(&mut self, mesh: MeshId, issuer: &Issuer) -> SignedRecord {
        let sequence = self.sequence();
        if let Some((_, record)) = self.records.last().filter(|(said, _)| *said == sequence) {
            return record.clone();
        }
        let certificate = MemberCertificate {
            mesh,
            peer: self.member.peer,
            name: self.member.name.clone(),
            role: self.member.role,
            labels: self.member.labels.clone(),
            not_before_unix_s: TODAY_UNIX_S,
            expires_unix_s: TODAY_UNIX_S + 30 * 86_400,
            serial: 0,
        };
        let certificate = certificate.sign(issuer);
        let record = PeerRecord { certificate, addresses: vec![address(self.index)], sequence };
        let record = record.sign(&self.key);
        self.records.push((sequence, record.clone()));
        record
    }

    /// What its driver signs of a run.
    pub(super) fn sign(&self, receipt: &Receipt) -> SignedReceipt {
        receipt.sign(&self.key)
    }

    /// What a driver says of a record that this machine says or once said, without checking its signatures.
    pub(super) fn verified(&self, record: &SignedRecord) -> Option<Input> {
        let (sequence, record) = self.records.iter().rev().find(|(_, said)| said == record)?;
        let (record, addresses) = (record.clone(), vec![address(self.index)]);
        Some(Input::RecordVerified { record, member: self.member.clone(), addresses, sequence: *sequence })
    }

    /// Known before its first process runs, so that others can remember it.
    fn sequence(&self) -> u64 {
        self.process.max(1)
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) config: PeerConfig,
    /// It does not compute what it answers.
    pub(super) forger: Option<Forger>,
    /// The running process; none after a crash.
    pub(super) peer: Option<Peer>,
    /// Counts processes, so that what was meant for an earlier one does not reach a later one.
    pub(super) process: u64,
    pub(super) wake_at: Option<Time>,
    /// When it was woken last, and how often at that one moment.
    pub(super) woken: (Time, u32),
    pub(super) links: Links,
    /// The chance that meets what it sends.
    pub(super) rng: Pcg64Mcg,
    /// What it sent.
    pub(super) sent: Count,
    /// When what it sends in bulk has left.
    uplink: Time,
    /// Events it caused.
    caused: u64,
    /// Calls it made.
    calls: u64,
    pub(super) running: BTreeSet<TaskRef>,
    /// Whom it was connected to when it crashed.
    pub(super) neighbours_before: Vec<usize>,
    pub(super) frozen: bool,
    /// What reached it while frozen.
    pub(super) waiting: Vec<Event>,
    /// Where its peer keeps tasks, if it may.
    pub(super) disk: Option<Disk>,
    /// The chance that its process dies at a write.
    pub(super) dies_at_writes: f64,
    /// How much faster its clock runs, in millionths.
    pub(super) drift_ppm: i32,
    /// How far its calendar is off.
    pub(super) calendar_off_ms: i64,
    /// Which version it runs.
    pub(super) edition: Edition,
    /// Who is a member no more, as it is on its disk.
    pub(super) revocations: Vec<SignedRevocations>,
    /// The business rules on its disk.
    pub(super) rules: Option<Box<VerifiedRules>>,
}

impl Node {
    pub(super) fn new(index: usize, config: PeerConfig, seed: u64) -> Self {
        Self {
            index,
            config,
            forger: None,
            peer: None,
            process: 0,
            wake_at: None,
            woken: (Time::ZERO, 0),
            links: Links::default(),
            rng: Pcg64Mcg::seed_from_u64(seed ^ (index as u64).rotate_left(32)),
            sent: Count::default(),
            uplink: Time::ZERO,
            caused: 0,
            calls: 0,
            running: BTreeSet::new(),
            neighbours_before: Vec::new(),
            frozen: false,
            waiting: Vec::new(),
            disk: None,
            dies_at_writes: 0.0,
            drift_ppm: 0,
            calendar_off_ms: 0,
            edition: Edition::default(),
            revocations: Vec::new(),
            rules: None,
        }
    }

    pub(super) fn boot(&mut self, peer: Peer) {
        self.process += 1;
        self.frozen = false;
        self.peer = Some(peer);
    }

    /// What its clock shows.
    pub(super) fn clock(&self, now: Time) -> Time {
        if self.drift_ppm == 0 {
            return now;
        }
        now.as_micros().checked_mul(self.rate()).map_or(Time(u64::MAX), |shown| Time(shown / MILLION))
    }

    /// The earliest moment at which its clock shows at least this; none where that is most of a year off.
    pub(super) fn when(&self, shown: Time) -> Time {
        if self.drift_ppm == 0 {
            return shown;
        }
        shown.as_micros().checked_mul(MILLION).map_or(Time(u64::MAX), |shown| Time(shown.div_ceil(self.rate())))
    }

    fn rate(&self) -> u64 {
        MILLION.saturating_add_signed(i64::from(self.drift_ppm)).max(1)
    }

    /// The date, as it has it.
    pub(super) fn unix_ms(&self, now: Time) -> u64 {
        (TODAY_UNIX_S * 1_000 + now.as_micros() / 1_000).saturating_add_signed(self.calendar_off_ms)
    }

    pub(super) fn crash(&mut self, now: Time) {
        self.disk.iter_mut().for_each(|disk| disk.crash(now, &mut self.rng));
        self.peer = None;
        self.process += 1;
        self.wake_at = None;
        self.uplink = Time::ZERO;
        self.running.clear();
        self.frozen = false;
        self.waiting.clear();
    }

    /// Something that this machine causes, to itself or another.
    pub(super) fn causes(&mut self, at: Time, index: usize, event: Event) -> Coming {
        self.caused += 1;
        Coming { at, stamp: Stamp::new(self.caused, self.index), index, event }
    }

    /// A number for a call, that no other call has.
    pub(super) fn new_call(&mut self) -> Call {
        self.calls += 1;
        self.calls << CAUSE_BITS | self.index as u64
    }

    /// When bytes that take `span` on the uplink, and come to it now, have left.
    pub(super) fn leave(&mut self, now: Time, span: core::time::Duration) -> Time {
        self.uplink = now.max(self.uplink) + span;
        self.uplink
    }
}
