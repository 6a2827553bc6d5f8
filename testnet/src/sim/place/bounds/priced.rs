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
//! Prices are found by raising those of nodes that are asked too much, and lowering the others, on parts of the tasks in turn.

use super::super::case::{Case, TaskLine};
use super::super::physics::{run_ms, transfer_ms};

const PARTS: usize = 40;
const ROUNDS: usize = 4;
/// How much a price moves at first, for a node that is asked twice what it has.
const STEP: f64 = 0.2;
/// What it moves by grows with it, so that high prices are reached too.
const PRICE_MAX: f64 = 100.0;

/// The bound of the mean completion of these tasks, while they arrive.
pub(super) fn priced_ms(case: &Case, tasks: &[TaskLine]) -> f64 {
    let market = Market::new(case, tasks);
    let prices = market.prices(tasks);
    market.bound_ms(tasks, &prices)
}

struct Market<'c> {
    case: &'c Case,
    from_ms: f64,
    until_ms: f64,
    /// Core time each node has while tasks are counted.
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
        let supply_ms = case.nodes.iter().map(|node| f64::from(node.cores) * (until_ms - from_ms)).collect();
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

    fn prices(&self, tasks: &[TaskLine]) -> Vec<f64> {
        let count = self.case.nodes.len();
        let (mut prices, mut sums) = (vec![0.0; count], vec![0.0; count]);
        let mut summed = 0.0_f64;
        for turn in 0..PARTS * ROUNDS {
            let mut demand_ms = vec![0.0; count];
            for task in tasks.iter().skip(turn % PARTS).step_by(PARTS) {
                let choice = self.choice(task, &prices);
                demand_ms[choice.node] += choice.used_ms * PARTS as f64;
            }
            let step = STEP / (1.0 + turn as f64 / PARTS as f64);
            for ((price, demand_ms), supply_ms) in prices.iter_mut().zip(demand_ms).zip(&self.supply_ms) {
                // As a share, and no more than twice: one long task must not set a price.
                let excess = (demand_ms / supply_ms.max(1e-9) - 1.0).clamp(-1.0, 1.0);
                *price = (*price + step * (1.0 + *price) * excess).clamp(0.0, PRICE_MAX);
            }
            // The later half has found its level; its mean is better than where it happens to end.
            if turn >= PARTS * ROUNDS / 2 {
                sums.iter_mut().zip(&prices).for_each(|(sum, price)| *sum += price);
                summed += 1.0;
            }
        }
        sums.into_iter().map(|sum| sum / summed.max(1.0)).collect()
    }

    fn bound_ms(&self, tasks: &[TaskLine], prices: &[f64]) -> f64 {
        let cost_ms: f64 = tasks.iter().map(|task| self.choice(task, prices).cost_ms).sum();
        let earned_ms: f64 = prices.iter().zip(&self.supply_ms).map(|(price, supply_ms)| price * supply_ms).sum();
        (cost_ms - earned_ms) / tasks.len().max(1) as f64
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
