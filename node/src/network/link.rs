//! The life of one control stream.
//!
//! ```text
//! opened ─► admission ─► open: frames both ways ─► draining: the rest is written, the end is read ─► closed
//!              └────────────────────────────────────────────────────────────────────────────────────► closed
//! ```
//!
//! The stream is read and written by this task alone, outside of libp2p's own event loop: two task switches less
//! for each frame.
//!
//! **Invariant:** no frame is delivered before `Connected` or after `Disconnected` of its peer.
//! **Not here:** which of two connections is kept (`links.rs`); the verdict (`admission.rs`).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::AsyncWrite;
use libp2p::swarm::ConnectionId;
use shoal_protocol::PeerId;
use shoal_protocol::config::FRAME_BYTES_MAX;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::PollSender;

use super::admission::{Admitted, Verdict};
use super::frame::{FrameReader, FrameTooLong};
use super::gate::Gate;
use super::limits::{BULK_FINISH_MAX, DRAIN_MAX, HELLO_BYTES_MAX, LINGER, RETIRE_AFTER};
use super::links::{Arrival, Link};
use super::outbox::{Taken, frame_length};
use super::{NetworkEvent, Shared};

/// A control stream that has just been opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: ConnectionId,
    /// Whom the transport authenticated.
    pub(super) peer: PeerId,
    /// The address we dialled, when it was us.
    pub(super) dialled: Option<String>,
    pub(super) stream: libp2p::Stream,
    pub(super) gate: Arc<Gate>,
}

/// How a link ended.
#[derive(Debug)]
pub(super) enum End {
    /// The connection is one too many; nothing was said on it.
    Redundant,
    /// We do not admit the peer.
    Refused { reason: String, garbage: bool },
    /// The other side closed before it was admitted, or before it admitted us.
    ClosedEarly { reason: String },
    /// It was admitted, and is over.
    Closed,
    /// It was admitted, and sent what no honest peer sends.
    Garbage { reason: String },
}

/// Runs a link to its end; the connection is then to be closed.
pub(super) async fn run(opened: Opened, shared: Arc<Shared>) -> End {
    let Opened { connection, peer, dialled, stream, gate } = opened;
    let mut wire = Wire::new(stream, Arc::clone(&shared));
    let admitted = match admit(&mut wire, &shared, peer, dialled.is_some()).await {
        Ok(admitted) => admitted,
        Err(end) => return end,
    };
    let link = Arc::new(Link::new(connection, gate));
    if dialled.is_none() && link.outbox.push(shared.admission.opening()).is_err() {
        return End::ClosedEarly { reason: "this peer's own certificate does not fit a frame".into() };
    }
    if let Err(end) = arrive(&shared, peer, &link, admitted, dialled).await {
        return end;
    }
    let over = wire.exchange(&link, peer).await;
    depart(&shared, peer, &link).await;
    finish(&mut wire, &link, peer, over).await
}

async fn admit(wire: &mut Wire, shared: &Shared, peer: PeerId, dialled: bool) -> Result<Admitted, End> {
    if dialled {
        if shared.links().is_fresh(peer) {
            return Err(End::Redundant);
        }
        wire.write_frame(shared.admission.opening()).await.map_err(|error| closed_early(&error))?;
    }
    let body = wire.read_frame(HELLO_BYTES_MAX).await.map_err(|error| match error {
        ReadError::TooLong(error) => End::Refused { reason: error.to_string(), garbage: true },
        ReadError::Io(error) => closed_early(&error),
    })?;
    shared
        .admission
        .check(peer, &body)
        .map_err(|verdict: Verdict| End::Refused { reason: verdict.to_string(), garbage: verdict.is_garbage() })
}

fn closed_early(error: &io::Error) -> End {
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ => error.to_string(),
    };
    End::ClosedEarly { reason }
}

async fn arrive(
    shared: &Arc<Shared>,
    peer: PeerId,
    link: &Arc<Link>,
    admitted: Admitted,
    dialled: Option<String>,
) -> Result<(), End> {
    // Room for both events first, so that the change and its news are one step.
    let (Ok(first), Ok(second)) = (shared.events.reserve().await, shared.events.reserve().await) else {
        return Err(End::Closed);
    };
    let mut links = shared.links();
    let arrival = links.arrive(peer, admitted.run, Arc::clone(link));
    if arrival == Arrival::Full {
        return Err(End::Refused { reason: "this peer has as many neighbours as it may have".into(), garbage: false });
    }
    link.gate.open();
    shared.counters.admitted.one();
    let certificate = admitted.certificate;
    let connected = NetworkEvent::Connected { member: certificate.member(), certificate, address: dialled };
    match arrival {
        Arrival::Connected => first.send(connected),
        Arrival::Reconnected => {
            first.send(NetworkEvent::Disconnected { peer });
            second.send(connected);
        }
        Arrival::Duplicate { retire: Some(older) } => retire_later(shared, peer, older),
        Arrival::Duplicate { retire: None } | Arrival::Full => {}
    }
    Ok(())
}

fn retire_later(shared: &Arc<Shared>, peer: PeerId, older: ConnectionId) {
    shared.counters.duplicates.one();
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        sleep(RETIRE_AFTER).await;
        let Some(shared) = shared.upgrade() else { return };
        let links = shared.links();
        let others = links.of(peer).iter().any(|link| link.connection != older && link.outbox.is_open());
        if let Some(link) = links.of(peer).iter().find(|link| link.connection == older).filter(|_| others) {
            link.outbox.close();
        }
    });
}

async fn depart(shared: &Shared, peer: PeerId, link: &Link) {
    let permit = shared.events.reserve().await;
    let was_last = shared.links().depart(peer, link.connection);
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
            let _ = timeout(DRAIN_MAX, async {
                wire.write_frames(link).await;
                wire.write_end().await
            })
            .await;
            // Closing now could overtake what was just written: that is left to the side that began.
            let patience = async {
                sleep(LINGER).await;
                let _ = timeout(BULK_FINISH_MAX, link.gate.bulk_idle()).await;
            };
            tokio::select! { () = link.gate.closed() => {}, () = patience => {} }
        }
        Over::WeClose => {
            let _ = timeout(DRAIN_MAX, async {
                wire.write_frames(link).await;
                // The end of the control stream is the end of everything to the other side.
                link.gate.long_sent().await;
                wire.write_end().await
            })
            .await;
            let _ = wire.read_rest(link, peer, DRAIN_MAX).await;
            if !link.is_muted() {
                let idle = timeout(BULK_FINISH_MAX, link.gate.bulk_idle());
                tokio::select! { () = link.gate.closed() => {}, _ = idle => {} }
            }
        }
    }
    End::Closed
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

/// The stream with what is half read and half written.
struct Wire {
    stream: libp2p::Stream,
    reader: FrameReader,
    batch: Vec<u8>,
    written: usize,
    shared: Arc<Shared>,
    /// Set while an event waits for room in the driver's queue.
    waiting: Option<(PollSender<NetworkEvent>, NetworkEvent)>,
}

impl Wire {
    fn new(stream: libp2p::Stream, shared: Arc<Shared>) -> Self {
        Self { stream, reader: FrameReader::new(), batch: Vec::new(), written: 0, shared, waiting: None }
    }

    async fn write_frame(&mut self, body: &[u8]) -> io::Result<()> {
        let length = frame_length(body).ok_or(io::ErrorKind::InvalidInput)?;
        self.batch.extend_from_slice(&length.to_be_bytes());
        self.batch.extend_from_slice(body);
        poll_fn(|context| self.poll_write_batch(context)).await
    }

    async fn read_frame(&mut self, limit: usize) -> Result<Vec<u8>, ReadError> {
        poll_fn(|context| {
            loop {
                match self.reader.next(limit) {
                    Ok(Some(body)) => return Poll::Ready(Ok(body)),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(ReadError::TooLong(error))),
                }
                match ready!(self.reader.poll_fill(&mut self.stream, context)) {
                    Ok(0) => return Poll::Ready(Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()))),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(ReadError::Io(error))),
                }
            }
        })
        .await
    }

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

    /// Ends the stream to the other side.
    async fn write_end(&mut self) -> io::Result<()> {
        poll_fn(|context| Pin::new(&mut self.stream).poll_close(context)).await
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
            if ready!(self.poll_write_batch(context)).is_err() {
                return Poll::Ready(Over::Broken);
            }
            match link.outbox.take(&mut self.batch, context) {
                Taken::Frames(frames) => {
                    self.shared.counters.frames_out.add(frames);
                    self.shared.counters.frame_bytes_out.add(self.batch.len());
                }
                Taken::Nothing => return Poll::Pending,
                Taken::Closed => return Poll::Ready(Over::WeClose),
                Taken::Cut => return Poll::Ready(Over::Cut),
            }
        }
    }

    fn poll_write_batch(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        if self.batch.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while let Some(rest) = self.batch.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(stream.as_mut().poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        ready!(stream.poll_flush(context))?;
        self.batch.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Ready only when reading is over.
    fn poll_read(&mut self, link: &Link, peer: PeerId, context: &mut Context<'_>) -> Poll<Over> {
        loop {
            if ready!(self.poll_deliver_waiting(link, context)).is_err() {
                return Poll::Ready(Over::Broken);
            }
            match self.reader.next(FRAME_BYTES_MAX) {
                Ok(Some(body)) => {
                    self.deliver(link, peer, body);
                    continue;
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(Over::TooLong(error)),
            }
            match ready!(self.reader.poll_fill(&mut self.stream, context)) {
                Ok(0) if self.reader.has_partial_frame() => return Poll::Ready(Over::Broken),
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
