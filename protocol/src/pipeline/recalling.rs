//! Asking keepers for outputs that they may know, so that a task need not be run.
//!
//! **Not here:** who keeps what, and what may be known at all. That is `memo.rs`.

use super::graph::NodeId;
use super::held::Held;
use super::memo::{self, Known, MemoKey};
use super::order::Errand;
use super::spec::PipelineId;
use super::{Around, Due, Pipelines};
use crate::output::Outbox;

/// An output that keepers are asked for.
#[derive(Debug)]
pub(super) struct Recall {
    pub(super) waiting: Vec<(PipelineId, NodeId)>,
    unanswered: usize,
}

impl Pipelines {
    /// Keepers are asked for an output, so many of them.
    pub(crate) fn asked(&mut self, around: Around<'_>, errand: &Errand, key: MemoKey, keepers: usize) {
        let at = (errand.pipeline, errand.node);
        let recall = self.recalls.entry(key).or_insert_with(|| Recall { waiting: Vec::new(), unanswered: keepers });
        recall.waiting.push(at);
        if let Some(run) = self.held.get_mut(&at.0).and_then(Held::open) {
            run.recalling(at.1);
            self.due.set(Due::Wake(at.0, at.1), around.now + memo::PATIENCE);
        }
    }

    /// Whether a keeper was asked for this and has not answered, so that it need not be asked again.
    pub(crate) fn is_asked(&self, key: MemoKey) -> bool {
        self.recalls.contains_key(&key)
    }

    /// What a keeper knows.
    pub(crate) fn told(&mut self, around: Around<'_>, key: MemoKey, known: Option<Known>, out: &mut Outbox) {
        // Whoever holds it must be there to give it.
        let is_had = |known: &Known| known.holder().is_none_or(|holder| holder == self.me || (around.is_here)(holder));
        let known = known.filter(is_had);
        let Some(recall) = self.recalls.get_mut(&key) else { return };
        recall.unanswered = recall.unanswered.saturating_sub(1);
        if known.is_none() && recall.unanswered > 0 {
            return;
        }
        let Some(recall) = self.recalls.remove(&key) else { return };
        for (pipeline, node) in recall.waiting {
            self.due.clear(&Due::Wake(pipeline, node));
            match &known {
                Some(known) if self.known(around, pipeline, node, known.clone(), out) => {}
                Some(_) | None => self.wake(pipeline, node),
            }
        }
        if let Some(known) = known {
            self.memo.remember(key, known);
        }
    }

    /// The output of a task is known: it need not be run. False where it does not help: a result that is a blob is kept for as long as
    /// its pipeline says, and who remembers it may have let it go. (One that is read by others is made again when it turns out to be lost.)
    pub(crate) fn known(
        &mut self,
        around: Around<'_>,
        pipeline: PipelineId,
        node: NodeId,
        known: Known,
        out: &mut Outbox,
    ) -> bool {
        let Some(run) = self.held.get_mut(&pipeline).and_then(Held::open) else { return true };
        let is_result = run.graph.node(node).is_some_and(|node| node.readers.is_empty());
        if is_result && known.holder().is_some() {
            return false;
        }
        if run.is_open_to_known(node) {
            self.recalled += 1;
            run.done_as_known(node, known.done());
            self.done(around, pipeline, node, out);
        }
        true
    }

    /// By which the output of a task is to be remembered when it has one.
    pub(crate) fn remember_by(&mut self, pipeline: PipelineId, node: NodeId, key: MemoKey) {
        self.keys.insert((pipeline, node), key);
    }
}
