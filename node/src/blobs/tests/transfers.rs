//! Transfers over an in-memory stream: cut anywhere, from sources that lie.

use proptest::prelude::*;
use shoal_protocol::cbor;
use shoal_protocol::id::PeerId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use super::super::seal::HEADER_BYTES;
use super::super::tree::{GROUP_BYTES, SLICE_GROUPS};
use super::*;

const PEER: PeerId = PeerId([3; 32]);
const SLICE_BYTES: usize = (GROUP_BYTES * SLICE_GROUPS) as usize;
/// Requests, answers, and the hashes that go with a slice.
const OVERHEAD_BYTES: u64 = 4_096;

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| ((i * 31) >> 4) as u8).collect()
}

/// A peer whose certificate says nothing of where it is.
pub(super) fn asker(peer: PeerId) -> Asker {
    Asker { peer, certified: BTreeMap::new() }
}

pub(super) fn server(of: &Fixture) -> BlobServer {
    BlobServer::new(of.store.clone(), ServeLimits::default(), Pace::default())
}

/// A store that has a blob, and the blob.
pub(super) fn holder(size: usize) -> (Fixture, Stored, Vec<u8>) {
    let from = store(1 << 26);
    let bytes = content(size);
    let stored = from.store.put(&bytes).unwrap();
    (from, stored, bytes)
}

/// What passes here is counted, spoiled at one place, and cut at another.
struct Wire {
    inner: DuplexStream,
    passed: u64,
    cut_at: u64,
    spoil_at: u64,
}

impl Wire {
    fn sound(inner: DuplexStream) -> Self {
        Self { inner, passed: 0, cut_at: u64::MAX, spoil_at: u64::MAX }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let left = usize::try_from(self.cut_at - self.passed).unwrap_or(usize::MAX).min(into.remaining());
        if left == 0 {
            return std::task::Poll::Ready(Ok(()));
        }
        let mut part = vec![0; left];
        let mut buffer = ReadBuf::new(&mut part);
        std::task::ready!(std::pin::Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
        let read = buffer.filled_mut();
        let spoiled = self.spoil_at.checked_sub(self.passed).and_then(|at| usize::try_from(at).ok());
        if let Some(byte) = spoiled.and_then(|at| read.get_mut(at)) {
            *byte ^= 1;
        }
        self.passed += read.len() as u64;
        into.put_slice(read);
        std::task::Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// One stream of a download, and what came over it.
pub(super) async fn part(
    from: &Fixture,
    download: &Download,
    cut_at: u64,
    spoil_at: u64,
) -> (Result<(), TransferError>, u64) {
    let (asking, mut holding) = duplex(1 << 16);
    let mut wire = Wire { cut_at, spoil_at, ..Wire::sound(asking) };
    let of = server(from);
    let serving = async {
        let _ = of.serve(&asker(PEER), &mut holding).await;
    };
    let taking = async {
        let result = download.run(&mut wire).await;
        let passed = wire.passed;
        drop(wire);
        (result, passed)
    };
    tokio::join!(serving, taking).1
}

#[tokio::test]
async fn a_blob_comes_over_whole() {
    for size in [0, 1, GROUP_BYTES as usize, GROUP_BYTES as usize + 1, SLICE_BYTES, 9 * SLICE_BYTES + 17] {
        let (from, stored, bytes) = holder(size);
        let to = store(1 << 26);
        let download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();

        let (fetched, passed) = part(&from, &download, u64::MAX, u64::MAX).await;
        fetched.unwrap();
        download.finish().await.unwrap();

        assert_eq!(to.store.read(stored.id).unwrap(), bytes);
        let most = size as u64 + size as u64 / 100 + OVERHEAD_BYTES;
        assert!(passed <= most, "{size}: {passed} bytes passed");
        assert_eq!((to.files("incoming"), to.store.parts()), (0, vec![]));
        // What was fetched is served with the tree that came with it.
        let third = store(1 << 26);
        let again = Download::begin(&third.store, stored.id, None, None).await.unwrap();
        part(&to, &again, u64::MAX, u64::MAX).await.0.unwrap();
        again.finish().await.unwrap();
        assert_eq!(third.store.read(stored.id).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_transfer_that_was_cut_goes_on_after_a_restart_and_gets_nothing_twice() {
    let (from, stored, bytes) = holder(5 * SLICE_BYTES + 99);
    let to = store(1 << 26);
    let half = 2 * SLICE_BYTES as u64 + 5 * GROUP_BYTES + 5;
    let download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();
    let (cut, before) = part(&from, &download, half, u64::MAX).await;
    let cut = cut.unwrap_err();
    assert!(cut.is_resumable(), "{cut}");
    drop(download);

    // Another process, with what is on disk.
    let again = BlobStore::open(to.dir.path(), 1 << 26).unwrap();
    assert_eq!(again.parts(), [(stored.id, stored.bytes)]);
    assert!(again.part_bytes(stored.id) > 2 * SLICE_BYTES as u64);
    let download = Download::begin(&again, stored.id, Some(stored.bytes), None).await.unwrap();
    let (fetched, after) = part(&from, &download, u64::MAX, u64::MAX).await;
    fetched.unwrap();
    download.finish().await.unwrap();

    assert_eq!(again.read(stored.id).unwrap(), bytes);
    let twice = (before + after).saturating_sub(stored.bytes + stored.bytes / 100 + 2 * OVERHEAD_BYTES);
    assert!(twice <= GROUP_BYTES, "{twice} bytes came twice");
}

#[tokio::test]
async fn a_range_comes_alone_and_the_rest_later() {
    let (from, stored, bytes) = holder(6 * SLICE_BYTES);
    let to = store(1 << 26);
    let span = SLICE_BYTES as u64 + 7..SLICE_BYTES as u64 + 50_000;
    let download = Download::begin(&to.store, stored.id, None, Some(span.clone())).await.unwrap();
    let (fetched, passed) = part(&from, &download, u64::MAX, u64::MAX).await;
    fetched.unwrap();
    download.finish().await.unwrap();
    let arriving = download.begun().await;

    let readable = arriving.readable(span.start);
    assert!(readable >= span.end - span.start);
    let read = arriving.read(span.start, (span.end - span.start) as usize).unwrap();
    assert_eq!(read, bytes[span.start as usize..span.end as usize]);
    assert_eq!(arriving.readable(0), 0);
    assert!(passed < 7 * GROUP_BYTES, "{passed} bytes for 50,000");
    assert_eq!(to.store.stat(stored.id), None);
    drop((arriving, download));

    let rest = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();
    part(&from, &rest, u64::MAX, u64::MAX).await.0.unwrap();
    rest.finish().await.unwrap();
    assert_eq!(to.store.read(stored.id).unwrap(), bytes);
}

#[tokio::test]
async fn several_sources_share_the_work() {
    let (from, stored, bytes) = holder(40 * SLICE_BYTES);
    let to = store(1 << 26);
    let download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();

    let one = || part(&from, &download, u64::MAX, u64::MAX);
    let parts = tokio::join!(one(), one(), one());
    download.finish().await.unwrap();

    assert_eq!(to.store.read(stored.id).unwrap(), bytes);
    let passed = [parts.0.1, parts.1.1, parts.2.1];
    assert!(passed.iter().all(|passed| *passed > SLICE_BYTES as u64), "{passed:?}");
    let most = stored.bytes + stored.bytes / 100 + 3 * (OVERHEAD_BYTES + 16 * SLICE_BYTES as u64);
    assert!(passed.iter().sum::<u64>() <= most, "{passed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Each source is cut off somewhere, or sends one wrong bit somewhere; one after the other, or two at once.
    #[test]
    fn any_cuts_and_lies_end_with_the_right_bytes_or_a_clear_error(
        size in 0usize..3 * SLICE_BYTES,
        sources in prop::collection::vec((0u64..900_000, 0u64..900_000, any::<bool>()), 0..6),
        at_once: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (from, stored, bytes) = holder(size);
            let to = store(1 << 26);
            let mut download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();
            for (cut, spoil, lies) in sources {
                let (cut_at, spoil_at) = if lies { (u64::MAX, spoil) } else { (cut, u64::MAX) };
                let result = if at_once {
                    let (a, b) = (part(&from, &download, cut_at, spoil_at), part(&from, &download, cut, u64::MAX));
                    let both = tokio::join!(a, b);
                    both.0.0.and(both.1.0)
                } else {
                    part(&from, &download, cut_at, spoil_at).await.0
                };
                if let Err(error) = result {
                    assert!(!error.to_string().is_empty() && !error.hint().is_empty());
                    assert!(!error.is_ours(), "{error}");
                }
                // As if the daemon had ended here.
                drop(download);
                download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();
            }
            part(&from, &download, u64::MAX, u64::MAX).await.0.unwrap();
            download.finish().await.unwrap();
            assert_eq!(to.store.read(stored.id).unwrap(), bytes);
        });
    }
}

#[tokio::test]
async fn a_lie_is_told_from_a_break_and_nothing_of_it_is_kept() {
    let (from, stored, _) = holder(3 * SLICE_BYTES);
    let to = store(1 << 26);
    let download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();
    let (lied, _) = part(&from, &download, u64::MAX, SLICE_BYTES as u64).await;

    let lied = lied.unwrap_err();

    assert!(lied.is_lie() && !lied.is_resumable(), "{lied}");
    let arriving = download.begun().await;
    let whole_slices = (0..3).filter(|n| arriving.readable(n * SLICE_BYTES as u64) == SLICE_BYTES as u64).count();
    assert!(whole_slices < 2, "what comes after a lie is not believed");
}

#[tokio::test]
async fn the_size_is_proved_before_room_is_taken() {
    let (_from, stored, bytes) = holder(3 * SLICE_BYTES);
    let to = store(1 << 26);
    let (mut asking, mut holding) = duplex(1 << 20);
    let lie = async {
        skip_request(&mut holding).await;
        // Twice as large, and the last group of that is not known to anybody.
        say(&mut holding, "here", 2 * stored.bytes).await;
        holding.write_all(&bytes[..100_000]).await.unwrap();
    };
    let download = Download::begin(&to.store, stored.id, None, None).await.unwrap();

    let ((), fetched) = tokio::join!(lie, download.run(&mut asking));

    assert!(matches!(fetched, Err(TransferError::Lied { .. })), "{fetched:?}");
    assert_eq!((to.store.usage().0, to.files("incoming")), (0, 0));
    let (mut asking, mut holding) = duplex(1 << 20);
    let boast = async {
        skip_request(&mut holding).await;
        say(&mut holding, "here", u64::MAX).await;
    };
    let ((), fetched) = tokio::join!(boast, download.run(&mut asking));
    assert!(matches!(fetched, Err(TransferError::TooLarge { .. })), "{fetched:?}");
}

#[tokio::test]
async fn a_blob_that_is_not_there_or_corrupt_is_refused() {
    let (from, to) = (store(1_000), store(1_000));
    let corrupt = from.store.put(b"corrupt").unwrap();
    std::fs::write(from.file_of(corrupt.id), b"changed").unwrap();
    let server = server(&from);

    for id in [corrupt.id, BlobId::of(b"never")] {
        let (mut asking, mut holding) = duplex(64);
        let asking_peer = asker(PEER);
        let (served, fetched) =
            tokio::join!(server.serve(&asking_peer, &mut holding), fetch(&mut asking, id, 7, &to.store));
        assert!(matches!(served, Err(TransferError::Store(_))));
        assert!(matches!(fetched, Err(TransferError::NotThere(_))));
    }
    assert_eq!((to.files("incoming"), to.store.usage().0), (0, 0));
}

#[tokio::test]
async fn a_damaged_tree_is_made_anew_and_a_damaged_blob_set_aside() {
    let (from, stored, bytes) = holder(2 * SLICE_BYTES);
    let get = async || {
        let to = store(1 << 26);
        let (mut asking, mut holding) = duplex(1 << 16);
        let server = server(&from);
        let fetching = fetch(&mut asking, stored.id, stored.bytes, &to.store);
        let asking_peer = asker(PEER);
        let (served, fetched) = tokio::join!(server.serve(&asking_peer, &mut holding), fetching);
        fetched.map(|()| assert_eq!(to.store.read(stored.id).unwrap(), bytes)).map_err(|_| served.unwrap_err())
    };
    get().await.unwrap();
    let tree = from.store.tree_path(stored.id);
    let mut hashes = std::fs::read(&tree).unwrap();
    hashes[70] ^= 1;
    std::fs::write(&tree, &hashes).unwrap();

    get().await.unwrap();

    let mut rotten = std::fs::read(from.file_of(stored.id)).unwrap();
    rotten[HEADER_BYTES as usize + SLICE_BYTES + 9] ^= 1;
    std::fs::write(from.file_of(stored.id), rotten).unwrap();
    let refused = get().await.unwrap_err();
    assert!(matches!(refused, TransferError::Store(BlobError::Corrupt { .. })), "{refused}");
    assert_eq!((from.store.stat(stored.id), from.files("set-aside")), (None, 1));
}

#[tokio::test]
async fn an_unexpected_size_is_refused_before_the_first_byte() {
    let (from, to) = (store(1_000), store(1_000));
    let stored = from.store.put(b"seven b").unwrap();
    let server = server(&from);
    let (mut asking, mut holding) = duplex(1_024);
    let asked = async {
        let fetched = fetch(&mut asking, stored.id, 9, &to.store).await;
        drop(asking);
        fetched
    };

    let asking_peer = asker(PEER);
    let (_, fetched) = tokio::join!(server.serve(&asking_peer, &mut holding), asked);

    assert!(matches!(fetched, Err(TransferError::UnexpectedSize { expected: 9, announced: 7 })), "{fetched:?}");
    assert_eq!(to.store.usage().0, 0);
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
    let server = server(&fixture);
    let endless_header = [0xff; 40];
    let not_cbor = [0, 3, 1, 2, 3];
    for bytes in [&endless_header[..], &not_cbor] {
        let (mut asking, mut holding) = duplex(1_024);
        asking.write_all(bytes).await.unwrap();
        assert!(matches!(server.serve(&asker(PEER), &mut holding).await, Err(TransferError::Protocol(_))));

        let (mut asking, mut holding) = duplex(1_024);
        holding.write_all(bytes).await.unwrap();
        let fetched = fetch(&mut asking, BlobId::of(b"x"), 1, &fixture.store).await;
        assert!(matches!(fetched, Err(TransferError::Protocol(_))));
    }
    let (mut asking, mut holding) = duplex(1_024);
    let body = cbor::encode(&std::collections::BTreeMap::from([("v", 9)]));
    asking.write_u16(body.len() as u16).await.unwrap();
    asking.write_all(&body).await.unwrap();
    assert!(server.serve(&asker(PEER), &mut holding).await.is_err());
}

#[tokio::test]
async fn a_silent_stream_is_given_up() {
    let fixture = store(1_000);
    let server = server(&fixture);
    let (mut asking, mut holding) = duplex(1_024);

    let (mut quiet, _holding) = duplex(1_024);
    let who = asker(PEER);

    // Neither side of these pairs says what the other waits for.
    let (served, fetched) =
        tokio::join!(server.serve(&who, &mut holding), fetch(&mut quiet, BlobId::of(b"x"), 1, &fixture.store));

    assert!(matches!(served, Err(TransferError::Stalled { .. })), "{served:?}");
    assert!(matches!(fetched, Err(TransferError::Stalled { .. })), "{fetched:?}");
    drop(asking.shutdown().await);
}

#[tokio::test]
async fn transfers_are_capped_per_peer_and_in_all() {
    let fixture = store(1_000);
    let limits = ServeLimits { per_peer_max: 1, total_max: 2 };
    let server = BlobServer::new(fixture.store.clone(), limits, Pace::default());
    let other = PeerId([4; 32]);
    let third = PeerId([5; 32]);
    let mut open = Vec::new();
    for peer in [PEER, other] {
        let (asking, mut holding) = duplex(1_024);
        let of_peer = server.clone();
        let serving = tokio::spawn(async move { of_peer.serve(&asker(peer), &mut holding).await });
        open.push((asking, serving));
    }
    // Both are served as soon as their tasks have begun.
    tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while server.active() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();

    for peer in [PEER, third] {
        let (mut asking, mut holding) = duplex(1_024);
        let fetching = fetch(&mut asking, BlobId::of(b"x"), 1, &fixture.store);
        let asking_peer = asker(peer);
        let both = tokio::join!(server.serve(&asking_peer, &mut holding), fetching);
        assert!(matches!(both, (Err(TransferError::Busy), Err(TransferError::Busy))));
    }

    for (asking, serving) in open {
        drop(asking);
        assert_eq!(serving.await.unwrap().unwrap(), 0);
    }
    assert_eq!(server.active(), 0);
}

#[tokio::test]
async fn parts_that_nobody_brings_go_first_when_room_is_wanted() {
    let (from, stored, _) = holder(SLICE_BYTES);
    let to = store(2 * SLICE_BYTES as u64);
    let download = Download::begin(&to.store, stored.id, Some(stored.bytes), None).await.unwrap();
    part(&from, &download, 50_000, u64::MAX).await.0.unwrap_err();
    let kept = to.store.put(&[1; 1_000]).unwrap().id;
    let refused = to.store.put(&vec![2; 2 * SLICE_BYTES - 10_000]);
    assert!(matches!(refused, Err(BlobError::NoRoom { .. })), "somebody is bringing it");
    drop(download);

    to.store.put(&vec![2; 2 * SLICE_BYTES - 20_000]).unwrap();

    assert_eq!((to.store.parts(), to.files("incoming")), (vec![], 0));
    assert!(to.store.stat(kept).is_some());
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
    let body = cbor::encode(&Answer { v: 2, s: status, b: bytes });
    stream.write_u16(body.len() as u16).await.unwrap();
    stream.write_all(&body).await.unwrap();
}
