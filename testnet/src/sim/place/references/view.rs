//! Whom a node knows: the bounded view of a peer, for references that ask some and not all.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use super::super::case::{Case, Tier};

const NEAREST: usize = 24;
const CLOUDS: usize = 10;
const RANDOM: usize = 8;

/// For each node everybody it can reach, without itself.
pub(super) fn reachable(case: &Case) -> Vec<Vec<usize>> {
    let count = case.nodes.len();
    let of = |from: usize| (0..count).filter(|to| *to != from && case.one_way_ms(from, *to).is_some()).collect();
    (0..count).map(of).collect()
}

/// For each node the nearest by round trip, the nearest clouds, and some at random; without itself.
pub(super) fn views(case: &Case, seed: u64) -> Vec<Vec<usize>> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x51e9);
    let of = |(from, mut others): (usize, Vec<usize>)| {
        let rtt_ms = |to: usize| case.one_way_ms(from, to).unwrap_or(f64::INFINITY);
        others.sort_by(|a, b| rtt_ms(*a).total_cmp(&rtt_ms(*b)));
        let is_cloud = |node: &usize| case.nodes[*node].tier == Tier::Cloud;
        let mut view: Vec<usize> = others.iter().copied().filter(is_cloud).take(CLOUDS).collect();
        others.retain(|node| !view.contains(node));
        let rest = others.split_off(NEAREST.min(others.len()));
        view.append(&mut others);
        let mut rest = rest;
        rest.shuffle(&mut rng);
        view.extend(rest.into_iter().take(RANDOM));
        view
    };
    reachable(case).into_iter().enumerate().map(of).collect()
}
