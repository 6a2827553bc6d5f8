//! Connections that came about, and the link over each; and those that were refused.

use std::sync::Arc;

use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::{ConnectionId, ListenError};
use shoal_protocol::Role;

use super::super::NetworkEvent;
use super::super::identity::from_libp2p;
use super::super::link::{self, End, Opened};
use super::super::links::{LinkId, Path};
use super::super::quic::QuicError;
use super::calls::Calls;
use super::reasons::{cause, root};
use super::{At, Task, Whom};

impl Task {
    pub(super) fn on_established(&mut self, peer: libp2p::PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
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

    pub(super) fn on_link_end(&mut self, whom: &Whom, end: End) {
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

    /// Answers the dial that led to this link, if one did.
    fn unanswered(&mut self, whom: &Whom, reason: String) {
        if whom.dialled {
            let (peer, address) = (Some(whom.peer), Some(whom.address.clone()));
            self.emit(NetworkEvent::DialFailed { peer, address, reason });
        }
    }

    pub(super) fn on_incoming_failed(&mut self, address: String, error: &ListenError) {
        if let ListenError::Denied { cause } = error {
            return self.refuse(address, &root(cause));
        }
        let is_denial = |error: &&QuicError| error.is_refusal() || error.is_half_open();
        if let Some(refusal) = cause::<QuicError>(error).filter(is_denial) {
            return self.refuse(address, &refusal.to_string());
        }
        tracing::debug!(address, error = root(error), "a handshake has failed");
    }

    pub(super) fn refuse(&mut self, address: String, reason: &str) {
        self.shared.counters.refused.one();
        tracing::warn!(address, reason, "refused a connection");
        self.emit(NetworkEvent::Refused { address, reason: reason.to_owned() });
    }
}
