//! The task that owns libp2p's swarm: dials, listens, discovers, and starts a link for each connection with a member.
//!
//! **Invariant:** it never waits for the driver, so the driver may wait for it.
//! **Not here:** frames. Those pass between `link.rs` and the driver directly.

mod calls;
mod nat;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError, SwarmEvent};
use libp2p::{Multiaddr, Swarm, Transport, connection_limits, dcutr, identify, mdns, relay, swarm};
use nix::errno::Errno;
use shoal_protocol::certificate::SecretKey;
use shoal_protocol::config::ADDRESSES_MAX;
use shoal_protocol::{PeerId, Role};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::behaviour::{Behaviour, BehaviourEvent, Own, providers, relay_limits};
use super::error::NetworkError;
use super::identity::{from_libp2p, keypair, to_libp2p};
use super::limits::*;
use super::link::{self, End, Opened};
use super::links::{LinkId, Path};
use super::lookup::{self, LookedUp};
use super::providers::{Asked, Providers};
use super::quic::{Arrivals, Circuits, Finish, Quic, QuicError, Settings};
use super::reach::Reach;
use super::relays::Relays;
use super::revoked::Revoked;
use super::{NetworkConfig, NetworkEvent, Shared, quic};
use calls::Calls;

/// Time for the system to name the addresses of a wildcard listener.
const FIRST_ADDRESS_MAX: Duration = Duration::from_secs(1);
/// Streams that negotiate their protocol on one connection.
const NEGOTIATING_MAX: usize = 16;

/// What the rest of the network asks of the swarm.
#[derive(Debug)]
pub(super) enum Command {
    Dial { peer: Option<PeerId>, addresses: Vec<String> },
    Providers(Asked),
    Close { done: oneshot::Sender<()> },
}

/// The other end of a connection.
#[derive(Debug)]
struct At {
    peer: PeerId,
    /// As dialled, or where it came from.
    address: String,
    /// Where it is, and the connection itself, when no relay is between.
    direct: Option<(SocketAddr, quinn::Connection)>,
    is_cloud: bool,
    /// Without meaning for one that is direct.
    calls: Calls,
}

/// Who is at the other end of a link, and where.
#[derive(Debug, Clone)]
struct Whom {
    peer: PeerId,
    address: String,
    dialled: bool,
}

pub(super) struct Task {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    arrivals: Arrivals,
    links: JoinSet<(Whom, End)>,
    links_begun: u64,
    /// As many as dials the protocol has under way.
    lookups: JoinSet<LookedUp>,
    dials: BTreeMap<ConnectionId, (Option<PeerId>, Option<String>)>,
    at: BTreeMap<ConnectionId, At>,
    /// Where this peer is reachable, as its configuration says.
    announced: BTreeSet<Multiaddr>,
    /// The same, as far as is known by now.
    external: BTreeSet<Multiaddr>,
    is_hidden_by_choice: bool,
    may_relay: bool,
    reach: Reach,
    relays: Relays,
    /// Calls that neighbours were asked for: one for each address they see us at.
    callbacks: JoinSet<(SocketAddr, Option<bool>)>,
    providers: Providers,
    discovered: BTreeSet<(PeerId, String)>,
    /// Events for which the driver's queue had no room.
    backlog: VecDeque<NetworkEvent>,
}

impl Task {
    pub(super) fn new(
        config: &NetworkConfig,
        settings: Settings,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, NetworkError> {
        let announced = config.announce.iter().map(|address| {
            let bad = |why| NetworkError::BadAddress { address: address.clone(), why };
            let parsed: Multiaddr = address.parse().map_err(|error| bad(format!(": {error}")))?;
            quic::socket_of(&parsed).map(|_| parsed).ok_or_else(|| bad(String::new()))
        });
        let announced = announced.collect::<Result<_, _>>()?;
        let arrivals = Arrivals::default();
        let swarm = build(config, settings, arrivals.clone())?;
        let mut task = Self {
            swarm,
            shared,
            commands,
            arrivals,
            links: JoinSet::new(),
            links_begun: 0,
            lookups: JoinSet::new(),
            dials: BTreeMap::new(),
            at: BTreeMap::new(),
            announced,
            external: BTreeSet::new(),
            is_hidden_by_choice: !config.reachable,
            may_relay: config.relay,
            reach: Reach::default(),
            relays: Relays::default(),
            callbacks: JoinSet::new(),
            providers: Providers::of(config.mesh),
            discovered: BTreeSet::new(),
            backlog: VecDeque::new(),
        };
        task.settle();
        Ok(task)
    }

    /// Opens the configured listeners, and waits until each has an address.
    pub(super) async fn listen(&mut self, addresses: &[String]) -> Result<(), NetworkError> {
        let mut unnamed = Vec::new();
        for address in addresses {
            unnamed.push(self.listen_on(address)?);
        }
        let all_named = async {
            while !unnamed.is_empty() {
                let event = self.swarm.select_next_some().await;
                if let SwarmEvent::NewListenAddr { listener_id, .. } = &event {
                    unnamed.retain(|id| id != listener_id);
                }
                self.on_swarm_event(event);
            }
        };
        // A machine without any network has no address for a wildcard listener yet, and is no error.
        let _ = timeout(FIRST_ADDRESS_MAX, all_named).await;
        Ok(())
    }

    fn listen_on(&mut self, address: &str) -> Result<ListenerId, NetworkError> {
        let bad = |why: String| NetworkError::BadAddress { address: address.into(), why };
        let parsed: Multiaddr = address.parse().map_err(|error| bad(format!(": {error}")))?;
        self.swarm.listen_on(parsed).map_err(|error| match error {
            TransportError::MultiaddrNotSupported(_) => bad(String::new()),
            TransportError::Other(error) if is_in_use(&error) => NetworkError::AddressInUse { address: address.into() },
            TransportError::Other(error) => NetworkError::Listen { address: address.into(), why: root(&error) },
        })
    }

    /// Runs until it is told to close, or every handle is gone.
    pub(super) async fn run(mut self) {
        let events = self.shared.events.clone();
        let mut look = interval(REACH_LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                Some(ended) = self.links.join_next() => match ended {
                    Ok((whom, end)) => self.on_link_end(&whom, end),
                    Err(error) => tracing::error!(%error, "a link ended by a fault of this program"),
                },
                Some(Ok((observed, came))) = self.callbacks.join_next() => self.on_called_back(observed, came),
                // A relay may have rested, or a hidden peer have a choice again.
                _ = look.tick() => self.look(),
                Some(Ok(looked_up)) = self.lookups.join_next() => self.on_looked_up(looked_up),
                Ok(room) = events.reserve(), if !self.backlog.is_empty() => {
                    if let Some(event) = self.backlog.pop_front() {
                        room.send(event);
                    }
                }
                command = self.commands.recv() => match command {
                    Some(Command::Dial { peer, addresses }) => self.dial(peer, addresses),
                    Some(Command::Providers(asked)) => self.on_asked(asked),
                    Some(Command::Close { done }) => {
                        self.close().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return self.close().await,
                },
            }
        }
    }

    /// Lets the links deliver what they have queued.
    async fn close(&mut self) {
        self.shared.links().all().for_each(|link| link.outbox.close());
        let deadline = sleep(DRAIN_MAX);
        tokio::pin!(deadline);
        while !self.shared.links().is_empty() || !self.links.is_empty() {
            tokio::select! {
                _ = self.swarm.select_next_some() => {}
                Some(_) = self.links.join_next() => {}
                () = &mut deadline => break,
            }
        }
        self.links.abort_all();
        let connected: Vec<_> = self.at.keys().copied().collect();
        for connection in connected {
            self.swarm.close_connection(connection);
        }
        // The close frames leave while the swarm is polled; a peer that misses its own finds out by silence.
        let _ = timeout(Duration::from_millis(50), async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        })
        .await;
    }

    fn dial(&mut self, peer: Option<PeerId>, addresses: Vec<String>) {
        let mut parsed = Vec::new();
        let mut named = peer;
        for address in addresses.into_iter().take(DIAL_ADDRESSES_MAX) {
            match address.parse::<Multiaddr>() {
                Ok(multiaddr) => {
                    if let Some(Protocol::P2p(id)) = multiaddr.iter().last() {
                        named = named.or_else(|| from_libp2p(&id));
                    }
                    match lookup::host(&multiaddr) {
                        Some(host) => drop(self.lookups.spawn(lookup::look_up(named, host, multiaddr))),
                        None => parsed.push(multiaddr),
                    }
                }
                Err(error) => {
                    let reason = format!("`{address}` is not a multiaddress: {error}");
                    self.emit(NetworkEvent::DialFailed { peer, address: Some(address), reason });
                }
            }
        }
        match named {
            Some(peer) if !parsed.is_empty() => self.dial_peer(peer, parsed),
            Some(_) => {}
            None => parsed.into_iter().for_each(|address| self.dial_address(address)),
        }
    }

    /// The dial goes by the address as it was given, so that the protocol finds it again.
    fn on_looked_up(&mut self, LookedUp { peer, address, found }: LookedUp) {
        match (found, peer.and_then(to_libp2p)) {
            (Ok(found), Some(id)) => {
                let dial = DialOpts::peer_id(id).condition(PeerCondition::NotDialing).addresses(found).build();
                self.start_dial(dial, peer, Some(address));
            }
            (Ok(found), None) => {
                // Without a peer's id the swarm takes one address: the one the resolver prefers.
                let first = found.into_iter().next();
                first.into_iter().for_each(|number| {
                    let dial = DialOpts::unknown_peer_id().address(number).build();
                    self.start_dial(dial, None, Some(address.clone()));
                });
            }
            (Err(reason), _) => self.emit(NetworkEvent::DialFailed { peer, address: Some(address), reason }),
        }
    }

    fn dial_peer(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if self.shared.links().is_fresh(peer, Path::Relayed) {
            return;
        }
        let only = match addresses.as_slice() {
            [only] => Some(only.to_string()),
            _ => None,
        };
        let Some(id) = to_libp2p(peer) else {
            let reason = "its id is not an Ed25519 key".into();
            return self.emit(NetworkEvent::DialFailed { peer: Some(peer), address: only, reason });
        };
        // A connection that exists and is silent may be dead: it does not keep us from dialling.
        let dial = DialOpts::peer_id(id).condition(PeerCondition::NotDialing).addresses(addresses).build();
        self.start_dial(dial, Some(peer), only);
    }

    fn dial_address(&mut self, address: Multiaddr) {
        let text = address.to_string();
        self.start_dial(DialOpts::unknown_peer_id().address(address).build(), None, Some(text));
    }

    fn start_dial(&mut self, dial: DialOpts, peer: Option<PeerId>, address: Option<String>) {
        let connection = dial.connection_id();
        match self.swarm.dial(dial) {
            Ok(()) => drop(self.dials.insert(connection, (peer, address))),
            Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => {
                let reason = dial_reason(&error);
                self.emit(NetworkEvent::DialFailed { peer, address, reason });
            }
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(event)) => self.on_mdns(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Punching(event)) => self.on_punched(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) => self.on_relay(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Providers(event)) => self.on_table(event),
            SwarmEvent::ConnectionClosed { connection_id, .. } => {
                self.at.remove(&connection_id);
                self.reach.closed(connection_id);
                self.relays.offered(connection_id, None);
                self.settle();
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                let Some((peer, address)) = self.dials.remove(&connection_id) else {
                    return tracing::debug!(peer = ?peer_id, error = dial_reason(&error), "a dial of libp2p's failed");
                };
                let peer = peer.or_else(|| peer_id.as_ref().and_then(from_libp2p));
                self.on_dial_failed(peer, address, &error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                self.on_incoming_failed(send_back_addr.to_string(), &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_address(&address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_address_gone(&address),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                let was_relay = self.relays.closed(Instant::now(), listener_id);
                match reason {
                    Err(error) if was_relay => tracing::debug!(error = root(&error), "a relay has let go of this peer"),
                    Err(error) => tracing::warn!(error = root(&error), "a listener has failed"),
                    Ok(()) => {}
                }
                addresses.iter().for_each(|address| self.on_address_gone(address));
                self.settle();
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!(error = root(&error), "listener"),
            // The rest repeats what other events say, or is about behaviours this node does not have.
            _ => {}
        }
    }

    fn on_established(&mut self, peer: libp2p::PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let given = self.dials.remove(&connection).and_then(|(_, address)| address);
        let remote = endpoint.get_remote_address();
        let address = given.unwrap_or_else(|| remote.to_string());
        // Whoever punched a hole has dialled too, but the other side began the handshake.
        let dialled = matches!(endpoint, ConnectedPoint::Dialer { role_override: Endpoint::Dialer, .. });
        let arrived = from_libp2p(&peer).and_then(|peer| self.arrivals.take(peer, remote, dialled));
        // Every connection comes with its arrival, unless it has ended already.
        let Some(arrived) = arrived else { return };
        let path = if arrived.remote.is_some() { Path::Direct } else { Path::Relayed };
        if path == Path::Relayed {
            self.shared.counters.relayed.one();
        }
        let at = At {
            peer: arrived.proven.certificate.peer,
            address: address.clone(),
            direct: arrived.remote.map(|remote| (remote, arrived.connection.clone())),
            is_cloud: arrived.proven.certificate.role == Role::Cloud,
            calls: Calls::default(),
        };
        self.at.insert(connection, at);
        let whom = Whom { peer: arrived.proven.certificate.peer, address, dialled };
        self.links_begun += 1;
        let opened = Opened {
            id: LinkId(self.links_begun),
            connection: arrived.connection,
            path,
            proven: arrived.proven,
            dialled: dialled.then(|| whom.address.clone()),
            bulk: arrived.bulk,
        };
        let shared = Arc::clone(&self.shared);
        self.links.spawn(async move { (whom, link::run(opened, shared).await) });
    }

    fn on_link_end(&mut self, whom: &Whom, end: End) {
        match end {
            End::Redundant => self.shared.counters.duplicates.one(),
            End::Refused { reason, garbage } => {
                if garbage {
                    self.shared.counters.garbage.one();
                }
                self.refuse(whom.address.clone(), &reason);
                self.unanswered(whom, reason);
            }
            End::ClosedEarly { reason } => self.unanswered(whom, format!("it did not admit this peer: {reason}")),
            End::Closed => {}
            End::Garbage { reason } => {
                self.shared.counters.garbage.one();
                tracing::warn!(peer = ?whom.peer, whom.address, reason, "closed the connection of a peer");
                self.emit(NetworkEvent::CutOff { peer: whom.peer, reason });
            }
        }
    }

    fn refuse(&mut self, address: String, reason: &str) {
        self.shared.counters.refused.one();
        tracing::warn!(address, reason, "refused a connection");
        self.emit(NetworkEvent::Refused { address, reason: reason.to_owned() });
    }

    /// Answers the dial that led to this link, if one did.
    fn unanswered(&mut self, whom: &Whom, reason: String) {
        if whom.dialled {
            let (peer, address) = (Some(whom.peer), Some(whom.address.clone()));
            self.emit(NetworkEvent::DialFailed { peer, address, reason });
        }
    }

    fn on_dial_failed(&mut self, peer: Option<PeerId>, address: Option<String>, error: &DialError) {
        let reason = dial_reason(error);
        if let DialError::Transport(tried) = error {
            let refused = tried.iter().find_map(|(_, error)| match error {
                TransportError::Other(error) => cause::<QuicError>(error).filter(|error| error.is_refusal()),
                TransportError::MultiaddrNotSupported(_) => None,
            });
            if refused.is_some() {
                self.refuse(address.clone().unwrap_or_default(), &reason);
            }
        }
        self.emit(NetworkEvent::DialFailed { peer, address, reason });
    }

    fn on_incoming_failed(&mut self, address: String, error: &ListenError) {
        if let ListenError::Denied { cause } = error {
            return self.refuse(address, &root(cause));
        }
        let is_denial = |error: &&QuicError| error.is_refusal() || error.is_half_open();
        if let Some(refusal) = cause::<QuicError>(error).filter(is_denial) {
            return self.refuse(address, &refusal.to_string());
        }
        tracing::debug!(address, error = root(error), "a handshake has failed");
    }

    fn on_address(&mut self, address: &Multiaddr) {
        let address = address.to_string();
        self.shared.addresses().push(address.clone());
        self.emit(NetworkEvent::Listening { address });
    }

    fn on_address_gone(&mut self, address: &Multiaddr) {
        let address = address.to_string();
        self.shared.addresses().retain(|known| *known != address);
        self.emit(NetworkEvent::AddressGone { address });
    }

    fn on_mdns(&mut self, event: mdns::Event) {
        match event {
            mdns::Event::Discovered(found) => found.into_iter().for_each(|(peer, address)| {
                let Some(peer) = from_libp2p(&peer) else { return };
                self.discover(peer, address.to_string());
            }),
            mdns::Event::Expired(gone) => gone.into_iter().for_each(|(peer, address)| {
                let Some(peer) = from_libp2p(&peer) else { return };
                self.discovered.remove(&(peer, address.to_string()));
            }),
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { connection_id, peer_id, mut info } = event else { return };
        let (Some(at), Some(peer)) = (self.at.get(&connection_id), from_libp2p(&peer_id)) else { return };
        // Another machine's loopback is not ours.
        let near = is_loopback(&at.address);
        info.listen_addrs.retain(|address| near || !is_loopback(&address.to_string()));
        info.listen_addrs.truncate(ADDRESSES_MAX);
        for address in &info.listen_addrs {
            self.discover(peer, address.to_string());
        }
        self.on_identified(connection_id, peer_id, &info);
    }

    fn discover(&mut self, peer: PeerId, address: String) {
        if peer == self.shared.local {
            return;
        }
        if self.discovered.len() >= DISCOVERED_MAX {
            // Whoever floods the local network makes us repeat ourselves, and no more.
            self.discovered.clear();
        }
        if self.discovered.insert((peer, address.clone())) {
            self.emit(NetworkEvent::Discovered { peer: Some(peer), address });
        }
    }

    /// Gives the driver an event without ever waiting for it.
    fn emit(&mut self, event: NetworkEvent) {
        let event = if self.backlog.is_empty() {
            match self.shared.events.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(event)) => event,
            }
        } else {
            event
        };
        if self.backlog.len() < BACKLOG_MAX {
            self.backlog.push_back(event);
        } else {
            self.shared.counters.dropped.one();
        }
    }
}

/// How this peer begins and answers handshakes.
pub(super) fn settings(config: &NetworkConfig, revoked: &Revoked) -> Result<Settings, NetworkError> {
    let key = Arc::new(SecretKey::from_bytes(&config.node_key));
    let settings = Settings::new(&key, config.mesh, &config.certificate, config.congestion, revoked);
    let settings = settings.and_then(|settings| match config.office.clone() {
        Some(office) => settings.with_office(office),
        None => Ok(settings),
    });
    settings.map_err(|error| NetworkError::Transport(error.to_string()))
}

fn build(config: &NetworkConfig, settings: Settings, arrivals: Arrivals) -> Result<Swarm<Behaviour>, NetworkError> {
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

fn is_loopback(address: &str) -> bool {
    address.parse::<Multiaddr>().is_ok_and(|address| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    })
}

/// The transport hides the kind of its errors behind types without names, but not their words.
fn is_in_use(error: &io::Error) -> bool {
    root(error).contains(&io::Error::from(Errno::EADDRINUSE).to_string())
}

/// The error of this type inside of another.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        // An I/O error that wraps another leaves it out of its sources.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

/// The innermost words of an error: the layers above repeat each other.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn dial_reason(error: &DialError) -> String {
    match error {
        DialError::LocalPeerId { .. } => "it is this peer's own address".into(),
        // The swarm leaves out the addresses it listens on itself.
        DialError::NoAddresses => "no address but this peer's own".into(),
        DialError::DialPeerConditionFalse(_) | DialError::Aborted => "the dial was given up".into(),
        DialError::WrongPeerId { obtained, .. } => match from_libp2p(obtained) {
            Some(peer) => format!("another peer answers there: {peer}"),
            None => "something else than a peer answers there".into(),
        },
        DialError::Denied { cause } => root(cause),
        DialError::Transport(tried) => {
            let tried: Vec<_> = tried
                .iter()
                .map(|(address, error)| match error {
                    TransportError::MultiaddrNotSupported(_) => format!("{address} is not a QUIC address"),
                    TransportError::Other(error) => format!("{address}: {}", root(error)),
                })
                .collect();
            tried.join("; ")
        }
    }
}
