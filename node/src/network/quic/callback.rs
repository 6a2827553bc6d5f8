//! Whether a stranger's datagram would get through to this peer: a neighbour calls back from a port of its own that is new.
//!
//! ```text
//! asker ── a name, on a stream ─► neighbour ── from a new port: a first QUIC datagram that bears the name ─► where it sees
//!   └─ it has come, or not in time                                                                          the asker
//! ```
//!
//! libp2p's AutoNAT (version 2) would ask any connected server, which may be on this side of the NAT, leave a connection for
//! each answer, and never ask again after a first no. Here the neighbour that is outside answers, about the address it sees,
//! and one packet each way is all. Like AutoNAT it is deceived by a NAT that filters by address and not by port (RFC 4787,
//! 5: "address-dependent"): the call comes from an address that the asker has sent to.
//!
//! **Invariant:** a neighbour calls nobody but the asker, so that nobody can be made to send to others.
//! **Not here:** when to ask, and what follows. That is `network/reach.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn_proto::ConnectionId;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::transport::NO_NAME;
use crate::network::kinds::Kind;

/// A name that nobody guesses; a connection id has up to 20 bytes.
pub(in crate::network) const CALLBACK_BYTES: usize = 16;
type Name = [u8; CALLBACK_BYTES];

/// A first datagram is sent after 0, 1 and 3 s (RFC 9002, 6.2): three must be lost for a wrong answer.
const CALL_MAX: Duration = Duration::from_secs(4);
/// What the asker waits: the same, and the way of its question.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Calls under way for neighbours; the rest are declined, and asked for again.
const CALLS_MAX: usize = 8;

/// Calls that are waited for, and those that are made. Cheap to clone.
#[derive(Clone)]
pub(in crate::network) struct Callbacks(Arc<Shared>);

struct Shared {
    /// As many as this peer asks for at once.
    expected: Mutex<BTreeMap<Name, oneshot::Sender<()>>>,
    calls: Semaphore,
    client: quinn::ClientConfig,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callbacks(..)")
    }
}

impl Callbacks {
    pub(super) fn new(client: quinn::ClientConfig) -> Self {
        Self(Arc::new(Shared { expected: Mutex::default(), calls: Semaphore::new(CALLS_MAX), client }))
    }

    fn expected(&self) -> MutexGuard<'_, BTreeMap<Name, oneshot::Sender<()>>> {
        self.0.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a neighbour to call; whether the call has come; nothing when it does not call.
    pub(in crate::network) async fn ask(self, neighbour: quinn::Connection) -> Option<bool> {
        let mut name = [0; CALLBACK_BYTES];
        getrandom::fill(&mut name).ok()?;
        let (sender, heard) = oneshot::channel();
        self.expected().insert(name, sender);
        let asking = async {
            let mut stream = Kind::Callback.open(&neighbour).await.ok()?;
            stream.write_all(&name).await.ok()?;
            // The stream stays open, for the neighbour to stop it if it does not call.
            tokio::select! {
                _ = heard => Some(true),
                _ = stream.stopped() => None,
            }
        };
        let answer = timeout(ANSWER_MAX, asking).await.unwrap_or(Some(false));
        self.expected().remove(&name);
        answer
    }

    /// Whether this is a call that is waited for; whoever waits is told.
    pub(super) fn heard(&self, incoming: &quinn::Incoming) -> bool {
        let Ok(name) = Name::try_from(&incoming.orig_dst_cid()[..]) else { return false };
        let waiting = self.expected().remove(&name);
        waiting.map(|waiting| waiting.send(())).is_some()
    }

    /// Calls a neighbour that has asked for it; false when too many calls are being made.
    pub(in crate::network) async fn call(&self, neighbour: &quinn::Connection, name: Name) -> io::Result<bool> {
        let Ok(_place) = self.0.calls.try_acquire() else { return Ok(false) };
        let to = neighbour.remote_address();
        let from = match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let endpoint = quinn::Endpoint::client(from)?;
        let mut client = self.0.client.clone();
        client.initial_dst_cid_provider(Arc::new(move || ConnectionId::new(&name)));
        let calling = endpoint.connect_with(client, to, NO_NAME).map_err(io::Error::other)?;
        // The asker refuses the connection when it has heard the call: there is nothing to say.
        let _ = timeout(CALL_MAX, calling).await;
        Ok(true)
    }
}
