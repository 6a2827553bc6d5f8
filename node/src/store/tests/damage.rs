//! A store whose file was changed while nobody looked: everything acknowledged is back, or damage is named.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

const CASES: u64 = 400;
const TASKS: u32 = 120;

/// A store with a history, ended in order or as by kill −9, and its records.
fn grown(dir: &Path, in_order: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let running = start(open(dir));
    for n in 0..TASKS {
        running.committer.persist(Ticket(u64::from(n)), vec![put(n, &"x".repeat(n as usize * 7))]);
    }
    running.committer.persist(Ticket(1_000), (0..TASKS / 3).map(|n| Change::Delete { key: key(n) }).collect());
    running.committer.persist(Ticket(1_001), vec![put(TASKS - 1, "last")]);
    assert!(running.answers(TASKS as usize + 2).iter().all(|answer| answer.result.is_ok()));
    if !in_order {
        ["killed", "started"].iter().for_each(|name| as_killed(dir, &dir.join(name)));
    }
    drop(running);
    if in_order { open(dir).records } else { open(&dir.join("started")).records }
}

/// What the disk holds at this moment is what a killed process leaves.
fn as_killed(dir: &Path, copy: &Path) {
    std::fs::create_dir(copy).unwrap();
    for file in [file_of(dir), log::path(dir), marker::path(dir)] {
        std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
    }
}

/// Bytes of a store: its database, its marker and its log.
#[derive(PartialEq, Clone)]
struct Image(Vec<u8>, Vec<u8>, Vec<u8>);

impl Image {
    fn of(dir: &Path) -> Self {
        let read = |path: PathBuf| std::fs::read(path).unwrap();
        Self(read(file_of(dir)), read(marker::path(dir)), read(log::path(dir)))
    }

    fn write(&self, dir: &Path) {
        std::fs::write(file_of(dir), &self.0).unwrap();
        std::fs::write(marker::path(dir), &self.1).unwrap();
        std::fs::write(log::path(dir), &self.2).unwrap();
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();

    let records = grown(dir.path(), false);

    assert_eq!(records.len(), (TASKS - TASKS / 3) as usize);
    assert!(records.contains(&record(TASKS - 1, "last")));
}

fn mend(dir: &Path) -> Result<Option<Repaired>, StoreError> {
    repair(dir, shoal_protocol::task::durable::doubt)
}

/// Flips, cuts and zeroes at random places of a store that was closed, and of one that was killed.
#[test]
fn damage_at_rest_is_named_or_nothing_is_lost() {
    let mut named = 0;
    for in_order in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let records = grown(dir.path(), in_order);
        let from = if in_order { dir.path().to_owned() } else { dir.path().join("killed") };
        let image = Image::of(&from);
        for seed in 0..CASES / 2 {
            let at = tempfile::tempdir().unwrap();
            let mut random = Pcg64Mcg::seed_from_u64(seed);
            let mut hurt = image.clone();
            hurt.hurt(&mut random);
            hurt.write(at.path());

            match Store::open(at.path(), bounds()) {
                Ok(store) => assert!(store.records == records, "seed {seed}, closed in order: {in_order}"),
                Err(StoreError::Damaged { .. }) => {
                    named += 1;
                    assert!(Image::of(at.path()) == hurt, "seed {seed}: a refusal changes nothing");
                    if seed % 8 == 0 {
                        repairs(at.path(), &records, seed);
                    }
                }
                Err(error) => panic!("seed {seed}: damage is called {error}"),
            }
        }
    }
    assert!(named > CASES / 10, "only {named} of {CASES} cases hurt anything");
}

impl Image {
    fn hurt(&mut self, random: &mut Pcg64Mcg) {
        let file = if random.random() { &mut self.0 } else { &mut self.2 };
        let length = file.len();
        let at = random.random_range(0..length);
        match random.random_range(0..10u8) {
            0 => file.truncate(at),
            1 => file.clear(),
            2 => file[at..(at + random.random_range(1..4_096)).min(length)].fill(0),
            3 => random.fill(&mut file[at..(at + 512).min(length)]),
            4 => {
                // Pages that were written later than the marker says.
                let at = random.random_range(0..self.1.len());
                self.1[at] ^= 1;
            }
            // Where the header and the first pages are, and anywhere.
            5 | 6 => file[at % length.min(512)] ^= 1 << random.random_range(0..8u8),
            _ => file[at] ^= 1 << random.random_range(0..8u8),
        }
    }
}

/// Without what the repair notes of the store itself.
fn of_tasks(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    records.iter().filter(|(key, _)| key != b"s").cloned().collect()
}

fn repairs(dir: &Path, records: &[(Vec<u8>, Vec<u8>)], seed: u64) {
    let before = std::fs::read(file_of(dir)).unwrap();

    let repaired = mend(dir).unwrap().unwrap_or_else(|| panic!("seed {seed}: it was damaged"));

    let aside = std::fs::read(&repaired.set_aside).unwrap();
    assert!(aside == before, "seed {seed}: the damaged file is kept as it was");
    let store = open(dir);
    let kept = of_tasks(&store.records);
    let ever = |kept: &(Vec<u8>, Vec<u8>)| (0..TASKS).any(|n| *kept == record(n, &"x".repeat(n as usize * 7)));
    let was = |kept| records.contains(kept) || ever(kept);
    assert!(kept.iter().all(was), "seed {seed}: a record that never was");
    assert_eq!(kept.len(), repaired.kept);
    assert!(store.records.len() > kept.len(), "seed {seed}: it says how old it is");
    assert!(store.boot > 10_000, "seed {seed}: attempts must get greater numbers than any before");
    drop(store);
    assert_eq!(mend(dir).unwrap(), None);
}

#[test]
fn a_file_that_is_gone_is_damage_and_not_a_fresh_start() {
    let dir = tempfile::tempdir().unwrap();
    let records = grown(dir.path(), true);
    std::fs::remove_file(file_of(dir.path())).unwrap();

    let opened = Store::open(dir.path(), bounds());

    assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{opened:?}");
    let repaired = mend(dir.path()).unwrap().unwrap();
    assert!(repaired.cut_short.is_some());
    // What the log has of it is not lost.
    let kept = of_tasks(&open(dir.path()).records);
    assert_eq!(kept.len(), repaired.kept);
    assert!(kept.iter().all(|kept| records.contains(kept)));
}

#[test]
fn an_older_file_in_its_place_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let older = std::fs::read(file_of(dir.path())).unwrap();
    grown(dir.path(), true);
    std::fs::write(file_of(dir.path()), older).unwrap();

    let opened = Store::open(dir.path(), bounds());

    assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{opened:?}");
}

/// Hurts the middle of one record of a store's database, in every copy of it there is: also of old ones, in free pages.
fn hurt_one(image: &mut Image, record: &[u8]) {
    let places: Vec<usize> =
        image.0.windows(record.len()).enumerate().filter(|(_, w)| *w == record).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        image.0[at + record.len() / 2] ^= 4;
    }
}

#[test]
fn damage_to_one_record_costs_only_that_one() {
    let dir = tempfile::tempdir().unwrap();
    let records = grown(dir.path(), true);
    let mut image = Image::of(dir.path());
    hurt_one(&mut image, &records[70].1);
    image.write(dir.path());
    assert!(matches!(Store::open(dir.path(), bounds()), Err(StoreError::Damaged { .. })));

    let repaired = mend(dir.path()).unwrap().unwrap();

    assert_eq!((repaired.kept, repaired.damaged, repaired.cut_short), (records.len() - 1, 1, None));
}

/// redb verifies every page after a kill, and opens nothing where one is bad.
#[test]
fn damage_to_one_record_of_a_store_that_was_killed_costs_only_that_one() {
    let dir = tempfile::tempdir().unwrap();
    let records = grown(dir.path(), true);
    let (running, killed) = (start(open(dir.path())), dir.path().join("killed"));
    as_killed(dir.path(), &killed);
    drop(running);
    let mut image = Image::of(&killed);
    hurt_one(&mut image, &records[70].1);
    image.write(&killed);
    assert!(matches!(Store::open(&killed, bounds()), Err(StoreError::Damaged { .. })));
    // It would have some of them, too.
    std::fs::remove_file(log::path(&killed)).unwrap();

    let repaired = mend(&killed).unwrap().unwrap();

    assert_eq!((repaired.kept, repaired.damaged), (records.len() - 1, 1), "{repaired:?}");
    assert!(of_tasks(&open(&killed).records).iter().all(|kept| records.contains(kept)));
}

/// Whatever its first bytes say, it is one of redb's.
#[test]
fn a_database_that_does_not_say_what_it_is_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let records = grown(dir.path(), true);
    let mut image = Image::of(dir.path());
    image.0[2] ^= 1;
    image.write(dir.path());
    // It would have them, too.
    std::fs::remove_file(log::path(dir.path())).unwrap();

    let repaired = mend(dir.path()).unwrap().unwrap();

    assert_eq!((repaired.kept, repaired.damaged), (records.len(), 0), "{repaired:?}");
    assert!(of_tasks(&open(dir.path()).records) == records);
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let dir = tempfile::tempdir().unwrap();

    assert_eq!(mend(dir.path()).unwrap(), None);

    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// In the middle of the pages of the records, so that they cannot be read on from there.
#[test]
fn records_on_both_sides_of_a_bad_page_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let records = grown(dir.path(), true);
    let mut image = Image::of(dir.path());
    let middle = &records[40].1;
    let places = image.0.windows(middle.len()).enumerate().filter(|(_, w)| *w == middle).map(|(at, _)| at / 4_096);
    for page in places.collect::<std::collections::BTreeSet<_>>() {
        image.0[page * 4_096..(page + 1) * 4_096].fill(0);
    }
    image.write(dir.path());

    let repaired = mend(dir.path()).unwrap().unwrap();

    let kept = of_tasks(&open(dir.path()).records);
    assert!(repaired.cut_short.is_some());
    assert!(kept.contains(&records[0]) && kept.contains(records.last().unwrap()), "{repaired:?}");
    assert!(kept.len() > records.len() / 2, "{repaired:?}");
}

#[test]
fn a_log_that_is_gone_or_older_or_of_another_store_is_damage() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(open(dir.path()));
    let older = std::fs::read(log::path(dir.path())).unwrap();
    grown(dir.path(), false);
    grown(other.path(), false);
    let killed = dir.path().join("killed");
    let foreign = std::fs::read(log::path(&other.path().join("killed"))).unwrap();

    for found in [None, Some(older), Some(foreign)] {
        let at = tempfile::tempdir().unwrap();
        Image::of(&killed).write(at.path());
        std::fs::remove_file(log::path(at.path())).unwrap();
        if let Some(bytes) = &found {
            std::fs::write(log::path(at.path()), bytes).unwrap();
        }

        let opened = Store::open(at.path(), bounds());

        assert!(matches!(opened, Err(StoreError::Damaged { .. })));
        assert!(mend(at.path()).unwrap().unwrap().cut_short.is_some());
        drop(open(at.path()));
    }
}

#[test]
fn a_repair_that_is_cut_off_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    grown(dir.path(), true);
    let image = Image::of(dir.path());
    let mut hurt = image.clone();
    hurt.0.truncate(hurt.0.len() / 2);
    hurt.write(dir.path());
    let whole = mend(dir.path()).unwrap().unwrap();
    let (after, boot) = (open(dir.path()).records, 10_000);

    // As it lies after each of the last steps.
    for step in 0..4 {
        let at = tempfile::tempdir().unwrap();
        let room = at.path().join("tasks.repair");
        std::fs::create_dir(&room).unwrap();
        let repaired = Image::of(dir.path());
        hurt.write(at.path());
        std::fs::write(room.join("done.redb"), &repaired.0).unwrap();
        std::fs::write(log::path(&room), &repaired.2).unwrap();
        if step > 0 {
            std::fs::rename(file_of(at.path()), whole.set_aside.file_name().map(|name| at.path().join(name)).unwrap())
                .unwrap();
        }
        if step > 1 {
            std::fs::rename(log::path(at.path()), at.path().join("tasks.log.damaged-1")).unwrap();
        }
        if step > 2 {
            std::fs::rename(log::path(&room), log::path(at.path())).unwrap();
        }
        std::fs::remove_file(marker::path(at.path())).unwrap();

        assert!(matches!(Store::open(at.path(), bounds()), Err(StoreError::Damaged { .. })), "step {step}");
        mend(at.path()).unwrap().unwrap();

        let store = open(at.path());
        assert!(of_tasks(&store.records) == of_tasks(&after), "step {step}");
        assert!(store.boot > boot);
    }
}
