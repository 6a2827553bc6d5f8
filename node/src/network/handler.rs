//! One connection, as libp2p's event loop sees it: opens and accepts streams, and passes them on.
//!
//! **Invariant:** no stream of a peer that has not been admitted is passed on, and a connection that has not been
//! admitted in time asks to be closed.
//! **Not here:** a byte of what the streams carry.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};
use libp2p::{Stream, StreamProtocol};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Sleep, sleep};

use super::counters::Counters;
use super::gate::Gate;
use super::limits::{ADMISSION_TIMEOUT, STREAM_OPEN_TIMEOUT};

const CONTROL: StreamProtocol = StreamProtocol::new("/shoal/control/1");
const BULK: StreamProtocol = StreamProtocol::new("/shoal/bulk/1");
const LONG: StreamProtocol = StreamProtocol::new("/shoal/long/1");
static ALL: &[StreamProtocol] = &[CONTROL, BULK, LONG];
static ONLY_CONTROL: &[StreamProtocol] = &[CONTROL];
static ONLY_BULK: &[StreamProtocol] = &[BULK];
static ONLY_LONG: &[StreamProtocol] = &[LONG];

/// Where the answer to a wish for a stream goes.
pub(super) type StreamReply = oneshot::Sender<Result<Stream, String>>;

/// What a stream beside the control stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Blobs.
    Bulk,
    /// One long message.
    Long,
}

/// What the handler of a connection is asked for.
#[derive(Debug)]
pub(super) enum Wish {
    Open(Beside, StreamReply),
}

/// What the handler of a connection has to say.
pub(super) enum News {
    /// The control stream is open.
    Control(Stream),
    /// The peer does not speak our control protocol.
    NoControl(String),
    /// The admitted peer has opened a bulk stream.
    Bulk(Stream, OwnedSemaphorePermit),
    /// The admitted peer sends a long message.
    Long(Stream, OwnedSemaphorePermit),
    /// It has not been admitted in time.
    Overdue,
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control(_) => "Control",
            Self::NoControl(_) => "NoControl",
            Self::Bulk(..) => "Bulk",
            Self::Long(..) => "Long",
            Self::Overdue => "Overdue",
        })
    }
}

pub(super) struct Handler {
    dialled: bool,
    gate: Arc<Gate>,
    counters: Arc<Counters>,
    /// None once it has been admitted or has been reported.
    deadline: Option<Pin<Box<Sleep>>>,
    requests: VecDeque<Purpose>,
    news: VecDeque<News>,
    has_control: bool,
    /// The listener admits first, so its streams may arrive before its hello has been judged here. Each holds a slot.
    early: Vec<News>,
}

impl Handler {
    pub(super) fn new(dialled: bool, gate: Arc<Gate>, counters: Arc<Counters>) -> Self {
        Self {
            dialled,
            gate,
            counters,
            deadline: Some(Box::pin(sleep(ADMISSION_TIMEOUT))),
            requests: dialled.then_some(Purpose::Control).into_iter().collect(),
            news: VecDeque::new(),
            has_control: false,
            early: Vec::new(),
        }
    }

    fn on_inbound(&mut self, stream: Stream, purpose: &StreamProtocol) {
        if *purpose == BULK {
            self.on_inbound_beside(self.gate.try_bulk_in().map(|slot| News::Bulk(stream, slot)));
        } else if *purpose == LONG {
            self.on_inbound_beside(self.gate.try_long_in().map(|slot| News::Long(stream, slot)));
        } else if self.dialled || self.has_control {
            // The dialler opens the one control stream; this is neither, and dropping it refuses it.
            self.counters.garbage.one();
        } else {
            self.has_control = true;
            self.news.push_back(News::Control(stream));
        }
    }

    fn on_inbound_beside(&mut self, news: Option<News>) {
        let admitted = self.gate.is_open();
        match news.filter(|_| admitted || self.dialled) {
            None => self.counters.streams_refused.one(),
            Some(news) if admitted => self.news.push_back(news),
            Some(news) => self.early.push(news),
        }
    }

    fn on_outbound(&mut self, stream: Stream, purpose: Purpose) {
        match purpose {
            Purpose::Control => {
                self.has_control = true;
                self.news.push_back(News::Control(stream));
            }
            // Whoever asked may have given up; the stream is then dropped.
            Purpose::Beside(_, reply) => drop(reply.send(Ok(stream))),
        }
    }

    fn on_outbound_failed(&mut self, purpose: Purpose, error: StreamUpgradeError<Infallible>) {
        let why = match error {
            StreamUpgradeError::Timeout => "it did not answer in time".to_owned(),
            StreamUpgradeError::NegotiationFailed => "it does not speak this protocol".to_owned(),
            StreamUpgradeError::Io(error) => error.to_string(),
            StreamUpgradeError::Apply(never) => match never {},
        };
        match purpose {
            Purpose::Control => self.news.push_back(News::NoControl(why)),
            Purpose::Beside(_, reply) => drop(reply.send(Err(why))),
        }
    }

    fn poll_admission(&mut self, context: &mut Context<'_>) {
        if self.deadline.is_none() {
            return;
        }
        if self.gate.poll_open(context) {
            self.deadline = None;
            self.news.extend(self.early.drain(..));
        } else if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready()) {
            self.deadline = None;
            self.early.clear();
            self.news.push_back(News::Overdue);
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Wish;
    type ToBehaviour = News;
    type InboundProtocol = Named;
    type OutboundProtocol = Named;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Purpose;

    fn listen_protocol(&self) -> SubstreamProtocol<Named> {
        SubstreamProtocol::new(Named(ALL), ())
    }

    /// Admission decides how long a connection lives, not idleness.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Named, Purpose, News>> {
        self.poll_admission(context);
        if let Some(news) = self.news.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(news));
        }
        if let Some(purpose) = self.requests.pop_front() {
            let name = match purpose {
                Purpose::Control => ONLY_CONTROL,
                Purpose::Beside(Beside::Bulk, _) => ONLY_BULK,
                Purpose::Beside(Beside::Long, _) => ONLY_LONG,
            };
            let protocol = SubstreamProtocol::new(Named(name), purpose).with_timeout(STREAM_OPEN_TIMEOUT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, wish: Wish) {
        match wish {
            Wish::Open(beside, reply) => self.requests.push_back(Purpose::Beside(beside, reply)),
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Named, Named, (), Purpose>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info: () }) => {
                self.on_inbound(protocol.0, &protocol.1);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.on_outbound(protocol.0, info);
            }
            ConnectionEvent::DialUpgradeError(failed) => self.on_outbound_failed(failed.info, failed.error),
            // Addresses do not change without migration, which is off; the rest is about protocols of others.
            _ => {}
        }
    }
}

/// What an outbound stream is for.
#[derive(Debug)]
pub(super) enum Purpose {
    Control,
    Beside(Beside, StreamReply),
}

/// An upgrade that settles on one of the named protocols and leaves the stream as it is.
#[derive(Debug, Clone)]
pub(super) struct Named(&'static [StreamProtocol]);

impl UpgradeInfo for Named {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Cloned<std::slice::Iter<'static, StreamProtocol>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().cloned()
    }
}

impl InboundUpgrade<Stream> for Named {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

impl OutboundUpgrade<Stream> for Named {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}
