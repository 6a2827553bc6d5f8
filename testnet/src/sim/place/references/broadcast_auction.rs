//! Everybody is asked for every task, everybody bids, and the best bid wins when all are there.
//!
//! A bid says when a new arrival would start; it reserves nothing.

use std::collections::BTreeMap;

use super::super::case::Case;
use super::super::run::Run;
use super::engine::{Policy, World, play};
use super::view::reachable;

pub(in super::super) fn broadcast_auction(case: &Case) -> Run {
    let mut bidders = reachable(case);
    for (origin, others) in bidders.iter_mut().enumerate() {
        let one_way_ms = |node: usize| case.one_way_ms(origin, node).unwrap_or(f64::INFINITY);
        others.sort_by(|a, b| one_way_ms(*a).total_cmp(&one_way_ms(*b)));
    }
    let round_trip_ms = |origin: usize, node: usize| {
        case.one_way_ms(origin, node).unwrap_or_default() + case.one_way_ms(node, origin).unwrap_or_default()
    };
    let slowest_ms = |(origin, others): (usize, &Vec<usize>)| {
        others.iter().map(|node| round_trip_ms(origin, *node)).fold(0.0, f64::max)
    };
    let slowest_ms = bidders.iter().enumerate().map(slowest_ms).collect();
    play(case, &mut BroadcastAuction { bidders, slowest_ms, bids: BTreeMap::new() })
}

enum Note {
    /// The request is at the bidder with this number; the way to the next one is noted then, so that one note is under
    /// way for a task and not one for each bidder.
    Asked {
        task: usize,
        number: usize,
    },
    AllAnswered {
        task: usize,
    },
}

struct BroadcastAuction {
    /// For each origin everybody else, the nearest first.
    bidders: Vec<Vec<usize>>,
    slowest_ms: Vec<f64>,
    /// For each open auction when a new arrival would start, by number of the bidder.
    bids: BTreeMap<usize, Vec<f64>>,
}

impl BroadcastAuction {
    fn ask(&self, world: &mut World<'_, Note>, task: usize, number: usize) {
        let line = world.task(task);
        if let Some(node) = self.bidders[line.origin].get(number)
            && let Some(one_way_ms) = world.case.one_way_ms(line.origin, *node)
        {
            world.later(line.arrival_ms + one_way_ms, Note::Asked { task, number });
        }
    }
}

impl Policy for BroadcastAuction {
    type Note = Note;

    fn arose(&mut self, world: &mut World<'_, Note>, task: usize) {
        let origin = world.task(task).origin;
        world.count(self.bidders[origin].len() as u64);
        self.bids.insert(task, Vec::with_capacity(self.bidders[origin].len()));
        self.ask(world, task, 0);
        world.later(world.now_ms + self.slowest_ms[origin], Note::AllAnswered { task });
    }

    fn heard(&mut self, world: &mut World<'_, Note>, note: Note) {
        match note {
            Note::Asked { task, number } => {
                let node = self.bidders[world.task(task).origin][number];
                world.count(1);
                let start_ms = world.start_expected_ms(node);
                if let Some(bids) = self.bids.get_mut(&task) {
                    bids.push(start_ms);
                }
                self.ask(world, task, number + 1);
            }
            Note::AllAnswered { task } => {
                let origin = world.task(task).origin;
                let bids = self.bids.remove(&task).unwrap_or_default();
                let best = world.decide(|world| {
                    let start_ms = world.start_expected_ms(origin);
                    let mut best = (world.completion_expected_ms(task, origin, start_ms), origin);
                    for (node, start_ms) in self.bidders[origin].iter().zip(bids) {
                        let completion_ms = world.completion_expected_ms(task, *node, start_ms);
                        if completion_ms < best.0 {
                            best = (completion_ms, *node);
                        }
                    }
                    best.1
                });
                world.award(task, best);
            }
        }
    }
}
