//! What asking costs as the mesh grows: a few directed offers against an auction among all.

use super::herd::waits_ms;
use super::load::{case_plan, colour};
use super::page::{Section, Table};
use super::{Matrix, Plan, ReportError, resized};
use crate::plot::{Axis, Chart, Series, number};
use crate::sim::place::{Faults, Policy, Summary, generate, place};

const LOAD: f64 = 0.5;
const SIZES: [usize; 6] = [10, 30, 100, 300, 1_000, 3_000];
const SIZES_QUICK: [usize; 2] = [10, 40];
/// Tasks of a mesh: at least so many, and so many a peer.
const TASKS_MIN: usize = 500;
const TASKS_PER_PEER: usize = 4;
const POLICIES: [Policy; 4] = [Policy::Shoal, Policy::BroadcastAuction, Policy::Sparrow, Policy::Clairvoyant];

/// One policy on a mesh of one size.
struct Point {
    policy: Policy,
    peers: usize,
    wait_ms: f64,
    summary: Summary,
}

pub(super) fn section(matrix: &Matrix, plan: &Plan, says: &mut dyn FnMut(&str)) -> Result<Section, ReportError> {
    let sizes = if plan.quick { &SIZES_QUICK[..] } else { &SIZES[..] };
    let mut points = Vec::new();
    for peers in sizes {
        let count = (peers * TASKS_PER_PEER).max(TASKS_MIN);
        let case = generate::case(
            &resized(matrix, *peers),
            &case_plan(plan, LOAD, count, *peers),
            generate::Arrivals::Poisson,
        )?;
        for policy in POLICIES {
            says(&format!("placing {count} tasks on {peers} peers: {}", policy.name()));
            let run = place(&case, policy, &Faults::none(), plan.seed)?;
            let summary = Summary::of(&case, &Faults::none(), &run, policy, plan.seed);
            let waits_ms = waits_ms(&case, &run);
            let wait_ms = waits_ms.iter().sum::<f64>() / waits_ms.len().max(1) as f64;
            points.push(Point { policy, peers: *peers, wait_ms, summary });
        }
    }
    let series = |figure: fn(&Point) -> f64| -> Vec<Series> {
        let of = |policy: Policy| {
            let own = points.iter().filter(|point| point.policy == policy);
            Series {
                name: policy.name().to_owned(),
                colour: colour(policy),
                points: own.map(|it| (it.peers as f64, figure(it))).collect(),
            }
        };
        POLICIES.into_iter().map(of).filter(|series| !series.points.is_empty()).collect()
    };
    let chart = |name, title: &str, y, series| {
        let x = Axis::log("peers");
        Chart { name, title: title.to_owned(), x, y: Axis::log(y), series, marked: true }
    };
    let row = |Point { policy, peers, wait_ms, summary }: &Point| {
        let mean = summary.mean_ms.map_or("–".to_owned(), number);
        let name = policy.name().to_owned();
        vec![peers.to_string(), name, number(*wait_ms), mean, number(summary.messages_per_task)]
    };
    Ok(Section {
        title: "Placement against the size of the mesh",
        method: format!(
            "{:.0} % load; meshes of other sizes than the matrix repeat its nodes, a room apart. Placing is from arrival to the \
             start of the run: asking, moving the input, and waiting for a core. The auction asks everybody and waits for all.",
            LOAD * 100.0
        ),
        charts: vec![
            chart(
                "size_wait",
                "Mean time from arrival to the start of the run",
                "time to start [ms]",
                series(|it| it.wait_ms),
            ),
            chart(
                "size_messages",
                "Control messages a task",
                "messages a task",
                series(|it| it.summary.messages_per_task),
            ),
        ],
        tables: vec![Table {
            header: ["peers", "policy", "time to start [ms]", "mean completion [ms]", "messages a task"]
                .map(str::to_owned)
                .to_vec(),
            rows: points.iter().map(row).collect(),
        }],
        command: "shoal-testnet sim place --nodes case/nodes.csv --rtt case/rtt.csv --tasks case/tasks.csv \
                  --policy broadcast-auction",
    })
}
