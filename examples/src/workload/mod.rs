//! The work of five users: two homes, a voice, a city and a factory, as tasks with times of arrival.
//!
//! Each user walks through real data of its own and asks a module about it, again and again.
//!
//! **Invariant:** the same [`Plan`] gives the same items, in the same order.
//! **Not here:** who runs a task. Whoever does, [`WorkItem::expected`] tells the right answer.

mod data;

use crate::modules;

/// One module that can answer an item, and what its answer is worth less than the best one's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    pub module: &'static str,
    /// The share of answers it gets wrong beyond those the best variant gets wrong, as measured by the training program.
    pub loss: f64,
}

/// One task of one user.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkItem {
    pub user: &'static str,
    /// What is asked, in a user's words.
    pub kind: &'static str,
    /// Position in the user's own stream, from 0.
    pub number: u32,
    /// When it is submitted, after the start.
    pub arrival_ms: u64,
    /// The module preferred for it: the first of `variants`.
    pub module: &'static str,
    pub variants: &'static [Variant],
    pub args: Vec<String>,
    pub input: Vec<u8>,
    /// What this item is about, for a person: a day, a spoken digit, an interval.
    pub about: String,
}

impl WorkItem {
    /// The answer that `module` must give, computed here and now.
    pub fn expected(&self, module: &str) -> Result<Vec<u8>, String> {
        let run = modules::native(module).ok_or_else(|| format!("there is no module `{module}`"))?;
        run(&self.args, &self.input)
    }
}

/// How much work, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Decides arrival times and which recording comes next, and nothing else.
    pub seed: u64,
    /// Items arrive from 0 until this time.
    pub length_ms: u64,
    /// Arrivals relative to the usual rate: 200 brings about twice the items.
    pub rate_percent: u32,
    /// The work in each item relative to the usual passes: 50 does about half.
    pub work_percent: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self { seed: 1, length_ms: 30_000, rate_percent: 100, work_percent: 100 }
    }
}

/// What sets one user apart from the others.
struct User {
    name: &'static str,
    kind: &'static str,
    variants: &'static [Variant],
    /// Mean time between two items at the usual rate.
    every_ms: u64,
    arrivals: Arrivals,
    /// Repetitions of the computation that make an item cost about as much as `README.md` says.
    passes: u64,
    /// The input of the item with this number, and what it is about.
    input: fn(u64, &mut Random) -> (Vec<u8>, String),
}

#[derive(Clone, Copy)]
enum Arrivals {
    /// A sensor's clock, with jitter of a tenth.
    Regular,
    /// A person: short and long silences.
    Irregular,
}

const USERS: [User; 5] = [
    User {
        name: "home-a",
        kind: "occupancy of a room",
        variants: &[Variant { module: "occupancy", loss: 0.0 }],
        every_ms: 1000,
        arrivals: Arrivals::Regular,
        passes: 900,
        input: |number, _| rows(data::HOME_A, 24 * 60 * number as usize / 8, 180),
    },
    User {
        name: "home-b",
        kind: "occupancy of a room",
        variants: &[Variant { module: "occupancy", loss: 0.0 }],
        every_ms: 1000,
        arrivals: Arrivals::Regular,
        passes: 900,
        input: |number, _| rows(data::HOME_B, 60 * number as usize, 180),
    },
    User {
        name: "voice",
        kind: "spoken digit",
        variants: &[Variant { module: "digit", loss: 0.0 }, Variant { module: "digit_small", loss: 0.0125 }],
        every_ms: 700,
        arrivals: Arrivals::Irregular,
        passes: 200,
        input: |_, random| {
            let (digit, speaker, wav) = data::VOICE[random.below(data::VOICE.len() as u64) as usize];
            (wav.to_vec(), format!("{digit} spoken by {speaker}"))
        },
    },
    User {
        name: "city",
        kind: "congestion map",
        variants: &[Variant { module: "congestion", loss: 0.0 }],
        every_ms: 1500,
        arrivals: Arrivals::Regular,
        passes: 60,
        // From 06:00 on, the newest four hours every five minutes.
        input: |number, _| rows(data::CITY, 24 + number as usize, 48),
    },
    User {
        name: "factory",
        kind: "anomaly score of a machine",
        variants: &[Variant { module: "anomaly", loss: 0.0 }],
        every_ms: 1000,
        arrivals: Arrivals::Regular,
        passes: 500,
        // From the day before the last labelled failure on, the last day every six hours.
        input: |number, _| rows(data::FACTORY, 18_930 + 72 * number as usize, 288),
    },
];

/// The items of all five users, earliest first.
pub fn five_users(plan: &Plan) -> Vec<WorkItem> {
    let mut items = Vec::new();
    for (index, user) in (0u64..).zip(&USERS) {
        let mut random = Random(plan.seed ^ (index << 56));
        let every_ms = (user.every_ms * 100 / u64::from(plan.rate_percent.max(1))).max(1);
        let passes = (user.passes * u64::from(plan.work_percent) / 100).max(1);
        // Users do not start in step.
        let mut arrival_ms = random.below(every_ms);
        let mut number = 0;
        while arrival_ms < plan.length_ms {
            let (input, about) = (user.input)(u64::from(number), &mut random);
            items.push(WorkItem {
                user: user.name,
                kind: user.kind,
                number,
                arrival_ms,
                module: user.variants[0].module,
                variants: user.variants,
                args: vec!["--passes".to_owned(), passes.to_string()],
                input,
                about,
            });
            number += 1;
            arrival_ms += match user.arrivals {
                Arrivals::Regular => every_ms * 9 / 10 + random.below(every_ms / 5 + 1),
                Arrivals::Irregular => random.silence(every_ms),
            };
        }
    }
    items.sort_by_key(|item| item.arrival_ms);
    items
}

/// Recordings of spoken digits that the models under `--held-back` have not heard: digit, speaker, WAV file.
pub fn held_back_digits() -> &'static [(u8, &'static str, &'static [u8])] {
    &data::VOICE
}

/// `count` rows of a table from row `first` on, under its heading, and the time of the last one.
fn rows(table: &str, first: usize, count: usize) -> (Vec<u8>, String) {
    let mut lines = table.lines();
    let heading = lines.next().unwrap_or_default();
    let rows: Vec<&str> = lines.collect();
    // Past the last full window the walk begins again, so that time never jumps inside one.
    let first = first % (rows.len() - count + 1);
    let window = &rows[first..first + count];
    let last = window[count - 1].split(',').next().unwrap_or_default();
    (format!("{heading}\n{}\n", window.join("\n")).into_bytes(), format!("until {last}"))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Exponentially distributed: many short waits, few long ones; never more than five means.
    fn silence(&mut self, mean_ms: u64) -> u64 {
        let uniform = ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        ((-crate::math::ln(uniform) * mean_ms as f64) as u64).clamp(1, 5 * mean_ms)
    }
}

#[cfg(test)]
mod tests;
