//! What was learnt from earlier runs: a module's work by input size, what it writes, who holds it, whose quotes hold.
//!
//! Work is a line over input bytes, fitted by least squares whose past fades, because machines and data change. The
//! same module with other arguments may be another amount of work, so each pair has its own line, and a pair that was
//! never seen borrows the module's.
//!
//! **Invariant:** bounded by [`MODULES_MAX`]; the module that was not used for longest goes first.

use core::time::Duration;
use std::collections::BTreeMap;

use super::cost;
use super::quotes::QuoteError;
use super::word::{Kept, Word};
use crate::config::{COMPILE_US_PER_BYTE, LOAD_PEERS_MAX, MODULES_MAX, WALL_MAX};
use crate::id::{BlobId, PeerId};
use crate::load::sanity::SPEED_MAX;
use crate::peer_map::PeerMap;
use crate::task::spec::{TaskSpec, Variant};
use crate::time::Time;

/// Work assumed of a module that nobody here has run: that of a small inference.
const WORK_UNKNOWN: Duration = Duration::from_millis(50);
/// Share of the past that remains after each new run: about twenty runs are remembered.
const MEMORY: f64 = 0.95;
/// The same of what users said: about two hundred runs are remembered.
const WORD_MEMORY: f64 = 0.995;
/// What users said is believed to be off by no more than this factor, either way.
const WORD_FACTOR_MAX: f64 = 8.0;
/// Peers remembered as holders of one module.
const HOLDERS_MAX: usize = 64;

/// A line through (bytes, reference microseconds) whose past fades.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Line {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        for sum in [&mut self.n, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= MEMORY;
        }
        self.n += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
    }

    /// The fitted value; the mean where the inputs do not differ enough to tell a slope, or the slope is nonsense.
    fn at(&self, x: f64) -> Option<f64> {
        if self.n == 0.0 {
            return None;
        }
        let mean = self.y / self.n;
        let spread = self.n * self.xx - self.x * self.x;
        if spread <= 1e-3 * self.n * self.xx {
            return Some(mean);
        }
        let slope = (self.n * self.xy - self.x * self.y) / spread;
        let value = (self.y - slope * self.x) / self.n + slope * x;
        if slope < 0.0 || value <= 0.0 { Some(mean) } else { Some(value) }
    }
}

/// What was, for what was expected; the past fades slowly, since single words are far off.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Ratio {
    expected: f64,
    actual: f64,
}

impl Ratio {
    fn add(&mut self, expected: f64, actual: f64) {
        self.expected = self.expected * WORD_MEMORY + expected;
        self.actual = self.actual * WORD_MEMORY + actual;
    }

    /// What to multiply the next word by.
    fn factor(&self) -> f64 {
        if self.expected <= 0.0 {
            return 1.0;
        }
        (self.actual / self.expected).clamp(1.0 / WORD_FACTOR_MAX, WORD_FACTOR_MAX)
    }
}

#[derive(Debug, Default)]
struct ModuleRecord {
    by_size: Line,
    by_arguments: BTreeMap<[u8; 8], Line>,
    /// What users expected of it, against what it was.
    by_word: Ratio,
    output_bytes: f64,
    holders: PeerMap<()>,
    used: u64,
}

/// Lines kept for different arguments of one module.
const ARGUMENTS_MAX: usize = 32;

/// A run that ended well, to be learnt from.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// What was run.
    pub module: BlobId,
    /// With which arguments.
    pub args: &'a [String],
    /// Bytes it read.
    pub input_bytes: u64,
    /// Bytes it wrote.
    pub output_bytes: u64,
    /// How long it took.
    pub run: Duration,
    /// Speed of the core it ran on, relative to the reference core.
    pub speed: f64,
    /// The work its user expected.
    pub expected: Option<Duration>,
}

/// Everything learnt from runs.
#[derive(Debug, Default)]
pub struct Estimates {
    modules: BTreeMap<BlobId, ModuleRecord>,
    quoters: PeerMap<Quoter>,
    /// Times that some peer began to be distrusted for what it did.
    pub fallen: u64,
    /// No peer that is distrusted is to be forgiven before.
    forgives_at: Option<Time>,
    /// What expectations are off by whoever runs them: no peer's fault.
    quote_error_of_all: QuoteError,
    uses: u64,
}

/// What is remembered of a peer that quotes.
#[derive(Debug, Default)]
struct Quoter {
    error: QuoteError,
    word: Word,
}

/// What is known of one module.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a>(Option<&'a ModuleRecord>);

impl Known<'_> {
    /// Bytes that it is likely to write.
    pub fn output_bytes(self) -> u64 {
        self.0.map_or(0, |record| record.output_bytes as u64)
    }

    /// How long a peer needs before it can start it.
    pub fn prepare(self, peer: PeerId, variant: &Variant, uplink_bits_per_s: Option<u64>) -> Duration {
        if variant.module_bytes == 0 || self.0.is_some_and(|record| record.holders.contains_key(&peer)) {
            return Duration::ZERO;
        }
        let compile = Duration::from_micros(variant.module_bytes.saturating_mul(COMPILE_US_PER_BYTE));
        compile + cost::transmission(variant.module_bytes, uplink_bits_per_s)
    }
}

fn arguments_key(args: &[String]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    for arg in args {
        hasher.update(arg.as_bytes());
        hasher.update(b"\0");
    }
    let mut key = [0; 8];
    hasher.finalize_xof().fill(&mut key);
    key
}

impl Estimates {
    /// Work of one build of a task on a reference core.
    pub fn work(&self, spec: &TaskSpec, variant: &Variant) -> Duration {
        if let Some(expected) = spec.expected {
            let trust = self.modules.get(&variant.module).map_or(1.0, |record| record.by_word.factor());
            return expected.min(WALL_MAX).mul_f64(trust);
        }
        let Some(record) = self.modules.get(&variant.module) else { return WORK_UNKNOWN };
        let bytes = spec.input_bytes() as f64;
        let own = if record.by_arguments.is_empty() {
            None
        } else {
            record.by_arguments.get(&arguments_key(&spec.args)).and_then(|line| line.at(bytes))
        };
        match own.or_else(|| record.by_size.at(bytes)) {
            Some(micros) => Duration::from_micros(micros.round() as u64),
            None => WORK_UNKNOWN,
        }
    }

    /// Whether this module was ever seen running.
    pub fn knows(&self, module: BlobId) -> bool {
        self.modules.get(&module).is_some_and(|record| record.by_size.n > 0.0)
    }

    /// Bytes that a module is likely to write.
    pub fn output_bytes(&self, module: BlobId) -> u64 {
        self.of(module).output_bytes()
    }

    /// Learns from a run.
    pub fn learn(&mut self, run: &Run<'_>) {
        if !(run.speed > 0.0 && run.speed <= SPEED_MAX) {
            return;
        }
        let work_us = run.run.as_secs_f64() * 1e6 * run.speed;
        let bytes = run.input_bytes as f64;
        let key = arguments_key(run.args);
        let record = self.record(run.module);
        if let Some(expected) = run.expected {
            record.by_word.add(expected.as_secs_f64() * 1e6, work_us);
        }
        record.by_size.add(bytes, work_us);
        if record.by_arguments.len() >= ARGUMENTS_MAX && !record.by_arguments.contains_key(&key) {
            record.by_arguments.pop_first();
        }
        record.by_arguments.entry(key).or_default().add(bytes, work_us);
        let first = record.by_size.n <= 1.0;
        let gain = if first { 1.0 } else { 1.0 - MEMORY };
        record.output_bytes += gain * (run.output_bytes as f64 - record.output_bytes);
    }

    /// Notes that a peer holds a module, compiled.
    pub fn holds(&mut self, peer: PeerId, module: BlobId) {
        let record = self.record(module);
        if record.holders.len() < HOLDERS_MAX {
            record.holders.get_or_insert_with(peer, || ());
        }
    }

    /// A peer has said that it does not hold a module any more.
    pub fn lacks(&mut self, peer: PeerId, module: BlobId) {
        if let Some(record) = self.modules.get_mut(&module) {
            record.holders.remove(&peer);
        }
    }

    /// Forgets what a peer held: it may come back empty.
    pub fn peer_lost(&mut self, peer: PeerId) {
        for record in self.modules.values_mut() {
            record.holders.remove(&peer);
        }
        // It may come back on another machine; that it broke its word is remembered.
        match self.quoters.get_mut(&peer) {
            Some(quoter) if quoter.word.is_clean() => drop(self.quoters.remove(&peer)),
            Some(quoter) => quoter.error = QuoteError::default(),
            None => {}
        }
    }

    /// What is known of a module, looked up once for many peers.
    pub fn of(&self, module: BlobId) -> Known<'_> {
        Known(self.modules.get(&module))
    }

    /// How long a peer needs before it can start this module.
    pub fn prepare(&self, peer: PeerId, variant: &Variant, uplink_bits_per_s: Option<u64>) -> Duration {
        self.of(variant.module).prepare(peer, variant, uplink_bits_per_s)
    }

    /// How much longer than expected a peer's runs take, as a factor.
    pub fn quote_error(&self, peer: PeerId) -> f64 {
        self.quoters.get(&peer).map_or(1.0, |quoter| quoter.error.factor(&self.quote_error_of_all))
    }

    /// The same for a place for a task; nothing for a peer that is not to be believed now.
    pub(super) fn trusted_quote_error(&self, peer: PeerId) -> Option<f64> {
        let Some(quoter) = self.quoters.get(&peer) else { return Some(1.0) };
        (!quoter.word.is_distrusted()).then(|| quoter.error.factor(&self.quote_error_of_all))
    }

    /// The same where nobody else is left: nothing for who lied or talked nonsense.
    pub(super) fn last_quote_error(&self, peer: PeerId) -> Option<f64> {
        (!self.bars(peer)).then(|| self.quote_error(peer))
    }

    /// Whether a peer lied or talked nonsense, so that nothing is placed on it now, whoever else is there.
    pub fn bars(&self, peer: PeerId) -> bool {
        self.quoters.get(&peer).is_some_and(|quoter| quoter.word.is_barred())
    }

    /// Whether a peer broke its word so often that nothing is placed on it now.
    pub fn distrusts(&self, peer: PeerId) -> bool {
        self.quoters.get(&peer).is_some_and(|quoter| quoter.word.is_distrusted())
    }

    /// Whether the last that a peer was given came back as it should.
    pub fn keeps_word(&self, peer: PeerId) -> bool {
        self.quoters.get(&peer).is_some_and(|quoter| quoter.word.is_kept())
    }

    /// A task that a peer was given for what it said has come to this; until when it is distrusted, if that begins now.
    pub fn kept_word(&mut self, now: Time, peer: PeerId, kept: Kept) -> Option<Time> {
        if kept == Kept::Given && !self.quoters.contains_key(&peer) {
            return None;
        }
        self.make_room_for(peer);
        let until = self.quoters.get_or_insert_with(peer, Quoter::default).word.note(now, kept);
        self.note_forgiveness(peer);
        self.fallen += u64::from(until.is_some());
        until
    }

    /// A peer is not to be placed on until then, whatever it did with what it was given.
    pub fn distrust(&mut self, peer: PeerId, until: Time) {
        self.make_room_for(peer);
        self.quoters.get_or_insert_with(peer, Quoter::default).word.distrust(until);
        self.note_forgiveness(peer);
    }

    fn note_forgiveness(&mut self, peer: PeerId) {
        let until = self.quoters.get(&peer).and_then(|quoter| quoter.word.distrusted_until());
        self.forgives_at = [self.forgives_at, until].into_iter().flatten().min();
    }

    /// Lets those be tried again whose time is over.
    pub fn forgive(&mut self, now: Time) {
        if self.forgives_at.is_none_or(|at| now < at) {
            return;
        }
        self.forgives_at = self.quoters.iter_mut().filter_map(|(_, quoter)| quoter.word.forgive(now)).min();
    }

    /// Whoever has the least against it is forgotten first: a flood of names does not wash out who broke its word.
    fn make_room_for(&mut self, peer: PeerId) {
        if self.quoters.len() < LOAD_PEERS_MAX || self.quoters.contains_key(&peer) {
            return;
        }
        let weight = |quoter: &Quoter| (quoter.word.is_distrusted(), quoter.word.weight());
        let least = self.quoters.iter().min_by(|(_, a), (_, b)| {
            let ((a_until, (a_times, a_debt)), (b_until, (b_times, b_debt))) = (weight(a), weight(b));
            (a_until, a_times).cmp(&(b_until, b_times)).then(a_debt.total_cmp(&b_debt))
        });
        least.map(|(peer, _)| *peer).and_then(|peer| self.quoters.remove(&peer));
    }

    /// Remembers how a run compared with what was expected of the peer.
    pub fn quoted(&mut self, peer: PeerId, expected: Duration, actual: Duration) {
        // Below a millisecond the ratio measures the clock, not the peer.
        if expected < Duration::from_millis(1) && actual < Duration::from_millis(1) {
            return;
        }
        let ratio = actual.as_secs_f64() / expected.as_secs_f64().max(1e-6);
        self.make_room_for(peer);
        self.quoters.get_or_insert_with(peer, Quoter::default).error.add(ratio);
        self.quote_error_of_all.add(ratio);
    }

    fn record(&mut self, module: BlobId) -> &mut ModuleRecord {
        self.uses += 1;
        let uses = self.uses;
        if self.modules.len() >= MODULES_MAX && !self.modules.contains_key(&module) {
            let oldest = self.modules.iter().min_by_key(|(_, record)| record.used).map(|(id, _)| *id);
            oldest.and_then(|id| self.modules.remove(&id));
        }
        let record = self.modules.entry(module).or_default();
        record.used = uses;
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::spec::Payload;

    const MODULE: BlobId = BlobId([3; 32]);

    fn spec(bytes: usize, arg: &str) -> TaskSpec {
        TaskSpec {
            args: vec![arg.into()],
            inputs: vec![Payload::inline(vec![0; bytes])],
            ..TaskSpec::of_module(MODULE, 1_000)
        }
    }

    fn learn(estimates: &mut Estimates, spec: &TaskSpec, run: Duration, speed: f64, output_bytes: u64) {
        let module = spec.variants[0].module;
        let input_bytes = spec.input_bytes();
        estimates.learn(&Run {
            module,
            args: &spec.args,
            input_bytes,
            output_bytes,
            run,
            speed,
            expected: spec.expected,
        });
    }

    fn work(estimates: &Estimates, spec: &TaskSpec) -> u64 {
        estimates.work(spec, &spec.variants[0]).as_micros() as u64
    }

    #[test]
    fn work_is_learnt_as_a_line_over_input_size() {
        let mut estimates = Estimates::default();
        for bytes in [1_000, 2_000, 4_000, 8_000] {
            // 5 ms and 2 µs a byte on a machine twice as fast as the reference.
            let run = Duration::from_micros((5_000 + 2 * bytes as u64) / 2);
            learn(&mut estimates, &spec(bytes, ""), run, 2.0, 10);
        }

        assert!(work(&estimates, &spec(16_000, "")).abs_diff(37_000) < 500);
        assert_eq!(estimates.output_bytes(MODULE), 10);
    }

    #[test]
    fn other_arguments_are_other_work() {
        let mut estimates = Estimates::default();
        for _ in 0..10 {
            learn(&mut estimates, &spec(10, "short"), Duration::from_millis(1), 1.0, 0);
            learn(&mut estimates, &spec(10, "long"), Duration::from_millis(100), 1.0, 0);
        }

        assert_eq!(work(&estimates, &spec(10, "short")), 1_000);
        assert_eq!(work(&estimates, &spec(10, "long")), 100_000);
        assert!((1_000..100_000).contains(&work(&estimates, &spec(10, "never seen"))));
    }

    #[test]
    fn an_unknown_module_gets_the_default_and_must_be_prepared() {
        let mut estimates = Estimates::default();
        let spec = spec(10, "");
        let peer = PeerId([1; 32]);
        let prepare = |estimates: &Estimates| estimates.prepare(peer, &spec.variants[0], Some(8_000_000));

        assert_eq!(estimates.work(&spec, &spec.variants[0]), WORK_UNKNOWN);
        assert_eq!(prepare(&estimates), Duration::from_micros(2_000 + 1_000));
        estimates.holds(peer, MODULE);
        assert_eq!(prepare(&estimates), Duration::ZERO);
        estimates.peer_lost(peer);
        assert_ne!(prepare(&estimates), Duration::ZERO);
    }

    #[test]
    fn memory_of_modules_is_bounded() {
        let mut estimates = Estimates::default();
        for i in 0..(MODULES_MAX as u32 + 50) {
            let module = BlobId::of(&i.to_le_bytes());
            learn(&mut estimates, &TaskSpec::of_module(module, 1), Duration::from_millis(1), 1.0, 0);
        }

        assert_eq!(estimates.modules.len(), MODULES_MAX);
    }
}
