//! Small cases for tests.

use super::case::{Case, NodeSpec, TaskLine, Tier};
use crate::sim::matrix::Matrix;

/// Nodes of (cores, speed, Mbit/s), all as far from each other; those of speed above 1 are clouds.
pub(super) fn case_of(nodes: &[(u16, f64, f64)], rtt_ms: f64, tasks: Vec<TaskLine>) -> Case {
    let spec = |(index, (cores, speed, uplink_mbps)): (usize, &(u16, f64, f64))| NodeSpec {
        id: index.to_string(),
        tier: if *speed > 1.0 { Tier::Cloud } else { Tier::Edge },
        cores: *cores,
        speed: *speed,
        uplink_mbps: *uplink_mbps,
    };
    let nodes: Vec<NodeSpec> = nodes.iter().enumerate().map(spec).collect();
    let mut tasks = tasks;
    for (index, task) in tasks.iter_mut().enumerate() {
        task.id = index.to_string();
    }
    Case { rtt: Matrix::from_fn(nodes.len(), |_, _| Some(rtt_ms)), nodes, tasks }
}

/// A task well estimated, with 20,000 bytes in and 2,000 out.
pub(super) fn task(arrival_ms: f64, origin: usize, work_ms: f64) -> TaskLine {
    TaskLine {
        id: String::new(),
        arrival_ms,
        origin,
        work_ms,
        estimate_ms: work_ms,
        input_bytes: 20_000.0,
        output_bytes: 2_000.0,
    }
}
