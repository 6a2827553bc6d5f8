//! Connections with members, on their way around libp2p: it reports that there is one, but not which.
//!
//! **Invariant:** what is here belongs to connections that live; the rest is dropped with the next that comes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::Multiaddr;
use quinn::{RecvStream, SendStream};
use shoal_protocol::PeerId;
use tokio::sync::mpsc;

use super::address;
use super::tls::Proven;

/// A connection with a member.
pub(in crate::network) struct Arrival {
    pub(in crate::network) connection: quinn::Connection,
    pub(in crate::network) proven: Proven,
    /// Streams it opens for bulk.
    pub(in crate::network) bulk: mpsc::Receiver<(SendStream, RecvStream)>,
    pub(super) dialled: bool,
    /// Where it is; none when a relay is between.
    pub(in crate::network) remote: Option<SocketAddr>,
}

/// Those that libp2p has not reported yet.
#[derive(Clone, Default)]
pub(in crate::network) struct Arrivals(Arc<Mutex<Vec<Arrival>>>);

impl Arrivals {
    pub(super) fn add(&self, arrival: Arrival) {
        let mut waiting = self.waiting();
        // libp2p may have had reasons to let others go.
        waiting.retain(|other| other.connection.close_reason().is_none());
        waiting.push(arrival);
    }

    /// The one that libp2p reports: the oldest with this peer, at this address or through a relay, that was dialled or was not.
    pub(in crate::network) fn take(&self, peer: PeerId, remote: &Multiaddr, dialled: bool) -> Option<Arrival> {
        let remote = address::parse(remote).map(|(remote, _)| remote);
        let is_it = |other: &Arrival| {
            other.proven.certificate.peer == peer && other.remote == remote && other.dialled == dialled
        };
        let mut waiting = self.waiting();
        let at = waiting.iter().position(is_it)?;
        Some(waiting.remove(at))
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
