//! Who is said to be where: by the local network, and by neighbours of themselves.

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, identify, mdns};
use shoal_protocol::PeerId;
use shoal_protocol::config::ADDRESSES_MAX;

use super::super::NetworkEvent;
use super::super::identity::from_libp2p;
use super::super::limits::DISCOVERED_MAX;
use super::Task;

impl Task {
    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
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

    pub(super) fn on_identify(&mut self, event: identify::Event) {
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
}

fn is_loopback(address: &str) -> bool {
    address.parse::<Multiaddr>().is_ok_and(|address| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    })
}
