//! Connections to other peers: QUIC, discovery on the local network, ways through NATs, frames and bulk streams.
//!
//! ```text
//! driver ── send, open_bulk ─► link ═ streams of a connection ═ link ─► Frame, Bulk ── driver   (one link per neighbour)
//!        ── dial ─► swarm ═ handshake: members only ═ swarm ─► Connected, Discovered ── driver       (one swarm per node)
//! ```
//!
//! **Invariant:** nothing outside of this module names a type of libp2p or quinn (but tests, through [`Probe`]), and no
//! event carries a word of a peer whose certificate has not been checked.
//! **Not here:** what frames mean, and whom to dial: the protocol decides both.

mod behaviour;
mod bulk;
mod counters;
mod error;
mod frame;
mod greeting;
mod identity;
mod kinds;
mod limits;
mod link;
mod links;
mod long;
mod lookup;
mod outbox;
mod papers;
mod providers;
mod quic;
mod reach;
mod relays;
mod revoked;
mod slots;
mod swarm;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shoal_protocol::certificate::{Chain, MemberCertificate, SecretKey};
use shoal_protocol::config::MESSAGE_BYTES_MAX;
use shoal_protocol::latency::PathSample;
use shoal_protocol::{Member, MeshId, PeerId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use counters::Counters;
use greeting::{Run, greeting};
use limits::{COMMANDS_MAX, EVENTS_MAX, LONG_BYTES_MIN, STREAM_OPEN_TIMEOUT};
use links::{Link, Links, Path};
use outbox::Rejected;
use revoked::Revoked;
use swarm::{Command, Task};

use crate::joining::Office;

pub use bulk::BulkStream;
pub use error::{BulkError, KeyError, KeyLogError, NetworkError, ProvideError, SendError};
pub use identity::{NodeKey, forget_tls_key_log, load_or_create_node_key};
pub(crate) use limits::BULK_OUT_MAX;
pub use quic::{Congestion, Probe, Visit, VisitError, Visited};
pub(crate) use quic::{SOCKET_BUFFER_BYTES, multiaddresses, sockets_of};

/// What the network needs to start.
pub struct NetworkConfig {
    /// Multiaddresses to listen on, like `/ip4/0.0.0.0/udp/7700/quic-v1`.
    pub listen: Vec<String>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// How often to ask the local network.
    pub mdns_interval: Duration,
    /// Multiaddresses where this peer is reachable from outside, which it cannot find out by itself.
    pub announce: Vec<String>,
    /// Whether it may be reachable from outside at all: else it is called through relays, whatever it finds out.
    pub reachable: bool,
    /// Whether it relays for other members, if it is reachable.
    pub relay: bool,
    /// Neighbours at once.
    pub peers_max: usize,
    /// How this peer finds out how much it may send.
    pub congestion: Congestion,
    /// The secret that makes this peer this peer.
    pub node_key: NodeKey,
    /// The mesh it belongs to.
    pub mesh: MeshId,
    /// What makes it a member of it.
    pub certificate: Chain,
    /// Who decides about machines that come with a ticket; nobody: they are strangers.
    pub office: Option<Office>,
}

impl fmt::Debug for NetworkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkConfig").field("listen", &self.listen).field("mesh", &self.mesh).finish_non_exhaustive()
    }
}

/// What the network tells the driver.
#[derive(Debug)]
pub enum NetworkEvent {
    /// This node can be reached there.
    Listening {
        /// A multiaddress.
        address: String,
    },
    /// It can no longer.
    AddressGone {
        /// A multiaddress.
        address: String,
    },
    /// A peer is said to be there: by somebody on the local network, who may belong to any mesh, or by a neighbour of
    /// itself.
    Discovered {
        /// Who it is said to be.
        peer: Option<PeerId>,
        /// A multiaddress.
        address: String,
    },
    /// A member is connected; its certificate has been checked.
    Connected {
        /// Who.
        member: Member,
        /// What says so.
        certificate: MemberCertificate,
        /// Who has signed that.
        issuer: PeerId,
        /// Where, when this side dialled.
        address: Option<String>,
    },
    /// A peer that was connected is not any more, or not the same run of it.
    Disconnected {
        /// Who.
        peer: PeerId,
    },
    /// A dial has come to nothing.
    DialFailed {
        /// Whom we hoped to find, or found.
        peer: Option<PeerId>,
        /// Where; none when several addresses were tried.
        address: Option<String>,
        /// Why, for people.
        reason: String,
    },
    /// A stranger was cut off.
    Refused {
        /// Where it came from, or where we found it.
        address: String,
        /// Why, for people.
        reason: String,
    },
    /// A member was cut off for bytes that no honest peer sends.
    CutOff {
        /// Who.
        peer: PeerId,
        /// What was wrong with them, for people.
        reason: String,
    },
    /// A neighbour has said something, in a frame of the control stream or on a stream of its own.
    Frame {
        /// Who.
        from: PeerId,
        /// The message without its length.
        body: Vec<u8>,
    },
    /// A neighbour says something about certificates.
    Papers {
        /// Who.
        from: PeerId,
        /// What, as it was sent.
        body: Vec<u8>,
    },
    /// A neighbour has opened a bulk stream.
    Bulk {
        /// Who.
        from: PeerId,
        /// The stream.
        stream: BulkStream,
    },
}

/// The way to the other peers. Cheap to clone; when the last clone is gone, the network closes.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    shown: Arc<quic::Shown>,
}

/// What the handle, the swarm and the links have in common. Its locks are held for a few instructions.
#[derive(Debug)]
struct Shared {
    local: PeerId,
    /// The body of the first frame this peer sends.
    greeting: Vec<u8>,
    links: Mutex<Links>,
    addresses: Mutex<Vec<String>>,
    counters: Arc<Counters>,
    revoked: Revoked,
    callbacks: quic::Callbacks,
    events: mpsc::Sender<NetworkEvent>,
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> MutexGuard<'_, Vec<String>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network {
    /// Listens, and answers from then on. Needs a running tokio runtime.
    pub async fn start(config: NetworkConfig) -> Result<(Self, mpsc::Receiver<NetworkEvent>), NetworkError> {
        let run = getrandom::u64().map_err(|error| NetworkError::Transport(format!("no randomness: {error}")))?;
        let local = SecretKey::from_bytes(&config.node_key).peer();
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let revoked = Revoked::default();
        let settings = swarm::settings(&config, &revoked)?;
        let shown = Arc::clone(&settings.shown);
        let shared = Arc::new(Shared {
            local,
            greeting: greeting(Run(run)),
            links: Mutex::new(Links::new(local, config.peers_max)),
            addresses: Mutex::default(),
            counters: Arc::default(),
            revoked,
            callbacks: settings.callbacks.clone(),
            events,
        });
        let mut task = Task::new(&config, settings, Arc::clone(&shared), orders)?;
        task.listen(&config.listen).await?;
        tokio::spawn(task.run());
        Ok((Self { shared, commands, shown }, received))
    }

    /// This peer.
    pub fn local_peer(&self) -> PeerId {
        self.shared.local
    }

    /// Queues a message for a neighbour: as a frame of the control stream, in order, or on a stream of its own if it is
    /// long, so that what is sent after it may arrive before it. A neighbour whose queue of frames is full is cut off; a long
    /// message that has no room is dropped: much may be due to an honest neighbour at once, when it comes back for instance.
    pub fn send(&self, to: PeerId, body: Vec<u8>) -> Result<(), SendError> {
        let links = self.shared.links();
        let link = links.newest(to).ok_or(SendError::NotConnected(to))?;
        if body.len() >= LONG_BYTES_MIN {
            return self.send_long(to, Arc::clone(link), body);
        }
        link.outbox.push(&body).map_err(|rejected| match rejected {
            Rejected::Closed => SendError::NotConnected(to),
            Rejected::TooLarge => SendError::TooLarge(body.len()),
            Rejected::Full => {
                self.shared.counters.cut_off.one();
                SendError::Full(to)
            }
        })
    }

    /// Sends a message that may be lost and needs no order: it waits behind nothing, and nothing waits for it. Where the
    /// neighbour takes no datagrams, or none this long, it is a frame like any other.
    pub fn send_datagram(&self, to: PeerId, body: Vec<u8>) -> Result<(), SendError> {
        let links = self.shared.links();
        let link = links.newest(to).ok_or(SendError::NotConnected(to))?;
        if !link.outbox.is_open() {
            return Err(SendError::NotConnected(to));
        }
        let fits = link.connection.max_datagram_size().is_some_and(|longest| body.len() <= longest);
        if !fits || link.connection.send_datagram(body.clone().into()).is_err() {
            drop(links);
            return self.send(to, body);
        }
        self.shared.counters.datagrams_out.one();
        Ok(())
    }

    /// What the transport has measured on the present connections with neighbours.
    pub fn paths(&self) -> Vec<(PeerId, PathSample)> {
        let newest: Vec<_> = self.shared.links().newest_of_all().collect();
        let measured = newest.into_iter().map(|(peer, link)| {
            let path = link.connection.stats().path;
            (peer, PathSample { rtt: path.rtt, sent_packets: path.sent_packets, lost_packets: path.lost_packets })
        });
        measured.collect()
    }

    fn send_long(&self, to: PeerId, link: Arc<Link>, body: Vec<u8>) -> Result<(), SendError> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge(body.len()));
        }
        if !link.outbox.is_open() {
            return Err(SendError::NotConnected(to));
        }
        let Some(place) = link.slots.try_long_queued(body.len()) else {
            self.shared.counters.long_dropped.one();
            return Err(SendError::Full(to));
        };
        let queued = long::Queued { to, link, place, body };
        tokio::spawn(long::send(queued, Arc::downgrade(&self.shared)));
        Ok(())
    }

    /// Dials a peer at any of the addresses, or whoever is at each of them when no peer is named.
    ///
    /// Answered by `Connected` or `DialFailed`; by nothing when that peer is connected already.
    pub fn dial(&self, peer: Option<PeerId>, addresses: Vec<String>) {
        if let Err(error) = self.commands.try_send(Command::Dial { peer, addresses }) {
            self.shared.counters.dropped.one();
            tracing::warn!(?peer, %error, "a dial was dropped");
        }
    }

    /// Closes the connections with a peer once what is queued has been delivered. Answered by `Disconnected`.
    pub fn disconnect(&self, peer: PeerId, reason: &str) {
        tracing::debug!(?peer, reason, "disconnecting");
        for link in self.shared.links().of(peer) {
            link.mute();
            link.outbox.close();
        }
    }

    /// From now on lets nobody in who has one of these keys, or is signed for by one of these issuers. Connections that
    /// exist are not touched.
    pub fn refuse(&self, peers: BTreeSet<PeerId>, issuers: BTreeSet<PeerId>) {
        self.shared.revoked.set(peers, issuers);
    }

    /// Opens a fresh stream to a neighbour, which receives it as `Bulk`. Waits a while if as many are open to it as may be.
    pub async fn open_bulk(&self, peer: PeerId) -> Result<BulkStream, BulkError> {
        let link = self.open_link(peer).ok_or(BulkError::NotConnected(peer))?;
        let gone = || BulkError::NotConnected(peer);
        let slot = tokio::select! {
            slot = timeout(STREAM_OPEN_TIMEOUT, link.slots.bulk_out()) => {
                slot.map_err(|_| BulkError::TimedOut(peer))?.ok_or_else(gone)?
            }
            _ = link.connection.closed() => return Err(gone()),
        };
        match timeout(STREAM_OPEN_TIMEOUT, quic::open_bulk(&link.connection)).await {
            Ok(Ok(stream)) => {
                self.shared.counters.bulk_out.one();
                Ok(BulkStream::new(peer, stream, slot))
            }
            Ok(Err(error)) => Err(BulkError::Refused { peer, why: error.to_string() }),
            Err(_) => Err(BulkError::TimedOut(peer)),
        }
    }

    /// Whether there is a connection with a peer that takes streams.
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.open_link(peer).is_some()
    }

    fn open_link(&self, peer: PeerId) -> Option<Arc<Link>> {
        self.shared.links().newest(peer).filter(|link| link.outbox.is_open()).cloned()
    }

    /// Whether the connection with a neighbour goes through a relay; none with who is no neighbour.
    pub fn is_relayed(&self, peer: PeerId) -> Option<bool> {
        self.shared.links().newest(peer).map(|link| link.path == Path::Relayed)
    }

    /// Where this node can be reached, as far as it knows.
    pub fn local_addresses(&self) -> Vec<String> {
        self.shared.addresses().clone()
    }

    /// What was counted since the start, by name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        self.shared.counters.list()
    }

    /// Closes every connection once what is queued has been delivered, or after a second.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }
}

#[cfg(test)]
mod tests;
