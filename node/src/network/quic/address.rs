//! Multiaddresses of QUIC endpoints, to socket addresses and back.

use std::net::SocketAddr;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The socket address in `/ip4/…/udp/…/quic-v1[/p2p/…]`, and the peer if it is named; none for any other form.
pub(super) fn parse(address: &Multiaddr) -> Option<(SocketAddr, Option<PeerId>)> {
    let mut parts = address.iter();
    let (ip, port, quic) = (parts.next()?, parts.next()?, parts.next()?);
    let peer = match parts.next() {
        None => None,
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) => return None,
    };
    if parts.next().is_some() || quic != Protocol::QuicV1 {
        return None;
    }
    let Protocol::Udp(port) = port else { return None };
    match ip {
        Protocol::Ip4(ip) => Some((SocketAddr::new(ip.into(), port), peer)),
        Protocol::Ip6(ip) => Some((SocketAddr::new(ip.into(), port), peer)),
        _ => None,
    }
}

/// The socket address in a multiaddress; none in one of another form.
pub(in crate::network) fn socket_of(address: &Multiaddr) -> Option<SocketAddr> {
    parse(address).map(|(socket, _)| socket)
}

/// The socket addresses of these multiaddresses, without those of another form.
pub(crate) fn sockets_of(addresses: &[String]) -> Vec<SocketAddr> {
    let socket = |text: &String| text.parse().ok().and_then(|address| parse(&address)).map(|(socket, _)| socket);
    addresses.iter().filter_map(socket).collect()
}

/// The other way.
pub(crate) fn multiaddresses(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(|address| format(*address).to_string()).collect()
}

pub(in crate::network) fn format(address: SocketAddr) -> Multiaddr {
    Multiaddr::empty().with(address.ip().into()).with(Protocol::Udp(address.port())).with(Protocol::QuicV1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        parse(&text.parse().unwrap()).map(|(address, _)| address.to_string())
    }

    #[test]
    fn only_quic_over_ip_is_taken() {
        assert_eq!(parsed("/ip4/10.0.0.1/udp/7700/quic-v1").as_deref(), Some("10.0.0.1:7700"));
        assert_eq!(parsed("/ip6/::1/udp/7700/quic-v1").as_deref(), Some("[::1]:7700"));
        for other in [
            "/ip4/10.0.0.1/udp/7700",
            "/ip4/10.0.0.1/udp/7700/quic",
            "/ip4/10.0.0.1/tcp/7700",
            "/dns/a/udp/7700/quic-v1",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn an_address_may_end_with_its_peer_and_nothing_else() {
        let peer = PeerId::random();
        let base = format(SocketAddr::from(([127, 0, 0, 1], 7700)));
        let named = base.clone().with(Protocol::P2p(peer));

        assert_eq!(
            parse(&named),
            Some(([127, 0, 0, 1].into(), Some(peer)))
                .map(|(ip, peer): (std::net::IpAddr, _)| (SocketAddr::new(ip, 7700), peer))
        );
        assert_eq!(parse(&named.with(Protocol::P2pCircuit)), None);
    }
}
