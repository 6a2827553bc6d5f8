use super::*;

/// Sites on a plane, a few machines at each, behind access links of their own; some pairs take detours.
fn matrix(sites: usize, machines: usize) -> Matrix {
    let place = |peer: usize| {
        let site = (peer / machines) as f64;
        ((site * 37.0) % 211.0, (site * 71.0) % 173.0, 1.0 + (site * 13.0) % 17.0)
    };
    Matrix::from_fn(sites * machines, |a, b| {
        if a / machines == b / machines {
            return Some(0.4);
        }
        let ((x, y, out), (u, v, into)) = (place(a), place(b));
        let detour = if (a / machines + b / machines).is_multiple_of(9) { 1.5 } else { 1.0 };
        Some(((x - u).hypot(y - v) + out + into) * detour)
    })
}

fn minutes(minutes: u64, given_neighbours: bool) -> Settings {
    Settings { seed: 3, span: Duration::from_secs(60 * minutes), given_neighbours }
}

/// Everybody starts with strangers and has to find the machine next door.
#[test]
fn peers_find_their_nearest_and_learn_the_rest() {
    let report = run(&matrix(60, 2), &minutes(8, false));

    let figures = &report.figures;
    println!("{report:?}");
    assert!(figures.rel_err_p50 < 0.07 && figures.rel_err_p90 < 0.25, "{figures:?}");
    assert!(figures.nearest_loss_ms_p90 < 2.0, "{figures:?}");
    assert!(report.nearest_found_share > 0.8, "{}", report.nearest_found_share);
    assert!(report.moments[0].nearest_found_share < 0.6, "they were not given: {:?}", report.moments[0]);
    assert!(report.moments[0].rel_err_p90 > figures.rel_err_p90);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let matrix = matrix(20, 2);

    assert_eq!(run(&matrix, &minutes(2, false)), run(&matrix, &minutes(2, false)));
    assert_ne!(run(&matrix, &minutes(2, false)), run(&matrix, &Settings { seed: 4, ..minutes(2, false) }));
}

#[test]
fn unknown_pairs_are_in_no_figure_and_an_asymmetric_matrix_is_used_as_it_is() {
    let whole = matrix(20, 2);
    let holes = Matrix::from_fn(40, |a, b| {
        whole.rtt_ms(a, b).filter(|_| !(a + b).is_multiple_of(5)).map(|ms| ms + a as f64 / 40.0)
    });

    let report = run(&holes, &minutes(4, false));

    assert!(report.figures.rel_err_p50 < 0.1, "{:?}", report.figures);
    assert!(report.figures.measured_share <= 1.0);
}

#[test]
fn a_matrix_of_nothing_but_holes_ends_without_a_figure() {
    let report = run(&Matrix::from_fn(5, |_, _| None), &minutes(1, false));

    assert_eq!(report.figures.rel_err_p50, 0.0);
    assert_eq!(report.figures.measured_share, 0.0);
}

#[test]
fn given_neighbours_are_the_nearest_from_the_start() {
    let report = run(&matrix(30, 2), &minutes(1, true));

    assert_eq!(report.moments[0].nearest_found_share, 1.0);
    assert_eq!(report.calls_per_peer_minute, 0.0, "nobody looks for others");
}
