//! What deciding where a task runs costs, in a view of 64 peers of unequal speed, distance and load.
//!
//! `cargo bench -p shoal-protocol --bench decision`. Criterion knows averages only, so the spread of single decisions is
//! taken here and printed first.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
#![allow(clippy::disallowed_methods)] // a benchmark reads the clock

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::blobs::Holders;
use shoal_protocol::config::{PeerConfig, Weights};
use shoal_protocol::flow::shares::Shares;
use shoal_protocol::message::{Award, LoadDigest, Marks, Message, Outcome, Pong, TaskRef};
use shoal_protocol::placement::estimates::Estimates;
use shoal_protocol::placement::{Circumstances, HomeLink, Site, rank};
use shoal_protocol::rules::{Compiled, InForce, Rule, RuleSet, Then, When};
use shoal_protocol::task::durable::Keeping;
use shoal_protocol::task::report::{Ending, RunReport};
use shoal_protocol::task::spec::{BlobRef, CloudUse, Payload};
use shoal_protocol::{BlobId, Input, Member, MeshId, Output, Peer, PeerId, Role, TaskId, TaskSpec, Time};

/// The home and 63 others.
const VIEW: usize = 64;
const MODULE: BlobId = BlobId([7; 32]);
const MODULE_BYTES: u64 = 80_000;
const INPUT_BYTES: usize = 20_000;
const SINGLE_DECISIONS: usize = 100_000;
/// Tasks that are out at any time.
const OUT: usize = 40;
/// What a run is reported to have taken: less than [`OUT`] steps of a millisecond, or nobody would believe it.
const RUN: Duration = Duration::from_millis(35);
/// Tasks of neighbours that wait here all the time: each look at the own load goes through them.
const QUEUED: usize = 32;

fn member(n: usize, role: Role) -> Member {
    let peer = PeerId(*blake3::hash(&n.to_le_bytes()).as_bytes());
    Member { peer, name: format!("{role}-{n}"), role, labels: BTreeMap::new() }
}

fn digest(sequence: u32, rng: &mut Pcg64Mcg) -> LoadDigest {
    let is_busy = rng.random_bool(0.6);
    let start_ms = if is_busy { rng.random_range(0.0..60.0) } else { 0.0 };
    let cores = rng.random_range(1..=4);
    LoadDigest {
        sequence,
        description: 0,
        start_in: Duration::from_secs_f64(start_ms / 1_000.0),
        usual_start_in: Duration::from_millis(rng.random_range(0..20)),
        turnover: Duration::from_millis(150),
        later_start: [0; 6],
        arrivals_per_ks: 0,
        cores,
        running: if is_busy { cores } else { 0 },
        queued: 0,
        queue_max: 128,
        cpu_percent: 50,
        speed: rng.random_range(0.25..2.0),
        memory_free_bytes: 1 << 30,
        memory_bytes: 1 << 30,
        uplink_bits_per_s: 100_000_000,
        weights: Weights::default(),
        price: 0.0,
        understands_labels: true,
    }
}

fn spec(work_ms: u64) -> TaskSpec {
    let mut spec = TaskSpec::of_module(MODULE, MODULE_BYTES);
    spec.inputs.push(Payload::inline(vec![0; INPUT_BYTES]));
    spec.policy.cloud = CloudUse::Allow;
    spec.expected = Some(Duration::from_millis(work_ms));
    spec
}

/// A peer in the middle of its life, and what the world around it does.
struct World {
    peer: Peer,
    now: Time,
    rng: Pcg64Mcg,
    sequence: u32,
    tasks: u64,
    out: VecDeque<(PeerId, TaskRef)>,
}

impl World {
    fn new() -> Self {
        // A cloud peer: the view of an edge peer is smaller. Its uplink carries the 160 Mbit/s that a thousand inputs a
        // second are: with less, the tasks pile up at home, and every look at that queue is counted as deciding.
        let uplink_bits_per_s = 1_000_000_000;
        let config = PeerConfig { cores: 2, speed: 0.5, uplink_bits_per_s, ..PeerConfig::default() };
        let peer = Peer::new(member(0, Role::Cloud), config, 1, Time::ZERO);
        let rng = Pcg64Mcg::seed_from_u64(1);
        let mut world = Self { peer, now: Time::ZERO, rng, sequence: 0, tasks: 0, out: VecDeque::new() };
        for n in 1..VIEW {
            let role = if n <= 8 { Role::Cloud } else { Role::Edge };
            world.tell(Input::Connected { member: member(n, role), address: None });
        }
        world.tell(Input::Prepared { module: MODULE, result: Ok(Duration::ZERO) });
        for _ in 0..20 {
            world.pass(Duration::from_millis(50));
        }
        (0..QUEUED).for_each(|n| world.queue_for_a_neighbour(n));
        for _ in 0..20 * VIEW {
            world.submit();
            world.catch_up();
        }
        assert_eq!(world.peer.neighbours().count(), VIEW - 1);
        let load = world.peer.me(world.now).load;
        assert!(load.is_some_and(|load| load.queued as usize >= QUEUED / 2), "neighbours' tasks wait here");
        world
    }

    fn tell(&mut self, input: Input) {
        self.peer.handle(self.now, input);
        self.answer();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        while self.peer.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.tell(Input::TimerFired);
        }
    }

    fn queue_for_a_neighbour(&mut self, n: usize) {
        let from = member(1 + n, Role::Edge).peer;
        let work = Duration::from_secs(3_600);
        let award = Award {
            attempt: TaskRef { task: TaskId::derive(from, b"waits"), epoch: 1 },
            home: from,
            variant: 0,
            spec: spec(1),
            work,
            works_us: Vec::new(),
            expected_start: Duration::ZERO,
            firm: true,
            hops: 0,
            alternatives: Vec::new(),
            near: Marks::default(),
            kept: false,
            received: Vec::new(),
            safe: Marks::default(),
        };
        self.peer.handle(self.now, Input::Received { from, message: Message::Award(Box::new(award)) });
        // Never carried out, so that they stay.
        while self.peer.poll_output().is_some() {}
    }

    /// One decision, from the submission to the last order; how long it took.
    fn submit(&mut self) -> Duration {
        self.tasks += 1;
        let task = TaskId::derive(PeerId([0; 32]), &self.tasks.to_le_bytes());
        let spec = spec(self.rng.random_range(20..400));
        let input = Input::Submitted { task, name: String::new(), spec: Box::new(spec), keeping: Keeping::default() };
        let mut orders = Vec::with_capacity(16);
        let began = Instant::now();
        self.peer.handle(self.now, input);
        while let Some(order) = self.peer.poll_output() {
            orders.push(order);
        }
        let took = began.elapsed();
        orders.into_iter().for_each(|order| self.carry_out(order));
        took
    }

    /// Results come in, and neighbours speak of their load.
    fn catch_up(&mut self) {
        while self.out.len() > OUT {
            let Some((from, attempt)) = self.out.pop_front() else { return };
            let report = RunReport { run: RUN, ..RunReport::without_run(Ending::Exited(0)) };
            self.sequence += 1;
            let load = digest(self.sequence, &mut self.rng);
            let zero = Duration::ZERO;
            if from == member(0, Role::Cloud).peer {
                self.tell(Input::Finished { attempt, report });
            } else {
                let outcome = Outcome {
                    attempt,
                    variant: 0,
                    report,
                    speed: 1.0,
                    prepare: zero,
                    queued: zero,
                    load,
                    receipt: None,
                };
                self.tell(Input::Received { from, message: Message::Outcome(Box::new(outcome)) });
            }
        }
        self.sequence += 1;
        let message = Message::Load(digest(self.sequence, &mut self.rng));
        let from = member(self.rng.random_range(1..VIEW), Role::Edge).peer;
        self.tell(Input::Received { from, message });
        self.pass(Duration::from_millis(1));
    }

    fn answer(&mut self) {
        let mut orders = Vec::new();
        while let Some(order) = self.peer.poll_output() {
            orders.push(order);
        }
        orders.into_iter().for_each(|order| self.carry_out(order));
    }

    fn carry_out(&mut self, order: Output) {
        match order {
            Output::Send { to, message: Message::Ping(ping) } => {
                self.sequence += 1;
                let load = Some(digest(self.sequence, &mut self.rng));
                let pong = Pong {
                    sequence: ping.sequence,
                    incarnation: 0,
                    coordinate: None,
                    load,
                    revocations: 0,
                    rules: 0,
                    services: 0,
                };
                self.now += Duration::from_micros(self.rng.random_range(200..2_000));
                self.tell(Input::Received { from: to, message: Message::Pong(pong) });
            }
            Output::Send { to, message: Message::Award(award) } => self.out.push_back((to, award.attempt)),
            Output::Execute(execution) => {
                self.out.push_back((member(0, Role::Cloud).peer, execution.attempt));
            }
            _ => {}
        }
    }
}

fn spread(name: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let rank = |share: f64| took[((took.len() as f64 * share) as usize).min(took.len() - 1)].as_nanos() as f64 / 1e3;
    let (p50, p99, p999) = (rank(0.5), rank(0.99), rank(0.999));
    println!("{name}: p50 {p50:.2} us, p99 {p99:.2} us, p99.9 {p999:.2} us of {} decisions", took.len());
}

fn submit_to_award(criterion: &mut Criterion) {
    let mut world = World::new();
    let single = (0..SINGLE_DECISIONS).map(|_| {
        let took = world.submit();
        world.catch_up();
        took
    });
    spread("submit to award, view of 64", single.collect());
    criterion.bench_function("submit to award, view of 64", |bencher| {
        bencher.iter_custom(|count| {
            let mut sum = Duration::ZERO;
            for _ in 0..count {
                sum += world.submit();
                world.catch_up();
            }
            sum
        });
    });
}

/// Ninety-nine rules of one class each, and one about every task.
fn hundred_rules() -> Compiled {
    let rule = |n: usize| {
        let class = (n < 99).then(|| format!("class {}", n + 1));
        let then = Then { uplink_share: Some(0.5), wan_weight: Some(1.5), ..Then::default() };
        Rule { name: format!("rule {n}"), line: 1, when: When { class, ..When::default() }, then }
    };
    Compiled::new(RuleSet {
        mesh: MeshId([0; 32]),
        version: 1,
        issued_unix_s: 0,
        utc_offset_min: 0,
        wan_share: Some(0.8),
        link_share: None,
        rules: (0..100).map(rule).collect(),
    })
}

fn ranking(criterion: &mut Criterion) {
    let mut rng = Pcg64Mcg::seed_from_u64(2);
    let members: Vec<_> = (0..VIEW).map(|n| member(n, if n <= 8 { Role::Cloud } else { Role::Edge })).collect();
    let loads: Vec<_> = members.iter().map(|_| digest(1, &mut rng)).collect();
    let mut estimates = Estimates::default();
    members.iter().for_each(|member| estimates.holds(member.peer, MODULE));
    let sites: Vec<_> = members
        .iter()
        .zip(&loads)
        .enumerate()
        .map(|(n, (member, load))| Site {
            member,
            is_home: n == 0,
            rtt: Duration::from_millis(n as u64),
            loss: 0.0,
            load: Some(load),
            start_in: load.start_in,
            heard_ago: Duration::ZERO,
        })
        .collect();
    // Two blobs that sixteen peers hold, as the second stage of a pipeline reads them.
    let mut holders = Holders::default();
    let mut over_blobs = spec(100);
    for n in 0..2 {
        let blob = BlobRef { id: BlobId([n; 32]), bytes: 1_000_000, holder: members[usize::from(n)].peer };
        members.iter().skip(1).step_by(4).for_each(|member| holders.note(member.peer, blob.id, blob.bytes));
        over_blobs.inputs.push(Payload::Blob(blob));
    }
    let spec = spec(100);
    let compiled = hundred_rules();
    let in_force = InForce { rules: &compiled, minute: Some(0), home: &members[0] };
    let shares = Shares::default();
    let circumstances = Circumstances {
        estimates: &estimates,
        holders: &holders,
        link: HomeLink { uplink_bits_per_s: 100_000_000, uplink_wait: Duration::ZERO },
        lambda: 1.0,
        deadline_in: None,
        tried: &BTreeMap::new(),
        last_resort: false,
        ahead: &BTreeMap::new(),
        rules: None,
    };
    let mut ruled = spec.clone();
    ruled.about.class = "class 99".into();
    for (spec, rules, what) in [
        (&spec, None, "ranking, choice and record of 64 sites"),
        (&over_blobs, None, "the same for an input of two blobs that sixteen of them hold"),
        (&ruled, Some(in_force), "the same with a hundred rules, of which one or two are about the task"),
    ] {
        let mut decide = || {
            let rules = rules.and_then(|rules| rules.on(Time::ZERO, spec, &shares, 100_000_000));
            let circumstances = Circumstances { rules, ..circumstances };
            let ranking = rank(black_box(spec), black_box(&sites), &circumstances);
            (ranking.choose(&mut rng), ranking.recorded())
        };
        let single = (0..SINGLE_DECISIONS).map(|_| {
            let began = Instant::now();
            black_box(decide());
            began.elapsed()
        });
        spread(what, single.collect());
        criterion.bench_function(what, |bencher| bencher.iter(&mut decide));
    }
}

criterion_group!(benches, submit_to_award, ranking);
criterion_main!(benches);
