//! What follows from the end of a task: it is written down, others go on, outputs are let go or made again.

use super::graph::NodeId;
use super::held::Held;
use super::memo::Known;
use super::order::{Exported, Order, Written};
use super::record;
use super::run::{Followed, NodeState};
use super::spec::PipelineId;
use super::{Around, BYTES_MAX, Due, PipelineError, Pipelines, keeper};
use crate::id::TaskId;
use crate::output::{Outbox, Output, TaskError, TaskResult};
use crate::task::spec::Payload;

impl Pipelines {
    /// A task that was handed out has ended.
    pub(crate) fn ended(
        &mut self,
        around: Around<'_>,
        task: TaskId,
        end: Result<TaskResult, TaskError>,
        out: &mut Outbox,
    ) {
        let Some((pipeline, node)) = self.by_task.remove(&task) else { return };
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        let followed = run.ended(node, end);
        self.follow(around, pipeline, node, followed, out);
    }

    /// A keeper has answered a stage that is a release, or has not.
    pub(crate) fn exported(&mut self, around: Around<'_>, task: TaskId, made: Exported, out: &mut Outbox) {
        let Some((pipeline, node)) = self.by_task.remove(&task) else { return };
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        let followed = run.exported(node, made);
        self.follow(around, pipeline, node, followed, out);
    }

    fn follow(&mut self, around: Around<'_>, pipeline: PipelineId, node: NodeId, followed: Followed, out: &mut Outbox) {
        match followed {
            Followed::Done => self.done(around, pipeline, node, out),
            Followed::Again => drop(self.stirred.insert(pipeline)),
            Followed::Rest(rest) => self.due.set(Due::Wake(pipeline, node), around.now + rest),
            Followed::Failed(error) => self.end(around, pipeline, Some(error), out),
            Followed::InputsDoubted(lost) => self.make_again(pipeline, node, lost, out),
            Followed::Nothing => {}
        }
    }

    pub(super) fn done(&mut self, around: Around<'_>, pipeline: PipelineId, node: NodeId, out: &mut Outbox) {
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        let Some(NodeState::Done(done)) = run.nodes.get(node as usize) else { return };
        let Some(output) = &done.output else { return };
        if let Payload::Blob(blob) = output
            && blob.holder == self.me
        {
            out.push(Output::Keep { task: keeper(pipeline, node), blobs: vec![blob.id] });
        }
        let Some(record) = run.record_of(node) else { return };
        let change = record::put_node(pipeline, node, &record);
        self.orders.push_back(Order::Write(vec![change], Written::Node(pipeline, node)));
        if let Some(key) = self.keys.remove(&(pipeline, node))
            && let Some(known) = Known::of(done).filter(|known| !done.remembered && known.lasts(self.me))
        {
            self.memo.remember(key, known.clone());
            self.orders.push_back(Order::Remember(key, known));
        }
        for (freed, held) in run.let_go(node) {
            out.push(Output::Forget { task: keeper(pipeline, freed) });
            self.orders.extend(held.map(|(holder, task)| Order::LetGo { holder, task }));
        }
        let (is_over, bytes, stage) = (run.is_over(), self.bytes(), self.title(pipeline, node));
        self.tasks_done += 1;
        self.stirred.insert(pipeline);
        if is_over {
            self.end(around, pipeline, None, out);
        } else if bytes > BYTES_MAX {
            let error = PipelineError::TooMuch { stage, bytes, limit: BYTES_MAX };
            self.end(around, pipeline, Some(error), out);
        }
    }

    pub(super) fn recorded(&mut self, pipeline: PipelineId, node: NodeId, out: &mut Outbox) {
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        let Some(NodeState::Done(done)) = run.nodes.get_mut(node as usize) else { return };
        done.recorded = true;
        let Some(stage) = run.graph.node(node).map(|node| node.stage) else { return };
        let is_recorded = |id: NodeId| match run.nodes.get(id as usize) {
            Some(NodeState::Done(done)) => done.recorded,
            Some(NodeState::Skipped) => true,
            Some(_) | None => false,
        };
        if run.graph.nodes_of(stage).all(is_recorded) {
            let name = run.stage_of(node).map(|stage| stage.name.clone());
            self.tell(pipeline, name, "done", None, out);
        }
    }

    pub(super) fn make_again(&mut self, pipeline: PipelineId, reader: NodeId, lost: Vec<NodeId>, out: &mut Outbox) {
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return };
        run.rest(reader);
        let mut reset = run.make_again(lost);
        // Whatever happened meanwhile: it is looked at again.
        run.wake(reader);
        reset.retain(|node| *node != reader);
        self.made_again += reset.len() as u64;
        for node in &reset {
            out.push(Output::Forget { task: keeper(pipeline, *node) });
        }
        let changes = reset.iter().map(|node| record::delete_node(pipeline, *node)).collect();
        self.orders.push_back(Order::Write(changes, Written::Nothing));
        self.stirred.insert(pipeline);
    }
}
