//! Pipelines at whole peers: they end right whoever crashes, the home too, and nothing that has ended is run again.

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_protocol::config::PeerConfig;
use shoal_protocol::pipeline::spec::{PipelineInput, PipelineSpec, Stage, StageKind};
use shoal_protocol::pipeline::{PipelineState, PipelineSubmission};
use shoal_protocol::task::spec::{CloudUse, Payload};
use shoal_protocol::{BlobId, Input, Role, TaskId, TaskSpec};
use shoal_testnet::sim::{Link, Sim};

use super::{cores, millis, secs};

/// Each forms a mesh with disks, twice over.
const SEEDS: core::ops::Range<u64> = 0..4;
const PIPELINE: TaskId = TaskId([5; 16]);

/// Three cloud peers 15 ms away from two edge peers that are 1 ms from each other, each with a disk.
fn with_disks(seed: u64) -> (Sim, [usize; 3], [usize; 2]) {
    let mut sim = Sim::new(seed, Link::ms(15));
    sim.keep_tasks();
    let fast = PeerConfig { speed: 4.0, ..cores(16) };
    let clouds = [(); 3].map(|()| sim.add(Role::Cloud, fast.clone()));
    let edges = [(); 2].map(|()| sim.add(Role::Edge, cores(2)));
    sim.network().set_link(edges[0], edges[1], Link::ms(1));
    assert!(sim.run_until_done(secs(20), Sim::converged), "seed {seed}: the mesh did not form");
    sim.run_for(secs(1));
    (sim, clouds, edges)
}

fn stage(name: String, inputs: Vec<String>) -> Stage {
    Stage {
        name,
        kind: StageKind::Compute,
        task: TaskSpec::of_module(BlobId([7; 32]), 20_000),
        map: None,
        inputs,
        when: None,
        near: None,
        retries: 0,
        deterministic: false,
        expected_output_bytes: None,
        export: None,
    }
}

/// Four chains of eight stages, every other stage in the cloud, and one that takes from all.
fn chains() -> PipelineSpec {
    let mut stages = Vec::new();
    for row in 0..8 {
        for column in 0..4 {
            let before = (row > 0).then(|| format!("r{}c{column}", row - 1));
            let mut it = stage(format!("r{row}c{column}"), before.into_iter().collect());
            it.task.policy.cloud = CloudUse::Allow;
            it.task.policy.role = (row % 2 == 1).then_some(Role::Cloud);
            stages.push(it);
        }
    }
    stages.push(stage("last".to_owned(), (0..4).map(|column| format!("r7c{column}")).collect()));
    PipelineSpec { stages, ..PipelineSpec::default() }
}

fn submit(sim: &mut Sim, home: usize, spec: PipelineSpec) {
    let given = PipelineSubmission { name: "chains".into(), spec, retention: Duration::from_secs(3_600) };
    sim.tell(home, Input::PipelineSubmitted { pipeline: PIPELINE, given: Box::new(given) });
}

fn view(sim: &Sim, home: usize) -> Option<shoal_protocol::api::PipelineView> {
    sim.peer(home)?.pipeline(sim.clock(home)?, PIPELINE, true)
}

fn is_over(sim: &Sim, home: usize) -> bool {
    view(sim, home).is_some_and(|view| view.state.is_final())
}

#[test]
fn a_pipeline_ends_right_whoever_crashes_and_no_stage_that_has_ended_is_run_again() {
    for seed in SEEDS {
        let (mut sim, clouds, edges) = with_disks(seed);
        let home = edges[0];
        submit(&mut sim, home, chains());
        let mut told: BTreeMap<String, u32> = BTreeMap::new();

        for victim in [clouds[0], home, clouds[1], home] {
            sim.run_for(millis(150));
            if let Some(view) = view(&sim, home) {
                let ended = view.stages.iter().filter(|stage| stage.done == stage.tasks);
                for stage in ended {
                    told.entry(stage.name.clone()).or_insert(stage.runs);
                }
            }
            sim.crash(victim);
            sim.run_for(millis(400));
            sim.restart(victim);
        }
        assert!(sim.run_until_done(secs(60), |sim| is_over(sim, home)), "seed {seed}: {:?}", view(&sim, home));

        let view = view(&sim, home).expect("it is known");
        assert_eq!(view.state, PipelineState::Done, "seed {seed}: {view:?}");
        assert_eq!(view.results["last"].len(), 1, "seed {seed}");
        for (name, runs) in told {
            let stage = view.stages.iter().find(|stage| stage.name == name).expect("it is there");
            assert_eq!(stage.runs, runs, "seed {seed}: {name} had ended and was run again");
        }
    }
}

/// The second of two equal pipelines, handed in at another peer, runs nothing that is deterministic.
#[test]
fn a_known_output_is_found_in_the_mesh() {
    for seed in SEEDS {
        let (mut sim, _, edges) = with_disks(seed);
        sim.run_for(secs(2));
        let spec = || {
            let elements = vec![Payload::inline(vec![1]); 3];
            let inputs = vec![PipelineInput { name: "in".into(), elements, labels: Vec::new() }];
            let mut first = stage("first".to_owned(), Vec::new());
            (first.map, first.deterministic) = (Some("in".into()), true);
            let last = stage("last".to_owned(), vec!["first".into()]);
            PipelineSpec { inputs, stages: vec![first, last], ..PipelineSpec::default() }
        };
        for home in [edges[0], edges[1]] {
            submit(&mut sim, home, spec());
            assert!(sim.run_until_done(secs(20), |sim| is_over(sim, home)), "seed {seed}: {:?}", view(&sim, home));
            sim.run_for(secs(1));
        }

        let view = view(&sim, edges[1]).expect("it is known");
        assert_eq!((view.stages[0].remembered, view.stages[0].runs), (3, 0), "seed {seed}: {view:?}");
        assert_eq!(view.stages[1].remembered, 0);
    }
}
