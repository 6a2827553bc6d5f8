//! What the swarm's task does about NATs: finds out whether it is behind one, and if so is reached through others.
//!
//! ```text
//! neighbour says where it sees us ─► it calls back ─► reachable: told to others, relays for them
//!                                                └─► hidden: reservations at relays, whose addresses are told to others
//! a connection through a relay ─► libp2p's DCUtR: both sides dial at once ─► a direct one, which takes over
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;

use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, dcutr, identify, kad, relay};
use tokio::time::Instant;

use super::super::identity::to_libp2p;
use super::super::limits::PROVIDERS_DIALS_MAX;
use super::super::links::Path;
use super::super::providers::{self, Asked, Providers, Table};
use super::super::quic::{multiaddress, socket_of};
use super::super::relays::Offer;
use super::Task;

impl Task {
    /// What a neighbour says of itself, and of us.
    pub(super) fn on_identified(&mut self, id: ConnectionId, peer: libp2p::PeerId, info: &identify::Info) {
        self.feed_table(peer, info);
        let Some(at) = self.at.get_mut(&id) else { return };
        let Some((neighbour, connection)) = at.direct.clone() else {
            // Through a relay a neighbour sees the relay: what it says of us is worth nothing.
            let direct = info.listen_addrs.iter().filter(|address| socket_of(address).is_some());
            at.calls.said(Instant::now(), direct.cloned().collect());
            return self.call_directly();
        };
        let relays = info.protocols.contains(&relay::HOP_PROTOCOL_NAME);
        let offer = Offer { relay: peer, is_cloud: at.is_cloud, address: multiaddress(neighbour) };
        self.relays.offered(id, relays.then_some(offer));
        if let Some(observed) = socket_of(&info.observed_addr) {
            self.swarm.behaviour_mut().own.is_seen_at(multiaddress(observed));
            let own = self.swarm.listeners().filter_map(socket_of).collect();
            if self.reach.observed(Instant::now(), id, observed, neighbour, &own) {
                let asking = self.shared.callbacks.clone().ask(connection);
                self.callbacks.spawn(async move { (observed, asking.await) });
            }
        }
        self.settle();
    }

    /// Calls neighbours behind relays where they say that they are, those whose turn it is.
    fn call_directly(&mut self) {
        let now = Instant::now();
        for (peer, calls) in self.at.values_mut().filter(|at| at.direct.is_none()).map(|at| (at.peer, &mut at.calls)) {
            if self.shared.links().is_fresh(peer, Path::Direct) {
                continue;
            }
            let (Some(addresses), Some(id)) = (calls.due(now), to_libp2p(peer)) else { continue };
            // While it is being called already, that call will do.
            let dial = DialOpts::peer_id(id).condition(PeerCondition::NotDialing).addresses(addresses.to_vec()).build();
            if let Err(error) = self.swarm.dial(dial) {
                tracing::debug!(%peer, %error, "a neighbour behind a relay is not called directly");
            }
        }
    }

    pub(super) fn on_called_back(&mut self, observed: SocketAddr, came: Option<bool>) {
        tracing::debug!(%observed, came, "a neighbour was asked to call back");
        self.reach.answered(Instant::now(), observed, came);
        self.settle();
    }

    /// Whether this peer is behind a NAT that nobody gets through uninvited, as far as is known.
    fn is_hidden(&self) -> bool {
        self.announced.is_empty() && (self.is_hidden_by_choice || self.reach.is_hidden(Instant::now()))
    }

    /// Does what follows from what is known now.
    pub(super) fn settle(&mut self) {
        self.tell_where_it_is_reachable();
        let (is_hidden, is_reachable) = (self.is_hidden(), !self.external.is_empty());
        let behaviours = self.swarm.behaviour_mut();
        let status = if self.may_relay && is_reachable { relay::Status::Enable } else { relay::Status::Disable };
        behaviours.relay.set_status(Some(status));
        let mode = if is_hidden { kad::Mode::Client } else { kad::Mode::Server };
        if behaviours.providers.mode() != mode {
            behaviours.providers.set_mode(Some(mode));
        }
        if is_hidden {
            self.take_relays();
        }
    }

    fn tell_where_it_is_reachable(&mut self) {
        let found = if self.is_hidden_by_choice { BTreeSet::new() } else { self.reach.reachable() };
        let reachable: BTreeSet<Multiaddr> =
            found.into_iter().map(multiaddress).chain(self.announced.iter().cloned()).collect();
        let gone: Vec<Multiaddr> = self.external.difference(&reachable).cloned().collect();
        for address in gone {
            self.external.remove(&address);
            self.swarm.remove_external_address(&address);
            if !self.listens_at(&address) {
                self.on_address_gone(&address);
            }
        }
        for address in reachable {
            if !self.external.insert(address.clone()) {
                continue;
            }
            tracing::info!(%address, "this peer is reachable from outside");
            self.swarm.add_external_address(address.clone());
            if !self.listens_at(&address) {
                self.on_address(&address);
            }
        }
    }

    fn listens_at(&self, address: &Multiaddr) -> bool {
        self.swarm.listeners().any(|own| own == address)
    }

    fn take_relays(&mut self) {
        while let Some(offer) = self.relays.next(Instant::now()) {
            match self.swarm.listen_on(offer.circuit()) {
                Ok(listener) => {
                    tracing::info!(relay = %offer.relay, "asking to be reached through a relay");
                    self.relays.uses(listener, offer.relay);
                }
                Err(error) => {
                    tracing::debug!(relay = %offer.relay, %error, "a relay cannot be asked");
                    self.relays.refused(Instant::now(), offer.relay);
                }
            }
        }
    }

    pub(super) fn on_punched(&mut self, event: &dcutr::Event) {
        match &event.result {
            Ok(_) => self.shared.counters.punched.one(),
            Err(error) => {
                self.shared.counters.punches_failed.one();
                tracing::debug!(peer = %event.remote_peer_id, %error, "no direct way: the connection stays relayed");
            }
        }
    }

    pub(super) fn on_relay(&self, event: &relay::Event) {
        match event {
            relay::Event::CircuitReqAccepted { .. } => self.shared.counters.circuits.one(),
            relay::Event::CircuitReqDenied { src_peer_id, dst_peer_id, status } => {
                tracing::debug!(from = %src_peer_id, to = %dst_peer_id, ?status, "a connection was not relayed");
            }
            other => tracing::trace!(?other, "relay"),
        }
    }

    /// Now and then: what has become due.
    pub(super) fn look(&mut self) {
        self.settle();
        self.call_directly();
        self.ask_table(|providers, table| providers.say_due(Instant::now(), table));
    }

    pub(super) fn on_asked(&mut self, asked: Asked) {
        self.ask_table(|providers, table| providers.on_asked(Instant::now(), asked, table));
    }

    fn ask_table<T>(&mut self, ask: impl FnOnce(&mut Providers, &mut Table) -> T) -> T {
        let behaviours = self.swarm.behaviour_mut();
        let answer = ask(&mut self.providers, &mut behaviours.providers);
        behaviours.own.table_may_call = self.providers.is_busy();
        answer
    }

    /// Holders of a blob that nobody here knows are called: the table has their addresses as long as the search lasts.
    pub(super) fn on_table(&mut self, event: kad::Event) {
        let found = self.ask_table(|providers, table| providers.on_event(Instant::now(), event, table));
        let unconnected: Vec<_> = found.into_iter().filter(|peer| !self.swarm.is_connected(peer)).collect();
        for peer in unconnected.into_iter().take(PROVIDERS_DIALS_MAX) {
            let dial = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
            if let Err(error) = self.swarm.dial(dial) {
                tracing::debug!(%peer, %error, "a holder of a blob cannot be called");
            }
        }
    }

    fn feed_table(&mut self, peer: libp2p::PeerId, info: &identify::Info) {
        let table = &mut self.swarm.behaviour_mut().providers;
        if !providers::keeps_records(table, &info.protocols) {
            table.remove_peer(&peer);
            return;
        }
        for address in info.listen_addrs.iter().take(shoal_protocol::config::ADDRESSES_MAX) {
            table.add_address(&peer, address.clone());
        }
    }
}
