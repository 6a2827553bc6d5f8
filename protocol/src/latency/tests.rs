use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::rng::Rng;
use crate::time::millis;

fn id(n: usize) -> PeerId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_le_bytes());
    PeerId(id)
}

fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1_000.0)
}

/// Peers in clusters on a plane, each with an access link of its own: what the Internet looks like from far away.
fn matrix(count: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = Rng::seed_from_u64(seed);
    let centres: Vec<[f64; 2]> = (0..8).map(|_| core::array::from_fn(|_| rng.random_range(0.0..120.0))).collect();
    let peers: Vec<([f64; 2], f64)> = (0..count)
        .map(|i| {
            let centre = centres[i % centres.len()];
            (centre.map(|x| x + rng.random_range(-4.0..4.0)), rng.random_range(0.2..6.0))
        })
        .collect();
    let distance = |a: &([f64; 2], f64), b: &([f64; 2], f64)| {
        let flat = a.0.iter().zip(b.0).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt();
        flat + a.1 + b.1
    };
    peers.iter().map(|a| peers.iter().map(|b| distance(a, b)).collect()).collect()
}

/// Each peer measures 32 others, half of them near, with a little jitter that only ever adds.
fn learn(matrix: &[Vec<f64>], rounds: u64, seed: u64) -> Vec<Latency> {
    learn_from(matrix, rounds, seed, |_, place| place)
}

/// As [`learn`], where each peer says of its place what `says` makes of it.
fn learn_from(
    matrix: &[Vec<f64>],
    rounds: u64,
    seed: u64,
    mut says: impl FnMut(usize, Coordinate) -> Coordinate,
) -> Vec<Latency> {
    let count = matrix.len();
    let mut rng = Rng::seed_from_u64(seed);
    let mut peers: Vec<Latency> = (0..count).map(|i| Latency::new(id(i), i as u64)).collect();
    let neighbours: Vec<Vec<usize>> = (0..count)
        .map(|i| {
            let mut by_distance: Vec<usize> = (0..count).filter(|j| *j != i).collect();
            by_distance.sort_by(|a, b| matrix[i][*a].total_cmp(&matrix[i][*b]));
            let far = by_distance.split_off(16.min(by_distance.len()));
            by_distance.extend((0..16).map(|_| far[rng.random_range(0..far.len())]));
            by_distance
        })
        .collect();
    for round in 0..rounds {
        for i in 0..count {
            let j = neighbours[i][rng.random_range(0..neighbours[i].len())];
            let measured = matrix[i][j] * (1.0 + rng.random_range(0.0..0.05));
            let remote = says(j, peers[j].coordinate());
            peers[i].observe(Time::from_millis(round * 250), id(j), ms(measured), remote);
        }
    }
    peers
}

/// Relative errors of all pairs, sorted.
fn errors(matrix: &[Vec<f64>], peers: &[Latency]) -> Vec<f64> {
    errors_among(matrix, peers, &(0..peers.len()).collect::<Vec<_>>())
}

fn errors_among(matrix: &[Vec<f64>], peers: &[Latency], among: &[usize]) -> Vec<f64> {
    let mut errors = Vec::new();
    for &a in among {
        for &b in among.iter().filter(|b| **b != a) {
            let predicted = peers[a].coordinate().rtt_to(&peers[b].coordinate()).as_secs_f64() * 1_000.0;
            errors.push((predicted - matrix[a][b]).abs() / matrix[a][b]);
        }
    }
    errors.sort_by(f64::total_cmp);
    errors
}

#[test]
fn coordinates_learn_a_matrix_of_a_hundred_and_twenty_peers() {
    let matrix = matrix(120, 1);
    let at_first = errors(&matrix, &learn(&matrix, 5, 2));
    let learnt = errors(&matrix, &learn(&matrix, 1_000, 2));

    let median = |errors: &[f64]| errors[errors.len() / 2];
    let p90 = learnt[learnt.len() * 9 / 10];
    println!("median {:.3} after 5 samples each, {:.3} after 1000; p90 {p90:.3}", median(&at_first), median(&learnt));
    assert!(median(&learnt) < 0.07, "median {}", median(&learnt));
    assert!(p90 < 0.25, "p90 {p90}");
    assert!(median(&learnt) < median(&at_first) / 2.0);
}

#[test]
fn the_own_measurement_comes_before_the_prediction() {
    let matrix = matrix(40, 3);
    let mut latency = learn(&matrix, 200, 4).swap_remove(0);
    let stranger = id(1_000);
    assert_eq!(latency.expected_rtt(stranger), None);

    latency.located(Time::ZERO, stranger, latency.coordinate());
    assert!(latency.rtt(stranger).is_none());
    assert_eq!(latency.expected_rtt(stranger), latency.predict(id(0), stranger));

    latency.sample(Time::ZERO, stranger, ms(77.0));
    assert_eq!(latency.expected_rtt(stranger), Some(ms(77.0)));

    latency.forget(stranger);
    assert_eq!(latency.expected_rtt(stranger), None);
}

#[test]
fn a_peer_has_no_distance_to_itself() {
    let mut latency = Latency::new(id(0), 0);

    assert!(!latency.sample(Time::ZERO, id(0), ms(5.0)));
    assert!(!latency.observe(Time::ZERO, id(0), ms(5.0), latency.coordinate()));
    assert_eq!(latency.rtt(id(0)), None);
}

#[test]
fn one_liar_moves_a_settled_peer_no_farther_than_a_step_at_a_time() {
    let matrix = matrix(60, 5);
    let mut latency = learn(&matrix, 500, 6).swap_remove(0);
    let before = latency.coordinate();
    let liar = Coordinate { position_ms: [1_023.0; 8], height_ms: 0.0, error: 0.0 };

    latency.observe(Time::ZERO, id(900), ms(1.0), liar);

    let moved_ms = before.flat_ms(&latency.coordinate());
    assert!(moved_ms <= 25.0, "{moved_ms}");
}

/// A tenth of the peers claim to be anywhere, and to be sure of it, whenever they speak.
#[test]
fn many_liars_cannot_tear_the_honest_apart() {
    let matrix = matrix(120, 11);
    let is_liar = |peer: usize| peer % 10 == 3;
    let mut rng = Rng::seed_from_u64(12);
    let mut claim = || Coordinate {
        position_ms: core::array::from_fn(|_| rng.random_range(-1_000.0..1_000.0)),
        height_ms: 0.0,
        error: 0.0,
    };

    let peers = learn_from(&matrix, 1_000, 2, |peer, place| if is_liar(peer) { claim() } else { place });

    let honest: Vec<usize> = (0..peers.len()).filter(|peer| !is_liar(*peer)).collect();
    let errors = errors_among(&matrix, &peers, &honest);
    println!("median {:.3}, p90 {:.3}", errors[errors.len() / 2], errors[errors.len() * 9 / 10]);
    assert!(errors[errors.len() / 2] < 0.15, "median {}", errors[errors.len() / 2]);
    assert!(errors[errors.len() * 9 / 10] < 0.5, "p90 {}", errors[errors.len() * 9 / 10]);
}

#[test]
fn a_detour_to_one_peer_is_expected_to_the_peer_beside_it() {
    let mut latency = Latency::new(id(0), 0);
    let there = Coordinate { position_ms: [100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], height_ms: 1.0, error: 0.1 };
    let beside = Coordinate { position_ms: [101.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], ..there };
    let elsewhere = Coordinate { position_ms: [-100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], ..there };
    latency.observe(Time::ZERO, id(1), ms(150.0), there);
    let said_ms = |place: &Coordinate| millis(latency.coordinate().rtt_to(place));

    let corrected_ms = |place: &Coordinate| millis(latency.predictor().rtt_to(id(2), place));

    let learnt = (corrected_ms(&beside) - said_ms(&beside)) / (150.0 - said_ms(&there));
    assert!((0.7..1.0).contains(&learnt), "{learnt}");
    assert!((corrected_ms(&elsewhere) - said_ms(&elsewhere)).abs() < 1e-3, "nothing was measured there");
    assert!(
        (millis(latency.predictor().rtt_to(id(1), &there)) - said_ms(&there)).abs() < 1e-3,
        "it is not its own witness"
    );
}

#[test]
fn a_correction_at_most_halves_or_doubles() {
    let mut latency = Latency::new(id(0), 0);
    let there = Coordinate { position_ms: [10.0; 8], height_ms: 1.0, error: 1.0 };
    latency.observe(Time::ZERO, id(1), Duration::from_secs(9), there);

    let said = latency.coordinate().rtt_to(&there);
    let predicted = latency.predictor().rtt_to(id(2), &there);

    assert!(predicted > said.mul_f64(1.9) && predicted <= said.mul_f64(2.001), "{said:?} {predicted:?}");
}

#[test]
fn a_sample_without_a_place_learns_from_the_place_told_before() {
    let mut latency = Latency::new(id(0), 0);
    latency.located(Time::ZERO, id(1), Coordinate { position_ms: [50.0; 8], height_ms: 1.0, error: 0.1 });
    let before = latency.coordinate();

    latency.sample(Time::from_millis(1), id(1), ms(20.0));

    assert_ne!(latency.coordinate(), before);
}

#[test]
fn hearsay_does_not_replace_what_a_measured_peer_said_itself() {
    let mut latency = Latency::new(id(0), 0);
    let own_word = Coordinate { position_ms: [50.0; 8], height_ms: 1.0, error: 0.1 };
    let hearsay = Coordinate { position_ms: [-50.0; 8], ..own_word };

    latency.observe(Time::ZERO, id(1), ms(20.0), own_word);
    assert!(!latency.heard_of(Time::from_millis(1_000), id(1), hearsay));
    assert_eq!(latency.place(id(1)), Some(own_word));

    assert!(latency.heard_of(Time::from_millis(1_000), id(2), hearsay), "of a stranger it is all there is");
    assert!(latency.heard_of(Time::from_millis(600_000), id(1), hearsay), "and of one not measured for long");
}

#[test]
fn a_neighbour_is_told_of_moves_that_matter_to_it() {
    let mut latency = Latency::new(id(0), 0);
    let there = |x: f32| Coordinate { position_ms: [x; 8], height_ms: 1.0, error: 0.1 };
    let (near, far) = (id(1), id(2));
    latency.observe(Time::ZERO, near, ms(1.0), there(0.3));
    latency.observe(Time::ZERO, far, ms(300.0), there(100.0));
    let mut due = |seconds: u64, peer| latency.coordinate_for(Time::from_millis(seconds * 1_000), peer).is_some();

    assert!(due(1, near) && due(1, far), "at first");
    assert!(!due(2, near) && !due(2, far), "nothing changed");
    assert!(due(200, near) && due(200, far), "their picture may be gone");

    // A few milliseconds: a long way for the near one.
    let before = latency.coordinate();
    latency.observe(Time::from_millis(201_000), id(3), ms(20.0), there(-10.0));
    let moved_ms = before.flat_ms(&latency.coordinate());
    assert!((1.0..25.0).contains(&moved_ms), "{moved_ms}");
    let mut due = |seconds: u64, peer| latency.coordinate_for(Time::from_millis(seconds * 1_000), peer).is_some();
    assert!(due(202, near) && !due(202, far));

    latency.reconnected(far);
    assert!(latency.coordinate_for(Time::from_millis(203_000), far).is_some(), "it may have started anew");
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut latency = Latency::new(id(0), 0);
    for n in 1..3 * LATENCY_PEERS_MAX {
        latency.sample(Time::from_millis(n as u64), id(n), ms(3.0));
    }

    assert_eq!(latency.peers.len(), LATENCY_PEERS_MAX);
    assert!(latency.rtt(id(3 * LATENCY_PEERS_MAX - 1)).is_some(), "the newest stays");
}

fn any_coordinate() -> impl Strategy<Value = Coordinate> {
    let any_f32 = || prop_oneof![any::<f32>(), Just(f32::NAN), Just(f32::INFINITY), -1e4f32..1e4];
    (proptest::collection::vec(any_f32(), 8), any_f32(), prop_oneof![any_f32(), 0f32..1.0]).prop_map(
        |(position, height_ms, error)| Coordinate {
            position_ms: core::array::from_fn(|i| position[i]),
            height_ms,
            error,
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_claimed_the_own_coordinate_stays_sane(
        claims in proptest::collection::vec((0usize..10, any::<u64>(), any_coordinate()), 1..100),
    ) {
        let mut latency = Latency::new(id(0), 7);
        for (i, (peer, rtt_us, remote)) in claims.into_iter().enumerate() {
            let now = Time::from_millis(i as u64);
            latency.observe(now, id(peer), Duration::from_micros(rtt_us % 20_000_000), remote);
            latency.located(now, id(peer), remote);
            prop_assert!(latency.coordinate().is_sane(), "{:?}", latency.coordinate());
            prop_assert!(latency.predict(id(0), id(peer)).is_none_or(|rtt| rtt < Duration::from_secs(200)));
        }
    }
}
