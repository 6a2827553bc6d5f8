//! Everything that a neighbour may say, made of a few bytes: ids are small, so that things meet.

use core::time::Duration;

use shoal_protocol::config::Weights;
use shoal_protocol::id::{BlobId, PeerId, TaskId};
use shoal_protocol::message::{
    Accepted, Ask, AskVariant, Award, Contact, DeclineReason, Declined, Forwarded, Have, Held, Hold, LoadDigest, Marks,
    Message, Offer, Outcome, Ping, Pong, ProbeRequest, Progress, Rumour, RumourState, ServicesWord, TaskRef, Want,
    WarmModule,
};
use shoal_protocol::output::TaskError;
use shoal_protocol::pipeline::PipelineSubmission;
use shoal_protocol::pipeline::memo::{Known, MemoKey, MemoWord};
use shoal_protocol::pipeline::spec::{PipelineInput, PipelineSpec, Stage, StageKind, When};
use shoal_protocol::service::IndexEntry;
use shoal_protocol::task::TaskState;
use shoal_protocol::task::durable::{
    Ballot, Case, Council, Counsel, Durability, Guard, Guarded, Keeping, Prepare, Promised, Propose, Refused,
    Resolution, Resolved, Standing, Vote, Voted,
};
use shoal_protocol::task::report::{Ending, RunReport};
use shoal_protocol::task::spec::{Payload, Priority, TaskSpec};

use crate::source::Source;

pub(super) const MODULE: BlobId = BlobId([9; 32]);
/// Peers there are, this one among them.
pub(super) const PEERS: u8 = 6;
/// Tasks there are.
pub(super) const TASKS: u8 = 8;

pub(super) fn peer(source: &mut Source<'_>) -> PeerId {
    PeerId([source.below(PEERS); 32])
}

pub(super) fn task(source: &mut Source<'_>) -> TaskId {
    TaskId([source.below(TASKS); 16])
}

/// Whether a task is one that [`task`] names.
pub(super) fn is_asked_for(task: TaskId) -> bool {
    task.0[0] < TASKS && task.0 == [task.0[0]; 16]
}

/// Some stages that take from each other, or from nothing.
pub(super) fn pipeline(source: &mut Source<'_>) -> PipelineSubmission {
    let elements = vec![Payload::inline(vec![1]); usize::from(source.below(3))];
    let inputs = vec![PipelineInput { name: "in".into(), elements, labels: Vec::new() }];
    let names = ["a", "b", "c", "in", "d"];
    let stage = |name: &str, source: &mut Source<'_>| {
        let mut pick = || names[usize::from(source.below(5))].to_owned();
        let (first, second) = (pick(), pick());
        let when = When { stage: first.clone(), exit_code: Some(0), output_starts_with: None, not: source.flag() };
        Stage {
            name: name.into(),
            kind: StageKind::default(),
            task: TaskSpec::of_module(MODULE, 1_000),
            map: source.flag().then(|| second.clone()),
            inputs: if source.flag() { vec![first] } else { Vec::new() },
            when: (source.below(4) == 0).then_some(when),
            near: (source.below(4) == 0).then_some(second),
            retries: source.below(3),
            deterministic: source.flag(),
            expected_output_bytes: source.flag().then(|| source.number()),
            export: None,
        }
    };
    let count = usize::from(source.below(4));
    let stages = names.iter().take(count).map(|name| stage(name, source)).collect();
    let deadline = source.flag().then(|| duration(source));
    let spec = PipelineSpec { inputs, stages, deadline, priority: Priority::Normal };
    PipelineSubmission { name: String::new(), spec, retention: duration(source) }
}

fn memo(source: &mut Source<'_>) -> MemoWord {
    let key = MemoKey([source.below(3); 32]);
    let report = report(source);
    let (executor, run) = (peer(source), duration(source));
    let known = Known { output: report.output, executor, run, labels: report.labels };
    match source.below(3) {
        0 => MemoWord::Recall(key),
        1 => MemoWord::Recalled(key, source.flag().then_some(known)),
        _ => MemoWord::Remember(key, known),
    }
}

pub(super) fn attempt(source: &mut Source<'_>) -> TaskRef {
    // Of a kept task the epochs begin with the start of its home.
    let base = if source.flag() { 1 << 20 } else { 0 };
    TaskRef { task: task(source), epoch: base + source.number() % 8 }
}

pub(super) fn blob(source: &mut Source<'_>) -> BlobId {
    BlobId([source.below(4); 32])
}

pub(super) fn duration(source: &mut Source<'_>) -> Duration {
    Duration::from_millis(source.number()).min(shoal_protocol::time::DURATION_MAX)
}

pub(super) fn report(source: &mut Source<'_>) -> RunReport {
    let ending = match source.below(4) {
        0 | 1 => Ending::Exited(u32::from(source.byte())),
        2 => Ending::Trapped("unreachable".into()),
        _ => Ending::HostFailed("smoke".into()),
    };
    let output = match source.below(4) {
        0 => Payload::Blob(shoal_protocol::task::spec::BlobRef {
            id: BlobId([5; 32]),
            bytes: source.number(),
            holder: peer(source),
        }),
        _ => Payload::inline(vec![source.byte(); 3]),
    };
    RunReport { output, run: duration(source), ..RunReport::without_run(ending) }
}

pub(super) fn load(source: &mut Source<'_>) -> LoadDigest {
    LoadDigest {
        sequence: source.number() as u32,
        description: u32::from(source.below(3)),
        start_in: duration(source),
        usual_start_in: duration(source),
        turnover: duration(source),
        later_start: [u32::from(source.byte()); 6],
        arrivals_per_ks: source.number() as u32,
        cores: u16::from(source.byte()),
        running: u16::from(source.byte()),
        queued: u16::from(source.byte()),
        queue_max: u16::from(source.byte()),
        cpu_percent: source.byte(),
        speed: f64::from(source.byte()) / 16.0,
        memory_free_bytes: source.number(),
        memory_bytes: 1 << 30,
        uplink_bits_per_s: source.number(),
        weights: Weights::default(),
        price: 0.0,
        understands_labels: true,
    }
}

fn offer(source: &mut Source<'_>) -> Offer {
    Offer {
        attempt: attempt(source),
        variant: source.byte(),
        start_in: duration(source),
        run: duration(source),
        expires_in: duration(source),
        has_module: source.flag(),
        load: load(source),
    }
}

fn state(source: &mut Source<'_>) -> TaskState {
    let states = [
        TaskState::Accepted,
        TaskState::Placing,
        TaskState::Fetching,
        TaskState::Queued,
        TaskState::Running,
        TaskState::Done,
        TaskState::Failed,
        TaskState::Cancelled,
    ];
    states[usize::from(source.below(states.len() as u8))]
}

fn declined(source: &mut Source<'_>) -> Declined {
    let reason = match source.below(6) {
        0 => DeclineReason::QueueFull,
        1 => DeclineReason::Counter(Box::new(offer(source))),
        2 => DeclineReason::Leaving,
        3 => DeclineReason::Unknown,
        4 => DeclineReason::FetchFailed("no".into()),
        _ => DeclineReason::Memory { wanted_bytes: source.number(), free_bytes: 0 },
    };
    Declined { attempt: attempt(source), reason, load: None }
}

pub(super) fn message(source: &mut Source<'_>) -> Message {
    match source.below(28) {
        0 => Message::Ping(Ping {
            sequence: source.number() as u32,
            incarnation: 0,
            coordinate: None,
            load: None,
            revocations: 0,
            rules: 0,
            services: 0,
            wants_load: false,
        }),
        1 => Message::Pong(Pong {
            sequence: source.number() as u32,
            incarnation: 0,
            coordinate: None,
            load: None,
            revocations: 0,
            rules: 0,
            services: 0,
        }),
        2 => Message::ProbeRequest(ProbeRequest { sequence: source.number() as u32, target: peer(source) }),
        3 => {
            let state = [RumourState::Alive, RumourState::Suspect, RumourState::Dead][usize::from(source.below(3))];
            Message::Rumour(Rumour { peer: peer(source), incarnation: source.number() as u32, state })
        }
        4 => Message::Load(load(source)),
        5 => {
            let variants = vec![AskVariant { module: MODULE, module_bytes: 1, work: duration(source) }];
            let (input_bytes, memory_bytes) = (source.number(), source.number());
            Message::Ask(Ask { attempt: attempt(source), variants, input_bytes, memory_bytes, deadline_in: None })
        }
        6 => Message::Offer(offer(source)),
        7 => Message::Release(attempt(source)),
        8 => Message::Pull(load(source)),
        9..=11 => Message::Award(Box::new(Award {
            attempt: attempt(source),
            home: peer(source),
            variant: source.below(2),
            spec: TaskSpec::of_module(MODULE, 1_000),
            work: duration(source),
            works_us: Vec::new(),
            expected_start: duration(source),
            firm: source.flag(),
            hops: source.below(5),
            alternatives: vec![peer(source), peer(source)],
            near: Marks::default(),
            kept: source.flag(),
            received: vec![attempt(source)],
            safe: Marks::default(),
        })),
        12 => Message::Accepted(Accepted {
            attempt: attempt(source),
            state: state(source),
            start_in: duration(source),
            load: load(source),
        }),
        13 => Message::Declined(declined(source)),
        14 => Message::Forwarded(Forwarded { attempt: attempt(source), to: peer(source), load: load(source) }),
        15 => Message::Progress(Progress { attempt: attempt(source), state: state(source) }),
        16 => Message::Query(attempt(source)),
        17 | 18 => Message::Outcome(Box::new(Outcome {
            attempt: attempt(source),
            variant: source.below(2),
            report: report(source),
            speed: f64::from(source.byte()) / 16.0,
            prepare: duration(source),
            queued: duration(source),
            load: load(source),
            receipt: None,
        })),
        19 => Message::OutcomesReceived(vec![attempt(source); 2]),
        20 => Message::Cancel(attempt(source)),
        21 => Message::Want(Want { blobs: vec![blob(source); usize::from(source.below(40))] }),
        22 => Message::Have(Have {
            blobs: vec![
                Held { blob: blob(source), bytes: source.number(), labels: Default::default() };
                usize::from(source.below(40))
            ],
        }),
        24 => Message::Memo(Box::new(memo(source))),
        26 => Message::Services(Box::new(ServicesWord::Warm(vec![
            WarmModule {
                module: blob(source),
                instances: source.number() as u16
            };
            usize::from(source.below(40))
        ]))),
        27 => {
            let entry = |n: u8| IndexEntry { name: format!("s{n}").parse().expect("a name"), head: u64::from(n) };
            Message::Services(Box::new(ServicesWord::Index((0..source.below(40)).map(entry).collect())))
        }
        23 => Message::Hold(Hold { task: task(source), lease: duration(source) }),
        _ => Message::Leaving,
    }
}

fn ballot(source: &mut Source<'_>) -> Ballot {
    Ballot { round: source.number() as u32 % 5, owner: peer(source) }
}

fn resolution(source: &mut Source<'_>) -> Resolution {
    let asked = usize::from(source.below(3));
    let error = match source.below(3) {
        0 => TaskError::NoGuardian { asked, reasons: String::new() },
        1 => TaskError::Cancelled,
        _ => TaskError::AllDeclined { asked, reasons: String::new() },
    };
    Resolution { state: TaskState::Failed, result: Err(error) }
}

/// Of a council that three of the first four peers make up.
pub(super) fn counsel(source: &mut Source<'_>) -> Counsel {
    let task = task(source);
    let mut members: Vec<Contact> =
        (1..4u8).map(|n| Contact { peer: PeerId([n; 32]), address: String::new() }).collect();
    members.rotate_left(usize::from(source.below(3)));
    let council = Council { term: (1 << 32) + u64::from(source.below(3)), members };
    let case = Case { task, term: council.term };
    let (ballot, resolution) = (ballot(source), resolution(source));
    let vote = Vote { ballot, resolution: resolution.clone() };
    let (expires_in, age, flag) = (duration(source), duration(source), source.flag());
    match source.below(13) {
        0 | 1 => {
            let keeping = Keeping { durability: Durability::Guarded, retention: duration(source) };
            let spec = TaskSpec::of_module(MODULE, 1);
            Counsel::Guard(Box::new(Guard { task, council, name: String::new(), spec, keeping, age }))
        }
        2 => Counsel::Guarded(Guarded { case, refusal: flag.then(String::new) }),
        3 | 4 => Counsel::Prepare(Prepare { task, council, ballot, expires_in, leader_gave_up: flag, age }),
        5 => Counsel::Promised(Box::new(Promised { case, ballot, accepted: flag.then_some(vote) })),
        6 | 7 => Counsel::Propose(Box::new(Propose { task, council, vote, expires_in, age })),
        8 => Counsel::Accepted(Voted { case, ballot }),
        9 => Counsel::Refused(Refused { case, promised: ballot, leader_is_here: flag }),
        10 => Counsel::Resolved(Box::new(Resolved { case, ballot, resolution: flag.then_some(resolution) })),
        11 => Counsel::Standing(Standing { case, ballot, holds: flag, leads: source.flag() }),
        _ if flag => Counsel::Inquire(vec![case; 3]),
        _ => Counsel::Withdraw(case),
    }
}
