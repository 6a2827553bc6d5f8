//! What somebody finds who has the disk, and what somebody who has the key as well.

use std::fs;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use shoal_protocol::MeshId;
use shoal_protocol::cbor;
use shoal_protocol::residency::{Labels, Manifest};

use super::super::partial;
use super::super::seal::HEADER_BYTES;
use super::super::tree::{Shape, Tree};
use super::transfers::{holder, part};
use super::*;

/// Content that is looked for.
const MARK: &[u8] = b"a sentence that stands in the blob and must not stand on the disk";
const QUOTA: u64 = 1 << 26;

fn hex(id: BlobId) -> String {
    id.to_string().trim_start_matches("b3:").to_owned()
}

/// Every file below a directory, but for keys, with its name.
fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files
}

#[track_caller]
fn says_nothing_of(dir: &Path, content: &[u8], id: BlobId) {
    let has = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    for (path, bytes) in files_below(dir) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!name.contains(&hex(id)[..16]), "{} is named after what it is", path.display());
        assert!(!has(&bytes, &content[..32.min(content.len())]), "{} has clear content", path.display());
        assert!(!has(&bytes, &id.0[..16]), "{} names a blob", path.display());
        assert!(!has(&bytes, &hex(id).as_bytes()[..32]), "{} names a blob in words", path.display());
    }
}

/// Waits until everything that was removed is erased.
fn erased(store: &BlobStore) {
    store.0.eraser.erase();
}

#[tokio::test]
async fn nothing_on_the_disk_says_what_is_there() {
    let (from, stored, bytes) = holder(900_000);
    let to = store(QUOTA);
    to.store.sign_as(SecretKey::from_bytes(&[1; 32]));
    let marked = to.store.put_labelled(MARK, &Labels::residing(["eu"]).unwrap()).unwrap();
    to.store.pin_for_user(marked.id).unwrap();
    let download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();
    part(&from, &download, 400_000, u64::MAX).await.0.unwrap_err();
    let mut writer = to.store.writer(None).unwrap();
    writer.write(MARK).unwrap();

    for dir in [&to.dir, &from.dir] {
        says_nothing_of(dir.path(), MARK, marked.id);
        says_nothing_of(dir.path(), &bytes[300_000..], stored.id);
        // Nor the hashes of its parts, which whoever has the blob can make.
        let (_, tree) = Tree::build(Shape::of(stored.bytes), &bytes[..]).unwrap();
        for pair in tree.hashes().chunks(32).take(4) {
            says_nothing_of(dir.path(), pair, stored.id);
        }
    }
    // The tree of a blob that was served and that of one that has come.
    part(&from, &download, u64::MAX, u64::MAX).await.0.unwrap();
    download.finish().await.unwrap();
    assert_eq!((from.files("trees"), to.files("trees")), (1, 1));
    for dir in [&to.dir, &from.dir] {
        let (_, tree) = Tree::build(Shape::of(stored.bytes), &bytes[..]).unwrap();
        says_nothing_of(dir.path(), &tree.hashes()[..32], stored.id);
        says_nothing_of(dir.path(), &bytes[700_000..], stored.id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_part_is_read_as_it_was_put(
        bytes in 0usize..70_000,
        parts in prop::collection::vec((0u64..80_000, 0usize..20_000), 1..8),
    ) {
        let fixture = store(QUOTA);
        let content: Vec<u8> = (0..bytes).map(|n| ((n * 31) >> 3) as u8).collect();
        let mut writer = fixture.store.writer(None).unwrap();
        content.chunks(1_000.max(bytes / 7)).for_each(|piece| writer.write(piece).unwrap());
        let id = writer.finish().unwrap().id;
        let mut reader = fixture.store.open_read(id).unwrap();
        prop_assert_eq!(reader.size_bytes(), bytes as u64);

        for (at, length) in parts {
            let mut read = Vec::new();
            reader.seek(SeekFrom::Start(at)).unwrap();
            reader.by_ref().take(length as u64).read_to_end(&mut read).unwrap();

            let from = bytes.min(at as usize);
            prop_assert_eq!(&read[..], &content[from..bytes.min(from + length)]);
        }
        prop_assert_eq!(fixture.store.read(id).unwrap(), content);
    }
}

#[test]
fn a_long_blob_is_the_same_whatever_pieces_it_comes_in() {
    let content: Vec<u8> = (0..1_300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let id = BlobId::of(&content);
    for piece in [1_000, 512 * 1024 - 1, 512 * 1024, 512 * 1024 + 1, content.len()] {
        let fixture = store(QUOTA);
        let mut writer = fixture.store.writer(None).unwrap();
        let mut written = 0;
        for piece in content.chunks(piece) {
            writer.write(piece).unwrap();
            written += piece.len() as u64;
            assert_eq!(writer.written(), written);
        }

        assert_eq!(writer.finish().unwrap(), Stored { id, bytes: content.len() as u64 }, "in pieces of {piece}");
        assert_eq!(fixture.store.read(id).unwrap(), content);
    }
    let fixture = store(QUOTA);
    assert_eq!(fixture.store.put(&content).unwrap().id, id);
    assert_eq!(fixture.store.read(id).unwrap(), content);
}

#[test]
fn a_store_is_not_opened_without_its_key_nor_with_another() {
    let fixture = store(QUOTA);
    let id = fixture.store.put(MARK).unwrap().id;
    let key_file = fixture.dir.path().join("store.key");
    let key = fs::read(&key_file).unwrap();
    let open = || BlobStore::open(fixture.dir.path(), QUOTA);

    fs::remove_file(&key_file).unwrap();
    let missing = open().unwrap_err();
    assert!(matches!(&missing, BlobError::KeyMissing { path, .. } if *path == key_file), "{missing}");
    assert!(missing.hint().contains("store.key_file") && !key_file.exists(), "none is made in its place");

    fs::write(&key_file, [7; 32]).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(open(), Err(BlobError::WrongKey { .. })));
    fs::write(&key_file, [7; 31]).unwrap();
    assert!(matches!(open(), Err(BlobError::KeyDamaged { bytes: 31, .. })));
    fs::write(&key_file, &key).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(open(), Err(BlobError::KeyExposed { mode: 0o640, .. })));

    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(open().unwrap().read(id).unwrap(), MARK, "nothing was harmed meanwhile");
    // Also while nothing but the list of what is pinned lies there.
    let empty = store(QUOTA);
    fs::remove_file(empty.dir.path().join("store.key")).unwrap();
    assert!(matches!(BlobStore::open(empty.dir.path(), QUOTA), Err(BlobError::KeyMissing { .. })));
}

#[test]
fn a_key_may_be_on_another_device() {
    let (dir, device) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sealing = Sealing::new(device.path().join("shoal.key"), MeshId([1; 32]));

    let id = BlobStore::open_sealed(dir.path(), QUOTA, &sealing).unwrap().put(MARK).unwrap().id;

    assert!(!dir.path().join("store.key").exists());
    assert_eq!(BlobStore::open_sealed(dir.path(), QUOTA, &sealing).unwrap().read(id).unwrap(), MARK);
    assert!(matches!(BlobStore::open(dir.path(), QUOTA), Err(BlobError::KeyMissing { .. })));
}

#[test]
fn a_damaged_header_is_set_aside_and_the_others_are_found() {
    let fixture = store(QUOTA);
    let [a, b, c] = [b"first!", b"second", b"third!"].map(|bytes| fixture.store.put(bytes).unwrap().id);
    for (id, at, with) in [(a, 30, vec![0xff; 3]), (b, 0, vec![0; HEADER_BYTES as usize])] {
        let mut file = fs::read(fixture.file_of(id)).unwrap();
        file[at..at + with.len()].copy_from_slice(&with);
        fs::write(fixture.file_of(id), file).unwrap();
    }

    let again = BlobStore::open(fixture.dir.path(), QUOTA).unwrap();

    assert_eq!(again.list(), [(c, 6)]);
    assert_eq!(fixture.files("set-aside"), 1, "that of nothing is of no use to anybody");
    erased(&again);
    assert_eq!((fixture.files("objects"), fixture.files("erasing")), (1, 0));
    // While it is open, it is found when it is read.
    let mut file = fs::read(again.file_of(c)).unwrap();
    file[30] ^= 1;
    fs::write(again.file_of(c), file).unwrap();
    assert!(matches!(again.read(c), Err(BlobError::Corrupt { .. })));
}

#[test]
fn a_file_under_the_name_of_another_is_not_taken_for_it() {
    let fixture = store(QUOTA);
    let [a, b] = [b"first!", b"second"].map(|bytes| fixture.store.put(bytes).unwrap().id);
    fs::rename(fixture.file_of(a), fixture.file_of(b)).unwrap();

    assert!(matches!(fixture.store.read(b), Err(BlobError::Corrupt { .. })));
    let again = BlobStore::open(fixture.dir.path(), QUOTA).unwrap();
    assert_eq!(again.list(), []);
}

/// Whoever kept the file, or finds the blocks that it had, has no key to it.
#[test]
fn what_is_removed_cannot_be_read_from_its_blocks() {
    let over = Labels::default().until(crate::driver::unix_time().as_secs());
    type Remove = fn(&BlobStore, BlobId);
    let ways: [(&Labels, Remove); 3] = [
        (&Labels::default(), |store, id| store.remove(id).unwrap()),
        (&over, |store, id| {
            assert_eq!(store.expire(), [id]);
            erased(store);
        }),
        (&Labels::default(), |store, _| {
            store.put(&[7; 900]).unwrap();
            erased(store);
        }),
    ];
    for (labels, remove) in ways {
        let fixture = store(1_000);
        fixture.store.sign_as(SecretKey::from_bytes(&[1; 32]));
        let stored = fixture.store.put_labelled(&MARK.repeat(4), labels).unwrap();
        let (file, kept) = (fixture.file_of(stored.id), fixture.dir.path().join("kept"));
        fs::hard_link(&file, &kept).unwrap();

        remove(&fixture.store, stored.id);

        assert_eq!((fixture.store.stat(stored.id), file.exists(), fixture.files("erasing")), (None, false, 0));
        let left = fs::read(&kept).unwrap();
        assert_eq!(left[..HEADER_BYTES as usize], [0; HEADER_BYTES as usize]);
        assert_eq!(left.len() as u64, stored.bytes + HEADER_BYTES);
        fs::rename(&kept, &file).unwrap();
        let again = BlobStore::open(fixture.dir.path(), 10_000).unwrap();
        assert_eq!(again.stat(stored.id), None);
    }
}

#[test]
fn who_reads_what_is_removed_reads_to_its_end() {
    let fixture = store(QUOTA);
    fixture.store.sign_as(SecretKey::from_bytes(&[1; 32]));
    let stored = fixture.store.put(MARK).unwrap();
    let mut reader = fixture.store.open_read(stored.id).unwrap();

    let over = crate::driver::unix_time().as_secs() - 60;
    fixture.store.label(stored, &Labels::default().until(over)).unwrap();
    assert_eq!(fixture.store.expire(), [stored.id]);
    erased(&fixture.store);

    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert_eq!(read, MARK);
    assert!(matches!(fixture.store.open_read(stored.id), Err(BlobError::NotFound { .. })));
}

#[test]
fn a_write_that_is_given_up_leaves_no_key() {
    let fixture = store(QUOTA);
    let kept = fixture.dir.path().join("kept");
    let mut writer = fixture.store.writer(Some((BlobId::of(b"other"), MARK.len() as u64))).unwrap();
    writer.write(MARK).unwrap();
    let temporary = fs::read_dir(fixture.dir.path().join("partial")).unwrap().next().unwrap().unwrap().path();
    fs::hard_link(temporary, &kept).unwrap();

    assert!(matches!(writer.finish(), Err(BlobError::WrongContent { .. })));

    assert_eq!(fs::read(kept).unwrap()[..HEADER_BYTES as usize], [0; HEADER_BYTES as usize]);
}

#[test]
fn the_same_content_put_again_is_the_same_file() {
    let fixture = store(QUOTA);
    let put = || {
        let mut writer = fixture.store.writer(None).unwrap();
        writer.write(MARK).unwrap();
        writer.finish_durable().unwrap().id
    };
    let id = put();
    let before = fs::read(fixture.file_of(id)).unwrap();

    assert_eq!(put(), id);

    assert_eq!(fs::read(fixture.file_of(id)).unwrap(), before, "it is under the key that it was under");
    assert!(fixture.store.is_durable(id) && fixture.files("partial") == 0);
    // But what is damaged is put anew.
    fs::write(fixture.file_of(id), b"damaged").unwrap();
    put();
    assert_eq!(fixture.store.read(id).unwrap(), MARK);
}

#[tokio::test]
async fn a_part_is_gone_on_with_under_its_key_and_is_nothing_without_its_header() {
    let (from, stored, bytes) = holder(900_000);
    let to = store(QUOTA);
    let download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();
    part(&from, &download, 500_000, u64::MAX).await.0.unwrap_err();
    drop(download);
    let (content, _) = partial::paths(&to.store, stored.id);

    let again = BlobStore::open(to.dir.path(), QUOTA).unwrap();
    assert_eq!(again.parts(), [(stored.id, stored.bytes)]);
    let mut file = fs::read(&content).unwrap();
    file[..HEADER_BYTES as usize].fill(0);
    fs::write(&content, file).unwrap();
    let download = Download::begin(&again, stored.id, Some(stored.bytes), None).await.unwrap();
    part(&from, &download, u64::MAX, u64::MAX).await.0.unwrap();
    download.finish().await.unwrap();

    assert_eq!(again.read(stored.id).unwrap(), bytes);
    assert!(again.parts().is_empty());
}

#[tokio::test]
async fn a_blob_that_is_put_while_it_is_fetched_is_there_once() {
    let (from, stored, bytes) = holder(300_000);
    let to = store(QUOTA);
    let download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();
    part(&from, &download, u64::MAX, u64::MAX).await.0.unwrap();

    to.store.put(&bytes).unwrap();
    download.finish().await.unwrap();

    assert_eq!(to.store.read(stored.id).unwrap(), bytes);
    assert_eq!((to.store.parts(), to.files("objects"), to.files("incoming")), (vec![], 1, 0));
    assert_eq!(to.store.usage().0, partial::footprint(stored.bytes));
}

/// As a machine that leaves one mesh and joins another: it keeps what it has, under other names.
#[test]
fn names_are_those_of_the_mesh_and_blobs_outlive_a_change_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let sealing = |n: u8| Sealing::new(key.clone(), MeshId([n; 32]));
    let blobs = dir.path().join("blobs");
    let before = BlobStore::open_sealed(&blobs, QUOTA, &sealing(1)).unwrap();
    before.sign_as(SecretKey::from_bytes(&[1; 32]));
    let id = before.put_labelled(MARK, &Labels::residing(["eu"]).unwrap()).unwrap().id;
    let name = before.file_of(id);

    for _ in 0..2 {
        let after = BlobStore::open_sealed(&blobs, QUOTA, &sealing(2)).unwrap();

        assert!(after.file_of(id) != name && !name.exists());
        assert_eq!(after.read(id).unwrap(), MARK);
        assert_eq!(after.labels(id).places(), ["eu"]);
    }
}

/// Everything as the version before wrote it.
fn of_the_version_before() -> (tempfile::TempDir, Vec<Stored>) {
    #[derive(serde::Serialize)]
    struct OnDisk {
        bytes: u64,
        signed: Vec<shoal_protocol::residency::SignedManifest>,
    }
    #[derive(serde::Serialize)]
    struct Held {
        v: u8,
        p: Vec<BlobId>,
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["objects", "trees", "partial", "incoming", "set-aside", "manifests"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let contents = [MARK.to_vec(), MARK.repeat(1_000), Vec::new()];
    let blobs: Vec<Stored> =
        contents.iter().map(|bytes| Stored { id: BlobId::of(bytes), bytes: bytes.len() as u64 }).collect();
    for (blob, bytes) in blobs.iter().zip(&contents) {
        fs::write(dir.path().join("objects").join(hex(blob.id)), bytes).unwrap();
        fs::write(dir.path().join("trees").join(hex(blob.id)), b"hashes").unwrap();
    }
    let labels = Labels::residing(["eu"]).unwrap();
    let signed = vec![Manifest::sign(blobs[0].id, blobs[0].bytes, labels, &SecretKey::from_bytes(&[1; 32]))];
    let manifest = cbor::encode(&OnDisk { bytes: blobs[0].bytes, signed });
    fs::write(dir.path().join("manifests").join(hex(blobs[0].id)), manifest).unwrap();
    fs::write(dir.path().join("manifests").join(hex(blobs[1].id)), b"damaged").unwrap();
    fs::write(dir.path().join("holds.cbor"), cbor::encode(&Held { v: 1, p: vec![blobs[1].id] })).unwrap();
    let part = BlobId::of(b"a part");
    for name in [hex(part), format!("{}.tree", hex(part))] {
        fs::write(dir.path().join("incoming").join(name), MARK).unwrap();
    }
    fs::write(dir.path().join("set-aside").join(hex(part)), MARK).unwrap();
    (dir, blobs)
}

#[test]
fn what_the_version_before_left_is_kept_and_sealed() {
    let (dir, blobs) = of_the_version_before();

    let store = BlobStore::open(dir.path(), QUOTA).unwrap();

    let whole = |store: &BlobStore| {
        assert_eq!(store.read(blobs[0].id).unwrap(), MARK);
        assert_eq!(store.open_read(blobs[1].id).unwrap().size_bytes(), blobs[1].bytes);
        assert_eq!(store.stat(blobs[2].id), Some(0));
        assert_eq!(store.labels(blobs[0].id).places(), ["eu"]);
        assert_eq!(store.labels(blobs[1].id), Labels::sealed());
        assert!(store.held(blobs[1].id).pinned && store.parts().is_empty());
    };
    whole(&store);
    while store.is_clear(blobs[2].id) {
        // Also just when one is being replaced.
        whole(&store);
    }
    until_sealed(&store, &blobs);
    for blob in &blobs[..2] {
        // The one damaged manifest stays as it was found, under the name that it had.
        let _ = fs::remove_file(dir.path().join("manifests").join(hex(blobs[1].id)));
        says_nothing_of(dir.path(), MARK, blob.id);
    }
    whole(&store);
    let again = BlobStore::open(dir.path(), QUOTA).unwrap();
    assert_eq!(again.read(blobs[0].id).unwrap(), MARK);
    assert_eq!(again.list().len(), 3);
    again.remove(blobs[0].id).unwrap();
    assert!(again.labels(blobs[0].id).is_empty());
}

fn until_sealed(store: &BlobStore, blobs: &[Stored]) {
    let end = Instant::now() + Duration::from_secs(60);
    while blobs.iter().any(|blob| store.is_clear(blob.id)) {
        assert!(Instant::now() < end, "they are never sealed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A kill at any moment of that leaves each blob readable, and the next start goes on.
#[test]
fn sealing_that_is_cut_off_loses_nothing() {
    let (dir, blobs) = of_the_version_before();
    {
        let store = BlobStore::open(dir.path(), QUOTA).unwrap();
        until_sealed(&store, &blobs);
    }
    // Both are there: the sealed one has its place, and the clear one is not removed yet.
    fs::write(dir.path().join("objects").join(hex(blobs[0].id)), MARK).unwrap();

    let store = BlobStore::open(dir.path(), QUOTA).unwrap();
    assert_eq!(store.list().len(), 3);
    assert_eq!(store.read(blobs[0].id).unwrap(), MARK);
    until_sealed(&store, &blobs);

    assert!(!dir.path().join("objects").join(hex(blobs[0].id)).exists());
    assert_eq!(store.read(blobs[0].id).unwrap(), MARK);
}

/// A clear blob that was damaged, one that is removed, and one that makes room while they wait to be sealed.
#[test]
fn clear_blobs_are_set_aside_removed_and_evicted_as_others_are() {
    let (dir, blobs) = of_the_version_before();
    fs::write(dir.path().join("objects").join(hex(blobs[0].id)), b"damaged").unwrap();
    let store = BlobStore::open(dir.path(), QUOTA).unwrap();

    let damaged = store.read(blobs[0].id);
    assert!(matches!(damaged, Err(BlobError::Corrupt { .. } | BlobError::NotFound { .. })), "{damaged:?}");
    store.unpin_for_user(blobs[1].id).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.remove(blobs[1].id) {
        // It is being sealed just now.
        assert!(matches!(error, BlobError::InUse { .. }) && Instant::now() < end, "{error}");
    }

    assert_eq!((store.stat(blobs[0].id), store.stat(blobs[1].id)), (None, None));
    assert!(!dir.path().join("objects").join(hex(blobs[1].id)).exists());
}
