//! What a pipeline is made of: the bytes it needs, and what is said of them.

use std::collections::BTreeSet;

use super::graph::{self, Graph, GraphError, NodeId};
use super::spec::PipelineSpec;
use crate::id::{BlobId, PeerId};
use crate::residency::Labels;
use crate::task::spec::Payload;

/// Everything of a pipeline of this peer that must be in the local store to run it from its begin.
pub fn blobs_of(spec: &PipelineSpec, me: PeerId) -> Vec<BlobId> {
    let modules = spec.stages.iter().flat_map(|stage| &stage.task.variants).map(|variant| variant.module);
    let elements = spec.inputs.iter().flat_map(|input| &input.elements).filter_map(|element| match element {
        // What stayed elsewhere is not copied for that: it may be lost with its peer.
        Payload::Blob(blob) => Some(blob.id).filter(|_| blob.holder == me),
        Payload::Inline(_) => None,
    });
    modules.chain(elements).collect::<BTreeSet<_>>().into_iter().collect()
}

pub(super) fn input_bytes(spec: &PipelineSpec) -> u64 {
    let of = |element: &Payload| match element {
        Payload::Inline(bytes) => bytes.len() as u64,
        Payload::Blob(_) => 0,
    };
    spec.inputs.iter().flat_map(|input| &input.elements).map(of).fold(0, u64::saturating_add)
}

/// What is said of all that each task of a pipeline would read, and so of what it would write, in the order of the graph's nodes.
pub fn labels_of(spec: &PipelineSpec, graph: &Graph) -> Vec<Labels> {
    let mut all = vec![Labels::default(); graph.nodes.len()];
    for stage in &graph.order {
        for id in graph.nodes_of(*stage) {
            let Some(node) = graph.node(id) else { continue };
            let declared = spec.stages.get(*stage as usize).map(|stage| stage.task.labels.clone());
            let mut labels = declared.unwrap_or_default();
            for take in &node.takes {
                let of = match take {
                    graph::Take::Input { input, element } => {
                        spec.inputs.get(*input as usize).and_then(|it| it.labels.get(*element as usize)).cloned()
                    }
                    graph::Take::Output(earlier) if is_export(spec, graph, *earlier) => None,
                    graph::Take::Output(earlier) => all.get(*earlier as usize).map(Labels::of_output),
                };
                of.iter().for_each(|of| labels.join(of));
            }
            if let Some(slot) = all.get_mut(id as usize) {
                *slot = labels;
            }
        }
    }
    all
}

/// Whether a node is a release, whose output is no row of anybody.
fn is_export(spec: &PipelineSpec, graph: &Graph, id: NodeId) -> bool {
    let stage = graph.node(id).and_then(|node| spec.stages.get(node.stage as usize));
    stage.is_some_and(|stage| stage.export.is_some())
}

/// Why a pipeline cannot be taken as it is.
pub fn check(spec: &PipelineSpec) -> Result<Graph, GraphError> {
    Graph::of(spec)
}
