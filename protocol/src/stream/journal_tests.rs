use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::event_time::{EventTime, TimeUnit};
use super::journal::Journal;
use super::seen::Mark;
use super::spec::WindowRule;
use super::window::ClosedKind;
use crate::store::Change;

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
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    journal: Journal,
    /// What was published, by number: as a sink that looks at the number keeps it.
    sink: BTreeMap<u64, Bytes>,
    published_twice: u32,
}

impl World {
    fn new(rule: WindowRule) -> Self {
        let journal = Journal::restore(NAME, &rule, true, []).unwrap();
        Self { rule, disk: BTreeMap::new(), journal, sink: BTreeMap::new(), published_twice: 0 }
    }

    fn write(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put { key, bytes } => drop(self.disk.insert(key, bytes)),
                Change::Delete { key } => drop(self.disk.remove(&key)),
            }
        }
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
