//! A small world for tests: several memberships, a virtual clock, links with delay, loss, cuts, and frozen peers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::OnceLock;

use rand::{RngExt, SeedableRng};

use crate::certificate::{Issuer, MemberCertificate, PeerRecord, Role, SecretKey, VerifiedRevocations};
use crate::config::{WALL_MAX, Weights};
use crate::membership::*;
use crate::message::Message;
use crate::output::Output;

const RECORDS: usize = 120;

pub(super) struct Node {
    pub(super) membership: Membership,
    pub(super) latency: Latency,
    loads: LoadView,
    rng: Rng,
    pub(super) running: bool,
    waiting: VecDeque<Happening>,
    pub(super) deaths: Vec<(Time, PeerId)>,
    pub(super) changes: Vec<(Time, PeerId, PeerState)>,
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // most of what happens are messages
enum Happening {
    Arrived { from: PeerId, message: Message, connection: u64 },
    Connected { peer: PeerId, address: Option<String>, connection: u64 },
    Disconnected { peer: PeerId, connection: u64 },
    DialFailed { peer: Option<PeerId>, address: Option<String> },
    Verified(SignedRecord),
    Judged(Option<Box<VerifiedRevocations>>),
    RulesJudged(Option<Box<crate::rules::VerifiedRules>>),
    ServicesJudged(Vec<crate::service::VerifiedService>),
}

pub(super) struct Mesh {
    pub(super) now: Time,
    pub(super) nodes: BTreeMap<PeerId, Node>,
    ids: Vec<PeerId>,
    records: BTreeMap<PeerId, (SignedRecord, Member)>,
    queue: BTreeMap<(Time, u64), (PeerId, Happening)>,
    pushed: u64,
    connections: BTreeMap<(PeerId, PeerId), u64>,
    /// Connections the other end has closed, until this end hears of it: what was said before is still read.
    closing: BTreeSet<(PeerId, u64)>,
    cut: BTreeSet<(PeerId, PeerId)>,
    gone: BTreeSet<PeerId>,
    pub(super) loss: f64,
    pub(super) one_way: fn(usize, usize) -> Duration,
    rng: Rng,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) closed_by_order: u64,
    pub(super) dials: u64,
    pub(super) trace: blake3::Hasher,
}

fn pair(a: PeerId, b: PeerId) -> (PeerId, PeerId) {
    if a < b { (a, b) } else { (b, a) }
}

/// Who founded the mesh.
pub(super) fn mesh_key() -> SecretKey {
    SecretKey::from_bytes(&[255; 32])
}

/// Signing is slow, so every test shares the same members.
fn members() -> &'static [(Member, SignedRecord)] {
    static MEMBERS: OnceLock<Vec<(Member, SignedRecord)>> = OnceLock::new();
    MEMBERS.get_or_init(|| {
        let mesh = mesh_key();
        (0..RECORDS)
            .map(|i| {
                let key = SecretKey::from_bytes(&[i as u8 + 1; 32]);
                let certificate = MemberCertificate {
                    mesh: mesh.mesh(),
                    peer: key.peer(),
                    name: format!("p{i}"),
                    role: if i % 10 == 9 { Role::Cloud } else { Role::Edge },
                    labels: BTreeMap::new(),
                    not_before_unix_s: 0,
                    expires_unix_s: u64::MAX,
                    serial: 0,
                };
                let addresses = vec![format!("at {i}")];
                let record = PeerRecord { certificate: certificate.sign(&Issuer::of(&mesh)), addresses, sequence: 1 };
                (certificate.member(), record.sign(&key))
            })
            .collect()
    })
}

pub(super) fn digest() -> LoadDigest {
    LoadDigest {
        sequence: 1,
        description: 0,
        start_in: Duration::ZERO,
        usual_start_in: Duration::ZERO,
        turnover: Duration::ZERO,
        later_start: [0; 6],
        arrivals_per_ks: 0,
        cores: 4,
        running: 0,
        queued: 0,
        queue_max: 128,
        cpu_percent: 0,
        speed: 1.0,
        memory_free_bytes: 1 << 30,
        memory_bytes: 1 << 30,
        uplink_bits_per_s: 1_000_000,
        weights: Weights::default(),
        price: 0.0,
        understands_labels: true,
    }
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Mesh {
    /// `count` peers that know nobody.
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let mut rng = Rng::seed_from_u64(seed);
        let mut mesh = Self {
            now: Time::ZERO,
            nodes: BTreeMap::new(),
            ids: Vec::new(),
            records: BTreeMap::new(),
            queue: BTreeMap::new(),
            pushed: 0,
            connections: BTreeMap::new(),
            closing: BTreeSet::new(),
            cut: BTreeSet::new(),
            gone: BTreeSet::new(),
            loss: 0.0,
            one_way: |_, _| Duration::from_millis(1),
            rng: Rng::seed_from_u64(seed ^ 1),
            messages: 0,
            bytes: 0,
            closed_by_order: 0,
            dials: 0,
            trace: blake3::Hasher::new(),
        };
        for (member, record) in members().iter().take(count) {
            let peer = member.peer;
            mesh.ids.push(peer);
            mesh.records.insert(peer, (record.clone(), member.clone()));
            mesh.nodes.insert(peer, Node::new(member.clone(), rng.random()));
        }
        for i in 0..count {
            let record = mesh.records[&mesh.ids[i]].0.clone();
            mesh.on(i, |membership, lent| membership.record_signed(lent, record));
        }
        mesh
    }

    /// `count` peers that all know the address of the first, after they have found each other.
    pub(super) fn formed(count: usize, seed: u64) -> Self {
        let mut mesh = Self::new(count, seed);
        mesh.bootstrap_all();
        mesh.run_for(secs(5));
        mesh
    }

    pub(super) fn bootstrap_all(&mut self) {
        for i in 1..self.ids.len() {
            self.on(i, |membership, lent| membership.discovered(lent, None, "at 0".into(), true));
        }
    }

    pub(super) fn id(&self, i: usize) -> PeerId {
        self.ids[i]
    }

    pub(super) fn record(&self, i: usize) -> SignedRecord {
        self.records[&self.ids[i]].0.clone()
    }

    pub(super) fn member(&self, i: usize) -> Member {
        self.records[&self.ids[i]].1.clone()
    }

    pub(super) fn node(&self, i: usize) -> &Node {
        &self.nodes[&self.ids[i]]
    }

    pub(super) fn state(&self, of: usize, seen_by: usize) -> Option<PeerState> {
        self.node(seen_by).membership.state(self.ids[of])
    }

    pub(super) fn sees_alive(&self, of: usize, seen_by: usize) -> bool {
        self.node(seen_by).membership.neighbour(self.ids[of]).is_some_and(Neighbour::is_alive)
    }

    pub(super) fn all_see_all(&self) -> bool {
        let count = self.ids.len();
        (0..count).all(|a| (0..count).all(|b| a == b || self.sees_alive(a, b)))
    }

    /// A fact from the driver of a peer.
    pub(super) fn on<T>(&mut self, i: usize, act: impl FnOnce(&mut Membership, &mut Lent<'_>) -> T) -> T {
        self.act(self.ids[i], act)
    }

    /// SIGKILL with the machine's network gone: silence.
    pub(super) fn crash(&mut self, i: usize) {
        self.gone.insert(self.ids[i]);
        self.freeze(i);
    }

    /// The process ends and its connections close.
    pub(super) fn kill(&mut self, i: usize) {
        self.crash(i);
        let peer = self.ids[i];
        let ends: Vec<_> =
            self.connections.iter().filter(|((a, b), _)| *a == peer || *b == peer).map(|(p, c)| (*p, *c)).collect();
        for ((a, b), connection) in ends {
            self.connections.remove(&(a, b));
            let other = if a == peer { b } else { a };
            self.push(ms(1), other, Happening::Disconnected { peer, connection });
        }
    }

    pub(super) fn freeze(&mut self, i: usize) {
        self.nodes.get_mut(&self.ids[i]).unwrap().running = false;
    }

    pub(super) fn thaw(&mut self, i: usize) {
        let peer = self.ids[i];
        let node = self.nodes.get_mut(&peer).unwrap();
        node.running = true;
        for happening in core::mem::take(&mut node.waiting) {
            self.push(Duration::ZERO, peer, happening);
        }
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert(pair(self.ids[a], self.ids[b]));
    }

    pub(super) fn partition(&mut self, left: core::ops::Range<usize>) {
        for a in left.clone() {
            for b in (0..self.ids.len()).filter(|b| !left.contains(b)) {
                self.cut(a, b);
            }
        }
    }

    pub(super) fn mend(&mut self) {
        self.cut.clear();
    }

    pub(super) fn close(&mut self, a: usize, b: usize) {
        self.close_pair(self.ids[a], self.ids[b], None);
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until the condition holds; panics when it does not within `limit`.
    #[track_caller]
    pub(super) fn run_until(&mut self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.step(start + limit), "{what}: not within {limit:?}");
        }
        self.now.since(start)
    }

    fn step(&mut self, end: Time) -> bool {
        let timer = self
            .nodes
            .iter()
            .filter(|(_, node)| node.running)
            .filter_map(|(peer, node)| Some((node.membership.next_deadline()?.0.max(self.now), *peer)))
            .min();
        let next = self.queue.keys().next().copied();
        match (timer, next) {
            (Some((at, peer)), next) if next.is_none_or(|(first, _)| at < first) => {
                if at > end {
                    return false;
                }
                self.now = at;
                self.act(peer, |membership, lent| membership.timer(lent));
            }
            (_, Some(key)) => {
                if key.0 > end {
                    return false;
                }
                self.now = key.0.max(self.now);
                let (peer, happening) = self.queue.remove(&key).unwrap();
                self.happen(peer, happening);
            }
            (_, None) => return false,
        }
        true
    }

    fn happen(&mut self, peer: PeerId, happening: Happening) {
        if self.gone.contains(&peer) {
            return;
        }
        let node = self.nodes.get_mut(&peer).unwrap();
        if !node.running {
            node.waiting.push_back(happening);
            return;
        }
        self.trace.update(format!("{:?} {peer} {happening:?}", self.now).as_bytes());
        match happening {
            Happening::Arrived { from, message, connection } => {
                let is_open = self.connections.get(&pair(peer, from)) == Some(&connection);
                if is_open || self.closing.contains(&(peer, connection)) {
                    self.act(peer, |membership, lent| receive(membership, lent, from, message));
                }
            }
            Happening::Connected { peer: other, address, connection } => {
                if self.connections.get(&pair(peer, other)) == Some(&connection) {
                    let member = self.records[&other].1.clone();
                    self.act(peer, |membership, lent| membership.connected(lent, member, address));
                }
            }
            Happening::Disconnected { peer: other, connection } => {
                self.closing.remove(&(peer, connection));
                if self.connections.get(&pair(peer, other)).is_none_or(|newer| *newer == connection) {
                    self.act(peer, |membership, lent| membership.disconnected(lent, other));
                }
            }
            Happening::DialFailed { peer: other, address } => {
                self.act(peer, |membership, lent| membership.dial_failed(lent, other, address.as_deref()));
            }
            Happening::RulesJudged(verified) => self.act(peer, |membership, lent| {
                membership.rules_judged();
                if let Some(verified) = verified {
                    membership.deploy(lent, *verified);
                }
            }),
            Happening::ServicesJudged(verified) => self.act(peer, |membership, lent| {
                membership.services_judged();
                membership.deploy_services(lent, verified);
            }),
            Happening::Judged(verified) => {
                self.act(peer, |membership, lent| {
                    membership.revocations_judged();
                    verified.into_iter().for_each(|verified| drop(membership.revoke(lent, *verified)));
                });
            }
            Happening::Verified(record) => {
                let member = self.records[&record.peer].1.clone();
                let at = self.ids.iter().position(|id| *id == record.peer).unwrap();
                self.act(peer, |membership, lent| {
                    membership.record_verified(lent, record, member, vec![format!("at {at}")], 1);
                });
            }
        }
    }

    fn act<T>(&mut self, peer: PeerId, act: impl FnOnce(&mut Membership, &mut Lent<'_>) -> T) -> T {
        let node = self.nodes.get_mut(&peer).unwrap();
        let mut out = Outbox::default();
        let mut lent = Lent {
            now: self.now,
            rng: &mut node.rng,
            out: &mut out,
            latency: &mut node.latency,
            loads: &mut node.loads,
            digest: &digest,
            needs: &|_| false,
        };
        let result = act(&mut node.membership, &mut lent);
        for (other, state) in node.membership.take_changes() {
            node.changes.push((self.now, other, state));
            if state == PeerState::Dead {
                node.deaths.push((self.now, other));
            }
        }
        for output in out.drain() {
            self.carry_out(peer, output);
        }
        result
    }

    fn carry_out(&mut self, peer: PeerId, output: Output) {
        self.trace.update(format!("{:?} {peer} {output:?}", self.now).as_bytes());
        match output {
            Output::Send { to, message } => self.send(peer, to, message),
            Output::Dial { peer: other, addresses } => self.dial(peer, other, addresses),
            Output::Disconnect { peer: other, .. } => {
                self.closed_by_order += 1;
                self.close_pair(peer, other, Some(peer));
            }
            Output::VerifyRecords(records) => {
                for record in records {
                    self.push(ms(1), peer, Happening::Verified(record));
                }
            }
            Output::VerifyRevocations(signed) => {
                let verified = signed.verify(mesh_key().mesh()).ok().map(Box::new);
                self.push(ms(1), peer, Happening::Judged(verified));
            }
            Output::VerifyRules { signed, .. } => {
                let verified = signed.verify(mesh_key().mesh()).ok().map(Box::new);
                self.push(ms(1), peer, Happening::RulesJudged(verified));
            }
            Output::VerifyServices { signed, .. } => {
                let mesh = mesh_key().mesh();
                let verified = signed.into_iter().filter_map(|signed| signed.verify(mesh).ok()).collect();
                self.push(ms(1), peer, Happening::ServicesJudged(verified));
            }
            Output::KeepRevocations | Output::Notify(_) => {}
            other => panic!("membership never orders {other:?}"),
        }
    }

    fn send(&mut self, from: PeerId, to: PeerId, message: Message) {
        let body = message.encode();
        self.messages += 1;
        self.bytes += body.len() as u64;
        assert!(body.len() <= crate::config::FRAME_BYTES_MAX);
        let Some(connection) = self.connections.get(&pair(from, to)).copied() else { return };
        if self.cut.contains(&pair(from, to)) || self.rng.random_bool(self.loss) {
            return;
        }
        let message = Message::decode(&body).unwrap();
        let delay = self.delay(from, to);
        self.push(delay, to, Happening::Arrived { from, message, connection });
    }

    fn dial(&mut self, from: PeerId, named: Option<PeerId>, addresses: Vec<String>) {
        self.dials += 1;
        let address = addresses.first().cloned();
        let there =
            address.as_ref().and_then(|it| self.ids.get(it.strip_prefix("at ")?.parse::<usize>().ok()?)).copied();
        let reached = there.filter(|there| {
            *there != from
                && named.is_none_or(|named| named == *there)
                && !self.cut.contains(&pair(from, *there))
                && self.nodes[there].running
        });
        match (reached, address) {
            (Some(there), address) => {
                let round_trip = self.delay(from, there) * 2;
                if self.connections.contains_key(&pair(from, there)) {
                    self.close_pair(from, there, Some(from));
                }
                self.pushed += 1;
                let connection = self.pushed;
                self.connections.insert(pair(from, there), connection);
                self.push(round_trip, from, Happening::Connected { peer: there, address, connection });
                self.push(round_trip, there, Happening::Connected { peer: from, address: None, connection });
            }
            (None, address) => {
                let address = address.filter(|_| named.is_none());
                self.push(ms(100), from, Happening::DialFailed { peer: named, address });
            }
        }
    }

    fn close_pair(&mut self, a: PeerId, b: PeerId, by: Option<PeerId>) {
        let Some(connection) = self.connections.remove(&pair(a, b)) else { return };
        for (at, peer) in [(a, b), (b, a)] {
            if by != Some(at) && !self.cut.contains(&pair(a, b)) {
                self.closing.insert((at, connection));
                let after = self.delay(a, b).mul_f64(1.1) + ms(1);
                self.push(after, at, Happening::Disconnected { peer, connection });
            }
        }
    }

    fn delay(&mut self, a: PeerId, b: PeerId) -> Duration {
        let at = |peer| self.ids.iter().position(|id| *id == peer).unwrap();
        let one_way = (self.one_way)(at(a), at(b));
        one_way + one_way.mul_f64(self.rng.random_range(0.0..0.1))
    }

    fn push(&mut self, after: Duration, peer: PeerId, happening: Happening) {
        assert!(after < WALL_MAX);
        self.pushed += 1;
        self.queue.insert((self.now + after, self.pushed), (peer, happening));
    }
}

impl Node {
    fn new(member: Member, seed: u64) -> Self {
        Self {
            latency: Latency::new(member.peer, seed),
            membership: Membership::new(member, DetectorConfig::default(), Time::ZERO),
            loads: LoadView::new(),
            rng: Rng::seed_from_u64(seed),
            running: true,
            waiting: VecDeque::new(),
            deaths: Vec::new(),
            changes: Vec::new(),
        }
    }
}

/// What the peer's router does with messages that concern membership.
pub(super) fn receive(membership: &mut Membership, lent: &mut Lent<'_>, from: PeerId, message: Message) {
    if membership.is_revoked(from) {
        return;
    }
    membership.heard(lent, from);
    match message {
        Message::Beat(beat) => membership.beaten(lent, from, beat),
        Message::Will(will) => membership.will(from, *will),
        Message::Parting(why) => membership.parting(from, why),
        Message::Ping(ping) => membership.pinged(lent, from, ping),
        Message::Pong(pong) => {
            membership.ponged(lent, from, pong);
        }
        Message::ProbeRequest(request) => membership.probe_requested(lent, from, request),
        Message::ProbeAnswered(answer) => membership.probe_answered(lent, from, answer),
        Message::Rumour(rumour) => membership.rumour(lent, from, rumour),
        Message::Records(records) => membership.records(lent, from, records),
        Message::Leaving => membership.left(lent, from),
        Message::Revocations(signed) => membership.revocations_told(lent, *signed),
        Message::Rules(word) => membership.rules_word(lent, from, *word),
        Message::Services(word) => membership.services_word(lent, from, *word),
        other => panic!("membership never says {other:?}"),
    }
}
