//! Pipelines as people see them.

use super::record::Tally;
use super::run::{NodeState, Run};
use super::spec::PipelineSpec;
use super::*;
use crate::api::{OutputView, PipelineView, Problem, ResultView, StageView, codes, schema};
use crate::task::spec::Payload;
use crate::time::micros;

/// Peers named of one stage.
const PEERS_TOLD_MAX: usize = 8;

impl Run {
    /// What the stages have written that nothing takes from.
    pub(super) fn results(&self) -> BTreeMap<u32, Vec<Payload>> {
        let stages = (0..self.spec.stages.len() as u32).filter(|stage| self.graph.is_result(*stage));
        let outputs = |stage: u32| {
            let done = self.graph.nodes_of(stage).filter_map(|id| match self.nodes.get(id as usize) {
                Some(NodeState::Done(done)) => done.output.clone(),
                Some(_) | None => None,
            });
            done.collect::<Vec<_>>()
        };
        stages.map(|stage| (stage, outputs(stage))).filter(|(_, outputs)| !outputs.is_empty()).collect()
    }

    /// Outputs that executors still hold.
    pub(super) fn held_elsewhere(&self) -> Vec<(PeerId, TaskId)> {
        let held = self.nodes.iter().filter_map(|state| match state {
            NodeState::Done(done) => done.output.as_ref().and(done.held_as).map(|task| (done.executor, task)),
            _ => None,
        });
        held.collect()
    }

    pub(super) fn result_bytes(&self, results: &BTreeMap<u32, Vec<Payload>>) -> u64 {
        let of = |output: &Payload| match output {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Blob(_) => 0,
        };
        results.values().flatten().map(of).sum()
    }

    /// Nodes that have ended and may stand on disk.
    pub(super) fn done_nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let done = (0u32..).zip(&self.nodes).filter(|(_, state)| matches!(state, NodeState::Done(_)));
        done.map(|(id, _)| id)
    }

    /// What was done for each stage, so far.
    pub(super) fn tallies(&self) -> Vec<Tally> {
        (0..self.spec.stages.len() as u32).map(|stage| self.tally(stage, false)).collect()
    }

    /// Of what has ended, only what is on disk counts where `recorded` is asked for.
    fn tally(&self, stage: u32, recorded: bool) -> Tally {
        let mut tally = Tally::default();
        let mut peers: Vec<PeerId> = Vec::new();
        for id in self.graph.nodes_of(stage) {
            tally.tasks += 1;
            tally.runs += self.runs_of(id);
            match self.nodes.get(id as usize) {
                Some(NodeState::Done(done)) => {
                    tally.done += u32::from(done.recorded || !recorded);
                    tally.remembered += u32::from(done.remembered);
                    tally.run_us = tally.run_us.saturating_add(done.run_us);
                    tally.output_bytes = tally.output_bytes.saturating_add(done.output_bytes);
                    tally.exit_code = Some(done.exit_code);
                    if peers.len() < PEERS_TOLD_MAX && !peers.contains(&done.executor) {
                        peers.push(done.executor);
                    }
                }
                Some(NodeState::Skipped) => tally.skipped += 1,
                Some(_) | None => {}
            }
        }
        tally.peers = peers;
        tally
    }
}

impl Pipelines {
    /// A pipeline as the API shows it.
    pub(crate) fn view(
        &self,
        now: Time,
        pipeline: PipelineId,
        with_results: bool,
        name_of: &dyn Fn(PeerId) -> String,
    ) -> Option<PipelineView> {
        let held = self.held.get(&pipeline)?;
        let mut view = PipelineView {
            schema: schema(),
            pipeline,
            name: held.name.clone(),
            state: PipelineState::Accepted,
            age_us: 0,
            total_us: None,
            deadline_in_ms: None,
            stages: Vec::new(),
            results: BTreeMap::new(),
            problem: None,
        };
        match &held.phase {
            Phase::Storing(run) | Phase::Open(run) | Phase::Ending(run, _) => {
                if !matches!(held.phase, Phase::Storing(_)) {
                    view.state = PipelineState::Running;
                }
                view.age_us = micros(run.age(now));
                let left = run.spec.deadline.map(|deadline| deadline.saturating_sub(run.age(now)));
                view.deadline_in_ms = left.map(|left| micros(left) / 1_000);
                for stage in 0..run.spec.stages.len() as u32 {
                    view.stages.extend(open_stage(run, stage, name_of));
                }
            }
            Phase::Ended(ended) => {
                view.state = ended.state();
                view.total_us = Some(ended.total_us);
                view.age_us = ended.total_us;
                view.problem = ended.error.as_ref().map(problem);
                for (index, tally) in ended.tallies.iter().enumerate() {
                    let Some(stage) = ended.spec.stages.get(index) else { continue };
                    let state = if tally.done + tally.skipped == tally.tasks {
                        if tally.done == 0 { StageState::Skipped } else { StageState::Done }
                    } else if ended.error.as_ref().is_some_and(|error| is_about(error, &stage.name)) {
                        StageState::Failed
                    } else {
                        StageState::Waiting
                    };
                    view.stages.push(stage_view(&ended.spec, stage, tally, state, name_of));
                }
                if with_results {
                    for (stage, outputs) in &ended.results {
                        let Some(stage) = ended.spec.stages.get(*stage as usize) else { continue };
                        view.results.insert(stage.name.clone(), outputs.iter().map(result).collect());
                    }
                }
            }
        }
        Some(view)
    }

    /// Ids of all, the newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = PipelineId> + '_ {
        self.by_turn.values().rev().copied()
    }

    /// Whether a pipeline is known and has ended.
    pub(crate) fn is_over(&self, pipeline: PipelineId) -> Option<bool> {
        self.held.get(&pipeline).map(|held| held.run().is_none())
    }
}

fn open_stage(run: &Run, stage: u32, name_of: &dyn Fn(PeerId) -> String) -> Option<StageView> {
    let spec = run.spec.stages.get(stage as usize)?;
    let tally = run.tally(stage, true);
    let running =
        run.graph.nodes_of(stage).filter(|id| matches!(run.nodes.get(*id as usize), Some(NodeState::Running(_))));
    let running = running.count() as u32;
    let state = match () {
        () if tally.skipped == tally.tasks => StageState::Skipped,
        () if tally.done + tally.skipped == tally.tasks => StageState::Done,
        () if running > 0 || tally.done > 0 => StageState::Running,
        () => StageState::Waiting,
    };
    let mut view = stage_view(&run.spec, spec, &tally, state, name_of);
    view.running = running;
    view.note = run.note_of(stage).unwrap_or_default().to_owned();
    Some(view)
}

fn stage_view(
    spec: &PipelineSpec,
    stage: &spec::Stage,
    tally: &Tally,
    state: StageState,
    name_of: &dyn Fn(PeerId) -> String,
) -> StageView {
    let is_stage = |name: &&String| spec.stages.iter().any(|other| other.name == **name);
    let named =
        stage.map.iter().chain(&stage.inputs).chain(stage.when.iter().map(|when| &when.stage)).chain(&stage.near);
    let after: BTreeSet<String> = named.filter(is_stage).cloned().collect();
    StageView {
        name: stage.name.clone(),
        kind: stage.kind,
        state,
        after: after.into_iter().collect(),
        tasks: tally.tasks,
        done: tally.done,
        running: 0,
        skipped: tally.skipped,
        remembered: tally.remembered,
        runs: tally.runs,
        run_us: tally.run_us,
        output_bytes: tally.output_bytes,
        exit_code: tally.exit_code,
        peers: tally.peers.iter().map(|peer| name_of(*peer)).collect(),
        note: String::new(),
    }
}

fn result(output: &Payload) -> ResultView {
    let holder = match output {
        Payload::Blob(blob) => Some(blob.holder),
        Payload::Inline(_) => None,
    };
    ResultView { output: OutputView::of(output), holder }
}

/// Whether an error names a stage, or one of its tasks.
fn is_about(error: &PipelineError, name: &str) -> bool {
    match error {
        PipelineError::Ended { stage, .. }
        | PipelineError::Task { stage, .. }
        | PipelineError::Refused { stage, .. }
        | PipelineError::Inputs { stage, .. } => stage.split('#').next() == Some(name),
        PipelineError::DeadlinePassed { open, .. } => open.iter().any(|stage| stage == name),
        PipelineError::TooMuch { .. } | PipelineError::Cancelled | PipelineError::RecordDamaged { .. } => false,
    }
}

fn problem(error: &PipelineError) -> Problem {
    let (code, status) = match error {
        PipelineError::Cancelled => (codes::CANCELLED, 410),
        PipelineError::DeadlinePassed { .. } => (codes::DEADLINE_PASSED, 504),
        PipelineError::RecordDamaged { .. } => (codes::STORE, 500),
        PipelineError::Inputs { .. } | PipelineError::TooMuch { .. } => (codes::TOO_LARGE, 200),
        PipelineError::Ended { .. } => (codes::TASK_FAILED, 200),
        PipelineError::Task { .. } => (codes::ATTEMPTS_EXHAUSTED, 502),
        PipelineError::Refused { refused, .. } => (refused.code(), 200),
    };
    Problem {
        code: code.into(),
        status,
        title: error.to_string(),
        detail: String::new(),
        hint: error.hint().into(),
        retryable: false,
        retry_after_ms: None,
    }
}
