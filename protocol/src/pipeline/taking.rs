//! Taking a pipeline in, or not.
//!
//! **Invariant:** it is acknowledged once it is on disk, and none of its tasks is handed out before.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::content::{blobs_of, input_bytes};
use super::graph::Graph;
use super::held::{Held, Phase};
use super::order::{Order, Written};
use super::record::{self, PipelineRecord};
use super::run::Run;
use super::spec::{PipelineId, PipelineSpec};
use super::{Around, BYTES_MAX, Due, NODES_MAX, OPEN_MAX, Pipelines};
use crate::config::{RETENTION_MAX, RETENTION_MIN};
use crate::output::{Outbox, Output, TaskError};

/// A pipeline as a user hands it in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineSubmission {
    /// What its user calls it.
    pub name: String,
    /// What is to be done.
    pub spec: PipelineSpec,
    /// How long its results are kept after its end.
    pub retention: Duration,
}

impl Pipelines {
    /// Takes a pipeline in; the same id again is the same pipeline.
    pub(crate) fn submit(
        &mut self,
        around: Around<'_>,
        has_store: bool,
        pipeline: PipelineId,
        given: PipelineSubmission,
        out: &mut Outbox,
    ) {
        let answer = |result| Output::PipelineAnswered { pipeline, result };
        match self.held.get(&pipeline).map(|held| &held.phase) {
            // The answer to the first submission is an answer to this one.
            Some(Phase::Storing(_)) => return,
            Some(Phase::Open(_) | Phase::Ending(..) | Phase::Ended(_)) => return out.push(answer(Ok(()))),
            None => {}
        }
        let graph = match self.admit(has_store, &given) {
            Ok(graph) => graph,
            Err(error) => return out.push(answer(Err(error))),
        };
        let PipelineSubmission { name, spec, retention } = given;
        let retention = retention.clamp(RETENTION_MIN, RETENTION_MAX);
        let record = PipelineRecord { name, spec, accepted_unix_ms: around.unix_ms, retention, end: None };
        self.orders.push_back(Order::Write(vec![record::put_pipeline(pipeline, &record)], Written::Taken(pipeline)));
        let PipelineRecord { name, spec, .. } = record;
        out.push(Output::Keep { task: pipeline, blobs: blobs_of(&spec, self.me) });
        let run = Run::new(around.now, Duration::ZERO, spec, graph);
        self.due.set(Due::Lifetime(pipeline), around.now + run.lifetime(retention));
        self.enter(pipeline, name, retention, around.unix_ms, Phase::Storing(Box::new(run)));
        self.tell(pipeline, None, "accepted", None, out);
    }

    fn admit(&self, has_store: bool, given: &PipelineSubmission) -> Result<Graph, TaskError> {
        if self.leaving {
            return Err(TaskError::ShuttingDown);
        }
        if !has_store {
            return Err(TaskError::NotStored { why: "this peer has no store".into() });
        }
        let graph = Graph::of(&given.spec).map_err(|error| TaskError::NotStored { why: error.to_string() })?;
        let held = self.held.values().filter(|held| held.run().is_some()).count();
        let nodes = self.held.values().filter_map(Held::run).map(|run| run.nodes.len()).sum::<usize>();
        let bytes = self.bytes().saturating_add(input_bytes(&given.spec));
        if held >= OPEN_MAX || nodes + graph.nodes.len() > NODES_MAX || bytes > BYTES_MAX {
            return Err(TaskError::Overloaded { held, retry_after: Duration::from_secs(1) });
        }
        Ok(graph)
    }

    pub(super) fn enter(
        &mut self,
        id: PipelineId,
        name: String,
        retention: Duration,
        accepted_unix_ms: u64,
        phase: Phase,
    ) {
        self.turns += 1;
        self.by_turn.insert(self.turns, id);
        let input_bytes = match &phase {
            Phase::Storing(run) | Phase::Open(run) | Phase::Ending(run, _) => input_bytes(&run.spec),
            Phase::Ended(_) => 0,
        };
        self.held.insert(id, Held { name, retention, accepted_unix_ms, turn: self.turns, input_bytes, phase });
    }
}
