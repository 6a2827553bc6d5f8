//! Addresses that name a host: looked up by the system's resolver at each dial, since names outlive numbers.
//!
//! **Not here:** when to dial again. The protocol knows the address as it was configured.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use shoal_protocol::PeerId;
use tokio::time::timeout;

/// A resolver that takes longer is not there.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// What a host's name led to.
#[derive(Debug)]
pub(super) struct LookedUp {
    /// Who should be there, if that is known.
    pub(super) peer: Option<PeerId>,
    /// The address as it was given.
    pub(super) address: String,
    /// The same with numbers, at least one; or why there is none.
    pub(super) found: Result<Vec<Multiaddr>, String>,
}

/// The name in an address, if it has one.
pub(super) fn host(address: &Multiaddr) -> Option<String> {
    match address.iter().next()? {
        Protocol::Dns(host) | Protocol::Dns4(host) | Protocol::Dns6(host) => Some(host.into_owned()),
        _ => None,
    }
}

/// Asks the system for the numbers of `host`, the name in `address`.
pub(super) async fn look_up(peer: Option<PeerId>, host: String, address: Multiaddr) -> LookedUp {
    // The port is that of the address; the resolver is only asked for the host.
    let found = match timeout(LOOKUP_MAX, tokio::net::lookup_host((host.as_str(), 0))).await {
        Ok(Ok(sockets)) => numbers(&address, sockets),
        Ok(Err(error)) => Err(format!("the name `{host}` cannot be looked up: {error}")),
        Err(_) => Err(format!("the name `{host}` was not found within {} s", LOOKUP_MAX.as_secs())),
    };
    LookedUp { peer, address: address.to_string(), found }
}

fn numbers(address: &Multiaddr, sockets: impl Iterator<Item = SocketAddr>) -> Result<Vec<Multiaddr>, String> {
    let mut found = Vec::new();
    for ip in sockets.map(|socket| socket.ip()) {
        let fits = match address.iter().next() {
            Some(Protocol::Dns4(_)) => ip.is_ipv4(),
            Some(Protocol::Dns6(_)) => ip.is_ipv6(),
            _ => true,
        };
        let number = match ip {
            IpAddr::V4(ip) => Protocol::Ip4(ip),
            IpAddr::V6(ip) => Protocol::Ip6(ip),
        };
        let with_number = core::iter::once(number).chain(address.iter().skip(1)).collect();
        if fits && !found.contains(&with_number) {
            found.push(with_number);
        }
    }
    if found.is_empty() { Err("its name has no address of that family".into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, ips: &[&str], expected: Result<&[&str], ()>) {
        let address: Multiaddr = address.parse().unwrap();
        let sockets = ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0));
        let found = numbers(&address, sockets).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(found.map_err(drop), expected.map(|e| e.iter().map(ToString::to_string).collect()));
    }

    #[test]
    fn a_name_becomes_each_of_its_numbers_of_the_family_asked_for() {
        let both = ["192.0.2.7", "2001:db8::7", "192.0.2.7"];
        check("/dns4/a.example/udp/7600/quic-v1", &both, Ok(&["/ip4/192.0.2.7/udp/7600/quic-v1"]));
        check("/dns6/a.example/udp/7600/quic-v1", &both, Ok(&["/ip6/2001:db8::7/udp/7600/quic-v1"]));
        let all = ["/ip4/192.0.2.7/udp/7600/quic-v1", "/ip6/2001:db8::7/udp/7600/quic-v1"];
        check("/dns/a.example/udp/7600/quic-v1", &both, Ok(&all));
        check("/dns6/a.example/udp/7600/quic-v1", &["192.0.2.7"], Err(()));
    }
}
