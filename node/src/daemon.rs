//! One daemon from start to end: takes what it needs, wires the rooms together, and lets go in order.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_protocol::api::ConfigView;
use shoal_protocol::audit::Happening;
use shoal_protocol::certificate::SecretKey;
use tokio::sync::{mpsc, oneshot};

use crate::api::{self, Api, SocketError};
use crate::audit::{self, Audit};
use crate::blobs::{BlobError, BlobStore, Sealing};
use crate::config::{Config, Identity, IdentityError};
use crate::driver::handle::Handle;
use crate::driver::revoked::{Revoked, revoked_before};
use crate::driver::{self, Driver, Kept, Parts, Sources, unix_time};
use crate::executor::{Executor, ExecutorConfig, ExecutorError};
use crate::joining::{LedgerError, Office};
use crate::load_sampler::{LoadError, LoadSampler};
use crate::network::{Network, NetworkConfig, NetworkError};
use crate::privacy::Keeper;
use crate::small_file;
use crate::speed;
use crate::store::{Answer, Bounds, Repaired, Store, StoreError};
use crate::streams::{self, Streams};

/// Time that answers already begun have at the end.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);
/// A daemon that was killed lets go of its directory with its last worker that was just being started: at once, but not in
/// the same moment.
const LET_GO_MAX: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// As much of a small file is read to see that it can be: more than any has that we wrote.
const SMALL_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Share of the disk quota that compiled modules may take, beside the blobs.
const COMPILED_SHARE: u64 = 4;

/// What is kept cannot be read (sysexits' EX_DATAERR): starting again does not help, and a supervisor should not try.
const EXIT_DAMAGED: u8 = 65;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Who this peer is cannot be told.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is a member no more.
    #[error(transparent)]
    Revoked(#[from] Revoked),
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}: {source}", path.display())]
    DataDir {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Another daemon uses it.
    #[error("another shoald uses the data directory {}", .0.display())]
    DataDirTaken(PathBuf),
    /// A file in it cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// There is nothing to repair.
    #[error("there is no task store in {}", .0.display())]
    NoStore(PathBuf),
    /// The API's socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The network does not start.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The store cannot be opened.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The tasks that are kept cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What this peer has signed and promised cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The sandbox cannot be set up.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The host's load cannot be measured.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The system has no randomness.
    #[error("the operating system gave no randomness: {0}")]
    NoEntropy(String),
}

impl StartError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Identity(error) => error.hint(),
            Self::DataDir { .. } => {
                "make it a directory of the user shoald runs as, or choose another: --data-dir DIR".into()
            }
            Self::DataDirTaken(_) => {
                "use that one (`shoal status`), stop it first, or choose another: --data-dir DIR".into()
            }
            Self::Unreadable { path, source } if source.kind() != std::io::ErrorKind::PermissionDenied => {
                format!("check the disk; without {} the daemon starts, and goes by what others tell it", path.display())
            }
            Self::Unreadable { path, .. } => {
                format!(
                    "give it to the user shoald runs as, which another has written to: chown USER {}",
                    path.display()
                )
            }
            Self::NoStore(_) => "name the data directory of a peer: --data-dir DIR, or --config FILE".into(),
            Self::Revoked(_) => {
                "to join again it needs a new key: move node.key and member.cert aside, and be admitted \
                                 again; where only its issuer was revoked, a new certificate is enough"
                    .into()
            }
            Self::Socket(error) => error.hint(),
            Self::Network(error) => error.hint(),
            Self::Blobs(error) => error.hint().into(),
            Self::Store(StoreError::DiskFull { .. }) => "free space on this disk, then start it again".into(),
            Self::Store(error) => error.hint(),
            Self::Ledger(error) => error.hint(),
            Self::Executor(error) => error.hint().into(),
            Self::Load(error) => error.hint().into(),
            Self::NoEntropy(_) => "start it again once the system has finished booting".into(),
        }
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            // EX_CONFIG: a person has to change something that is written down.
            Self::Identity(_)
            | Self::Revoked(_)
            | Self::Network(NetworkError::BadAddress { .. })
            | Self::Blobs(BlobError::WrongKey { .. } | BlobError::KeyExposed { .. }) => 78,
            Self::Store(StoreError::Damaged { .. } | StoreError::NewerFormat { .. })
            | Self::Blobs(BlobError::HoldsDamaged { .. } | BlobError::KeyDamaged { .. })
            | Self::Ledger(LedgerError::Damaged { .. }) => EXIT_DAMAGED,
            Self::Store(_)
            | Self::Ledger(_)
            | Self::DataDir { .. }
            | Self::DataDirTaken(_)
            | Self::Unreadable { .. }
            | Self::NoStore(_)
            | Self::Socket(_)
            | Self::Network(_)
            | Self::Blobs(_)
            | Self::Executor(_)
            | Self::Load(_)
            | Self::NoEntropy(_) => 1,
        }
    }
}

/// Runs a daemon until a message on `stop` (or the API) asks it to end; a second message ends it at once.
pub async fn run(mut config: Config, view: ConfigView, stop: mpsc::Receiver<()>) -> Result<(), StartError> {
    let _data_dir = take_data_dir(&config.data_dir)?;
    small_file::remove_unfinished(&config.data_dir);
    small_file::remove_unfinished(&streams::dir_of(&config.data_dir));
    can_be_read(&driver::small_files(&config.data_dir))?;
    let identity = Identity::load(&config, unix_time().as_secs())?;
    if revoked_before(&config.data_dir, identity.mesh, identity.certificate.peer, &identity.chain) {
        return Err(StartError::Revoked(Revoked));
    }
    let office = Office::open(&config.data_dir, identity.mesh, &config.mesh_name, identity.certificate.peer)?;
    // Whoever let this peer in is where it finds the others.
    config.bootstrap.extend(office.contacts().into_iter().flat_map(|contacts| contacts.addresses.iter().cloned()));
    let (audit, writing) = audit::start(&config.data_dir, &identity.key, &view);
    let ended = serve(config, view, identity, office, audit.clone(), stop).await;
    match &ended {
        Ok(()) => audit.note(Happening::Stopped),
        Err(StartError::Store(error @ StoreError::Damaged { .. })) => audit.store_damaged(None, error),
        Err(_) => {}
    }
    writing.end();
    ended
}

async fn serve(
    config: Config,
    view: ConfigView,
    identity: Identity,
    office: Office,
    audit: Audit,
    stop: mpsc::Receiver<()>,
) -> Result<(), StartError> {
    let (listener, socket) = api::bind(&config.socket)?;
    let sealing = Sealing::new(config.store_key.clone(), identity.mesh);
    let blobs = BlobStore::open_sealed(&config.data_dir.join("blobs"), config.disk_bytes, &sealing)?;
    blobs.sign_as(SecretKey::from_bytes(&identity.key.to_bytes()));
    let (kept, stored) = open_store(&config)?;
    let (executor, executor_events) = start_executor(&config, &identity, &blobs)?;
    let speed = match config.speed {
        Some(speed) => speed,
        None => speed::core_speed(&config.data_dir).await,
    };
    let seed = getrandom::u64().map_err(|error| StartError::NoEntropy(error.to_string()))?;
    let (network, network_events) = Network::start(NetworkConfig {
        listen: config.listen.clone(),
        announce: config.announce.clone(),
        reachable: config.reachable,
        relay: config.relay,
        mdns: config.mdns,
        mdns_interval: config.mdns_interval,
        peers_max: config.peers_max,
        congestion: config.congestion,
        node_key: identity.key.to_bytes(),
        mesh: identity.mesh,
        certificate: identity.chain.clone(),
        office: Some(office.clone()),
    })
    .await?;

    let keeper = Keeper::open(&config.data_dir, identity.certificate.peer, blobs.clone(), audit.clone());
    let (handle, requests) = Handle::new();
    let streams = Streams::new(streams::Around {
        me: identity.certificate.peer,
        data_dir: config.data_dir.clone(),
        take_over: config.take_over.clone(),
        driver: handle.clone(),
        network: network.clone(),
        blobs: blobs.clone(),
    });
    streams.open().await?;
    let api = Api {
        driver: handle,
        blobs: blobs.clone(),
        config: Arc::new(view),
        me: identity.certificate.peer,
        cloud: config.cloud,
        office: office.clone(),
        audit: audit.clone(),
        keeper: keeper.clone(),
        streams: streams.clone(),
    };
    let (end_api, api_ends) = oneshot::channel::<()>();
    let serving = tokio::spawn(api::serve(listener, api, async {
        // Also when the driver is gone without a word.
        let _ = api_ends.await;
    }));

    let sampler = LoadSampler::new()?;
    let driver = Driver::new(Parts {
        config,
        identity,
        speed,
        seed,
        network,
        executor,
        blobs,
        kept,
        office,
        audit,
        keeper,
        streams: streams.clone(),
    });
    streams.resume();
    driver
        .run(Sources { network: network_events, executor: executor_events, requests, store: stored, stop }, sampler)
        .await;

    streams.end_all().await;
    drop(socket);
    drop(end_api);
    // Followers of events never end by themselves.
    let _ = tokio::time::timeout(LAST_ANSWERS_TIMEOUT, serving).await;
    tracing::info!("stopped");
    Ok(())
}

/// What others have said before holds from the start: what cannot be read now is not left out, nor written anew without it. What is
/// damaged is set aside later.
fn can_be_read(files: &[PathBuf]) -> Result<(), StartError> {
    for path in files {
        match small_file::read(path, SMALL_FILE_BYTES_MAX) {
            Err(source) if source.kind() != std::io::ErrorKind::InvalidData => {
                return Err(StartError::Unreadable { path: path.clone(), source });
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Holds the directory for as long as the file lives; the lock goes with the process, however it ends.
pub(crate) fn take_data_dir(path: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::DataDir { path: path.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let lock = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(failed)?;
    let patience = Instant::now() + LET_GO_MAX;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < patience => std::thread::sleep(LOOK_AGAIN),
            Err(std::fs::TryLockError::WouldBlock) => return Err(StartError::DataDirTaken(path.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

/// Sets damaged stores of this data directory aside, that of tasks and that of streams, and keeps what of them is good; `tell`
/// hears of each that was as soon as it is done.
pub fn repair_stores(data_dir: &Path, mut tell: impl FnMut(&Repaired)) -> Result<(), StartError> {
    let streams = crate::streams::dir_of(data_dir);
    if ![data_dir, &streams].into_iter().any(crate::store::is_in) {
        return Err(StartError::NoStore(data_dir.to_owned()));
    }
    let _data_dir = take_data_dir(data_dir)?;
    crate::store::repair(data_dir, shoal_protocol::task::durable::doubt)?.iter().for_each(&mut tell);
    // Nothing there was promised to other peers.
    crate::store::repair(&streams, |_, _| Vec::new())?.iter().for_each(&mut tell);
    Ok(())
}

type Stored = mpsc::UnboundedReceiver<Vec<Answer>>;

fn open_store(config: &Config) -> Result<(Kept, Stored), StartError> {
    let mut store = Store::open(&config.data_dir, Bounds::default())?;
    let records = std::mem::take(&mut store.records);
    let boot = store.boot;
    tracing::debug!(records = records.len(), boot, "kept tasks");
    // Unbounded in form only: there is one answer for each batch handed over, and those are bounded.
    let (answers, received) = mpsc::unbounded_channel();
    let committer = store.start(move |group| {
        // Nobody receives once the daemon is ending.
        let _ = answers.send(group);
    })?;
    Ok((Kept { committer, records, boot }, received))
}

type ExecutorEvents = mpsc::UnboundedReceiver<crate::executor::ExecutorEvent>;

fn start_executor(
    config: &Config,
    identity: &Identity,
    blobs: &BlobStore,
) -> Result<(Executor, ExecutorEvents), StartError> {
    // Unbounded in form only: there is one event for each run or preparation handed over, and those are bounded.
    // A bounded one could block the driver's own thread when the sandbox refuses an order at once.
    let (events, received) = mpsc::unbounded_channel();
    let sandbox = ExecutorConfig {
        threads: usize::from(config.cores),
        memory_bytes_max: config.memory_bytes,
        slowdown: config.slowdown,
        cache_bytes_max: config.disk_bytes / COMPILED_SHARE,
        ..ExecutorConfig::new(identity.certificate.peer, config.data_dir.join("compiled"))
    };
    let executor = Executor::start(sandbox, blobs.clone(), move |event| {
        // Nobody receives once the daemon is ending.
        let _ = events.send(event);
    })?;
    for part in executor.sandbox().iter().filter(|part| !part.enforced) {
        tracing::warn!(part = part.name, why = part.detail, "the sandbox is not whole: restricted tasks are declined");
    }
    Ok((executor, received))
}
