//! What the swarm is made of: its transports, its behaviours, and their limits.

use std::sync::Arc;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{Swarm, Transport, connection_limits, dcutr, identify, mdns, relay, swarm};
use shoal_protocol::certificate::SecretKey;

use super::super::NetworkConfig;
use super::super::behaviour::{Behaviour, Own, providers, relay_limits};
use super::super::error::NetworkError;
use super::super::identity::keypair;
use super::super::limits::{CONNECTIONS_PER_PEER_MAX, CONNECTIONS_TO_SPARE, IDENTIFY_INTERVAL, PENDING_OUTGOING_MAX};
use super::super::quic::{Arrivals, Circuits, Finish, Quic, Settings};
use super::super::revoked::Revoked;

/// Streams that negotiate their protocol on one connection.
const NEGOTIATING_MAX: usize = 16;

/// How this peer begins and answers handshakes.
pub(in crate::network) fn settings(config: &NetworkConfig, revoked: &Revoked) -> Result<Settings, NetworkError> {
    let key = Arc::new(SecretKey::from_bytes(&config.node_key));
    let settings = Settings::new(&key, config.mesh, &config.certificate, config.congestion, revoked);
    let settings = settings.and_then(|settings| match config.office.clone() {
        Some(office) => settings.with_office(office),
        None => Ok(settings),
    });
    settings.map_err(|error| NetworkError::Transport(error.to_string()))
}

pub(super) fn build(
    config: &NetworkConfig,
    settings: Settings,
    arrivals: Arrivals,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let keypair = keypair(&config.node_key)?;
    let local = keypair.public().to_peer_id();
    let neighbours = u32::try_from(config.peers_max).unwrap_or(u32::MAX);
    // Twice: while one connection of a pair replaces another, both exist.
    let connections = neighbours.saturating_mul(2).saturating_add(CONNECTIONS_TO_SPARE);
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_outgoing(Some(PENDING_OUTGOING_MAX))
        .with_max_established(Some(connections))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
    let mdns = config.mdns.then(|| discovery(config, local)).flatten();
    let identify = identify::Config::new("shoal/1".into(), keypair.public())
        .with_agent_version(concat!("shoald ", env!("CARGO_PKG_VERSION")).into())
        .with_interval(IDENTIFY_INTERVAL)
        .with_push_listen_addr_updates(true)
        // It would offer what it knows for every dial; whom to dial where is the protocol's to say.
        .with_cache_size(0);
    let (circuits, relayed) = relay::client::new(local);
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        identify: identify::Behaviour::new(identify),
        mdns: Toggle::from(mdns),
        relay: relay::Behaviour::new(local, relay_limits()),
        relayed,
        punching: dcutr::Behaviour::new(local),
        own: Own::default(),
        providers: providers(local),
    };
    let swarm = swarm::Config::with_tokio_executor()
        // Streams of libp2p's are few, so that each may take a round trip to agree on what it is for. Without waiting for that
        // (`V1Lazy`), what is written and let go of at once, as identify's news is, is lost where the other side agrees too late.
        .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        // Links decide how long a connection lives, not libp2p's streams.
        .with_idle_connection_timeout(Duration::MAX);
    let finish = Finish::new(&settings, arrivals);
    let circuits = Circuits::new(circuits, settings.clone(), finish.clone());
    let transport = circuits
        .or_transport(Quic::new(settings, finish))
        .map(|either, _| {
            let (peer, muxer) = either.into_inner();
            (peer, StreamMuxerBox::new(muxer))
        })
        .map_err(|either| either.into_inner())
        .boxed();
    Ok(Swarm::new(transport, behaviour, local, swarm))
}

/// A machine without multicast is reached by its addresses; it must start nevertheless.
fn discovery(config: &NetworkConfig, local: libp2p::PeerId) -> Option<mdns::tokio::Behaviour> {
    let settings = mdns::Config { query_interval: config.mdns_interval, ..mdns::Config::default() };
    mdns::tokio::Behaviour::new(settings, local)
        .inspect_err(|error| tracing::warn!(%error, "no discovery on the local network: mDNS cannot start"))
        .ok()
}
