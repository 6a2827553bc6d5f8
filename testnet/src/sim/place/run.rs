//! What a policy makes of a case.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::case::{Case, quoted};
use crate::sim::DATAGRAM_BYTES;

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
    /// The same by their kind; known of peers only.
    pub by_kind: BTreeMap<&'static str, u64>,
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

/// The completions as a table, in order of arrival; ids as in the case, times since its start.
pub fn completions_csv(case: &Case, run: &Run) -> String {
    let mut completions: Vec<&Completion> = run.completions.iter().collect();
    completions.sort_by_key(|completion| completion.task);
    let mut text = "id,executor,start_ms,end_ms,completed_ms\n".to_owned();
    for Completion { task, executor, start_ms, end_ms, completed_ms } in completions {
        if let (Some(task), Some(node)) = (case.tasks.get(*task), case.nodes.get(*executor)) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{},{},{start_ms},{end_ms},{completed_ms}", quoted(&task.id), quoted(&node.id));
        }
    }
    text
}
