//! What it costs to know who is here as the mesh grows, and how soon and how wrongly a peer is missed as messages are lost.

use super::Plan;
use super::page::{Section, Table};
use crate::plot::{Axis, Chart, Series, number};
use crate::sim::membership::{Experiment, Report, run};

const SIZES: [usize; 5] = [100, 300, 1_000, 3_000, 10_000];
const SIZES_QUICK: [usize; 2] = [40, 120];
const LOSSES_PERCENT: [f64; 5] = [0.0, 1.0, 2.0, 5.0, 10.0];
const LOSSES_PERCENT_QUICK: [f64; 2] = [0.0, 5.0];
const PEERS: usize = 500;
const PEERS_QUICK: usize = 80;
/// Measured of each mesh of a size.
const IDLE_MINUTES: f64 = 1.0;
/// Measured at each loss.
const LOSSY_MINUTES: f64 = 2.0;
const QUICK_MINUTES: f64 = 0.5;
const CLOUD_PERCENT: f64 = 1.0;
const CRASH_PERCENT: f64 = 5.0;
const STALL_PERCENT: f64 = 5.0;

/// Control bytes against the size of the mesh.
pub(super) fn control(plan: &Plan, says: &mut dyn FnMut(&str)) -> Section {
    let sizes = if plan.quick { &SIZES_QUICK[..] } else { &SIZES[..] };
    let minutes = if plan.quick { QUICK_MINUTES } else { IDLE_MINUTES };
    let mut reports = Vec::new();
    for peers in sizes {
        says(&format!("{peers} idle peers for {minutes} simulated minutes"));
        reports.push(run(&Experiment { peers: *peers, minutes, ..idle(plan) }));
    }
    let line = |name: &str, colour, figure: fn(&Report) -> f64| {
        let points = reports.iter().map(|report| (report.peers as f64, figure(report))).collect();
        Series { name: name.to_owned(), colour, points }
    };
    let row = |report: &Report| {
        let bytes = [
            report.bytes_per_peer_s_mean,
            report.bytes_per_peer_s_p99,
            report.bytes_per_edge_peer_s_mean,
            report.bytes_per_cloud_peer_s_mean,
            report.view_mean,
        ];
        core::iter::once(report.peers.to_string()).chain(bytes.map(number)).collect()
    };
    Section {
        title: "Control traffic against the size of the mesh",
        method: format!(
            "Idle meshes, {CLOUD_PERCENT} % of the peers in the cloud, for {minutes} simulated minutes after they formed. Bytes as \
             encoded, with 64 bytes a datagram."
        ),
        charts: vec![Chart {
            name: "control_bytes",
            title: "Control bytes a peer sends when nothing happens".into(),
            x: Axis::log("peers"),
            y: Axis::linear("sent by a peer [bytes/s]"),
            series: vec![
                line("mean", 0, |report| report.bytes_per_peer_s_mean),
                line("p99", 1, |report| report.bytes_per_peer_s_p99),
                line("mean of the edge", 2, |report| report.bytes_per_edge_peer_s_mean),
            ],
            marked: true,
        }],
        tables: vec![Table {
            header: [
                "peers",
                "mean [bytes/s]",
                "p99",
                "mean of the edge",
                "mean of the cloud",
                "neighbours of an edge peer",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows: reports.iter().map(row).collect(),
        }],
        command: "shoal-testnet sim membership --peers 10000 --minutes 1",
    }
}

/// Detection and false deaths against the loss of messages.
pub(super) fn detection(plan: &Plan, says: &mut dyn FnMut(&str)) -> Section {
    let losses = if plan.quick { &LOSSES_PERCENT_QUICK[..] } else { &LOSSES_PERCENT[..] };
    let peers = if plan.quick { PEERS_QUICK } else { PEERS };
    let minutes = if plan.quick { QUICK_MINUTES } else { LOSSY_MINUTES };
    let (mut crashing, mut stalling) = (Vec::new(), Vec::new());
    for loss_percent in losses {
        let lossy = Experiment { peers, minutes, loss_percent: *loss_percent, ..idle(plan) };
        says(&format!("{peers} peers, {loss_percent} % loss: crashes"));
        crashing.push((*loss_percent, run(&Experiment { crash_percent: CRASH_PERCENT, ..lossy.clone() })));
        says(&format!("{peers} peers, {loss_percent} % loss: stalls"));
        stalling.push((*loss_percent, run(&Experiment { stall_percent: STALL_PERCENT, ..lossy })));
    }
    let line = |name: &str, colour, of: &[(f64, Report)], figure: fn(&Report) -> Option<f64>| {
        let points = of.iter().filter_map(|(loss, report)| Some((*loss, figure(report)?))).collect();
        Series { name: name.to_owned(), colour, points }
    };
    let rows = crashing.iter().zip(&stalling).map(|((loss, crashing), (_, stalling))| {
        let ms = |ms: Option<f64>| ms.map_or("–".to_owned(), number);
        vec![
            format!("{loss} %"),
            ms(crashing.detect_ms_p50),
            ms(crashing.detect_ms_p99),
            crashing.crashes.to_string(),
            number(false_deaths(crashing).unwrap_or_default()),
            number(false_deaths(stalling).unwrap_or_default()),
            number(crashing.peer_hours + stalling.peer_hours),
        ]
    });
    let rows = rows.collect();
    let loss_axis = || Axis::linear("messages lost [%]");
    Section {
        title: "Detection and false deaths against loss",
        method: format!(
            "{peers} peers for {minutes} simulated minutes at each loss, once with {CRASH_PERCENT} % crashing each minute, once with \
             {STALL_PERCENT} % of them stalled for 10 s at any time. Detection is from a crash to each peer that held the victim \
             in its view; a false death is counted for everyone who believes it."
        ),
        charts: vec![
            Chart {
                name: "detection_delay",
                title: "From a crash to all who held the peer in view".into(),
                x: loss_axis(),
                y: Axis::linear("detection delay [ms]"),
                series: vec![
                    line("p50", 0, &crashing, |report| report.detect_ms_p50),
                    line("p99", 1, &crashing, |report| report.detect_ms_p99),
                ],
                marked: true,
            },
            Chart {
                name: "detection_false",
                title: "Peers declared dead that were not".into(),
                x: loss_axis(),
                y: Axis::linear("false deaths per 1,000 peer-hours"),
                series: vec![
                    line("with crashes", 0, &crashing, false_deaths),
                    line("5 % stalled", 1, &stalling, false_deaths),
                ],
                marked: true,
            },
        ],
        tables: vec![Table {
            header: [
                "loss",
                "detection p50 [ms]",
                "p99",
                "crashes",
                "false deaths per 1,000 peer-hours",
                "with 5 % stalled",
                "peer-hours",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows,
        }],
        command: "shoal-testnet sim membership --peers 500 --loss 5 --crash-rate 5 --minutes 2 --load 0",
    }
}

fn idle(plan: &Plan) -> Experiment {
    Experiment {
        peers: PEERS,
        cloud_percent: CLOUD_PERCENT,
        loss_percent: 0.0,
        stall_percent: 0.0,
        crash_percent: 0.0,
        minutes: IDLE_MINUTES,
        seed: plan.seed,
        rtt: None,
        load_percent: None,
        mend: false,
        revoke: 0,
        threads: None,
    }
}

fn false_deaths(report: &Report) -> Option<f64> {
    (report.peer_hours > 0.0).then(|| report.false_deaths as f64 * 1_000.0 / report.peer_hours)
}
