//! How much work machines attract that lie about what they can do, and what that costs the others.
//!
//! The same mesh runs the same tasks twice: once all machines are what they say, once some of them lure work and do not do
//! it (`../lures.rs`, one kind after the other). What they attract beyond their share of the first run is attracted wrongly.
//!
//! **Invariant:** only what crossed the network is counted: a task was lured if any attempt at it was given to a liar.
//! **Not here:** who is believed. Those are the peers that are shipped.

mod world;

use core::time::Duration;

use std::collections::BTreeMap;

use serde::Serialize;

use self::world::{Ran, Run};

/// An experiment.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub seed: u64,
    pub peers: usize,
    /// Of the peers, in percent.
    pub liars: usize,
    pub minutes: u64,
    /// Offered work over what the honest peers can do.
    pub load: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, peers: 100, liars: 20, minutes: 5, load: 0.5 }
    }
}

/// Tasks are counted in spans of this length, by when they arose.
pub const SPAN: Duration = Duration::from_secs(10);

/// The tasks that arose in one span.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Moment {
    /// When it began, after the mesh had formed.
    pub at_s: u64,
    pub tasks: usize,
    /// Given to one of the machines that lie, as a share of the tasks.
    pub given_share: f64,
    /// The same while they do not lie.
    pub deserved_share: f64,
    /// What is over that.
    pub wrong_share: f64,
    /// 99th percentile of the time to the result; never for those that failed.
    pub p99_ms: Option<f64>,
    /// The same while nobody lies.
    pub honest_p99_ms: Option<f64>,
    /// Tasks that ended without a result, or not at all.
    pub failed: usize,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema: String,
    pub seed: u64,
    pub peers: usize,
    pub liars: usize,
    pub minutes: u64,
    pub load: f64,
    pub tasks: usize,
    /// Over the whole run.
    pub wrong_share: f64,
    /// From the end of the first minute on.
    pub wrong_share_after_minute: f64,
    /// Over the last minute.
    pub wrong_share_at_end: f64,
    pub failed: usize,
    /// Times that a home ceased to trust an honest peer, while some lie.
    pub honest_distrusted: usize,
    /// The same while nobody lies.
    pub honest_distrusted_in_peace: usize,
    /// What the busiest of neighbours said of each class in peace, in thousandths of what it might.
    pub fullest_permille: BTreeMap<&'static str, u16>,
    /// Of the last minute.
    pub p99_ms_at_end: Option<f64>,
    pub honest_p99_ms_at_end: Option<f64>,
    pub moments: Vec<Moment>,
}

/// Runs the same tasks without and with lies.
pub fn run(settings: &Settings) -> Report {
    let Run { ran: honest, honest_distrusted: honest_distrusted_in_peace, fullest_permille } =
        world::run(settings, false);
    let Run { ran: lying, honest_distrusted, .. } = world::run(settings, true);
    let spans = (settings.minutes * 60).div_ceil(SPAN.as_secs()) as usize;
    let moments: Vec<Moment> = (0..spans).map(|span| moment(&honest, &lying, span)).collect();
    let last_minute = spans.saturating_sub(6);
    let over = |from: usize| {
        let counted = moments.get(from..).unwrap_or_default();
        let wrong: f64 = counted.iter().map(|moment| moment.wrong_share * moment.tasks as f64).sum();
        wrong / counted.iter().map(|moment| moment.tasks).sum::<usize>().max(1) as f64
    };
    let at_end = |ran: &[Ran]| p99_ms(ran.iter().filter(|task| span_of(task) >= last_minute));
    Report {
        schema: shoal_protocol::api::schema(),
        seed: settings.seed,
        peers: settings.peers,
        liars: world::liars(settings).len(),
        minutes: settings.minutes,
        load: settings.load,
        tasks: lying.len(),
        wrong_share: over(0),
        wrong_share_after_minute: over(6),
        wrong_share_at_end: over(last_minute),
        failed: lying.iter().filter(|task| task.took.is_none()).count(),
        honest_distrusted,
        honest_distrusted_in_peace,
        fullest_permille,
        p99_ms_at_end: at_end(&lying),
        honest_p99_ms_at_end: at_end(&honest),
        moments,
    }
}

fn span_of(task: &Ran) -> usize {
    (task.arose.as_secs() / SPAN.as_secs()) as usize
}

fn moment(honest: &[Ran], lying: &[Ran], span: usize) -> Moment {
    let of = |ran: &'_ [Ran]| -> Vec<Ran> { ran.iter().filter(|task| span_of(task) == span).copied().collect() };
    let (honest, lying) = (of(honest), of(lying));
    let given = |ran: &[Ran]| ran.iter().filter(|task| task.was_lured).count() as f64 / ran.len().max(1) as f64;
    let (given_share, deserved_share) = (given(&lying), given(&honest));
    Moment {
        at_s: span as u64 * SPAN.as_secs(),
        tasks: lying.len(),
        given_share,
        deserved_share,
        wrong_share: (given_share - deserved_share).max(0.0),
        p99_ms: p99_ms(lying.iter()),
        honest_p99_ms: p99_ms(honest.iter()),
        failed: lying.iter().filter(|task| task.took.is_none()).count(),
    }
}

/// Nearest rank; what never ended is the longest.
fn p99_ms<'a>(tasks: impl Iterator<Item = &'a Ran>) -> Option<f64> {
    let mut took: Vec<f64> =
        tasks.map(|task| task.took.map_or(f64::INFINITY, |took| took.as_secs_f64() * 1e3)).collect();
    took.sort_by(f64::total_cmp);
    let rank = (took.len() as f64 * 0.99).ceil() as usize;
    took.get(rank.max(1) - 1).copied().filter(|took| took.is_finite())
}
