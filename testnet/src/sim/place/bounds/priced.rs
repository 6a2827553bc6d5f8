//! What the best cores are worth: a lower bound that knows there are only so many of them.
//!
//! Put a price on the core time of each node while tasks are counted. Whatever a policy does, what its tasks take, and pay,
//! is at least the cheapest each could do alone; and all they pay is at most what all the cores could earn. So for *any*
//! prices
//!
//! > Σ completion ≥ Σ over tasks (least over nodes of time alone + price · core time) − Σ over nodes price · cores · span.
//!
//! A task alone starts at once, or, where the price is above 1, may do better to wait until nothing has a price. By weak
//! duality this holds for good prices and bad ones; the best give the bound of a fluid that is split with all knowledge.
//!
//! The first prices are those at which the same work costs the same wherever it is worth paying for: with `level` for a
//! millisecond of work, `level · speed − 1` for one of core time, and nothing at nodes slower than that. They know nothing of
//! distances; so then those of nodes that are asked too much rise, and the others fall.

use super::super::case::{Case, TaskLine};
use super::super::physics::{run_ms, transfer_ms};

/// The level is found on one task in so many; the bound is of all.
const SAMPLE_ONE_IN: usize = 16;
const LEVEL_MAX: f64 = 64.0;
/// Each step of the search keeps two thirds of where the level may be.
const STEPS: usize = 16;
const TURNS: usize = 64;
/// How much a price moves at first, for a node that is asked twice what it has.
const STEP: f64 = 0.05;
const EXCESS_MAX: f64 = 8.0;

/// The bound of the mean completion of these tasks, while they arrive.
pub(super) fn priced_ms(case: &Case, tasks: &[TaskLine]) -> f64 {
    Market::new(case, tasks).bound_ms(tasks, &prices(case, tasks))
}

/// For each node the price of core time that makes the bound high.
pub(super) fn prices(case: &Case, tasks: &[TaskLine]) -> Vec<f64> {
    let market = Market::new(case, tasks);
    market.adjusted(tasks, market.level(tasks))
}

struct Market<'c> {
    case: &'c Case,
    from_ms: f64,
    until_ms: f64,
    /// Core time each node has for each task while tasks are counted.
    supply_ms: Vec<f64>,
}

/// Where a task is cheapest.
struct Choice {
    node: usize,
    cost_ms: f64,
    /// Core time it takes there while tasks are counted.
    used_ms: f64,
}

impl<'c> Market<'c> {
    fn new(case: &'c Case, tasks: &[TaskLine]) -> Self {
        let from_ms = tasks.first().map_or(0.0, |task| task.arrival_ms);
        let until_ms = tasks.last().map_or(0.0, |task| task.arrival_ms);
        let span_ms = (until_ms - from_ms) / tasks.len().max(1) as f64;
        let supply_ms = case.nodes.iter().map(|node| f64::from(node.cores) * span_ms).collect();
        Self { case, from_ms, until_ms, supply_ms }
    }

    fn choice(&self, task: &TaskLine, prices: &[f64]) -> Choice {
        let mut best = self.offer(task, task.origin, 0.0, 0.0, prices[task.origin]);
        let leaves_ms = transfer_ms(&self.case.nodes[task.origin], task.input_bytes);
        for (node, price) in prices.iter().enumerate() {
            // Most are too slow to be looked at more closely.
            if node == task.origin || run_ms(&self.case.nodes[node], task) + leaves_ms >= best.cost_ms {
                continue;
            }
            if let (Some(there_ms), Some(back_ms)) =
                (self.case.one_way_ms(task.origin, node), self.case.one_way_ms(node, task.origin))
            {
                let back_ms = back_ms + transfer_ms(&self.case.nodes[node], task.output_bytes);
                let offer = self.offer(task, node, leaves_ms + there_ms, back_ms, *price);
                if offer.cost_ms < best.cost_ms {
                    best = offer;
                }
            }
        }
        best
    }

    fn offer(&self, task: &TaskLine, node: usize, input_ms: f64, output_ms: f64, price: f64) -> Choice {
        let takes_ms = run_ms(&self.case.nodes[node], task);
        let start_ms = task.arrival_ms + input_ms;
        let alone_ms = input_ms + takes_ms + output_ms;
        let used_ms = ((start_ms + takes_ms).min(self.until_ms) - start_ms.max(self.from_ms)).max(0.0);
        let waits_ms = (self.until_ms - start_ms).max(0.0);
        if waits_ms < price * used_ms {
            return Choice { node, cost_ms: alone_ms + waits_ms, used_ms: 0.0 };
        }
        Choice { node, cost_ms: alone_ms + price * used_ms, used_ms }
    }

    fn level(&self, tasks: &[TaskLine]) -> Vec<f64> {
        let sample: Vec<TaskLine> = tasks.iter().step_by(SAMPLE_ONE_IN).cloned().collect();
        let prices = |level: f64| -> Vec<f64> {
            self.case.nodes.iter().map(|node| (level * node.speed - 1.0).max(0.0)).collect()
        };
        let bound_ms = |level: f64| self.bound_ms(&sample, &prices(level));
        let (mut least, mut most) = (0.0, LEVEL_MAX);
        for _ in 0..STEPS {
            let (lower, upper) = (least + (most - least) / 3.0, most - (most - least) / 3.0);
            if bound_ms(lower) < bound_ms(upper) {
                least = lower;
            } else {
                most = upper;
            }
        }
        prices((least + most) / 2.0)
    }

    fn adjusted(&self, tasks: &[TaskLine], level: Vec<f64>) -> Vec<f64> {
        let (mut prices, mut sums) = (level.clone(), vec![0.0; level.len()]);
        for turn in 0..TURNS {
            let mut demand_ms = vec![0.0; prices.len()];
            let part = tasks.iter().skip(turn % SAMPLE_ONE_IN).step_by(SAMPLE_ONE_IN);
            let count = part.len().max(1) as f64;
            for task in part {
                let choice = self.choice(task, &prices);
                demand_ms[choice.node] += choice.used_ms / count;
            }
            let step = STEP / (1.0 + turn as f64 / 8.0);
            for ((price, demand_ms), supply_ms) in prices.iter_mut().zip(demand_ms).zip(&self.supply_ms) {
                // One long task must not set a price.
                let excess = (demand_ms / supply_ms.max(1e-9) - 1.0).min(EXCESS_MAX);
                *price = (*price + step * excess).max(0.0);
            }
            // The later half has found its level; its mean is better than where it happens to end.
            if turn >= TURNS / 2 {
                sums.iter_mut().zip(&prices).for_each(|(sum, price)| *sum += price * 2.0 / TURNS as f64);
            }
        }
        let sample: Vec<TaskLine> = tasks.iter().step_by(SAMPLE_ONE_IN).cloned().collect();
        if self.bound_ms(&sample, &sums) > self.bound_ms(&sample, &level) { sums } else { level }
    }

    /// The bound of the mean at these prices; of a sample, an estimate of it.
    fn bound_ms(&self, tasks: &[TaskLine], prices: &[f64]) -> f64 {
        let cost_ms: f64 = tasks.iter().map(|task| self.choice(task, prices).cost_ms).sum();
        let earned_ms: f64 = prices.iter().zip(&self.supply_ms).map(|(price, supply_ms)| price * supply_ms).sum();
        cost_ms / tasks.len().max(1) as f64 - earned_ms
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::{case_of, task};
    use super::*;

    #[test]
    fn the_fast_node_has_room_for_some_and_the_bound_knows() {
        // Four tasks a second of 1,000 ms arise at ten slow nodes; the fast one takes 500 ms for each, and no more than two
        // a second. The other half takes 4,000 ms.
        let mut nodes = vec![(4, 0.25, 8_000.0); 10];
        nodes.push((1, 2.0, 8_000.0));
        let tasks: Vec<_> =
            (0..4_000).map(|number| task(250.0 * f64::from(number), number as usize % 10, 1_000.0)).collect();
        let case = case_of(&nodes, 0.0, tasks);

        let bound_ms = priced_ms(&case, &case.tasks);

        assert!((2_100.0..=2_250.1).contains(&bound_ms), "{bound_ms}");
    }

    #[test]
    fn without_scarcity_prices_add_nothing() {
        let tasks: Vec<_> = (0..400).map(|number| task(2_500.0 * f64::from(number), 0, 1_000.0)).collect();
        let case = case_of(&[(4, 0.25, 8_000.0), (1, 2.0, 8_000.0)], 0.0, tasks);

        let bound_ms = priced_ms(&case, &case.tasks);

        assert!((500.0..=500.1).contains(&bound_ms), "{bound_ms}");
    }
}
