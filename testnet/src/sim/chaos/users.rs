//! What people do meanwhile: hand in tasks, hand them in again when nobody answered, cancel some, ask elsewhere.

use core::time::Duration;

use rand::{Rng, RngExt};
use shoal_protocol::Time;
use shoal_protocol::config::RETENTION_DEFAULT;
use shoal_protocol::task::durable::{Durability, Keeping};

use super::super::marks::REGIONS;
use super::Size;
use super::plan::FORMING;

/// Mean time between two submissions in the mesh.
const SUBMIT_EVERY: Duration = Duration::from_secs(2);

/// One submission in so many is that of [`BURST`] tasks at once.
const BURSTS: f64 = 0.01;
const BURST: usize = 30;
const BURST_RUN_MAX: Duration = Duration::from_millis(500);

/// A task that somebody will hand in.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) at: Time,
    pub(super) home: usize,
    pub(super) keeping: Keeping,
    /// On a reference core.
    pub(super) run: Duration,
    pub(super) deadline: Option<Duration>,
    pub(super) may_use_clouds: bool,
    /// What is said of its input, by which regions it may be in.
    pub(super) labelled: Option<Labelled>,
    /// When it is handed in again under the same key, whether it was acknowledged or not.
    pub(super) again: Option<Time>,
    pub(super) cancel: Option<Time>,
    /// When somebody asks for it at another peer.
    pub(super) ask: Vec<(Time, usize)>,
}

/// Input with labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labelled {
    /// A region beside that of the home.
    pub(super) also: usize,
    pub(super) comes: Comes,
}

/// How input comes to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comes {
    /// With the task.
    Inline,
    /// As a blob at home, whose labels are known there.
    AsBlob,
    /// As a blob at another machine, of which home knows nothing but the name.
    FromElsewhere,
}

pub(super) fn wishes(size: Size, rng: &mut impl Rng) -> Vec<Wish> {
    let end = Time::ZERO + FORMING + size.span();
    let mut at = Time::ZERO + FORMING / 2;
    let mut wishes = Vec::new();
    loop {
        at += SUBMIT_EVERY.mul_f64(-(1.0 - rng.random::<f64>()).ln());
        if at >= end {
            return wishes;
        }
        match rng.random_bool(BURSTS) {
            true => wishes.extend(burst(at, size, rng)),
            false => wishes.push(wish(at, size, rng)),
        }
    }
}

/// Many short tasks at one peer at once: more than may wait there.
fn burst(at: Time, size: Size, rng: &mut impl Rng) -> impl Iterator<Item = Wish> {
    let like = wish(at, size, rng);
    let (again, cancel, deadline) = (None, None, None);
    let run = like.run.min(BURST_RUN_MAX);
    (0..BURST).map(move |_| Wish { again, cancel, deadline, run, ask: Vec::new(), ..like.clone() })
}

fn wish(at: Time, size: Size, rng: &mut impl Rng) -> Wish {
    let durability = match rng.random_range(0..10) {
        0..2 => Durability::Memory,
        2..6 => Durability::Disk,
        _ => Durability::Guarded,
    };
    let later = |rng: &mut dyn FnMut() -> f64, max_s: f64| at + Duration::from_secs_f64(rng() * max_s);
    let mut chance = || rng.random::<f64>();
    let run = Duration::from_secs_f64(0.02 * (chance() * 6.0).exp());
    let deadline = (chance() < 0.2).then(|| Duration::from_secs_f64(1.0 + 60.0 * chance()));
    let again = (chance() < 0.2).then(|| later(&mut chance, 60.0));
    let cancel = (chance() < 0.05).then(|| later(&mut chance, 20.0));
    let asks = (chance() * 3.0) as usize;
    let ask = (0..asks).map(|_| (later(&mut chance, 60.0), (chance() * size.peers as f64) as usize)).collect();
    let home = (chance() * size.peers as f64) as usize;
    let may_use_clouds = chance() < 0.8;
    let labelled = (chance() < 0.3).then(|| {
        let also = (chance() * REGIONS.len() as f64) as usize;
        let comes = match chance() {
            drawn if drawn < 0.5 => Comes::Inline,
            // A blob that is lost with its machine would be no fault of a task that is kept.
            drawn if drawn < 0.75 && durability == Durability::Memory => Comes::FromElsewhere,
            _ => Comes::AsBlob,
        };
        Labelled { also, comes }
    });
    // Forgotten while things go wrong. Handed in again after that it would be another task.
    let is_brief = chance() < 0.1 && again.is_none();
    let retention = if is_brief { Duration::from_secs_f64(20.0 + 100.0 * chance()) } else { RETENTION_DEFAULT };
    let keeping = Keeping { durability, retention };
    Wish { at, home, keeping, run, deadline, may_use_clouds, labelled, again, cancel, ask }
}
