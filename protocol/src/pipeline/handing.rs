//! Handing out tasks, and what each is called.

use super::graph::NodeId;
use super::held::Held;
use super::memo::MemoKey;
use super::order::Errand;
use super::run::{NodeState, Prepared};
use super::spec::PipelineId;
use super::{Around, Due, Pipelines};
use crate::id::TaskId;
use crate::output::Outbox;

impl Pipelines {
    /// The next task to be handed out.
    pub(crate) fn next_errand(&mut self, around: Around<'_>, out: &mut Outbox) -> Option<Errand> {
        while let Some(pipeline) = self.stirred.first().copied().filter(|_| !self.leaving) {
            let next = self.held.get_mut(&pipeline).and_then(Held::open).and_then(|run| Some((run.next_ready()?, run)));
            let Some((node, run)) = next else {
                self.stirred.remove(&pipeline);
                continue;
            };
            match run.prepare(around.now, node, self.me, around.is_here) {
                Prepared::Task(spec) => {
                    let export = run.stage_of(node).and_then(|stage| stage.export.clone());
                    let is_deterministic = run.stage_of(node).is_some_and(|stage| stage.deterministic);
                    let memo = MemoKey::of(&spec).filter(|_| is_deterministic && !run.was_asked_for(node));
                    let name = self.title(pipeline, node);
                    return Some(Errand { pipeline, node, name, spec: *spec, memo, export });
                }
                Prepared::HolderGone(rest) => {
                    run.rest(node);
                    self.due.set(Due::Wake(pipeline, node), around.now + rest);
                }
                Prepared::OutputsLost(lost) => self.make_again(pipeline, node, lost, out),
                Prepared::Failed(error) => self.end(around, pipeline, Some(error), out),
            }
        }
        None
    }

    /// `words/count#3`, for listings of tasks.
    pub(super) fn title(&self, pipeline: PipelineId, node: NodeId) -> String {
        let Some(held) = self.held.get(&pipeline) else { return String::new() };
        let stage = held.run().map(|run| run.name_of(node)).unwrap_or_default();
        if held.name.is_empty() { stage } else { format!("{}/{stage}", held.name) }
    }

    /// What a task is to be called: no two starts of this peer, and no two runs, have the same name for one.
    pub(crate) fn begin(&mut self, pipeline: PipelineId, node: NodeId, out: &mut Outbox) -> TaskId {
        let handed = self.held.get(&pipeline).and_then(Held::run).map_or(0, |run| run.handed(node));
        let mut key = pipeline.0.to_vec();
        key.extend(node.to_be_bytes());
        key.extend(self.boot.to_be_bytes());
        key.extend(handed.to_be_bytes());
        let task = TaskId::derive(self.me, &key);
        self.by_task.insert(task, (pipeline, node));
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return task };
        run.started(node, task);
        let is_first = run.graph.node(node).is_some_and(|it| {
            let siblings = run.graph.nodes_of(it.stage);
            siblings.clone().all(|id| {
                id == node || matches!(run.nodes.get(id as usize), Some(NodeState::Ready | NodeState::Waiting))
            })
        });
        if is_first && handed == 0 {
            let name = run.stage_of(node).map(|stage| stage.name.clone());
            self.tell(pipeline, name, "running", None, out);
        }
        task
    }

    pub(super) fn wake(&mut self, pipeline: PipelineId, node: NodeId) {
        if let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) {
            run.wake(node);
            self.stirred.insert(pipeline);
        }
    }
}
