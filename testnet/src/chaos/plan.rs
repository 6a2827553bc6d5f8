//! What will go wrong, and when: drawn from the seed before the run.
//!
//! **Invariant:** the same seed, size and abilities of the machine give the same plan; every fault is over when faults stop.
//! **Not here:** how a fault is made; that is `strikes.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::Serialize;

use crate::cluster::STOP_GRACE;

/// Mean time between the beginnings of two faults.
const FAULT_EVERY: Duration = Duration::from_millis(2_400);
/// The repair of a store takes a few starts of the daemon.
const REPAIRING: Duration = Duration::from_secs(3);
/// What a store consists of.
pub(super) const STORE_FILES: [&str; 2] = ["tasks.redb", "tasks.log"];
/// Each destroys what one peer kept, and tasks of which two copies are destroyed show nothing any more.
const DAMAGED_STORES_MAX: usize = 2;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// kill −9, and a start some time later.
    Killed,
    /// SIGTERM, and a start some time later.
    Stopped,
    /// SIGSTOP, and SIGCONT some time later.
    Frozen,
    /// Two groups do not hear each other.
    Partition,
    /// One peer is heard and hears nothing, or the other way round.
    OneWay,
    /// Packets are lost, everywhere.
    Loss,
    /// Packets take longer, and vary more, everywhere.
    Delay,
    /// No space left on a disk.
    DiskFull,
    /// A peer may open hardly another file.
    FewFiles,
    /// Killed; a bit of its store is wrong, or its end is missing, when it starts again.
    DamagedStore,
}

impl Fault {
    pub(super) const ALL: [Self; 10] = [
        Self::Killed,
        Self::Stopped,
        Self::Frozen,
        Self::Partition,
        Self::OneWay,
        Self::Loss,
        Self::Delay,
        Self::DiskFull,
        Self::FewFiles,
        Self::DamagedStore,
    ];

    /// What it takes hold of: two faults that take hold of the same do not overlap.
    fn holds(self) -> &'static [Hold] {
        match self {
            Self::Killed | Self::Stopped | Self::Frozen => &[Hold::Process],
            Self::Partition | Self::OneWay => &[],
            Self::Loss | Self::Delay => &[Hold::Weather],
            Self::DiskFull | Self::FewFiles => &[Hold::Means],
            Self::DamagedStore => &[Hold::Process, Hold::Means],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hold {
    /// The peer's process.
    Process,
    /// What its process needs.
    Means,
    /// All links.
    Weather,
}

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Strike {
    /// Since the faults began.
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    pub(super) what: What,
}

/// What is done, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Kill(usize),
    Stop(usize),
    Freeze(usize),
    /// Ways that are cut, from and to.
    Partition(Vec<(usize, usize)>),
    OneWay(Vec<(usize, usize)>),
    Loss(f64),
    Delay(Duration),
    FillDisk(usize),
    /// One that may open so many more files than it has.
    LimitFiles(usize, u64),
    /// Whose store, which of [`STORE_FILES`], and how.
    Damage(usize, usize, Damage),
}

/// What happens to a file of a store at rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Damage {
    /// A bit near the key of a record that is there, by shares of all such places and of the bits around.
    Flip(f64, f64),
    /// What lies beyond this share of the file is gone.
    Truncate(f64),
}

impl What {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Kill(_) => Fault::Killed,
            Self::Stop(_) => Fault::Stopped,
            Self::Freeze(_) => Fault::Frozen,
            Self::Partition(_) => Fault::Partition,
            Self::OneWay(_) => Fault::OneWay,
            Self::Loss(_) => Fault::Loss,
            Self::Delay(_) => Fault::Delay,
            Self::FillDisk(_) => Fault::DiskFull,
            Self::LimitFiles(..) => Fault::FewFiles,
            Self::Damage(..) => Fault::DamagedStore,
        }
    }
}

/// Every fault, in order of time.
pub(super) fn draw(peers: usize, span: Duration, possible: &[Fault], rng: &mut impl Rng) -> Vec<Strike> {
    let count = (span.as_secs_f64() / FAULT_EVERY.as_secs_f64()).round().max(1.0) as usize;
    let slot = span.mul_f64(0.95) / count as u32;
    let mut draft = Draft { peers, span, busy: BTreeMap::new(), damaged: 0 };
    let mut deck: Vec<Fault> = Vec::new();
    let mut strikes: Vec<Strike> = Vec::new();
    for number in 0..count {
        let at = slot * number as u32 + slot.mul_f64(rng.random::<f64>());
        // Every kind once before any comes again. One that cannot strike now leaves its turn to the next.
        let strike = (0..possible.len()).find_map(|_| {
            if deck.is_empty() {
                deck = possible.to_vec();
                deck.shuffle(rng);
            }
            draft.strike(at, deck.pop()?, rng)
        });
        strikes.extend(strike);
    }
    strikes
}

struct Draft {
    peers: usize,
    span: Duration,
    /// Until when each thing of each peer is held.
    busy: BTreeMap<(Hold, usize), Duration>,
    damaged: usize,
}

impl Draft {
    fn strike(&mut self, at: Duration, fault: Fault, rng: &mut impl Rng) -> Option<Strike> {
        let lasts = match fault {
            Fault::Frozen => spread(rng, 100, 10_000),
            Fault::Killed | Fault::Stopped => spread(rng, 20, 8_000),
            Fault::Partition | Fault::OneWay | Fault::Loss | Fault::Delay => spread(rng, 300, 10_000),
            Fault::DiskFull | Fault::FewFiles => spread(rng, 500, 8_000),
            Fault::DamagedStore => REPAIRING,
        };
        let lasts = lasts.min(self.span.saturating_sub(at));
        if fault == Fault::DamagedStore {
            if self.damaged == DAMAGED_STORES_MAX || lasts < REPAIRING {
                return None;
            }
            self.damaged += 1;
        }
        // One that is asked to end may take its time.
        let ending = if fault == Fault::Stopped { STOP_GRACE } else { Duration::ZERO };
        let peer = self.take(fault, at, at + lasts + ending, rng)?;
        let what = match fault {
            Fault::Killed => What::Kill(peer),
            Fault::Stopped => What::Stop(peer),
            Fault::Frozen => What::Freeze(peer),
            Fault::Partition => What::Partition(self.partition(rng)),
            Fault::OneWay => {
                let others = (0..self.peers).filter(|other| *other != peer);
                let hears = rng.random_bool(0.5);
                What::OneWay(others.map(|other| if hears { (peer, other) } else { (other, peer) }).collect())
            }
            Fault::Loss => What::Loss(rng.random_range(0.01..0.3)),
            Fault::Delay => What::Delay(spread(rng, 20, 500)),
            Fault::DiskFull => What::FillDisk(peer),
            Fault::FewFiles => What::LimitFiles(peer, rng.random_range(0..4)),
            Fault::DamagedStore => What::Damage(
                peer,
                rng.random_range(0..STORE_FILES.len()),
                match rng.random_bool(0.5) {
                    true => Damage::Flip(rng.random(), rng.random()),
                    false => Damage::Truncate(rng.random_range(0.1..0.9)),
                },
            ),
        };
        Some(Strike { at, lasts, what })
    }

    /// A peer of which nothing that the fault needs is held by another.
    fn take(&mut self, fault: Fault, from: Duration, to: Duration, rng: &mut impl Rng) -> Option<usize> {
        let key = |hold, peer| if hold == Hold::Weather { (hold, 0) } else { (hold, peer) };
        let first = rng.random_range(0..self.peers);
        let is_free = |peer: &usize| {
            let until = |hold: &Hold| self.busy.get(&key(*hold, *peer)).copied().unwrap_or_default();
            fault.holds().iter().all(|hold| until(hold) <= from)
        };
        let peer = (first..first + self.peers).map(|peer| peer % self.peers).find(is_free)?;
        for hold in fault.holds() {
            self.busy.insert(key(*hold, peer), to);
        }
        Some(peer)
    }

    /// Every way between two groups, neither of which is empty.
    fn partition(&self, rng: &mut impl Rng) -> Vec<(usize, usize)> {
        let mut order: Vec<usize> = (0..self.peers).collect();
        order.shuffle(rng);
        let (one, other) = order.split_at(rng.random_range(1..self.peers));
        one.iter().flat_map(|a| other.iter().flat_map(|b| [(*a, *b), (*b, *a)])).collect()
    }
}

/// Short ones are as likely as long ones: uniform in the logarithm.
fn spread(rng: &mut impl Rng, min_ms: u64, max_ms: u64) -> Duration {
    let (min, max) = ((min_ms as f64).ln(), (max_ms as f64).ln());
    Duration::from_secs_f64((min + (max - min) * rng.random::<f64>()).exp() / 1_000.0)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn plan(seed: u64, span: Duration) -> Vec<Strike> {
        draw(5, span, &Fault::ALL, &mut Pcg64Mcg::seed_from_u64(seed))
    }

    #[test]
    fn the_same_seed_strikes_the_same_and_another_does_not() {
        assert_eq!(plan(3, MINUTE), plan(3, MINUTE));
        assert_ne!(plan(3, MINUTE), plan(4, MINUTE));
    }

    #[test]
    fn a_minute_has_twenty_faults_of_every_kind_and_all_are_over_at_its_end() {
        for seed in 0..50 {
            let strikes = plan(seed, MINUTE);

            assert!(strikes.len() >= 20, "seed {seed}: {}", strikes.len());
            for fault in Fault::ALL {
                assert!(strikes.iter().any(|strike| strike.what.fault() == fault), "seed {seed}: no {fault:?}");
            }
            assert!(strikes.iter().all(|strike| strike.at + strike.lasts <= MINUTE), "seed {seed}");
            assert!(strikes.is_sorted_by_key(|strike| strike.at), "seed {seed}");
        }
    }

    #[test]
    fn no_peer_is_killed_while_it_is_down_or_frozen() {
        for seed in 0..50 {
            let strikes = plan(seed, MINUTE);
            let of_process = |strike: &Strike| match strike.what {
                What::Kill(peer) | What::Stop(peer) | What::Freeze(peer) | What::Damage(peer, ..) => Some(peer),
                _ => None,
            };
            for (number, strike) in strikes.iter().enumerate() {
                let Some(peer) = of_process(strike) else { continue };
                let next = strikes[number + 1..].iter().find(|next| of_process(next) == Some(peer));
                assert!(
                    next.is_none_or(|next| next.at >= strike.at + strike.lasts),
                    "seed {seed}: {strike:?} {next:?}"
                );
            }
        }
    }
}
