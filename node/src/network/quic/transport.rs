//! libp2p's way to the listeners and to those we dial.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures::future::{BoxFuture, Ready};
use futures::stream::SelectAll;
use futures::{FutureExt, StreamExt};
use libp2p::core::Endpoint;
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::{Multiaddr, PeerId, Transport};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::address;
use super::error::QuicError;
use super::handshake::{Finish, Outcome};
use super::listener::{Event, Listener};
use super::muxer::Muxer;
use super::punch::punch;
use super::settings::{HANDSHAKE_MAX, Settings};

/// Rustls wants a name to dial; peers have none, and it is not sent.
pub(super) const NO_NAME: &str = "peer.invalid";

/// The QUIC endpoints of this peer.
pub(in crate::network) struct Quic {
    settings: Settings,
    finish: Finish,
    listeners: SelectAll<Listener>,
    /// Endpoints that only dial, by whether they are IPv4: while nothing listens.
    dialers: BTreeMap<bool, quinn::Endpoint>,
    /// Those for whom a way through our NAT is being opened: their connection is an answer to a dial.
    awaited: BTreeMap<SocketAddr, oneshot::Sender<Outcome>>,
    waker: Option<Waker>,
}

impl Quic {
    /// Endpoints whose handshakes are finished by `finish`.
    pub(in crate::network) fn new(settings: Settings, finish: Finish) -> Self {
        let (listeners, dialers, awaited) = (SelectAll::new(), BTreeMap::new(), BTreeMap::new());
        Self { settings, finish, listeners, dialers, awaited, waker: None }
    }

    /// The listener whose port a connection to `remote` should come from: always the same for the same address.
    fn listener_for(&self, remote: SocketAddr) -> Option<&Listener> {
        let mut able: Vec<_> = self.listeners.iter().filter(|listener| listener.reaches(remote)).collect();
        let mut hasher = DefaultHasher::new();
        remote.hash(&mut hasher);
        let which = usize::try_from(hasher.finish() % able.len().max(1) as u64).unwrap_or_default();
        (!able.is_empty()).then(|| able.swap_remove(which))
    }

    fn endpoint_for(&mut self, remote: SocketAddr, port: PortUse) -> Result<quinn::Endpoint, QuicError> {
        let any = |remote: SocketAddr| match remote {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        if port == PortUse::New {
            return Ok(self.settings.endpoint(any(remote), false)?.0);
        }
        if let Some(listener) = self.listener_for(remote) {
            return Ok(listener.endpoint.clone());
        }
        if let Some(dialer) = self.dialers.get(&remote.is_ipv4()) {
            return Ok(dialer.clone());
        }
        let (dialer, _) = self.settings.endpoint(any(remote), false)?;
        self.dialers.insert(remote.is_ipv4(), dialer.clone());
        Ok(dialer)
    }

    /// Waits for a connection from `remote` while opening our NAT for it.
    fn await_from(&mut self, remote: SocketAddr, peer: PeerId) -> Result<BoxFuture<'static, Outcome>, QuicError> {
        let socket = self.listener_for(remote).ok_or(QuicError::NoListener)?.socket()?;
        self.awaited.retain(|_, waiting| !waiting.is_closed());
        if self.awaited.contains_key(&remote) {
            return Err(QuicError::PunchingAlready(remote));
        }
        let (sender, arrival) = oneshot::channel();
        self.awaited.insert(remote, sender);
        let waiting = async move {
            tokio::select! {
                arrived = arrival => arrived.map_err(|_| QuicError::NoListener)?,
                error = punch(socket, remote) => Err(error.into()),
            }
        };
        Ok(async move {
            let (arrived, muxer) = timeout(HANDSHAKE_MAX, waiting).await.map_err(|_| QuicError::Slow)??;
            if arrived != peer {
                tracing::debug!(%remote, "another peer than the awaited one has come");
            }
            Ok((arrived, muxer))
        }
        .boxed())
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Transport for Quic {
    type Output = (PeerId, Muxer);
    type Error = QuicError;
    type ListenerUpgrade = Ready<Outcome>;
    type Dial = BoxFuture<'static, Outcome>;

    fn listen_on(&mut self, id: ListenerId, at: Multiaddr) -> Result<(), TransportError<QuicError>> {
        let (socket_address, _) = address::parse(&at).ok_or(TransportError::MultiaddrNotSupported(at))?;
        let io = |error: std::io::Error| TransportError::Other(error.into());
        let (endpoint, socket) = self.settings.endpoint(socket_address, true).map_err(io)?;
        self.listeners.push(Listener::new(id, endpoint, socket, self.finish.clone(), &self.settings).map_err(io)?);
        // From now on others are dialled from the port where they can answer.
        self.dialers.remove(&socket_address.is_ipv4());
        self.wake();
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let found = self.listeners.iter_mut().find(|listener| listener.id == id);
        found.map(|listener| listener.close(Ok(()))).is_some()
    }

    fn dial(&mut self, to: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<QuicError>> {
        let is_somewhere = |address: &SocketAddr| address.port() != 0 && !address.ip().is_unspecified();
        let Some((remote, peer)) = address::parse(&to).filter(|(remote, _)| is_somewhere(remote)) else {
            return Err(TransportError::MultiaddrNotSupported(to));
        };
        // Whoever dials as a listener punches a hole: the other side begins the handshake (libp2p's DCUtR). Beginning one from
        // here as well would open the way too, and leave two connections.
        if options.role == Endpoint::Listener {
            let Some(peer) = peer else { return Err(TransportError::MultiaddrNotSupported(to)) };
            return self.await_from(remote, peer).map_err(TransportError::Other);
        }
        let endpoint = self.endpoint_for(remote, options.port_use).map_err(TransportError::Other)?;
        let (client, finish) = (self.settings.client.clone(), self.finish.clone());
        Ok(async move { finish.finish(endpoint.connect_with(client, remote, NO_NAME)?, true, Some(remote)).await }
            .boxed())
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Event> {
        while let Poll::Ready(Some(event)) = self.listeners.poll_next_unpin(context) {
            let TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } = event else {
                return Poll::Ready(event);
            };
            let from = address::parse(&send_back_addr).map(|(from, _)| from);
            let awaiting = from.and_then(|from| self.awaited.remove(&from));
            let outcome = match awaiting {
                None => upgrade.into_inner(),
                Some(awaiting) => match awaiting.send(upgrade.into_inner()) {
                    Ok(()) => continue,
                    // Whoever waited has given up.
                    Err(outcome) => outcome,
                },
            };
            let upgrade = futures::future::ready(outcome);
            return Poll::Ready(TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
