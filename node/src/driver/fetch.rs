//! Bringing blobs here from the peers that hold them.
//!
//! **Invariant:** a blob is on its way at most once, however many attempts wait for it; at most [`FETCHES_MAX`] are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, Shared, try_join_all};
use shoal_protocol::config::INPUT_BYTES_MAX;
use shoal_protocol::task::spec::BlobRef;
use shoal_protocol::{BlobId, PeerId};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::blobs::{self, BlobStore, Download, TransferError};
use crate::network::{BulkError, BulkStream, Network};

/// Transfers at a time.
const FETCHES_MAX: usize = 16;
/// A broken or busy transfer is taken up again this often.
const TRIES_MAX: u32 = 4;
/// Pause before the next try, times the number of tries so far.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Time that a holder we are not connected to has to become a neighbour.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often we look whether it has.
const CONNECT_POLL: Duration = Duration::from_millis(20);
/// Peers whose addresses are kept for fetching.
const ADDRESS_BOOK_MAX: usize = 512;

type Running = Shared<LocalBoxFuture<'static, Result<(), String>>>;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher(Rc<Inner>);

struct Inner {
    network: Network,
    store: BlobStore,
    permits: Semaphore,
    /// What is on its way, and from whom.
    running: RefCell<BTreeMap<BlobId, (PeerId, Running)>>,
    addresses: RefCell<BTreeMap<PeerId, Vec<String>>>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("running", &self.0.running.borrow().len()).finish_non_exhaustive()
    }
}

impl Fetcher {
    pub(crate) fn new(network: Network, store: BlobStore) -> Self {
        let permits = Semaphore::new(FETCHES_MAX);
        Self(Rc::new(Inner { network, store, permits, running: RefCell::default(), addresses: RefCell::default() }))
    }

    /// A forwarded task's input may be at a peer that is not our neighbour yet.
    pub(crate) fn learn_addresses(&self, peer: PeerId, addresses: &[String]) {
        let mut book = self.0.addresses.borrow_mut();
        if book.len() < ADDRESS_BOOK_MAX || book.contains_key(&peer) {
            book.insert(peer, addresses.to_vec());
        }
    }

    /// Whether all of them are here already.
    pub(crate) fn has_all(&self, wanted: &[BlobRef]) -> bool {
        wanted.iter().all(|blob| self.0.store.stat(blob.id) == Some(blob.bytes))
    }

    /// Brings all of them here, or says why one cannot be had.
    pub(crate) async fn fetch_all(self, wanted: Vec<BlobRef>) -> Result<(), String> {
        try_join_all(wanted.into_iter().map(|blob| self.fetch(blob))).await.map(|_| ())
    }

    async fn fetch(&self, blob: BlobRef) -> Result<(), String> {
        loop {
            if self.0.store.stat(blob.id) == Some(blob.bytes) {
                return Ok(());
            }
            let (holder, running) = self.join_or_begin(blob);
            let result = running.await;
            // What another holder could not give, ours may.
            if result.is_ok() || holder == blob.holder {
                return result;
            }
        }
    }

    fn join_or_begin(&self, blob: BlobRef) -> (PeerId, Running) {
        let mut running = self.0.running.borrow_mut();
        if let Some(joined) = running.get(&blob.id) {
            return joined.clone();
        }
        let inner = Rc::clone(&self.0);
        let transfer = async move {
            let result = inner.transfer(blob).await;
            inner.running.borrow_mut().remove(&blob.id);
            result
        };
        let begun = (blob.holder, transfer.boxed_local().shared());
        running.insert(blob.id, begun.clone());
        begun
    }

    /// Brings a blob of unknown size from the first of these peers that has it.
    pub(crate) async fn find(self, id: BlobId, at: Vec<PeerId>) -> Result<(), String> {
        let mut reasons = Vec::new();
        for holder in at {
            match self.find_at(id, holder).await {
                Ok(()) => return Ok(()),
                Err(why) => reasons.push(format!("{}: {why}", holder.short())),
            }
        }
        if reasons.is_empty() {
            Err("it is not here, and no peer is connected".into())
        } else {
            Err(reasons.join("; "))
        }
    }

    async fn find_at(&self, id: BlobId, holder: PeerId) -> Result<(), String> {
        let mut stream = self.0.open(holder).await.map_err(|error| error.to_string())?;
        // The holder announces the size before the first byte; asked for an impossible one, it only does that.
        let bytes = match blobs::fetch(&mut stream, id, 0, &self.0.store).await {
            Ok(()) => return Ok(()),
            Err(TransferError::UnexpectedSize { announced, .. }) => announced,
            Err(error) => return Err(error.to_string()),
        };
        if bytes > INPUT_BYTES_MAX {
            return Err(format!("its {bytes} bytes are over the limit of {INPUT_BYTES_MAX}"));
        }
        self.fetch(BlobRef { id, bytes, holder }).await
    }
}

impl Inner {
    async fn transfer(&self, blob: BlobRef) -> Result<(), String> {
        // The semaphore is never closed; an error here would only lift the bound.
        let _permit = self.permits.acquire().await;
        if blob.holder == self.network.local_peer() {
            return Err(format!("{} is no longer in this peer's store", blob.id.short()));
        }
        let mut download = Download::begin(&self.store, blob.id, blob.bytes)
            .map_err(|error| format!("{}: {error}", blob.id.short()))?;
        let mut tries = 0;
        loop {
            let why = match self.open(blob.holder).await {
                Ok(mut stream) => match download.run(&mut stream).await {
                    Ok(()) => return Ok(()),
                    Err(error) if error.is_resumable() => error.to_string(),
                    Err(error) => return Err(format!("{}: {error}", blob.id.short())),
                },
                Err(error) => error.to_string(),
            };
            tries += 1;
            if tries >= TRIES_MAX {
                return Err(format!("{}: {why}", blob.id.short()));
            }
            sleep(RETRY_PAUSE * tries).await;
        }
    }

    /// A stream to a neighbour; a known peer that is none is dialled first.
    async fn open(&self, peer: PeerId) -> Result<BulkStream, BulkError> {
        let first = self.network.open_bulk(peer).await;
        let addresses = match &first {
            Err(BulkError::NotConnected(_)) => self.addresses.borrow().get(&peer).cloned(),
            Ok(_) | Err(_) => None,
        };
        let Some(addresses) = addresses.filter(|addresses| !addresses.is_empty()) else { return first };
        self.network.dial(Some(peer), addresses);
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        loop {
            sleep(CONNECT_POLL).await;
            match self.network.open_bulk(peer).await {
                Err(BulkError::NotConnected(_)) if Instant::now() < deadline => {}
                opened => return opened,
            }
        }
    }
}
