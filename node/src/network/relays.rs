//! Through whom others reach this peer while it is hidden: members that offer it, of the cloud first, two of them.
//!
//! ```text
//! hidden ─► an offer ─► reservation asked for ─► listening there: `…/p2p/RELAY/p2p-circuit` is among our addresses
//!             ▲                                     │ refused, or lost
//!             └───────── another, or after a rest ◄─┘
//! ```
//!
//! A peer that turns out to be reachable keeps the relays it has, until their connections end: a reservation that is let go of
//! while an answer is on its way makes libp2p-relay 0.22 panic, and an address more is tried last and does no harm.
//!
//! **Invariant:** at most [`RELAYS_USED`] are asked at once.
//! **Not here:** the protocol of reservations. That is libp2p's (circuit relay, version 2).

use std::collections::BTreeMap;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::limits::{RELAY_REST, RELAYS_USED};

/// A connected member that relays.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) relay: PeerId,
    pub(super) is_cloud: bool,
    /// Where it is.
    pub(super) address: Multiaddr,
}

/// Who offers to relay, and who does.
#[derive(Debug, Default)]
pub(super) struct Relays {
    offers: BTreeMap<ConnectionId, Offer>,
    used: Vec<(ListenerId, PeerId)>,
    resting: BTreeMap<PeerId, Instant>,
}

impl Relays {
    /// A neighbour says that it relays, or that it does not any more.
    pub(super) fn offered(&mut self, connection: ConnectionId, offer: Option<Offer>) {
        match offer {
            Some(offer) => drop(self.offers.insert(connection, offer)),
            None => drop(self.offers.remove(&connection)),
        }
    }

    /// A relay that is not used and may be asked, while more are wanted.
    pub(super) fn next(&mut self, now: Instant) -> Option<Offer> {
        self.resting.retain(|_, since| now.duration_since(*since) < RELAY_REST);
        if self.used.len() >= RELAYS_USED {
            return None;
        }
        let is_free = |offer: &&Offer| {
            !self.resting.contains_key(&offer.relay) && self.used.iter().all(|(_, used)| *used != offer.relay)
        };
        // Of equals the one that has been connected for longest.
        self.offers.values().filter(is_free).min_by_key(|offer| !offer.is_cloud).cloned()
    }

    pub(super) fn uses(&mut self, listener: ListenerId, relay: PeerId) {
        self.used.push((listener, relay));
    }

    /// Cannot be asked now.
    pub(super) fn refused(&mut self, now: Instant, relay: PeerId) {
        self.resting.insert(relay, now);
    }

    /// A listener is closed; true if it was one of a relay.
    pub(super) fn closed(&mut self, now: Instant, listener: ListenerId) -> bool {
        let Some(at) = self.used.iter().position(|(used, _)| *used == listener) else { return false };
        let (_, relay) = self.used.swap_remove(at);
        self.resting.insert(relay, now);
        true
    }
}

impl Offer {
    /// What to listen on to be reached through it.
    pub(super) fn circuit(&self) -> Multiaddr {
        let mut address = self.address.clone();
        if !matches!(address.iter().last(), Some(Protocol::P2p(_))) {
            address.push(Protocol::P2p(self.relay));
        }
        address.with(Protocol::P2pCircuit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(is_cloud: bool) -> Offer {
        Offer { relay: PeerId::random(), is_cloud, address: "/ip4/192.0.2.1/udp/7600/quic-v1".parse().unwrap() }
    }

    fn with(offers: &[Offer]) -> Relays {
        let mut relays = Relays::default();
        for (n, offer) in offers.iter().enumerate() {
            relays.offered(ConnectionId::new_unchecked(n), Some(offer.clone()));
        }
        relays
    }

    fn asked(relays: &mut Relays, now: Instant) -> Option<PeerId> {
        relays.next(now).map(|offer| offer.relay)
    }

    #[test]
    fn relays_of_the_cloud_come_first_and_two_are_used() {
        let offers = [offer(false), offer(true), offer(false)];
        let (mut relays, now) = (with(&offers), Instant::now());

        assert_eq!(asked(&mut relays, now), Some(offers[1].relay));
        relays.uses(ListenerId::next(), offers[1].relay);
        assert_eq!(asked(&mut relays, now), Some(offers[0].relay));
        relays.uses(ListenerId::next(), offers[0].relay);
        assert_eq!(asked(&mut relays, now), None);
    }

    #[test]
    fn a_relay_that_is_lost_is_replaced_and_asked_again_after_a_rest() {
        let offers = [offer(true), offer(true)];
        let (mut relays, now) = (with(&offers[..1]), Instant::now());
        let listener = ListenerId::next();
        relays.uses(listener, offers[0].relay);

        assert!(relays.closed(now, listener) && !relays.closed(now, listener));
        assert_eq!(asked(&mut relays, now), None);
        relays.offered(ConnectionId::new_unchecked(1), Some(offers[1].clone()));
        assert_eq!(asked(&mut relays, now), Some(offers[1].relay));
        relays.offered(ConnectionId::new_unchecked(1), None);

        assert_eq!(asked(&mut relays, now + RELAY_REST), Some(offers[0].relay));
    }

    #[test]
    fn a_circuit_is_named_after_the_relay() {
        let offer = offer(true);

        assert_eq!(
            offer.circuit().to_string(),
            format!("/ip4/192.0.2.1/udp/7600/quic-v1/p2p/{}/p2p-circuit", offer.relay)
        );
    }
}
