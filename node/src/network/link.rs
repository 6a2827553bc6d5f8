//! The life of one control stream.
//!
//! ```text
//! opened ─► greeting ─► open: frames both ways ─► draining: the rest is written, the end is read ─► closed
//!              └───────────────────────────────────────────────────────────────────────────────────► closed
//! ```
//!
//! The stream is read and written by this task alone, outside of libp2p's own event loop: two task switches less
//! for each frame.
//!
//! Heartbeats come beside it, as datagrams.
//!
//! **Invariant:** no frame is delivered before `Connected` or after `Disconnected` of its peer.
//! **Not here:** which of two connections is kept (`links.rs`), and who may have one (`quic/`).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quinn::{ConnectionError, RecvStream, SendStream};
use shoal_protocol::PeerId;
use shoal_protocol::config::FRAME_BYTES_MAX;
use shoal_protocol::message::DecodeError;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::PollSender;

use super::frame::{FrameReader, FrameTooLong};
use super::greeting::{self, Run};
use super::kinds::Kind;
use super::limits::{BULK_FINISH_MAX, DRAIN_MAX, GREETING_BYTES_MAX, GREETING_TIMEOUT, LINGER, RETIRE_AFTER};
use super::links::{Arrival, Link, LinkId, Path};
use super::long;
use super::outbox::{Taken, frame_length};
use super::quic::{Proven, QuicError};
use super::{BulkStream, NetworkEvent, Shared};

/// A connection with a member that has just come up.
pub(super) struct Opened {
    pub(super) id: LinkId,
    pub(super) connection: quinn::Connection,
    pub(super) path: Path,
    /// Checked in the handshake.
    pub(super) proven: Proven,
    /// The address we dialled, when it was us.
    pub(super) dialled: Option<String>,
    /// Streams that the member opens for bulk.
    pub(super) bulk: mpsc::Receiver<(SendStream, RecvStream)>,
}

/// How a link ended.
#[derive(Debug)]
pub(super) enum End {
    /// The connection is one too many; nothing was said on it.
    Redundant,
    /// There is no place for the peer, or it does not speak as it should.
    Refused { reason: String, garbage: bool },
    /// The other side closed before both had greeted.
    ClosedEarly { reason: String },
    /// It was open, and is over.
    Closed,
    /// It was open, and the peer sent what no honest peer sends.
    Garbage { reason: String },
}

/// What comes beside the control stream: each is looked at when something came for it, not with every frame.
type Beside<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>;

/// Runs a link to its end, and closes the connection.
pub(super) async fn run(opened: Opened, shared: Arc<Shared>) -> End {
    let connection = opened.connection.clone();
    let end = live(opened, shared).await;
    // What a member is refused for, it may know: it is no stranger.
    let reason = match &end {
        End::Refused { reason, .. } | End::Garbage { reason } => reason.as_str(),
        End::Redundant | End::ClosedEarly { .. } | End::Closed => "",
    };
    connection.close(0_u32.into(), reason.as_bytes());
    end
}

async fn live(opened: Opened, shared: Arc<Shared>) -> End {
    let Opened { id, connection, path, proven, dialled, mut bulk } = opened;
    let peer = proven.certificate.peer;
    if dialled.is_some() && shared.links().is_fresh(peer, path) {
        return End::Redundant;
    }
    let greeting = greet(&connection, &shared, dialled.is_some());
    let (mut wire, run) = match timeout(GREETING_TIMEOUT, greeting).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(end)) => return end,
        Err(_) => {
            let reason = format!("it did not greet within {} s", GREETING_TIMEOUT.as_secs());
            return End::Refused { reason, garbage: false };
        }
    };
    let link = Arc::new(Link::new(id, connection, path));
    if dialled.is_none() && link.outbox.push(&shared.greeting).is_err() {
        return End::Closed;
    }
    if let Err(end) = arrive(&shared, proven, &link, run, dialled).await {
        return end;
    }
    let mut long = long::Incoming::new(peer, Arc::clone(&link), Arc::clone(&shared));
    let over = {
        let mut beside = Beside::new();
        beside.push(Box::pin(long.run()));
        beside.push(Box::pin(take_bulk(&mut bulk, &link, peer, &shared)));
        beside.push(Box::pin(take_datagrams(&link, peer, &shared)));
        tokio::select! {
            biased;
            over = wire.exchange(&link, peer) => over,
            Some(()) = beside.next() => Over::Broken,
        }
    };
    if matches!(over, Over::TheyClose) {
        long.finish().await;
    }
    let we_close = matches!(over, Over::WeClose);
    depart(&shared, peer, &link).await;
    // What the other side had sent beside the control stream before it knew is still taken: a connection that only makes
    // room for another loses nothing.
    let end = tokio::select! {
        end = finish(&mut wire, &link, peer, over) => end,
        () = long.run() => End::Closed,
        () = take_bulk(&mut bulk, &link, peer, &shared) => End::Closed,
    };
    if we_close && !link.is_muted() {
        // It has come, but may not have been read: who sent it knows only that.
        long.finish().await;
    }
    end
}

/// Delivers heartbeats, which are of no use later: those for which there is no room are dropped.
async fn take_datagrams(link: &Link, peer: PeerId, shared: &Shared) {
    while let Ok(body) = link.connection.read_datagram().await {
        link.has_heard();
        if link.is_muted() {
            continue;
        }
        match shared.events.try_send(NetworkEvent::Frame { from: peer, body: body.into() }) {
            Ok(()) => shared.counters.datagrams_in.one(),
            Err(TrySendError::Full(_)) => shared.counters.datagrams_dropped.one(),
            Err(TrySendError::Closed(_)) => break,
        }
    }
    // It ends with the connection, of which the control stream hears as well.
    std::future::pending().await
}

/// Hands on the bulk streams that the peer opens.
async fn take_bulk(bulk: &mut mpsc::Receiver<(SendStream, RecvStream)>, link: &Link, peer: PeerId, shared: &Shared) {
    while let Some(stream) = bulk.recv().await {
        let Some(slot) = link.slots.try_bulk_in().filter(|_| !link.is_muted()) else {
            shared.counters.streams_refused.one();
            continue;
        };
        shared.counters.bulk_in.one();
        let stream = BulkStream::new(peer, stream, slot);
        if shared.events.send(NetworkEvent::Bulk { from: peer, stream }).await.is_err() {
            break;
        }
    }
    // It ends with the connection, of which the control stream hears as well.
    std::future::pending().await
}

/// Each side opens a stream and says which run it is; the one that was dialled second, so that it can still say no.
async fn greet(connection: &quinn::Connection, shared: &Arc<Shared>, dialled: bool) -> Result<(Wire, Run), End> {
    if dialled {
        let send = Kind::Control.open(connection).await.map_err(|error| early(&error, connection))?;
        let mut writing = Writing::new(send);
        writing.write_frame(&shared.greeting).await.map_err(|error| early(&error, connection))?;
        let (reading, run) = hear_greeting(connection).await?;
        Ok((Wire { writing, reading, shared: Arc::clone(shared), waiting: None }, run))
    } else {
        let (reading, run) = hear_greeting(connection).await?;
        let send = Kind::Control.open(connection).await.map_err(|error| early(&error, connection))?;
        Ok((Wire { writing: Writing::new(send), reading, shared: Arc::clone(shared), waiting: None }, run))
    }
}

async fn hear_greeting(connection: &quinn::Connection) -> Result<(Reading, Run), End> {
    let noise = |reason: String| End::Refused { reason, garbage: true };
    let mut receive = connection.accept_uni().await.map_err(|error| closed_early(&error))?;
    if Kind::of(&mut receive).await.map_err(|error| early(&error, connection))? != Some(Kind::Control) {
        return Err(noise("its first stream is no control stream".into()));
    }
    let mut reading = Reading { receive, frames: FrameReader::new() };
    let body = reading.read_frame(GREETING_BYTES_MAX).await.map_err(|error| match error {
        ReadError::TooLong(error) => noise(error.to_string()),
        ReadError::Io(error) => early(&error, connection),
    })?;
    let run = greeting::read(&body).map_err(|error: DecodeError| End::Refused {
        garbage: greeting::is_noise(&error),
        reason: format!("its first frame is not a greeting: {error}"),
    })?;
    Ok((reading, run))
}

/// A stream has failed: mostly because the connection has, which knows better why.
fn early(error: &io::Error, connection: &quinn::Connection) -> End {
    match connection.close_reason() {
        Some(reason) => closed_early(&reason),
        None => End::ClosedEarly { reason: error.to_string() },
    }
}

fn closed_early(error: &ConnectionError) -> End {
    let reason = match error {
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => "it closed the connection".into(),
        ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
        error => QuicError::from(error.clone()).to_string(),
    };
    End::ClosedEarly { reason }
}

async fn arrive(
    shared: &Arc<Shared>,
    proven: Proven,
    link: &Arc<Link>,
    run: Run,
    dialled: Option<String>,
) -> Result<(), End> {
    let Proven { certificate, issuer } = proven;
    let peer = certificate.peer;
    // Room for both events first, so that the change and its news are one step; for both at once, so that those who arrive together
    // do not wait for each other's second.
    let Ok(mut rooms) = shared.events.reserve_many(2).await else { return Err(End::Closed) };
    let mut tell = |event| {
        // Both are there: no more is told below.
        if let Some(room) = rooms.next() {
            room.send(event);
        }
    };
    let mut links = shared.links();
    let arrival = links.arrive(peer, run, Arc::clone(link));
    if arrival == Arrival::Full {
        return Err(End::Refused { reason: "this peer has as many neighbours as it may have".into(), garbage: false });
    }
    shared.counters.admitted.one();
    let connected = NetworkEvent::Connected { member: certificate.member(), certificate, issuer, address: dialled };
    match arrival {
        Arrival::Connected => tell(connected),
        Arrival::Reconnected => {
            tell(NetworkEvent::Disconnected { peer });
            tell(connected);
        }
        Arrival::Duplicate { retire: Some(older) } => retire_later(shared, peer, older),
        Arrival::Duplicate { retire: None } | Arrival::Full => {}
    }
    Ok(())
}

fn retire_later(shared: &Arc<Shared>, peer: PeerId, older: LinkId) {
    shared.counters.duplicates.one();
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        sleep(RETIRE_AFTER).await;
        let Some(shared) = shared.upgrade() else { return };
        let links = shared.links();
        let others = links.of(peer).iter().any(|link| link.id != older && link.outbox.is_open());
        if let Some(link) = links.of(peer).iter().find(|link| link.id == older).filter(|_| others) {
            link.outbox.close();
        }
    });
}

async fn depart(shared: &Shared, peer: PeerId, link: &Link) {
    let permit = shared.events.reserve().await;
    // The change and its news are one step here as well: who comes meanwhile is told after it.
    let mut links = shared.links();
    let was_last = links.depart(peer, link.id);
    // Closed after it has departed: whoever could look it up could also send on it.
    link.outbox.close();
    if was_last {
        link.mute();
        if let Ok(permit) = permit {
            permit.send(NetworkEvent::Disconnected { peer });
        }
    }
}

/// Delivers the rest, both ways, as far as the reason for the end allows it.
async fn finish(wire: &mut Wire, link: &Link, peer: PeerId, over: Over) -> End {
    match over {
        Over::Cut | Over::Broken => return End::Closed,
        Over::TooLong(error) => return End::Garbage { reason: error.to_string() },
        Over::TheyClose => {
            let _ = timeout(DRAIN_MAX, write_rest(wire, link)).await;
            // Closing now could overtake what was just written: that is left to the side that began.
            let patience = async {
                sleep(LINGER).await;
                let _ = timeout(BULK_FINISH_MAX, link.slots.bulk_idle()).await;
            };
            tokio::select! { _ = link.connection.closed() => {}, () = patience => {} }
        }
        Over::WeClose => {
            let _ = timeout(DRAIN_MAX, write_rest(wire, link)).await;
            let _ = wire.read_rest(link, peer, DRAIN_MAX).await;
            if !link.is_muted() {
                let idle = timeout(BULK_FINISH_MAX, link.slots.bulk_idle());
                tokio::select! { _ = link.connection.closed() => {}, _ = idle => {} }
            }
        }
    }
    End::Closed
}

/// Everything that is still to be said; the end of the control stream is the end of it to the other side.
async fn write_rest(wire: &mut Wire, link: &Link) -> io::Result<()> {
    wire.write_frames(link).await;
    link.slots.long_sent().await;
    wire.write_end().await
}

/// Why the exchange of frames is over.
enum Over {
    /// This side wants to close.
    WeClose,
    /// The other side has finished its stream.
    TheyClose,
    /// The queue to it was full, or another run took its place.
    Cut,
    /// The transport has failed.
    Broken,
    TooLong(FrameTooLong),
}

enum ReadError {
    TooLong(FrameTooLong),
    Io(io::Error),
}

/// What this side says, with what is half written.
struct Writing {
    send: SendStream,
    batch: Vec<u8>,
    written: usize,
}

impl Writing {
    fn new(send: SendStream) -> Self {
        Self { send, batch: Vec::new(), written: 0 }
    }

    async fn write_frame(&mut self, body: &[u8]) -> io::Result<()> {
        let length = frame_length(body).ok_or(io::ErrorKind::InvalidInput)?;
        self.batch.extend_from_slice(&length.to_be_bytes());
        self.batch.extend_from_slice(body);
        poll_fn(|context| self.poll_write_batch(context)).await
    }

    fn poll_write_batch(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.batch.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(AsyncWrite::poll_write(Pin::new(&mut self.send), context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        self.batch.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// What the other side says, with what is half read.
struct Reading {
    receive: RecvStream,
    frames: FrameReader,
}

impl Reading {
    async fn read_frame(&mut self, limit: usize) -> Result<Vec<u8>, ReadError> {
        poll_fn(|context| {
            loop {
                match self.frames.next(limit) {
                    Ok(Some(body)) => return Poll::Ready(Ok(body)),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(ReadError::TooLong(error))),
                }
                match ready!(self.frames.poll_fill(&mut self.receive, context)) {
                    Ok(0) => return Poll::Ready(Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()))),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(ReadError::Io(error))),
                }
            }
        })
        .await
    }
}

/// Both directions of the control stream.
struct Wire {
    writing: Writing,
    reading: Reading,
    shared: Arc<Shared>,
    /// Set while an event waits for room in the driver's queue.
    waiting: Option<(PollSender<NetworkEvent>, NetworkEvent)>,
}

impl Wire {
    /// Frames both ways until there is a reason to stop.
    async fn exchange(&mut self, link: &Link, peer: PeerId) -> Over {
        poll_fn(|context| {
            if let Poll::Ready(over) = self.poll_write(link, context) {
                return Poll::Ready(over);
            }
            // A peer that does not read must not keep this side from leaving it.
            match link.outbox.phase(context) {
                Taken::Closed => return Poll::Ready(Over::WeClose),
                Taken::Cut => return Poll::Ready(Over::Cut),
                Taken::Nothing | Taken::Frames(_) => {}
            }
            self.poll_read(link, peer, context)
        })
        .await
    }

    /// Writes what is still queued.
    async fn write_frames(&mut self, link: &Link) {
        poll_fn(|context| match ready!(self.poll_write(link, context)) {
            Over::WeClose => Poll::Ready(()),
            Over::TheyClose | Over::Cut | Over::Broken | Over::TooLong(_) => Poll::Ready(()),
        })
        .await;
    }

    /// Ends the stream to the other side, and waits until it has everything.
    async fn write_end(&mut self) -> io::Result<()> {
        // It may have ended already, with the connection.
        let _ = self.writing.send.finish();
        self.writing.send.stopped().await.map_err(io::Error::other)?;
        Ok(())
    }

    /// Reads to the end of the stream, or until nothing has come for `patience`.
    async fn read_rest(&mut self, link: &Link, peer: PeerId, patience: Duration) -> Over {
        let deadline = sleep_until(Instant::now() + patience);
        tokio::select! {
            over = poll_fn(|context| self.poll_read(link, peer, context)) => over,
            () = deadline => Over::Broken,
        }
    }

    /// Ready only when writing is over.
    fn poll_write(&mut self, link: &Link, context: &mut Context<'_>) -> Poll<Over> {
        loop {
            if ready!(self.writing.poll_write_batch(context)).is_err() {
                return Poll::Ready(Over::Broken);
            }
            match link.outbox.take(&mut self.writing.batch, context) {
                Taken::Frames(frames) => {
                    self.shared.counters.frames_out.add(frames);
                    self.shared.counters.frame_bytes_out.add(self.writing.batch.len());
                }
                Taken::Nothing => return Poll::Pending,
                Taken::Closed => return Poll::Ready(Over::WeClose),
                Taken::Cut => return Poll::Ready(Over::Cut),
            }
        }
    }

    /// Ready only when reading is over.
    fn poll_read(&mut self, link: &Link, peer: PeerId, context: &mut Context<'_>) -> Poll<Over> {
        loop {
            if ready!(self.poll_deliver_waiting(link, context)).is_err() {
                return Poll::Ready(Over::Broken);
            }
            match self.reading.frames.next(FRAME_BYTES_MAX) {
                Ok(Some(body)) => {
                    self.deliver(link, peer, body);
                    continue;
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Over::TooLong(error)),
            }
            match ready!(self.reading.frames.poll_fill(&mut self.reading.receive, context)) {
                Ok(0) if self.reading.frames.has_partial_frame() => return Poll::Ready(Over::Broken),
                Ok(0) => return Poll::Ready(Over::TheyClose),
                Ok(_) => link.has_heard(),
                Err(_) => return Poll::Ready(Over::Broken),
            }
        }
    }

    fn deliver(&mut self, link: &Link, peer: PeerId, body: Vec<u8>) {
        if link.is_muted() {
            return;
        }
        self.shared.counters.frames_in.one();
        self.shared.counters.frame_bytes_in.add(body.len() + 4);
        match self.shared.events.try_send(NetworkEvent::Frame { from: peer, body }) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(event)) => {
                self.waiting = Some((PollSender::new(self.shared.events.clone()), event));
            }
        }
    }

    /// The driver is behind: the peer waits, by QUIC's flow control, until it has caught up.
    fn poll_deliver_waiting(&mut self, link: &Link, context: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let Some((sender, _)) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        ready!(sender.poll_reserve(context)).map_err(drop)?;
        // It may have been muted while it waited.
        if let Some((mut sender, event)) = self.waiting.take().filter(|_| !link.is_muted()) {
            sender.send_item(event).map_err(drop)?;
        }
        Poll::Ready(Ok(()))
    }
}
