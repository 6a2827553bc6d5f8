//! A whole peer, with neighbours that say anything at any time, a disk that may fail, and runs that end as they like.
//!
//! After each fact: its orders have an end, it speaks to nobody but others, runs no more than it has cores for, answers
//! nobody who did not ask, and holds no more than it may.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shoal_protocol::blobs::BLOBS_PER_MESSAGE_MAX;
use shoal_protocol::config::{PeerConfig, RETENTION_MAX};
use shoal_protocol::id::{BlobId, PeerId, TaskId};
use shoal_protocol::input::{HostLoad, PrepareError};
use shoal_protocol::latency::PathSample;
use shoal_protocol::message::{Held, TaskRef};
use shoal_protocol::output::Output;
use shoal_protocol::store::{Change, Ticket};
use shoal_protocol::task::durable::{Durability, Keeping};
use shoal_protocol::task::spec::{BlobRef, OutputUse, Payload, TaskSpec};
use shoal_protocol::{Input, Member, Message, Peer, Role, Time};

use super::words;
use crate::source::Source;

const CORES: u16 = 2;
/// Facts of one story.
const FACTS_MAX: usize = 400;
/// Orders that one fact can bring about.
const ORDERS_MAX: usize = 5_000;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    // Any bytes are a story; these have a little of everything.
    (0..4u32).map(|n| (0..200u32).map(|i| (i * 37 + n * 91 + i * i % 53) as u8).collect()).collect()
}

/// Neighbours that speak of tasks and of themselves.
pub(super) fn tasks(bytes: &[u8]) {
    story(bytes, |source| match source.below(8) {
        0 => Message::Council(Box::new(words::counsel(source))),
        _ => words::message(source),
    });
}

/// Members of councils, mostly.
pub(super) fn councils(bytes: &[u8]) {
    story(bytes, |source| match source.below(8) {
        0 => words::message(source),
        _ => Message::Council(Box::new(words::counsel(source))),
    });
}

fn story(bytes: &[u8], word: impl Fn(&mut Source<'_>) -> Message) {
    let mut source = Source::new(bytes);
    let mut stage = Stage::new(&mut source);
    for _ in 0..FACTS_MAX {
        if source.is_over() {
            break;
        }
        if let Some(input) = stage.next(&mut source, &word) {
            stage.tell(input);
        }
    }
}

fn member(n: u8) -> Member {
    let role = if n.is_multiple_of(2) { Role::Edge } else { Role::Cloud };
    Member { peer: PeerId([n; 32]), name: format!("peer-{n}"), role, labels: BTreeMap::new() }
}

/// The peer, and what it has ordered so far.
struct Stage {
    peer: Peer,
    now: Time,
    boot: u32,
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    writing: VecDeque<(Ticket, Vec<Change>)>,
    running: BTreeSet<TaskRef>,
    preparing: VecDeque<BlobId>,
    fetching: VecDeque<TaskRef>,
    /// Blobs that others look for here, as if all were here.
    looking: VecDeque<(PeerId, Vec<Held>)>,
    asked: BTreeSet<TaskId>,
}

impl Stage {
    fn new(source: &mut Source<'_>) -> Self {
        let mut stage = Self {
            peer: Self::born(),
            now: Time::ZERO,
            boot: 0,
            disk: BTreeMap::new(),
            writing: VecDeque::new(),
            running: BTreeSet::new(),
            preparing: VecDeque::new(),
            fetching: VecDeque::new(),
            looking: VecDeque::new(),
            asked: BTreeSet::new(),
        };
        if source.byte() > 32 {
            stage.restart();
        }
        stage
    }

    fn born() -> Peer {
        let config = PeerConfig { cores: CORES, host_cores: 2.0, queue_max: 3, ..PeerConfig::default() };
        Peer::new(member(1), config, 7, Time::ZERO)
    }

    /// Another process, with what is on the disk.
    fn restart(&mut self) {
        self.peer = Self::born();
        self.now = Time::ZERO;
        self.boot += 1;
        self.writing.clear();
        self.running.clear();
        self.preparing.clear();
        self.fetching.clear();
        self.looking.clear();
        let records = self.disk.clone().into_iter().collect();
        let unix_ms = 1_700_000_000_000 + u64::from(self.boot) * 10_000;
        self.tell(Input::Restored { records, boot: self.boot, unix_ms });
    }

    fn next(&mut self, source: &mut Source<'_>, word: &impl Fn(&mut Source<'_>) -> Message) -> Option<Input> {
        Some(match source.below(31) {
            0 | 1 => {
                self.now += Duration::from_millis(source.number() % 30_000);
                Input::TimerFired
            }
            2 | 3 => Input::Connected { member: member(2 + source.below(words::PEERS - 2)), address: None },
            4 => Input::Disconnected { peer: words::peer(source) },
            5 | 6 => {
                let task = words::task(source);
                self.asked.insert(task);
                let durability =
                    [Durability::Memory, Durability::Disk, Durability::Guarded][usize::from(source.below(3))];
                let keeping = Keeping { durability, retention: words::duration(source) };
                let mut spec = TaskSpec::of_module(words::MODULE, 1_000);
                spec.policy.local_only = source.byte() < 32;
                spec.deadline = source.flag().then(|| words::duration(source));
                if source.flag() {
                    let (id, bytes, holder) = (words::blob(source), source.number() % 1_000_000, words::peer(source));
                    spec.inputs.push(Payload::Blob(BlobRef { id, bytes, holder }));
                }
                if source.flag() {
                    spec.output = OutputUse::Keep(words::duration(source).min(RETENTION_MAX));
                }
                Input::Submitted { task, name: String::new(), spec: Box::new(spec), keeping }
            }
            7 => Input::Cancelled(words::task(source)),
            8 => Input::LoadSampled(HostLoad {
                cpu_percent: source.byte(),
                foreign_cores: f64::from(source.byte()) / 16.0,
                memory_free_bytes: source.number(),
            }),
            30 => Input::PathMeasured {
                peer: words::peer(source),
                sample: PathSample {
                    rtt: words::duration(source),
                    sent_packets: source.number(),
                    lost_packets: source.number(),
                },
            },
            9 => Input::PingRequested { peer: words::peer(source), ticket: source.number() },
            10 => Input::Sought { task: words::task(source), ticket: source.number() },
            11..=13 => {
                let (ticket, changes) = self.writing.pop_front()?;
                if source.byte() < 32 {
                    return Some(Input::PersistFailed { ticket, reason: "full".into() });
                }
                for change in changes {
                    match change {
                        Change::Put { key, bytes } => drop(self.disk.insert(key, bytes)),
                        Change::Delete { key } => drop(self.disk.remove(&key)),
                    }
                }
                Input::Persisted { ticket }
            }
            14 => {
                let (attempt, well) = (self.fetching.pop_front()?, source.byte() > 32);
                Input::Fetched { attempt, result: if well { Ok(()) } else { Err("gone".into()) } }
            }
            15 => {
                let (module, well) = (self.preparing.pop_front()?, source.byte() > 32);
                Input::Prepared {
                    module,
                    result: if well { Ok(Duration::ZERO) } else { Err(PrepareError::Invalid("no wasm".into())) },
                }
            }
            16 => {
                let count = self.running.len().max(1);
                let attempt = self.running.iter().nth(usize::from(source.byte()) % count).copied()?;
                Input::Finished { attempt, report: words::report(source) }
            }
            18 => Input::BlobSought { blob: words::blob(source), ticket: source.number() },
            19 => {
                let (to, here) = self.looking.pop_front()?;
                Input::LookedUp { to, here }
            }
            20 => match source.flag() {
                true => Input::Lied { peer: words::peer(source), blob: words::blob(source) },
                false => Input::HoldWanted { task: words::task(source), lease: words::duration(source) },
            },
            28 => Input::PipelineSubmitted { pipeline: words::task(source), given: Box::new(words::pipeline(source)) },
            29 => Input::PipelineCancelled(words::task(source)),
            17 if source.byte() < 64 => {
                self.restart();
                return None;
            }
            _ => {
                let from = words::peer(source);
                // As it would come from the wire, which is where hostile numbers are bounded.
                let message = Message::decode(&word(source).encode()).ok()?;
                Input::Received { from, message }
            }
        })
    }

    fn tell(&mut self, input: Input) {
        if let Input::Finished { attempt, .. } = &input {
            self.running.remove(attempt);
        }
        self.peer.handle(self.now, input);
        let mut orders = 0;
        while let Some(output) = self.peer.poll_output() {
            orders += 1;
            assert!(orders < ORDERS_MAX, "orders without end");
            self.carry_out(output);
        }
        assert!(self.running.len() <= usize::from(CORES), "more runs than cores");
        for holding in self.peer.holdings() {
            assert!(holding.held <= holding.max, "{holding:?}");
        }
        let next = self.peer.poll_timeout();
        assert!(next.is_none_or(|(at, _)| at.as_micros() < u64::MAX / 2), "{next:?} never comes");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { to, message } => {
                assert_ne!(to, PeerId([1; 32]), "it speaks to itself over the network");
                assert!(!message.encode().is_empty());
            }
            Output::Execute(execution) => assert!(self.running.insert(execution.attempt), "run twice at once"),
            Output::Abort(attempt) => drop(self.running.remove(&attempt)),
            Output::Prepare { module } => self.preparing.push_back(module),
            Output::Fetch { attempt, .. } => self.fetching.push_back(attempt),
            Output::LookUp { from, blobs } => {
                assert!(blobs.len() <= BLOBS_PER_MESSAGE_MAX, "more is looked up than may be asked for");
                let here = blobs.into_iter().map(|blob| Held { blob, bytes: 1, labels: Default::default() }).collect();
                self.looking.push_back((from, here));
            }
            Output::Persist { ticket, changes } => self.writing.push_back((ticket, changes)),
            // Ends of stages are told too, by ids that nobody chose.
            Output::Finish { task, .. } if !words::is_asked_for(task) => {}
            Output::Finish { task, .. } | Output::Acknowledged { task } | Output::NotAcknowledged { task, .. } => {
                assert!(self.asked.contains(&task), "{task} is answered, and nobody asked");
            }
            Output::PipelineAnswered { .. } | Output::PipelineEnded { .. } | Output::Export { .. } => {}
            _ => {}
        }
    }
}
