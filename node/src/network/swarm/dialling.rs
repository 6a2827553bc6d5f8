//! Dials, as the protocol asks for them: each comes to a connection, or is answered with why it did not.

use libp2p::Multiaddr;
use libp2p::core::transport::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use shoal_protocol::PeerId;

use super::super::NetworkEvent;
use super::super::identity::{from_libp2p, to_libp2p};
use super::super::limits::DIAL_ADDRESSES_MAX;
use super::super::links::Path;
use super::super::lookup::{self, LookedUp};
use super::super::quic::QuicError;
use super::Task;
use super::reasons::{cause, dial_reason};

impl Task {
    pub(super) fn dial(&mut self, peer: Option<PeerId>, addresses: Vec<String>) {
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
    pub(super) fn on_looked_up(&mut self, LookedUp { peer, address, found }: LookedUp) {
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

    pub(super) fn on_dial_failed(&mut self, peer: Option<PeerId>, address: Option<String>, error: &DialError) {
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
}
