//! Bringing blobs here from the peers that hold them: from the one that was named, and from others that are found.
//!
//! ```text
//! named holder ─┐
//! known holders ┼─► up to SOURCES_MAX at a time ─► every group verified ─► here
//! the view ─────┤     └── lies: struck off, reported · stalls, breaks: tried again, its groups asked elsewhere
//! providers ────┘
//! ```
//!
//! ```text
//! wanted ─► a holder that is there ─► a turn at it ─► one of all places ─► it comes, also from others ─► here
//!           └ called, looked for      └── nobody who waits for these has a place, or room ──┘
//! ```
//!
//! **Invariant:** a blob is on its way at most once, however many wait for it, and no longer than somebody does; at most
//! [`FETCHES_MAX`] are, with [`FETCHES_PER_HOLDER_MAX`] streams to one holder. Who has a place has somebody who brings the blob;
//! otherwise it gives its place back, and looks for another holder with nothing held.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{LocalBoxFuture, Shared, WeakShared, try_join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use shoal_protocol::privacy::words::{Answer, Ask};
use shoal_protocol::task::spec::BlobRef;
use shoal_protocol::{BlobId, PeerId};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, interval_at, sleep, timeout};

use super::providers;
use super::sources::{RETRY_PAUSE, Sources};
use super::turns::{Turn, Turns};
use crate::blobs::{Arriving, BlobError, BlobStore, Download, Pin, TransferError};
use crate::network::{BULK_OUT_MAX, BulkError, BulkStream, Network};

/// Blobs that are on their way at a time: each has all of its room already.
const FETCHES_MAX: usize = 32;
/// Those that came to their place by a turn at one holder: one stream to it is left for what is asked of it beside blobs.
const FETCHES_PER_HOLDER_MAX: usize = BULK_OUT_MAX - 1;
/// When no holder has had a turn by then, it is looked for others in the view; when a blob has not come by then, another that is
/// known is asked as well.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// What was given up a moment ago is laid down by then.
const LAID_DOWN_MAX: Duration = Duration::from_secs(60);
/// Whoever must look for a blob, or call its holder, waits so long for others to be done with that.
const QUEUE_MAX: Duration = Duration::from_secs(30);
/// Peers that are called at a time.
const CALLS_MAX: usize = 16;
/// Blobs that are looked for at a time.
const SEARCHES_MAX: usize = 16;
/// Sources of one blob at a time.
const SOURCES_MAX: usize = 4;
/// A blob of fewer bytes comes from one source: it is here before another is found.
const SEVERAL_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Calls of a peer that does not answer.
const CALLS_OF_ONE_MAX: u32 = 4;
/// Time that a holder we are not connected to has to become a neighbour.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often we look whether it has.
const CONNECT_POLL: Duration = Duration::from_millis(20);
/// Peers whose addresses are kept for fetching.
const ADDRESS_BOOK_MAX: usize = 512;
/// Transfers of a blob that one waits for in turn.
const ROUNDS_MAX: usize = 3;

pub(crate) type Running = Shared<LocalBoxFuture<'static, Result<(), String>>>;

/// What the driver is asked for, or told.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Who in the view has this blob?
    Sought { blob: BlobId, reply: oneshot::Sender<Vec<PeerId>> },
    /// A peer sent bytes that are not those of the blob they were asked as.
    Lied { peer: PeerId, blob: BlobId },
    /// A peer asks this one, as the keeper of a privacy budget, for a release.
    Asked { from: PeerId, ask: Box<Ask>, reply: oneshot::Sender<Answer> },
}

/// What is to be brought here.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) id: BlobId,
    /// Its size, where that is known.
    pub(crate) bytes: Option<u64>,
    /// The bytes that are enough; all where none are named.
    pub(crate) range: Option<Range<u64>>,
    /// Who is said to hold it, the best first.
    pub(crate) holders: Vec<PeerId>,
}

impl Wanted {
    fn whole(blob: BlobRef) -> Self {
        Self { id: blob.id, bytes: Some(blob.bytes), range: None, holders: vec![blob.holder] }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher(Rc<Inner>);

struct Inner {
    network: Network,
    store: BlobStore,
    turns: Turns,
    places: Semaphore,
    searches: Semaphore,
    /// What is on its way.
    running: RefCell<BTreeMap<BlobId, Known>>,
    /// Peers that are being called.
    calls: RefCell<BTreeMap<PeerId, WeakShared<LocalBoxFuture<'static, bool>>>>,
    calling: Rc<Semaphore>,
    /// With a number that grows: the one that was learnt longest ago makes room.
    addresses: RefCell<BTreeMap<PeerId, (u64, Vec<String>)>>,
    notices: mpsc::UnboundedSender<Notice>,
}

/// A transfer, for who waits for it. It goes on while anybody does.
struct Underway {
    bytes: Option<u64>,
    holders: Vec<PeerId>,
    end: Running,
    begun: watch::Receiver<Option<Arriving>>,
}

/// A transfer, for who may join.
struct Known {
    bytes: Option<u64>,
    /// Asked at its beginning; those that joiners name come on top.
    holders: Vec<PeerId>,
    end: WeakShared<LocalBoxFuture<'static, Result<(), String>>>,
    begun: watch::Receiver<Option<Arriving>>,
    named: mpsc::UnboundedSender<PeerId>,
}

impl Known {
    /// The same transfer for one more, who may know of other holders; nothing where nobody waits for it any more.
    fn join(&self, holders: &[PeerId]) -> Option<Underway> {
        let end = self.end.upgrade()?;
        for holder in holders.iter().filter(|holder| !self.holders.contains(holder)) {
            // Whoever has just ended needs none.
            let _ = self.named.send(*holder);
        }
        Some(Underway { bytes: self.bytes, holders: self.holders.clone(), end, begun: self.begun.clone() })
    }
}

/// What a transfer may go on with.
struct Admitted<'a> {
    /// Whose turn it is.
    first: PeerId,
    /// Until it is done for.
    turn: Option<Turn>,
    _place: Option<SemaphorePermit<'a>>,
}

/// Takes a transfer out when it has ended, or is given up.
struct Leaves {
    inner: Rc<Inner>,
    id: BlobId,
}

impl Drop for Leaves {
    fn drop(&mut self) {
        self.inner.running.borrow_mut().remove(&self.id);
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("running", &self.0.running.borrow().len()).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// Notices are bounded by what is on its way, and by the streams that peers may have open.
    pub(crate) fn new(network: Network, store: BlobStore) -> (Self, mpsc::UnboundedReceiver<Notice>) {
        let (notices, noticed) = mpsc::unbounded_channel();
        let inner = Inner {
            network,
            store,
            turns: Turns::new(FETCHES_PER_HOLDER_MAX),
            places: Semaphore::new(FETCHES_MAX),
            searches: Semaphore::new(SEARCHES_MAX),
            running: RefCell::default(),
            calls: RefCell::default(),
            calling: Rc::new(Semaphore::new(CALLS_MAX)),
            addresses: RefCell::default(),
            notices,
        };
        (Self(Rc::new(inner)), noticed)
    }

    /// A forwarded task's input may be at a peer that is not our neighbour yet.
    pub(crate) fn learn_addresses(&self, peer: PeerId, addresses: &[String]) {
        let mut book = self.0.addresses.borrow_mut();
        let newest = book.values().map(|(number, _)| *number).max().unwrap_or_default();
        if book.len() >= ADDRESS_BOOK_MAX && !book.contains_key(&peer) {
            let oldest = book.iter().min_by_key(|(_, (number, _))| *number).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| book.remove(&oldest));
        }
        book.insert(peer, (newest + 1, addresses.to_vec()));
    }

    /// Where notices are handed in.
    pub(crate) fn notices(&self) -> mpsc::UnboundedSender<Notice> {
        self.0.notices.clone()
    }

    /// A stream to a peer, which is dialled where it is known and no neighbour.
    pub(crate) async fn stream(&self, peer: PeerId) -> Result<BulkStream, BulkError> {
        self.0.open(peer).await
    }

    /// Whether all of them are here already.
    pub(crate) fn has_all(&self, wanted: &[BlobRef]) -> bool {
        wanted.iter().all(|blob| self.0.store.stat(blob.id) == Some(blob.bytes))
    }

    /// Brings all of them here and holds them, or says why one cannot be had.
    pub(crate) async fn fetch_all(self, wanted: Vec<BlobRef>) -> Result<Vec<Pin>, String> {
        // What is here already must not make room for the rest.
        let _here: Vec<Pin> = wanted.iter().filter_map(|blob| self.0.store.pin(blob.id).ok()).collect();
        let fetch = async |blob: BlobRef| {
            self.fetch(Wanted::whole(blob)).await?;
            self.0.store.pin(blob.id).map_err(|error| error.to_string())
        };
        try_join_all(wanted.into_iter().map(fetch)).await
    }

    /// Brings a blob here as a whole.
    pub(crate) async fn fetch(&self, wanted: Wanted) -> Result<(), String> {
        let mut last = Ok(());
        // What others began may have other holders than ours, or be of a part that is not enough for us.
        for _ in 0..ROUNDS_MAX {
            let here = self.0.store.stat(wanted.id);
            if here.is_some_and(|here| wanted.bytes.is_none_or(|bytes| bytes == here)) {
                return Ok(());
            }
            let underway = self.join_or_begin(&wanted);
            last = underway.end.await;
            // It may have come in another way.
            if self.0.store.stat(wanted.id).is_some_and(|here| wanted.bytes.is_none_or(|bytes| bytes == here)) {
                return Ok(());
            }
            let was_ours =
                underway.bytes == wanted.bytes && wanted.holders.iter().all(|holder| underway.holders.contains(holder));
            if last.is_err() && was_ours {
                return last;
            }
        }
        last
    }

    /// A blob that can be read while it comes, and the end of that: whoever reads must see to it that this is awaited.
    pub(crate) async fn open(&self, wanted: &Wanted) -> Result<(Arriving, Running), String> {
        let Underway { end, mut begun, .. } = self.join_or_begin(wanted);
        let begins = async { begun.wait_for(Option::is_some).await.ok().and_then(|arriving| arriving.clone()) };
        tokio::select! {
            biased;
            Some(arriving) = begins => Ok((arriving, end)),
            ended = end.clone() => {
                ended?;
                // Small enough to begin and to end at once.
                let arrived = begun.borrow().clone();
                arrived.map(|arriving| (arriving, end)).ok_or_else(|| "it came and went".into())
            }
        }
    }

    /// Waits until all that is wanted of a blob is here: what others began may have been of another part of it.
    pub(crate) async fn see_to_the_end(
        &self,
        wanted: &Wanted,
        arriving: &Arriving,
        mut end: Running,
    ) -> Result<(), String> {
        let span = wanted.range.clone().unwrap_or(0..arriving.size_bytes());
        for _ in 0..ROUNDS_MAX {
            end.await?;
            if arriving.has(&span) {
                return Ok(());
            }
            (_, end) = self.open(wanted).await?;
        }
        end.await
    }

    fn join_or_begin(&self, wanted: &Wanted) -> Underway {
        let joined = self.0.running.borrow().get(&wanted.id).and_then(|known| known.join(&wanted.holders));
        if let Some(joined) = joined {
            return joined;
        }
        let ((begins, begun), (named, joins)) = (watch::channel(None), mpsc::unbounded_channel());
        let (id, bytes, holders) = (wanted.id, wanted.bytes, wanted.holders.clone());
        let (leaves, wanted) = (Leaves { inner: Rc::clone(&self.0), id }, wanted.clone());
        let transfer = async move {
            let result = leaves.inner.transfer(wanted, begins, joins).await;
            result.map_err(|why| format!("{}: {why}", id.short()))
        };
        let end = transfer.boxed_local().shared();
        if let Some(weak) = end.downgrade() {
            let known = Known { bytes, holders: holders.clone(), end: weak, begun: begun.clone(), named };
            self.0.running.borrow_mut().insert(id, known);
        }
        Underway { bytes, holders, end, begun }
    }
}

/// Where a blob is looked for next, when those that were named do not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    InView,
    AtProviders,
    Nowhere,
}

type Search<'a> = LocalBoxFuture<'a, Vec<PeerId>>;

/// What a search has found; never, where nothing is looked for.
async fn found(search: &mut Option<Search<'_>>) -> Vec<PeerId> {
    match search {
        Some(running) => {
            let found = running.await;
            *search = None;
            found
        }
        None => futures::future::pending().await,
    }
}

impl Inner {
    async fn transfer(
        &self,
        wanted: Wanted,
        begins: watch::Sender<Option<Arriving>>,
        mut joins: mpsc::UnboundedReceiver<PeerId>,
    ) -> Result<(), String> {
        if self.is_here(&wanted, &begins).await? {
            return Ok(());
        }
        let (mut sources, mut look) = (Sources::default(), Look::InView);
        sources.add(self.network.local_peer(), wanted.holders.iter().copied());
        loop {
            let mut admitted = self.admitted(wanted.id, &mut sources, &mut look, &mut joins).await?;
            let download = self.download(&wanted).await.map_err(|error| error.to_string())?;
            if self.bring(&download, &mut admitted, &mut sources, &mut look, &mut joins, &begins).await? {
                if begins.borrow().is_none() {
                    begins.send_replace(Some(download.begun().await));
                }
                return download.finish().await.map_err(|error| error.to_string());
            }
            // Who reads it keeps it; what nobody reads is laid down before its place is free, and may make room.
            drop(download);
            begins.send_replace(None);
        }
    }

    /// Takes a blob from whom there is; whether all that is wanted of it has come before they are all done for.
    async fn bring(
        &self,
        download: &Download,
        admitted: &mut Admitted<'_>,
        sources: &mut Sources,
        look: &mut Look,
        joins: &mut mpsc::UnboundedReceiver<PeerId>,
        begins: &watch::Sender<Option<Arriving>>,
    ) -> Result<bool, String> {
        let me = self.network.local_peer();
        // Whom a joiner names is asked beside whoever may keep the others waiting.
        let mut beside = 0;
        let mut tick = interval_at(Instant::now() + SLOW_AFTER, SLOW_AFTER);
        let mut parts = FuturesUnordered::new();
        let mut search: Option<Search<'_>> = None;
        while !download.is_done() {
            let is_large =
                begins.borrow().as_ref().is_some_and(|blob: &Arriving| blob.size_bytes() >= SEVERAL_BYTES_MIN);
            let room = if is_large { SOURCES_MAX } else { (1 + beside).min(SOURCES_MAX) };
            while parts.len() < room
                && let Some((peer, turn)) = self.next_with_turn(sources, admitted)
            {
                let pause = sources.pause(peer);
                parts.push(async move {
                    sleep(pause).await;
                    let _turn = turn;
                    (peer, self.take_part(download, peer).await)
                });
            }
            if parts.is_empty() {
                if search.is_some() {
                    *look = Look::InView;
                }
                return Ok(false);
            }
            // Whoever was named may be out of reach for good: others are looked for while it is tried again.
            let wants_more = sources.failures > 0 || is_large && parts.len() < SOURCES_MAX;
            if search.is_none() && wants_more && *look == Look::InView {
                search = self.next_search(look, download.id());
            }
            tokio::select! {
                Some((peer, result)) = parts.next() => match result {
                    Ok(()) => sources.idle.push(peer),
                    Err(Ended::Ours(error)) => return Err(error.to_string()),
                    Err(Ended::Theirs { why, may_again }) => {
                        if sources.failed(peer, why, may_again) {
                            sources.next.push_back(peer);
                        } else if peer == admitted.first {
                            admitted.turn = None;
                        }
                    }
                },
                found = found(&mut search) => drop(sources.add(me, found)),
                Some(named) = joins.recv() => {
                    if sources.add(me, [named]) > 0 {
                        beside += 1;
                        // Before those that were passed over.
                        sources.next.rotate_right(1);
                    }
                }
                // A turn may have come free as well.
                _ = tick.tick() => beside = beside.max(1),
                arriving = download.begun(), if begins.borrow().is_none() => drop(begins.send_replace(Some(arriving))),
            }
        }
        Ok(true)
    }

    /// What came of a blob before may be all that is wanted of it: then nobody is waited for.
    async fn is_here(&self, wanted: &Wanted, begins: &watch::Sender<Option<Arriving>>) -> Result<bool, String> {
        if wanted.range.is_none() || self.store.part_of(wanted.id).is_none() {
            return Ok(false);
        }
        let begun = Download::begin(&self.store, wanted.id, wanted.bytes, wanted.range.clone()).await;
        // Why there is none will be said again when it comes to its turn.
        let Some(download) = begun.ok().filter(Download::is_done) else { return Ok(false) };
        begins.send_replace(Some(download.begun().await));
        download.finish().await.map(|()| true).map_err(|error| error.to_string())
    }

    /// Waits for a turn at any of those who may have it, and then for a place. The one whose turn it is will be asked first.
    async fn admitted(
        &self,
        id: BlobId,
        sources: &mut Sources,
        look: &mut Look,
        joins: &mut mpsc::UnboundedReceiver<PeerId>,
    ) -> Result<Admitted<'_>, String> {
        let me = self.network.local_peer();
        let (mut waiting, mut named) = (FuturesUnordered::new(), Vec::new());
        let mut search: Option<Search<'_>> = None;
        // Where it was looked last.
        let mut looked = *look;
        let (mut patience, mut is_slow) = (std::pin::pin!(sleep(SLOW_AFTER)), false);
        let (first, turn) = loop {
            while let Some(peer) = sources.next.pop_front() {
                named.push(peer);
                let pause = sources.pause(peer);
                waiting.push(async move {
                    sleep(pause).await;
                    match self.reach_patiently(peer).await {
                        Ok(()) => (peer, Ok(self.turns.at(peer).await)),
                        Err(error) => (peer, Err(error)),
                    }
                });
            }
            if search.is_none() && (waiting.is_empty() || is_slow && *look == Look::InView) {
                looked = *look;
                search = self.next_search(look, id);
            }
            if waiting.is_empty() && search.is_none() {
                // Whom a joiner named just now has not been asked.
                let late: Vec<PeerId> = std::iter::from_fn(|| joins.try_recv().ok()).collect();
                if sources.add(me, late) == 0 {
                    return Err(sources.why_not());
                }
                continue;
            }
            tokio::select! {
                Some((peer, turn)) = waiting.next() => match turn {
                    Ok(turn) => {
                        // What it took to reach it does not count against what it brings.
                        sources.tries.insert(peer, 0);
                        break (peer, turn);
                    }
                    Err(error) => {
                        named.retain(|known| *known != peer);
                        let calls = sources.tries.get(&peer).map_or(1, |tries| tries + 1);
                        let again = calls < CALLS_OF_ONE_MAX && self.addresses.borrow().contains_key(&peer);
                        if sources.failed(peer, error.to_string(), again) {
                            sources.next.push_back(peer);
                        }
                    }
                },
                found = found(&mut search) => drop(sources.add(me, found)),
                Some(named) = joins.recv() => drop(sources.add(me, [named])),
                () = &mut patience, if !is_slow => is_slow = true,
            }
        };
        // What was not answered is asked again when it is needed. Nobody polls these any more, and they may have places and turns.
        if search.is_some() {
            *look = looked;
        }
        drop((waiting, search));
        let others = named.into_iter().filter(|peer| *peer != first);
        sources.next = std::iter::once(first).chain(others).collect();
        // The semaphore is never closed; an error here would only lift the bound.
        Ok(Admitted { first, turn: Some(turn), _place: self.places.acquire().await.ok() })
    }

    async fn download(&self, wanted: &Wanted) -> Result<Download, TransferError> {
        let until = Instant::now() + LAID_DOWN_MAX;
        loop {
            match Download::begin(&self.store, wanted.id, wanted.bytes, wanted.range.clone()).await {
                // A thread still has what was given up a moment ago.
                Err(TransferError::Store(BlobError::Arriving { .. })) if Instant::now() < until => {
                    sleep(RETRY_PAUSE).await;
                }
                begun => return begun,
            }
        }
    }

    /// The next who may be asked at once, with a turn; the one whose turn it is has that.
    fn next_with_turn(&self, sources: &mut Sources, admitted: &Admitted<'_>) -> Option<(PeerId, Option<Turn>)> {
        for at in 0..sources.next.len() {
            let peer = *sources.next.get(at)?;
            // Others are called with nothing held.
            if peer != admitted.first && !self.network.is_connected(peer) {
                continue;
            }
            let turn = if peer == admitted.first && admitted.turn.is_some() {
                None
            } else if let Some(turn) = self.turns.now(peer) {
                Some(turn)
            } else {
                continue;
            };
            sources.next.remove(at);
            return Some((peer, turn));
        }
        None
    }

    /// Brings what is asked of one source.
    async fn take_part(&self, download: &Download, peer: PeerId) -> Result<(), Ended> {
        let mut stream =
            self.open(peer).await.map_err(|error| Ended::Theirs { why: error.to_string(), may_again: true })?;
        let result = download.run(&mut stream).await;
        if let Err(TransferError::Lied { id, at }) = &result {
            tracing::warn!(?peer, blob = %id, at, "a peer sent bytes that are not those of the blob");
            // The driver outlives its fetches, but for the end.
            let _ = self.notices.send(Notice::Lied { peer, blob: *id });
        }
        result.map_err(|error| {
            if error.is_ours() {
                Ended::Ours(error)
            } else {
                Ended::Theirs { why: error.to_string(), may_again: error.is_resumable() }
            }
        })
    }

    /// Looks at the next place where a blob may be found; nothing where it was looked everywhere.
    fn next_search(&self, look: &mut Look, id: BlobId) -> Option<Search<'_>> {
        let (search, next) = match look {
            Look::InView => (Some(self.one_of_few(self.in_view(id)).boxed_local()), Look::AtProviders),
            Look::AtProviders => {
                (Some(self.one_of_few(providers::find(&self.network, id)).boxed_local()), Look::Nowhere)
            }
            Look::Nowhere => (None, Look::Nowhere),
        };
        *look = next;
        search
    }

    /// Who in the view has a blob.
    async fn in_view(&self, blob: BlobId) -> Vec<PeerId> {
        let (reply, found) = oneshot::channel();
        if self.notices.send(Notice::Sought { blob, reply }).is_err() {
            return Vec::new();
        }
        found.await.unwrap_or_default()
    }

    /// A search, when there are not too many; nothing is found where that takes too long.
    async fn one_of_few(&self, search: impl Future<Output = Vec<PeerId>>) -> Vec<PeerId> {
        let Ok(_place) = timeout(QUEUE_MAX, self.searches.acquire()).await else { return Vec::new() };
        search.await
    }

    /// A stream to a neighbour; a known peer that is none is dialled first.
    async fn open(&self, peer: PeerId) -> Result<BulkStream, BulkError> {
        self.reach(peer).await?;
        self.network.open_bulk(peer).await
    }

    /// The same for who holds nothing: one without known addresses may be being called, since it was found a moment ago.
    async fn reach_patiently(&self, peer: PeerId) -> Result<(), BulkError> {
        let reached = self.reach(peer).await;
        if reached.is_ok() || self.addresses.borrow().contains_key(&peer) {
            return reached;
        }
        if connects(&self.network, peer).await { Ok(()) } else { reached }
    }

    /// Waits until a known peer is a neighbour.
    async fn reach(&self, peer: PeerId) -> Result<(), BulkError> {
        if self.network.is_connected(peer) {
            return Ok(());
        }
        let addresses = self.addresses.borrow().get(&peer).map(|(_, addresses)| addresses.clone()).unwrap_or_default();
        if addresses.is_empty() {
            return Err(BulkError::NotConnected(peer));
        }
        if self.call(peer, addresses).await { Ok(()) } else { Err(BulkError::NotConnected(peer)) }
    }

    /// One call, however many blobs are wanted of a peer; whether it answers.
    fn call(&self, peer: PeerId, addresses: Vec<String>) -> Shared<LocalBoxFuture<'static, bool>> {
        let mut calls = self.calls.borrow_mut();
        calls.retain(|_, call| call.upgrade().is_some_and(|call| call.peek().is_none()));
        if let Some(call) = calls.get(&peer).and_then(WeakShared::upgrade) {
            return call;
        }
        let (network, calling) = (self.network.clone(), Rc::clone(&self.calling));
        let call = async move {
            let Ok(_one_of_few) = timeout(QUEUE_MAX, calling.acquire()).await else { return false };
            network.dial(Some(peer), addresses);
            connects(&network, peer).await
        };
        let call = call.boxed_local().shared();
        if let Some(weak) = call.downgrade() {
            calls.insert(peer, weak);
        }
        call
    }
}

/// Whether a peer that is being called becomes a neighbour.
async fn connects(network: &Network, peer: PeerId) -> bool {
    let connects = async {
        while !network.is_connected(peer) {
            sleep(CONNECT_POLL).await;
        }
    };
    timeout(CONNECT_TIMEOUT, connects).await.is_ok()
}

/// Why a source brings nothing more.
#[derive(Debug)]
enum Ended {
    /// No other source could help.
    Ours(TransferError),
    Theirs {
        why: String,
        may_again: bool,
    },
}
