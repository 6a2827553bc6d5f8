//! Runs: how long they take, and what they write.

use core::time::Duration;

use shoal_protocol::BlobId;
use shoal_protocol::output::Execution;
use shoal_protocol::residency::Labels;
use shoal_protocol::task::report::{Ending, RunReport};
use shoal_protocol::task::spec::Payload;

use super::{Common, Shard};
use crate::sim::event::Event;
use crate::sim::marks::Mark;
use crate::sim::network;
use crate::sim::seen::Ran;
use crate::sim::work::{Made, Work};

impl Shard {
    pub(super) fn execute(&mut self, common: &Common, index: usize, execution: Execution) {
        let Execution { attempt, module, inputs, .. } = execution;
        let (labels, mark) = what_is_read(common, &inputs);
        let unscripted = Work { run: Duration::from_millis(1), output_bytes: None };
        let mut work = common.works.get(&attempt.task).copied().unwrap_or(unscripted);
        work.run = common.modules.get(&module).copied().unwrap_or(work.run);
        let (now, quick) = (self.now, self.is_quick());
        let Some(node) = self.node_mut(index) else { return };
        let lure = common.lures.get(&index).copied();
        let run = lure.map_or_else(|| network::run_time(work.run, node.config.speed), |lure| lure.run(work.run));
        node.running.insert(attempt);
        let cores = usize::from(node.config.cores);
        assert!(node.running.len() <= cores, "seed {}: peer {index} runs more than {cores}", common.seed);
        let forged = node.forger.as_mut().and_then(|forger| forger.answer(attempt.task, index, &mut node.rng));
        let output = match work.output_bytes {
            _ if forged.is_some() => forged.unwrap_or_default(),
            Some(bytes) => vec![0; bytes as usize],
            None if common.keeps_tasks => Made { attempt, index }.to_bytes(),
            None => attempt.task.0.to_vec(),
        };
        let output = mark.map_or(output.clone(), |mark| [output, mark.bytes()].concat());
        let output = Payload::inline(output);
        let report = RunReport { ending: Ending::Exited(0), output, log: Vec::new(), run, memory_bytes: 0, labels };
        let report = Box::new(lure.map_or(report.clone(), |lure| lure.report(work.run, report)));
        let process = node.process;
        if quick || common.keeps_tasks {
            self.runs.push(Ran { attempt, index, start: now, end: now + run });
        }
        self.cause(index, now + run, index, Event::RunEnded { process, attempt, report });
    }
}

/// What the manifests of blobs here say of a run's input, as a driver finds it; and the mark of what it writes.
fn what_is_read(common: &Common, inputs: &[Payload]) -> (Labels, Option<Mark>) {
    let of_blob = |id: BlobId| common.marked.get(&id).copied();
    let mut labels = Labels::default();
    for mark in inputs.iter().filter_map(Payload::blob).filter_map(|blob| of_blob(blob.id)) {
        labels.join(&mark.labels());
    }
    (labels, Mark::of_inputs(inputs, of_blob))
}
