//! Pipelines at a whole peer: what is acknowledged ends, whenever its process dies, and nothing that is on disk is run again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::graph::GraphError;
use super::memo::Known;
use super::run::tests::{input, stage};
use super::spec::{PipelineInput, PipelineSpec, Stage, StageKind, When};
use super::*;
use crate::certificate::Member;
use crate::config::PeerConfig;
use crate::id::BlobId;
use crate::message::TaskRef;
use crate::output::{Execution, TaskResult};
use crate::privacy::accounting::Measure;
use crate::privacy::export::Format;
use crate::privacy::{Export, Noise, Refused, Spent};
use crate::residency::Labels;
use crate::store::{Change, Ticket};
use crate::task::report::{Ending, RunReport};
use crate::task::spec::{Payload, TaskSpec};
use crate::{Input, Peer, Role};

const PIPELINE: PipelineId = TaskId([3; 16]);

/// A peer with a disk and a sandbox, by itself.
struct Desk {
    peer: Peer,
    now: Time,
    boot: u32,
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    writing: VecDeque<(Ticket, Vec<Change>)>,
    running: VecDeque<Execution>,
    /// What was run, by its input; and what was when the process died last.
    ran: Vec<String>,
    answers: Vec<Result<(), TaskError>>,
    /// What keepers of data sets are asked for.
    exports: VecDeque<(TaskId, Labels, Vec<Payload>)>,
    ended: usize,
    kept: BTreeMap<TaskId, Vec<BlobId>>,
    /// It takes changes of what it has, and nothing new.
    disk_is_full: bool,
}

impl Desk {
    fn new() -> Self {
        let mut desk = Self {
            peer: Self::born(),
            now: Time::ZERO,
            boot: 0,
            disk: BTreeMap::new(),
            writing: VecDeque::new(),
            running: VecDeque::new(),
            ran: Vec::new(),
            answers: Vec::new(),
            exports: VecDeque::new(),
            ended: 0,
            kept: BTreeMap::new(),
            disk_is_full: false,
        };
        desk.start();
        desk
    }

    fn born() -> Peer {
        let me = Member { peer: PeerId([1; 32]), name: "me".into(), role: Role::Edge, labels: BTreeMap::new() };
        Peer::new(me, PeerConfig { cores: 2, host_cores: 2.0, ..PeerConfig::default() }, 7, Time::ZERO)
    }

    /// Another process, with what is on the disk.
    fn start(&mut self) {
        self.peer = Self::born();
        self.now = Time::ZERO;
        self.boot += 1;
        self.writing.clear();
        self.running.clear();
        self.exports.clear();
        self.kept.clear();
        let records = self.disk.clone().into_iter().collect();
        let unix_ms = 1_700_000_000_000 + u64::from(self.boot) * 1_000;
        self.tell(Input::Restored { records, boot: self.boot, unix_ms });
    }

    fn tell(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.peer.handle(self.now, input);
            while let Some(output) = self.peer.poll_output() {
                match output {
                    Output::Prepare { module } => {
                        inputs.push_back(Input::Prepared { module, result: Ok(Duration::ZERO) });
                    }
                    Output::Execute(execution) => self.running.push_back(*execution),
                    Output::Abort(attempt) => self.running.retain(|execution| execution.attempt != attempt),
                    Output::Persist { ticket, changes } => self.writing.push_back((ticket, changes)),
                    Output::Fetch { attempt, .. } => inputs.push_back(Input::Fetched { attempt, result: Ok(()) }),
                    Output::PipelineAnswered { result, .. } => self.answers.push(result),
                    Output::PipelineEnded { .. } => self.ended += 1,
                    Output::Export { task, data, labels, .. } => self.exports.push_back((task, labels, data)),
                    Output::Keep { task, blobs } => drop(self.kept.insert(task, blobs)),
                    Output::Forget { task } => drop(self.kept.remove(&task)),
                    _ => {}
                }
            }
            assert!(self.peer.holdings().iter().all(|it| it.held <= it.max), "{:?}", self.peer.holdings());
        }
    }

    fn submit(&mut self, spec: PipelineSpec) {
        let given = PipelineSubmission { name: "p".into(), spec, retention: Duration::from_secs(3_600) };
        self.tell(Input::PipelineSubmitted { pipeline: PIPELINE, given: Box::new(given) });
    }

    fn write(&mut self) -> bool {
        let Some((ticket, changes)) = self.writing.pop_front() else { return false };
        let is_new = |change: &Change| matches!(change, Change::Put { key, .. } if !self.disk.contains_key(key));
        if self.disk_is_full && changes.iter().any(is_new) {
            self.tell(Input::PersistFailed { ticket, reason: "no space left on device".into() });
            return true;
        }
        for change in changes {
            match change {
                Change::Put { key, bytes } => drop(self.disk.insert(key, bytes)),
                Change::Delete { key } => drop(self.disk.remove(&key)),
            }
        }
        self.tell(Input::Persisted { ticket });
        true
    }

    /// Ends the oldest run: each module writes its input, in brackets.
    fn finish(&mut self, code: u32) -> bool {
        let Some(execution) = self.running.pop_front() else { return false };
        let read = execution.inputs.iter().flat_map(|input| match input {
            Payload::Inline(bytes) => bytes.to_vec(),
            Payload::Blob(_) => b"<blob>".to_vec(),
        });
        let read = String::from_utf8(read.collect()).unwrap();
        self.ran.push(format!("{}:{read}", execution.args.join(" ")));
        let output = Payload::inline(format!("{}({read})", execution.args.join(" ")).into_bytes());
        let attempt: TaskRef = execution.attempt;
        let report = RunReport { output, ..RunReport::without_run(Ending::Exited(code)) };
        self.tell(Input::Finished { attempt, report });
        true
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.write() && !self.finish(0) {
                match self.peer.poll_timeout() {
                    Some((at, _)) if self.ended == 0 && at.as_micros() < 3_000_000_000 => {
                        self.now = self.now.max(at);
                        self.tell(Input::TimerFired);
                    }
                    _ => return,
                }
            }
        }
    }

    fn view(&self) -> crate::api::PipelineView {
        self.peer.pipeline(self.now, PIPELINE, true).expect("it is known")
    }

    fn result(&self) -> String {
        match &self.view().results["last"][0].output {
            crate::api::OutputView::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn named(name: &str, inputs: &[&str]) -> Stage {
    let mut it = stage(name);
    it.task.args = vec![name.into()];
    it.inputs = inputs.iter().map(ToString::to_string).collect();
    it
}

fn words(elements: &[&str]) -> PipelineSpec {
    PipelineSpec {
        inputs: vec![input("in", elements)],
        stages: vec![
            Stage { map: Some("in".into()), ..named("one", &[]) },
            Stage { map: Some("one".into()), ..named("two", &[]) },
            named("last", &["two", "in"]),
        ],
        ..PipelineSpec::default()
    }
}

#[test]
fn a_pipeline_is_acknowledged_on_disk_runs_and_is_forgotten_after_its_retention() {
    let mut desk = Desk::new();
    desk.write();
    desk.submit(words(&["a", "b"]));
    assert_eq!((desk.answers.len(), desk.running.len()), (0, 0), "nothing is said or begun before it is on disk");
    desk.write();
    assert_eq!((&desk.answers[..], desk.running.len()), (&[Ok(())][..], 2));

    desk.settle();

    assert_eq!((desk.ended, desk.view().state), (1, PipelineState::Done));
    assert_eq!(desk.result(), "last(two(one(a))two(one(b))ab)");
    assert_eq!(desk.disk.keys().filter(|key| key[0] == b'n').count(), 1, "only the result is kept");
    desk.now += Duration::from_secs(3_700);
    desk.tell(Input::TimerFired);
    while desk.write() {}
    assert!(desk.peer.pipeline(desk.now, PIPELINE, true).is_none());
    assert!(desk.disk.keys().all(|key| !is_of_a_pipeline(key)) && desk.kept.is_empty(), "{:?}", desk.kept);
}

#[test]
fn the_same_key_again_is_the_same_pipeline() {
    let mut desk = Desk::new();
    desk.submit(words(&["a"]));
    desk.submit(words(&["a"]));
    desk.settle();
    desk.submit(words(&["a"]));

    assert_eq!((desk.answers.len(), desk.ended, desk.ran.len()), (2, 1, 3));
}

#[test]
fn a_stage_that_fails_ends_the_pipeline_with_its_name_and_what_runs_is_stopped() {
    let mut desk = Desk::new();
    desk.submit(words(&["a", "b", "c"]));
    while desk.running.is_empty() {
        desk.write();
    }
    desk.finish(7);
    assert_eq!(desk.view().state, PipelineState::Running, "nobody is told before it is on disk");
    while desk.write() {}

    let view = desk.view();
    assert_eq!(view.state, PipelineState::Failed);
    assert_eq!(view.problem.unwrap().title, "stage `one#0` exited with code 7");
    assert_eq!(view.stages[0].state, StageState::Failed);
    desk.settle();
    assert_eq!(desk.ran.len(), 1, "{:?}", desk.ran);
}

#[test]
fn a_pipeline_that_misses_its_deadline_fails_by_it_and_stages_are_told_what_is_left() {
    let mut desk = Desk::new();
    let spec = PipelineSpec { deadline: Some(Duration::from_secs(5)), ..words(&["a"]) };
    desk.submit(spec);
    while desk.running.is_empty() {
        desk.write();
    }
    desk.now += Duration::from_secs(6);
    desk.tell(Input::TimerFired);
    while desk.write() {}

    let view = desk.view();
    assert_eq!(view.state, PipelineState::Failed);
    let title = view.problem.unwrap().title;
    assert!(title.contains("within 5s") && title.contains("one, two, last"), "{title}");
}

#[test]
fn a_cancelled_pipeline_is_over_after_a_restart_too() {
    let mut desk = Desk::new();
    desk.submit(words(&["a"]));
    while desk.running.is_empty() {
        desk.write();
    }
    desk.tell(Input::PipelineCancelled(PIPELINE));
    while desk.write() {}
    desk.start();

    assert_eq!(desk.view().state, PipelineState::Cancelled);
    desk.settle();
    assert!(desk.ran.is_empty());
}

/// `words`, and a statistic of what its last stage wrote.
fn published() -> PipelineSpec {
    let export = Export {
        dataset: "street@nas".into(),
        query: "sum".parse().unwrap(),
        noise: Noise::Epsilon("0.1".parse().unwrap()),
        format: Format::Text,
    };
    let task = TaskSpec { variants: Vec::new(), ..TaskSpec::of_module(BlobId([0; 32]), 0) };
    let mut spec = words(&["a"]);
    spec.stages.push(Stage { kind: StageKind::Export, task, export: Some(export), ..named("publish", &["last"]) });
    spec
}

fn until_exported(desk: &mut Desk) -> (TaskId, Labels, Vec<Payload>) {
    loop {
        if let Some(order) = desk.exports.pop_front() {
            return order;
        }
        if !desk.write() && !desk.finish(0) {
            let (at, _) = desk.peer.poll_timeout().expect("something is awaited");
            desk.now = desk.now.max(at);
            desk.tell(Input::TimerFired);
        }
    }
}

const KEEPER: PeerId = PeerId([5; 32]);

#[test]
fn an_export_is_asked_of_its_keeper_with_what_the_stage_reads_and_waits_while_that_is_away() {
    let mut desk = Desk::new();
    desk.submit(published());
    let took = Duration::from_millis(3);
    let (first, _, data) = until_exported(&mut desk);
    assert_eq!(data, [Payload::inline("last(two(one(a))a)")]);
    let away = Refused::Away { keeper: "nas".into(), why: "gone".into() };
    desk.tell(Input::Exported { task: first, keeper: KEEPER, took, result: Err(away) });
    assert_eq!(desk.view().stages[3].note, "nas keeps the budget of this data set, and does not answer: gone");

    // The peer itself dies while it is asked again: it asks once more.
    let (again, ..) = until_exported(&mut desk);
    assert_ne!(again, first);
    while desk.write() {}
    desk.start();
    let (last, _, data) = until_exported(&mut desk);
    assert_eq!(data, [Payload::inline("last(two(one(a))a)")], "from the disk");
    desk.tell(Input::Exported { task: again, keeper: KEEPER, took, result: Ok("an answer to a dead process".into()) });
    desk.tell(Input::Exported { task: last, keeper: KEEPER, took, result: Ok("street/sum 7\n".into()) });
    desk.settle();

    assert_eq!(desk.view().state, PipelineState::Done);
    assert_eq!(desk.view().results["publish"][0].output, crate::api::OutputView::Text("street/sum 7\n".into()));
}

#[test]
fn a_budget_that_is_spent_fails_the_pipeline_by_its_code() {
    let mut desk = Desk::new();
    desk.submit(published());
    let (task, ..) = until_exported(&mut desk);
    let refused = Refused::Spent(Box::new(Spent {
        whose: "data set street".into(),
        asked: "0.1".parse().unwrap(),
        left: "0".parse().unwrap(),
        limit: "1".parse().unwrap(),
        measure: Measure::Epsilon,
        ends_in_s: Some(5),
    }));
    desk.tell(Input::Exported { task, keeper: KEEPER, took: Duration::ZERO, result: Err(refused) });
    desk.settle();

    let view = desk.view();
    assert_eq!((view.state, view.stages[3].state), (PipelineState::Failed, StageState::Failed));
    assert_eq!(view.problem.unwrap().code, crate::api::codes::BUDGET_SPENT);
}

#[test]
fn a_shutdown_is_no_failure() {
    let mut desk = Desk::new();
    desk.submit(words(&["a"]));
    while desk.running.is_empty() {
        desk.write();
    }
    desk.tell(Input::ShutdownRequested);
    while desk.write() {}
    assert_eq!(desk.view().state, PipelineState::Running);

    desk.start();
    desk.settle();

    assert_eq!((desk.view().state, desk.result().as_str()), (PipelineState::Done, "last(two(one(a))a)"));
}

#[test]
fn a_record_that_cannot_be_read_is_reported_and_its_task_run_again() {
    let mut desk = Desk::new();
    desk.submit(words(&["a"]));
    while desk.ran.is_empty() || !desk.writing.is_empty() {
        assert!(desk.write() || desk.finish(0));
    }
    let node = desk.disk.iter_mut().find(|(key, _)| key[0] == b'n').unwrap();
    node.1[5] ^= 1;

    desk.start();
    desk.settle();

    assert_eq!(desk.result(), "last(two(one(a))a)");
    assert_eq!(desk.ran.iter().filter(|it| it.as_str() == "one:a").count(), 2);
}

#[test]
fn an_end_is_told_once_its_results_are_on_disk() {
    let mut desk = Desk::new();
    desk.write();
    desk.submit(words(&["a"]));
    desk.write();

    desk.disk_is_full = true;
    while desk.write() || desk.finish(0) {}
    assert_eq!((desk.ended, desk.ran.len()), (0, 3), "it has ended, and nobody is told");
    let mut died = desk.disk.clone();
    died.retain(|key, _| key[0] != b'n');
    assert_eq!(died, desk.disk, "no result is there, and no end: it would be run again");
    assert_eq!(desk.view().state, PipelineState::Running);

    desk.disk_is_full = false;
    desk.settle();
    assert_eq!(desk.ended, 1);
    desk.start();
    assert_eq!(desk.result(), "last(two(one(a))a)");
}

proptest! {
    /// The process dies at any moments; what was written then is there afterwards.
    #[test]
    fn whenever_the_process_dies_the_result_is_right_and_nothing_recorded_is_run_again(
        width in 1..4usize, steps in proptest::collection::vec(0..10u8, 0..60),
    ) {
        let mut desk = Desk::new();
        let texts = ["a", "b", "c"];
        let mut spec = words(&texts[..width]);
        let when = When { stage: "two".into(), exit_code: Some(0), output_starts_with: None, not: false };
        spec.stages[2].when = Some(when);
        desk.submit(spec);
        while desk.answers.is_empty() {
            desk.write();
        }
        let recorded = |desk: &Desk| desk.view().stages.iter().map(|stage| stage.done).sum::<u32>();
        let (mut restarts, mut told) = (0u32, 0);
        for step in steps {
            match step {
                0 => {
                    told = recorded(&desk);
                    restarts += 1;
                    desk.start();
                    prop_assert!(recorded(&desk) >= told, "a task that had ended has not");
                }
                1..=5 => drop(desk.write()),
                _ => drop(desk.finish(0)),
            }
        }
        let _ = told;
        desk.settle();
        let tasks = 2 * width + 1;
        prop_assert_eq!(desk.view().state, PipelineState::Done);
        let each: String = texts[..width].iter().map(|text| format!("two(one({text}))")).collect();
        prop_assert_eq!(desk.result(), format!("last({each}{})", texts[..width].concat()));
        // Two cores: no more than two ends can be lost by a death, beside those that were not written yet.
        if restarts == 0 {
            prop_assert_eq!(desk.ran.len(), tasks);
        }
        for stage in desk.view().stages {
            prop_assert_eq!((stage.done, stage.skipped), (stage.tasks, 0));
        }
    }
}

#[test]
fn an_export_is_ordered_with_the_labels_of_its_rows_and_what_it_writes_has_none() {
    let eu = Labels::residing(["eu"]).expect("a label");
    let mut spec = published();
    spec.inputs[0].labels = vec![eu.clone()];
    spec.stages.push(named("after", &["publish"]));
    let graph = check(&spec).expect("a graph");
    let said: BTreeMap<_, _> =
        graph.nodes.iter().zip(labels_of(&spec, &graph)).map(|(node, labels)| (node.stage, labels)).collect();
    assert_eq!((&said[&3], &said[&4]), (&eu, &Labels::default()), "asked about before it runs");

    let mut desk = Desk::new();
    desk.submit(spec);

    assert_eq!(until_exported(&mut desk).1, eu);
}

/// A pipeline of two stages whose first output stays with its executor, driven by hand.
struct Bare(Pipelines);

const HOME: PeerId = PeerId([1; 32]);
const ELSEWHERE: PeerId = PeerId([7; 32]);

impl Bare {
    fn new() -> Self {
        let mut bare = Self(Pipelines::new(HOME));
        let stages = vec![named("first", &["in"]), named("last", &["first"])];
        let spec = PipelineSpec { inputs: vec![input("in", &["a"])], stages, ..PipelineSpec::default() };
        let given = PipelineSubmission { name: "p".into(), spec, retention: Duration::from_secs(3_600) };
        bare.act(|pipelines, around, out| pipelines.submit(around, true, PIPELINE, given, out));
        bare
    }

    fn act<T>(&mut self, deed: impl FnOnce(&mut Pipelines, Around<'_>, &mut Outbox) -> T) -> T {
        let (around, mut out) = (Around { now: Time::ZERO, unix_ms: 0, is_here: &|_| true }, Outbox::default());
        let result = deed(&mut self.0, around, &mut out);
        while let Some(order) = self.0.next_order() {
            if let Order::Write(_, what) = order {
                self.0.written(around, what, Ok(()), &mut out);
            }
        }
        result
    }

    /// The stage that is handed out next ends like this.
    fn end_next(&mut self, end: Result<TaskResult, TaskError>) -> Option<String> {
        let errand = self.act(Pipelines::next_errand)?;
        let task = self.act(|pipelines, _, out| pipelines.begin(PIPELINE, errand.node, out));
        self.act(|pipelines, around, out| pipelines.ended(around, task, end, out));
        Some(errand.name)
    }
}

fn stays_elsewhere() -> TaskResult {
    let blob = crate::task::spec::BlobRef { id: BlobId([5; 32]), bytes: 9, holder: ELSEWHERE };
    let mut result = super::run::tests::wrote("", 0);
    (result.executor, result.report.output) = (ELSEWHERE, Payload::Blob(blob));
    result
}

#[test]
fn an_input_that_nobody_can_get_at_is_made_again_at_once_and_not_for_ever() {
    let exhausted = || TaskError::AttemptsExhausted { attempts: 7, last: "its input could not be had".into() };
    let mut bare = Bare::new();
    let mut ran = Vec::new();

    for _ in 0..20 {
        ran.extend(bare.end_next(Ok(stays_elsewhere())));
        ran.extend(bare.end_next(Err(exhausted())));
    }

    assert_eq!(ran, ["p/first", "p/last"].repeat(4), "three times more than once");
    assert!(bare.0.held[&PIPELINE].run().is_none(), "it has failed");
}

#[test]
fn an_output_that_came_home_and_is_lost_there_is_made_again() {
    let lost = || TaskError::AttemptsExhausted { attempts: 7, last: "its input could not be had".into() };
    let mut came_home = stays_elsewhere();
    came_home.report.output = Payload::Blob(crate::task::spec::BlobRef { id: BlobId([5; 32]), bytes: 9, holder: HOME });
    let mut bare = Bare::new();

    let ran: Vec<_> = [Ok(came_home.clone()), Err(lost()), Ok(came_home)].map(|end| bare.end_next(end)).into();

    assert_eq!(ran.into_iter().flatten().collect::<Vec<_>>(), ["p/first", "p/last", "p/first"]);
}

#[test]
fn a_result_that_is_a_blob_somewhere_is_not_taken_for_one_that_is_kept() {
    let blob = crate::task::spec::BlobRef { id: BlobId([5; 32]), bytes: 9, holder: ELSEWHERE };
    let known = |output| Known { output, executor: ELSEWHERE, run: Duration::ZERO, labels: Labels::default() };
    let (first, last) = (0, 1);
    let mut bare = Bare::new();
    let mut helps = |node, output| bare.act(|p, around, out| p.known(around, PIPELINE, node, known(output), out));

    assert!(helps(first, Payload::Blob(blob)), "another stage reads it, and it is made again if it is lost");
    assert!(!helps(last, Payload::Blob(blob)));
    assert!(helps(last, Payload::inline(&b"2"[..])));
}

#[test]
fn a_few_names_do_not_stand_for_more_connections_than_memory_holds() {
    let elements = (0..4_096).map(|_| Payload::inline(Vec::new())).collect();
    let wide = PipelineInput { name: "in".into(), elements, labels: Vec::new() };
    for names in [60_000, 1_000_000] {
        let stage = Stage { inputs: vec!["in".into(); names], ..named("all", &[]) };
        let spec = PipelineSpec { inputs: vec![wide.clone()], stages: vec![stage], ..PipelineSpec::default() };

        assert!(matches!(check(&spec), Err(GraphError::TooMany { .. })), "{names}");
    }
}

#[test]
fn what_was_asked_for_a_pipeline_that_ended_is_asked_no_more() {
    let mut bare = Bare::new();
    let errand = bare.act(Pipelines::next_errand).expect("the first stage");
    let key = MemoKey([4; 32]);
    bare.act(|pipelines, around, _| pipelines.asked(around, &errand, key, 2));
    assert!(bare.0.is_asked(key));

    bare.act(|pipelines, around, out| pipelines.cancel(around, PIPELINE, out));

    assert!(!bare.0.is_asked(key));
}
