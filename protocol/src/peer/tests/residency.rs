//! What leaves a peer, by the labels of what it carries: whoever asks, and whatever brought it about.

use super::*;
use crate::message::{Held, LoadDigest, Message, Pong};
use crate::output::{Event, Execution, TaskError};
use crate::pipeline::memo::{Known, MemoKey, MemoWord};
use crate::residency::Labels;
use crate::task::spec::OutputUse;

const EU: u8 = 2;
const US: u8 = 4;
/// A version that knows of no labels.
const OLD: u8 = 6;
const TASK: TaskId = TaskId([3; 16]);

fn at(n: u8, region: &str) -> Member {
    Member { labels: BTreeMap::from([("residency".to_owned(), region.to_owned())]), ..member(n) }
}

fn told(peer: &mut Peer, now: Time, input: Input) -> Vec<Output> {
    peer.handle(now, input);
    core::iter::from_fn(|| peer.poll_output()).collect()
}

fn received(peer: &mut Peer, from: u8, message: Message) -> Vec<Output> {
    told(peer, Time::from_millis(20), Input::Received { from: id(from), message })
}

/// A peer of the EU with a neighbour there, one in the US that is much faster, and one that knows of no labels.
fn in_company() -> Peer {
    let mut peer = Peer::new(at(1, "eu"), PeerConfig::default(), 1, Time::ZERO);
    for (n, region, speed, understands_labels) in
        [(EU, "eu", 2.0, true), (US, "us", 50.0, true), (OLD, "eu", 50.0, false)]
    {
        told(&mut peer, Time::ZERO, Input::Connected { member: at(n, region), address: None });
        let load = LoadDigest { speed, understands_labels, ..load(1, 0) };
        let pong = Pong {
            sequence: 1,
            incarnation: 1,
            coordinate: None,
            load: Some(load.clone()),
            revocations: 0,
            rules: 0,
            services: 0,
        };
        received(&mut peer, n, Message::Pong(pong));
        received(&mut peer, n, Message::Load(LoadDigest { sequence: 2, ..load }));
    }
    peer
}

fn eu() -> Labels {
    Labels::residing(["eu"]).expect("a region")
}

fn spec(labels: Labels) -> TaskSpec {
    let mut spec = TaskSpec::of_module(MODULE, 1_000);
    spec.inputs = vec![Payload::inline(b"personal".to_vec())];
    spec.expected = Some(Duration::from_secs(5));
    spec.policy.cloud = crate::task::spec::CloudUse::Allow;
    TaskSpec { labels, ..spec }
}

fn award_from(home: u8, labels: Labels) -> Message {
    Message::Award(Box::new(Award {
        attempt: TaskRef { task: TASK, epoch: 1 },
        home: id(home),
        variant: 0,
        spec: spec(labels),
        work: Duration::from_millis(10),
        works_us: Vec::new(),
        expected_start: Duration::ZERO,
        firm: true,
        hops: 0,
        alternatives: Vec::new(),
        near: Marks::default(),
        kept: false,
        received: Vec::new(),
        safe: Marks::default(),
    }))
}

fn sent(outputs: &[Output], kind: &str) -> Vec<u8> {
    let to = |output: &Output| match output {
        Output::Send { to, message } if message.kind() == kind => Some(to.0[0]),
        _ => None,
    };
    outputs.iter().filter_map(to).collect()
}

fn withheld(outputs: &[Output]) -> Vec<(u8, String, String)> {
    let told = |output: &Output| match output {
        Output::Notify(Event::Withheld { peer, what, rule, .. }) => Some((peer.0[0], what.clone(), rule.clone())),
        _ => None,
    };
    outputs.iter().filter_map(told).collect()
}

fn submitted(peer: &mut Peer, spec: TaskSpec) -> Vec<Output> {
    let (name, keeping) = ("t".to_owned(), Keeping::default());
    told(peer, Time::from_millis(30), Input::Submitted { task: TASK, name, spec: Box::new(spec), keeping })
}

#[test]
fn the_fastest_peer_is_given_what_is_free_and_not_what_must_stay() {
    let mut peer = in_company();
    let outputs = submitted(&mut peer, spec(Labels::default()));
    assert!(sent(&outputs, "award").iter().all(|to| [US, OLD].contains(to)), "{outputs:?}");
    assert_eq!(sent(&outputs, "award").len(), 1);

    let mut peer = in_company();
    let outputs = submitted(&mut peer, spec(eu()));
    assert!(sent(&outputs, "award").iter().all(|to| *to == EU), "{outputs:?}");
    let decision = peer.explain(TASK).pop().expect("it was decided");
    let note = |n| decision.candidates.iter().find(|it| it.peer == id(n)).map(|it| it.note.clone()).unwrap_or_default();
    assert_eq!(note(US), "the data is labelled residency=eu, its certificate says residency=us");
    assert_eq!(note(OLD), "it has not said that it understands labels of data");
}

#[test]
fn a_task_that_nobody_may_have_is_refused_with_the_label() {
    let mut peer = in_company();
    let mut wanted = spec(eu());
    wanted.policy.peer = Some(id(US));

    let outputs = submitted(&mut peer, wanted);

    let refused = outputs.iter().find_map(|output| match output {
        Output::Finish { result: Err(error), .. } => Some(error.clone()),
        _ => None,
    });
    let Some(error @ TaskError::Residency { .. }) = refused else { panic!("{outputs:?}") };
    assert!(error.to_string().contains("residency=eu"), "{error}");
    let problem = crate::task::problem::of_error(&error);
    assert_eq!(problem.code, crate::api::codes::RESIDENCY);
    assert!(!problem.hint.is_empty() && !problem.detail.is_empty(), "{problem:?}");
}

/// What a run wrote goes home only if it may; its home hears why not.
#[test]
fn an_outcome_stays_where_its_home_may_not_have_it() {
    for (home, is_told) in [(EU, true), (US, false)] {
        let mut peer = in_company();
        // Home does not know what is said of the blob that was read: the manifest here does.
        let mut outputs = received(&mut peer, home, award_from(home, Labels::default()));
        outputs.extend(told(&mut peer, Time::from_millis(40), Input::Fetched { attempt: attempt_1(), result: Ok(()) }));
        let prepared = Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) };
        outputs.extend(told(&mut peer, Time::from_millis(50), prepared));
        assert!(executions(&outputs).len() == 1, "{outputs:?}");
        let report = RunReport { output: Payload::inline(b"made".to_vec()), labels: eu(), ..report(Ending::Exited(0)) };

        let outputs = told(&mut peer, Time::from_millis(60), Input::Finished { attempt: attempt_1(), report });

        assert_eq!(sent(&outputs, "outcome"), if is_told { vec![home] } else { Vec::new() }, "{outputs:?}");
        if !is_told {
            assert_eq!(withheld(&outputs), [(US, "outcome".to_owned(), "residency".to_owned())]);
            assert_eq!(sent(&outputs, "declined"), [US]);
        }
    }
}

fn attempt_1() -> TaskRef {
    TaskRef { task: TASK, epoch: 1 }
}

fn executions(outputs: &[Output]) -> Vec<&Execution> {
    outputs.iter().filter_map(|it| if let Output::Execute(run) = it { Some(&**run) } else { None }).collect()
}

/// The name of an output that stays is told to a home that may not have what was written beside it.
#[test]
fn an_output_that_stays_is_named_without_its_log() {
    let mut peer = in_company();
    let Message::Award(mut award) = award_from(US, eu()) else { panic!("it is one") };
    award.spec.output = OutputUse::Keep(Duration::from_secs(60));
    received(&mut peer, US, Message::Award(award));
    told(&mut peer, Time::from_millis(40), Input::Fetched { attempt: attempt_1(), result: Ok(()) });
    told(&mut peer, Time::from_millis(50), Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) });
    let blob = crate::task::spec::BlobRef { id: BlobId([8; 32]), bytes: 3, holder: id(1) };
    let report = RunReport { output: Payload::Blob(blob), log: b"a name".to_vec(), ..report(Ending::Exited(0)) };

    let outputs = told(&mut peer, Time::from_millis(60), Input::Finished { attempt: attempt_1(), report });

    let Some(Output::Send { message: Message::Outcome(outcome), .. }) =
        outputs.iter().find(|it| matches!(it, Output::Send { message: Message::Outcome(_), .. }))
    else {
        panic!("{outputs:?}")
    };
    assert_eq!((outcome.report.output.clone(), outcome.report.log.len()), (Payload::Blob(blob), 0));
    assert_eq!(outcome.report.labels, eu(), "home knows what it may do with it");
}

#[test]
fn remembered_outputs_and_names_of_blobs_are_told_to_who_may_have_them() {
    let mut peer = in_company();
    let (key, executor) = (MemoKey([1; 32]), id(EU));
    let known = Known { output: Payload::inline(b"made".to_vec()), executor, run: Duration::ZERO, labels: eu() };
    received(&mut peer, EU, Message::Memo(Box::new(MemoWord::Remember(key, known.clone()))));
    for (from, expected) in [(EU, Some(known)), (US, None), (OLD, None)] {
        let outputs = received(&mut peer, from, Message::Memo(Box::new(MemoWord::Recall(key))));
        let answer = Message::Memo(Box::new(MemoWord::Recalled(key, expected)));
        assert!(outputs.contains(&Output::Send { to: id(from), message: answer }), "{outputs:?}");
    }

    let held = |n: u8, labels| Held { blob: BlobId([n; 32]), bytes: 1, labels };
    let here = vec![held(1, eu()), held(2, Labels::default())];
    for (to, count) in [(EU, 2), (US, 1), (OLD, 1)] {
        let outputs = told(&mut peer, Time::from_millis(20), Input::LookedUp { to: id(to), here: here.clone() });
        let Some(Output::Send { message: Message::Have(have), .. }) = outputs.first() else { panic!("{outputs:?}") };
        assert_eq!(have.blobs.len(), count, "{to}");
    }
}

/// Who was told under another certificate, or by another version, is not believed to be the same.
#[test]
fn a_label_that_is_taken_back_and_a_connection_that_is_new_count_at_once() {
    let mut peer = in_company();
    assert_eq!(peer.permits(id(EU), &eu()), Ok(()));

    told(&mut peer, Time::from_millis(30), Input::Recertified(at(EU, "us")));
    assert!(peer.permits(id(EU), &eu()).is_err());
    told(&mut peer, Time::from_millis(31), Input::Recertified(at(EU, "eu")));
    assert_eq!(peer.permits(id(EU), &eu()), Ok(()));
    told(&mut peer, Time::from_millis(32), Input::Disconnected { peer: id(EU) });
    assert!(peer.permits(id(EU), &eu()).is_err());
    told(&mut peer, Time::from_millis(33), Input::Connected { member: at(EU, "eu"), address: None });
    assert!(peer.permits(id(EU), &eu()).is_err(), "it has not said yet that it is of this version");
}

/// The rule is asked at one place: without it everything goes where it is cheapest.
#[test]
fn without_the_rule_data_goes_abroad() {
    let outputs = sabotage::with(Some(sabotage::Bug::DropResidencyCheck), || {
        let mut peer = in_company();
        submitted(&mut peer, spec(eu()))
    });

    assert!(sent(&outputs, "award").iter().any(|to| *to != EU), "{outputs:?}");
}
