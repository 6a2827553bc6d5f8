//! How wrong peers are about distances.

use core::time::Duration;

use super::page::{Section, Table};
use super::{Matrix, Plan};
use crate::plot::{Axis, Chart, Series};
use crate::sim::coordinates::{Report, Settings, Spread, run};

const MINUTES: u64 = 10;
const MINUTES_QUICK: u64 = 2;

pub(super) fn section(matrix: &Matrix, plan: &Plan, says: &mut dyn FnMut(&str)) -> Section {
    let minutes = if plan.quick { MINUTES_QUICK } else { MINUTES };
    let settings = Settings { seed: plan.seed, span: Duration::from_secs(60 * minutes), ..Settings::default() };
    says(&format!("learning distances for {minutes} simulated minutes"));
    let found = run(matrix, &settings);
    says("the same with given neighbours");
    let given = run(matrix, &Settings { given_neighbours: true, ..settings });
    let curve = |name: &str, colour: usize, quantiles: &[f64]| {
        let last = quantiles.len().saturating_sub(1).max(1) as f64;
        let point = |(i, error): (usize, &f64)| (*error, i as f64 * 100.0 / last);
        // The exact ones would stand at the far left of a log axis, a handful at its far right.
        let points =
            quantiles.iter().enumerate().map(point).filter(|(error, _)| ERRORS_SHOWN.contains(error)).collect();
        Series { name: name.to_owned(), colour, points }
    };
    let over_time = |report: &Report, figure: fn(&crate::sim::coordinates::Moment) -> f64| -> Vec<(f64, f64)> {
        report.moments.iter().map(|moment| (moment.at_s as f64, figure(moment) * 100.0)).collect()
    };
    Section {
        title: "Errors of expected round trips",
        method: format!(
            "{} peers begin with neighbours at random and measure, tell and look for nearer ones at the daemon's rates, for \
             {minutes} simulated minutes. Relative error over all pairs: of what a peer expects (measured by itself, else \
             predicted), of its predictions alone, and of the two coordinates alone.",
            matrix.len()
        ),
        charts: vec![
            Chart {
                name: "distances_error",
                title: "Relative error of the expected round trip".into(),
                x: Axis::log("relative error"),
                y: Axis::linear("pairs with no larger error [%]"),
                series: vec![
                    curve("expected", 0, &found.figures.curve),
                    curve("not measured", 1, &found.figures.predicted_curve),
                    curve("coordinates only", 2, &found.figures.coordinates_only_curve),
                    curve("given neighbours", 3, &given.figures.curve),
                ],
                marked: false,
            },
            Chart {
                name: "distances_time",
                title: "From strangers to a mesh that knows itself".into(),
                x: Axis::linear("time [s]"),
                y: Axis::linear("share [%]"),
                series: vec![
                    Series {
                        name: "error p50".into(),
                        colour: 0,
                        points: over_time(&found, |moment| moment.rel_err_p50),
                    },
                    Series {
                        name: "error p90".into(),
                        colour: 1,
                        points: over_time(&found, |moment| moment.rel_err_p90),
                    },
                    Series {
                        name: "8 nearest found".into(),
                        colour: 2,
                        points: over_time(&found, |moment| moment.nearest_found_share),
                    },
                ],
                marked: false,
            },
        ],
        tables: vec![table(&found, &given)],
        command: "shoal-testnet sim coordinates --rtt testnet/data/planetlab490.csv",
    }
}

const ERRORS_SHOWN: core::ops::RangeInclusive<f64> = 0.001..=10.0;

fn table(found: &Report, given: &Report) -> Table {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let row = |name: &str, spread: Spread, loss_ms: Option<f64>| {
        let loss = loss_ms.map_or("–".to_owned(), |ms| format!("{ms:.2}"));
        let [p50, p90, near_p50, near_p90] = [spread.p50, spread.p90, spread.near_p50, spread.near_p90].map(percent);
        vec![name.to_owned(), p50, p90, near_p50, near_p90, loss]
    };
    let figures = &found.figures;
    Table {
        header: ["", "p50", "p90", "pairs < 30 ms: p50", "p90", "nearest chosen: loss p90 [ms]"]
            .map(str::to_owned)
            .to_vec(),
        rows: vec![
            row("expected: measured, else predicted", figures.expected(), Some(figures.nearest_loss_ms_p90)),
            row("predicted, pairs not measured", figures.predicted, None),
            row("coordinates only", figures.coordinates_only, Some(figures.coordinates_only_nearest_loss_ms_p90)),
            row("expected, neighbours given", given.figures.expected(), Some(given.figures.nearest_loss_ms_p90)),
        ],
    }
}
