//! Everybody says twice a second when a new arrival would start; each task goes where it would be done first by that.
//!
//! One's own load and uplink are known exactly. Nobody reckons with what they or others sent since: the herd.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::super::case::Case;
use super::super::run::Run;
use super::MESSAGE_BYTES;
use super::engine::{Policy, World, play_with};
use super::view::views;

const PERIOD_MS: f64 = 500.0;

pub(in super::super) fn stale_argmin(case: &Case, seed: u64) -> Run {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let first_ms: Vec<f64> = case.nodes.iter().map(|_| PERIOD_MS * rng.random::<f64>()).collect();
    let said = vec![Vec::new(); case.nodes.len()];
    let mut policy = StaleArgmin { views: views(case, seed), first_ms: first_ms.clone(), said };
    play_with(case, &mut policy, |world| {
        for (node, at_ms) in first_ms.into_iter().enumerate() {
            world.later(at_ms, Says { node });
        }
    })
}

/// The node tells its view.
struct Says {
    node: usize,
}

struct StaleArgmin {
    views: Vec<Vec<usize>>,
    first_ms: Vec<f64>,
    /// For each node all it ever said: when a new arrival would start.
    said: Vec<Vec<f64>>,
}

impl StaleArgmin {
    /// The newest word of a node that has reached another.
    fn heard_ms(&self, world: &World<'_, Says>, node: usize, at: usize) -> f64 {
        let Some(one_way_ms) = world.case.one_way_ms(node, at) else { return f64::INFINITY };
        let periods = ((world.now_ms - one_way_ms - self.first_ms[node]) / PERIOD_MS).floor();
        if periods < 0.0 {
            return world.now_ms;
        }
        self.said[node].get(periods as usize).or(self.said[node].last()).copied().unwrap_or(world.now_ms)
    }
}

impl Policy for StaleArgmin {
    type Note = Says;

    fn arose(&mut self, world: &mut World<'_, Says>, task: usize) {
        let origin = world.task(task).origin;
        let best = world.decide(|world| {
            let start_ms = world.start_expected_ms(origin);
            let mut best = (world.completion_expected_ms(task, origin, start_ms), origin);
            for node in &self.views[origin] {
                let start_ms = self.heard_ms(world, *node, origin);
                let completion_ms = world.completion_expected_ms(task, *node, start_ms);
                if completion_ms < best.0 {
                    best = (completion_ms, *node);
                }
            }
            best.1
        });
        world.award(task, best);
    }

    fn heard(&mut self, world: &mut World<'_, Says>, Says { node }: Says) {
        let start_ms = world.start_expected_ms(node);
        self.said[node].push(start_ms);
        let receivers = self.views[node].len() as u64;
        world.run.control.count_background(world.case, world.now_ms, receivers, MESSAGE_BYTES);
        if world.goes_on() {
            world.later(world.now_ms + PERIOD_MS, Says { node });
        }
    }
}
