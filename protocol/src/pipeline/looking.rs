//! Looking ahead while a pipeline is under way.

use super::plan::survey::{Output as Made, Survey, World};
use super::run::NodeState;
use super::*;
use crate::config::RETENTION_MAX;
use crate::task::requester::Ahead;
use crate::task::spec::Payload;

/// What is known of peers is looked at again after this long: digests change about as often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A look at a graph may take a share of a peer's time as small as this.
const LOOK_AGAIN_PER_TASK: Duration = Duration::from_millis(1);
/// A lease outlives its pipeline by this much: clocks and words are late.
const LEASE_SLACK: Duration = Duration::from_secs(60);
/// Smaller outputs come home: that costs less than to fetch them from there once more.
pub(super) const STAYS_BYTES_MIN: u64 = 16 * 1024;

/// What lies ahead of a pipeline's tasks, as it was seen last.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    seen: Option<Time>,
    by_node: BTreeMap<NodeId, Ahead>,
    stays: BTreeSet<NodeId>,
}

impl Pipelines {
    /// Whether anything follows this node.
    pub(crate) fn looks_ahead(&self, pipeline: PipelineId, node: NodeId) -> bool {
        let run = self.held.get(&pipeline).and_then(Held::run);
        run.and_then(|run| run.graph.node(node)).is_some_and(|node| !node.readers.is_empty())
    }

    /// Whether it is time to look again.
    pub(crate) fn survey_is_old(&self, now: Time, pipeline: PipelineId) -> bool {
        let Some(run) = self.held.get(&pipeline).and_then(Held::run) else { return false };
        let every = LOOK_AGAIN.max(LOOK_AGAIN_PER_TASK.saturating_mul(run.nodes.len() as u32));
        run.outlook.seen.is_none_or(|seen| now.since(seen) >= every)
    }

    /// A pipeline as it stands, in the world as it is known.
    pub(crate) fn survey(&self, pipeline: PipelineId, world: &World<'_>) -> Option<Survey> {
        let run = self.held.get(&pipeline)?.run()?;
        let ended = (0u32..).zip(&run.nodes).filter_map(|(id, state)| match state {
            NodeState::Done(done) => {
                let at = match &done.output {
                    Some(Payload::Blob(blob)) => blob.holder,
                    Some(Payload::Inline(_)) | None => self.me,
                };
                Some((id, Made { at, bytes: done.output_bytes }))
            }
            _ => None,
        });
        Some(Survey::of(&run.spec, &run.graph, &ended.collect(), world))
    }

    /// Keeps what was seen.
    pub(crate) fn surveyed(&mut self, now: Time, pipeline: PipelineId, survey: Survey) {
        if let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) {
            run.outlook = Outlook { seen: Some(now), by_node: survey.cost_to_go(), stays: survey.staying() };
        }
    }

    /// How long the output of a node is to stay where it is made, if it had best stay there: until everything of its pipeline is
    /// forgotten, or it is let go before.
    pub(crate) fn lease(&self, now: Time, pipeline: PipelineId, node: NodeId) -> Option<Duration> {
        let held = self.held.get(&pipeline)?;
        let run = held.run().filter(|run| run.outlook.stays.contains(&node))?;
        Some(run.lifetime(held.retention).saturating_sub(run.age(now)).saturating_add(LEASE_SLACK).min(RETENTION_MAX))
    }

    /// What the rest of a pipeline costs more, by where this node runs.
    pub(crate) fn ahead(&self, pipeline: PipelineId, node: NodeId) -> Ahead {
        let run = self.held.get(&pipeline).and_then(Held::run);
        run.and_then(|run| run.outlook.by_node.get(&node)).cloned().unwrap_or_default()
    }
}
