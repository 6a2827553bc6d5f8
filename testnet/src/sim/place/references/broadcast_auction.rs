//! Everybody is asked for every task, everybody bids, and the best bid wins when all are there.
//!
//! A bid says when a new arrival would start; it reserves nothing.

use super::super::case::Case;
use super::super::run::Run;
use super::engine::{Policy, World, play};
use super::view::reachable;

pub(in super::super) fn broadcast_auction(case: &Case) -> Run {
    let one_way_ms = |from: usize, to: usize| case.one_way_ms(from, to).unwrap_or(f64::INFINITY);
    let bidders_of = |origin: usize| {
        let bidder = |node| Bidder { node, one_way_ms: one_way_ms(origin, node) };
        let mut bidders: Vec<Bidder> = reachable(case, origin).map(bidder).collect();
        bidders.sort_by(|a, b| a.one_way_ms.total_cmp(&b.one_way_ms));
        bidders
    };
    let bidders: Vec<Vec<Bidder>> = (0..case.nodes.len()).map(bidders_of).collect();
    let slowest_ms = |(origin, bidders): (usize, &Vec<Bidder>)| {
        bidders.iter().map(|bidder| bidder.one_way_ms + one_way_ms(bidder.node, origin)).fold(0.0, f64::max)
    };
    let slowest_ms = bidders.iter().enumerate().map(slowest_ms).collect();
    play(case, &mut BroadcastAuction { bidders, slowest_ms, bids: vec![Vec::new(); case.tasks.len()] })
}

/// Somebody else, and how far.
struct Bidder {
    node: usize,
    one_way_ms: f64,
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
    bidders: Vec<Vec<Bidder>>,
    slowest_ms: Vec<f64>,
    /// For each task when a new arrival would start, by number of the bidder; empty before and after the auction.
    bids: Vec<Vec<f64>>,
}

impl BroadcastAuction {
    fn ask(&self, world: &mut World<'_, Note>, task: usize, number: usize) {
        let line = world.task(task);
        if let Some(bidder) = self.bidders[line.origin].get(number) {
            world.later(line.arrival_ms + bidder.one_way_ms, Note::Asked { task, number });
        }
    }
}

impl Policy for BroadcastAuction {
    type Note = Note;

    fn arose(&mut self, world: &mut World<'_, Note>, task: usize) {
        let origin = world.task(task).origin;
        world.count(self.bidders[origin].len() as u64);
        self.bids[task].reserve_exact(self.bidders[origin].len());
        self.ask(world, task, 0);
        world.later(world.now_ms + self.slowest_ms[origin], Note::AllAnswered { task });
    }

    fn heard(&mut self, world: &mut World<'_, Note>, note: Note) {
        match note {
            Note::Asked { task, number } => {
                let node = self.bidders[world.task(task).origin][number].node;
                world.count(1);
                let start_ms = world.start_expected_ms(node);
                self.bids[task].push(start_ms);
                self.ask(world, task, number + 1);
            }
            Note::AllAnswered { task } => {
                let origin = world.task(task).origin;
                let bids = std::mem::take(&mut self.bids[task]);
                let best = world.decide(|world| {
                    let start_ms = world.start_expected_ms(origin);
                    let mut best = (world.completion_expected_ms(task, origin, start_ms), origin);
                    for (bidder, start_ms) in self.bidders[origin].iter().zip(bids) {
                        let completion_ms = world.completion_expected_ms(task, bidder.node, start_ms);
                        if completion_ms < best.0 {
                            best = (completion_ms, bidder.node);
                        }
                    }
                    best.1
                });
                world.award(task, best);
            }
        }
    }
}
