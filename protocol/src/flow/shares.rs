//! What was spent of shares of an uplink.
//!
//! A token bucket as a schedule (GCRA, ITU-T I.371): each thing sent moves the time until which the share is paid for. More
//! than [`BURST`] ahead of the clock nothing is sent any more.
//!
//! **Invariant:** over any [`WINDOW`] no more than the share leaves, but for one thing that is larger than a burst.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::placement::cost::transmission;
use crate::time::Time;

/// What a share is a share of: an uplink for so long.
pub const WINDOW: Duration = Duration::from_secs(60);
/// What was not sent for so long may be sent at once.
pub const BURST: Duration = Duration::from_secs(5);
/// A burst and what follows it are no more than the share together.
const SUSTAINED: f64 = 1.0 - BURST.as_secs() as f64 / (WINDOW.as_secs() + BURST.as_secs()) as f64;

/// Who pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payer {
    /// All data over the WAN.
    All,
    /// The tasks of one rule, by its number.
    Rule(u8),
}

/// Until when each share is paid for; as many as there are rules.
#[derive(Debug, Clone, Default)]
pub struct Shares(BTreeMap<Payer, Time>);

/// What one share owes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Debt {
    ahead: Duration,
    bits_per_s: u64,
}

impl Shares {
    /// Of a payer that may take this share of an uplink.
    pub fn debt(&self, now: Time, payer: Payer, share: f64, uplink_bits_per_s: u64) -> Debt {
        let ahead = self.0.get(&payer).map_or(Duration::ZERO, |paid| paid.since(now));
        let bits_per_s = (uplink_bits_per_s as f64 * share * SUSTAINED).max(1.0) as u64;
        Debt { ahead, bits_per_s }
    }

    /// Bytes leave that are paid for at this rate.
    pub fn spend(&mut self, now: Time, payer: Payer, bytes: u64, bits_per_s: u64) {
        let paid = self.0.entry(payer).or_insert(now);
        *paid = (*paid).max(now) + transmission(bytes, Some(bits_per_s));
    }

    /// Other rules are in force: nothing was spent of their shares yet.
    pub fn forget_rules(&mut self) {
        self.0.retain(|payer, _| *payer == Payer::All);
    }
}

impl Debt {
    /// How long so many bytes have to wait.
    pub fn wait(&self, bytes: u64) -> Duration {
        let takes = transmission(bytes, Some(self.bits_per_s));
        // What is larger than a burst goes when nothing is owed.
        self.ahead.saturating_add(takes).saturating_sub(BURST).min(self.ahead)
    }

    /// What is paid with, in bits a second.
    pub fn rate(&self) -> u64 {
        self.bits_per_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLINK: u64 = 8_000_000;

    /// Sends things of a size whenever that is allowed, for ten minutes; when each left.
    fn sent(bytes: u64, share: f64) -> Vec<u64> {
        let mut shares = Shares::default();
        let mut left = Vec::new();
        for ms in (0..600_000).step_by(10) {
            let now = Time::from_millis(ms);
            let debt = shares.debt(now, Payer::Rule(3), share, UPLINK);
            if debt.wait(bytes).is_zero() {
                shares.spend(now, Payer::Rule(3), bytes, debt.rate());
                left.push(ms);
            }
        }
        left
    }

    #[test]
    fn no_minute_carries_more_than_the_share() {
        let bytes = 100_000;
        let left = sent(bytes, 0.3);

        let most = (0..600_000)
            .step_by(1_000)
            .map(|from| left.iter().filter(|at| (from..from + 60_000).contains(*at)).count());
        let most = most.max().unwrap() as u64 * bytes;

        let may = UPLINK / 8 * 60 * 3 / 10;
        assert!(most <= may && most > may * 9 / 10, "{most} of {may}");
    }

    #[test]
    fn what_is_larger_than_a_burst_goes_when_nothing_is_owed() {
        // A burst of a tenth of a megabyte a second is less than one.
        let left = sent(5_000_000, 0.1);

        assert!(left.len() > 8 && left.windows(2).all(|pair| pair[1] - pair[0] > 50_000), "{left:?}");
    }

    #[test]
    fn shares_do_not_pay_for_each_other() {
        let mut shares = Shares::default();
        shares.spend(Time::ZERO, Payer::Rule(0), 1_000_000_000, 1_000);

        assert_eq!(shares.debt(Time::ZERO, Payer::Rule(1), 0.5, UPLINK).wait(1), Duration::ZERO);
        assert!(!shares.debt(Time::ZERO, Payer::Rule(0), 0.5, UPLINK).wait(1).is_zero());
        shares.forget_rules();
        assert_eq!(shares.debt(Time::ZERO, Payer::Rule(0), 0.5, UPLINK).wait(1), Duration::ZERO);
    }
}
