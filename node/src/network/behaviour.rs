//! All connections, as libp2p's event loop sees them.
//!
//! **Invariant:** at most `UNADMITTED_MAX` connections are waiting for admission.
//! **Not here:** who is admitted (`link.rs`), and whom to dial: the protocol decides that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::behaviour::{ConnectionClosed, FromSwarm};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, connection_limits, mdns};

use super::counters::Counters;
use super::gate::Gate;
use super::gated::{Gates, Identify};
use super::handler::{Beside, Handler, News, StreamReply, Wish};
use super::limits::UNADMITTED_MAX;

/// Everything this node does on the network.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) streams: Streams,
    // After `streams`, which makes the gates.
    pub(super) identify: Identify,
    pub(super) mdns: libp2p::swarm::behaviour::toggle::Toggle<mdns::tokio::Behaviour>,
}

/// Something happened on a connection.
#[derive(Debug)]
pub(super) struct ConnectionNews {
    pub(super) connection: ConnectionId,
    pub(super) gate: Arc<Gate>,
    pub(super) news: News,
}

/// Control streams, and those beside them.
pub(super) struct Streams {
    counters: Arc<Counters>,
    gates: Gates,
    queue: VecDeque<ToSwarm<ConnectionNews, Wish>>,
}

#[derive(Debug, thiserror::Error)]
#[error("{UNADMITTED_MAX} connections are waiting for admission already")]
struct TooManyUnadmitted;

impl Streams {
    pub(super) fn new(counters: Arc<Counters>, gates: Gates) -> Self {
        Self { counters, gates, queue: VecDeque::new() }
    }

    /// Asks for a stream on a connection; the reply is dropped when the connection is gone.
    pub(super) fn open(&mut self, peer: PeerId, connection: ConnectionId, beside: Beside, reply: StreamReply) {
        // The handler forgets nothing: what could pile up here is bounded by the slots the callers hold.
        self.queue.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: Wish::Open(beside, reply),
        });
    }

    fn handler(&mut self, connection: ConnectionId, dialled: bool) -> Result<Handler, ConnectionDenied> {
        if self.gates.unadmitted() >= UNADMITTED_MAX && !dialled {
            return Err(ConnectionDenied::new(TooManyUnadmitted));
        }
        Ok(Handler::new(dialled, self.gates.make(connection), Arc::clone(&self.counters)))
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = ConnectionNews;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        self.handler(connection, false)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        self.handler(connection, true)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let gone = match event {
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => connection_id,
            // Another behaviour may deny a connection after this one has made its handler.
            FromSwarm::ListenFailure(failure) => failure.connection_id,
            FromSwarm::DialFailure(failure) => failure.connection_id,
            _ => return,
        };
        if let Some(gate) = self.gates.remove(gone) {
            gate.close();
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, connection: ConnectionId, news: THandlerOutEvent<Self>) {
        if let Some(gate) = self.gates.of(connection) {
            self.queue.push_back(ToSwarm::GenerateEvent(ConnectionNews { connection, gate, news }));
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<ConnectionNews, THandlerInEvent<Self>>> {
        // Every push happens inside the swarm's own loop, or just before it is polled: no waker is needed.
        self.queue.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
