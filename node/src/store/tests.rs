//! The store as a driver uses it, and as a bad disk leaves it.

mod damage;
mod faults;
mod log_image;

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use shoal_protocol::store::{Change, Ticket, encode};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn key(n: u32) -> Vec<u8> {
    n.to_le_bytes().to_vec()
}

fn put(n: u32, text: &str) -> Change {
    Change::Put { key: key(n), bytes: encode(&key(n), &text) }
}

fn record(n: u32, text: &str) -> (Vec<u8>, Vec<u8>) {
    (key(n), encode(&key(n), &text))
}

fn bounds() -> Bounds {
    Bounds { reserve_bytes: 0, log_bytes: 16 * log::BLOCK as u64, ..Bounds::default() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, bounds()).unwrap()
}

struct Running {
    committer: Committer,
    answers: Receiver<Vec<Answer>>,
}

fn start(store: Store) -> Running {
    let (sender, answers) = channel();
    let committer = store.start(move |group| drop(sender.send(group))).unwrap();
    Running { committer, answers }
}

impl Running {
    /// The answers to so many tickets, in the order they came.
    fn answers(&self, count: usize) -> Vec<Answer> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.answers.recv_timeout(PATIENCE).unwrap());
        }
        all
    }

    fn persist(&self, ticket: u64, changes: Vec<Change>) -> Result<(), String> {
        self.committer.persist(Ticket(ticket), changes);
        let answer = self.answers(1).remove(0);
        assert_eq!(answer.ticket, Ticket(ticket));
        answer.result
    }
}

#[test]
fn what_was_answered_as_written_is_there_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(open(dir.path()));

    running.persist(1, vec![put(1, "a"), put(2, "b")]).unwrap();
    running.persist(2, vec![Change::Delete { key: key(1) }, put(2, "c"), put(3, "d")]).unwrap();
    running.persist(3, vec![Change::Delete { key: key(9) }]).unwrap();
    drop(running);

    assert_eq!(open(dir.path()).records, [record(2, "c"), record(3, "d")]);
}

#[test]
fn each_start_is_counted_before_anything_is_said() {
    let dir = tempfile::tempdir().unwrap();

    let boots: Vec<u32> = (0..3).map(|_| open(dir.path()).boot).collect();

    assert_eq!(boots, [1, 2, 3]);
}

#[test]
fn tickets_are_answered_in_order_and_many_share_one_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let ((sender, answers), (go, gate)) = (channel(), channel::<()>());
    let committer = open(dir.path()).start(move |group| {
        // The first answer waits until everything is handed over, and nobody waits after that.
        let _ = gate.recv();
        drop(sender.send(group));
    });
    let running = Running { committer: committer.unwrap(), answers };

    for n in 0..500 {
        running.committer.persist(Ticket(n), vec![put(n as u32, "x")]);
    }
    drop(go);
    let answers = running.answers(500);

    assert!(answers.iter().all(|answer| answer.result.is_ok()));
    assert!(answers.iter().map(|answer| answer.ticket.0).eq(0..500));
    let commits = running.committer.counts().all().into_iter().find(|(name, _)| *name == "store_commits").unwrap().1;
    assert!(commits <= 2, "{commits} fsyncs for 500 batches");
}

#[test]
fn what_was_handed_over_is_written_also_when_the_daemon_ends() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(open(dir.path()));
    for n in 0..100 {
        running.committer.persist(Ticket(n), vec![put(n as u32, "x")]);
    }

    drop(running);

    assert_eq!(open(dir.path()).records.len(), 100);
}

#[test]
fn a_second_daemon_is_told_that_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());

    let second = Store::open(dir.path(), bounds());

    assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
}

#[test]
fn new_keys_are_refused_when_the_reserve_begins_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(open(dir.path()));
    running.persist(1, vec![put(1, "a")]).unwrap();
    drop(running);

    let running = start(Store::open(dir.path(), Bounds { reserve_bytes: u64::MAX, ..bounds() }).unwrap());

    let refused = running.persist(1, vec![put(1, "b"), put(2, "new")]).unwrap_err();
    assert!(refused.starts_with("disk full"), "{refused}");
    running.persist(2, vec![put(1, "c")]).unwrap();
    running.persist(3, vec![Change::Delete { key: key(7) }]).unwrap();
    drop(running);
    assert_eq!(open(dir.path()).records, [record(1, "c")]);
}

#[test]
fn a_full_store_refuses_until_something_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let size = (key(1).len() + encode(&key(1), &"a").len()) as u64;
    let running = start(Store::open(dir.path(), Bounds { record_bytes_max: 2 * size, ..bounds() }).unwrap());
    running.persist(1, vec![put(1, "a"), put(2, "b")]).unwrap();

    let refused = running.persist(2, vec![put(3, "c")]).unwrap_err();

    assert!(refused.contains("full"), "{refused}");
    running.persist(3, vec![Change::Delete { key: key(1) }]).unwrap();
    running.persist(4, vec![put(3, "c")]).unwrap();
}

#[test]
fn a_batch_that_is_refused_leaves_its_neighbours_in_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let size = (key(1).len() + encode(&key(1), &"a").len()) as u64;
    let running = start(Store::open(dir.path(), Bounds { record_bytes_max: 2 * size, ..bounds() }).unwrap());

    for (ticket, keys) in [(1, vec![1]), (2, vec![2, 3]), (3, vec![4])] {
        running.committer.persist(Ticket(ticket), keys.into_iter().map(|n| put(n, "a")).collect());
    }

    let good: Vec<bool> = running.answers(3).iter().map(|answer| answer.result.is_ok()).collect();
    assert_eq!(good, [true, false, true]);
    drop(running);
    assert_eq!(open(dir.path()).records, [record(1, "a"), record(4, "a")]);
}

#[test]
fn a_store_of_a_later_release_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    pages::tests_set_facts(&file_of(dir.path()), 3, true);

    let opened = Store::open(dir.path(), bounds());

    assert!(matches!(opened, Err(StoreError::NewerFormat { theirs: 3, ours: 2, .. })), "{opened:?}");
}

#[test]
fn a_store_of_the_first_release_gets_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(open(dir.path()));
    running.persist(1, vec![put(1, "a")]).unwrap();
    drop(running);
    pages::tests_set_facts(&file_of(dir.path()), 1, false);
    std::fs::remove_file(log::path(dir.path())).unwrap();

    let running = start(open(dir.path()));
    running.persist(2, vec![put(2, "b")]).unwrap();
    drop(running);

    assert!(log::path(dir.path()).exists());
    assert_eq!(open(dir.path()).records, [record(1, "a"), record(2, "b")]);
}

#[test]
fn a_batch_larger_than_the_log_is_kept_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(open(dir.path()));
    let long = "x".repeat(40_000);

    running.persist(1, vec![put(1, "a")]).unwrap();
    running.persist(2, vec![put(2, &long), put(3, &long)]).unwrap();
    running.persist(3, vec![Change::Delete { key: key(2) }]).unwrap();
    drop(running);

    assert_eq!(open(dir.path()).records, [record(1, "a"), record(3, &long)]);
}

#[test]
fn the_log_begins_anew_when_the_database_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(open(dir.path()));

    for n in 0..100 {
        running.persist(n, vec![put(n as u32 % 7, &n.to_string())]).unwrap();
    }
    drop(running);

    let mut last: Vec<_> = (93..100).map(|n| record(n % 7, &n.to_string())).collect();
    last.sort();
    assert_eq!(open(dir.path()).records, last);
}
