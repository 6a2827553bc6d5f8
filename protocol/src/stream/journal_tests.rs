use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::event_time::{EventTime, TimeUnit};
use serde::Serialize;

use super::journal::{Counts, Journal, Pending};
use super::seen::Mark;
use super::spec::WindowRule;
use super::window::{Closed, ClosedKind, Span, WindowState};
use super::{BUFFER_BYTES_MAX, SPANS_MAX};
use crate::store::{self, Change};

const NAME: &str = "s";

fn by_count(count: u32) -> WindowRule {
    WindowRule { count: Some(count), ..WindowRule::default() }
}

fn by_event_time() -> WindowRule {
    let event_time = EventTime { field: None, column: Some(1), unit: TimeUnit::Ms };
    WindowRule { span_ms: Some(10), event_time: Some(event_time), lateness_ms: 5, ..WindowRule::default() }
}

/// A disk that holds what was written, and a journal on it.
struct World {
    rule: WindowRule,
    disk: Disk,
    journal: Journal,
    /// What was published, by number: as a sink that looks at the number keeps it.
    sink: BTreeMap<u64, Bytes>,
    published_twice: u32,
}

impl World {
    fn new(rule: WindowRule) -> Self {
        let journal = Journal::restore(NAME, &rule, true, []).unwrap();
        Self { rule, disk: Disk::new(), journal, sink: BTreeMap::new(), published_twice: 0 }
    }

    fn write(&mut self, changes: Vec<Change>) {
        write(&mut self.disk, changes);
    }

    fn crash(&mut self) {
        let records = self.disk.iter().map(|(key, bytes)| (key.as_slice(), bytes.as_slice()));
        self.journal = Journal::restore(NAME, &self.rule, true, records).unwrap();
    }

    /// Takes a batch; with `crash`, the power fails after it is on disk and before anybody hears of it.
    fn take(&mut self, now: u64, records: &[Bytes], crash: bool) {
        let changes = self.journal.stage(now, records, vec![Mark::Key(now, 0)]);
        self.write(changes);
        if crash { self.crash() } else { self.journal.commit() }
    }

    /// Publishes what is next; with `crash`, the power fails after the sink has it.
    fn publish(&mut self, crash: bool) -> bool {
        let mut content = None;
        while let Some(pending) = self.journal.next_to_run() {
            if Some(pending.closed.sequence) == self.journal.next_to_publish() {
                content = Some(pending);
                break;
            }
        }
        let Some(pending) = content else { return false };
        let before = self.sink.insert(pending.closed.sequence, pending.content.clone());
        if let Some(before) = before {
            self.published_twice += 1;
            assert_eq!(before, pending.content, "a window is the same when it is published again");
        }
        if crash {
            self.crash();
        } else {
            let changes = self.journal.published(pending.closed.sequence, false);
            self.write(changes);
        }
        true
    }

    fn all_published(&mut self) -> Vec<String> {
        self.crash();
        while self.publish(false) {}
        let numbers: Vec<u64> = self.sink.keys().copied().collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "numbers follow each other");
        self.sink
            .values()
            .flat_map(|lines| lines.split(|byte| *byte == b'\n'))
            .map(text)
            .filter(|it| !it.is_empty())
            .collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn record(value: u64) -> Bytes {
    Bytes::from(value.to_string())
}

#[test]
fn a_window_by_count_holds_the_records_in_order() {
    let mut world = World::new(by_count(3));
    world.take(1, &[record(1), record(2)], false);
    world.take(2, &[record(3), record(4)], false);

    let pending = world.journal.next_to_run().unwrap();

    assert_eq!((pending.closed.sequence, pending.closed.kind), (0, ClosedKind::Count));
    assert_eq!(text(&pending.content), "1\n2\n3\n");
    assert_eq!(world.journal.next_to_run(), None, "the fourth record waits for more");
}

#[test]
fn what_is_published_leaves_the_disk() {
    let mut world = World::new(by_count(1));
    for now in 0..100 {
        world.take(now, &[record(now)], false);
        assert!(world.publish(false));
    }

    assert_eq!(world.disk.len(), 101, "the position, and marks: {:?}", world.disk.keys());
    assert_eq!(world.journal.waiting(), (0, 0, 0, 0));
}

#[test]
fn a_delivery_is_known_again_after_a_crash() {
    let mut world = World::new(by_count(10));
    world.take(5, &[record(1)], true);

    assert!(world.journal.is_known(&Mark::Key(5, 0), false));
    assert!(!world.journal.is_known(&Mark::Key(6, 0), false));
}

#[test]
fn a_batch_that_could_not_be_written_leaves_no_trace() {
    let mut world = World::new(by_count(1));
    drop(world.journal.stage(1, &[record(1)], vec![Mark::Key(1, 0)]));
    world.journal.abandon();

    assert!(!world.journal.is_known(&Mark::Key(1, 0), false));
    assert_eq!(world.journal.next_to_run(), None);
}

#[test]
fn a_missing_batch_is_told() {
    let mut world = World::new(by_count(10));
    world.take(1, &[record(1)], false);
    world.take(2, &[record(2)], false);
    let first = world.disk.keys().find(|key| key[0] == b'b').unwrap().clone();
    world.disk.remove(&first);

    let records = world.disk.iter().map(|(key, bytes)| (key.as_slice(), bytes.as_slice()));

    assert!(Journal::restore(NAME, &world.rule, true, records).is_err());
}

type Disk = BTreeMap<Vec<u8>, Vec<u8>>;

fn write(disk: &mut Disk, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Put { key, bytes } => drop(disk.insert(key, bytes)),
            Change::Delete { key } => drop(disk.remove(&key)),
        }
    }
}

fn untold(rule: &WindowRule, disk: &Disk) -> Journal {
    let records = disk.iter().map(|(key, bytes)| (key.as_slice(), bytes.as_slice()));
    Journal::restore(NAME, rule, false, records).unwrap()
}

/// A stream that says of no record when it happened, but for one small record in each batch where `tiny` is one.
fn fill_with_timeless(journal: &mut Journal, disk: &mut Disk, tiny: Option<&'static str>) {
    let large = vec![Bytes::from(vec![b'x'; 256 * 1024]); 4];
    let records: Vec<Bytes> = tiny.map(Bytes::from).into_iter().chain(large).collect();
    while journal.has_room() {
        let changes = journal.stage(10_000, &records, Vec::new());
        write(disk, changes);
        journal.commit();
    }
}

#[test]
fn late_records_of_which_nobody_is_told_do_not_fill_the_buffer_for_ever() {
    let (rule, mut disk) = (by_event_time(), Disk::new());
    let mut journal = untold(&rule, &disk);
    assert_eq!(journal.make_room(), None, "there is room");
    for _ in 0..3 {
        fill_with_timeless(&mut journal, &mut disk, None);

        journal = untold(&rule, &disk);
        assert!(!journal.has_room());
        let changes = journal.make_room().unwrap();
        write(&mut disk, changes);

        assert!(journal.has_room() && untold(&rule, &disk).has_room());
        assert_eq!(disk.len(), 1, "the position");
    }
    assert_eq!(journal.counts().timeless, journal.counts().records);
}

#[test]
fn a_window_that_keeps_all_of_a_full_buffer_is_closed_before_its_time() {
    let (rule, mut disk) = (by_event_time(), Disk::new());
    let mut journal = untold(&rule, &disk);
    fill_with_timeless(&mut journal, &mut disk, Some("5"));
    assert_eq!(journal.next_to_run(), None, "its time is not over");

    let changes = journal.make_room().unwrap();

    assert!(untold(&rule, &disk).make_room().is_some(), "the same again, had the power failed before that is on disk");
    write(&mut disk, changes);
    for mut journal in [untold(&rule, &disk), journal] {
        let Pending { closed, content } = journal.next_to_run().unwrap();
        assert_eq!((closed.kind, closed.cut), (ClosedKind::Time { start_ms: 0, end_ms: 10 }, true));
        assert_eq!(content.len(), 2 * closed.records as usize, "each is a figure and the end of its line");
        journal.published(closed.sequence, false);
        assert!(journal.has_room());
        assert_eq!(journal.waiting(), (0, 0, 0, 0));
    }
}

#[test]
fn the_position_stays_small_however_records_of_many_windows_alternate() {
    let rule = WindowRule { lateness_ms: 1_000, ..by_event_time() };
    let (mut journal, mut now) = (untold(&rule, &Disk::new()), 10_000);
    let records: Vec<Bytes> = (0..2_048).map(|place| record(10 * (place % 8))).collect();
    while journal.has_room() {
        journal.stage(now, &records, Vec::new());
        journal.commit();
        now += 1;
    }

    let (open, _, pending, bytes) = journal.waiting();
    assert!(open >= 7 && (1..20).contains(&pending), "few parts, and large ones: {:?}", journal.waiting());
    assert!(bytes < BUFFER_BYTES_MAX, "it is the spans that fill it");
    assert!(journal.next_to_run().unwrap().closed.cut);
    let changes = journal.published(0, false);
    let largest = changes.iter().map(|change| match change {
        Change::Put { bytes, .. } => bytes.len(),
        Change::Delete { .. } => 0,
    });
    let largest = largest.max().unwrap();
    assert!(largest < 2 * SPANS_MAX * 24, "{largest} bytes");
}

#[test]
fn empty_records_fill_the_buffer_as_well() {
    let mut journal = untold(&by_event_time(), &Disk::new());
    let nothing = vec![Bytes::new(); 2_048];
    let batches = (0..100_000).take_while(|_| {
        journal.stage(1, &nothing, Vec::new());
        journal.commit();
        journal.has_room()
    });

    assert!(batches.count() < 10_000);
}

#[test]
fn what_a_position_says_of_sizes_is_not_believed() {
    /// A position in other words.
    #[derive(Serialize)]
    struct Said {
        t: u64,
        s: WindowState,
        c: Vec<Closed>,
        k: Counts,
        p: BTreeMap<String, u64>,
    }
    let (rule, mut disk) = (by_count(10), Disk::new());
    let mut journal = untold(&rule, &disk);
    let changes = journal.stage(1, &[record(1), record(2)], Vec::new());
    write(&mut disk, changes);
    let spans = vec![Span { batch: 0, from: 0, to: u32::MAX }; 2];
    let closed = Closed { sequence: 0, kind: ClosedKind::Count, spans, records: u32::MAX, bytes: u64::MAX, cut: false };
    let (s, k, p) = (WindowState::default(), Counts::default(), BTreeMap::new());
    let key = b"ps\0".to_vec();
    let bytes = store::encode(&key, &Said { t: 1, s, c: vec![closed], k, p });
    disk.insert(key, bytes);

    let pending = untold(&rule, &disk).next_to_run().unwrap();

    assert_eq!(pending.content, "1\n2\n1\n2\n");
}

#[derive(Debug, Clone)]
enum Step {
    Take { records: Vec<u8>, crash: bool },
    Publish { crash: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let records = proptest::collection::vec(any::<u8>(), 0..8);
    let step = prop_oneof![
        3 => (records, any::<bool>()).prop_map(|(records, crash)| Step::Take { records, crash }),
        2 => any::<bool>().prop_map(|crash| Step::Publish { crash }),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    /// Whenever the power fails, every record is in the sink once, late ones included, and what was published twice was the
    /// same both times.
    #[test]
    fn nothing_is_lost_and_nothing_twice_wherever_it_crashes(steps in steps(), count in 1..6u32, by_time: bool) {
        let rule = if by_time { by_event_time() } else { by_count(count) };
        let mut world = World::new(rule);
        let mut sent = Vec::new();
        for (now, step) in (0..).zip(steps) {
            match step {
                Step::Take { records, crash } => {
                    // Unlike each other, with event times out of order.
                    let records: Vec<Bytes> = (0..).zip(records)
                        .map(|(place, value): (u64, u8)| Bytes::from(format!("{value},{now},{place}"))).collect();
                    sent.extend(records.iter().map(|record| text(record)));
                    world.take(1_000 + now, &records, crash);
                }
                Step::Publish { crash } => drop(world.publish(crash)),
            }
        }
        let (_, open, _, _) = world.journal.waiting();
        let mut got = world.all_published();
        prop_assert_eq!(got.len() as u64 + open, sent.len() as u64);
        got.sort();
        sent.sort();
        let once: std::collections::BTreeSet<_> = got.iter().collect();
        prop_assert_eq!(once.len(), got.len(), "one of them twice");
        prop_assert!(got.iter().all(|record| sent.binary_search(record).is_ok()));
    }
}
