//! What a policy makes of a case.

use super::DATAGRAM_BYTES;
use super::case::Case;

/// A run of a task from start to end on one core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Execution {
    /// Index of the task.
    pub task: usize,
    /// Index of the node.
    pub executor: usize,
    pub start_ms: f64,
    pub end_ms: f64,
}

/// The run whose result reached the origin, and when; all times since the start of the case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Completion {
    /// Index of the task.
    pub task: usize,
    /// Index of the node.
    pub executor: usize,
    pub start_ms: f64,
    pub end_ms: f64,
    /// When the result was at the origin.
    pub completed_ms: f64,
}

/// What placing cost.
#[derive(Debug, Clone, Default)]
pub struct Control {
    /// Messages sent because of tasks, from [`Case::counted_from_ms`] on.
    pub messages: u64,
    /// Bytes of all control messages with [`DATAGRAM_BYTES`] each, from [`Case::counted_from_ms`] to [`Case::last_arrival_ms`].
    pub bytes: u64,
    /// CPU time of each placement decision.
    pub decisions_ns: Vec<u32>,
}

impl Control {
    /// Counts messages of this many bytes each, sent now because of a task.
    pub fn count(&mut self, case: &Case, now_ms: f64, messages: u64, bytes_each: u64) {
        if now_ms >= case.counted_from_ms() {
            self.messages += messages;
        }
        self.count_background(case, now_ms, messages, bytes_each);
    }

    /// Counts messages that would have been sent without any task.
    pub fn count_background(&mut self, case: &Case, now_ms: f64, messages: u64, bytes_each: u64) {
        if (case.counted_from_ms()..=case.last_arrival_ms()).contains(&now_ms) {
            self.bytes += messages * (bytes_each + DATAGRAM_BYTES);
        }
    }
}

/// Everything that came of a case.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// At most one a task, in any order.
    pub completions: Vec<Completion>,
    /// Runs that took a core and whose result was not the one that counted: hedges, and what a crash cut short.
    pub other_runs: Vec<Execution>,
    /// Tasks whose home crashed before their result was there.
    pub lost_with_home: Vec<usize>,
    pub control: Control,
}
