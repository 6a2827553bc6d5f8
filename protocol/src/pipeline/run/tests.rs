use proptest::prelude::*;

use super::super::graph::GraphError;
use super::super::spec::{PipelineInput, StageKind, When};
use super::ending::REST;
use super::*;
use crate::id::BlobId;
use crate::output::{TaskError, TaskResult, Timings};
use crate::task::report::{Ending, RunReport};
use crate::task::spec::{BlobRef, TaskSpec};

pub(in crate::pipeline) fn stage(name: &str) -> Stage {
    Stage {
        name: name.into(),
        kind: StageKind::Compute,
        task: TaskSpec::of_module(BlobId([9; 32]), 100),
        map: None,
        inputs: Vec::new(),
        when: None,
        near: None,
        retries: 0,
        deterministic: false,
        expected_output_bytes: None,
        export: None,
    }
}

pub(in crate::pipeline) fn input(name: &str, elements: &[&str]) -> PipelineInput {
    let elements = elements.iter().map(|text| Payload::inline(text.as_bytes().to_vec())).collect();
    PipelineInput { name: name.into(), elements, labels: Vec::new() }
}

pub(in crate::pipeline) fn wrote(output: &str, code: u32) -> TaskResult {
    let output = Payload::inline(output.as_bytes().to_vec());
    let report = RunReport { output, ..RunReport::without_run(Ending::Exited(code)) };
    TaskResult { report, executor: PeerId([1; 32]), variant: 0, attempts: 1, agreed: 0, timings: Timings::default() }
}

/// texts[3] ─► count (mapped) ─► total ─► (when total exits with 0) good, (when not) bad ─► last
fn words() -> PipelineSpec {
    let when = |not| Some(When { stage: "total".into(), exit_code: Some(0), output_starts_with: None, not });
    PipelineSpec {
        inputs: vec![input("texts", &["a", "b", "c"])],
        stages: vec![
            Stage { inputs: vec!["good".into(), "bad".into()], ..stage("last") },
            Stage { map: Some("texts".into()), ..stage("count") },
            Stage { inputs: vec!["count".into()], ..stage("total") },
            Stage { when: when(false), inputs: vec!["total".into()], ..stage("good") },
            Stage { when: when(true), inputs: vec!["total".into()], ..stage("bad") },
        ],
        ..PipelineSpec::default()
    }
}

fn run_of(spec: PipelineSpec) -> Run {
    let graph = Graph::of(&spec).expect("a graph");
    Run::new(Time::ZERO, Duration::ZERO, spec, graph)
}

fn task(run: &mut Run, id: NodeId) -> TaskSpec {
    match run.prepare(Time::ZERO, id, PeerId([1; 32]), &|_| true) {
        Prepared::Task(task) => *task,
        other => panic!("{} cannot be handed out: {other:?}", run.name_of(id)),
    }
}

/// Hands out everything there is, answers with what `answer` says, until nothing is ready. Names in the order of their ends.
fn play(run: &mut Run, mut answer: impl FnMut(&str, &TaskSpec) -> TaskResult) -> Vec<String> {
    let mut order = Vec::new();
    while let Some(id) = run.next_ready() {
        let spec = task(run, id);
        run.started(id, TaskId([0; 16]));
        let name = run.name_of(id);
        let result = answer(&name, &spec);
        if run.ended(id, Ok(result)) == Followed::Done {
            order.push(name);
            run.let_go(id);
        }
    }
    order
}

fn read(spec: &TaskSpec) -> String {
    let bytes = spec.inputs.iter().flat_map(|input| match input {
        Payload::Inline(bytes) => bytes.to_vec(),
        Payload::Blob(_) => b"<blob>".to_vec(),
    });
    String::from_utf8(bytes.collect()).expect("text")
}

#[test]
fn a_map_a_reduction_and_a_branch_run_in_their_order() {
    let mut run = run_of(words());

    let order = play(&mut run, |name, spec| wrote(&format!("{name}({})", read(spec)), 0));

    assert_eq!(order[3..], ["total", "good", "last"]);
    assert!(run.is_over() && run.in_flight == 0);
    let results = run.results();
    let expected = "last(good(total(count#0(a)count#1(b)count#2(c))))";
    assert_eq!(results[&0], [Payload::inline(expected.as_bytes().to_vec())]);
    assert_eq!(run.bytes, expected.len() as u64, "what nobody reads any more is let go");
}

#[test]
fn the_other_branch_is_taken_where_the_condition_does_not_hold() {
    let mut run = run_of(words());

    let order = play(&mut run, |name, _| wrote(name, u32::from(name == "total")));

    assert_eq!(order[3..], ["total", "bad", "last"], "a stage that is asked for its code does not fail by it");
    assert!(run.is_over());
}

#[test]
fn what_takes_only_from_what_was_skipped_is_skipped() {
    let mut spec = words();
    spec.stages[0].inputs = vec!["bad".into()];
    let mut run = run_of(spec);

    let order = play(&mut run, |name, _| wrote(name, 0));

    assert!(run.is_over() && !order.contains(&"last".to_owned()));
    assert_eq!(run.nodes[0], NodeState::Skipped);
}

#[test]
fn a_stage_that_ends_badly_is_run_again_as_often_as_it_says_and_then_fails_the_pipeline_by_name() {
    let mut spec = words();
    spec.stages[2].retries = 1;
    spec.stages[3].when = None;
    spec.stages[4].when = None;
    let mut run = run_of(spec);
    play(&mut run, |name, _| wrote(name, 0));
    assert!(run.is_over());

    let mut spec = run.spec.clone();
    spec.stages[2].retries = 1;
    let mut run = run_of(spec);
    let mut ends = Vec::new();
    while let Some(id) = run.next_ready() {
        run.started(id, TaskId([0; 16]));
        let code = if run.name_of(id) == "total" { 3 } else { 0 };
        ends.push(run.ended(id, Ok(wrote("", code))));
    }

    assert_eq!(ends[3], Followed::Again);
    let Followed::Failed(error) = &ends[4] else { panic!("{ends:?}") };
    assert_eq!(error.to_string(), "stage `total` exited with code 3");
}

#[test]
fn nobody_to_run_a_stage_is_waited_for_ever_longer() {
    let mut run = run_of(words());
    let id = run.next_ready().expect("something is ready");
    let nobody = || TaskError::NoCandidate { candidates: 1, excluded: 1, reasons: "1 × no-cloud".into() };
    let mut rests = Vec::new();
    for _ in 0..7 {
        run.started(id, TaskId([0; 16]));
        let Followed::Rest(rest) = run.ended(id, Err(nobody())) else { panic!("it rests") };
        rests.push(rest.as_millis());
        run.wake(id);
    }

    assert_eq!(rests, [300, 600, 1_200, 2_400, 4_800, 9_600, 10_000]);
    let stage = run.graph.nodes[id as usize].stage;
    assert!(run.note_of(stage).is_some_and(|note| note.contains("no-cloud")));
}

#[test]
fn an_output_whose_holder_is_gone_is_made_again_with_what_it_was_made_of() {
    let mut spec = words();
    spec.stages.truncate(3);
    spec.stages[0] = Stage { inputs: vec!["total".into()], ..stage("last") };
    let mut run = run_of(spec);
    let gone = PeerId([7; 32]);
    let blob = |n: u8| {
        let mut result = wrote("", 0);
        result.report.output = Payload::Blob(BlobRef { id: BlobId([n; 32]), bytes: 5, holder: gone });
        result
    };
    while let Some(id) = run.next_ready() {
        if run.name_of(id) == "last" {
            run.rest(id);
            run.wake(id);
            break;
        }
        task(&mut run, id);
        run.started(id, TaskId([0; 16]));
        assert_eq!(run.ended(id, Ok(blob(id as u8))), Followed::Done);
        run.let_go(id);
    }
    let last = run.next_ready().expect("it is ready");
    let at = |ms| Time::from_millis(ms);
    assert_eq!(run.prepare(at(0), last, PeerId([1; 32]), &|_| false), Prepared::HolderGone(REST));
    let Prepared::OutputsLost(lost) = run.prepare(at(11_000), last, PeerId([1; 32]), &|_| false) else {
        panic!("lost")
    };
    run.rest(last);

    let again = run.make_again(lost);

    let names: Vec<_> = again.iter().map(|id| run.name_of(*id)).collect();
    assert_eq!(names, ["count#0", "count#1", "count#2", "total"], "what was let go of is made again too");
    assert_eq!(run.nodes[last as usize], NodeState::Waiting);
    let order = play(&mut run, |name, _| wrote(name, 0));
    assert_eq!(order.last().map(String::as_str), Some("last"));
    assert!(run.is_over());
}

#[test]
fn many_small_outputs_are_read_as_one() {
    let texts: Vec<String> = (0..500).map(|n| format!("{n},")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut spec = words();
    spec.inputs = vec![input("texts", &texts)];
    spec.stages.truncate(3);
    spec.stages.remove(0);
    let mut run = run_of(spec);

    let mut read_by_total = String::new();
    play(&mut run, |name, spec| {
        if name == "total" {
            assert_eq!(spec.inputs.len(), 1);
            read_by_total = read(spec);
        }
        wrote(&read(spec), 0)
    });

    assert_eq!(read_by_total, texts.concat());
}

#[test]
fn what_is_wrong_with_a_graph_is_told_with_its_place() {
    let of = |stages: Vec<Stage>| {
        let inputs = vec![input("x", &["1"]), input("none", &[])];
        Graph::of(&PipelineSpec { inputs, stages, ..PipelineSpec::default() }).expect_err("it is wrong")
    };
    let takes = |name: &str, from: &str| Stage { inputs: vec![from.into()], ..stage(name) };
    assert_eq!(of(Vec::new()), GraphError::Empty);
    let circle = of(vec![takes("a", "c"), takes("b", "a"), takes("c", "b"), takes("d", "c")]);
    let GraphError::Cycle { path } = &circle else { panic!("{circle:?}") };
    assert_eq!((path.len(), path.first() == path.last(), path.contains(&"d".to_owned())), (4, true, false));
    assert_eq!(of(vec![takes("a", "y")]).place(), (Some("a"), Some("inputs")));
    assert_eq!(of(vec![takes("a", "a")]).place(), (Some("a"), Some("inputs")));
    assert_eq!(of(vec![stage("x")]).place(), (Some("x"), Some("name")));
    assert_eq!(of(vec![Stage { map: Some("none".into()), ..stage("a") }]).place(), (Some("a"), Some("map")));
    let when = When { stage: "x".into(), exit_code: Some(0), output_starts_with: None, not: false };
    assert_eq!(of(vec![Stage { when: Some(when), ..stage("a") }]).place(), (Some("a"), Some("when")));
    let export = Stage { kind: StageKind::Export, ..stage("a") };
    assert_eq!(of(vec![export]).place(), (Some("a"), Some("export")));
    let mut wide = vec![Stage { map: Some("x".into()), ..stage("a") }];
    wide.extend((0..4_096).map(|n| stage(&format!("s{n}"))));
    assert!(matches!(of(wide), GraphError::TooMany { .. }));
}

/// A random graph: each stage takes from some before it, in a shuffled order of declaration.
fn graphs() -> impl Strategy<Value = PipelineSpec> {
    let stage_of = (any::<u16>(), any::<bool>(), any::<bool>(), proptest::option::of(any::<bool>()));
    (proptest::collection::vec(stage_of, 1..12), 1..5usize, any::<u64>()).prop_map(|(stages, width, shuffle)| {
        let texts = ["p", "q", "r", "s"];
        let mut made: Vec<Stage> = Vec::new();
        for (n, (mask, maps, reads_input, condition)) in stages.into_iter().enumerate() {
            let mut it = stage(&format!("s{n}"));
            let earlier: Vec<String> = (0..n).filter(|m| mask & (1 << m) != 0).map(|m| format!("s{m}")).collect();
            it.map = maps.then(|| earlier.first().cloned().unwrap_or_else(|| "in".into()));
            it.inputs = earlier.clone();
            if reads_input {
                it.inputs.push("in".into());
            }
            it.when = condition.zip(earlier.first()).map(|(not, stage)| When {
                stage: stage.clone(),
                exit_code: Some(0),
                output_starts_with: None,
                not,
            });
            made.push(it);
        }
        let count = made.len();
        for n in 0..count {
            made.swap(n, (shuffle.rotate_left(n as u32) as usize) % count);
        }
        PipelineSpec { inputs: vec![input("in", &texts[..width])], stages: made, ..PipelineSpec::default() }
    })
}

proptest! {
    /// Whatever the graph, whoever fails, and wherever the peer starts again: each task runs once, after all it reads from.
    #[test]
    fn every_task_runs_once_and_after_what_it_reads(spec in graphs(), codes in any::<u64>(), restart_after in 0..30usize) {
        let mut run = run_of(spec.clone());
        let mut ended: BTreeMap<NodeId, (Done, u32)> = BTreeMap::new();
        let mut skipped = BTreeSet::new();
        loop {
            if ended.len() == restart_after {
                let graph = Graph::of(&spec).expect("a graph");
                run = Run::restored(Time::ZERO, Duration::ZERO, spec.clone(), graph, ended.clone());
            }
            let Some(id) = run.next_ready() else { break };
            let node = run.graph.node(id).expect("it is there").clone();
            prop_assert!(!ended.contains_key(&id), "{} runs twice", run.name_of(id));
            for earlier in &node.after {
                prop_assert!(ended.contains_key(earlier) || run.nodes[*earlier as usize] == NodeState::Skipped);
            }
            task(&mut run, id);
            run.started(id, TaskId([0; 16]));
            let code = if run.graph.asked_for_code.contains(&node.stage) { (codes >> (id % 64) & 1) as u32 } else { 0 };
            prop_assert_eq!(run.ended(id, Ok(wrote(&format!("{id}"), code))), Followed::Done);
            let NodeState::Done(done) = &run.nodes[id as usize] else { panic!("it is done") };
            ended.insert(id, (Done::clone(done), 1));
        }
        prop_assert!(run.is_over(), "something waits for ever: {:?}", run.open_stages());
        prop_assert_eq!(run.in_flight, 0);
        skipped.extend((0u32..).zip(&run.nodes).filter(|(_, state)| **state == NodeState::Skipped).map(|(id, _)| id));
        prop_assert_eq!(skipped.len() + ended.len(), run.nodes.len());
    }
}

/// yes ─► reader; (when yes wrote "yes") made ─► last
#[test]
fn what_decided_whether_a_stage_runs_is_made_again_with_it() {
    let when = When { stage: "yes".into(), exit_code: None, output_starts_with: Some("yes".into()), not: false };
    let spec = PipelineSpec {
        inputs: vec![input("texts", &["a"])],
        stages: vec![
            Stage { inputs: vec!["texts".into()], ..stage("yes") },
            Stage { inputs: vec!["yes".into()], ..stage("reader") },
            Stage { inputs: vec!["texts".into()], when: Some(when), ..stage("made") },
            Stage { inputs: vec!["made".into()], ..stage("last") },
        ],
        ..PipelineSpec::default()
    };
    let mut run = run_of(spec);
    while let Some(id) = run.next_ready().filter(|id| run.name_of(*id) != "last") {
        run.started(id, TaskId([0; 16]));
        let name = run.name_of(id);
        assert_eq!(run.ended(id, Ok(wrote(&name, 0))), Followed::Done);
        run.let_go(id);
    }

    let again = run.make_again(vec![2]);

    let names: Vec<_> = again.iter().map(|id| run.name_of(*id)).collect();
    assert_eq!(names, ["yes", "made"]);
    let order = play(&mut run, |name, _| wrote(name, 0));
    assert_eq!(order, ["yes", "made", "last"]);
    assert!(run.is_over());
}
