//! How a task ended, and what follows from that: it is done, begun anew, or fails its pipeline.

use core::time::Duration;

use super::{Done, NodeState, Run};
use crate::output::{TaskError, TaskResult};
use crate::pipeline::error::PipelineError;
use crate::pipeline::graph::NodeId;
use crate::pipeline::order::Exported;
use crate::privacy::Refused;
use crate::residency::Labels;
use crate::task::report::Ending;
use crate::task::spec::Payload;
use crate::time::micros;

/// A task that nobody can run now is tried again after this long, then twice as long, …
pub(super) const REST: Duration = Duration::from_millis(300);
/// … up to this.
const REST_MAX: Duration = Duration::from_secs(10);
/// Times a task is begun anew after all its attempts died with their executors, whatever its stage says.
const EXHAUSTED_MAX: u32 = 3;
/// An input that others hold is made again after so many rests in a row: nobody can get at it.
const DOUBTFUL_RESTS: u32 = 4;
/// After that twice as many, and so on; so often at most.
const DOUBTS_MAX: u32 = 8;

/// What follows from the end of a task.
#[derive(Debug, PartialEq)]
pub(in crate::pipeline) enum Followed {
    /// It has ended: this is to be recorded.
    Done,
    /// It is ready again, at once.
    Again,
    /// It is ready again after this long.
    Rest(Duration),
    /// Nobody can get at what it reads of others: these outputs are to be made again.
    InputsDoubted(Vec<NodeId>),
    /// The pipeline has failed.
    Failed(PipelineError),
    /// This peer is leaving: what becomes of it is seen at the next start.
    Nothing,
}

impl Run {
    /// The task of a node ended.
    pub(in crate::pipeline) fn ended(&mut self, id: NodeId, end: Result<TaskResult, TaskError>) -> Followed {
        let name = self.name_of(id);
        match end {
            Ok(result) => self.ended_with(id, name, result),
            Err(TaskError::ShuttingDown) => Followed::Nothing,
            Err(error @ (TaskError::NoCandidate { .. } | TaskError::AllDeclined { .. })) => {
                self.nobody(id, error.to_string(), Duration::ZERO)
            }
            // Its peers may have to say first what they understand; what they may not have they will not have later.
            Err(error @ TaskError::Residency { .. }) if self.rests_of(id) < DOUBTFUL_RESTS => {
                self.nobody(id, error.to_string(), Duration::ZERO)
            }
            Err(TaskError::Overloaded { held, retry_after }) => {
                let why = TaskError::Overloaded { held, retry_after }.to_string();
                self.nobody(id, why, retry_after)
            }
            Err(error @ TaskError::AttemptsExhausted { .. }) => {
                let why = error.to_string();
                self.bad_end(id, PipelineError::Task { stage: name, error }, why, EXHAUSTED_MAX)
            }
            Err(error) => {
                let why = error.to_string();
                self.bad_end(id, PipelineError::Task { stage: name, error }, why, 0)
            }
        }
    }

    fn ended_with(&mut self, id: NodeId, name: String, result: TaskResult) -> Followed {
        let stage = self.graph.node(id).map_or(0, |node| node.stage);
        let code = match &result.report.ending {
            Ending::Exited(code) if *code == 0 || self.graph.asked_for_code.contains(&stage) => *code,
            Ending::Invalid(_) => {
                let ending = result.report.ending;
                return Followed::Failed(PipelineError::Ended {
                    stage: name,
                    ending,
                    log: last_line(&result.report.log),
                });
            }
            Ending::Exited(_) | Ending::Trapped(_) | Ending::LimitHit(_) | Ending::HostFailed(_) => {
                let log = last_line(&result.report.log);
                let error = PipelineError::Ended { stage: name, ending: result.report.ending, log };
                let why = error.to_string();
                return self.bad_end(id, error, why, 0);
            }
        };
        let output_bytes = result.report.output.bytes();
        let run_us = micros(result.report.run);
        let (output, executor, labels) = (Some(result.report.output), result.executor, result.report.labels);
        let held_as = match (self.nodes.get(id as usize), &output) {
            (Some(NodeState::Running(task)), Some(Payload::Blob(blob))) if blob.holder == executor => Some(*task),
            _ => None,
        };
        let done = Done {
            exit_code: code,
            output,
            output_bytes,
            executor,
            labels,
            run_us,
            remembered: false,
            recorded: false,
            held_as,
        };
        self.done(id, done);
        Followed::Done
    }

    /// A release was made, or was not. What stands in its output is no row of anybody: of the labels that what it has read
    /// may carry, none is inherited by it. This is the one place where they end.
    pub(in crate::pipeline) fn exported(&mut self, id: NodeId, made: Exported) -> Followed {
        let stage = self.name_of(id);
        match made.result {
            Ok(text) => {
                let (output_bytes, run_us) = (text.len() as u64, micros(made.took));
                let done = Done {
                    exit_code: 0,
                    output: Some(Payload::inline(text)),
                    output_bytes,
                    executor: made.keeper,
                    run_us,
                    remembered: false,
                    recorded: false,
                    held_as: None,
                    labels: Labels::default(),
                };
                self.done(id, done);
                Followed::Done
            }
            // A budget that is whole again some day is not waited for: what is asked then is another thing.
            Err(refused @ Refused::Spent(_)) => Followed::Failed(PipelineError::Refused { stage, refused }),
            Err(refused) if refused.is_retryable() => self.nobody(id, refused.to_string(), REST),
            Err(refused) => Followed::Failed(PipelineError::Refused { stage, refused }),
        }
    }

    fn nobody(&mut self, id: NodeId, why: String, at_least: Duration) -> Followed {
        let Some(course) = self.courses.get_mut(id as usize) else { return Followed::Nothing };
        // What was made again and did not help is made again ever more seldom.
        if course.rests >= DOUBTFUL_RESTS << course.doubts.min(DOUBTS_MAX) {
            // That nobody comes for it says nothing of what is here.
            let foreign = self.inputs_that_may_be_lost(id, Done::is_foreign);
            if let Some(course) = self.courses.get_mut(id as usize).filter(|_| !foreign.is_empty()) {
                course.rests = 0;
                course.doubts += 1;
                return Followed::InputsDoubted(foreign);
            }
        }
        let Some(course) = self.courses.get_mut(id as usize) else { return Followed::Nothing };
        let rest = REST.saturating_mul(1 << course.rests.min(8)).min(REST_MAX).max(at_least);
        course.rests += 1;
        // Nobody was given it.
        course.runs = course.runs.saturating_sub(1);
        course.note = why;
        self.set(id, NodeState::Resting);
        Followed::Rest(rest)
    }

    fn bad_end(&mut self, id: NodeId, error: PipelineError, why: String, at_least: u32) -> Followed {
        let doubted = if at_least > 0 { self.inputs_that_may_be_lost(id, |_| true) } else { Vec::new() };
        let retries = self.stage_of(id).map_or(0, |stage| u32::from(stage.retries)).max(at_least);
        let Some(course) = self.courses.get_mut(id as usize) else { return Followed::Nothing };
        course.failures += 1;
        course.note = why;
        if course.failures > retries {
            return Followed::Failed(error);
        }
        if !doubted.is_empty() {
            return Followed::InputsDoubted(doubted);
        }
        self.set(id, NodeState::Ready);
        Followed::Again
    }

    /// A node has its output without a run. It was made of the same bytes, of which other things may be said here.
    pub(in crate::pipeline) fn done_as_known(&mut self, id: NodeId, mut done: Done) {
        let read = self.graph.node(id).map(|node| self.labels_of(node)).unwrap_or_default();
        let declared = self.stage_of(id).map(|stage| stage.task.labels.clone()).unwrap_or_default();
        [read, declared].iter().for_each(|labels| done.labels.join(labels));
        self.done(id, done);
    }
}

fn last_line(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(200).collect()
}
