//! The asking side: a blob on its way here, from one source or several at once.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_protocol::config::INPUT_BYTES_MAX;
use shoal_protocol::id::BlobId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::super::partial::{Added, Partial};
use super::super::tree::{self, GROUP_BYTES, SLICE_GROUPS, Shape, slices};
use super::super::{BlobError, BlobStore, Stored};
use super::plan::{Plan, Source};
use super::serve::blocking;
use super::wire::{self, Answer, Request, Status};
use super::{IDLE_MAX, TransferError, moved, time_for, unexpected_end};

/// Requests that are under way on one stream: the next is there when the holder is through with one.
const ASKED_AHEAD: usize = 2;
/// What is asked for with the proof of the size: all of most blobs.
const FIRST_GROUPS: u64 = 4 * SLICE_GROUPS;

/// Brings a blob into the store over one stream; a blob that is here already needs no byte.
pub async fn fetch<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    id: BlobId,
    bytes: u64,
    store: &BlobStore,
) -> Result<(), TransferError> {
    if store.stat(id) == Some(bytes) {
        return Ok(());
    }
    let download = Download::begin(store, id, Some(bytes), None).await?;
    download.run(stream).await?;
    download.finish().await
}

/// A blob on its way here; survives the streams it comes over, and with what is on disk the daemon as well.
#[derive(Debug)]
pub struct Download {
    store: BlobStore,
    id: BlobId,
    bytes: Option<u64>,
    wanted: Option<Range<u64>>,
    /// What is here of it, once its size is known.
    begun: watch::Sender<Option<Arc<Partial>>>,
    plan: Mutex<Option<Plan>>,
    /// Held by the one who finds out the size.
    proving: tokio::sync::Mutex<()>,
}

impl Download {
    /// Takes up what is here of it. `bytes` is its size, where that is known; `wanted` are the bytes that are enough.
    pub async fn begin(
        store: &BlobStore,
        id: BlobId,
        bytes: Option<u64>,
        wanted: Option<Range<u64>>,
    ) -> Result<Self, TransferError> {
        let of = store.clone();
        let resumed = blocking(move || match bytes.or_else(|| of.part_of(id)) {
            Some(bytes) => Partial::resume(&of, id, bytes),
            None => Ok(None),
        });
        let resumed = resumed.await??;
        let download = Self {
            store: store.clone(),
            id,
            bytes,
            wanted,
            begun: watch::Sender::new(None),
            plan: Mutex::default(),
            proving: tokio::sync::Mutex::default(),
        };
        if let Some(partial) = resumed {
            download.has_begun(partial);
        }
        Ok(download)
    }

    fn has_begun(&self, partial: Arc<Partial>) -> Arc<Partial> {
        let shape = partial.shape();
        let wanted = self.wanted.as_ref().map_or(0..shape.groups(), |bytes| shape.groups_of(bytes));
        let plan = Plan::new(shape.groups(), partial.missing_of(wanted));
        *self.plan() = Some(plan);
        self.begun.send_replace(Some(Arc::clone(&partial)));
        partial
    }

    /// What is here of it, once its size is known.
    fn partial(&self) -> Option<Arc<Partial>> {
        self.begun.borrow().clone()
    }

    /// Waits until its size is known; what comes from then on can be read before it is all there.
    pub async fn begun(&self) -> Arriving {
        loop {
            if let Some(partial) = self.partial() {
                return Arriving(partial);
            }
            // The sender is ours: it cannot be gone.
            let _ = self.begun.subscribe().wait_for(Option::is_some).await;
        }
    }

    /// Of which blob.
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// Whether everything that is wanted of it is here.
    pub fn is_done(&self) -> bool {
        self.with_plan(|plan| plan.is_done()).unwrap_or(false)
    }

    /// Takes its part over this stream until nothing is left to do. Others may do the same at the same time.
    pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> Result<(), TransferError> {
        let mut part = Part { download: self, source: None, asked: VecDeque::new(), at: 0 };
        part.run(stream).await
    }

    /// Makes it a blob like any other, if all of it was wanted and is here.
    pub async fn finish(&self) -> Result<(), TransferError> {
        let Some(partial) = self.partial() else { return Err(TransferError::NotThere(self.id)) };
        if partial.missing() > 0 && self.wanted.is_some() && self.is_done() {
            return Ok(());
        }
        blocking(move || partial.finish()).await??;
        Ok(())
    }

    fn plan(&self) -> MutexGuard<'_, Option<Plan>> {
        // Each change is complete before anything that could panic.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_plan<T>(&self, act: impl FnOnce(&mut Plan) -> T) -> Option<T> {
        self.plan().as_mut().map(act)
    }
}

/// A blob that is being fetched, for those who read it as it comes. Clones share it.
#[derive(Debug, Clone)]
pub struct Arriving(Arc<Partial>);

impl Arriving {
    /// Size of the whole blob.
    pub fn size_bytes(&self) -> u64 {
        self.0.shape().bytes()
    }

    /// Told whenever something has come.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.watch()
    }

    /// How much can be read from `at` on without waiting: verified bytes, at most a slice.
    pub fn readable(&self, at: u64) -> u64 {
        let shape = self.0.shape();
        let first = at / GROUP_BYTES;
        let last = (first..(first + SLICE_GROUPS).min(shape.groups())).take_while(|group| self.0.has(*group)).last();
        last.map_or(0, |last| shape.span(&(first..last + 1)).end.saturating_sub(at))
    }

    /// Whether these bytes are all here.
    pub fn has(&self, bytes: &Range<u64>) -> bool {
        self.0.missing_of(self.0.shape().groups_of(bytes)).is_empty()
    }

    /// Reads what [`Self::readable`] says there is.
    pub fn read(&self, at: u64, bytes: usize) -> std::io::Result<Vec<u8>> {
        let mut piece = vec![0; bytes];
        self.0.read_at(at, &mut piece)?;
        Ok(piece)
    }
}

/// What one source does.
#[derive(Debug)]
struct Part<'a> {
    download: &'a Download,
    source: Option<Source>,
    /// What was asked for and has not come.
    asked: VecDeque<Range<u64>>,
    /// Bytes that came over this stream.
    at: u64,
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if let Some(source) = self.source {
            self.download.with_plan(|plan| plan.leave(source));
        }
    }
}

impl Part<'_> {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Result<(), TransferError> {
        let proving = self.download.proving.lock().await;
        let (partial, mut is_answered) = match self.download.partial() {
            Some(partial) => (partial, false),
            None => {
                let proved = timeout(IDLE_MAX, self.prove(stream)).await;
                (proved.unwrap_or(Err(TransferError::Stalled { at: self.at }))?, true)
            }
        };
        drop(proving);
        if self.source.is_none() {
            self.source = self.download.with_plan(Plan::join);
        }
        loop {
            self.ask_ahead(stream).await?;
            let Some(stretch) = self.asked.pop_front() else { break };
            if !std::mem::take(&mut is_answered) {
                let answer = self.answer(stream).await?;
                if answer.bytes != partial.shape().bytes() {
                    let expected = partial.shape().bytes();
                    return Err(TransferError::UnexpectedSize { expected, announced: answer.bytes });
                }
                self.believe(answer).await?;
            }
            let span = partial.shape().span(&stretch);
            let receiving = timeout(time_for(span.end - span.start), self.receive(stream, &partial, stretch));
            receiving.await.unwrap_or(Err(TransferError::Stalled { at: self.at }))?;
        }
        // The holder may have ended it as well.
        let _ = stream.shutdown().await;
        Ok(())
    }

    /// Finds out the size, and believes it when the tree proves it; the first groups come with it.
    async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<Arc<Partial>, TransferError> {
        let (id, expected) = (self.download.id, self.download.bytes);
        let first = match (&self.download.wanted, expected) {
            (None, _) => 0..FIRST_GROUPS,
            (Some(_), None) => 0..0,
            (Some(bytes), Some(size)) => {
                let groups = Shape::of(size).groups_of(bytes);
                groups.start..groups.end.min(groups.start + FIRST_GROUPS)
            }
        };
        let request = Request::new(id, &first, true);
        wire::write(stream, &request, 0).await?;
        let answer = self.answer(stream).await?;
        let announced = answer.bytes;
        if let Some(expected) = expected.filter(|expected| *expected != announced) {
            return Err(TransferError::UnexpectedSize { expected, announced });
        }
        if announced > INPUT_BYTES_MAX {
            return Err(TransferError::TooLarge { announced });
        }
        let shape = Shape::of(announced);
        let mut proof = vec![0; shape.encoded_bytes(&shape.last())];
        self.fill(stream, &mut proof).await.1?;
        let store = self.download.store.clone();
        let proof = blocking(move || tree::is_right(id, shape, &shape.last(), &proof).then_some(proof)).await?;
        let Some(proof) = proof else {
            return Err(TransferError::Lied { id, at: shape.span(&shape.last()).start });
        };
        self.believe(answer).await?;
        let partial = blocking(move || Partial::create(&store, id, shape, &proof)).await??;
        let partial = self.download.has_begun(partial);
        self.source = self.download.with_plan(Plan::join);
        let coming = request.groups(shape);
        if let Some(source) = self.source {
            self.download.with_plan(|plan| plan.asked(source, coming.clone()));
        }
        self.asked.push_back(coming);
        Ok(partial)
    }

    async fn ask_ahead<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Result<(), TransferError> {
        let Some(source) = self.source else { return Ok(()) };
        while self.asked.len() < ASKED_AHEAD {
            let Some(stretch) = self.download.with_plan(|plan| plan.next(source)).flatten() else { break };
            wire::write(stream, &Request::new(self.download.id, &stretch, false), self.at).await?;
            self.asked.push_back(stretch);
        }
        Ok(())
    }

    async fn answer<S: AsyncRead + Unpin>(&self, stream: &mut S) -> Result<Answer, TransferError> {
        let answer: Answer = wire::read(stream, self.at).await?;
        match answer.status {
            Status::Here => Ok(answer),
            Status::NotHere => Err(TransferError::NotThere(self.download.id)),
            Status::Busy => Err(TransferError::Busy),
            Status::Refused => Err(TransferError::Refused(self.download.id)),
            Status::Withheld => Err(TransferError::NotForUs(self.download.id)),
        }
    }

    /// What is said of the blob is on disk here before a byte of it is; by one who has shown that it has it, and of its true size.
    async fn believe(&self, answer: Answer) -> Result<(), TransferError> {
        let signed = answer.manifests;
        if !signed.is_empty() {
            let (store, stored) = (self.download.store.clone(), Stored { id: self.download.id, bytes: answer.bytes });
            let believed = blocking(move || store.believe(stored, signed)).await?;
            believed.map_err(|error| match error {
                // Another holder may say it right.
                BlobError::Manifest { why, .. } => TransferError::Protocol(why),
                other => TransferError::Store(other),
            })?;
        }
        Ok(())
    }

    /// Takes a stretch, slice by slice; one is verified and written while the next comes.
    async fn receive<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        partial: &Arc<Partial>,
        stretch: Range<u64>,
    ) -> Result<(), TransferError> {
        let mut adding: Option<Adding> = None;
        let mut spare = Vec::new();
        for slice in slices(stretch) {
            let mut encoded = std::mem::take(&mut spare);
            encoded.resize(partial.shape().encoded_bytes(&slice), 0);
            let (filled, whole) = self.fill(stream, &mut encoded).await;
            if let Some(adding) = adding.take() {
                spare = self.added(partial, adding).await?;
            }
            encoded.truncate(filled);
            // Of a slice that broke off, what came is kept.
            adding = Some(Adding::start(partial, slice, encoded));
            if whole.is_err() {
                break_off(self.added(partial, adding.take()).await, whole)?;
            }
        }
        self.added(partial, adding).await?;
        Ok(())
    }

    /// Waits until a slice is verified and written.
    async fn added(&self, partial: &Arc<Partial>, adding: impl Into<Option<Adding>>) -> Result<Vec<u8>, TransferError> {
        let Some(Adding { slice, work }) = adding.into() else { return Ok(Vec::new()) };
        let (added, buffer) = work.await.map_err(|_| TransferError::Stopping)?;
        let Added { groups, is_wrong } = added?;
        let here = slice.start..slice.start + groups;
        let at = partial.shape().span(&here).end;
        self.download.with_plan(|plan| plan.arrived(here));
        if is_wrong { Err(TransferError::Lied { id: self.download.id, at }) } else { Ok(buffer) }
    }

    /// Reads as much as is wanted, or until the stream breaks: how much came, and whether that is all.
    async fn fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        into: &mut [u8],
    ) -> (usize, Result<(), TransferError>) {
        let mut filled = 0;
        while filled < into.len() {
            match moved(stream.read(&mut into[filled..]), self.at).await {
                Ok(0) => return (filled, Err(TransferError::Broken { at: self.at, source: unexpected_end() })),
                Ok(count) => {
                    filled += count;
                    self.at += count as u64;
                }
                Err(error) => return (filled, Err(error)),
            }
        }
        (filled, Ok(()))
    }
}

/// A slice that is being verified and written.
#[derive(Debug)]
struct Adding {
    slice: Range<u64>,
    work: JoinHandle<(Result<Added, BlobError>, Vec<u8>)>,
}

impl Adding {
    fn start(partial: &Arc<Partial>, slice: Range<u64>, encoded: Vec<u8>) -> Self {
        let (partial, of) = (Arc::clone(partial), slice.clone());
        let work = spawn_blocking(move || {
            let added = partial.add(&of, &encoded);
            (added, encoded)
        });
        Self { slice, work }
    }
}

/// A lie counts for more than that the stream broke after it.
fn break_off(added: Result<Vec<u8>, TransferError>, broken: Result<(), TransferError>) -> Result<(), TransferError> {
    added?;
    broken
}
