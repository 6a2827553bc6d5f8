use super::*;

/// Nodes on a ring road, ten milliseconds a step.
fn ring(count: usize) -> Matrix {
    Matrix::from_fn(count, |a, b| {
        let steps = a.abs_diff(b).min(count - a.abs_diff(b));
        Some(2.0 + 10.0 * steps as f64)
    })
}

#[test]
fn a_quick_report_has_every_section_and_the_same_numbers_again() {
    let plan = Plan { seed: 1, quick: true };
    let mut said = Vec::new();

    let sections = run(&ring(40), &plan, &mut |what| said.push(what.to_owned())).unwrap();
    let again = run(&ring(40), &plan, &mut |_| ()).unwrap();

    assert_eq!(format!("{sections:?}"), format!("{again:?}"));
    assert!(said.len() > 10);
    for section in &sections {
        assert!(!section.charts.is_empty() && !section.tables.is_empty(), "{}", section.title);
        for chart in &section.charts {
            assert!(chart.series.iter().all(|series| !series.points.is_empty()), "{}", chart.name);
        }
        for table in &section.tables {
            assert!(table.rows.iter().all(|row| row.len() == table.header.len()), "{}", section.title);
        }
    }
}

#[test]
fn a_mesh_too_small_is_refused() {
    let error = run(&ring(9), &Plan { seed: 1, quick: true }, &mut |_| ()).unwrap_err();

    assert_eq!(error.to_string(), "9 nodes are too few: clouds and edges need at least 30");
}

#[test]
fn a_larger_mesh_repeats_the_measured_one() {
    let large = resized(&ring(10), 25);

    assert_eq!(large.len(), 25);
    assert_eq!(large.rtt_ms(3, 17), ring(10).rtt_ms(3, 7));
    assert_eq!(large.rtt_ms(3, 13), Some(1.0));
    assert_eq!(large.rtt_ms(3, 3), Some(0.0));
}
