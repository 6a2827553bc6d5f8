//! The store on a real disk, and transfers over an in-memory stream.

use std::io::Read;
use std::time::Duration;

use shoal_protocol::cbor;
use shoal_protocol::id::{BlobId, PeerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const PEER: PeerId = PeerId([3; 32]);

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
        self.dir.path().join("objects").join(file_name(id))
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

    assert!(matches!(refused, BlobError::NoRoom { needed: 10, held: 20, quota: 20 }), "{refused}");
    assert_eq!((fixture.files("objects"), fixture.files("partial")), (2, 0));
    drop(pins);
    fixture.store.put(b"cccccccccc").unwrap();
    assert_eq!(fixture.store.usage(), (20, 20));
}

#[test]
fn a_smaller_quota_evicts_when_the_store_opens() {
    let fixture = store(100);
    fixture.store.put(&[1; 40]).unwrap();
    fixture.store.put(&[2; 40]).unwrap();

    let smaller = BlobStore::open(fixture.dir.path(), 50).unwrap();

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

#[tokio::test]
async fn a_blob_comes_over_whole() {
    for size in [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 17] {
        let (from, to) = (store(1 << 20), store(1 << 20));
        let bytes: Vec<u8> = (0..size).map(|i| (i * 31) as u8).collect();
        let stored = from.store.put(&bytes).unwrap();
        let server = BlobServer::new(from.store.clone(), ServeLimits::default());
        let (mut asking, mut holding) = duplex(1 << 14);

        let (served, fetched) =
            tokio::join!(server.serve(PEER, &mut holding), fetch(&mut asking, stored.id, stored.bytes, &to.store));

        assert_eq!(served.unwrap(), stored.bytes);
        fetched.unwrap();
        assert_eq!(to.store.read(stored.id).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let (from, to) = (store(1 << 20), store(1 << 20));
    let bytes: Vec<u8> = (0..5 * CHUNK_BYTES).map(|i| (i * 7) as u8).collect();
    let stored = from.store.put(&bytes).unwrap();
    let server = BlobServer::new(from.store.clone(), ServeLimits::default());
    let mut download = Download::begin(&to.store, stored.id, stored.bytes).unwrap();

    let (mut asking, mut holding) = duplex(1 << 14);
    let cut = async {
        skip_request(&mut holding).await;
        say(&mut holding, "here", stored.bytes).await;
        holding.write_all(&bytes[..2 * CHUNK_BYTES + 5]).await.unwrap();
        drop(holding);
    };
    let ((), broken) = tokio::join!(cut, download.run(&mut asking));
    let broken = broken.unwrap_err();
    assert!(broken.is_resumable(), "{broken}");

    let (mut asking, mut holding) = duplex(1 << 14);
    let (served, fetched) = tokio::join!(server.serve(PEER, &mut holding), download.run(&mut asking));
    assert_eq!(served.unwrap(), (3 * CHUNK_BYTES - 5) as u64);
    fetched.unwrap();
    assert_eq!(to.store.read(stored.id).unwrap(), bytes);
}

#[tokio::test]
async fn a_blob_that_is_not_there_or_corrupt_is_refused() {
    let (from, to) = (store(1_000), store(1_000));
    let corrupt = from.store.put(b"corrupt").unwrap();
    std::fs::write(from.file_of(corrupt.id), b"changed").unwrap();
    let server = BlobServer::new(from.store.clone(), ServeLimits::default());

    for id in [corrupt.id, BlobId::of(b"never")] {
        let (mut asking, mut holding) = duplex(64);
        let (served, fetched) = tokio::join!(server.serve(PEER, &mut holding), fetch(&mut asking, id, 7, &to.store));
        assert!(matches!(served, Err(TransferError::Store(_))));
        assert!(matches!(fetched, Err(TransferError::NotThere(_))));
    }
    assert_eq!((to.files("partial"), to.store.usage().0), (0, 0));
}

#[tokio::test]
async fn an_unexpected_size_is_refused_before_the_first_byte() {
    let (from, to) = (store(1_000), store(1_000));
    let stored = from.store.put(b"seven b").unwrap();
    let server = BlobServer::new(from.store.clone(), ServeLimits::default());
    let (mut asking, mut holding) = duplex(1_024);

    let (_, fetched) = tokio::join!(server.serve(PEER, &mut holding), fetch(&mut asking, stored.id, 9, &to.store));

    assert!(matches!(fetched, Err(TransferError::UnexpectedSize { expected: 9, announced: 7 })));
    assert_eq!(to.store.usage().0, 0);
}

#[tokio::test]
async fn wrong_bytes_are_not_kept() {
    let to = store(1_000);
    let (mut asking, mut holding) = duplex(1_024);
    let lie = async {
        skip_request(&mut holding).await;
        say(&mut holding, "here", 5).await;
        holding.write_all(b"wrong").await.unwrap();
    };

    let ((), fetched) = tokio::join!(lie, fetch(&mut asking, BlobId::of(b"right"), 5, &to.store));

    assert!(matches!(fetched, Err(TransferError::Store(BlobError::WrongContent { .. }))));
    assert_eq!((to.files("partial"), to.files("objects"), to.store.usage().0), (0, 0, 0));
}

#[tokio::test]
async fn an_endless_stream_ends_at_the_announced_size() {
    let to = store(1_000);
    let (mut asking, mut holding) = duplex(256);
    let flood = async move {
        skip_request(&mut holding).await;
        say(&mut holding, "here", 5).await;
        holding.write_all(b"right").await.unwrap();
        // Until the other side hangs up.
        while holding.write_all(&[0; 64]).await.is_ok() {}
    };
    let fetched = async {
        let result = fetch(&mut asking, BlobId::of(b"right"), 5, &to.store).await;
        drop(asking);
        result
    };

    let ((), fetched) = tokio::join!(flood, fetched);

    fetched.unwrap();
    assert_eq!(to.store.read(BlobId::of(b"right")).unwrap(), b"right");
}

#[tokio::test]
async fn garbage_and_other_versions_are_refused_on_both_sides() {
    let fixture = store(1_000);
    let server = BlobServer::new(fixture.store.clone(), ServeLimits::default());
    let endless_header = [0xff; 40];
    let not_cbor = [0, 3, 1, 2, 3];
    for bytes in [&endless_header[..], &not_cbor] {
        let (mut asking, mut holding) = duplex(1_024);
        asking.write_all(bytes).await.unwrap();
        assert!(matches!(server.serve(PEER, &mut holding).await, Err(TransferError::Protocol(_))));

        let (mut asking, mut holding) = duplex(1_024);
        holding.write_all(bytes).await.unwrap();
        let fetched = fetch(&mut asking, BlobId::of(b"x"), 1, &fixture.store).await;
        assert!(matches!(fetched, Err(TransferError::Protocol(_))));
    }
    let (mut asking, mut holding) = duplex(1_024);
    let body = cbor::encode(&std::collections::BTreeMap::from([("v", 2)]));
    asking.write_u16(body.len() as u16).await.unwrap();
    asking.write_all(&body).await.unwrap();
    assert!(server.serve(PEER, &mut holding).await.is_err());
}

#[tokio::test]
async fn a_silent_stream_is_given_up() {
    let fixture = store(1_000);
    let server = BlobServer::new(fixture.store.clone(), ServeLimits::default());
    let (mut asking, mut holding) = duplex(1_024);

    // Neither side of this pair says what the other waits for.
    let served = server.serve(PEER, &mut holding).await;
    assert!(matches!(served, Err(TransferError::Stalled { .. })), "{served:?}");
    let (mut quiet, _holding) = duplex(1_024);
    let fetched = fetch(&mut quiet, BlobId::of(b"x"), 1, &fixture.store).await;
    assert!(matches!(fetched, Err(TransferError::Stalled { .. })), "{fetched:?}");
    drop(asking.shutdown().await);
}

#[tokio::test]
async fn transfers_are_capped_per_peer_and_in_all() {
    let fixture = store(1_000);
    let server = BlobServer::new(fixture.store.clone(), ServeLimits { per_peer_max: 1, total_max: 2 });
    let other = PeerId([4; 32]);
    let third = PeerId([5; 32]);
    let mut open = Vec::new();
    for peer in [PEER, other] {
        let (asking, mut holding) = duplex(1_024);
        let of_peer = server.clone();
        let serving = tokio::spawn(async move { of_peer.serve(peer, &mut holding).await });
        open.push((asking, serving));
    }
    // Both are served as soon as their tasks have begun.
    tokio::time::timeout(Duration::from_secs(30), async {
        while server.active() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();

    for peer in [PEER, third] {
        let (mut asking, mut holding) = duplex(1_024);
        let (served, fetched) =
            tokio::join!(server.serve(peer, &mut holding), fetch(&mut asking, BlobId::of(b"x"), 1, &fixture.store));
        assert!(matches!((served, fetched), (Err(TransferError::Busy), Err(TransferError::Busy))));
    }

    for (asking, serving) in open {
        drop(asking);
        assert!(serving.await.unwrap().is_err());
    }
    assert_eq!(server.active(), 0);
}

async fn skip_request(stream: &mut DuplexStream) {
    let length = stream.read_u16().await.unwrap();
    let mut body = vec![0; usize::from(length)];
    stream.read_exact(&mut body).await.unwrap();
}

async fn say(stream: &mut DuplexStream, status: &str, bytes: u64) {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        v: u8,
        s: &'a str,
        b: u64,
    }
    let body = cbor::encode(&Answer { v: 1, s: status, b: bytes });
    stream.write_u16(body.len() as u16).await.unwrap();
    stream.write_all(&body).await.unwrap();
}
