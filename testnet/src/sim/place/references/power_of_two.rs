//! Two random nodes are asked how much they have to do; the one with less gets the task.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use super::super::case::Case;
use super::super::run::Run;
use super::engine::{Policy, World, play};
use super::view::anybody;

pub(in super::super) fn power_of_two(case: &Case, seed: u64) -> Run {
    let rng = Pcg64Mcg::seed_from_u64(seed);
    play(case, &mut PowerOfTwo { rng, answers: vec![None; case.tasks.len()] })
}

enum Note {
    Asked { task: usize, node: usize },
    Answered { task: usize, node: usize, tasks: usize },
}

struct PowerOfTwo {
    rng: Pcg64Mcg,
    /// For each task the answer that came first.
    answers: Vec<Option<(usize, usize)>>,
}

impl Policy for PowerOfTwo {
    type Note = Note;

    fn arose(&mut self, world: &mut World<'_, Note>, task: usize) {
        let origin = world.task(task).origin;
        let (case, rng) = (world.case, &mut self.rng);
        let (first, second) = world.decide(|_| {
            let first = anybody(case, rng, origin, None);
            (first, anybody(case, rng, origin, first))
        });
        let (Some(first), Some(second)) = (first, second) else {
            return world.award(task, first.unwrap_or(origin));
        };
        world.say(origin, first, Note::Asked { task, node: first });
        world.say(origin, second, Note::Asked { task, node: second });
    }

    fn heard(&mut self, world: &mut World<'_, Note>, note: Note) {
        match note {
            Note::Asked { task, node } => {
                let tasks = world.tasks_at(node);
                world.say(node, world.task(task).origin, Note::Answered { task, node, tasks });
            }
            Note::Answered { task, node, tasks } => match self.answers[task] {
                None => self.answers[task] = Some((node, tasks)),
                Some((_, before)) if tasks < before => world.award(task, node),
                Some((first, _)) => world.award(task, first),
            },
        }
    }
}
