//! What people want meanwhile: tasks that are kept, some handed in twice under one key, some withdrawn; and quick answers beside.
//!
//! **Invariant:** drawn from the seed before the run; which answer each must have is known.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, RngExt};
use shoal_examples::modules;
use shoal_protocol::task::durable::{Durability, MEMBERS_MAX};
use shoal_protocol::{PeerId, TaskId};

/// Mean time between two tasks that are kept, and between two that are not.
const SUBMIT_EVERY: Duration = Duration::from_millis(300);
const INVOKE_EVERY: Duration = Duration::from_millis(500);
/// Rounds of `spin`: 5 ms to half a second on a 2 GHz core. Few, since each is computed here as well.
const ROUNDS: [u64; 7] = [1_600_000, 3_400_000, 7_300_000, 15_000_000, 33_000_000, 70_000_000, 150_000_000];

/// Words that are listed with their counts, at most.
const WORDS: usize = 10_000;

/// A module and what it is given.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// Takes time.
    Spin(u64),
    /// Has an answer that no other task has.
    Count(String),
    /// The same, whose answer is too large to be anything but a blob.
    CountMany(String),
}

/// Somebody hands in a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wish {
    pub(super) number: usize,
    /// Since the faults began.
    pub(super) at: Duration,
    pub(super) home: usize,
    pub(super) durability: Durability,
    pub(super) work: Work,
    pub(super) deadline: Option<Duration>,
    /// When it is handed in again under the same key, whatever came of it.
    pub(super) again: Option<Duration>,
    pub(super) cancel: Option<Duration>,
    /// When somebody asks another peer for it.
    pub(super) ask: Vec<(Duration, usize)>,
}

impl Wish {
    pub(super) fn key(&self) -> String {
        format!("wish-{}", self.number)
    }

    pub(super) fn task(&self, user: PeerId) -> TaskId {
        TaskId::derive(user, self.key().as_bytes())
    }
}

/// Whose tasks they are.
pub(super) fn user(seed: u64) -> PeerId {
    PeerId(*blake3::hash(&seed.to_le_bytes()).as_bytes())
}

/// Every wish, in order of time.
pub(super) fn draw(peers: usize, span: Duration, rng: &mut impl Rng) -> Vec<Wish> {
    let mut wishes = Vec::new();
    for (every, is_kept) in [(SUBMIT_EVERY, true), (INVOKE_EVERY, false)] {
        let mut at = Duration::ZERO;
        loop {
            at += every.mul_f64(-(1.0 - rng.random::<f64>()).ln());
            if at >= span {
                break;
            }
            wishes.push(wish(wishes.len(), at, peers, is_kept, rng));
        }
    }
    wishes.sort_by_key(|wish| wish.at);
    wishes
}

fn wish(number: usize, at: Duration, peers: usize, is_kept: bool, rng: &mut impl Rng) -> Wish {
    let durability = match (is_kept, rng.random_bool(0.5)) {
        (false, _) => Durability::Memory,
        (true, false) => Durability::Disk,
        (true, true) => Durability::Guarded,
    };
    let work = match rng.random_range(0..10) {
        0..7 => Work::Spin(ROUNDS[rng.random_range(0..ROUNDS.len())]),
        7 | 8 => Work::Count(format!("{number} {}", "word ".repeat(1 + number % 50))),
        _ => Work::CountMany(many_words(number)),
    };
    let home = rng.random_range(0..peers);
    let mut later = |chance: f64, max_s: f64| {
        rng.random_bool(chance).then(|| at + Duration::from_secs_f64(max_s * rng.random::<f64>()))
    };
    let deadline = later(0.1, 20.0).map(|by| Duration::from_secs(1) + by - at);
    let (again, cancel) = (later(0.25, 15.0), later(0.08, 2.0));
    let ask = [later(0.5, 10.0), later(0.5, 20.0)].into_iter().flatten();
    let ask: Vec<_> = ask.collect();
    let ask = ask.into_iter().map(|at| (at, rng.random_range(0..peers))).collect();
    Wish { number, at, home, durability, work, deadline, again, cancel, ask }
}

/// What is handed in at each of so many peers when nothing is wrong any more, in every way that is promised; a second copy needs
/// a guardian and a witness.
pub(super) fn afterwards(peers: usize, first: usize) -> Vec<Wish> {
    let guarded = (peers >= MEMBERS_MAX).then_some(Durability::Guarded);
    let ways =
        (0..peers).flat_map(|home| [Some(Durability::Disk), guarded].into_iter().flatten().map(move |how| (home, how)));
    let wish = |(number, (home, durability))| Wish {
        number,
        at: Duration::ZERO,
        home,
        durability,
        work: Work::Count(format!("{number} afterwards")),
        deadline: None,
        again: None,
        cancel: None,
        ask: Vec::new(),
    };
    (first..).zip(ways).map(wish).collect()
}

/// Words that all differ: as many as are listed, and as long as fit an input that is sent along. With their counts they do not.
fn many_words(number: usize) -> String {
    (0..WORDS).map(|word| format!("{number:06}w{word:011} ")).collect()
}

impl Work {
    pub(super) fn module(&self) -> &'static str {
        match self {
            Self::Spin(_) => "spin",
            Self::Count(_) | Self::CountMany(_) => "wordcount",
        }
    }

    pub(super) fn args(&self) -> Vec<String> {
        match self {
            Self::Spin(rounds) => vec![rounds.to_string()],
            Self::Count(_) => Vec::new(),
            Self::CountMany(_) => vec!["--top".into(), WORDS.to_string()],
        }
    }

    pub(super) fn input(&self) -> &str {
        match self {
            Self::Spin(_) => "",
            Self::Count(text) | Self::CountMany(text) => text,
        }
    }
}

/// What each wish must come to, if it comes to an answer.
#[derive(Debug)]
pub(super) struct Answers(BTreeMap<u64, String>);

impl Answers {
    pub(super) fn compute() -> Self {
        Self(ROUNDS.into_iter().map(|rounds| (rounds, native(&Work::Spin(rounds)))).collect())
    }

    pub(super) fn to(&self, work: &Work) -> String {
        match work {
            Work::Spin(rounds) => self.0.get(rounds).cloned().unwrap_or_default(),
            Work::Count(_) | Work::CountMany(_) => native(work),
        }
    }
}

/// The same computation without a sandbox.
fn native(work: &Work) -> String {
    let run = modules::native(work.module());
    let output = run.and_then(|run| run(&work.args(), work.input().as_bytes()).ok()).unwrap_or_default();
    String::from_utf8_lossy(&output).into_owned()
}
