//! Drives the one [`Peer`]: facts go in with the time they happened, orders come out and are carried out.
//!
//! ```text
//! heard.rs: network ─┐                                  ┌─ outputs.rs: network, executor, blobs, waiters, news
//!           executor ┼─► select ─► Peer::handle ─► drain ┤
//!           API ─────┤             (one at a time)       └─ beside.rs: slow work, whose end is the next fact
//!           timer ───┘
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
mod heard;
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
mod sources;
mod status;
mod stopping;
mod turns;
mod waiters;
mod withheld;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use shoal_protocol::certificate::MemberCertificate;
use shoal_protocol::config::PeerConfig;
use shoal_protocol::{BlobId, Input, Peer, PeerId, Time};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::audit::Audit;
use crate::blobs::{BlobServer, BlobStore, Pace, ServeLimits};
use crate::config::{Config, Identity};
use crate::executor::{Executor, ExecutorEvent};
use crate::joining::Office;
use crate::load_sampler::{LoadSampler, SAMPLE_EVERY};
use crate::network::{Network, NetworkEvent};
use crate::privacy::Keeper;
use crate::store::{Answer, Committer, Records as StoredRecords};
use crate::streams::Streams;

use beside::{Beside, Done};
use clock::Clock;
pub(crate) use clock::unix_time;
use fetch::{Fetcher, Notice};
use handle::Request;
use news::News;
use pins::Pins;
use records::Records;
use stopping::Stopping;
use waiters::Waiters;
use withheld::Withheld;

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
    /// What is held is about to be written.
    saving_holds: Arc<AtomicBool>,
    /// It is looked for blobs whose time is over.
    is_expiring: bool,
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
    /// Revocation lists that are not on disk, while they are not.
    unkept: Option<revoked::Unkept>,
    strikes: BTreeMap<PeerId, u8>,
    stopping: Stopping,
    announced: bool,
    garbage: u64,
    strangers: u64,
    /// When a member was last refused for its dates, and in which words.
    wrong_dates: Option<(Time, String)>,
}

/// What of a data directory is read at the start, beside the stores: what was said to hold until somebody says otherwise.
pub(crate) fn small_files(data_dir: &Path) -> [PathBuf; 3] {
    [revoked::path(data_dir), policy::path(data_dir), services::path(data_dir)]
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
            saving_holds: Arc::default(),
            is_expiring: false,
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
        // Everything that must stay is held by now.
        let blobs = self.blobs.clone();
        let _fitted = tokio::task::spawn_blocking(move || blobs.fit_to_quota());
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
        if std::mem::replace(&mut self.is_expiring, true) {
            return;
        }
        let blobs = self.blobs.clone();
        self.beside.start(async move {
            let gone = tokio::task::spawn_blocking(move || blobs.expire()).await;
            Done::Expired(gone.unwrap_or_default())
        });
    }

    fn on_expired(&mut self, gone: Vec<BlobId>) {
        self.is_expiring = false;
        if !gone.is_empty() {
            tracing::info!(blobs = gone.len(), "blobs whose time is over are deleted");
            self.save_holds();
            self.forget_code(gone);
        }
    }
}
