//! What a stream has taken and not yet published, as it stands on disk: batches, marks, and the position that follows from them.
//!
//! ```text
//! key                                      record
//! 'b' name 0 number (u64, big endian)      a batch: when it arrived, its records
//! 'm' name 0 number                        how the deliveries in it are known again
//! 'p' name 0                               the position: windows open and closed after so many batches, and the next to publish
//! ```
//!
//! ```text
//! stage(records) ─► changes ─► on disk ─► commit ─► windows closed ─► next_to_run … publish(number) ─► changes ─► on disk ─► commit_published
//! ```
//!
//! The position is only written when something was published; batches beyond it are replayed.
//!
//! **Invariant:** restored from what is on disk at any moment, it gives the windows it would have given without the crash.
//! **Not here:** the disk, and what publishing means.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::seen::{Mark, Places, Seen};
use super::spec::WindowRule;
use super::window::{Closed, ClosedKind, WindowState, Windower};
use super::{BUFFER_BYTES_MAX, PENDING_MAX, SPANS_MAX};
use crate::store::{self, Change, RecordError};

/// What a batch takes in memory beside its records, and each of those.
const BATCH_BYTES: u64 = 128;
const RECORD_BYTES: u64 = 4;
/// Marks that are kept on disk: more than a broker may have unacknowledged, and the keys that are remembered.
const MARKS_KEPT: usize = 8_192;

/// Why what is on disk is not a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A record of it cannot be read.
    #[error("what stream `{name}` has on disk cannot be read: {why}")]
    Record {
        /// Which stream.
        name: String,
        /// What is wrong with it.
        why: RecordError,
    },
    /// A batch is missing.
    #[error("batch {number} of stream `{name}` is missing")]
    Missing {
        /// Which stream.
        name: String,
        /// Which batch.
        number: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct BatchRecord {
    #[serde(rename = "a")]
    arrival_ms: u64,
    /// Where each record ends.
    #[serde(rename = "e")]
    ends: Vec<u32>,
    #[serde(rename = "d", with = "serde_bytes")]
    data: Vec<u8>,
}

/// What is counted, since the stream was first started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records taken.
    #[serde(rename = "r", default)]
    pub records: u64,
    /// Records that came too late for their window, or said no time.
    #[serde(rename = "l", default)]
    pub late: u64,
    /// Of these, said no time.
    #[serde(rename = "t", default)]
    pub timeless: u64,
    /// Windows published.
    #[serde(rename = "w", default)]
    pub windows: u64,
    /// Of these, were published with an error in place of a result.
    #[serde(rename = "f", default)]
    pub failed: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    /// Batches before this are in the state.
    #[serde(rename = "t")]
    taken: u64,
    #[serde(rename = "s")]
    state: WindowState,
    /// Closed and not published, in order.
    #[serde(rename = "c")]
    closed: Vec<Closed>,
    #[serde(rename = "k")]
    counts: Counts,
    #[serde(rename = "p")]
    places: Places,
}

#[derive(Debug, Clone)]
struct Batch {
    data: Bytes,
    ends: Vec<u32>,
    arrival_ms: u64,
    /// Records that are in no published window, and not late ones that nobody is told of.
    left: u32,
}

impl Batch {
    /// What it counts for, also where its records are empty.
    fn weight(&self) -> u64 {
        self.data.len() as u64 + RECORD_BYTES * self.ends.len() as u64 + BATCH_BYTES
    }

    fn record(&self, place: u32) -> &[u8] {
        let at = place as usize;
        let from = if at == 0 { 0 } else { self.ends.get(at - 1).copied().unwrap_or(0) as usize };
        let to = self.ends.get(at).copied().unwrap_or(0) as usize;
        self.data.get(from..to).unwrap_or(&[])
    }
}

/// A window that waits to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The window.
    pub closed: Closed,
    /// Its records as lines.
    pub content: Bytes,
}

/// A batch on its way to the disk.
#[derive(Debug)]
struct Staged {
    number: u64,
    batch: Batch,
    marks: Vec<Mark>,
}

/// One stream's journal.
#[derive(Debug)]
pub struct Journal {
    name: String,
    windower: Windower,
    tells_late: bool,
    seen: Seen,
    batches: BTreeMap<u64, Batch>,
    /// The number of the next batch.
    next: u64,
    staged: Option<Staged>,
    /// How many marks each batch on disk has.
    marks: BTreeMap<u64, usize>,
    pending: BTreeMap<u64, Closed>,
    /// In all of them.
    pending_spans: usize,
    handed_out: BTreeSet<u64>,
    counts: Counts,
    bytes: u64,
}

/// Under which key something of a stream stands.
fn key(kind: u8, name: &str, number: Option<u64>) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(name.as_bytes());
    key.push(0);
    if let Some(number) = number {
        key.extend(number.to_be_bytes());
    }
    key
}

/// What a key of something of a stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// A letter for each kind of thing.
    pub kind: u8,
    /// Of which stream it is.
    pub name: &'a str,
    /// Which, where there are many.
    pub number: Option<u64>,
}

impl<'a> Key<'a> {
    /// Reads it; nothing where it is no such key.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        let name = core::str::from_utf8(&rest[..end]).ok()?;
        let number = match &rest[end + 1..] {
            [] => None,
            bytes => Some(u64::from_be_bytes(bytes.try_into().ok()?)),
        };
        Some(Self { kind: *kind, name, number })
    }

    /// Whether it is of something that a journal writes.
    pub fn is_journal(&self) -> bool {
        match self.kind {
            b'b' | b'm' => self.number.is_some(),
            b'p' => self.number.is_none(),
            _ => false,
        }
    }
}

/// The key of something there is one of, for each stream: `kind` is no letter that a journal uses.
pub fn of_stream(kind: u8, name: &str) -> Vec<u8> {
    assert!(!b"bmp".contains(&kind), "that is the journal's");
    key(kind, name, None)
}

fn put<T: Serialize>(key: Vec<u8>, value: &T) -> Change {
    let bytes = store::encode(&key, value);
    Change::Put { key, bytes }
}

impl Journal {
    /// What stands on disk; an empty journal where nothing does. Records of other streams and kinds are passed over.
    pub fn restore<'a>(
        name: &str,
        rule: &WindowRule,
        tells_late: bool,
        records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, JournalError> {
        let mut position = Position::default();
        let (mut batches, mut marks) = (BTreeMap::new(), BTreeMap::new());
        for (at, bytes) in records {
            let bad = |why| JournalError::Record { name: name.to_owned(), why };
            match Key::read(at).filter(|key| key.name == name).map(|key| (key.kind, key.number)) {
                Some((b'p', None)) => position = store::decode(at, bytes).map_err(bad)?,
                Some((b'b', Some(number))) => {
                    let BatchRecord { arrival_ms, ends, data } = store::decode(at, bytes).map_err(bad)?;
                    let left = u32::try_from(ends.len()).unwrap_or(u32::MAX);
                    batches.insert(number, Batch { data: data.into(), ends, arrival_ms, left });
                }
                Some((b'm', Some(number))) => {
                    let one: Vec<Mark> = store::decode(at, bytes).map_err(bad)?;
                    marks.insert(number, one);
                }
                Some(_) | None => {}
            }
        }
        let mut journal = Self {
            name: name.to_owned(),
            windower: Windower::new(rule.clone(), tells_late, position.state),
            tells_late,
            seen: Seen::of(&position.places),
            batches: BTreeMap::new(),
            next: position.taken,
            staged: None,
            marks: BTreeMap::new(),
            pending: BTreeMap::new(),
            pending_spans: 0,
            handed_out: BTreeSet::new(),
            counts: position.counts,
            bytes: 0,
        };
        journal.wait_for(position.closed);
        for (number, marks) in marks {
            marks.iter().for_each(|mark| journal.seen.note(mark));
            journal.marks.insert(number, marks.len());
        }
        journal.replay(position.taken, batches)?;
        Ok(journal)
    }

    fn replay(&mut self, taken: u64, batches: BTreeMap<u64, Batch>) -> Result<(), JournalError> {
        for (number, mut batch) in batches {
            if number < taken {
                // What of it is not published is found below.
                batch.left = 0;
                self.bytes += batch.weight();
                self.batches.insert(number, batch);
                continue;
            }
            if number != self.next {
                return Err(JournalError::Missing { name: self.name.clone(), number: self.next });
            }
            self.apply(number, batch);
        }
        let unpublished: Vec<_> = self.pending.values().flat_map(|closed| closed.spans.clone()).collect();
        for span in unpublished.iter().chain(&self.windower.open_spans()).filter(|span| span.batch < taken) {
            let Some(batch) = self.batches.get_mut(&span.batch) else {
                return Err(JournalError::Missing { name: self.name.clone(), number: span.batch });
            };
            batch.left = batch.left.saturating_add(span.to.saturating_sub(span.from));
        }
        Ok(())
    }

    /// These wait to be published.
    fn wait_for(&mut self, closed: impl IntoIterator<Item = Closed>) {
        for closed in closed {
            self.pending_spans += closed.spans.len();
            self.pending.insert(closed.sequence, closed);
        }
    }

    /// Whether a delivery was taken before: it is acknowledged again, and not taken.
    pub fn is_known(&self, mark: &Mark, repeated: bool) -> bool {
        self.seen.is_known(mark, repeated)
    }

    /// What was handed over so far.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Whether more may be taken now; the source waits otherwise.
    pub fn has_room(&self) -> bool {
        self.staged.is_none()
            && self.bytes < BUFFER_BYTES_MAX
            && self.pending.len() < PENDING_MAX
            && self.pending_spans < SPANS_MAX
    }

    /// What is to be written where the buffer is full and nothing waits to be published, so that nothing would ever make room: late
    /// records of which nobody is told are let go, and where that is not enough, the earliest window is closed before its time.
    /// Nothing else may be published before these changes are on disk.
    pub fn make_room(&mut self) -> Option<Vec<Change>> {
        if self.staged.is_some() || self.bytes < BUFFER_BYTES_MAX || !self.pending.is_empty() {
            return None;
        }
        let mut changes = self.forget_published();
        if self.bytes >= BUFFER_BYTES_MAX {
            let first = self.windower.close_first();
            self.wait_for(first);
        }
        if changes.is_empty() && self.pending.is_empty() {
            return None;
        }
        changes.extend(self.forget_marks());
        changes.push(self.position());
        Some(changes)
    }

    /// A batch that is to be written before [`Journal::commit`]; one at a time.
    pub fn stage(&mut self, arrival_ms: u64, records: &[Bytes], marks: Vec<Mark>) -> Vec<Change> {
        assert!(self.staged.is_none(), "a batch waits for the disk already");
        let number = self.next;
        let mut data = Vec::with_capacity(records.iter().map(Bytes::len).sum());
        let mut ends = Vec::with_capacity(records.len());
        for record in records {
            data.extend_from_slice(record);
            ends.push(u32::try_from(data.len()).unwrap_or(u32::MAX));
        }
        let record = BatchRecord { arrival_ms, ends, data };
        let mut changes = vec![put(key(b'b', &self.name, Some(number)), &record)];
        if !marks.is_empty() {
            changes.push(put(key(b'm', &self.name, Some(number)), &marks));
        }
        let BatchRecord { arrival_ms, ends, data } = record;
        let left = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        self.staged = Some(Staged { number, batch: Batch { data: data.into(), ends, arrival_ms, left }, marks });
        changes
    }

    /// The staged batch is on disk.
    pub fn commit(&mut self) {
        let Some(Staged { number, batch, marks }) = self.staged.take() else { return };
        marks.iter().for_each(|mark| self.seen.note(mark));
        if !marks.is_empty() {
            self.marks.insert(number, marks.len());
        }
        self.apply(number, batch);
    }

    /// The staged batch could not be written: it was never here.
    pub fn abandon(&mut self) {
        self.staged = None;
    }

    fn apply(&mut self, number: u64, mut batch: Batch) {
        let places = 0..u32::try_from(batch.ends.len()).unwrap_or(u32::MAX);
        let cut = self.windower.take(number, batch.arrival_ms, places.clone().map(|place| batch.record(place)));
        self.counts.records += u64::from(places.end);
        self.counts.late += u64::from(cut.late);
        self.counts.timeless += u64::from(cut.timeless);
        if !self.tells_late {
            batch.left -= cut.late;
        }
        self.wait_for(cut.closed);
        self.bytes += batch.weight();
        self.batches.insert(number, batch);
        self.next = number.saturating_add(1);
    }

    /// When time alone will close a window: an empty batch is to be staged then.
    pub fn due_ms(&self) -> Option<u64> {
        self.windower.due_ms()
    }

    /// The next window that nobody runs yet.
    pub fn next_to_run(&mut self) -> Option<Pending> {
        let sequence = *self.pending.keys().find(|sequence| !self.handed_out.contains(sequence))?;
        self.handed_out.insert(sequence);
        let closed = self.pending.get(&sequence)?.clone();
        let content = self.content(&closed);
        Some(Pending { closed, content })
    }

    fn content(&self, closed: &Closed) -> Bytes {
        // What a record says of its size may come from another peer.
        let bytes = closed.bytes.saturating_add(u64::from(closed.records)).min(self.bytes);
        let mut lines = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        for span in &closed.spans {
            let Some(batch) = self.batches.get(&span.batch) else { continue };
            let there = u32::try_from(batch.ends.len()).unwrap_or(u32::MAX);
            for place in span.from..span.to.min(there) {
                lines.extend_from_slice(batch.record(place));
                lines.push(b'\n');
            }
        }
        lines.into()
    }

    /// The lines of all that is in no published window, for when nobody goes on with it.
    pub fn unpublished(&self) -> Vec<u8> {
        let open = Closed {
            sequence: 0,
            kind: ClosedKind::Count,
            spans: self.windower.open_spans(),
            records: 0,
            bytes: 0,
            cut: true,
        };
        self.pending.values().chain([&open]).flat_map(|closed| self.content(closed)).collect()
    }

    /// The window that is to be published next, by its number; it may not be closed yet.
    pub fn next_to_publish(&self) -> Option<u64> {
        self.pending.keys().next().copied()
    }

    /// It was published; when these changes are on disk it is forgotten.
    pub fn published(&mut self, sequence: u64, failed: bool) -> Vec<Change> {
        let Some(closed) = self.pending.remove(&sequence) else { return Vec::new() };
        self.pending_spans = self.pending_spans.saturating_sub(closed.spans.len());
        self.handed_out.remove(&sequence);
        self.counts.windows += 1;
        self.counts.failed += u64::from(failed);
        for span in &closed.spans {
            if let Some(batch) = self.batches.get_mut(&span.batch) {
                batch.left = batch.left.saturating_sub(span.to.saturating_sub(span.from));
            }
        }
        let mut changes = self.forget_published();
        changes.extend(self.forget_marks());
        changes.push(self.position());
        changes
    }

    fn position(&self) -> Change {
        let position = Position {
            taken: self.next,
            state: self.windower.state().clone(),
            closed: self.pending.values().cloned().collect(),
            counts: self.counts,
            places: self.seen.places(),
        };
        put(key(b'p', &self.name, None), &position)
    }

    fn forget_published(&mut self) -> Vec<Change> {
        let over: Vec<u64> =
            self.batches.iter().filter(|(_, batch)| batch.left == 0).map(|(number, _)| *number).collect();
        for number in &over {
            if let Some(batch) = self.batches.remove(number) {
                self.bytes = self.bytes.saturating_sub(batch.weight());
            }
        }
        over.into_iter().map(|number| Change::Delete { key: key(b'b', &self.name, Some(number)) }).collect()
    }

    /// The oldest marks go when the later ones are enough.
    fn forget_marks(&mut self) -> Vec<Change> {
        let mut kept: usize = self.marks.values().sum();
        let mut changes = Vec::new();
        while let Some((number, count)) = self.marks.first_key_value().map(|(number, count)| (*number, *count))
            && kept - count >= MARKS_KEPT
        {
            kept -= count;
            self.marks.remove(&number);
            changes.push(Change::Delete { key: key(b'm', &self.name, Some(number)) });
        }
        changes
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Windows open, records in them, windows that wait to be published, and bytes held.
    pub fn waiting(&self) -> (usize, u64, usize, u64) {
        let (open, records) = self.windower.open();
        (open, records, self.pending.len(), self.bytes)
    }
}
