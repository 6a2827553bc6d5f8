//! How long tasks take as the load grows, under each policy.

use super::page::{Section, Table};
use super::{Matrix, Plan, ReportError};
use crate::plot::{Axis, Chart, Series, number};
use crate::sim::place::{Faults, Policy, Summary, generate, place};

const LOADS: [f64; 6] = [0.3, 0.5, 0.65, 0.8, 0.9, 0.95];
const LOADS_QUICK: [f64; 2] = [0.5, 0.8];
const TASKS: usize = 40_000;
const TASKS_QUICK: usize = 2_000;

pub(super) fn section(matrix: &Matrix, plan: &Plan, says: &mut dyn FnMut(&str)) -> Result<Section, ReportError> {
    let loads = if plan.quick { &LOADS_QUICK[..] } else { &LOADS[..] };
    let count = if plan.quick { TASKS_QUICK } else { TASKS };
    let mut summaries = Vec::new();
    for load in loads {
        let case = generate::case(matrix, &case_plan(plan, *load, count, matrix.len()), generate::Arrivals::Poisson)?;
        for policy in Policy::ALL {
            says(&format!("placing {count} tasks at {:.0} % load: {}", load * 100.0, policy.name()));
            match place(&case, policy, &Faults::none(), plan.seed) {
                Ok(run) => {
                    summaries.push((policy, *load, Summary::of(&case, &Faults::none(), &run, policy, plan.seed)));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    let lines = |figure: fn(&Summary) -> Option<f64>| series(&summaries, figure);
    let load_axis = || Axis::linear("offered load [% of all cores]");
    let chart = |name, title: &str, y, series| Chart {
        name,
        title: title.to_owned(),
        x: load_axis(),
        y: Axis::log(y),
        series,
        marked: true,
    };
    Ok(Section {
        title: "Completion against load",
        method: format!(
            "{} nodes with measured round-trip times (× 0.3), {count} tasks of 200 ms mean work (lognormal), skewed origins, the \
             same for every policy; the first fifth warms up. From arrival to the result at the origin. The clairvoyant \
             knows every work and every core's next free time.",
            matrix.len()
        ),
        charts: vec![
            chart("load_mean", "Mean completion", "mean completion [ms]", lines(|summary| summary.mean_ms)),
            chart("load_p99", "99th percentile of completion", "p99 completion [ms]", lines(|summary| summary.p99_ms)),
        ],
        tables: vec![relative(&summaries, loads)],
        command: "shoal-testnet sim case --rtt testnet/data/planetlab490.csv --load 0.8 --out case && \
                  shoal-testnet sim place --nodes case/nodes.csv --rtt case/rtt.csv --tasks case/tasks.csv --policy shoal",
    })
}

/// The case of the published figures, with as many clouds as fit a small mesh.
pub(super) fn case_plan(plan: &Plan, load: f64, count: usize, nodes: usize) -> generate::Plan {
    let published = generate::Plan::default();
    generate::Plan { seed: plan.seed, load, count, clouds: published.clouds.min(nodes / 10).max(1), ..published }
}

/// Every policy keeps its colour from chart to chart.
pub(super) fn colour(policy: Policy) -> usize {
    Policy::ALL.iter().position(|known| *known == policy).unwrap_or_default()
}

type Point = (Policy, f64, Summary);

fn series(summaries: &[Point], figure: fn(&Summary) -> Option<f64>) -> Vec<Series> {
    let of = |policy: Policy| {
        let own = summaries.iter().filter(move |(by, ..)| *by == policy);
        let points: Vec<(f64, f64)> =
            own.filter_map(|(_, load, summary)| Some((load * 100.0, figure(summary)?))).collect();
        (!points.is_empty()).then(|| Series { name: policy.name().to_owned(), colour: colour(policy), points })
    };
    Policy::ALL.into_iter().filter_map(of).collect()
}

/// Mean and p99 as multiples of the clairvoyant's, and what they cost in messages.
fn relative(summaries: &[Point], loads: &[f64]) -> Table {
    let find = |policy, load: f64| summaries.iter().find(|(by, at, _)| *by == policy && *at == load).map(|it| &it.2);
    let times = |ours: Option<f64>, best: Option<f64>| match (ours, best) {
        (Some(ours), Some(best)) if best > 0.0 => number(ours / best),
        _ => "–".to_owned(),
    };
    let cell = |policy, load: f64| -> Option<String> {
        let (summary, best) = (find(policy, load)?, find(Policy::Clairvoyant, load)?);
        Some(format!(
            "{} / {} ({})",
            times(summary.mean_ms, best.mean_ms),
            times(summary.p99_ms, best.p99_ms),
            number(summary.messages_per_task)
        ))
    };
    let percent = |load: &f64| format!("{:.0} %", load * 100.0);
    let row = |policy: Policy| -> Option<Vec<String>> {
        let cells: Vec<String> = loads.iter().filter_map(|load| cell(policy, *load)).collect();
        (!cells.is_empty()).then(|| core::iter::once(policy.name().to_owned()).chain(cells).collect())
    };
    Table {
        header: core::iter::once("× the clairvoyant: mean / p99 (messages a task)".to_owned())
            .chain(loads.iter().map(percent))
            .collect(),
        rows: Policy::ALL.into_iter().filter_map(row).collect(),
    }
}
