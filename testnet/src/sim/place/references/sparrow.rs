//! Batch sampling with late binding, as Sparrow does it: reservations wait at several nodes, and the first that has a core
//! for one gets the task.
//!
//! A node whose core is free keeps it idle while it asks for the task of its oldest reservation, and until the input is
//! there. In one data centre that is nothing; over a wide area it is what late binding costs. When the task is bound, the
//! other reservations are cancelled.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use std::collections::VecDeque;

use super::super::case::Case;
use super::super::run::Run;
use super::engine::{Policy, World, play};
use super::view::views;

const PROBES: usize = 4;

pub(in super::super) fn sparrow(case: &Case, seed: u64) -> Run {
    let mut sparrow = Sparrow {
        rng: Pcg64Mcg::seed_from_u64(seed),
        views: views(case, seed),
        reserved: vec![VecDeque::new(); case.nodes.len()],
        probed: vec![Vec::new(); case.tasks.len()],
        bound: vec![false; case.tasks.len()],
    };
    play(case, &mut sparrow)
}

#[derive(Clone, Copy)]
enum Note {
    Reserve { task: usize, node: usize },
    Ready { task: usize, node: usize },
    Gone { node: usize },
    Cancel { task: usize, node: usize },
}

struct Sparrow {
    rng: Pcg64Mcg,
    views: Vec<Vec<usize>>,
    /// For each node the tasks that have a reservation there, the oldest first.
    reserved: Vec<VecDeque<usize>>,
    /// For each task where.
    probed: Vec<Vec<usize>>,
    bound: Vec<bool>,
}

impl Sparrow {
    fn ask_for_reserved(&mut self, world: &mut World<'_, Note>, node: usize) {
        while world.cores_free(node) > 0
            && let Some(task) = self.reserved[node].pop_front()
        {
            world.hold_core(node);
            world.say(node, world.task(task).origin, Note::Ready { task, node });
        }
    }
}

impl Policy for Sparrow {
    type Note = Note;

    fn arose(&mut self, world: &mut World<'_, Note>, task: usize) {
        let origin = world.task(task).origin;
        let mut probed = world.decide(|_| {
            let mut view = self.views[origin].clone();
            view.partial_shuffle(&mut self.rng, PROBES).0.to_vec()
        });
        if probed.is_empty() {
            probed.push(origin);
        }
        for node in &probed {
            world.say(origin, *node, Note::Reserve { task, node: *node });
        }
        self.probed[task] = probed;
    }

    fn heard(&mut self, world: &mut World<'_, Note>, note: Note) {
        match note {
            Note::Reserve { task, node } => {
                self.reserved[node].push_back(task);
                self.ask_for_reserved(world, node);
            }
            Note::Ready { task, node } if self.bound[task] => {
                world.say(world.task(task).origin, node, Note::Gone { node });
            }
            Note::Ready { task, node } => {
                self.bound[task] = true;
                world.award(task, node);
                for other in std::mem::take(&mut self.probed[task]) {
                    if other != node {
                        world.say(world.task(task).origin, other, Note::Cancel { task, node: other });
                    }
                }
            }
            Note::Gone { node } => {
                world.release_core(node);
                self.ask_for_reserved(world, node);
            }
            Note::Cancel { task, node } => self.reserved[node].retain(|reserved| *reserved != task),
        }
    }

    fn input_there(&mut self, world: &mut World<'_, Note>, task: usize, node: usize) {
        world.start_on_held_core(task, node);
    }

    fn core_freed(&mut self, world: &mut World<'_, Note>, node: usize) {
        self.ask_for_reserved(world, node);
    }
}
