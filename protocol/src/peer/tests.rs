//! Whatever happens to a peer, in whatever order: it does not panic, keeps its word, and stays within its bounds.

mod blobs;
mod residency;
mod revoked;
mod services;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::Role;
use crate::config::HOME_TASKS_MAX;
use crate::id::{BlobId, TaskId};
use crate::input::{HostLoad, PrepareError};
use crate::latency::PathSample;
use crate::message::{
    Accepted, Ask, AskVariant, Award, DeclineReason, Declined, Forwarded, LoadDigest, Marks, Message, Offer, Outcome,
    Ping, Pong, ProbeRequest, Progress, Rumour, RumourState,
};
use crate::task::TaskState;
use crate::task::durable::Keeping;
use crate::task::report::{Ending, RunReport};
use crate::task::spec::{Payload, TaskSpec};

const CORES: u16 = 2;
const PEERS: u8 = 6;
const MODULE: BlobId = BlobId([9; 32]);

fn id(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn member(n: u8) -> Member {
    let role = if n.is_multiple_of(2) { Role::Edge } else { Role::Cloud };
    Member { peer: id(n), name: format!("peer-{n}"), role, labels: BTreeMap::new() }
}

fn load(sequence: u32, start_ms: u64) -> LoadDigest {
    LoadDigest { sequence, start_in: Duration::from_millis(start_ms), ..crate::placement::test_load() }
}

fn report(ending: Ending) -> RunReport {
    RunReport { run: Duration::from_millis(5), ..RunReport::without_run(ending) }
}

/// One thing that may happen; ids are small so that things meet.
#[derive(Debug, Clone)]
enum Deed {
    Fact(Input),
    Said(u8, Message),
    /// Something the peer itself ordered ends, well or badly.
    Answered(u8, bool),
}

fn attempt() -> impl Strategy<Value = TaskRef> {
    // Tasks of this peer's users are 0..4, of others 4..8; epochs are those that attempts really have.
    (0..8u8, 1..4u64).prop_map(|(n, epoch)| TaskRef { task: TaskId([n; 16]), epoch })
}

fn message() -> impl Strategy<Value = Message> {
    let offer = |attempt, start_ms| Offer {
        attempt,
        variant: 7,
        start_in: Duration::from_millis(start_ms),
        run: Duration::MAX,
        expires_in: Duration::ZERO,
        has_module: true,
        load: load(1, start_ms),
    };
    let award = |attempt, home, firm, hops| Award {
        attempt,
        home: id(home),
        variant: 0,
        spec: TaskSpec::of_module(MODULE, 1_000),
        work: Duration::from_millis(10),
        works_us: Vec::new(),
        expected_start: Duration::ZERO,
        firm,
        hops,
        alternatives: vec![id(2), id(3)],
        near: Marks::of_peers(&[id(1), id(9)]),
        kept: false,
        received: vec![attempt],
        safe: Marks::of_attempts(&[attempt]),
    };
    prop_oneof![
        (any::<u32>(), any::<u32>()).prop_map(|(sequence, incarnation)| Message::Ping(Ping {
            sequence,
            incarnation,
            coordinate: None,
            load: None,
            revocations: 0,
            rules: 0,
            services: 0,
            wants_load: false,
        })),
        (0..40u32, any::<u32>()).prop_map(|(sequence, incarnation)| Message::Pong(Pong {
            sequence,
            incarnation,
            coordinate: None,
            load: None,
            revocations: 0,
            rules: 0,
            services: 0
        })),
        (any::<u32>(), 0..PEERS)
            .prop_map(|(sequence, n)| Message::ProbeRequest(ProbeRequest { sequence, target: id(n) })),
        (0..PEERS, any::<u32>(), 0..3u8).prop_map(|(n, incarnation, state)| {
            let state = [RumourState::Alive, RumourState::Suspect, RumourState::Dead][usize::from(state)];
            Message::Rumour(Rumour { peer: id(n), incarnation, state })
        }),
        (any::<u32>(), 0..10_000u64, 0..3u32, any::<bool>()).prop_map(|(sequence, ms, description, is_brief)| {
            let whole = LoadDigest { description, ..load(sequence, ms) };
            Message::Load(if is_brief { whole.abridged() } else { whole })
        }),
        attempt().prop_map(|attempt| {
            let variants = vec![AskVariant { module: MODULE, module_bytes: 1, work: Duration::MAX }];
            Message::Ask(Ask { attempt, variants, input_bytes: u64::MAX, memory_bytes: 1, deadline_in: None })
        }),
        (attempt(), 0..1_000u64).prop_map(move |(attempt, ms)| Message::Offer(offer(attempt, ms))),
        attempt().prop_map(Message::Release),
        (any::<u32>(), 0..10_000u64).prop_map(|(sequence, ms)| Message::Pull(load(sequence, ms))),
        (attempt(), 0..PEERS, any::<bool>(), 0..4u8)
            .prop_map(move |(attempt, home, firm, hops)| Message::Award(Box::new(award(attempt, home, firm, hops)))),
        attempt().prop_map(|attempt| Message::Accepted(Accepted {
            attempt,
            state: TaskState::Failed,
            start_in: Duration::MAX,
            load: load(2, 1)
        })),
        (attempt(), 0..7u8).prop_map(move |(attempt, why)| {
            let reason = match why {
                0 => DeclineReason::QueueFull,
                1 => DeclineReason::Counter(Box::new(offer(attempt, 50))),
                2 => DeclineReason::Leaving,
                3 => DeclineReason::Unknown,
                4 => DeclineReason::FetchFailed("no".into()),
                5 => DeclineReason::Sandbox,
                _ => DeclineReason::Memory { wanted_bytes: 1, free_bytes: 0 },
            };
            Message::Declined(Declined { attempt, reason, load: None })
        }),
        (attempt(), 0..PEERS).prop_map(|(attempt, to)| Message::Forwarded(Forwarded {
            attempt,
            to: id(to),
            load: load(3, 0)
        })),
        (attempt(), any::<bool>()).prop_map(|(attempt, over)| {
            let state = if over { TaskState::Done } else { TaskState::Running };
            Message::Progress(Progress { attempt, state })
        }),
        attempt().prop_map(Message::Query),
        (attempt(), any::<bool>()).prop_map(|(attempt, well)| {
            let ending = if well { Ending::Exited(0) } else { Ending::HostFailed("smoke".into()) };
            let (prepare, queued) = (Duration::MAX, Duration::MAX);
            Message::Outcome(Box::new(Outcome {
                attempt,
                variant: 0,
                report: report(ending),
                speed: 1.0,
                prepare,
                queued,
                load: load(4, 0),
                receipt: None,
            }))
        }),
        attempt().prop_map(|attempt| Message::OutcomesReceived(vec![attempt; 2])),
        attempt().prop_map(Message::Cancel),
        Just(Message::Leaving),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => Just(Deed::Fact(Input::TimerFired)),
        2 => (0..PEERS).prop_map(|n| Deed::Fact(Input::Connected { member: member(n), address: None })),
        1 => (0..PEERS).prop_map(|n| Deed::Fact(Input::Disconnected { peer: id(n) })),
        4 => (0..4u8).prop_map(|n| {
            let spec = TaskSpec::of_module(MODULE, 1_000);
            Deed::Fact(Input::Submitted { task: TaskId([n; 16]), name: String::new(), spec: Box::new(spec), keeping: Keeping::default() })
        }),
        1 => (0..4u8).prop_map(|n| Deed::Fact(Input::Cancelled(TaskId([n; 16])))),
        1 => (0..PEERS, any::<u64>()).prop_map(|(n, ticket)| Deed::Fact(Input::PingRequested { peer: id(n), ticket })),
        1 => (any::<u8>(), 0.0..9.0f64, any::<u64>()).prop_map(|(cpu_percent, foreign_cores, memory_free_bytes)| {
            Deed::Fact(Input::LoadSampled(HostLoad { cpu_percent, foreign_cores, memory_free_bytes }))
        }),
        1 => (0..PEERS, any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(n, us, sent_packets, lost_packets)| {
            let rtt = Duration::from_micros(u64::from(us));
            Deed::Fact(Input::PathMeasured { peer: id(n), sample: PathSample { rtt, sent_packets, lost_packets } })
        }),
        1 => (attempt(), any::<bool>()).prop_map(|(attempt, well)| {
            let result = if well { Ok(()) } else { Err("gone".into()) };
            Deed::Fact(Input::Fetched { attempt, result })
        }),
        1 => attempt().prop_map(|attempt| Deed::Fact(Input::Finished { attempt, report: report(Ending::Exited(1)) })),
        20 => (0..PEERS, message()).prop_map(|(from, message)| Deed::Said(from, message)),
        8 => (any::<u8>(), any::<bool>()).prop_map(|(which, well)| Deed::Answered(which, well)),
    ]
}

/// The peer under test and what it has ordered so far.
struct Watched {
    peer: Peer,
    now: Time,
    running: BTreeSet<TaskRef>,
    preparing: Vec<BlobId>,
    fetching: Vec<TaskRef>,
    finished: BTreeMap<TaskId, usize>,
    submitted: BTreeMap<TaskId, usize>,
}

impl Watched {
    fn new() -> Self {
        let config = PeerConfig { cores: CORES, host_cores: 2.0, queue_max: 3, ..PeerConfig::default() };
        Self {
            peer: Peer::new(member(1), config, 7, Time::ZERO),
            now: Time::ZERO,
            running: BTreeSet::new(),
            preparing: Vec::new(),
            fetching: Vec::new(),
            finished: BTreeMap::new(),
            submitted: BTreeMap::new(),
        }
    }

    fn tell(&mut self, input: Input) {
        match &input {
            Input::Submitted { task, .. } => *self.submitted.entry(*task).or_default() += 1,
            Input::Finished { attempt, .. } => drop(self.running.remove(attempt)),
            _ => {}
        }
        self.peer.handle(self.now, input);
        while let Some(output) = self.peer.poll_output() {
            match output {
                Output::Send { to, .. } => assert_ne!(to, id(1), "it speaks to itself over the network"),
                Output::Execute(execution) => assert!(self.running.insert(execution.attempt), "run twice at once"),
                Output::Abort(attempt) => drop(self.running.remove(&attempt)),
                Output::Prepare { module } => self.preparing.push(module),
                Output::Fetch { attempt, .. } => self.fetching.push(attempt),
                Output::Finish { task, .. } => *self.finished.entry(task).or_default() += 1,
                _ => {}
            }
        }
        assert!(self.running.len() <= usize::from(CORES), "more runs than cores: {:?}", self.running);
        for (task, times) in &self.finished {
            assert!(
                self.submitted.get(task).is_some_and(|asked| times <= asked),
                "{task} answered without being asked"
            );
        }
        if let Some((at, why)) = self.peer.poll_timeout() {
            assert!(at.as_micros() < u64::MAX / 2, "{why:?} never comes");
        }
        assert!(self.peer.requester.book.open_count() <= HOME_TASKS_MAX);
        let load = self.peer.executing.load(self.now);
        assert!(load.is_sane() && load.running <= CORES && load.queued <= 3 + CORES, "{load:?}");
    }

    fn do_deed(&mut self, deed: Deed) {
        match deed {
            Deed::Fact(input) => self.tell(input),
            Deed::Said(from, message) => {
                // As it would come from the wire, which is where hostile values are bounded.
                let message = Message::decode(&message.encode()).expect("what was encoded can be read");
                self.tell(Input::Received { from: id(from), message });
            }
            Deed::Answered(which, well) => self.answer(which, well),
        }
    }

    fn answer(&mut self, which: u8, well: bool) {
        if let Some(module) = self.preparing.pop() {
            let result = if well { Ok(Duration::ZERO) } else { Err(PrepareError::Invalid("not wasm".into())) };
            return self.tell(Input::Prepared { module, result });
        }
        if let Some(attempt) = self.fetching.pop() {
            let result = if well { Ok(()) } else { Err("no holder".into()) };
            return self.tell(Input::Fetched { attempt, result });
        }
        let running: Vec<_> = self.running.iter().copied().collect();
        if let Some(attempt) = running.get(usize::from(which) % running.len().max(1)).copied() {
            let ending = if well { Ending::Exited(0) } else { Ending::HostFailed("smoke".into()) };
            let output = Payload::inline(vec![1]);
            self.tell(Input::Finished { attempt, report: RunReport { output, ..report(ending) } });
        }
    }
}

/// A task is passed on to a peer that its home already knows to be gone: home places it anew at once.
#[test]
fn a_task_passed_on_to_a_peer_that_is_gone_is_placed_anew() {
    let mut peer = Peer::new(member(1), PeerConfig::default(), 1, Time::ZERO);
    let mut tell = |input| {
        peer.handle(Time::from_millis(10), input);
        core::iter::from_fn(|| peer.poll_output()).collect::<Vec<_>>()
    };
    for n in [2, 4] {
        tell(Input::Connected { member: member(n), address: None });
        tell(Input::Received { from: id(n), message: Message::Load(load(1, 0)) });
    }
    let awarded = |outputs: &[Output]| {
        outputs.iter().find_map(|output| match output {
            Output::Send { to, message: Message::Award(award) } => Some((*to, award.attempt)),
            _ => None,
        })
    };
    let mut spec = TaskSpec::of_module(MODULE, 1_000);
    spec.policy.role = Some(Role::Edge);
    let (first, attempt) = awarded(&tell(Input::Submitted {
        task: TaskId([1; 16]),
        name: String::new(),
        spec: Box::new(spec),
        keeping: Keeping::default(),
    }))
    .expect("one of two takes it");
    let other = if first == id(2) { id(4) } else { id(2) };

    tell(Input::Received { from: other, message: Message::Leaving });
    let forwarded = Forwarded { attempt, to: other, load: load(2, 0) };
    let outputs = tell(Input::Received { from: first, message: Message::Forwarded(forwarded) });

    assert_eq!(awarded(&outputs), Some((first, TaskRef { epoch: attempt.epoch + 1, ..attempt })));
}

/// An alternative of an attempt tells its end before it is known to have it: that counts once it is known, and not before.
#[test]
fn a_result_counts_only_of_who_is_known_to_have_the_task() {
    let mut peer = Peer::new(member(1), PeerConfig::default(), 1, Time::ZERO);
    let mut tell = |input| {
        peer.handle(Time::from_millis(10), input);
        core::iter::from_fn(|| peer.poll_output()).collect::<Vec<_>>()
    };
    for n in [2, 4] {
        tell(Input::Connected { member: member(n), address: None });
        tell(Input::Received { from: id(n), message: Message::Load(load(1, 0)) });
    }
    let mut spec = TaskSpec::of_module(MODULE, 1_000);
    spec.policy.role = Some(Role::Edge);
    let task = TaskId([1; 16]);
    let orders =
        tell(Input::Submitted { task, name: String::new(), spec: Box::new(spec), keeping: Keeping::default() });
    let award = orders.iter().find_map(|output| match output {
        Output::Send { to, message: Message::Award(award) } => Some((*to, award.attempt)),
        _ => None,
    });
    let (first, attempt) = award.expect("one of two takes it");
    let other = if first == id(2) { id(4) } else { id(2) };
    let outcome = || {
        let report = RunReport { output: Payload::inline(b"out".to_vec()), ..report(Ending::Exited(0)) };
        let (prepare, queued) = (Duration::ZERO, Duration::ZERO);
        let load = load(3, 0);
        Message::Outcome(Box::new(Outcome {
            attempt,
            variant: 0,
            report,
            speed: 1.0,
            prepare,
            queued,
            load,
            receipt: None,
        }))
    };
    let ends = |orders: &[Output]| orders.iter().any(|order| matches!(order, Output::Finish { .. }));

    let early = tell(Input::Received { from: other, message: outcome() });
    let forwarded = Forwarded { attempt, to: other, load: load(2, 0) };
    let asked = tell(Input::Received { from: first, message: Message::Forwarded(forwarded) });
    let again = tell(Input::Received { from: other, message: outcome() });

    assert!(!ends(&early) && !ends(&asked));
    let query = |order: &Output| matches!(order, Output::Send { to, message: Message::Query(of) } if *to == other && *of == attempt);
    assert!(asked.iter().any(query));
    assert!(ends(&again));
}

#[test]
fn who_asks_for_the_load_hears_it_though_it_was_told() {
    let mut peer = Peer::new(member(1), PeerConfig::default(), 1, Time::ZERO);
    let mut tell = |ms, input| {
        peer.handle(Time::from_millis(ms), input);
        core::iter::from_fn(|| peer.poll_output()).collect::<Vec<_>>()
    };
    tell(10, Input::Connected { member: member(2), address: None });
    let mut is_told = |ms, wants_load| {
        let (sequence, load) = (1, Some(load(1, 0)));
        let ping = Ping {
            sequence,
            incarnation: 0,
            coordinate: None,
            load,
            revocations: 0,
            rules: 0,
            services: 0,
            wants_load,
        };
        let outputs = tell(ms, Input::Received { from: id(2), message: Message::Ping(ping) });
        outputs
            .iter()
            .any(|output| matches!(output, Output::Send { message: Message::Pong(pong), .. } if pong.load.is_some()))
    };

    assert!(!is_told(2_000, false), "it heard it when it was connected");
    assert!(is_told(2_100, true));
    assert!(!is_told(2_200, true), "it is on its way");
}

/// A busy peer knows of a better place for a task: it sends it there only while it is connected to that place.
#[test]
fn a_task_is_passed_on_only_to_who_is_connected() {
    let passed_on = |is_connected: bool| {
        let config = PeerConfig { cores: 1, ..PeerConfig::default() };
        let mut peer = Peer::new(member(1), config, 1, Time::ZERO);
        let mut tell = |input| {
            peer.handle(Time::from_millis(10), input);
            core::iter::from_fn(|| peer.poll_output()).collect::<Vec<_>>()
        };
        tell(Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) });
        for n in [2, 4] {
            tell(Input::Connected { member: member(n), address: None });
            let ping = Ping {
                sequence: 1,
                incarnation: 0,
                coordinate: None,
                load: Some(load(1, 0)),
                revocations: 0,
                rules: 0,
                services: 0,
                wants_load: false,
            };
            tell(Input::Received { from: id(n), message: Message::Ping(ping) });
        }
        let pings = tell(Input::PingRequested { peer: id(4), ticket: 1 });
        let sequence = pings.iter().find_map(|output| match output {
            Output::Send { message: Message::Ping(ping), .. } => Some(ping.sequence),
            _ => None,
        });
        let pong = Pong {
            sequence: sequence.expect("a ping"),
            incarnation: 0,
            coordinate: None,
            load: Some(load(2, 0)),
            revocations: 0,
            rules: 0,
            services: 0,
        };
        tell(Input::Received { from: id(4), message: Message::Pong(pong) });
        if !is_connected {
            tell(Input::Received { from: id(4), message: Message::Parting(crate::message::Parting::NoRoom) });
            tell(Input::Disconnected { peer: id(4) });
        }
        let mut award = |n| {
            let award = Award {
                attempt: TaskRef { task: TaskId([n; 16]), epoch: 1 },
                home: id(2),
                variant: 0,
                spec: TaskSpec::of_module(MODULE, 1_000),
                work: Duration::from_millis(500),
                works_us: Vec::new(),
                expected_start: Duration::ZERO,
                firm: false,
                hops: 0,
                alternatives: vec![id(4)],
                near: Marks::default(),
                kept: false,
                received: Vec::new(),
                safe: Marks::default(),
            };
            tell(Input::Received { from: id(2), message: Message::Award(Box::new(award)) })
        };
        award(1);
        let orders = award(2);
        orders.iter().any(|order| matches!(order, Output::Send { to, message: Message::Award(_) } if *to == id(4)))
    };

    assert!(passed_on(true));
    assert!(!passed_on(false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_of_events_keeps_the_promises(deeds in proptest::collection::vec((deed(), 0..300u64), 1..200)) {
        let mut watched = Watched::new();
        for (deed, ms) in deeds {
            watched.now += Duration::from_millis(ms);
            watched.do_deed(deed);
        }
        // However it got here: once it is told to stop, it stops, and every user has an answer.
        watched.tell(Input::ShutdownRequested);
        for _ in 0..20 {
            watched.now += Duration::from_millis(500);
            watched.tell(Input::TimerFired);
        }
        for (task, _) in watched.submitted.clone() {
            prop_assert!(watched.finished.get(&task).is_some_and(|times| *times >= 1), "{task} was never answered");
        }
        prop_assert!(watched.peer.executing.is_idle());
        prop_assert!(watched.peer.left);
    }
}

/// The second request came when the peer had left: from then on it wanted to be woken at once, for ever.
#[test]
fn a_peer_that_is_told_to_stop_twice_stops_once_and_rests() {
    let mut peer = Peer::new(member(0), PeerConfig::default(), 7, Time::ZERO);
    let mut ready = 0;
    for ms in [0, 1, 2_500, 5_000] {
        let input = if ms < 2 { Input::ShutdownRequested } else { Input::TimerFired };
        peer.handle(Time::from_millis(ms), input);
        ready += core::iter::from_fn(|| peer.poll_output()).filter(|out| *out == Output::ShutdownReady).count();
    }

    let next = peer.poll_timeout();
    assert_eq!(ready, 1);
    assert!(next.is_none_or(|(at, _)| at > Time::from_millis(5_000)), "{next:?}");
}
