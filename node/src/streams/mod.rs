//! The streams that this peer runs, and those that it would take over.
//!
//! ```text
//! source/ ─► intake ─► engine ─► work (tasks, pipelines) ─► sink/
//!                        │ persist
//!                        ├─► keeper: this disk
//!                        └─► shipper ══ shipping ══► follower, at a successor: its disk
//! ```
//!
//! | file | one question |
//! |---|---|
//! | `asked.rs` | what do people want of a stream? |
//! | `tenure.rs` | who runs it? |
//! | `here.rs` | is it under way here, and if not, why? |
//! | `running.rs` | what belongs to one that is under way? |
//! | `shipments.rs` | what may another peer's stream do here? |
//! | `takeover.rs` | is its owner gone, so that this peer goes on with it? |
//! | `resuming.rs` | does it go on here after a start, or has another peer taken it over? |
//!
//! **Invariant:** a stream has one engine, at one peer, under one epoch; what an engine needs to go on is with the keeper.
//! **Not here:** windows and what is known again (`shoal_protocol::stream`), HTTP (`crate::api::streams`).

mod asked;
mod engine;
mod error;
mod follower;
mod here;
mod intake;
mod keeper;
mod mqtt;
mod persist;
mod resuming;
mod running;
mod shipments;
mod shipper;
pub(crate) mod shipping;
mod sink;
mod source;
mod status;
mod takeover;
mod tenure;
mod view;
mod work;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use shoal_protocol::stream::succession::Tenure;
use shoal_protocol::{BlobId, PeerId, store};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::blobs::{BlobStore, Pin};
use crate::driver::handle::Handle;
use crate::network::Network;
use crate::store::StoreError;
pub(crate) use error::StreamError;
use here::Here;
pub(crate) use intake::{NotTaken, Taken};
use keeper::Keeper;
use running::modules_of;
use tenure::TENURE;

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
    here: Mutex<BTreeMap<String, Here>>,
    /// When the owners of others' streams were last heard.
    words: Mutex<BTreeMap<String, Instant>>,
    /// Modules that must not be evicted.
    pins: Mutex<BTreeMap<BlobId, Pin>>,
    /// Held while it is decided who owns a stream.
    keeping: tokio::sync::Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done when a holder panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn words(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        lock(&self.words)
    }

    fn here(&self) -> MutexGuard<'_, BTreeMap<String, Here>> {
        lock(&self.here)
    }
}

/// Where the store of streams is in a data directory.
pub(crate) fn dir_of(data_dir: &Path) -> PathBuf {
    data_dir.join("streams")
}

impl Streams {
    pub(crate) fn new(around: Around) -> Self {
        let Around { me, data_dir, take_over, driver, network, blobs } = around;
        Self(Arc::new(Shared {
            me,
            dir: dir_of(&data_dir),
            take_over,
            driver,
            network,
            blobs,
            keeper: OnceCell::new(),
            here: Mutex::default(),
            words: Mutex::default(),
            pins: Mutex::default(),
            keeping: tokio::sync::Mutex::new(()),
        }))
    }

    /// Opens what is kept, if anything is: a store that is damaged stops the daemon, as that of tasks does.
    pub(crate) async fn open(&self) -> Result<(), StoreError> {
        if self.0.dir.exists() { self.keeper().await.map(drop) } else { Ok(()) }
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

    /// The modules of all streams that are kept here stay in the blob store, and no others for their sake.
    fn pin_modules(&self) {
        let Some(keeper) = self.opened() else { return };
        // Held while it is looked what there is: whoever comes later sees more.
        let mut pins = lock(&self.0.pins);
        let tenures = keeper.of_kind(TENURE);
        let tenures = tenures.iter().filter_map(|(key, bytes)| store::decode::<Tenure>(key, bytes).ok());
        let wanted: BTreeSet<BlobId> = tenures.flat_map(|tenure| modules_of(&tenure.spec)).collect();
        pins.retain(|module, _| wanted.contains(module));
        for module in wanted.into_iter().filter(|module| self.0.blobs.stat(*module).is_some()) {
            if let Entry::Vacant(place) = pins.entry(module) {
                match self.0.blobs.pin(module) {
                    Ok(pin) => drop(place.insert(pin)),
                    Err(error) => tracing::warn!(%module, %error, "the module of a stream cannot be kept"),
                }
            }
        }
    }
}
