//! One small case: a few unequal machines, and one task of each of a few users.
//!
//! Everything is drawn from wide ranges and from nothing else: no instance is left out, and none is made easier.
//!
//! | what | drawn |
//! |---|---|
//! | edge machine | 1–4 cores of speed 0.25–1, uplink 10–200 Mbit/s, no price |
//! | cloud machine | 1–8 cores of speed 1–4, uplink 100–1,000 Mbit/s, price 0–0.5 a second of a core |
//! | weights α, β, δ of each machine | 0.75–6, 0.5–4, 0.5–4 |
//! | place | edge machines within 10 ms of each other, clouds up to 60 ms away: a point in the plane, and 0.2–5 ms of last mile |
//! | λ | 0.3–3 |
//! | where a user is | at any edge machine |
//! | when its task arises | half of the time together with the task before it, else within half a second of the first |
//! | work of the full build | lognormal, median 120 ms on a reference core, σ 1, 5 ms–3 s |
//! | input, output | lognormal, median 20 kB and 2 kB, σ 1, up to what rides in an award |
//! | deadline | every other task: 50 ms–2 s |
//! | builds | one to three: the full one of loss 0–0.02, an int8 one (25–60 % of the work, 0.002–0.05 more loss), a pruned one (8–30 % of the work, 0.01–0.2 more) |
//!
//! Where a range is given alone, small and large values are as likely (uniform in the logarithm), counts are uniform.

use core::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use shoal_protocol::Role;
use shoal_protocol::config::{INLINE_BYTES_MAX, Weights};
use shoal_protocol::placement::cost::{self, Job, Terms};
use shoal_protocol::placement::explain::Cost;

use super::super::network::{on_the_wire, run_time};
use super::super::place::generate::draw::Lognormal;

/// How many there are of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub users: usize,
    pub clouds: usize,
    pub edges: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { users: 5, clouds: 3, edges: 2 }
    }
}

/// One machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub role: Role,
    pub cores: u16,
    /// Against a reference core.
    pub speed: f64,
    pub uplink_bits_per_s: u64,
    pub weights: Weights,
    /// Of a second of one core.
    pub price: f64,
}

/// One build of a user's model.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    pub name: &'static str,
    /// On a reference core.
    pub work: Duration,
    pub loss: f64,
}

/// One user, and the one task it has.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Index of the machine it sits at.
    pub home: usize,
    /// When the task arises, from the beginning of the instance.
    pub at: Duration,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub deadline: Option<Duration>,
    pub builds: Vec<Build>,
}

/// A whole case; clouds come first, users in the order in which their tasks arise.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub seed: u64,
    pub machines: Vec<Machine>,
    /// One way from each machine to each other, row by row.
    ways: Vec<Duration>,
    pub lambda: f64,
    pub users: Vec<User>,
}

/// What became of a task: where it ran, what of it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// Index of the machine.
    pub machine: usize,
    /// Index of the build.
    pub build: usize,
    /// How long its input waited for its home's uplink.
    pub uplink_wait: Duration,
    /// From its submission to the start of its run.
    pub start_in: Duration,
}

impl Instance {
    /// The instance of a seed.
    pub fn draw(shape: Shape, seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let machines: Vec<Machine> = (0..shape.clouds + shape.edges)
            .map(|index| Machine::draw(if index < shape.clouds { Role::Cloud } else { Role::Edge }, &mut rng))
            .collect();
        let ways = draw_ways(&machines, &mut rng);
        let lambda = log_uniform(0.3, 3.0, &mut rng);
        let mut at = Duration::ZERO;
        let mut users: Vec<User> = (0..shape.users)
            .map(|index| {
                if index > 0 && rng.random_bool(0.5) {
                    at = micros(rng.random_range(0.0..500_000.0));
                }
                User::draw(shape.clouds + rng.random_range(0..shape.edges), at, &mut rng)
            })
            .collect();
        users.sort_by_key(|user| user.at);
        Self { seed, machines, ways, lambda, users }
    }

    /// From one machine to another.
    pub fn way(&self, from: usize, to: usize) -> Duration {
        self.ways.get(from * self.machines.len() + to).copied().unwrap_or_default()
    }

    /// The way turns out to be another, there and back.
    pub fn set_way(&mut self, from: usize, to: usize, way: Duration) {
        let count = self.machines.len();
        for cell in [from * count + to, to * count + from] {
            if let Some(known) = self.ways.get_mut(cell) {
                *known = way;
            }
        }
    }

    /// What a user's input takes on its home's uplink; nothing where it stays.
    pub fn crossing(&self, user: &User, machine: usize) -> Duration {
        match self.machines.get(user.home).filter(|_| machine != user.home) {
            Some(home) => on_the_wire(user.input_bytes, home.uplink_bits_per_s),
            None => Duration::ZERO,
        }
    }

    /// What a build of a user's takes on a core there.
    pub fn run(&self, user: &User, machine: usize, build: usize) -> Duration {
        let (machine, build) = (self.machines.get(machine), user.builds.get(build));
        machine.zip(build).map_or(Duration::ZERO, |(machine, build)| run_time(build.work, machine.speed))
    }

    /// What a task would have met if it were alone.
    pub fn alone(&self, user: &User, machine: usize, build: usize) -> Met {
        let start_in = self.crossing(user, machine) + self.way(user.home, machine);
        Met { machine, build, uplink_wait: Duration::ZERO, start_in }
    }

    /// The objective's value for a task, from what it met.
    pub fn cost(&self, user: &User, met: &Met) -> Cost {
        let (Some(there), Some(build), Some(home)) =
            (self.machines.get(met.machine), user.builds.get(met.build), self.machines.get(user.home))
        else {
            return Cost { loss: f64::INFINITY, ..Cost::default() };
        };
        let moves = met.machine != user.home;
        let job = Job {
            input_bytes: user.input_bytes,
            output_bytes: user.output_bytes,
            work: build.work,
            loss: build.loss,
            deadline_in: user.deadline,
            lambda: self.lambda,
        };
        let terms = Terms {
            start_in: met.start_in,
            prepare: Duration::ZERO,
            rtt: self.way(user.home, met.machine) + self.way(met.machine, user.home),
            uplink_wait: met.uplink_wait,
            uplink_bits_per_s: moves.then_some(home.uplink_bits_per_s),
            downlink_bits_per_s: moves.then_some(there.uplink_bits_per_s),
            speed: there.speed,
            quote_error: 1.0,
            weights: there.weights,
            price: there.price,
        };
        cost::cost(&job, &terms)
    }

    /// The objective's value for all tasks.
    pub fn total(&self, met: &[Met]) -> f64 {
        self.users.iter().zip(met).map(|(user, met)| self.cost(user, met).total()).sum()
    }
}

impl Machine {
    fn draw(role: Role, rng: &mut impl Rng) -> Self {
        let (cores, speed, mbps, price) = match role {
            Role::Edge => (rng.random_range(1..=4), log_uniform(0.25, 1.0, rng), log_uniform(10.0, 200.0, rng), 0.0),
            Role::Cloud => (
                rng.random_range(1..=8),
                log_uniform(1.0, 4.0, rng),
                log_uniform(100.0, 1_000.0, rng),
                rng.random_range(0.0..0.5),
            ),
        };
        let weights = Weights {
            delay: log_uniform(0.75, 6.0, rng),
            transfer: log_uniform(0.5, 4.0, rng),
            compute: log_uniform(0.5, 4.0, rng),
        };
        Self { role, cores, speed, uplink_bits_per_s: (mbps * 1e6) as u64, weights, price }
    }
}

impl User {
    fn draw(home: usize, at: Duration, rng: &mut impl Rng) -> Self {
        let full = Lognormal::with_median(120_000.0, 1.0).draw(rng).clamp(5_000.0, 3_000_000.0);
        let mut bytes = |median: f64| Lognormal::with_median(median, 1.0).draw(rng).min(INLINE_BYTES_MAX as f64) as u64;
        let (input_bytes, output_bytes) = (bytes(20_000.0), bytes(2_000.0));
        let deadline = rng.random_bool(0.5).then(|| micros(log_uniform(50_000.0, 2_000_000.0, rng)));
        let least = rng.random_range(0.0..0.02);
        let mut builds = vec![Build { name: "full", work: micros(full), loss: least }];
        if rng.random_bool(2.0 / 3.0) {
            let work = micros(full * rng.random_range(0.25..0.6));
            builds.push(Build { name: "int8", work, loss: least + log_uniform(0.002, 0.05, rng) });
        }
        if rng.random_bool(0.5) {
            let work = micros(full * rng.random_range(0.08..0.3));
            builds.push(Build { name: "pruned", work, loss: least + log_uniform(0.01, 0.2, rng) });
        }
        Self { home, at, input_bytes, output_bytes, deadline, builds }
    }
}

/// Of every pair, by where the two stand in the plane and how far each is from its first router.
fn draw_ways(machines: &[Machine], rng: &mut impl Rng) -> Vec<Duration> {
    let places: Vec<(f64, f64, f64)> = machines
        .iter()
        .map(|machine| {
            let reach_ms = match machine.role {
                Role::Edge => 3.0,
                Role::Cloud => 20.0,
            };
            let mut along = || rng.random_range(-reach_ms..reach_ms);
            let (x, y) = (along(), along());
            (x, y, log_uniform(0.2, 5.0, rng) / 2.0)
        })
        .collect();
    let way = |(x, y, last): &(f64, f64, f64), (u, v, other): &(f64, f64, f64)| {
        micros(((x - u).hypot(y - v) + (last + other) / 2.0) * 1_000.0)
    };
    let mut ways = Vec::with_capacity(places.len() * places.len());
    for (from, place) in places.iter().enumerate() {
        for (to, other) in places.iter().enumerate() {
            ways.push(if from == to { Duration::ZERO } else { way(place, other) });
        }
    }
    ways
}

/// From `least` to `most`, each order of magnitude as likely.
fn log_uniform(least: f64, most: f64, rng: &mut impl Rng) -> f64 {
    rng.random_range(least.ln()..most.ln()).exp()
}

/// Machines reckon in whole microseconds.
fn micros(us: f64) -> Duration {
    Duration::from_micros(us.round() as u64)
}
