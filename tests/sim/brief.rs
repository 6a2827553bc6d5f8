use shoal_testnet::sim::brief::{Instance, Shape, Solved, instance_seed, solve};

/// Five users at two edges hand in a task each, some at the same instant; three clouds are there too, and everybody is
/// unequal. Where the peers have them run costs little more than the best plan of who knows everything, and never less.
#[test]
fn five_users_are_placed_nearly_as_well_as_can_be() {
    for seed in 0..4 {
        let summary = solve(Shape::default(), seed, 100, 2).unwrap_or_else(|error| panic!("seed {seed}: {error}"));

        assert!((1.0..=1.05).contains(&summary.mean_ratio), "seed {seed}: {summary:?}");
        assert!(summary.optimal_percent >= 40.0, "seed {seed}: {summary:?}");
    }
}

/// One user, and nobody in its way: what it is given is nearly always what is best. Not always: peers that were busy a moment
/// ago are doubted, and among those that are nearly as good chance decides.
#[test]
fn a_user_alone_gets_the_best_there_is() {
    for seed in 0..4 {
        let shape = Shape { users: 1, ..Shape::default() };
        let summary = solve(shape, seed, 100, 2).unwrap_or_else(|error| panic!("seed {seed}: {error}"));

        assert!(summary.optimal_percent >= 90.0 && summary.mean_ratio <= 1.02, "seed {seed}: {summary:?}");
    }
}

/// The same instance is decided the same way each time.
#[test]
fn an_instance_is_placed_the_same_way_each_time() {
    let solved =
        || Solved::of(Instance::draw(Shape::default(), instance_seed(5, 3))).expect("nothing goes wrong in it");

    let (first, second) = (solved(), solved());

    assert_eq!((first.placed.met, first.optimum), (second.placed.met, second.optimum));
}
