//! The task that owns libp2p's swarm: dials, listens, discovers, and starts a link for each connection with a member.
//!
//! | file | one question |
//! |---|---|
//! | `build.rs` | what is the swarm made of? |
//! | `listening.rs` | where does this peer listen? |
//! | `dialling.rs` | whom does it dial, and what came of that? |
//! | `discovery.rs` | who is said to be where? |
//! | `connections.rs` | which link does a connection get, and which is refused? |
//! | `nat.rs`, `calls.rs` | how is a way found through NATs? |
//! | `reasons.rs` | why did something come to nothing? |
//!
//! **Invariant:** it never waits for the driver, so the driver may wait for it.
//! **Not here:** frames. Those pass between `link.rs` and the driver directly.

mod build;
mod calls;
mod connections;
mod dialling;
mod discovery;
mod listening;
mod nat;
mod reasons;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, Swarm};
use shoal_protocol::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::behaviour::{Behaviour, BehaviourEvent};
use super::error::NetworkError;
use super::identity::from_libp2p;
use super::limits::{BACKLOG_MAX, DRAIN_MAX, REACH_LOOK};
use super::link::End;
use super::lookup::LookedUp;
use super::providers::{Asked, Providers};
use super::quic::{Arrivals, Settings};
use super::reach::Reach;
use super::relays::Relays;
use super::{NetworkConfig, NetworkEvent, Shared, quic};
use build::build;
use calls::Calls;
use reasons::{dial_reason, root};

pub(super) use build::settings;

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
