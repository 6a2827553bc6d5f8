//! What libp2p does for this node beside connecting: limits, addresses, discovery on the local network, ways through NATs,
//! and who has which blob.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol, connection_limits, dcutr, identify, kad, mdns, relay};

use super::limits::*;

/// Everything this node does on libp2p's streams.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    /// Passes streams on between members, while it is switched on.
    pub(super) relay: relay::Behaviour,
    /// Asks others to.
    pub(super) relayed: relay::client::Behaviour,
    /// Makes direct connections of relayed ones.
    pub(super) punching: dcutr::Behaviour,
    pub(super) own: Own,
    pub(super) providers: kad::Behaviour<MemoryStore>,
}

/// How much this node does for members behind NATs.
///
/// libp2p's defaults are for strangers: 128 KiB and two minutes are to exchange addresses. Here a circuit is all that a
/// member behind a symmetric NAT may have, so that it must carry work, and for long: when it ends, tasks move.
pub(super) fn relay_limits() -> relay::Config {
    let mut limits = relay::Config {
        max_reservations: RESERVATIONS_MAX,
        max_reservations_per_peer: RESERVATIONS_PER_PEER_MAX,
        reservation_duration: RESERVATION_DURATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: CIRCUITS_MAX,
        max_circuits_per_peer: CIRCUITS_PER_PEER_MAX,
        max_circuit_duration: CIRCUIT_DURATION_MAX,
        max_circuit_bytes: CIRCUIT_BYTES_MAX,
        circuit_src_rate_limiters: Vec::new(),
    };
    // By peer and not by address: all peers of a site may be behind one.
    limits = limits.reservation_rate_per_peer(RELAY_BURST, RELAY_ANOTHER_AFTER);
    limits.circuit_src_per_peer(RELAY_BURST, RELAY_ANOTHER_AFTER)
}

/// The record of who has which blob, kept by the peers whose ids are nearest to the blob's (Kademlia).
///
/// It is asked and told seldom, so that it keeps no order of its own while nobody does (see [`Own`]).
pub(super) fn providers(local: PeerId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(StreamProtocol::new("/shoal/providers/1"));
    config
        .set_query_timeout(PROVIDERS_QUERY_MAX)
        .set_replication_factor(PROVIDERS_REPLICAS)
        .set_provider_record_ttl(Some(PROVIDERS_TTL))
        // `Providers` says it again.
        .set_provider_publication_interval(None)
        // Values are not kept: only providers.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_periodic_bootstrap_interval(None)
        .set_caching(kad::Caching::Disabled)
        .set_max_packet_size(PROVIDERS_PACKET_BYTES_MAX)
        // Which addresses are whose is what identify says, and what this node has dialled.
        .set_kbucket_inserts(kad::BucketInserts::Manual);
    let bounds = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: PROVIDERS_PER_BLOB_MAX,
        max_provided_keys: PROVIDERS_BLOBS_MAX,
    };
    kad::Behaviour::with_config(local, MemoryStore::with_config(local, bounds), config)
}

/// What this node adds to libp2p's rules.
#[derive(Default)]
pub(super) struct Own {
    observed: VecDeque<Multiaddr>,
    waker: Option<Waker>,
    /// Whether the table of providers may call peers that are not connected: while something is asked of it. By itself it
    /// would look around whenever a neighbour comes, and connect what the protocol has not chosen to.
    pub(super) table_may_call: bool,
}

impl Own {
    /// A neighbour sees this node there. Identify alone would put the listening port in place of the one that a NAT has
    /// chosen, and no hole would be punched.
    pub(super) fn is_seen_at(&mut self, address: Multiaddr) {
        if self.observed.len() < OBSERVED_MAX {
            self.observed.push_back(address);
            self.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// Why a dial of the table's is not made.
#[derive(Debug, thiserror::Error)]
#[error("nothing is asked of the table of providers")]
struct NotAsked;

impl NetworkBehaviour for Own {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        // Everybody else says where to call.
        if addresses.is_empty() && !self.table_may_call { Err(ConnectionDenied::new(NotAsked)) } else { Ok(Vec::new()) }
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.observed.pop_front() {
            Some(address) => Poll::Ready(ToSwarm::NewExternalAddrCandidate(address)),
            None => {
                self.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
