//! Which of several builds is chosen, against trying all of them.

use proptest::prelude::*;

use super::cost::{Job, Terms};
use super::estimates::Run;
use super::*;
use crate::id::BlobId;
use crate::task::spec::{CloudUse, Payload, TaskSpec, Variant};

/// A peer: its cores' speed, round trip and wait in ms, uplink in kbit/s.
type Place = (f64, u64, u64, u64);

/// A build: its work in ms, and loss.
type Made = (u64, f64);

const UPLINK_BITS_PER_S: u64 = 20_000_000;

struct World {
    members: Vec<Member>,
    loads: Vec<LoadDigest>,
    places: Vec<Place>,
    builds: Vec<Made>,
    estimates: Estimates,
    spec: TaskSpec,
}

impl World {
    /// The first place is home.
    fn new(places: Vec<Place>, builds: Vec<Made>, input_bytes: usize) -> Self {
        let peer = |index: usize| PeerId([index as u8 + 1; 32]);
        let module = |index: usize| BlobId([index as u8; 32]);
        let member = |index| Member { peer: peer(index), name: "x".into(), role: Role::Edge, labels: BTreeMap::new() };
        let load =
            |(speed, _, _, kbps): &Place| LoadDigest { speed: *speed, uplink_bits_per_s: kbps * 1_000, ..test_load() };
        let mut estimates = Estimates::default();
        for (index, (work_ms, _)) in builds.iter().enumerate() {
            let run = Duration::from_millis(*work_ms);
            let (module, input_bytes) = (module(index), input_bytes as u64);
            estimates.learn(&Run { module, args: &[], input_bytes, output_bytes: 0, run, speed: 1.0, expected: None });
        }
        let variant = |(index, (_, loss)): (usize, &Made)| Variant {
            name: index.to_string(),
            module: module(index),
            module_bytes: 0,
            loss: *loss,
        };
        let mut spec = TaskSpec::of_module(module(0), 0);
        spec.variants = builds.iter().enumerate().map(variant).collect();
        spec.inputs = vec![Payload::inline(vec![0; input_bytes])];
        spec.policy.cloud = CloudUse::Allow;
        Self {
            members: (0..places.len()).map(member).collect(),
            loads: places.iter().map(load).collect(),
            places,
            builds,
            estimates,
            spec,
        }
    }

    /// Every candidate as it was ranked, the best first.
    fn ranked(&self, lambda: f64) -> Vec<Assessment> {
        let site = |index: usize| Site {
            member: &self.members[index],
            is_home: index == 0,
            rtt: self.rtt(index),
            loss: 0.0,
            load: Some(&self.loads[index]),
            start_in: Duration::from_millis(self.places[index].2),
            heard_ago: Duration::ZERO,
        };
        let sites: Vec<Site<'_>> = (0..self.places.len()).map(site).collect();
        let circumstances = Circumstances {
            estimates: &self.estimates,
            link: HomeLink { uplink_bits_per_s: UPLINK_BITS_PER_S, uplink_wait: Duration::ZERO },
            lambda,
            deadline_in: None,
            tried: &BTreeMap::new(),
            last_resort: false,
            holders: &Holders::default(),
            rules: None,
            ahead: &BTreeMap::new(),
        };
        rank(&self.spec, &sites, &circumstances).recorded()
    }

    fn rtt(&self, index: usize) -> Duration {
        if index == 0 { Duration::ZERO } else { Duration::from_millis(self.places[index].1) }
    }

    /// The least cost of all places and builds that the task allows, found by trying them.
    fn least(&self, lambda: f64) -> f64 {
        let allowed = self.spec.policy.loss_max.map_or(1.0, f64::from);
        let mut least = f64::INFINITY;
        for (index, load) in self.loads.iter().enumerate() {
            for (work_ms, loss) in self.builds.iter().filter(|(_, loss)| *loss <= allowed) {
                let job = Job {
                    output_bytes: 0,
                    work: Duration::from_millis(*work_ms),
                    loss: *loss,
                    deadline_in: None,
                    lambda,
                };
                let terms = Terms {
                    start_in: Duration::from_millis(self.places[index].2),
                    prepare: Duration::ZERO,
                    rtt: self.rtt(index),
                    input_bytes: if index > 0 { self.spec.input_bytes() } else { 0 },
                    elsewhere: Duration::ZERO,
                    uplink_wait: Duration::ZERO,
                    uplink_bits_per_s: (index > 0).then_some(UPLINK_BITS_PER_S),
                    downlink_bits_per_s: (index > 0).then_some(load.uplink_bits_per_s),
                    speed: load.speed,
                    quote_error: 1.0,
                    weights: load.weights,
                    price: 0.0,
                    ahead_ms: 0.0,
                };
                least = least.min(cost::cost(&job, &terms).total());
            }
        }
        least
    }
}

fn places() -> impl Strategy<Value = Vec<Place>> {
    proptest::collection::vec((0.2..4.0f64, 1..80u64, 0..300u64, 1_000..1_000_000u64), 1..6)
}

fn builds() -> impl Strategy<Value = Vec<Made>> {
    proptest::collection::vec((1..2_000u64, 0.0..0.3f64), 1..5)
}

/// Loss and weighted time of what is chosen: what a milder λ is compared by.
fn chosen(world: &World, lambda: f64) -> (f64, f64) {
    let best = world.ranked(lambda).swap_remove(0);
    let cost = best.cost.expect("nobody is excluded");
    (cost.loss, cost.time() / lambda)
}

proptest! {
    #[test]
    fn the_best_is_the_least_over_all_places_and_builds(
        places in places(), builds in builds(), bytes in 0..50_000usize, lambda in 0.01..50.0f64, allowed in 0.0..0.4f64,
    ) {
        let mut world = World::new(places, builds, bytes);
        world.spec.policy.loss_max = Some(allowed.into());
        let best = world.ranked(lambda).swap_remove(0);
        let least = world.least(lambda);

        prop_assert_eq!(best.exclusion.is_some(), least.is_infinite());
        if least.is_finite() {
            prop_assert!((best.total() - least).abs() <= 1e-9 * least.max(1.0), "{} instead of {}", best.total(), least);
            prop_assert!(world.builds[usize::from(best.variant)].1 <= allowed);
        }
    }

    #[test]
    fn a_greater_lambda_never_buys_a_better_answer_with_more_time(
        places in places(), builds in builds(), bytes in 0..50_000usize, lambda in 0.01..10.0f64, more in 1.0..20.0f64,
    ) {
        let world = World::new(places, builds, bytes);

        let (mild, strict) = (chosen(&world, lambda), chosen(&world, lambda * more));

        prop_assert!(strict.0 >= mild.0 - 1e-6, "loss {} after {}", strict.0, mild.0);
        prop_assert!(strict.1 <= mild.1 + 1e-6, "time {} after {}", strict.1, mild.1);
    }

    #[test]
    fn a_smaller_declared_loss_never_makes_a_build_less_likely(
        places in places(), builds in builds(), bytes in 0..50_000usize, lambda in 0.01..10.0f64, share in 0.0..1.0f64,
    ) {
        let world = World::new(places.clone(), builds.clone(), bytes);
        let before = world.ranked(lambda).swap_remove(0);
        let mut better = builds;
        better[usize::from(before.variant)].1 *= share;

        let after = World::new(places, better, bytes).ranked(lambda).swap_remove(0);

        prop_assert_eq!(after.variant, before.variant);
    }

    #[test]
    fn every_build_is_remembered_with_its_cost_and_the_cheapest_is_chosen(
        places in places(), builds in builds(), lambda in 0.01..10.0f64,
    ) {
        let world = World::new(places, builds, 1_000);

        for candidate in world.ranked(lambda) {
            let several = world.builds.len() > 1;
            prop_assert_eq!(candidate.builds.len(), if several { world.builds.len() } else { 0 });
            let cheapest = candidate.builds.iter().map(|(_, cost)| cost.total()).fold(f64::INFINITY, f64::min);
            prop_assert!(!several || cheapest == candidate.total());
        }
    }
}

/// The λ and the loss that `explain` names are where the choice really flips.
#[test]
fn what_would_change_the_build_changes_it() {
    // 200 ms for a loss of 0.01, or 50 ms for 0.03: the losses cost 100 and 300, so they are even at λ = 200 / 150.
    let world = |lambda, loss| {
        let world = World::new(vec![(1.0, 0, 0, 1_000)], vec![(200, 0.01), (50, loss)], 0);
        let best = world.ranked(lambda).swap_remove(0);
        let record = Record {
            rules: Vec::new(),
            epoch: 1,
            method: explain::Method::Local,
            decided_in_us: 0,
            lambda,
            asked: 0,
            executor: Some(best.peer),
            assessments: vec![best],
            verdicts: Vec::new(),
            input_bytes: 0,
        };
        record.explain(crate::id::TaskId([0; 16]), &world.spec.variants, |_| Some(world.members[0].clone()))
    };

    let decision = world(1.0, 0.03);

    assert_eq!(decision.candidates[0].variant, 0);
    let builds: Vec<_> = decision.candidates[0].builds.iter().map(|of| (&*of.name, of.cost.total())).collect();
    assert_eq!(builds, [("0", 300.0), ("1", 350.0)]);
    assert_eq!(decision.counterfactuals, ["x would run build 1 if λ were over 1.33, or its loss under 0.0250"]);
    assert_eq!((world(1.3, 0.03).candidates[0].variant, world(1.4, 0.03).candidates[0].variant), (0, 1));
    assert_eq!((world(1.0, 0.0251).candidates[0].variant, world(1.0, 0.0249).candidates[0].variant), (0, 1));
    let the_other_way = world(2.0, 0.03).counterfactuals;
    assert_eq!(the_other_way, ["x would run build 0 if λ were under 1.33"]);
}
