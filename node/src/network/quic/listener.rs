//! One socket that others dial: its addresses, and the handshakes that have begun there.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, Ready, ready};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};
use if_watch::IfEvent;
use if_watch::tokio::IfWatcher;
use libp2p::core::transport::{ListenerId, TransportEvent};
use tokio::time::sleep;

use super::address;
use super::callback::Callbacks;
use super::door::{Answer, Door};
use super::error::QuicError;
use super::handshake::{Finish, Outcome, UnderWay};
use super::join::Desk;
use super::settings::Settings;

/// First datagrams that are looked at before others get their turn.
const KNOCKS_A_TURN: usize = 64;
/// First datagrams that wait their turn, of all addresses; quinn keeps as many datagrams of each as it may buffer.
const WAITING_MAX: usize = 256;

pub(super) type Event = TransportEvent<Ready<Outcome>, QuicError>;

pub(super) struct Listener {
    pub(super) id: ListenerId,
    pub(super) endpoint: quinn::Endpoint,
    socket: UdpSocket,
    at: SocketAddr,
    /// For a wildcard: which addresses the machine has.
    interfaces: Option<IfWatcher>,
    addresses: BTreeSet<IpAddr>,
    next: BoxFuture<'static, Option<quinn::Incoming>>,
    door: Door,
    /// First datagrams of addresses that have begun a few handshakes just now.
    waiting: FuturesUnordered<BoxFuture<'static, quinn::Incoming>>,
    under_way: UnderWay,
    desk: Option<Desk>,
    callbacks: Callbacks,
    /// The last thing it says.
    closing: Option<Event>,
    is_closed: bool,
    waker: Option<Waker>,
}

impl Listener {
    pub(super) fn new(
        id: ListenerId,
        endpoint: quinn::Endpoint,
        socket: UdpSocket,
        finish: Finish,
        settings: &Settings,
    ) -> io::Result<Self> {
        let at = socket.local_addr()?;
        let interfaces = at.ip().is_unspecified().then(IfWatcher::new).transpose()?;
        let next = next(&endpoint);
        Ok(Self {
            id,
            endpoint,
            socket,
            at,
            interfaces,
            addresses: BTreeSet::new(),
            next,
            door: Door::default(),
            waiting: FuturesUnordered::new(),
            under_way: UnderWay::new(finish),
            desk: settings.desk.clone(),
            callbacks: settings.callbacks.clone(),
            closing: None,
            is_closed: false,
            waker: None,
        })
    }

    /// Whether a connection to `remote` can be dialled from this socket.
    pub(super) fn reaches(&self, remote: SocketAddr) -> bool {
        let is_near = || self.at.ip().is_loopback() || self.addresses.iter().any(IpAddr::is_loopback);
        !self.is_closed && self.at.is_ipv4() == remote.is_ipv4() && (!remote.ip().is_loopback() || is_near())
    }

    pub(super) fn socket(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    pub(super) fn close(&mut self, reason: Result<(), QuicError>) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        self.endpoint.close(0_u32.into(), &[]);
        self.closing = Some(TransportEvent::ListenerClosed { listener_id: self.id, reason });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// A machine that has no wildcard listener has one address from the start.
    fn first_address(&mut self) -> Option<Event> {
        let only = self.interfaces.is_none() && self.addresses.insert(self.at.ip());
        only.then(|| TransportEvent::NewAddress { listener_id: self.id, listen_addr: address::format(self.at) })
    }

    fn poll_interfaces(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let listener_id = self.id;
        while let Some(watcher) = &mut self.interfaces {
            let (ip, is_up) = match futures::ready!(watcher.poll_if_event(context)) {
                Ok(IfEvent::Up(net)) => (net.addr(), true),
                Ok(IfEvent::Down(net)) => (net.addr(), false),
                Err(error) => {
                    return Poll::Ready(TransportEvent::ListenerError { listener_id, error: error.into() });
                }
            };
            if ip.is_ipv4() != self.at.is_ipv4() {
                continue;
            }
            let listen_addr = address::format(SocketAddr::new(ip, self.at.port()));
            if is_up && self.addresses.insert(ip) {
                return Poll::Ready(TransportEvent::NewAddress { listener_id, listen_addr });
            }
            if !is_up && self.addresses.remove(&ip) {
                return Poll::Ready(TransportEvent::AddressExpired { listener_id, listen_addr });
            }
        }
        Poll::Pending
    }

    /// Answers first datagrams. Ready when the endpoint is closed.
    fn poll_knocks(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..KNOCKS_A_TURN {
            let Some(incoming) = futures::ready!(self.next.poll_unpin(context)) else { return Poll::Ready(()) };
            self.next = next(&self.endpoint);
            self.answer(incoming);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn answer(&mut self, incoming: quinn::Incoming) {
        if self.callbacks.heard(&incoming) {
            return incoming.refuse();
        }
        let from = incoming.remote_address();
        let proven = incoming.remote_address_validated();
        match self.door.knock(Instant::now(), from.ip(), proven, self.under_way.len()) {
            Answer::Welcome(Duration::ZERO) => self.welcome(incoming),
            Answer::Welcome(waits) if self.waiting.len() < WAITING_MAX => self.waiting.push(Box::pin(async move {
                sleep(waits).await;
                incoming
            })),
            Answer::Welcome(_) => incoming.ignore(),
            // It fails only for who has come again already.
            Answer::ComeAgain => drop(incoming.retry()),
            Answer::Silence => incoming.ignore(),
        }
    }
}

impl Listener {
    fn welcome(&mut self, incoming: quinn::Incoming) {
        let from = incoming.remote_address();
        match &self.desk {
            Some(desk) if desk.expects(&incoming) => desk.receive(incoming),
            _ => match incoming.accept() {
                Ok(connecting) => self.under_way.begin(from, connecting),
                Err(error) => tracing::debug!(%from, %error, "no handshake"),
            },
        }
    }

    /// Begins the handshakes that have waited long enough.
    fn poll_waiting(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(incoming)) = self.waiting.poll_next_unpin(context) {
            self.welcome(incoming);
        }
    }
}

fn next(endpoint: &quinn::Endpoint) -> BoxFuture<'static, Option<quinn::Incoming>> {
    let endpoint = endpoint.clone();
    async move { endpoint.accept().await }.boxed()
}

impl Stream for Listener {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let this = &mut *self;
        if let Some(event) = this.closing.take().or_else(|| this.first_address()) {
            return Poll::Ready(Some(event));
        }
        if this.is_closed {
            return Poll::Ready(None);
        }
        if let Poll::Ready(event) = this.poll_interfaces(context) {
            return Poll::Ready(Some(event));
        }
        if this.poll_knocks(context).is_ready() {
            this.close(Ok(()));
            return Poll::Ready(this.closing.take());
        }
        this.poll_waiting(context);
        if let Poll::Ready((from, outcome)) = this.under_way.poll_ended(context) {
            return Poll::Ready(Some(TransportEvent::Incoming {
                listener_id: this.id,
                upgrade: ready(outcome),
                local_addr: address::format(this.at),
                send_back_addr: address::format(from),
            }));
        }
        this.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
