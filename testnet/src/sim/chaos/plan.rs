//! What will go wrong, and when: drawn from the seed before the run.

use core::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::Serialize;
use shoal_protocol::Time;

use super::super::{Edition, Link, Trouble};
use super::Size;

/// The mesh has this long to form before the first fault.
pub(super) const FORMING: Duration = Duration::from_secs(10);
/// Mean time between two faults of a mesh.
const FAULT_EVERY: Duration = Duration::from_secs(15);
/// At most so many machines join a mesh, for each one that is there.
const NEWCOMERS_ONE_IN: usize = 8;
/// A daemon that is told to stop has this long, and is then stopped.
const GOODBYE: Duration = Duration::from_secs(3);
/// Churn lasts this long; a tenth of the machines changes every minute.
const CHURN: Duration = Duration::from_secs(60);
/// Records are large to lie about for long.
const LYING_MAX_MS: u64 = 60_000;
/// How often processes that died at a write are looked after: they start again within that of when they should.
const TEND_EVERY: Duration = Duration::from_millis(20);

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Fault {
    /// A process dies; what it had not synced is there or not.
    Crash,
    /// Every process dies at once.
    PowerCut,
    /// A process dies and starts, several times over.
    CrashLoop,
    /// A process stands still, and then finds everything that waited.
    Pause,
    /// Two groups do not hear each other.
    Partition,
    /// One peer is heard and hears nothing, or the other way round.
    OneWay,
    /// A partition that comes and goes.
    Flapping,
    /// Links go one by one, and come back in another order.
    Swizzle,
    /// Messages must be sent again.
    Loss,
    /// Messages take up to a second.
    Delay,
    /// Messages arrive twice.
    Duplication,
    /// Messages overtake each other.
    Reordering,
    /// Clocks run at different speeds; from the start.
    Drift,
    /// A calendar is set an hour ahead or back.
    CalendarJump,
    /// No space left on a disk.
    DiskFull,
    /// Writes fail.
    DiskErrors,
    /// A sync takes up to a second.
    SlowDisk,
    /// A bit of a record is wrong after a crash.
    BitFlip,
    /// A machine is gone for good.
    MachineLost,
    /// A machine starts with an empty disk.
    DiskReplaced,
    /// Machines leave as they should, and others join, one after the other: a tenth of them a minute.
    Churn,
    /// Machines that nobody has met join at once.
    MassJoin,
    /// A large part of the machines leaves at once, as they should.
    MassLeave,
    /// One after the other starts with another version, and finds the records of the one before.
    Upgrade,
    /// A machine lies.
    Lies,
    /// A machine is a member no more, and goes on as if it did not know, for a while.
    Revoked,
    /// Processes die at their writes: before one is on disk, before anybody is told that it is, or as soon as that was said.
    CrashAtWrite,
}

/// Which kinds of fault may strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults(u32);

impl Faults {
    fn have(self, fault: Fault) -> bool {
        self.0 & Self::bit(fault) != 0
    }

    fn bit(fault: Fault) -> u32 {
        1 << fault as u32
    }
}

impl Default for Faults {
    fn default() -> Self {
        KINDS.into_iter().collect()
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<T: IntoIterator<Item = Fault>>(faults: T) -> Self {
        Self(faults.into_iter().fold(0, |bits, fault| bits | Self::bit(fault)))
    }
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Crash(usize),
    Start(usize),
    Freeze(usize),
    Thaw(usize),
    /// Every way from one group to the other.
    Cut(Vec<(usize, usize)>),
    Mend(Vec<(usize, usize)>),
    /// All links.
    Link(Link),
    /// The share of messages that arrive twice…
    Duplicate(f64),
    /// …and of those that later ones overtake.
    Overtake(f64),
    Disk(usize, Option<Trouble>, Duration),
    FlipBit(usize),
    ReplaceDisk(usize),
    Lose(usize),
    /// The first is a member no more; the second is told, or the next one that runs.
    Revoke(usize, usize),
    /// What was revoked ends.
    End(usize),
    /// The daemon is told to stop.
    Leave(usize),
    Install(usize, Edition),
    Lie(usize, bool),
    Calendar(usize, i64),
    /// With this chance a process dies at a write of its.
    DieAtWrites(usize, f64),
    /// What died so starts again, if it is time.
    Tend,
    /// For the counts; what it consists of stands beside it.
    Struck(Fault),
}

/// Everything that happens to the machines, in order.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) drifts_ppm: Vec<i32>,
    pub(super) acts: Vec<(Time, Act)>,
    /// Machines beside those that are there from the start.
    pub(super) newcomers: usize,
    /// When the last fault is over.
    pub(super) end: Time,
}

/// What links are like when nothing is wrong.
pub(super) const CALM: Link = Link { delay: Duration::from_millis(12), jitter: Duration::from_millis(6), loss: 0.0 };
/// One sync of a disk when nothing is wrong.
pub(super) const SYNC: Duration = Duration::from_millis(2);

impl Plan {
    pub(super) fn draw(size: Size, rng: &mut impl Rng) -> Self {
        let begin = Time::ZERO + FORMING;
        let end = begin + size.span();
        let drifts_ppm = match rng.random_bool(0.5) {
            true => (0..size.peers).map(|_| rng.random_range(-200..=200)).collect(),
            false => vec![0; size.peers],
        };
        let edition = Edition::default();
        let mut draft = Draft { size, end, acts: Vec::new(), lost: Vec::new(), newcomers: 0, edition };
        if drifts_ppm.iter().any(|ppm| *ppm != 0) {
            draft.add(begin, Act::Struck(Fault::Drift));
        }
        // Some runs know a few kinds of fault only: what hides behind the others shows there.
        let mut kinds: Vec<_> = KINDS.into_iter().filter(|kind| size.faults.have(*kind)).collect();
        kinds.shuffle(rng);
        kinds.truncate(rng.random_range(1..=kinds.len().max(1)));
        if kinds.contains(&Fault::Churn) || kinds.contains(&Fault::MassJoin) {
            draft.newcomers = rng.random_range(1..=size.peers.div_ceil(NEWCOMERS_ONE_IN));
        }
        let mut at = begin;
        loop {
            at += FAULT_EVERY.mul_f64(-(1.0 - rng.random::<f64>()).ln());
            if at >= end || kinds.is_empty() {
                break;
            }
            let kind = kinds[rng.random_range(0..kinds.len())];
            draft.strike(at, kind, rng);
        }
        let (mut acts, newcomers) = (draft.acts, draft.newcomers);
        // What one fault ends must not end before it began, and the rest keeps its order.
        acts.sort_by_key(|(at, _)| *at);
        Self { drifts_ppm, acts, newcomers, end }
    }
}

impl Plan {
    /// Whether a machine starts with the version before this one.
    pub(super) fn goes_back_a_version(&self) -> bool {
        self.acts.iter().any(|(_, act)| matches!(act, Act::Install(_, Edition::Previous)))
    }
}

/// All but drift, which is there from the start.
const KINDS: [Fault; 26] = [
    Fault::Crash,
    Fault::PowerCut,
    Fault::CrashLoop,
    Fault::Pause,
    Fault::Partition,
    Fault::OneWay,
    Fault::Flapping,
    Fault::Swizzle,
    Fault::Loss,
    Fault::Delay,
    Fault::Duplication,
    Fault::Reordering,
    Fault::CalendarJump,
    Fault::DiskFull,
    Fault::DiskErrors,
    Fault::SlowDisk,
    Fault::BitFlip,
    Fault::MachineLost,
    Fault::DiskReplaced,
    Fault::Churn,
    Fault::MassJoin,
    Fault::MassLeave,
    Fault::Upgrade,
    Fault::Lies,
    Fault::Revoked,
    Fault::CrashAtWrite,
];

struct Draft {
    size: Size,
    end: Time,
    acts: Vec<(Time, Act)>,
    lost: Vec<usize>,
    newcomers: usize,
    edition: Edition,
}

impl Draft {
    fn add(&mut self, at: Time, act: Act) {
        self.acts.push((at.min(self.end), act));
    }

    fn strike(&mut self, at: Time, fault: Fault, rng: &mut impl Rng) {
        let peers = self.size.peers;
        let one = rng.random_range(0..peers);
        let until = at + span(rng, 500, 60_000);
        match fault {
            Fault::Crash => self.down(at, until, one),
            Fault::PowerCut => (0..peers).for_each(|index| {
                let back = at + span(rng, 500, 10_000);
                self.down(at, back, index);
            }),
            Fault::CrashLoop => {
                let mut at = at;
                for _ in 0..rng.random_range(2..8) {
                    let back = at + span(rng, 10, 2_000);
                    self.down(at, back, one);
                    at = back + span(rng, 10, 3_000);
                }
            }
            Fault::Pause => {
                self.add(at, Act::Freeze(one));
                self.add(at + span(rng, 100, 60_000), Act::Thaw(one));
            }
            Fault::Partition => self.part(at, until, between(&self.split(rng))),
            Fault::OneWay => {
                let ways = (0..peers).filter(|other| *other != one).map(|other| (one, other));
                let ways: Vec<_> = match rng.random_bool(0.5) {
                    true => ways.collect(),
                    false => ways.map(|(one, other)| (other, one)).collect(),
                };
                self.part(at, until, ways);
            }
            Fault::Flapping => {
                let ways = between(&self.split(rng));
                let mut at = at;
                for _ in 0..rng.random_range(3..10) {
                    let back = at + span(rng, 200, 5_000);
                    self.part(at, back, ways.clone());
                    at = back + span(rng, 200, 5_000);
                }
            }
            Fault::Swizzle => {
                let mut ways = between(&self.split(rng));
                for way in &ways {
                    self.add(at + span(rng, 0, 10_000), Act::Cut(vec![*way]));
                }
                ways.shuffle(rng);
                for way in ways {
                    self.add(at + span(rng, 10_000, 30_000), Act::Mend(vec![way]));
                }
            }
            Fault::Loss => self.links(at, until, Link { loss: rng.random_range(0.01..0.3), ..CALM }),
            Fault::Delay => {
                let jitter = span(rng, 50, 1_000);
                self.links(at, until, Link { jitter, ..CALM });
            }
            Fault::Duplication => {
                self.add(at, Act::Duplicate(rng.random_range(0.01..0.5)));
                self.add(until, Act::Duplicate(0.0));
            }
            Fault::Reordering => {
                self.add(at, Act::Overtake(rng.random_range(0.01..0.5)));
                self.add(until, Act::Overtake(0.0));
            }
            Fault::Drift => {}
            Fault::CalendarJump => self.add(at, Act::Calendar(one, rng.random_range(-3_600_000..3_600_000))),
            Fault::DiskFull => self.disk(at, until, one, Some(Trouble::Full), SYNC),
            Fault::DiskErrors => self.disk(at, until, one, Some(Trouble::Errors), SYNC),
            Fault::SlowDisk => {
                let sync = span(rng, 20, 1_000);
                self.disk(at, until, one, None, sync);
            }
            Fault::BitFlip => {
                self.add(at, Act::Crash(one));
                self.add(at, Act::FlipBit(one));
                self.add(until, Act::Start(one));
            }
            // A tenth of the machines at most: more would leave nobody to be checked.
            Fault::MachineLost if self.lost.len() * 10 < peers => {
                self.lost.push(one);
                self.add(at, Act::Lose(one));
            }
            Fault::DiskReplaced if self.lost.len() * 10 < peers => {
                self.lost.push(one);
                self.add(at, Act::Crash(one));
                self.add(at, Act::ReplaceDisk(one));
                self.add(until, Act::Start(one));
            }
            Fault::Revoked if self.lost.len() * 10 < peers => {
                self.lost.push(one);
                self.add(at, Act::Revoke(one, (one + rng.random_range(1..peers)) % peers));
                self.add(until, Act::End(one));
            }
            Fault::MachineLost | Fault::DiskReplaced | Fault::Revoked => return,
            Fault::Churn => {
                let all = peers + self.newcomers;
                for _ in 0..all.div_ceil(10) {
                    let (leaves, joins) = (rng.random_range(0..all), rng.random_range(0..all));
                    self.leave(at + CHURN.mul_f64(rng.random()), span(rng, 2_000, 60_000), leaves);
                    self.add(at + CHURN.mul_f64(rng.random()), Act::Start(joins));
                }
            }
            Fault::MassJoin => (peers..peers + self.newcomers).for_each(|index| {
                self.add(at, Act::Start(index));
                if rng.random_bool(0.5) {
                    self.add(until, Act::Leave(index));
                    self.add(until + GOODBYE, Act::Crash(index));
                }
            }),
            Fault::MassLeave => {
                let share = rng.random_range(0.3..0.6);
                for index in 0..peers {
                    if rng.random_bool(share) {
                        self.leave(at + span(rng, 1, 1_000), span(rng, 5_000, 60_000), index);
                    }
                }
            }
            Fault::Upgrade => {
                self.edition = self.edition.next();
                let pause = span(rng, 200, 3_000);
                let mut at = at;
                for index in 0..peers {
                    // Some are left as they are: versions live side by side.
                    if rng.random_bool(0.8) {
                        self.add(at, Act::Install(index, self.edition));
                        self.down(at, at + span(rng, 200, 2_000), index);
                        at += pause;
                    }
                }
            }
            Fault::Lies => {
                self.add(at, Act::Lie(one, true));
                self.add(at + span(rng, 5_000, LYING_MAX_MS), Act::Lie(one, false));
            }
            Fault::CrashAtWrite => return self.die_at_writes(at, rng),
        }
        self.add(at, Act::Struck(fault));
    }

    fn down(&mut self, at: Time, back: Time, index: usize) {
        self.add(at, Act::Crash(index));
        self.add(back, Act::Start(index));
    }

    /// Some machines or most of them, now and then or often. Each death is counted when it comes.
    fn die_at_writes(&mut self, at: Time, rng: &mut impl Rng) {
        let (until, share, often) = (at + span(rng, 5_000, 60_000), rng.random_range(0.1..1.0), rng.random::<f64>());
        let chance = 0.8 * 0.05f64.powf(often);
        for index in 0..self.size.peers {
            if rng.random_bool(share) {
                self.add(at, Act::DieAtWrites(index, chance));
                self.add(until, Act::DieAtWrites(index, 0.0));
            }
        }
        let mut at = at;
        while at < until {
            at += TEND_EVERY;
            self.add(at, Act::Tend);
        }
    }

    /// Says goodbye, and is back after `away`.
    fn leave(&mut self, at: Time, away: Duration, index: usize) {
        self.add(at, Act::Leave(index));
        self.down(at + GOODBYE, at + GOODBYE + away, index);
    }

    fn part(&mut self, at: Time, until: Time, ways: Vec<(usize, usize)>) {
        self.add(at, Act::Cut(ways.clone()));
        self.add(until, Act::Mend(ways));
    }

    fn links(&mut self, at: Time, until: Time, link: Link) {
        self.add(at, Act::Link(link));
        self.add(until, Act::Link(CALM));
    }

    fn disk(&mut self, at: Time, until: Time, index: usize, trouble: Option<Trouble>, sync: Duration) {
        self.add(at, Act::Disk(index, trouble, sync));
        self.add(until, Act::Disk(index, None, SYNC));
    }

    /// Which side each peer is on.
    fn split(&self, rng: &mut impl Rng) -> Vec<bool> {
        let share = rng.random_range(0.1..0.9);
        (0..self.size.peers).map(|_| rng.random_bool(share)).collect()
    }
}

/// Every way from one side to the other.
fn between(sides: &[bool]) -> Vec<(usize, usize)> {
    let ways = (0..sides.len()).flat_map(|a| (0..sides.len()).map(move |b| (a, b)));
    ways.filter(|(a, b)| sides.get(*a) != sides.get(*b)).collect()
}

/// Short ones are as likely as long ones: uniform in the logarithm.
pub(super) fn span(rng: &mut impl Rng, min_ms: u64, max_ms: u64) -> Duration {
    let (min, max) = ((min_ms.max(1) as f64).ln(), (max_ms as f64).ln());
    Duration::from_secs_f64((min + (max - min) * rng.random::<f64>()).exp() / 1_000.0)
}
