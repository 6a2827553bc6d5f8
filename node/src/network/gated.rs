//! libp2p's identify, held back until a connection has been admitted: it tells the peer our addresses.
//!
//! **Invariant:** to a stranger that dials us, this node does not speak the identify protocol.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::DeniedUpgrade;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::futures::future::Either as UpgradeOutput;
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, ListenUpgradeError};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, identify};

use super::gate::Gate;

/// The gate of each connection. `behaviour.rs` makes and removes them.
#[derive(Debug, Clone, Default)]
pub(super) struct Gates(Arc<Mutex<BTreeMap<ConnectionId, Arc<Gate>>>>);

impl Gates {
    pub(super) fn make(&self, connection: ConnectionId) -> Arc<Gate> {
        let gate = Arc::new(Gate::new());
        self.with(|gates| gates.insert(connection, Arc::clone(&gate)));
        gate
    }

    pub(super) fn of(&self, connection: ConnectionId) -> Option<Arc<Gate>> {
        self.with(|gates| gates.get(&connection).cloned())
    }

    pub(super) fn remove(&self, connection: ConnectionId) -> Option<Arc<Gate>> {
        self.with(|gates| gates.remove(&connection))
    }

    pub(super) fn unadmitted(&self) -> usize {
        self.with(|gates| gates.values().filter(|gate| !gate.is_open()).count())
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<ConnectionId, Arc<Gate>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Inner = THandler<identify::Behaviour>;

pub(super) struct Identify {
    inner: identify::Behaviour,
    gates: Gates,
}

impl Identify {
    pub(super) fn new(inner: identify::Behaviour, gates: Gates) -> Self {
        Self { inner, gates }
    }

    fn gated(&self, connection: ConnectionId, dialled: bool, inner: Inner) -> GatedHandler {
        GatedHandler { inner, dialled, gate: self.gates.of(connection).unwrap_or_else(|| Arc::new(Gate::new())) }
    }
}

impl NetworkBehaviour for Identify {
    type ConnectionHandler = GatedHandler;
    type ToSwarm = identify::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<GatedHandler, ConnectionDenied> {
        let inner = self.inner.handle_established_inbound_connection(connection, peer, local, remote)?;
        Ok(self.gated(connection, false, inner))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<GatedHandler, ConnectionDenied> {
        let inner = self.inner.handle_established_outbound_connection(connection, peer, address, role, port_use)?;
        Ok(self.gated(connection, true, inner))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<identify::Behaviour>,
    ) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<identify::Event, THandlerInEvent<identify::Behaviour>>> {
        self.inner.poll(context)
    }
}

pub(super) struct GatedHandler {
    inner: Inner,
    dialled: bool,
    gate: Arc<Gate>,
}

type InnerInbound = <Inner as ConnectionHandler>::InboundProtocol;
type InnerOutbound = <Inner as ConnectionHandler>::OutboundProtocol;

impl ConnectionHandler for GatedHandler {
    type FromBehaviour = <Inner as ConnectionHandler>::FromBehaviour;
    type ToBehaviour = <Inner as ConnectionHandler>::ToBehaviour;
    type InboundProtocol = Either<InnerInbound, DeniedUpgrade>;
    type OutboundProtocol = InnerOutbound;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = <Inner as ConnectionHandler>::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        // Whoever we dialled admits first and may ask at once, before its hello has been judged here.
        if self.dialled || self.gate.is_open() {
            self.inner.listen_protocol().map_upgrade(Either::Left)
        } else {
            SubstreamProtocol::new(Either::Right(DeniedUpgrade), ())
        }
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if self.gate.poll_open(context) { self.inner.poll(context) } else { Poll::Pending }
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(context)
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.inner.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Self::OutboundOpenInfo>,
    ) {
        let event = match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info }) => match protocol {
                UpgradeOutput::Left(protocol) => {
                    ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info })
                }
                UpgradeOutput::Right(never) => match never {},
            },
            ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error }) => match error {
                Either::Left(error) => ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error }),
                Either::Right(never) => match never {},
            },
            ConnectionEvent::FullyNegotiatedOutbound(event) => ConnectionEvent::FullyNegotiatedOutbound(event),
            ConnectionEvent::DialUpgradeError(event) => ConnectionEvent::DialUpgradeError(event),
            ConnectionEvent::AddressChange(event) => ConnectionEvent::AddressChange(event),
            ConnectionEvent::LocalProtocolsChange(event) => ConnectionEvent::LocalProtocolsChange(event),
            ConnectionEvent::RemoteProtocolsChange(event) => ConnectionEvent::RemoteProtocolsChange(event),
            // The type may grow; what it does not have yet, identify does not wait for.
            _ => return,
        };
        self.inner.on_connection_event(event);
    }
}
