//! Machines that crash and come back, drawn from the seed.
//!
//! **Down**: at that moment the process and all it held are gone — runs, queue, inputs on its uplink or that reach it while
//! it is down, outputs that have not left it. **Up**: the same machine again, empty. Nobody is told of either.
//!
//! A task whose origin is down when it arises is not offered. A task whose origin crashes before its result is there is
//! lost with it: nobody waits for the answer. Both are counted apart, and every other task must complete.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::case::Case;

/// A restart takes about as long as that of a small machine's service.
const DOWN_MS_MIN: f64 = 5_000.0;
const DOWN_MS_MAX: f64 = 15_000.0;
const MINUTE_MS: f64 = 60_000.0;

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Down,
    Up,
}

/// Something that happens to a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    pub at_ms: f64,
    /// Index of the node.
    pub node: usize,
    pub change: Change,
}

/// All that will happen, in order of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    list: Vec<Fault>,
    /// For each node that ever goes down, from when until when.
    down: BTreeMap<usize, Vec<(f64, f64)>>,
}

impl Faults {
    /// Nothing ever happens.
    pub fn none() -> Self {
        Self::default()
    }

    /// One cloud node goes down for good; none if the case has no cloud.
    pub fn kill_cloud(mut self, case: &Case, at_ms: f64, seed: u64) -> Self {
        let clouds: Vec<usize> = case.clouds().collect();
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0xc10d);
        if !clouds.is_empty()
            && let Some(node) = clouds.get(rng.random_range(0..clouds.len())).copied()
        {
            // Whatever else was to become of it, it stays away.
            self.list.retain(|fault| fault.node != node || fault.at_ms < at_ms);
            self.list.push(Fault { at_ms, node, change: Change::Down });
        }
        self.sorted()
    }

    /// So many percent of all nodes crash each minute, at any time, and come back after 5 to 15 seconds.
    pub fn churn(mut self, case: &Case, percent_per_minute: f64, seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0xc0ffee);
        let span_ms = case.last_arrival_ms();
        let per_ms = case.nodes.len() as f64 * percent_per_minute.max(0.0) / 100.0 / MINUTE_MS;
        let mut back_at_ms = vec![0.0; case.nodes.len()];
        let mut at_ms = 0.0;
        loop {
            // Never, where nobody crashes: the gap is infinite then.
            at_ms -= (1.0 - rng.random::<f64>()).ln() / per_ms;
            if !at_ms.is_finite() || at_ms > span_ms {
                break;
            }
            let node = rng.random_range(0..case.nodes.len());
            let down_ms = DOWN_MS_MIN + (DOWN_MS_MAX - DOWN_MS_MIN) * rng.random::<f64>();
            let Some(back_at_ms) = back_at_ms.get_mut(node).filter(|back| **back < at_ms) else { continue };
            *back_at_ms = at_ms + down_ms;
            self.list.push(Fault { at_ms, node, change: Change::Down });
            self.list.push(Fault { at_ms: *back_at_ms, node, change: Change::Up });
        }
        self.sorted()
    }

    /// One node goes down for good.
    pub fn down_for_good(node: usize, at_ms: f64) -> Self {
        Self { list: vec![Fault { at_ms, node, change: Change::Down }], ..Self::default() }.sorted()
    }

    fn sorted(mut self) -> Self {
        self.list.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        self.down.clear();
        for Fault { at_ms, node, change } in self.list.iter().copied() {
            let spans = self.down.entry(node).or_default();
            match change {
                Change::Down => spans.push((at_ms, f64::INFINITY)),
                Change::Up => {
                    if let Some((_, until_ms)) = spans.last_mut() {
                        *until_ms = at_ms;
                    }
                }
            }
        }
        self
    }

    /// In order of time.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// How often any node goes down.
    pub fn crashes(&self) -> usize {
        self.list.iter().filter(|fault| fault.change == Change::Down).count()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the node is down at that moment.
    pub fn is_down(&self, node: usize, at_ms: f64) -> bool {
        self.spans(node).any(|(from_ms, until_ms)| from_ms <= at_ms && at_ms < until_ms)
    }

    /// Whether the node goes or is down at any moment between the two.
    pub fn is_down_within(&self, node: usize, from_ms: f64, until_ms: f64) -> bool {
        self.spans(node).any(|(down_ms, up_ms)| down_ms < until_ms && from_ms < up_ms)
    }

    fn spans(&self, node: usize) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.down.get(&node).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::{NodeSpec, TaskLine, Tier};
    use super::*;
    use crate::sim::matrix::Matrix;

    fn case(nodes: usize) -> Case {
        let spec = |index: usize| NodeSpec {
            id: index.to_string(),
            tier: if index < 3 { Tier::Cloud } else { Tier::Edge },
            cores: 1,
            speed: 1.0,
            uplink_mbps: 100.0,
        };
        let task = |arrival_ms| TaskLine {
            id: "0".into(),
            arrival_ms,
            origin: 0,
            work_ms: 1.0,
            estimate_ms: 1.0,
            input_bytes: 0.0,
            output_bytes: 0.0,
        };
        let nodes = (0..nodes).map(spec).collect::<Vec<_>>();
        Case { rtt: Matrix::from_fn(nodes.len(), |_, _| Some(1.0)), nodes, tasks: vec![task(600_000.0)] }
    }

    #[test]
    fn churn_takes_the_share_it_was_told_and_gives_every_node_back() {
        let case = case(500);

        let faults = Faults::none().churn(&case, 10.0, 1);

        let downs: Vec<_> = faults.list().iter().filter(|fault| fault.change == Change::Down).collect();
        assert!((400..600).contains(&downs.len()), "ten minutes of 50 a minute: {}", downs.len());
        assert_eq!(faults.list().len(), 2 * downs.len());
        let end_ms = 600_000.0 + DOWN_MS_MAX;
        assert!((0..500).all(|node| !faults.is_down(node, end_ms)));
        let first = downs[0];
        assert!(faults.is_down(first.node, first.at_ms + DOWN_MS_MIN / 2.0));
        assert!(faults.is_down_within(first.node, first.at_ms - 1.0, first.at_ms + 1.0));
        assert!(!faults.is_down_within(first.node, 0.0, first.at_ms));
        assert_eq!(faults, Faults::none().churn(&case, 10.0, 1));
        assert_ne!(faults, Faults::none().churn(&case, 10.0, 2));
    }

    #[test]
    fn a_killed_cloud_stays_away() {
        let case = case(10);

        let faults = Faults::none().churn(&case, 100.0, 3).kill_cloud(&case, 1_000.0, 3);

        let killed = (0..3).find(|node| faults.is_down(*node, 1e9)).unwrap();
        assert!(faults.is_down_within(killed, 1_000.0, 1e9));
        assert_eq!((0..10).filter(|node| faults.is_down(*node, 1e9)).count(), 1);
    }
}
