//! Whether others can reach this peer: what its neighbours see of it, and what came of calling there.
//!
//! ```text
//! a neighbour sees us at an address ─► ask it to call back there ─┬─ it came: reachable there, others may be told
//!                                                                └─ it did not: hidden, by a NAT or a firewall
//! ```
//!
//! An address that is none of ours is that of a NAT: most let nobody through, so that we are taken for hidden when the call
//! does not come at once, and until it does.
//!
//! **Invariant:** what is remembered is bounded, and an address counts only while a neighbour sees us there.
//! **Not here:** how a neighbour calls (`quic/callback.rs`), and who is asked to relay (`relays.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use libp2p::swarm::ConnectionId;
use tokio::time::Instant;

use super::limits::{OBSERVED_MAX, REACH_GOOD_FOR, REACH_PATIENCE};

/// What is known of an address.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    /// A neighbour is asked to call.
    Asking {
        is_own: bool,
        since: Instant,
    },
    Reached(Instant),
    Missed(Instant),
}

/// What the neighbours see.
#[derive(Debug, Default)]
pub(super) struct Reach {
    seen: BTreeMap<ConnectionId, SocketAddr>,
    verdicts: BTreeMap<SocketAddr, Verdict>,
}

impl Reach {
    /// The neighbour at the other end of this connection, at `neighbour`, sees us at `observed`; whether to ask it to call.
    pub(super) fn observed(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        observed: SocketAddr,
        neighbour: SocketAddr,
        own: &BTreeSet<SocketAddr>,
    ) -> bool {
        // Whoever is on this side of the NAT says nothing about the other.
        if own.contains(&observed) && !is_outside(neighbour.ip()) || observed.ip().is_loopback() {
            return false;
        }
        self.seen.insert(connection, observed);
        let due = match self.verdicts.get(&observed) {
            None => true,
            Some(Verdict::Asking { .. }) => false,
            Some(Verdict::Reached(at) | Verdict::Missed(at)) => now.duration_since(*at) >= REACH_GOOD_FOR,
        };
        let due = due && self.make_room();
        // What was known stands until something else is.
        if due && !self.verdicts.contains_key(&observed) {
            self.verdicts.insert(observed, Verdict::Asking { is_own: own.contains(&observed), since: now });
        }
        due
    }

    /// What came of it; nothing when the neighbour did not call.
    pub(super) fn answered(&mut self, now: Instant, observed: SocketAddr, came: Option<bool>) {
        let verdict = match came {
            Some(true) => Verdict::Reached(now),
            Some(false) => Verdict::Missed(now),
            None if matches!(self.verdicts.get(&observed), Some(Verdict::Asking { .. })) => {
                self.verdicts.remove(&observed);
                return;
            }
            None => return,
        };
        self.verdicts.insert(observed, verdict);
    }

    pub(super) fn closed(&mut self, connection: ConnectionId) {
        self.seen.remove(&connection);
    }

    /// Where strangers reach this peer.
    pub(super) fn reachable(&self) -> BTreeSet<SocketAddr> {
        let is_reached = |address: &SocketAddr| matches!(self.verdicts.get(address), Some(Verdict::Reached(_)));
        self.seen.values().copied().filter(is_reached).collect()
    }

    /// Whether strangers do not reach it: a neighbour sees it where nobody else gets through, and none where others do.
    pub(super) fn is_hidden(&self, now: Instant) -> bool {
        let is_missed = |address: &SocketAddr| match self.verdicts.get(address) {
            Some(Verdict::Missed(_)) => true,
            Some(Verdict::Asking { is_own: false, since }) => now.duration_since(*since) >= REACH_PATIENCE,
            Some(Verdict::Asking { .. } | Verdict::Reached(_)) | None => false,
        };
        self.seen.values().any(is_missed) && self.reachable().is_empty()
    }

    /// Forgets what nobody sees any more; false when there is no room.
    fn make_room(&mut self) -> bool {
        if self.verdicts.len() >= OBSERVED_MAX {
            let seen: BTreeSet<SocketAddr> = self.seen.values().copied().collect();
            self.verdicts
                .retain(|address, verdict| seen.contains(address) || matches!(verdict, Verdict::Asking { .. }));
        }
        self.verdicts.len() < OBSERVED_MAX
    }
}

/// Whether an address is none that networks use inside (RFC 1918, 6598, 3927, 4193, 4291).
pub(super) fn is_outside(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_carrier = a == 100 && b & 0xc0 == 64;
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || is_carrier)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn connection(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    const OURS: &str = "192.168.1.7:7600";
    const CLOUD: &str = "198.51.100.4:7600";
    const MAPPED: &str = "203.0.113.9:41000";

    fn own() -> BTreeSet<SocketAddr> {
        BTreeSet::from([at(OURS)])
    }

    #[test]
    fn a_neighbour_outside_is_asked_once_and_again_after_a_while() {
        let (mut reach, now) = (Reach::default(), Instant::now());
        let is_asked = |reach: &mut Reach, now| reach.observed(now, connection(1), at(MAPPED), at(CLOUD), &own());

        assert!(is_asked(&mut reach, now));
        assert!(!is_asked(&mut reach, now), "it is being asked");
        assert!(!reach.is_hidden(now) && reach.is_hidden(now + REACH_PATIENCE), "there is a NAT");
        reach.answered(now, at(MAPPED), Some(false));
        assert!(!is_asked(&mut reach, now));
        assert!(is_asked(&mut reach, now + REACH_GOOD_FOR));
        assert!(reach.is_hidden(now), "what was known stands until something else is");
        reach.answered(now + REACH_GOOD_FOR, at(MAPPED), Some(true));

        assert!(!reach.is_hidden(now));
        assert_eq!(reach.reachable(), BTreeSet::from([at(MAPPED)]));
    }

    #[test]
    fn a_neighbour_on_the_same_side_of_the_nat_is_not_asked() {
        let (mut reach, now) = (Reach::default(), Instant::now());

        assert!(!reach.observed(now, connection(1), at(OURS), at("192.168.1.8:7600"), &own()));
        assert!(!reach.observed(now, connection(2), at("127.0.0.1:7600"), at("127.0.0.1:7601"), &own()));
        assert!(reach.observed(now, connection(3), at(OURS), at(CLOUD), &own()), "no NAT between, perhaps a firewall");
        assert!(!reach.is_hidden(now) && reach.reachable().is_empty(), "nothing is known yet");
    }

    #[test]
    fn an_address_counts_while_somebody_sees_us_there() {
        let (mut reach, now) = (Reach::default(), Instant::now());
        reach.observed(now, connection(1), at(MAPPED), at(CLOUD), &own());
        reach.answered(now, at(MAPPED), Some(true));

        reach.closed(connection(1));
        assert!(reach.reachable().is_empty());

        assert!(!reach.observed(now, connection(2), at(MAPPED), at(CLOUD), &own()), "it is remembered");
        assert_eq!(reach.reachable().len(), 1);
    }

    #[test]
    fn whoever_did_not_call_is_asked_again() {
        let (mut reach, now) = (Reach::default(), Instant::now());
        reach.observed(now, connection(1), at(MAPPED), at(CLOUD), &own());

        reach.answered(now, at(MAPPED), None);

        assert!(!reach.is_hidden(now));
        assert!(reach.observed(now, connection(1), at(MAPPED), at(CLOUD), &own()));
    }

    #[test]
    fn neighbours_that_make_up_addresses_fill_nothing() {
        let (mut reach, now) = (Reach::default(), Instant::now());
        for n in 0..1_000_u16 {
            let made_up = SocketAddr::new(at(MAPPED).ip(), n + 1);
            if reach.observed(now, connection(1), made_up, at(CLOUD), &own()) {
                reach.answered(now, made_up, Some(false));
            }
        }

        assert!(reach.verdicts.len() <= OBSERVED_MAX, "{}", reach.verdicts.len());
        assert_eq!(reach.seen.len(), 1);
    }
}
