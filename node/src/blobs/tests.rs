//! The store on a real disk; `transfers` over an in-memory stream.

mod labels;
mod sealed;
mod transfers;

use std::io::Read;
use std::path::Path;

use shoal_protocol::id::{BlobId, PeerId, TaskId};

use super::aside::SET_ASIDE_MAX;
use super::*;

const HOME: PeerId = PeerId([3; 32]);
const TASK: TaskId = TaskId([4; 16]);

struct Fixture {
    store: BlobStore,
    dir: tempfile::TempDir,
}

fn store(quota: u64) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    Fixture { store: BlobStore::open(dir.path(), quota).unwrap(), dir }
}

impl Fixture {
    fn files(&self, folder: &str) -> usize {
        self.dir.path().join(folder).read_dir().unwrap().count()
    }

    fn file_of(&self, id: BlobId) -> PathBuf {
        self.store.file_of(id)
    }
}

#[test]
fn what_is_put_is_read_back_also_after_a_restart() {
    let fixture = store(1_000);

    let stored = fixture.store.put(b"content").unwrap();
    assert_eq!(fixture.store.put(b"content").unwrap(), stored);

    assert_eq!(stored, Stored { id: BlobId::of(b"content"), bytes: 7 });
    assert_eq!(fixture.store.list(), [(stored.id, 7)]);
    assert_eq!(fixture.store.usage(), (7, 1_000));
    let again = BlobStore::open(fixture.dir.path(), 1_000).unwrap();
    assert_eq!(again.read(stored.id).unwrap(), b"content");
    assert_eq!(again.stat(stored.id), Some(7));
    assert!(matches!(again.read(BlobId::of(b"other")), Err(BlobError::NotFound { .. })));
}

#[test]
fn the_longest_unused_blob_makes_room() {
    let fixture = store(30);
    let [a, b, c] = [b"aaaaaaaaaa", b"bbbbbbbbbb", b"cccccccccc"].map(|bytes| fixture.store.put(bytes).unwrap().id);
    fixture.store.read(a).unwrap();

    fixture.store.put(b"dddddddddd").unwrap();

    assert_eq!([a, b, c].map(|id| fixture.store.stat(id).is_some()), [true, false, true]);
    assert_eq!(fixture.files("objects"), 3);
}

#[test]
fn pinned_blobs_stay_and_the_quota_holds() {
    let fixture = store(20);
    let a = fixture.store.put(b"aaaaaaaaaa").unwrap().id;
    let b = fixture.store.put(b"bbbbbbbbbb").unwrap().id;
    let pins = [fixture.store.pin(a).unwrap(), fixture.store.pin(b).unwrap()];

    let refused = fixture.store.put(b"cccccccccc").unwrap_err();

    assert!(matches!(refused, BlobError::NoRoom { needed: 10, held: 20, quota: 20, .. }), "{refused}");
    assert_eq!((fixture.files("objects"), fixture.files("partial")), (2, 0));
    drop(pins);
    fixture.store.put(b"cccccccccc").unwrap();
    assert_eq!(fixture.store.usage(), (20, 20));
}

#[test]
fn a_smaller_quota_evicts_once_it_is_known_what_must_stay() {
    let fixture = store(100);
    fixture.store.put(&[1; 40]).unwrap();
    fixture.store.put(&[2; 40]).unwrap();

    let smaller = BlobStore::open(fixture.dir.path(), 50).unwrap();
    let oldest = smaller.pin(BlobId::of(&[1; 40])).unwrap();
    smaller.fit_to_quota();

    assert!(smaller.stat(BlobId::of(&[1; 40])).is_some());
    drop(oldest);
    assert_eq!((smaller.list().len(), fixture.files("objects")), (1, 1));
}

#[test]
fn what_a_torn_write_left_is_removed_when_the_store_opens() {
    let fixture = store(100);
    let mut writer = fixture.store.writer(None).unwrap();
    writer.write(b"half").unwrap();
    // As after a crash: nobody cleans up.
    std::mem::forget(writer);
    assert_eq!(fixture.files("partial"), 1);

    BlobStore::open(fixture.dir.path(), 100).unwrap();

    assert_eq!((fixture.files("partial"), fixture.files("objects")), (0, 0));
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let fixture = store(100);
    let mut writer = fixture.store.writer(None).unwrap();
    writer.write(b"half").unwrap();

    drop(writer);

    assert_eq!((fixture.files("partial"), fixture.store.usage().0), (0, 0));
}

#[test]
fn a_full_disk_is_told_from_other_failures() {
    let path = Path::new("blob");
    let full = BlobError::io("write to", path)(io::ErrorKind::StorageFull.into());
    let other = BlobError::io("write to", path)(io::ErrorKind::PermissionDenied.into());

    assert!(matches!(full, BlobError::DiskFull { .. }));
    assert!(matches!(other, BlobError::Io { .. }));
}

#[test]
fn a_writer_refuses_what_was_not_announced() {
    let fixture = store(100);
    let expected = Some((BlobId::of(b"12345"), 5));

    let mut too_long = fixture.store.writer(expected).unwrap();
    assert!(matches!(too_long.write(b"123456"), Err(BlobError::WrongSize { expected: 5, found: 6 })));
    drop(too_long);
    let mut too_short = fixture.store.writer(expected).unwrap();
    too_short.write(b"123").unwrap();
    assert!(matches!(too_short.finish(), Err(BlobError::WrongSize { expected: 5, found: 3 })));
    let mut wrong = fixture.store.writer(expected).unwrap();
    wrong.write(b"54321").unwrap();
    assert!(matches!(wrong.finish(), Err(BlobError::WrongContent { .. })));

    assert!(matches!(fixture.store.writer(Some((BlobId([0; 32]), 101))), Err(BlobError::NoRoom { .. })));
    assert_eq!((fixture.files("partial"), fixture.files("objects"), fixture.store.usage().0), (0, 0, 0));
    let mut right = fixture.store.writer(expected).unwrap();
    right.write(b"123").unwrap();
    right.write(b"45").unwrap();
    assert_eq!(right.finish_durable().unwrap().id, BlobId::of(b"12345"));
}

#[test]
fn a_corrupt_blob_is_set_aside_and_never_handed_out() {
    for size_too in [false, true] {
        let fixture = store(1_000);
        let id = fixture.store.put(b"precious").unwrap().id;
        let altered: &[u8] = if size_too { b"prec" } else { b"precioux" };
        std::fs::write(fixture.file_of(id), altered).unwrap();

        let error =
            if size_too { fixture.store.read(id).unwrap_err() } else { fixture.store.open_read(id).unwrap_err() };

        let BlobError::Corrupt { set_aside, .. } = error else { panic!("{error}") };
        assert_eq!(std::fs::read(set_aside).unwrap(), altered);
        assert_eq!((fixture.store.stat(id), fixture.store.usage().0), (None, 0));
        assert!(matches!(fixture.store.open_read(id), Err(BlobError::NotFound { .. })));
        fixture.store.put(b"precious").unwrap();
        assert_eq!(fixture.store.read(id).unwrap(), b"precious");
    }
}

#[test]
fn corrupt_files_that_are_kept_are_bounded() {
    let fixture = store(1_000);
    for i in 0..SET_ASIDE_MAX as u8 + 3 {
        let id = fixture.store.put(&[i; 9]).unwrap().id;
        std::fs::write(fixture.file_of(id), b"changed").unwrap();
        fixture.store.read(id).unwrap_err();
    }

    assert_eq!(fixture.files("set-aside"), SET_ASIDE_MAX);
}

#[test]
fn an_open_blob_is_read_to_its_end_even_when_room_is_wanted() {
    let fixture = store(20);
    let id = fixture.store.put(&[7; 15]).unwrap().id;
    let mut reader = fixture.store.open_read(id).unwrap();

    assert!(matches!(fixture.store.put(&[8; 15]), Err(BlobError::NoRoom { .. })));

    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!((bytes, reader.size_bytes()), (vec![7; 15], 15));
}

#[test]
fn what_a_user_pinned_stays_over_a_restart_and_is_named_when_room_is_wanted() {
    let fixture = store(20);
    let pinned = fixture.store.put(b"aaaaaaaaaa").unwrap().id;
    fixture.store.pin_for_user(pinned).unwrap();
    let again = BlobStore::open(fixture.dir.path(), 20).unwrap();
    assert_eq!(again.held(pinned), Held { pinned: true, leases: 0 });

    again.put(b"bbbbbbbbbb").unwrap();
    again.put(b"cccccccccc").unwrap();
    let refused = again.put(&[7; 15]).unwrap_err();

    assert!(again.stat(pinned).is_some());
    assert!(
        matches!(refused, BlobError::NoRoom { needed: 15, held: 10, quota: 20, pinned: 10, leased: 0 }),
        "{refused}"
    );
    assert!(refused.to_string().contains("10 are pinned") && refused.hint().contains("unpin"), "{refused}");
    assert!(matches!(again.remove(pinned), Err(BlobError::InUse { .. })));
    assert!(again.unpin_for_user(pinned).unwrap());
    assert!(!again.unpin_for_user(pinned).unwrap());
    again.remove(pinned).unwrap();
    assert!(matches!(again.remove(pinned), Err(BlobError::NotFound { .. })));
    let last = BlobStore::open(fixture.dir.path(), 20).unwrap();
    assert!(!last.held(pinned).is_held());
}

#[test]
fn an_output_left_here_stays_until_its_home_or_its_time_lets_it_go() {
    let fixture = store(40);
    let output = fixture.store.put(b"aaaaaaaaaa").unwrap().id;
    fixture.store.lease(HOME, TASK, Some(output), 1_000).unwrap();
    fixture.store.save_holds().unwrap();
    let again = BlobStore::open(fixture.dir.path(), 40).unwrap();
    assert_eq!(again.held(output).leases, 1);

    assert!(!again.expire_leases(999));
    again.lease(HOME, TASK, None, 2_000).unwrap();
    assert!(!again.expire_leases(1_000), "it was renewed");
    assert!(!again.release_lease(PeerId([9; 32]), TASK), "by another home it is not let go");
    assert!(again.expire_leases(2_000));
    assert!(!again.held(output).is_held());

    again.lease(HOME, TASK, Some(output), 3_000).unwrap();
    assert!(again.release_lease(HOME, TASK));
    assert!(!again.held(output).is_held());
    assert!(!again.lease(HOME, TASK, None, 3_000).unwrap(), "there is nothing to save");
    assert!(!again.held(output).is_held(), "what is not known is not held");
}

#[test]
fn a_lease_that_moves_to_another_output_lets_the_first_go() {
    let fixture = store(40);
    let [first, second] = [b"aaaaaaaaaa", b"bbbbbbbbbb"].map(|bytes| fixture.store.put(bytes).unwrap().id);
    fixture.store.lease(HOME, TASK, Some(first), 1_000).unwrap();

    assert!(fixture.store.lease(HOME, TASK, Some(second), 1_000).unwrap());

    assert_eq!((fixture.store.held(first).leases, fixture.store.held(second).leases), (0, 1));
}

#[test]
fn one_home_leaves_room_for_the_outputs_of_others() {
    let fixture = store(1_000);
    let output = fixture.store.put(b"aaaaaaaaaa").unwrap().id;
    let task = |n: u16| TaskId(std::array::from_fn(|at| if at < 2 { n.to_be_bytes()[at] } else { 0 }));

    let taken = (0..5_000).filter(|n| fixture.store.lease(HOME, task(*n), Some(output), 1).is_ok()).count();

    assert_eq!(taken, 2_048);
    assert!(fixture.store.lease(PeerId([9; 32]), TASK, Some(output), 1).is_ok());
}

#[test]
fn very_many_small_blobs_make_room_for_a_large_one_and_a_refusal_costs_none() {
    let fixture = store(1_000);
    let small: Vec<_> = (0..100_u8).map(|n| fixture.store.put(&[n; 10]).unwrap().id).collect();
    let _held = fixture.store.pin(small[0]).unwrap();

    assert!(matches!(fixture.store.put(&[1; 995]), Err(BlobError::NoRoom { held: 10, .. })));
    assert_eq!(fixture.store.list().len(), 100);

    let large = fixture.store.put(&[1; 990]).unwrap();
    assert_eq!(fixture.store.list().len(), 2);
    assert_eq!((fixture.store.stat(large.id), fixture.files("objects")), (Some(990), 2));
}

#[test]
fn outputs_left_here_take_half_of_the_quota_at_most() {
    let fixture = store(30);
    let first = fixture.store.put(b"aaaaaaaaaa").unwrap().id;
    let second = fixture.store.put(b"bbbbbbbbbb").unwrap().id;

    fixture.store.lease(HOME, TASK, Some(first), 1).unwrap();
    let refused = fixture.store.lease(HOME, TaskId([5; 16]), Some(second), 1);

    assert!(matches!(refused, Err(BlobError::NoRoom { leased: 10, .. })), "{refused:?}");
}

#[test]
fn a_list_of_pins_that_cannot_be_read_stops_the_store() {
    let fixture = store(30);
    std::fs::write(fixture.dir.path().join("holds.cbor"), b"garbage").unwrap();

    assert!(matches!(BlobStore::open(fixture.dir.path(), 30), Err(BlobError::HoldsDamaged { .. })));
}

/// Two bring the same at once, and the first has it synced before the second gives the file another content.
#[test]
fn a_blob_whose_file_is_replaced_has_to_be_made_durable_anew() {
    let mut index = Index::new(1 << 20);
    let id = BlobId([1; 32]);
    index.insert(id, 5, None);
    index.set_durable(id);

    index.insert(id, 5, None);

    assert!(!index.is_durable(id) && index.bytes_of(id) == Some(5));
}

/// Another user's file, or a disk that answers again after a restart.
#[test]
fn a_blob_that_cannot_be_read_at_start_stays_where_it_is() {
    let fixture = store(1 << 20);
    let id = fixture.store.put(&[5; 5_000]).unwrap().id;
    let path = fixture.file_of(id);
    let Fixture { store, dir } = fixture;
    drop(store);
    let bytes = std::fs::read(&path).unwrap();
    // Opening it fails for want of neither a header nor a length.
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();

    let store = BlobStore::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(store.stat(id), None);
    drop(store);

    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(BlobStore::open(dir.path(), 1 << 20).unwrap().stat(id), Some(5_000));
}
