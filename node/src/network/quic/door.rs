//! Which addresses may begin a handshake now: the first look at a stranger, before anything is kept for it.
//!
//! ```text
//! first datagram ─► its address has tried too often? ─► no word
//!                   many handshakes under way, and the address may be made up? ─► Retry: come again from there
//!                   a few just now? ─► a handshake, after a while
//!                   otherwise ─► a handshake
//! ```
//!
//! **Invariant:** what is remembered is bounded, however many addresses try.
//! **Not here:** who the stranger is.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Handshakes that an address may begin at once.
const AT_ONCE: u32 = 8;
/// It may begin another each…: a handshake costs about a millisecond of a core, and what others want in that time waits for it.
const ANOTHER_AFTER: Duration = Duration::from_millis(20);
/// Those that come faster wait their turn, so many: all peers of a large site may be behind one address.
const WAITING_MAX: u32 = 120;
/// With this many handshakes under way, whoever begins another must show first that it is where it says.
const PROOF_ABOVE: usize = 8;
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 1_024;

/// What a first datagram is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// A handshake, after this time.
    Welcome(Duration),
    /// A Retry packet, which costs nothing to forget.
    ComeAgain,
    /// Nothing.
    Silence,
}

/// Handshakes that addresses have begun lately.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// When each address will have its whole burst again.
    whole_at: BTreeMap<IpAddr, Instant>,
}

impl Door {
    /// The answer to a first datagram from `address`, which has `proven` that it receives there or not.
    pub(super) fn knock(&mut self, now: Instant, address: IpAddr, proven: bool, under_way: usize) -> Answer {
        if !proven && under_way >= PROOF_ABOVE {
            return Answer::ComeAgain;
        }
        let site = site_of(address);
        if !self.whole_at.contains_key(&site) && self.whole_at.len() >= ADDRESSES_MAX {
            self.whole_at.retain(|_, whole_at| *whole_at > now);
            if self.whole_at.len() >= ADDRESSES_MAX {
                // More addresses than can be told apart: whoever is really there may try.
                return if proven { Answer::Welcome(Duration::ZERO) } else { Answer::ComeAgain };
            }
        }
        let whole_at = self.whole_at.entry(site).or_insert(now);
        let next = (*whole_at).max(now) + ANOTHER_AFTER;
        let waits = next.saturating_duration_since(now + ANOTHER_AFTER * AT_ONCE);
        if waits > ANOTHER_AFTER * WAITING_MAX {
            return Answer::Silence;
        }
        *whole_at = next;
        Answer::Welcome(waits)
    }
}

/// Whoever has one IPv6 address has 2⁶⁴ of them.
fn site_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const HONEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    const AT_ONCE_NOW: Answer = Answer::Welcome(Duration::ZERO);

    #[test]
    fn an_address_may_begin_a_few_at_once_and_the_others_in_their_turn() {
        let (mut door, start) = (Door::default(), Instant::now());
        let mut welcome = |ms: u64, tries: u32| {
            let now = start + Duration::from_millis(ms);
            let answers: Vec<_> = (0..tries).map(|_| door.knock(now, ATTACKER, true, 0)).collect();
            let longest = answers.iter().filter_map(|answer| match answer {
                Answer::Welcome(waits) => Some(*waits),
                Answer::ComeAgain | Answer::Silence => None,
            });
            let at_once = answers.iter().filter(|answer| **answer == AT_ONCE_NOW).count();
            (at_once, longest.clone().count(), longest.max().unwrap_or_default().as_millis())
        };

        assert_eq!(welcome(0, 1_000), (8, 128, 2_400));
        assert_eq!(welcome(0, 10), (0, 0, 0));
        assert_eq!(welcome(1_000, 1_000), (0, 50, 2_400));
        assert_eq!(welcome(60_000, 1_000), (8, 128, 2_400), "it is forgotten in time");
    }

    #[test]
    fn one_address_does_not_use_up_what_another_may() {
        let (mut door, now) = (Door::default(), Instant::now());
        let _ = (0..1_000).map(|_| door.knock(now, ATTACKER, true, 0)).count();

        assert_eq!(door.knock(now, HONEST, true, 0), AT_ONCE_NOW);
    }

    #[test]
    fn while_much_is_under_way_an_address_must_prove_itself() {
        let (mut door, now) = (Door::default(), Instant::now());

        assert_eq!(door.knock(now, HONEST, false, PROOF_ABOVE), Answer::ComeAgain);
        assert_eq!(door.knock(now, HONEST, true, PROOF_ABOVE), AT_ONCE_NOW);
    }

    #[test]
    fn made_up_addresses_fill_nothing_and_lock_nobody_out() {
        let (mut door, now) = (Door::default(), Instant::now());
        for n in 0..100_000_u32 {
            door.knock(now, std::net::Ipv4Addr::from(n).into(), false, 0);
        }

        assert!(door.whole_at.len() <= ADDRESSES_MAX);
        assert_eq!(door.knock(now, HONEST, true, 0), AT_ONCE_NOW);
        assert_eq!(door.knock(now + Duration::from_secs(2), HONEST, false, 0), AT_ONCE_NOW, "and it is over soon");
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one() {
        let (mut door, now) = (Door::default(), Instant::now());
        let inside = |n: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, n));
        let at_once = (0..200).filter(|n| door.knock(now, inside(*n), true, 0) == AT_ONCE_NOW).count();

        assert_eq!(at_once, 8);
    }
}
