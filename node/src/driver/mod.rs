//! Drives the one [`Peer`]: facts go in with the time they happened, orders come out and are carried out.
//!
//! ```text
//! network ─┐                                  ┌─ outputs.rs: network, executor, blobs, waiters, news
//! executor ┼─► select ─► Peer::handle ─► drain ┤
//! API ─────┤             (one at a time)       └─ beside.rs: slow work, whose end is the next fact
//! timer ───┘
//! ```
//!
//! **Invariant:** nobody else calls [`Peer::handle`], and after each call every order is taken before the next fact.
//! **Not here:** decisions. What to do about a fact is the protocol's business.

mod beside;
mod bulk;
mod checks;
mod clock;
mod fetch;
mod freshness;
pub(crate) mod handle;
mod lanes;
pub(crate) mod news;
mod outputs;
mod papers;
mod pins;
mod pipelines;
mod policy;
mod providers;
mod records;
mod releases;
mod requests;
pub(crate) mod revoked;
mod services;
mod status;
mod waiters;
mod withheld;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use shoal_protocol::certificate::MemberCertificate;
use shoal_protocol::config::PeerConfig;
use shoal_protocol::{Input, Message, Peer, PeerId, Time};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::audit::Audit;
use crate::blobs::{Asker, BlobServer, BlobStore, Pace, ServeLimits, TransferError};
use crate::config::{Config, Identity};
use crate::executor::{Executor, ExecutorEvent};
use crate::joining::Office;
use crate::load_sampler::{LoadSampler, SAMPLE_EVERY};
use crate::network::{BulkStream, Network, NetworkEvent};
use crate::privacy::Keeper;
use crate::store::{Answer, Committer, Records as StoredRecords};
use crate::streams::Streams;

use beside::Beside;
use clock::Clock;
pub(crate) use clock::unix_time;
use fetch::{Fetcher, Notice};
use handle::Request;
use news::News;
use pins::Pins;
use records::Records;
use waiters::Waiters;
use withheld::Withheld;

/// Unreadable frames a neighbour may send in the life of a connection.
const STRIKES_MAX: u8 = 3;
/// Time that handing work back may take at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that the last frames have to leave.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// What the driver is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) speed: f64,
    pub(crate) seed: u64,
    pub(crate) network: Network,
    pub(crate) executor: Executor,
    pub(crate) blobs: BlobStore,
    pub(crate) kept: Kept,
    pub(crate) office: Office,
    pub(crate) audit: Audit,
    pub(crate) keeper: Keeper,
    pub(crate) streams: Streams,
}

/// What the store has and does.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) committer: Committer,
    pub(crate) records: StoredRecords,
    pub(crate) boot: u32,
}

/// Where facts come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) network: mpsc::Receiver<NetworkEvent>,
    /// Bounded by the runs and preparations that are handed over.
    pub(crate) executor: mpsc::UnboundedReceiver<ExecutorEvent>,
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Bounded by the batches that are handed over.
    pub(crate) store: mpsc::UnboundedReceiver<Vec<Answer>>,
    /// One message for each signal that asks to stop.
    pub(crate) stop: mpsc::Receiver<()>,
}

/// How the end was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    /// Work is being handed back, until then at the latest.
    Until(Time),
    Ready,
}

/// Owner of the peer.
#[derive(Debug)]
pub(crate) struct Driver {
    peer: Peer,
    clock: Clock,
    config: Config,
    identity: Identity,
    network: Network,
    executor: Executor,
    server: BlobServer,
    lanes: lanes::Lanes,
    fetcher: Fetcher,
    provided: providers::Provided,
    /// What fetching asks for.
    notices: mpsc::UnboundedReceiver<Notice>,
    beside: Beside,
    committer: Committer,
    /// What was on disk at the start, until the peer is told.
    restored: Option<Input>,
    waiters: Waiters,
    /// Records on disk that cannot be read, as a person is told.
    damaged: Vec<String>,
    blobs: BlobStore,
    news: News,
    withheld: Withheld,
    audit: Audit,
    streams: Streams,
    records: Records,
    /// Facts that carrying out orders brought about at once.
    inputs: VecDeque<Input>,
    pins: Pins,
    /// Who is connected, and who has signed for it.
    connected: BTreeMap<PeerId, PeerId>,
    office: Office,
    keeper: Keeper,
    /// The newest certificate of each that is connected.
    shown: BTreeMap<PeerId, MemberCertificate>,
    renewal: papers::Renewal,
    /// Keys that were revoked already; none before those on disk are known.
    revoked: Option<BTreeSet<PeerId>>,
    freshness: freshness::Freshness,
    policy: policy::Policy,
    services: services::Services,
    /// Why the revocation lists are not on disk, while they are not.
    unkept: Option<String>,
    strikes: BTreeMap<PeerId, u8>,
    stopping: Stopping,
    announced: bool,
    garbage: u64,
    strangers: u64,
    /// When a member was last refused for its dates, and in which words.
    wrong_dates: Option<(Time, String)>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, identity, speed, seed, network, executor, blobs, kept, office, audit, keeper, streams } =
            parts;
        let Kept { committer, records, boot } = kept;
        let unix_ms = u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX);
        let clock = Clock::start();
        let member = identity.certificate.member();
        let sandboxed = executor.sandbox().iter().all(|part| part.enforced);
        let peer_config = PeerConfig { sandboxed, ..config.peer(speed) };
        let (fetcher, notices) = Fetcher::new(network.clone(), blobs.clone());
        let mut news = News::new();
        news.learn_name(member.peer, &member.name);
        Self {
            records: Records::new(member.peer, &config.data_dir),
            blobs: blobs.clone(),
            peer: Peer::new(member, peer_config, seed, clock.now()),
            server: BlobServer::new(blobs.clone(), ServeLimits::default(), Pace::default()),
            lanes: lanes::Lanes::new(Pace::new(config.bulk_bytes_per_s)),
            fetcher,
            notices,
            pins: Pins::new(blobs),
            beside: Beside::default(),
            committer,
            restored: Some(Input::Restored { records, boot, unix_ms }),
            waiters: Waiters::default(),
            damaged: Vec::new(),
            inputs: VecDeque::new(),
            connected: BTreeMap::new(),
            office,
            keeper,
            shown: BTreeMap::new(),
            renewal: papers::Renewal::default(),
            freshness: freshness::Freshness::default(),
            provided: providers::Provided::default(),
            revoked: None,
            policy: policy::Policy::default(),
            services: services::Services::default(),
            unkept: None,
            strikes: BTreeMap::new(),
            stopping: Stopping::No,
            announced: false,
            garbage: 0,
            strangers: 0,
            wrong_dates: None,
            clock,
            config,
            identity,
            network,
            executor,
            news,
            withheld: Withheld::new(audit.clone()),
            audit,
            streams,
        }
    }

    /// Runs until the peer is asked to stop and has handed back what it could.
    pub(crate) async fn run(mut self, mut sources: Sources, mut sampler: LoadSampler) {
        self.begin();
        let mut every_second = interval(SAMPLE_EVERY);
        every_second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first reading only sets the mark.
        every_second.tick().await;
        let wake = sleep_until(tokio::time::Instant::now());
        tokio::pin!(wake);
        while !self.is_over() {
            let deadline = self.deadline();
            if let Some(deadline) = deadline {
                let deadline = self.clock.instant(deadline);
                if wake.deadline() != deadline {
                    wake.as_mut().reset(deadline);
                }
            }
            tokio::select! {
                Some(event) = sources.network.recv() => self.on_network(event),
                Some(event) = sources.executor.recv() => self.on_executor(event),
                Some(answers) = sources.store.recv() => self.on_stored(answers),
                Some(request) = sources.requests.recv() => self.on_requests(request, &mut sources.requests),
                Some(done) = self.beside.next() => self.on_done(done),
                Some(notice) = self.notices.recv() => self.on_notice(notice),
                () = &mut wake, if deadline.is_some() => self.handle(Input::TimerFired),
                _ = every_second.tick() => self.on_second(&mut sampler),
                Some(()) = sources.stop.recv() => self.stop(),
            }
        }
        self.end(&mut sources.network).await;
    }

    fn begin(&mut self) {
        // Before anything else is heard or said: what was promised binds every later decision.
        if let Some(restored) = self.restored.take() {
            self.handle(restored);
        }
        self.begin_revocations();
        self.begin_policy();
        self.begin_services();
        for address in self.config.bootstrap.clone() {
            self.handle(Input::Discovered { peer: None, address, bootstrap: true });
        }
        let remembered = self.records.load();
        tracing::debug!(peers = remembered.len(), "remembered peers");
        self.verify(remembered);
    }

    /// Hands one fact to the peer and carries out what it orders, until there is nothing more to do.
    fn handle(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.take_facts();
    }

    fn take_facts(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            self.peer.handle(self.clock.now(), input);
            while let Some(output) = self.peer.poll_output() {
                self.carry_out(output);
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        let peer = self.peer.poll_timeout().map(|(time, _why)| time);
        let stopping = match self.stopping {
            Stopping::Until(time) => Some(time),
            Stopping::No | Stopping::Ready => None,
        };
        peer.into_iter().chain(stopping).min()
    }

    fn on_network(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Listening { address } => {
                tracing::debug!(address, "listening");
                self.addresses_changed();
            }
            NetworkEvent::AddressGone { address } => {
                tracing::info!(address, "an address of this machine is gone");
                self.addresses_changed();
            }
            NetworkEvent::Discovered { peer, address } => {
                self.handle(Input::Discovered { peer, address, bootstrap: false });
            }
            NetworkEvent::Connected { member, certificate, issuer, address } => {
                self.connected.insert(member.peer, issuer);
                self.strikes.remove(&member.peer);
                self.news.learn_name(member.peer, &member.name);
                self.audit.joined(&member);
                if let Some(address) = &address {
                    self.fetcher.learn_addresses(member.peer, std::slice::from_ref(address));
                }
                if self.peer.revocations().issuers().contains(&issuer) {
                    // Its handshake was over before that was known.
                    self.network.disconnect(member.peer, "the issuer of its certificate has been revoked");
                }
                self.handle(Input::Connected { member, address });
                self.has_shown(certificate);
            }
            NetworkEvent::Disconnected { peer } => {
                self.connected.remove(&peer);
                self.shown.remove(&peer);
                self.strikes.remove(&peer);
                self.lanes.forget(peer);
                self.handle(Input::Disconnected { peer });
            }
            NetworkEvent::DialFailed { peer, address, reason } => {
                tracing::debug!(?peer, address, reason, "a dial came to nothing");
                self.handle(Input::DialFailed { peer, address, reason });
            }
            NetworkEvent::Refused { address, reason } => {
                self.strangers += 1;
                tracing::warn!(address, reason, "a stranger was refused");
                self.wrong_dates = status::wrong_dates(self.clock.now(), &address, &reason).or(self.wrong_dates.take());
                self.audit.refused(&address, &reason);
            }
            NetworkEvent::CutOff { peer, reason } => self.audit.garbage(peer, &reason),
            NetworkEvent::Frame { from, body } => self.on_frame(from, &body),
            NetworkEvent::Papers { from, body } => self.on_papers(from, &body),
            NetworkEvent::Bulk { from, stream } => self.serve(from, stream),
        }
    }

    fn on_frame(&mut self, from: PeerId, body: &[u8]) {
        match Message::decode(body) {
            Ok(message) => self.handle(Input::Received { from, message }),
            Err(error) => {
                self.garbage += 1;
                let strikes = self.strikes.entry(from).or_insert(0);
                *strikes = strikes.saturating_add(1);
                tracing::warn!(peer = ?from, strikes, %error, "an unreadable frame");
                if *strikes >= STRIKES_MAX {
                    self.audit.garbage(from, &error);
                    self.network.disconnect(from, "it sends frames that cannot be read");
                }
                self.handle(Input::Garbled { from });
            }
        }
    }

    /// Answers a request for a blob or for a statistic, or takes a shipment of a stream; the network bounds how many bulk
    /// streams are open, the server how many requests are answered.
    fn serve(&mut self, from: PeerId, mut stream: BulkStream) {
        let server = self.server.at(self.lanes.to(from, self.peer.is_far(from)));
        let (notices, streams) = (self.fetcher.notices(), self.streams.clone());
        let withheld = self.withheld.clone();
        let certified = self.peer.member(from).map(|member| member.labels).unwrap_or_default();
        let asker = Asker { peer: from, certified };
        tokio::spawn(async move {
            match bulk::purpose(&mut stream).await {
                bulk::Purpose::Question => return releases::hear(from, &mut stream, &notices).await,
                bulk::Purpose::Shipment => return streams.serve(from, stream).await,
                bulk::Purpose::Blobs => {}
            }
            match server.serve(&asker, &mut stream).await {
                Err(TransferError::Withheld { id, denial }) => {
                    withheld.note(from, format!("blob {id}"), denial.rule(), denial.to_string());
                }
                Ok(bytes) => tracing::debug!(peer = ?from, bytes, "served a blob"),
                Err(error) => tracing::debug!(peer = ?from, %error, "a blob was not served"),
            }
        });
    }

    fn on_executor(&mut self, event: ExecutorEvent) {
        match event {
            ExecutorEvent::Prepared { module, result } => {
                if result.is_err() {
                    self.pins.module_refused(module);
                }
                self.handle(Input::Prepared { module, result });
            }
            ExecutorEvent::Finished { attempt, report } => {
                self.handle(Input::Finished { attempt, report });
                self.pins.attempt_ended(attempt);
            }
        }
    }

    fn on_stored(&mut self, answers: Vec<Answer>) {
        for Answer { ticket, result } in answers {
            self.handle(match result {
                Ok(()) => Input::Persisted { ticket },
                Err(reason) => Input::PersistFailed { ticket, reason },
            });
        }
    }

    fn on_second(&mut self, sampler: &mut LoadSampler) {
        let mut sample = sampler.sample(self.executor.cpu_time());
        if !self.config.host_load {
            sample.foreign_cores = 0.0;
        }
        self.handle(Input::LoadSampled(sample));
        self.tell_the_date();
        for (peer, sample) in self.network.paths() {
            self.handle(Input::PathMeasured { peer, sample });
        }
        for ((to, blob), bytes) in self.server.take_served() {
            self.handle(Input::Served { to, blob, bytes });
        }
        self.keep_unkept_revocations();
        self.look_at_the_age_of_revocations();
        if self.blobs.expire_leases(unix_time().as_secs()) {
            self.save_holds();
        }
        self.renew_if_due();
        self.tell_what_is_pinned();
        self.expire_blobs();
        self.part_with_the_lapsed();
        if let Some((path, bytes)) = self.records.due(self.clock.now()) {
            // Nobody waits for it, and an error is logged where it happens.
            let _written = tokio::task::spawn_blocking(move || records::write(&path, &bytes));
        }
    }

    /// Deletes blobs whose time is over.
    fn expire_blobs(&mut self) {
        let gone = self.blobs.expire();
        if !gone.is_empty() {
            tracing::info!(blobs = gone.len(), "blobs whose time is over are deleted");
            self.save_holds();
            self.forget_code(gone);
        }
    }

    fn addresses_changed(&mut self) {
        let addresses = self.network.local_addresses();
        if !self.announced && !addresses.is_empty() {
            self.announced = true;
            let certificate = &self.identity.certificate;
            tracing::info!(
                name = certificate.name, role = %certificate.role, peer = %certificate.peer, mesh = %self.identity.mesh,
                addresses = addresses.join(" "), api = %self.config.socket.display(), "ready",
            );
        }
        self.office.listens_at(addresses.clone());
        let record = self.records.sign_own(&self.identity, addresses, unix_time());
        self.handle(Input::RecordSigned(record));
    }

    /// Lets the peer hand back its work; asked again, it ends at once.
    fn stop(&mut self) {
        match self.stopping {
            Stopping::No => {
                tracing::info!("shutting down; ask again to end at once");
                self.begin_stopping();
                self.take_facts();
            }
            Stopping::Until(_) | Stopping::Ready => self.stopping = Stopping::Ready,
        }
    }

    /// The same, from within an order: the peer hears of it after that.
    fn begin_stopping(&mut self) {
        if self.stopping == Stopping::No {
            self.stopping = Stopping::Until(self.clock.now() + SHUTDOWN_TIMEOUT);
            self.inputs.push_back(Input::ShutdownRequested);
        }
    }

    fn is_over(&self) -> bool {
        match self.stopping {
            Stopping::No => false,
            Stopping::Until(time) => {
                let late = self.clock.now() >= time;
                if late {
                    tracing::warn!("not everything could be handed back in time");
                }
                late
            }
            Stopping::Ready => true,
        }
    }

    /// Last frames leave, and what is known of peers is kept.
    async fn end(mut self, events: &mut mpsc::Receiver<NetworkEvent>) {
        for peer in self.connected.keys() {
            self.network.disconnect(*peer, "this peer is shutting down");
        }
        let goodbyes = async {
            while !self.connected.is_empty() {
                match events.recv().await {
                    Some(NetworkEvent::Disconnected { peer }) => drop(self.connected.remove(&peer)),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        // Whoever does not hear the goodbye will find out by silence.
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, goodbyes).await;
        if let Some((path, bytes)) = self.records.unsaved() {
            records::write(&path, &bytes);
        }
    }
}
