//! Policies that look at nobody's load.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use super::super::case::Case;
use super::super::run::Run;
use super::engine::{Policy, World, play};
use super::view::anybody;

/// Every task where it arose.
pub(in super::super) fn local(case: &Case) -> Run {
    play(case, &mut Oblivious(|world: &World<'_, ()>, task: usize| world.task(task).origin))
}

/// Every task at the cloud node that would be fastest if it were idle; at home where no cloud is in reach.
pub(in super::super) fn cloud(case: &Case) -> Run {
    let clouds: Vec<usize> = case.clouds().collect();
    play(
        case,
        &mut Oblivious(move |world: &World<'_, ()>, task: usize| {
            let expected_ms = |node: usize| world.completion_expected_ms(task, node, world.now_ms);
            let best = clouds.iter().copied().min_by(|a, b| expected_ms(*a).total_cmp(&expected_ms(*b)));
            best.filter(|node| expected_ms(*node).is_finite()).unwrap_or(world.task(task).origin)
        }),
    )
}

/// Any node within reach but the origin.
pub(in super::super) fn random(case: &Case, seed: u64) -> Run {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    play(
        case,
        &mut Oblivious(move |world: &World<'_, ()>, task: usize| {
            let origin = world.task(task).origin;
            anybody(world.case, &mut rng, origin, None).unwrap_or(origin)
        }),
    )
}

struct Oblivious<F>(F);

impl<F: FnMut(&World<'_, ()>, usize) -> usize> Policy for Oblivious<F> {
    type Note = ();

    fn arose(&mut self, world: &mut World<'_, ()>, task: usize) {
        let node = world.decide(|world| (self.0)(world, task));
        world.award(task, node);
    }
}
