//! Moving a blob over a stream: who asks says what and from where, who answers says how large before the first byte.
//!
//! ```text
//! asking                                         holding
//!   [u16 length][Request]          ─►
//!                                  ◄─   [u16 length][Answer: status, size of the whole blob]
//!                                  ◄─   bytes from the offset to the end
//! ```
//!
//! **Invariant:** neither side reads more than [`HEADER_BYTES_MAX`] before it knows what follows, and the asking side
//! takes exactly the announced bytes, never one more.
//! **Not here:** opening streams, trying other holders.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shoal_protocol::cbor;
use shoal_protocol::id::{BlobId, PeerId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{BlobError, BlobReader, BlobStore, BlobWriter, CHUNK_BYTES};

/// Version of this exchange.
const VERSION: u8 = 1;
/// Request or answer.
const HEADER_BYTES_MAX: usize = 1024;
/// A stream on which nothing moves for this long is given up. Tests wait for it.
const IDLE_MAX: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });
/// Slower than this over the whole transfer is given up, so that drops of bytes cannot hold a slot for ever.
const BYTES_PER_S_MIN: u64 = 16 * 1024;
/// Time any transfer has before its rate matters.
const GRACE: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "i")]
    id: BlobId,
    #[serde(rename = "o", default)]
    offset: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "s")]
    status: Status,
    #[serde(rename = "b", default)]
    bytes: u64,
}

/// What the holder says before the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Here,
    NotHere,
    Busy,
    Refused,
}

/// Why a blob did not come over, or was not sent.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The holder does not hold it.
    #[error("the peer does not hold blob {0}")]
    NotThere(BlobId),
    /// The holder serves as many as it will; worth another try.
    #[error("the peer is busy with other transfers")]
    Busy,
    /// The holder could not make sense of the request, or cannot read the blob.
    #[error("the peer refused to send blob {0}")]
    Refused(BlobId),
    /// The holder announced another size than the task did.
    #[error("the peer announced {announced} bytes where {expected} were expected")]
    UnexpectedSize {
        /// What the task says.
        expected: u64,
        /// What the holder says.
        announced: u64,
    },
    /// Not this protocol, or not this version of it.
    #[error("the peer does not speak this transfer protocol: {0}")]
    Protocol(String),
    /// Nothing moved for too long, or too little.
    #[error("the transfer stalled at {at} bytes")]
    Stalled {
        /// How far it came.
        at: u64,
    },
    /// The stream broke; what came is kept and the transfer can go on.
    #[error("the stream broke at {at} bytes: {source}")]
    Broken {
        /// How far it came.
        at: u64,
        /// What the transport said.
        source: std::io::Error,
    },
    /// The local store refused, or the bytes were wrong.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// The blocking work of this process was cut short.
    #[error("the daemon is stopping")]
    Stopping,
}

impl TransferError {
    /// Whether the same transfer may go on over a new stream.
    pub fn is_resumable(&self) -> bool {
        match self {
            Self::Busy | Self::Stalled { .. } | Self::Broken { .. } => true,
            Self::NotThere(_)
            | Self::Refused(_)
            | Self::UnexpectedSize { .. }
            | Self::Protocol(_)
            | Self::Store(_)
            | Self::Stopping => false,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotThere(_) | Self::Refused(_) => "name another peer that holds it, or store it again",
            Self::Busy => "try again in a moment",
            Self::UnexpectedSize { .. } => "correct the size in the task, or name another holder",
            Self::Protocol(_) => "bring both peers to the same release",
            Self::Stalled { .. } | Self::Broken { .. } => "check the link to the peer (`shoal peer ping`)",
            Self::Store(error) => error.hint(),
            Self::Stopping => "try again when it is back",
        }
    }
}

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
    Download::begin(store, id, bytes)?.run(stream).await
}

/// A blob on its way here; survives the stream it came over.
#[derive(Debug)]
pub struct Download {
    id: BlobId,
    bytes: u64,
    // Taken while a blocking thread writes; gone for good once the store has refused or the blob is complete.
    writer: Option<BlobWriter>,
}

impl Download {
    /// Takes the room for it.
    pub fn begin(store: &BlobStore, id: BlobId, bytes: u64) -> Result<Self, BlobError> {
        Ok(Self { id, bytes, writer: Some(store.writer(Some((id, bytes)))?) })
    }

    /// Gets all of it, or what is still missing after an error that [`TransferError::is_resumable`].
    pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Result<(), TransferError> {
        let missing = self.bytes.saturating_sub(self.at());
        let whole = timeout(time_for(missing), self.receive(stream)).await;
        whole.unwrap_or_else(|_| Err(TransferError::Stalled { at: self.at() }))
    }

    fn at(&self) -> u64 {
        self.writer.as_ref().map_or(0, BlobWriter::written)
    }

    async fn receive<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Result<(), TransferError> {
        let Some(writer) = &self.writer else { return Err(TransferError::Stopping) };
        let mut at = writer.written();
        write_header(stream, &Request { version: VERSION, id: self.id, offset: at }, at).await?;
        let answer: Answer = read_header(stream, at).await?;
        match answer.status {
            Status::Here => {}
            Status::NotHere => return Err(TransferError::NotThere(self.id)),
            Status::Busy => return Err(TransferError::Busy),
            Status::Refused => return Err(TransferError::Refused(self.id)),
        }
        if answer.bytes != self.bytes {
            return Err(TransferError::UnexpectedSize { expected: self.bytes, announced: answer.bytes });
        }
        let mut chunk = Vec::new();
        while at < self.bytes {
            let left = usize::try_from(self.bytes - at).unwrap_or(usize::MAX);
            chunk.resize(left.min(CHUNK_BYTES), 0);
            let mut filled = 0;
            let mut broken = None;
            while filled < chunk.len() {
                let position = at + filled as u64;
                match moved(stream.read(&mut chunk[filled..]), position).await {
                    Ok(0) => broken = Some(TransferError::Broken { at: position, source: unexpected_end() }),
                    Ok(count) => filled += count,
                    Err(error) => broken = Some(error),
                }
                if broken.is_some() {
                    break;
                }
            }
            // What came before the break is kept, so that the next stream begins there.
            chunk.truncate(filled);
            at += filled as u64;
            let Some(mut writer) = self.writer.take() else { return Err(TransferError::Stopping) };
            let written = spawn_blocking(move || writer.write(&chunk).map(|()| (writer, chunk))).await;
            let (writer, buffer) = written.map_err(|_| TransferError::Stopping)??;
            self.writer = Some(writer);
            chunk = buffer;
            if let Some(error) = broken {
                return Err(error);
            }
        }
        let Some(writer) = self.writer.take() else { return Err(TransferError::Stopping) };
        spawn_blocking(move || writer.finish()).await.map_err(|_| TransferError::Stopping)??;
        Ok(())
    }
}

/// Transfers served at a time.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// To one peer.
    pub per_peer_max: usize,
    /// In all; each takes a few buffers and a thread now and then.
    pub total_max: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { per_peer_max: 4, total_max: 32 }
    }
}

/// Answers requests for blobs of one store; clones share the limits.
#[derive(Debug, Clone)]
pub struct BlobServer {
    store: BlobStore,
    limits: ServeLimits,
    active: Arc<Mutex<BTreeMap<PeerId, usize>>>,
}

impl BlobServer {
    /// A server of everything in the store.
    pub fn new(store: BlobStore, limits: ServeLimits) -> Self {
        Self { store, limits, active: Arc::default() }
    }

    /// Answers the one request of a stream; returns the bytes sent.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        to: PeerId,
        stream: &mut S,
    ) -> Result<u64, TransferError> {
        let Some(_slot) = self.admit(to) else {
            answer(stream, Status::Busy, 0).await?;
            return Err(TransferError::Busy);
        };
        let request: Request = match read_header(stream, 0).await {
            Ok(request) => request,
            Err(error) => {
                answer(stream, Status::Refused, 0).await?;
                return Err(error);
            }
        };
        let store = self.store.clone();
        let opened = spawn_blocking(move || open_at(&store, &request)).await.map_err(|_| TransferError::Stopping)?;
        let (reader, offset) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let status = match &error {
                    TransferError::Store(BlobError::NotFound { .. } | BlobError::Corrupt { .. }) => Status::NotHere,
                    _ => Status::Refused,
                };
                answer(stream, status, 0).await?;
                return Err(error);
            }
        };
        let bytes = reader.size_bytes();
        let whole = timeout(time_for(bytes - offset), send(stream, reader, offset)).await;
        whole.unwrap_or(Err(TransferError::Stalled { at: offset }))
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

fn open_at(store: &BlobStore, request: &Request) -> Result<(BlobReader, u64), TransferError> {
    if request.version != VERSION {
        return Err(TransferError::Protocol(format!("version {} instead of {VERSION}", request.version)));
    }
    let mut reader = store.open_read(request.id)?;
    if request.offset > reader.size_bytes() {
        return Err(TransferError::Protocol(format!("offset {} is beyond the end", request.offset)));
    }
    let source = reader.seek(SeekFrom::Start(request.offset));
    source.map_err(|source| TransferError::Broken { at: request.offset, source })?;
    Ok((reader, request.offset))
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mut reader: BlobReader,
    mut at: u64,
) -> Result<u64, TransferError> {
    answer(stream, Status::Here, reader.size_bytes()).await?;
    let begin = at;
    let mut chunk = Vec::new();
    while at < reader.size_bytes() {
        let left = usize::try_from(reader.size_bytes() - at).unwrap_or(usize::MAX);
        chunk.resize(left.min(CHUNK_BYTES), 0);
        let read = spawn_blocking(move || reader.read_exact(&mut chunk).map(|()| (reader, chunk))).await;
        (reader, chunk) =
            read.map_err(|_| TransferError::Stopping)?.map_err(|source| TransferError::Broken { at, source })?;
        let mut sent = 0;
        while sent < chunk.len() {
            let count = moved(stream.write(&chunk[sent..]), at).await?;
            if count == 0 {
                return Err(TransferError::Broken { at, source: unexpected_end() });
            }
            sent += count;
            at += count as u64;
        }
    }
    moved(stream.flush(), at).await?;
    moved(stream.shutdown(), at).await?;
    Ok(at - begin)
}

async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, status: Status, bytes: u64) -> Result<(), TransferError> {
    write_header(stream, &Answer { version: VERSION, status, bytes }, 0).await?;
    if status != Status::Here {
        moved(stream.shutdown(), 0).await?;
    }
    Ok(())
}

async fn write_header<S: AsyncWrite + Unpin, T: Serialize>(
    stream: &mut S,
    header: &T,
    at: u64,
) -> Result<(), TransferError> {
    let body = cbor::encode(header);
    let Some(length) = u16::try_from(body.len()).ok().filter(|_| body.len() <= HEADER_BYTES_MAX) else {
        return Err(TransferError::Protocol(format!("a header of {} bytes", body.len())));
    };
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(body);
    moved(stream.write_all(&frame), at).await?;
    moved(stream.flush(), at).await
}

async fn read_header<S: AsyncRead + Unpin, T: serde::de::DeserializeOwned>(
    stream: &mut S,
    at: u64,
) -> Result<T, TransferError> {
    let length = usize::from(moved(stream.read_u16(), at).await?);
    if length > HEADER_BYTES_MAX {
        return Err(TransferError::Protocol(format!("a header of {length} bytes")));
    }
    let mut body = vec![0; length];
    moved(stream.read_exact(&mut body), at).await?;
    cbor::decode(&body).map_err(|error| TransferError::Protocol(error.to_string()))
}

/// One step of a transfer, which must not take for ever.
async fn moved<T>(step: impl Future<Output = std::io::Result<T>>, at: u64) -> Result<T, TransferError> {
    match timeout(IDLE_MAX, step).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(TransferError::Broken { at, source }),
        Err(_) => Err(TransferError::Stalled { at }),
    }
}

fn time_for(bytes: u64) -> Duration {
    GRACE + Duration::from_secs(bytes / BYTES_PER_S_MIN)
}

fn unexpected_end() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::UnexpectedEof)
}
