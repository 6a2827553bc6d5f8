//! Every kind of message that can carry data, with data of a case in it.

use core::time::Duration;

use rand::{Rng, RngExt};
use shoal_protocol::message::{Award, FoundHere, Have, Held, Outcome, TaskRef};
use shoal_protocol::output::{TaskResult, Timings};
use shoal_protocol::pipeline::memo::{Known, MemoKey, MemoWord};
use shoal_protocol::task::TaskState;
use shoal_protocol::task::durable::{
    Ballot, Case as Matter, Council, Counsel, Found, Guard, Keeping, Promised, Propose, Resolution, Resolved, Vote,
};
use shoal_protocol::task::report::{Ending, RunReport};
use shoal_protocol::task::spec::{BlobRef, Payload};
use shoal_protocol::{BlobId, Message, TaskId};

use super::draw::joined;
use super::{Case, Drawn, id};

const TASK: TaskId = TaskId([7; 16]);
const ATTEMPT: TaskRef = TaskRef { task: TASK, epoch: 1 };

/// A message, and the data that it carries: none where an output is only named.
pub(super) fn draw<'a>(case: &'a Case, rng: &mut impl Rng) -> (Message, &'a [Drawn]) {
    let labels = joined(&case.data);
    let output = match rng.random_range(0..3) {
        0 => Payload::inline(b"an answer".to_vec()),
        1 => Payload::inline(Vec::new()),
        _ => Payload::Blob(BlobRef { id: BlobId([9; 32]), bytes: 7, holder: id(1) }),
    };
    let log = if rng.random_bool(0.5) { b"said".to_vec() } else { Vec::new() };
    let says_something = matches!(&output, Payload::Inline(bytes) if !bytes.is_empty()) || !log.is_empty();
    let of_report = if says_something { case.data.as_slice() } else { &[] };
    let report =
        RunReport { output: output.clone(), log, labels: labels.clone(), ..RunReport::without_run(Ending::Exited(0)) };
    let known = Known { output, executor: id(1), run: Duration::ZERO, labels: labels.clone() };
    let counsel = |counsel| Message::Council(Box::new(counsel));
    match rng.random_range(0..10) {
        0 => (Message::Award(Box::new(award(case))), &case.data),
        1 => (counsel(Counsel::Guard(Box::new(guard(case)))), &case.data),
        2 => (Message::Outcome(Box::new(outcome(case, report))), of_report),
        3 => (counsel(Counsel::Propose(Box::new(propose(report)))), of_report),
        4 => {
            let (ballot, accepted) = (ballot(), Some(vote(report)));
            (counsel(Counsel::Promised(Box::new(Promised { case: matter(), ballot, accepted }))), of_report)
        }
        5 => {
            let (ballot, resolution) = (ballot(), Some(vote(report).resolution));
            (counsel(Counsel::Resolved(Box::new(Resolved { case: matter(), ballot, resolution }))), of_report)
        }
        6 => (Message::Found(Box::new(found(report))), of_report),
        7 => (Message::Memo(Box::new(MemoWord::Recalled(MemoKey([1; 32]), Some(known)))), &case.data),
        8 => (Message::Memo(Box::new(MemoWord::Remember(MemoKey([1; 32]), known))), &case.data),
        _ => {
            let blob = |(number, one): (usize, &Drawn)| Held {
                blob: BlobId([number as u8; 32]),
                bytes: 1,
                labels: one.labels(),
            };
            (Message::Have(Have { blobs: case.data.iter().enumerate().map(blob).collect() }), &case.data)
        }
    }
}

fn matter() -> Matter {
    Matter { task: TASK, term: 1 }
}

fn ballot() -> Ballot {
    Ballot { round: 0, owner: id(0) }
}

fn council() -> Council {
    let member = |index| shoal_protocol::message::Contact { peer: id(index), address: String::new() };
    Council { term: 1, members: vec![member(0), member(1), member(2)] }
}

fn vote(report: RunReport) -> Vote {
    let result = Ok(result(report));
    Vote { ballot: ballot(), resolution: Resolution { state: TaskState::Done, result } }
}

fn result(report: RunReport) -> TaskResult {
    TaskResult { report, executor: id(1), variant: 0, attempts: 1, agreed: 0, timings: Timings::default() }
}

fn propose(report: RunReport) -> Propose {
    let (expires_in, age) = (Duration::from_secs(1), Duration::ZERO);
    Propose { task: TASK, council: council(), vote: vote(report), expires_in, age }
}

fn guard(case: &Case) -> Guard {
    let (name, keeping, age) = (String::new(), Keeping::default(), Duration::ZERO);
    Guard { task: TASK, council: council(), name, spec: case.spec(), keeping, age }
}

fn found(report: RunReport) -> FoundHere {
    let (name, state, age) = (String::new(), TaskState::Done, Duration::ZERO);
    let result = Some(Ok(result(report)));
    FoundHere { ticket: 1, found: Found { task: TASK, name, state, holder: id(1), age, result, unpromised: false } }
}

fn award(case: &Case) -> Award {
    Award {
        attempt: ATTEMPT,
        home: id(0),
        variant: 0,
        spec: case.spec(),
        work: Duration::ZERO,
        works_us: Vec::new(),
        expected_start: Duration::ZERO,
        firm: false,
        hops: 0,
        alternatives: Vec::new(),
        near: Default::default(),
        kept: false,
        received: Vec::new(),
        safe: Default::default(),
    }
}

fn outcome(case: &Case, report: RunReport) -> Outcome {
    let load = case.peers[0].load();
    let (prepare, queued, receipt) = (Duration::ZERO, Duration::ZERO, None);
    Outcome { attempt: ATTEMPT, variant: 0, report, speed: 1.0, prepare, queued, load, receipt }
}
