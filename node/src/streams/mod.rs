//! The streams that this peer runs, and those that it would take over.
//!
//! ```text
//! source/ ─► intake ─► engine ─► work (tasks, pipelines) ─► sink/
//!                        │ persist
//!                        ├─► keeper: this disk
//!                        └─► shipper ══ shipping ══► follower, at a successor: its disk
//! ```
//!
//! **Invariant:** a stream has one engine, at one peer, under one epoch; what an engine needs to go on is with the keeper.
//! **Not here:** windows and what is known again (`shoal_protocol::stream`), HTTP (`crate::api::streams`).

mod engine;
mod follower;
mod intake;
mod keeper;
mod mqtt;
mod persist;
mod shipper;
pub(crate) mod shipping;
mod sink;
mod source;
mod status;
mod view;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use shoal_protocol::api::StreamView;
use shoal_protocol::store::{self, Change};
use shoal_protocol::stream::succession::{ASK_FOR, Receipt, Shipment, Tenure, question};
use shoal_protocol::stream::{
    Journal, JournalError, Mark, STREAMS_MAX, SinkSpec, SourceSpec, SpecError, StreamSpec, StreamWork, of_stream,
};
use shoal_protocol::{BlobId, PeerId};
use tokio::sync::{OnceCell, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::blobs::{BlobError, BlobStore, Pin};
use crate::driver::handle::Handle;
use crate::network::Network;
use crate::store::StoreError;
use engine::{Ending, Engine, Shown};
use intake::{Delivery, Done, Intake};
pub(crate) use intake::{NotTaken, Taken};
use keeper::Keeper;
use persist::Persist;
use shipper::Shipper;
use sink::{Sink, Which};
use status::Status;
use work::Worker;

/// What a stream is, and who runs it: the kind of its key.
const TENURE: u8 = b'd';
/// That a copy of another peer's stream is not whole: the kind of its key.
const PARTIAL: u8 = b'x';
/// Between two questions whether this peer still owns a stream.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Time that a stream has to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

fn tenure_key(name: &str) -> Vec<u8> {
    of_stream(TENURE, name)
}

/// Why something was not done with a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("there is no stream `{0}` here")]
    Unknown(String),
    #[error("stream `{0}` is another one: stop it with --forget first, or use another name")]
    Different(String),
    #[error("stream `{name}` is run by {owner}")]
    Elsewhere { name: String, owner: PeerId },
    #[error("stream `{0}` is not running")]
    NotRunning(String),
    #[error("stream `{0}` takes records from elsewhere")]
    NotFed(String),
    #[error("stream `{0}` has no room for more records now")]
    Full(String),
    #[error("this peer has {STREAMS_MAX} streams, which is as many as it may")]
    TooMany,
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Taken(#[from] NotTaken),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("it could not be written down: {0}")]
    Disk(String),
}

/// What streams need of the rest of the daemon.
pub(crate) struct Around {
    pub(crate) me: PeerId,
    pub(crate) data_dir: PathBuf,
    /// What streams of others may touch here.
    pub(crate) take_over: Vec<String>,
    pub(crate) driver: Handle,
    pub(crate) network: Network,
    pub(crate) blobs: BlobStore,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Shared>);

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("me", &self.0.me).finish_non_exhaustive()
    }
}

struct Shared {
    me: PeerId,
    dir: PathBuf,
    take_over: Vec<String>,
    driver: Handle,
    network: Network,
    blobs: BlobStore,
    /// Opened when there is something to keep: most peers have no streams.
    keeper: OnceCell<Arc<Keeper>>,
    running: Mutex<BTreeMap<String, Running>>,
    /// When the owners of others' streams were last heard.
    words: Mutex<BTreeMap<String, Instant>>,
    /// Modules that must not be evicted.
    pins: Mutex<BTreeMap<BlobId, Pin>>,
    /// Held while it is decided who owns a stream.
    keeping: tokio::sync::Mutex<()>,
}

/// A stream under way here.
struct Running {
    intake: Intake,
    status: Arc<Status>,
    shown: Shown,
    ending: Arc<watch::Sender<Ending>>,
    engine: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done when a holder panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn words(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        lock(&self.words)
    }

    fn pins(&self) -> MutexGuard<'_, BTreeMap<BlobId, Pin>> {
        lock(&self.pins)
    }
}

/// The modules that a stream runs.
fn modules_of(spec: &StreamSpec) -> Vec<BlobId> {
    match &spec.work {
        StreamWork::Task(task) => task.variants.iter().map(|variant| variant.module).collect(),
        StreamWork::Pipeline { spec, .. } => {
            spec.stages.iter().flat_map(|stage| &stage.task.variants).map(|variant| variant.module).collect()
        }
    }
}

impl Streams {
    pub(crate) fn new(around: Around) -> Self {
        let Around { me, data_dir, take_over, driver, network, blobs } = around;
        Self(Arc::new(Shared {
            me,
            dir: data_dir.join("streams"),
            take_over,
            driver,
            network,
            blobs,
            keeper: OnceCell::new(),
            running: Mutex::default(),
            words: Mutex::default(),
            pins: Mutex::default(),
            keeping: tokio::sync::Mutex::new(()),
        }))
    }

    /// Opens what is kept, if anything is: a store that is damaged stops the daemon, as that of tasks does.
    pub(crate) async fn open(&self) -> Result<(), StoreError> {
        if self.0.dir.exists() { self.keeper().await.map(drop) } else { Ok(()) }
    }

    /// Goes on with what this peer owns, and watches what it would take over.
    pub(crate) fn resume(&self) {
        tokio::spawn(self.clone().watch());
        let Some(keeper) = self.opened() else { return };
        for (key, bytes) in keeper.of_kind(TENURE) {
            match store::decode::<Tenure>(&key, &bytes) {
                Ok(tenure) if tenure.owner == self.0.me && !tenure.stopped => {
                    let streams = self.clone();
                    tokio::spawn(async move { streams.resume_one(tenure).await });
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a stream cannot be read, and is left as it is"),
            }
        }
    }

    /// Asks the successor first: it may have taken over meanwhile.
    async fn resume_one(&self, tenure: Tenure) {
        let name = tenure.spec.name.clone();
        let deadline = Instant::now() + ASK_FOR;
        while let Some(successor) = tenure.successor
            && Instant::now() < deadline
        {
            let question = Shipment { epoch: tenure.epoch, ..question(&name) };
            match shipping::ship(&self.0.network, successor, &question).await {
                Ok(Receipt::Stale(epoch)) => return self.let_go(&name, epoch).await,
                Ok(Receipt::Kept | Receipt::WantsAll | Receipt::Refused(_)) => break,
                Err(error) => {
                    tracing::debug!(stream = name, %error, "its successor was not reached");
                    tokio::time::sleep(ASK_EVERY).await;
                }
            }
        }
        // Whoever took over may have been lost as well, and its own successor runs the stream.
        let alive = self.alive().await.unwrap_or_default();
        if let Some(epoch) = self.ask_around(&name, tenure.epoch, &alive).await {
            return self.let_go(&name, epoch).await;
        }
        let _one = self.0.keeping.lock().await;
        // Meanwhile it may have been stopped, or shipped here by another owner.
        if self.tenure(&name).await.is_some_and(|now| now.owner == self.0.me && !now.stopped) {
            self.begin(tenure).await;
        }
    }

    async fn keeper(&self) -> Result<Arc<Keeper>, StoreError> {
        let dir = self.0.dir.clone();
        let open = || async move {
            match spawn_blocking(move || Keeper::open(&dir)).await {
                Ok(opened) => opened.map(Arc::new),
                Err(error) => Err(StoreError::io("open", &self.0.dir, std::io::Error::other(error))),
            }
        };
        self.0.keeper.get_or_try_init(open).await.cloned()
    }

    fn opened(&self) -> Option<Arc<Keeper>> {
        self.0.keeper.get().cloned()
    }

    async fn tenure(&self, name: &str) -> Option<Tenure> {
        let key = tenure_key(name);
        let bytes = self.opened()?.get(&key)?;
        store::decode(&key, &bytes).ok()
    }

    async fn count(&self) -> usize {
        self.opened().map_or(0, |keeper| keeper.of_kind(TENURE).len())
    }

    async fn write_tenure(&self, tenure: &Tenure) -> Result<(), StreamError> {
        let key = tenure_key(&tenure.spec.name);
        let bytes = store::encode(&key, tenure);
        self.keeper().await?.write(vec![Change::Put { key, bytes }]).await.map(drop).map_err(StreamError::Disk)
    }

    /// Starts a stream, or one that was stopped again. It is on disk when this returns.
    pub(crate) async fn start(&self, spec: StreamSpec) -> Result<StreamView, StreamError> {
        spec.check()?;
        let _one = self.0.keeping.lock().await;
        let name = spec.name.clone();
        self.keeper().await?;
        let tenure = match self.tenure(&name).await {
            Some(known) if known.owner != self.0.me => {
                return Err(StreamError::Elsewhere { name, owner: known.owner });
            }
            Some(known) if known.spec != spec => return Err(StreamError::Different(name)),
            Some(known) => Tenure { stopped: false, ..known },
            None if self.count().await >= STREAMS_MAX => return Err(StreamError::TooMany),
            None => {
                let run = getrandom::u64().map_err(|error| StreamError::Disk(format!("no randomness: {error}")))?;
                Tenure { spec, epoch: 1, run, owner: self.0.me, successor: None, stopped: false }
            }
        };
        let (blobs, modules) = (self.0.blobs.clone(), modules_of(&tenure.spec));
        match spawn_blocking(move || blobs.make_durable(&modules)).await {
            Ok(made) => made?,
            Err(error) => return Err(StreamError::Disk(error.to_string())),
        }
        self.write_tenure(&tenure).await?;
        if !lock(&self.0.running).contains_key(&name) {
            self.begin(tenure).await;
        }
        self.view(&name).await
    }

    /// Stops a stream; with `forget`, nothing is left of it here.
    pub(crate) async fn stop(&self, name: &str, forget: bool) -> Result<StreamView, StreamError> {
        let _one = self.0.keeping.lock().await;
        let unknown = || StreamError::Unknown(name.to_owned());
        let owner = self.tenure(name).await.ok_or_else(unknown)?.owner;
        if owner != self.0.me && !forget {
            return Err(StreamError::Elsewhere { name: name.to_owned(), owner });
        }
        self.end(name, Ending::Stopped).await;
        let stopped = Tenure { stopped: true, ..self.tenure(name).await.ok_or_else(unknown)? };
        self.write_tenure(&stopped).await?;
        // Its successor hears that it is stopped, so that nobody takes it over.
        self.tell_stopped(&stopped).await;
        let view = self.view(name).await?;
        if forget {
            let keeper = self.keeper().await?;
            keeper.write(keeper.nothing_of(name)).await.map_err(StreamError::Disk)?;
        }
        Ok(view)
    }

    async fn tell_stopped(&self, tenure: &Tenure) {
        let Some(successor) = tenure.successor.filter(|_| tenure.owner == self.0.me) else { return };
        let key = tenure_key(&tenure.spec.name);
        let bytes = store::encode(&key, tenure);
        let changes = vec![Change::Put { key, bytes }];
        let shipment = Shipment { epoch: tenure.epoch, changes, ..question(&tenure.spec.name) };
        if let Err(error) = shipping::ship(&self.0.network, successor, &shipment).await {
            tracing::warn!(stream = tenure.spec.name, %error, "its successor does not know that it is stopped");
        }
    }

    /// Ends every stream; they go on when the daemon is started again.
    pub(crate) async fn end_all(&self) {
        let names: Vec<String> = lock(&self.0.running).keys().cloned().collect();
        for name in names {
            self.end(&name, Ending::Stopped).await;
        }
    }

    async fn end(&self, name: &str, why: Ending) {
        let Some(running) = lock(&self.0.running).remove(name) else { return };
        // Nobody receives where it has ended by itself.
        let _ = running.ending.send(why);
        let mut engine = running.engine;
        if tokio::time::timeout(END_TIMEOUT, &mut engine).await.is_err() {
            engine.abort();
        }
    }

    /// Another peer owns it: nothing is kept of it here until that one ships.
    async fn let_go(&self, name: &str, epoch: u64) {
        tracing::warn!(stream = name, epoch, "another peer runs this stream now; letting go");
        let Some(keeper) = self.opened() else { return };
        self.leave_behind(name, epoch, &keeper).await;
        if let Err(why) = keeper.write(keeper.nothing_of(name)).await {
            tracing::error!(stream = name, why, "what is left of it cannot be removed");
        }
    }

    /// What was acknowledged here, was in no published window, and may not have reached the one that took over: for people.
    async fn leave_behind(&self, name: &str, epoch: u64, keeper: &Keeper) {
        let Some(tenure) = self.tenure(name).await.filter(|tenure| tenure.spec.durable == 1) else { return };
        let Ok(journal) = restore(&tenure, keeper) else { return };
        let lines = journal.unpublished();
        if lines.is_empty() {
            return;
        }
        let path = self.0.dir.join(format!("{name}.left-{epoch}"));
        let written = spawn_blocking(move || std::fs::write(&path, lines).map(|()| path)).await;
        match written {
            Ok(Ok(path)) => {
                tracing::warn!(stream = name, file = %path.display(), "records that may not have been passed on")
            }
            Ok(Err(error)) => tracing::error!(stream = name, %error, "records that were not passed on cannot be kept"),
            Err(error) => tracing::error!(stream = name, %error, "records that were not passed on cannot be kept"),
        }
    }

    /// Runs a stream that this peer owns, as the disk says.
    async fn begin(&self, tenure: Tenure) {
        let name = tenure.spec.name.clone();
        let Some(keeper) = self.opened() else { return };
        for module in modules_of(&tenure.spec) {
            match self.0.blobs.pin(module) {
                Ok(pin) => drop(self.0.pins().insert(module, pin)),
                Err(error) => tracing::warn!(stream = name, %module, %error, "a module of a stream"),
            }
        }
        let journal = match restore(&tenure, &keeper) {
            Ok(journal) => journal,
            Err(error) => return tracing::error!(stream = name, %error, "it cannot go on"),
        };
        let status = Arc::new(Status::new(journal.counts().records > 0));
        let (persist, parcels) = Persist::new(&name, Arc::clone(&keeper), tenure.spec.durable > 1);
        let (ending, ends) = watch::channel(Ending::No);
        let ending = Arc::new(ending);
        let shipper = Shipper {
            name: name.clone(),
            epoch: tenure.epoch,
            two_copies: tenure.spec.durable > 1,
            me: self.0.me,
            network: self.0.network.clone(),
            driver: self.0.driver.clone(),
            keeper,
            parcels,
            status: Arc::clone(&status),
            ending: Arc::clone(&ending),
            held: Vec::new(),
        };
        let (intake, deliveries) = Intake::new();
        let shown = Shown::default();
        let engine = Engine {
            worker: Worker {
                me: self.0.me,
                driver: self.0.driver.clone(),
                blobs: self.0.blobs.clone(),
                spec: Arc::new(tenure.spec.clone()),
                run: tenure.run,
                status: Arc::clone(&status),
            },
            results: sink(&tenure, &tenure.spec.sink, Which::Results, &persist, &status),
            late: tenure.spec.late.as_ref().map(|late| sink(&tenure, late, Which::Late, &persist, &status)),
            journal,
            deliveries,
            persist,
            status: Arc::clone(&status),
            shown: Arc::clone(&shown),
            ending: ends.clone(),
        };
        let source = source(&tenure.spec, intake.clone(), Arc::clone(&status));
        let (streams, ends, at) = (self.clone(), ends, name.clone());
        let engine = tokio::spawn(async move {
            let shipping = tokio::spawn(shipper.run());
            engine.run().await;
            shipping.abort();
            if let Some(source) = source {
                source.abort();
            }
            let ending = *ends.borrow();
            if let Ending::LetGo(epoch) = ending {
                lock(&streams.0.running).remove(&at);
                streams.let_go(&at, epoch).await;
            }
        });
        tracing::info!(stream = name, epoch = tenure.epoch, "running");
        lock(&self.0.running).insert(name, Running { intake, status, shown, ending, engine });
    }

    /// Takes records that were handed in, and returns when they are on disk.
    pub(crate) async fn hand_in(
        &self,
        name: &str,
        records: Vec<Bytes>,
        mark: Option<Mark>,
    ) -> Result<Taken, StreamError> {
        let tenure = self.tenure(name).await.ok_or_else(|| StreamError::Unknown(name.to_owned()))?;
        if !matches!(tenure.spec.source, SourceSpec::Http {} | SourceSpec::Stdin {}) {
            return Err(StreamError::NotFed(name.to_owned()));
        }
        if tenure.owner != self.0.me {
            return Err(StreamError::Elsewhere { name: name.to_owned(), owner: tenure.owner });
        }
        let intake = lock(&self.0.running).get(name).map(|running| running.intake.clone());
        let intake = intake.ok_or_else(|| StreamError::NotRunning(name.to_owned()))?;
        let (reply, taken) = oneshot::channel();
        let delivery = Delivery { records, mark, repeated: true, done: Done::Reply(reply), room: None };
        if intake.try_hand(delivery).is_err() {
            return Err(match intake.is_closed() {
                true => StreamError::NotRunning(name.to_owned()),
                false => StreamError::Full(name.to_owned()),
            });
        }
        Ok(taken.await.unwrap_or(Err(NotTaken::Ended))?)
    }
}

fn restore(tenure: &Tenure, keeper: &Keeper) -> Result<Journal, JournalError> {
    let (_, kept) = keeper.all_of(&tenure.spec.name);
    let records = kept.iter().map(|(key, bytes)| (key.as_slice(), bytes.as_slice()));
    Journal::restore(&tenure.spec.name, &tenure.spec.window, tenure.spec.late.is_some(), records)
}

fn sink(tenure: &Tenure, spec: &SinkSpec, which: Which, persist: &Persist, status: &Arc<Status>) -> Sink {
    let client_id = match spec {
        SinkSpec::Mqtt(broker) => tenure.spec.sink_client_id(broker),
        SinkSpec::File { .. } => String::new(),
    };
    Sink::new(spec, client_id, tenure.run, which, persist.clone(), Arc::clone(status))
}

fn source(spec: &StreamSpec, intake: Intake, status: Arc<Status>) -> Option<JoinHandle<()>> {
    match &spec.source {
        SourceSpec::Mqtt(broker) => {
            let client_id = spec.source_client_id(broker);
            Some(tokio::spawn(source::mqtt::run(broker.clone(), client_id, intake, status)))
        }
        SourceSpec::Directory { path } => Some(tokio::spawn(source::directory::run(path.clone(), intake, status))),
        SourceSpec::Http {} | SourceSpec::Stdin {} => {
            status.connected_once();
            None
        }
    }
}
