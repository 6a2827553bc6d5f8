//! What moving and running a task takes; the one place that knows.

use super::case::{Case, NodeSpec, TaskLine};

/// How long bytes take over the uplink of a node.
pub fn transfer_ms(node: &NodeSpec, bytes: f64) -> f64 {
    // A megabit a second is a thousand bits a millisecond.
    bytes * 8.0 / 1_000.0 / node.uplink_mbps
}

/// How long a task runs on a core of a node.
pub fn run_ms(node: &NodeSpec, task: &TaskLine) -> f64 {
    task.work_ms / node.speed
}

/// From the end of the run to the result at the origin, if the executor reaches it.
pub fn output_ms(case: &Case, task: &TaskLine, executor: usize) -> Option<f64> {
    if executor == task.origin {
        return Some(0.0);
    }
    Some(transfer_ms(case.nodes.get(executor)?, task.output_bytes) + case.one_way_ms(executor, task.origin)?)
}

/// Every node's uplink: inputs leave in the order they were sent.
#[derive(Debug, Clone)]
pub struct Uplinks {
    free_at_ms: Vec<f64>,
}

impl Uplinks {
    pub fn new(case: &Case) -> Self {
        Self { free_at_ms: vec![0.0; case.nodes.len()] }
    }

    /// When the uplink will have sent all it has been given.
    pub fn free_at_ms(&self, node: usize) -> f64 {
        self.free_at_ms.get(node).copied().unwrap_or_default()
    }

    /// When the input would be at the executor if it were sent now; `None` if it is out of reach.
    pub fn arrival_ms(&self, case: &Case, now_ms: f64, task: &TaskLine, executor: usize) -> Option<f64> {
        if executor == task.origin {
            return Some(now_ms);
        }
        let crossed =
            self.free_at_ms(task.origin).max(now_ms) + transfer_ms(case.nodes.get(task.origin)?, task.input_bytes);
        Some(crossed + case.one_way_ms(task.origin, executor)?)
    }

    /// Sends the input; when it is at the executor.
    pub fn send(&mut self, case: &Case, now_ms: f64, task: &TaskLine, executor: usize) -> Option<f64> {
        let arrival_ms = self.arrival_ms(case, now_ms, task, executor)?;
        if executor != task.origin
            && let (Some(free_at_ms), Some(node)) = (self.free_at_ms.get_mut(task.origin), case.nodes.get(task.origin))
        {
            *free_at_ms = free_at_ms.max(now_ms) + transfer_ms(node, task.input_bytes);
        }
        Some(arrival_ms)
    }

    /// The node restarts: nothing waits on its uplink.
    pub fn reset(&mut self, node: usize) {
        if let Some(free_at_ms) = self.free_at_ms.get_mut(node) {
            *free_at_ms = 0.0;
        }
    }
}
