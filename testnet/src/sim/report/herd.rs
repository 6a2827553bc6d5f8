//! What happens when everybody picks the best of what was said a while ago.
//!
//! For a moment one node looks best to all; all send it work; half a second later another one does. The queue that
//! follows is seen in the time tasks wait.

use super::load::{case_plan, colour};
use super::page::{Section, Table};
use super::{Matrix, Plan, ReportError};
use crate::plot::{Axis, Chart, Series, number};
use crate::sim::place::{Case, Faults, Policy, Run, generate, place};

const LOAD: f64 = 0.8;
const TASKS: usize = 100_000;
const TASKS_QUICK: usize = 2_000;
/// A herd is what goes to one place within this time: what was said lives so long.
const WINDOW_MS: f64 = 500.0;
const POLICIES: [Policy; 3] = [Policy::StaleArgmin, Policy::Shoal, Policy::Clairvoyant];

pub(super) fn section(matrix: &Matrix, plan: &Plan, says: &mut dyn FnMut(&str)) -> Result<Section, ReportError> {
    let count = if plan.quick { TASKS_QUICK } else { TASKS };
    let case = generate::case(matrix, &case_plan(plan, LOAD, count, matrix.len()), generate::Arrivals::Poisson)?;
    let (mut waits, mut arrivals, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for policy in POLICIES {
        says(&format!("the herd at {:.0} % load: {}", LOAD * 100.0, policy.name()));
        let run = place(&case, policy, &Faults::none(), plan.seed)?;
        let name = policy.name().to_owned();
        let waits_ms = waits_ms(&case, &run);
        let windows = windows(&case, &run);
        let mean_share = windows.iter().map(|(_, share)| share).sum::<f64>() / windows.len().max(1) as f64;
        let at = |share: f64| waits_ms.get((waits_ms.len().saturating_sub(1) as f64 * share) as usize);
        let ms = |share| at(share).map_or("–".to_owned(), |ms| number(*ms));
        rows.push(vec![name.clone(), format!("{:.1} %", mean_share * 100.0), ms(0.5), ms(0.9), ms(0.99)]);
        waits.push(Series { name: name.clone(), colour: colour(policy), points: curve(&waits_ms) });
        let points = windows.into_iter().map(|(at_s, share)| (at_s, share * 100.0)).collect();
        arrivals.push(Series { name, colour: colour(policy), points });
    }
    Ok(Section {
        title: "The herd",
        method: format!(
            "The same case at {:.0} % load. stale-argmin sends each task to the node that looks best by what was said up to \
             half a second ago. Waiting is from arrival to the start of the run, with the input's transfer; a herd shows as one \
             node getting most of the tasks that leave home within half a second.",
            LOAD * 100.0
        ),
        charts: vec![
            Chart {
                name: "herd_wait",
                title: "Time from arrival to the start of the run".into(),
                x: Axis::linear("tasks that waited no longer [%]"),
                y: Axis::log("wait [ms]"),
                series: waits,
                marked: false,
            },
            Chart {
                name: "herd_share",
                title: "Tasks that left home within half a second: share that went to one node".into(),
                x: Axis::linear("time [s]"),
                y: Axis::linear("the most popular node's share [%]"),
                series: arrivals,
                marked: false,
            },
        ],
        tables: vec![Table {
            header: ["policy", "most popular node's share", "wait p50 [ms]", "p90", "p99"].map(str::to_owned).to_vec(),
            rows,
        }],
        command: "shoal-testnet sim place --nodes case/nodes.csv --rtt case/rtt.csv --tasks case/tasks.csv \
                  --policy stale-argmin --completions out.csv",
    })
}

/// From arrival to the start of the run, of every task that is counted, sorted.
pub(super) fn waits_ms(case: &Case, run: &Run) -> Vec<f64> {
    let first = case.first_counted();
    let counted = run.completions.iter().filter(|done| done.task >= first);
    let mut waits_ms: Vec<f64> =
        counted.filter_map(|done| Some(done.start_ms - case.tasks.get(done.task)?.arrival_ms)).collect();
    waits_ms.sort_by(f64::total_cmp);
    waits_ms
}

/// Per window of arrivals: when, and the share of tasks that left home which went to the most popular node.
fn windows(case: &Case, run: &Run) -> Vec<(f64, f64)> {
    let from_ms = case.counted_from_ms();
    let mut moved: std::collections::BTreeMap<u64, std::collections::BTreeMap<usize, u64>> = Default::default();
    for done in &run.completions {
        let Some(task) = case.tasks.get(done.task).filter(|task| task.origin != done.executor) else { continue };
        if task.arrival_ms >= from_ms {
            let window = ((task.arrival_ms - from_ms) / WINDOW_MS) as u64;
            *moved.entry(window).or_default().entry(done.executor).or_default() += 1;
        }
    }
    let share = |by_node: std::collections::BTreeMap<usize, u64>| {
        let most = by_node.values().max().copied().unwrap_or(0);
        most as f64 / by_node.values().sum::<u64>().max(1) as f64
    };
    moved.into_iter().map(|(window, by_node)| (window as f64 * WINDOW_MS / 1_000.0, share(by_node))).collect()
}

/// Sorted values as a curve of a few hundred points.
fn curve(sorted: &[f64]) -> Vec<(f64, f64)> {
    const POINTS: usize = 200;
    let last = sorted.len().saturating_sub(1);
    let at = |i: usize| Some((i as f64 * 100.0 / POINTS as f64, *sorted.get(last * i / POINTS)?));
    (0..=POINTS).filter_map(at).collect()
}
