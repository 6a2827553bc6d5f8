//! The same in fewer bytes, for neighbours that are known to understand it.
//!
//! ```text
//! digest   map of all fields ──► array of what changes with every task, for who was told the rest on this connection
//! award    ids of 32 bytes   ──► their first 8; results that are safe: 8 bytes each; home only where it is not the sender
//! ```
//!
//! Who numbers the description of itself in its digests reads short forms; the version before this one does neither, and
//! gets the long ones.
//!
//! **Invariant:** a short form is never guessed at: what it does not name for certain is dropped, and costs a worse picture
//! of a load or one candidate less, never another meaning.
//! **Not here:** who was told what. That is `load.rs`.

use core::fmt;
use core::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{ACKNOWLEDGED_MAX, Weights};
use crate::id::{PeerId, ShortId};
use crate::load::{AHEAD, LATER_UNIT};
use crate::message::{Award, LoadDigest, TaskRef};
use crate::time::micros;

/// How finely an array gives times.
const TIME_UNIT: Duration = LATER_UNIT;
/// The same for memory.
const MEMORY_UNIT: u64 = 1 << 20;
/// More short names than any message has.
const MARKS_MAX: usize = ACKNOWLEDGED_MAX;

// ── Digests ─────────────────────────────────────────────────────────────────────────────────────────────────────────

impl LoadDigest {
    /// Whether it leaves out what describes the peer.
    pub fn is_brief(&self) -> bool {
        self.cores == 0 && self.description != 0
    }

    /// The same without what describes the peer, and as finely as an array gives it.
    #[must_use]
    pub(crate) fn abridged(&self) -> Self {
        let in_units = |time: Duration| TIME_UNIT * units(time);
        Self {
            sequence: self.sequence,
            description: self.description,
            start_in: in_units(self.start_in),
            usual_start_in: in_units(self.usual_start_in),
            turnover: in_units(self.turnover),
            // Who has one core says it with its turnover.
            later_start: if self.cores == 1 { [0; AHEAD.len()] } else { self.later_start },
            arrivals_per_ks: self.arrivals_per_ks,
            running: self.running,
            queued: self.queued,
            cpu_percent: self.cpu_percent,
            memory_free_bytes: self.memory_free_bytes / MEMORY_UNIT * MEMORY_UNIT,
            ..Self::undescribed()
        }
    }

    /// A brief digest with what was left out, as the peer described itself before; nothing where that was another description.
    #[must_use]
    pub(crate) fn completed(self, before: &Self) -> Option<Self> {
        if self.description != before.description {
            return None;
        }
        let later_start = if before.cores == 1 { one_core(self.turnover) } else { self.later_start };
        Some(Self {
            later_start,
            cores: before.cores,
            queue_max: before.queue_max,
            speed: before.speed,
            memory_bytes: before.memory_bytes,
            uplink_bits_per_s: before.uplink_bits_per_s,
            weights: before.weights,
            price: before.price,
            understands_labels: before.understands_labels,
            ..self
        })
    }

    fn undescribed() -> Self {
        Self {
            sequence: 0,
            description: 0,
            start_in: Duration::ZERO,
            usual_start_in: Duration::ZERO,
            turnover: Duration::ZERO,
            later_start: [0; AHEAD.len()],
            arrivals_per_ks: 0,
            cores: 0,
            running: 0,
            queued: 0,
            queue_max: 0,
            cpu_percent: 0,
            speed: 0.0,
            memory_free_bytes: 0,
            memory_bytes: 0,
            uplink_bits_per_s: 0,
            weights: Weights::default(),
            price: 0.0,
            understands_labels: false,
        }
    }
}

fn units(time: Duration) -> u32 {
    u32::try_from(micros(time) / micros(TIME_UNIT)).unwrap_or(u32::MAX)
}

/// On one core each further task waits for one more run.
fn one_core(turnover: Duration) -> [u32; AHEAD.len()] {
    AHEAD.map(|ahead| units(turnover.saturating_mul(ahead)))
}

impl Serialize for LoadDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.is_brief() {
            return Self::serialize(self, serializer);
        }
        let memory = u32::try_from(self.memory_free_bytes / MEMORY_UNIT).unwrap_or(u32::MAX);
        let changing = [
            self.sequence,
            self.description,
            units(self.start_in),
            units(self.usual_start_in),
            units(self.turnover),
            self.arrivals_per_ks,
            u32::from(self.running),
            u32::from(self.queued),
            u32::from(self.cpu_percent),
            memory,
        ];
        let later = if self.later_start == [0; AHEAD.len()] { &[][..] } else { &self.later_start[..] };
        let mut array = serializer.serialize_seq(Some(changing.len() + later.len()))?;
        changing.iter().chain(later).try_for_each(|number| array.serialize_element(number))?;
        array.end()
    }
}

impl<'de> Deserialize<'de> for LoadDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

/// Reads both forms.
struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = LoadDigest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a load digest")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LoadDigest, A::Error> {
        LoadDigest::deserialize(MapAccessDeserializer::new(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<LoadDigest, A::Error> {
        let mut next = || array.next_element::<u32>()?.ok_or_else(|| A::Error::custom("a digest ends too soon"));
        let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let digest = LoadDigest {
            sequence: next()?,
            description: next()?,
            start_in: TIME_UNIT * next()?,
            usual_start_in: TIME_UNIT * next()?,
            turnover: TIME_UNIT * next()?,
            arrivals_per_ks: next()?,
            running: small(next()?),
            queued: small(next()?),
            cpu_percent: u8::try_from(next()?).unwrap_or(u8::MAX),
            memory_free_bytes: u64::from(next()?) * MEMORY_UNIT,
            ..LoadDigest::undescribed()
        };
        let mut later_start = [0; AHEAD.len()];
        for later in &mut later_start {
            *later = array.next_element()?.unwrap_or_default();
        }
        // A later version may say more.
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(LoadDigest { later_start, ..digest })
    }
}

// ── Awards ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Eight bytes of each of some ids, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(Vec<[u8; 8]>);

impl Marks {
    /// Nothing is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The marks of attempts.
    pub fn of_attempts(attempts: &[TaskRef]) -> Self {
        Self(attempts.iter().map(mark).collect())
    }

    /// The marks of peers.
    pub fn of_peers(peers: &[PeerId]) -> Self {
        Self(peers.iter().map(|peer| peer.abridged().0).collect())
    }

    /// The peers that were marked, as far as `known` knows one by its short id.
    pub fn peers(&self, known: impl Fn(ShortId) -> Option<PeerId>) -> Vec<PeerId> {
        self.0.iter().filter_map(|mark| known(ShortId(*mark))).collect()
    }

    /// What was marked of attempts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8; 8]> {
        self.0.iter()
    }
}

/// The beginning of a task's id, and a hash of the attempt's number, whose last bits are alike after each start of its home:
/// enough among the results that one home is owed.
pub(crate) fn mark(attempt: &TaskRef) -> [u8; 8] {
    // Fibonacci hashing (Knuth, The Art of Computer Programming 3, §6.4): the upper bits depend on all of the number's.
    let epoch = attempt.epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let task = attempt.task.0;
    [task[0], task[1], task[2], task[3], task[4], task[5], epoch[0], epoch[1]]
}

impl Serialize for Marks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::Bytes::new(self.0.as_flattened()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Marks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        let (marks, rest) = bytes.as_chunks();
        if !rest.is_empty() || marks.len() > MARKS_MAX {
            return Err(D::Error::custom(format_args!("{} bytes are not up to {MARKS_MAX} marks", bytes.len())));
        }
        Ok(Self(marks.to_vec()))
    }
}

impl Award {
    /// Says the same with marks, as `sender`.
    pub(crate) fn abridge(&mut self, sender: PeerId) {
        self.near = Marks::of_peers(&core::mem::take(&mut self.alternatives));
        self.safe = Marks::of_attempts(&core::mem::take(&mut self.received));
        if self.home == sender {
            self.home = PeerId::UNSAID;
        }
    }

    /// The same, to be run as another of its builds, if home has said what that takes.
    pub(crate) fn into_build(mut self, variant: u8) -> Self {
        if let Some(work) = self.work_of(variant) {
            (self.variant, self.work) = (variant, work);
        }
        self
    }

    /// What a build takes, as far as home has said.
    pub(crate) fn work_of(&self, variant: u8) -> Option<Duration> {
        if variant == self.variant {
            return Some(self.work);
        }
        self.works_us.get(usize::from(variant)).copied().map(Duration::from_micros)
    }

    /// Whose task it is, when `sender` says this.
    pub fn home_or(&self, sender: PeerId) -> PeerId {
        if self.home == PeerId::UNSAID { sender } else { self.home }
    }

    /// Takes marks for what they mean from this `sender`, but for those of results: their executor knows them.
    pub(crate) fn expand(&mut self, sender: PeerId, known: impl Fn(ShortId) -> Option<PeerId>) {
        self.alternatives.extend(core::mem::take(&mut self.near).peers(known));
        self.home = self.home_or(sender);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;
    use crate::id::{BlobId, TaskId};
    use crate::placement::test_load;
    use crate::task::epoch;
    use crate::task::spec::TaskSpec;

    fn described(cores: u16) -> LoadDigest {
        LoadDigest {
            sequence: 70_000,
            description: 3,
            start_in: Duration::from_micros(123_456),
            usual_start_in: Duration::from_millis(90),
            turnover: Duration::from_millis(201),
            later_start: [2_010, 4_020, 8_040, 16_080, 32_160, 64_320],
            arrivals_per_ks: 5_000,
            cores,
            running: cores,
            queued: 2,
            memory_free_bytes: (300 << 20) + 1,
            ..test_load()
        }
    }

    #[test]
    fn a_brief_digest_is_short_and_says_the_same_to_who_knows_the_rest() {
        for (cores, bytes_max) in [(1, 30), (2, 49)] {
            let whole = described(cores);

            let brief = whole.abridged();
            let said = cbor::encode(&brief);

            assert!(said.len() <= bytes_max, "{} bytes", said.len());
            assert_eq!(cbor::decode(&said), Ok(brief.clone()), "what is sent is what is read");
            let before = LoadDigest { sequence: 1, start_in: Duration::ZERO, later_start: [0; 6], ..whole.clone() };
            let start_in = Duration::from_micros(123_400);
            let expected = LoadDigest { start_in, memory_free_bytes: 300 << 20, ..whole };
            assert_eq!(brief.clone().completed(&before), Some(expected));
            assert_eq!(brief.completed(&LoadDigest { description: 4, ..before }), None);
        }
    }

    #[test]
    fn a_brief_digest_of_a_later_version_says_more_and_a_short_one_is_none() {
        let numbers: Vec<u32> = (1..=20).collect();

        let read: LoadDigest = cbor::decode(&cbor::encode(&numbers)).expect("a digest and more");

        assert_eq!((read.sequence, read.description, read.later_start), (1, 2, [11, 12, 13, 14, 15, 16]));
        assert!(cbor::decode::<LoadDigest>(&cbor::encode(&numbers[..9].to_vec())).is_err());
        assert!(cbor::decode::<LoadDigest>(&cbor::encode(&[u64::MAX; 10])).is_err());
        let extreme: LoadDigest = cbor::decode(&cbor::encode(&[u32::MAX; 10])).expect("numbers");
        assert_eq!(
            extreme.completed(&LoadDigest { description: u32::MAX, ..described(1) }).map(|d| d.is_sane()),
            Some(false)
        );
    }

    #[test]
    fn an_award_names_who_is_known_and_nobody_else() {
        let (home, near, far) = (PeerId([1; 32]), PeerId([2; 32]), PeerId([3; 32]));
        let attempt = TaskRef { task: TaskId([5; 16]), epoch: 1 };
        let whole = Award {
            attempt,
            home,
            variant: 0,
            spec: TaskSpec::of_module(BlobId([9; 32]), 1_000),
            work: Duration::from_millis(100),
            works_us: Vec::new(),
            expected_start: Duration::ZERO,
            firm: false,
            hops: 0,
            alternatives: vec![near, far],
            near: Marks::default(),
            kept: false,
            received: vec![attempt],
            safe: Marks::default(),
        };

        let mut award = whole.clone();
        award.abridge(home);
        let mut read: Award = cbor::decode(&cbor::encode(&award)).expect("an award");
        assert_eq!(read, award);
        assert!(cbor::encode(&award).len() + 100 < cbor::encode(&whole).len());
        read.expand(home, |short| (short == near.abridged()).then_some(near));

        assert_eq!((read.home, read.alternatives, read.received), (home, vec![near], vec![]));
        assert_eq!(read.safe, Marks::of_attempts(&[attempt]));
        let marks = [1, 2].map(|boot| mark(&TaskRef { epoch: epoch::before_first(0, boot) + 1, ..attempt }));
        assert_ne!(marks[0], marks[1], "the first attempts after two starts");
        assert_ne!(mark(&attempt), mark(&TaskRef { epoch: 2, ..attempt }));
        let mut passed_on = whole;
        passed_on.abridge(far);
        assert_eq!(passed_on.home, home, "who passes it on says whose it is");
    }

    #[test]
    fn marks_are_whole_and_few() {
        let read = |count: usize| cbor::decode::<Marks>(&cbor::encode(&serde_bytes::ByteBuf::from(vec![7; count])));

        assert_eq!(read(16), Ok(Marks(vec![[7; 8]; 2])));
        assert!(read(15).is_err());
        assert!(read(8 * MARKS_MAX).is_ok() && read(8 * (MARKS_MAX + 1)).is_err());
    }
}
