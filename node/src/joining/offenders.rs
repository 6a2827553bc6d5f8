//! Addresses that came with the name of an invitation and without its secret.
//!
//! **Invariant:** what is remembered is bounded, however many addresses try.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wrong proofs an address may give: people paste the wrong line, and programs are older than tickets.
const WRONG_MAX: u32 = 3;
/// How long it is then no inviter to that address, and how long it takes to forget.
const RESTS_FOR: Duration = Duration::from_secs(600);
/// Addresses remembered.
const ADDRESSES_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Offenders(BTreeMap<IpAddr, (u32, Instant)>);

impl Offenders {
    pub(super) fn is_resting(&self, now: Instant, address: IpAddr) -> bool {
        let known = self.0.get(&address.to_canonical());
        known.is_some_and(|(wrong, last)| *wrong >= WRONG_MAX && now < *last + RESTS_FOR)
    }

    pub(super) fn gave_wrong_proof(&mut self, now: Instant, address: IpAddr) {
        let address = address.to_canonical();
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&address) {
            self.0.retain(|_, (_, last)| now < *last + RESTS_FOR);
            if self.0.len() >= ADDRESSES_MAX {
                // Each of them has proven that it receives where it says, so these are many machines: the oldest goes.
                let oldest = self.0.iter().min_by_key(|(_, (_, last))| *last).map(|(address, _)| *address);
                oldest.map(|oldest| self.0.remove(&oldest));
            }
        }
        let known = self.0.entry(address).or_insert((0, now));
        if now >= known.1 + RESTS_FOR {
            known.0 = 0;
        }
        *known = (known.0.saturating_add(1), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_wrong_too_often_is_nobody_for_a_while() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        let (wrong, honest) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..WRONG_MAX {
            assert!(!offenders.is_resting(now, wrong));
            offenders.gave_wrong_proof(now, wrong);
        }

        assert!(offenders.is_resting(now, wrong));
        assert!(!offenders.is_resting(now, honest));
        assert!(!offenders.is_resting(now + RESTS_FOR, wrong));
        offenders.gave_wrong_proof(now + RESTS_FOR, wrong);
        assert!(!offenders.is_resting(now + RESTS_FOR, wrong), "it begins anew");
    }

    #[test]
    fn many_addresses_fill_nothing() {
        let (mut offenders, now) = (Offenders::default(), Instant::now());
        for n in 0..10_000_u32 {
            offenders.gave_wrong_proof(now, std::net::Ipv4Addr::from(n).into());
        }

        assert!(offenders.0.len() <= ADDRESSES_MAX);
    }
}
