use core::time::Duration;

use proptest::prelude::*;

use super::*;

/// Every order of these.
fn orders(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let first_of = |first: &usize| {
        let others: Vec<usize> = items.iter().copied().filter(|item| item != first).collect();
        orders(&others).into_iter().map(|order| [&[*first], &order[..]].concat()).collect::<Vec<_>>()
    };
    items.iter().flat_map(first_of).collect()
}

/// Every choice of a machine and a build for each user.
fn assignments(instance: &Instance) -> Vec<Vec<(usize, usize)>> {
    let mut all = vec![Vec::new()];
    for user in &instance.users {
        let places =
            (0..instance.machines.len()).flat_map(|machine| (0..user.builds.len()).map(move |build| (machine, build)));
        let places: Vec<_> = places.collect();
        all = all.iter().flat_map(|one| places.iter().map(move |place| [&one[..], &[*place]].concat())).collect();
    }
    all
}

/// The same by trying everything and thinking nothing: one order of all tasks on the uplinks, and one on the cores.
fn optimum_of_all(instance: &Instance) -> f64 {
    let orders = orders(&(0..instance.users.len()).collect::<Vec<_>>());
    let mut least = f64::INFINITY;
    for assignment in assignments(instance) {
        for leaving in &orders {
            let mut met = vec![None; instance.users.len()];
            let mut uplink_free = vec![Duration::ZERO; instance.machines.len()];
            for index in leaving {
                let (user, (machine, build)) = (&instance.users[*index], assignment[*index]);
                let mut alone = instance.alone(user, machine, build);
                if machine != user.home {
                    alone.uplink_wait = uplink_free[user.home].saturating_sub(user.at);
                    alone.start_in += alone.uplink_wait;
                    uplink_free[user.home] = user.at + alone.uplink_wait + instance.crossing(user, machine);
                }
                met[*index] = Some(alone);
            }
            for starting in &orders {
                let mut met: Vec<Met> = met.iter().copied().map(Option::unwrap).collect();
                let mut cores: Vec<Vec<Duration>> =
                    instance.machines.iter().map(|of| vec![Duration::ZERO; usize::from(of.cores)]).collect();
                for index in starting {
                    let (user, (machine, build)) = (&instance.users[*index], assignment[*index]);
                    cores[machine].sort();
                    let start = cores[machine][0].max(user.at + met[*index].start_in);
                    cores[machine][0] = start + instance.run(user, machine, build);
                    met[*index].start_in = start - user.at;
                }
                least = least.min(instance.total(&met));
            }
        }
    }
    least
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_optimum_is_what_trying_everything_finds(
        seed in any::<u64>(), users in 1..=3usize, clouds in 0..=1usize, edges in 1..=2usize, crowded in any::<bool>(),
    ) {
        let mut instance = Instance::draw(Shape { users, clouds, edges }, seed);
        if crowded {
            // One core each, and all at once over slow uplinks: everybody is in everybody's way.
            for machine in &mut instance.machines {
                machine.cores = 1;
                machine.uplink_bits_per_s = 2_000_000;
            }
            instance.users.iter_mut().for_each(|user| user.at /= 50);
        }

        let plan = optimum(&instance);

        let least = optimum_of_all(&instance);
        prop_assert!((plan.total - least).abs() <= 1e-9 * least, "{} instead of {least}", plan.total);
        prop_assert!((instance.total(&plan.met) - plan.total).abs() <= 1e-9 * least);
    }

    #[test]
    fn a_plan_could_happen(seed in any::<u64>()) {
        let instance = Instance::draw(Shape::default(), seed);

        let plan = optimum(&instance);

        for (user, met) in instance.users.iter().zip(&plan.met) {
            prop_assert!(met.start_in >= instance.alone(user, met.machine, met.build).start_in + met.uplink_wait);
            let begins = user.at + met.start_in;
            let running = instance.users.iter().zip(&plan.met).filter(|(other, of)| {
                let start = other.at + of.start_in;
                let end = start + instance.run(other, of.machine, of.build);
                of.machine == met.machine && start <= begins && begins < end
            });
            prop_assert!(running.count() <= usize::from(instance.machines[met.machine].cores));
        }
    }
}

#[test]
fn an_instance_is_its_seeds() {
    let shape = Shape::default();

    assert_eq!(Instance::draw(shape, 7), Instance::draw(shape, 7));
    assert_ne!(Instance::draw(shape, 7), Instance::draw(shape, 8));
    let instances = (0..200).map(|seed| Instance::draw(shape, seed));
    let together = instances.filter(|of| of.users.windows(2).any(|two| two[0].at == two[1].at)).count();
    assert!(together > 100, "tasks compete: {together}");
}

/// What the mesh did is evaluated as it was: the completion that the cost function reckons is the one the simulator saw.
#[test]
fn what_a_task_met_makes_up_when_its_result_was_home() {
    for seed in 0..10 {
        let instance = Instance::draw(Shape::default(), seed);

        let placed = place(&instance).unwrap();

        for (user, (met, ended)) in instance.users.iter().zip(placed.met.iter().zip(&placed.ended_in)) {
            let reckoned_ms = instance.cost(user, met).completion_ms;
            let saw_ms = ended.as_secs_f64() * 1e3;
            assert!((reckoned_ms - saw_ms).abs() < 0.01, "seed {seed}: {reckoned_ms} instead of {saw_ms}");
        }
    }
}

#[test]
fn the_mesh_is_never_better_than_the_optimum_and_figures_do_not_depend_on_threads() {
    let figures = |threads| {
        let summary = solve(Shape::default(), 3, 12, threads).unwrap();
        (summary.mean_ratio, summary.worst_ratio, summary.worst_instance)
    };

    assert_eq!(figures(1), figures(3));
    assert!(figures(2).0 >= 1.0 - ROUNDING);
}
