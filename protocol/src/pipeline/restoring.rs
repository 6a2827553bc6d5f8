//! What a peer that starts finds on its disk of pipelines.
//!
//! **Invariant:** a record that cannot be read is reported and left alone. Where it is that of a pipeline, that does not go on;
//! where it is that of a task's end, the task is run again.

use super::graph::Graph;
use super::record::{EndRecord, Key, NodeRecord, PipelineRecord, read_key};
use super::run::Run;
use super::spec::PipelineSpec;
use super::*;
use crate::config::RETENTION_MAX;
use crate::store::decode;
use crate::task::spec::Payload;

impl Pipelines {
    /// Takes in everything that is on disk.
    pub(crate) fn restored(&mut self, around: Around<'_>, records: &[(Vec<u8>, Vec<u8>)], boot: u32, out: &mut Outbox) {
        self.boot = boot;
        let mut pipelines = BTreeMap::new();
        let mut nodes: BTreeMap<PipelineId, BTreeMap<NodeId, NodeRecord>> = BTreeMap::new();
        for (key, bytes) in records {
            let damaged = |error: crate::store::RecordError, id| Event::RecordDamaged {
                task: Some(id),
                why: format!("of a pipeline: {error}"),
            };
            match read_key(key) {
                Some(Key::Pipeline(id)) => match decode::<PipelineRecord>(key, bytes) {
                    Ok(record) => drop(pipelines.insert(id, record)),
                    Err(error) => out.notify(damaged(error, id)),
                },
                Some(Key::Node(id, node)) => match decode::<NodeRecord>(key, bytes) {
                    Ok(record) => drop(nodes.entry(id).or_default().insert(node, record)),
                    Err(error) => out.notify(damaged(error, id)),
                },
                None => {}
            }
        }
        let mut by_age: Vec<_> = pipelines.into_iter().collect();
        by_age.sort_by_key(|(_, record)| record.accepted_unix_ms);
        for (id, record) in by_age {
            let nodes = nodes.remove(&id).unwrap_or_default();
            self.restore(around, id, record, nodes, out);
        }
    }

    fn restore(
        &mut self,
        around: Around<'_>,
        id: PipelineId,
        record: PipelineRecord,
        nodes: BTreeMap<NodeId, NodeRecord>,
        out: &mut Outbox,
    ) {
        let aged = Duration::from_millis(around.unix_ms.saturating_sub(record.accepted_unix_ms));
        let PipelineRecord { name, spec, accepted_unix_ms, retention, end } = record;
        if let Some(end) = end {
            let left = Duration::from_millis(end.until_unix_ms.saturating_sub(around.unix_ms)).min(RETENTION_MAX);
            let ended = ended(spec, end, nodes);
            for (node, output) in ended.recorded.iter().zip(ended.results.values().flatten()) {
                keep(self.me, id, *node, output, out);
            }
            self.enter(id, name, retention, accepted_unix_ms, Phase::Ended(Box::new(ended)));
            return self.due.set(Due::Forget(id), around.now + left);
        }
        let graph = match Graph::of(&spec) {
            Ok(graph) => graph,
            Err(error) => {
                let why = format!("of a pipeline: {error}");
                return out.notify(Event::RecordDamaged { task: Some(id), why });
            }
        };
        out.push(Output::Keep { task: id, blobs: blobs_of(&spec, self.me) });
        nodes.iter().for_each(|(node, record)| keep(self.me, id, *node, &record.output, out));
        let ended = nodes.into_iter().map(|(node, record)| (node, (record.clone().done(), record.runs))).collect();
        let mut run = Run::restored(around.now, aged, spec, graph, ended);
        for node in 0..run.nodes.len() as NodeId {
            for (freed, _) in run.let_go_if_final(node) {
                out.push(Output::Forget { task: keeper(id, freed) });
            }
        }
        let left = run.lifetime(retention).saturating_sub(aged);
        let is_over = run.is_over();
        self.due.set(Due::Lifetime(id), around.now + left);
        self.enter(id, name, retention, accepted_unix_ms, Phase::Open(Box::new(run)));
        self.stirred.insert(id);
        self.tell(id, None, "running", Some("it goes on after a restart of its peer".into()), out);
        if is_over {
            self.end(around, id, None, out);
        }
    }
}

/// A pipeline whose end was written. Of its inputs nothing is left, so which node is whose follows from how many each stage had.
fn ended(spec: PipelineSpec, end: EndRecord, nodes: BTreeMap<NodeId, NodeRecord>) -> Ended {
    let mut firsts = Vec::with_capacity(end.tallies.len());
    let mut next = 0;
    for tally in &end.tallies {
        firsts.push(next..next + tally.tasks);
        next += tally.tasks;
    }
    let mut results: BTreeMap<u32, Vec<Payload>> = BTreeMap::new();
    let mut recorded = Vec::new();
    for (node, record) in nodes {
        if let Some((stage, _)) = (0u32..).zip(&firsts).find(|(_, nodes)| nodes.contains(&node)) {
            results.entry(stage).or_default().push(record.output);
            recorded.push(node);
        }
    }
    let EndRecord { error, total_us, until_unix_ms, tallies } = end;
    let bytes = results.values().flatten().map(|output| match output {
        Payload::Inline(bytes) => bytes.len() as u64,
        Payload::Blob(_) => 0,
    });
    let bytes = bytes.sum();
    Ended { spec, error, total_us, until_unix_ms, tallies, results, bytes, recorded, gone: Vec::new() }
}

fn keep(me: PeerId, id: PipelineId, node: NodeId, output: &Payload, out: &mut Outbox) {
    if let Payload::Blob(blob) = output
        && blob.holder == me
    {
        out.push(Output::Keep { task: keeper(id, node), blobs: vec![blob.id] });
    }
}
