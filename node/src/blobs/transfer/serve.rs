//! The holding side: answers requests for blobs of one store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shoal_protocol::id::{BlobId, PeerId};
use shoal_protocol::residency::{Receiver, SignedManifest, may_receive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::super::slices::Slices;
use super::super::{BlobError, BlobStore};
use super::pace::Pace;
use super::wire::{self, Answer, Request, Status};
use super::{TransferError, moved, time_for, unexpected_end};

/// Transfers served at a time.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// To one peer.
    pub per_peer_max: usize,
    /// In all; each takes two slices and the tree of a blob, 1 MiB for the largest, and a thread now and then.
    pub total_max: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { per_peer_max: 4, total_max: 32 }
    }
}

/// Who asks for blobs.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Which peer.
    pub peer: PeerId,
    /// The labels of its certificate.
    pub certified: BTreeMap<String, String>,
}

/// Blobs and peers that are told apart between two calls of [`BlobServer::take_served`].
const SERVED_MAX: usize = 1_024;

/// Answers requests for blobs of one store; clones share the limits.
#[derive(Debug, Clone)]
pub struct BlobServer {
    store: BlobStore,
    limits: ServeLimits,
    pace: Pace,
    active: Arc<Mutex<BTreeMap<PeerId, usize>>>,
    sent: Arc<AtomicU64>,
    served: Arc<Mutex<BTreeMap<(PeerId, BlobId), u64>>>,
}

impl BlobServer {
    /// A server of everything in the store.
    pub fn new(store: BlobStore, limits: ServeLimits, pace: Pace) -> Self {
        Self { store, limits, pace, active: Arc::default(), sent: Arc::default(), served: Arc::default() }
    }

    /// The same server, whose streams keep to another pace.
    #[must_use]
    pub fn at(&self, pace: Pace) -> Self {
        Self { pace, ..self.clone() }
    }

    /// What of which blob was sent to whom since the last call.
    pub fn take_served(&self) -> BTreeMap<(PeerId, BlobId), u64> {
        core::mem::take(&mut *self.served.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note_served(&self, to: PeerId, blob: BlobId, bytes: u64) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let knows = served.len() < SERVED_MAX || served.contains_key(&(to, blob));
        let blob = if knows { blob } else { BlobId([0; 32]) };
        let count = served.entry((to, blob)).or_insert(0);
        *count = count.saturating_add(bytes);
    }

    /// Answers the requests of a stream until it ends; returns the bytes sent.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        to: &Asker,
        stream: &mut S,
    ) -> Result<u64, TransferError> {
        let Some(_slot) = self.admit(to.peer) else {
            refuse(stream, Status::Busy).await?;
            return Err(TransferError::Busy);
        };
        let mut sent = 0;
        let mut open: Option<Box<Slices>> = None;
        loop {
            let request: Request = match wire::read_next(stream, sent).await {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(error) => {
                    if matches!(error, TransferError::Protocol(_)) {
                        refuse(stream, Status::Refused).await?;
                    }
                    return Err(error);
                }
            };
            let (slices, manifests) = match self.open(to, request.clone(), open.take()).await {
                Ok(opened) => opened,
                Err(error) => {
                    refuse(stream, status_of(&error, &request)).await?;
                    return Err(error);
                }
            };
            wire::write(stream, &Answer::here(slices.shape().bytes(), manifests), sent).await?;
            let bytes = slices.shape().span(&request.groups(slices.shape()));
            let left = |bytes: u64| self.note_served(to.peer, request.id, bytes);
            let sending =
                timeout(time_for(bytes.end - bytes.start), send(stream, slices, &request, sent, (&self.pace, &left)));
            let (slices, now_sent) = sending.await.unwrap_or(Err(TransferError::Stalled { at: sent }))?;
            self.sent.fetch_add(now_sent - sent, Ordering::Relaxed);
            sent = now_sent;
            open = Some(slices);
        }
        moved(stream.shutdown(), sent).await?;
        Ok(sent)
    }

    /// The blob that is asked for, with what goes before it; the one of the request before may be it.
    async fn open(
        &self,
        to: &Asker,
        request: Request,
        before: Option<Box<Slices>>,
    ) -> Result<(Box<Slices>, Vec<SignedManifest>), TransferError> {
        request.check()?;
        let id = request.id;
        let receiver = Receiver { certified: &to.certified, understands: request.understands_labels };
        // For each stretch: a blob may be labelled, or its time be over, while it is being sent.
        let labels = self.store.labels(id);
        if self.store.stat(id).is_some() {
            may_receive(&labels, receiver).map_err(|denial| TransferError::Withheld { id, denial })?;
        }
        if let Some(before) = before.filter(|before| before.id == id && self.store.stat(id).is_some()) {
            return Ok((before, Vec::new()));
        }
        let store = self.store.clone();
        let slices = Box::new(blocking(move || store.open_slices(id)).await??);
        Ok((slices, self.store.signed_manifests(id)))
    }

    /// Bytes sent since the start, with their hashes, of stretches that were sent to their end.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Transfers being served.
    pub fn active(&self) -> usize {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    fn admit(&self, peer: PeerId) -> Option<Slot> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.values().sum::<usize>() >= self.limits.total_max {
            return None;
        }
        let count = active.entry(peer).or_insert(0);
        if *count >= self.limits.per_peer_max {
            return None;
        }
        *count += 1;
        Some(Slot { active: Arc::clone(&self.active), peer })
    }
}

struct Slot {
    active: Arc<Mutex<BTreeMap<PeerId, usize>>>,
    peer: PeerId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = active.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                active.remove(&self.peer);
            }
        }
    }
}

type Encoding = JoinHandle<(Result<Vec<u8>, BlobError>, Box<Slices>)>;

/// Sends what is asked for; the next slice is read while one leaves.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    slices: Box<Slices>,
    request: &Request,
    mut sent: u64,
    (pace, left): (&Pace, &(dyn Fn(u64) + Sync)),
) -> Result<(Box<Slices>, u64), TransferError> {
    let shape = slices.shape();
    let encode = |mut slices: Box<Slices>, slice| -> Encoding {
        spawn_blocking(move || {
            let encoded = slices.encode(&slice);
            (encoded, slices)
        })
    };
    let mut wanted = request.slices(shape);
    let Some(first) = wanted.next() else { return Ok((slices, sent)) };
    let mut under_way = encode(slices, first);
    loop {
        let (encoded, slices) = under_way.await.map_err(|_| TransferError::Stopping)?;
        let encoded = encoded?;
        let next = wanted.next();
        let is_last = next.is_none();
        let (idle, encoding) = match next {
            Some(next) => (None, Some(encode(slices, next))),
            None => (Some(slices), None),
        };
        for mut rest in encoded.chunks(pace.piece_bytes()) {
            pace.admit(rest.len()).await;
            while !rest.is_empty() {
                let count = moved(stream.write(rest), sent).await?;
                if count == 0 {
                    return Err(TransferError::Broken { at: sent, source: unexpected_end() });
                }
                rest = &rest[count..];
                sent += count as u64;
                left(count as u64);
            }
        }
        if is_last {
            moved(stream.flush(), sent).await?;
        }
        match (idle, encoding) {
            (Some(slices), _) => return Ok((slices, sent)),
            (None, Some(encoding)) => under_way = encoding,
            (None, None) => return Err(TransferError::Stopping),
        }
    }
}

async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, status: Status) -> Result<(), TransferError> {
    wire::write(stream, &Answer::new(status, 0), 0).await?;
    moved(stream.shutdown(), 0).await
}

fn status_of(error: &TransferError, request: &Request) -> Status {
    match error {
        TransferError::Withheld { .. } if request.understands_labels => Status::Withheld,
        TransferError::Store(BlobError::NotFound { .. } | BlobError::Corrupt { .. }) => Status::NotHere,
        _ => Status::Refused,
    }
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, TransferError> {
    spawn_blocking(work).await.map_err(|_| TransferError::Stopping)
}
