//! Whom a node knows: the bounded view of a peer, for references that ask some and not all.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::super::case::{Case, Tier};

const NEAREST: usize = 24;
const CLOUDS: usize = 10;
const RANDOM: usize = 8;
/// Where most pairs can reach each other, two would do.
const TRIES: usize = 1_000;

/// Everybody a node can reach, without itself.
pub(super) fn reachable(case: &Case, from: usize) -> impl Iterator<Item = usize> + '_ {
    (0..case.nodes.len()).filter(move |to| *to != from && case.one_way_ms(from, *to).is_some())
}

/// Anybody a node can reach but itself and one other; nobody, if it has not found one after many tries.
pub(super) fn anybody(case: &Case, rng: &mut impl Rng, from: usize, other: Option<usize>) -> Option<usize> {
    let any = core::iter::repeat_with(|| rng.random_range(0..case.nodes.len())).take(TRIES);
    any.into_iter().find(|to| *to != from && Some(*to) != other && case.one_way_ms(from, *to).is_some())
}

/// For each node the nearest by round trip, the nearest clouds, and some at random; without itself.
pub(super) fn views(case: &Case, seed: u64) -> Vec<Vec<usize>> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x51e9);
    (0..case.nodes.len()).map(|from| view(case, &mut rng, from)).collect()
}

fn view(case: &Case, rng: &mut impl Rng, from: usize) -> Vec<usize> {
    let (mut clouds, mut others): (Vec<usize>, Vec<usize>) =
        reachable(case, from).partition(|node| case.nodes[*node].tier == Tier::Cloud);
    let beyond = keep_nearest(case, from, &mut clouds, CLOUDS);
    others.extend(beyond);
    let mut rest = keep_nearest(case, from, &mut others, NEAREST);
    let random = rest.partial_shuffle(rng, RANDOM).0.to_vec();
    [clouds, others, random].concat()
}

/// Leaves the nearest; returns the others.
fn keep_nearest(case: &Case, from: usize, nodes: &mut Vec<usize>, count: usize) -> Vec<usize> {
    if nodes.len() <= count {
        return Vec::new();
    }
    let rtt_ms = |to: &usize| case.one_way_ms(from, *to).unwrap_or(f64::INFINITY);
    nodes.select_nth_unstable_by(count, |a, b| rtt_ms(a).total_cmp(&rtt_ms(b)).then(a.cmp(b)));
    nodes.split_off(count)
}
