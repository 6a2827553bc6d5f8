//! Blobs with labels: kept with what is said of them, and served to who may have them.

use std::fs;

use shoal_protocol::cbor;
use shoal_protocol::certificate::SecretKey;
use shoal_protocol::residency::{Labels, Manifest};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::transfers::{asker, server};
use super::*;

const EU: PeerId = PeerId([7; 32]);

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

fn owned(quota: u64) -> Fixture {
    let fixture = store(quota);
    fixture.store.sign_as(key(1));
    fixture
}

fn eu() -> Labels {
    Labels::residing(["eu"]).unwrap()
}

fn in_region(region: &str) -> Asker {
    Asker { peer: EU, certified: BTreeMap::from([("residency".to_owned(), region.to_owned())]) }
}

/// What a blob server and a download make of each other.
async fn fetched(
    from: &Fixture,
    by: Asker,
    to: &Fixture,
    stored: Stored,
) -> (Result<u64, TransferError>, Result<(), TransferError>) {
    let (mut asking, mut holding) = duplex(1 << 16);
    let server = server(from);
    tokio::join!(async { server.serve(&by, &mut holding).await }, async {
        fetch(&mut asking, stored.id, stored.bytes, &to.store).await
    })
}

#[test]
fn what_is_said_of_a_blob_outlives_restarts_and_eviction_and_not_its_removal() {
    let fixture = owned(100);
    let stored = fixture.store.put_labelled(b"of the eu", &eu()).unwrap();
    fixture.store.put_labelled(b"of the eu", &Labels::default().of_classes(["personal"]).unwrap()).unwrap();

    let again = BlobStore::open(fixture.dir.path(), 100).unwrap();

    assert_eq!(again.labels(stored.id).to_string(), "residency=eu class=personal");
    assert_eq!(again.owners(stored.id), [key(1).peer()]);
    again.put(&[1; 95]).unwrap();
    assert_eq!(again.stat(stored.id), None, "it made room");
    again.put(b"of the eu").unwrap();
    assert_eq!(again.labels(stored.id).places(), ["eu"], "the same bytes are under the same labels");
    again.remove(stored.id).unwrap();
    again.put(b"of the eu").unwrap();
    assert!(again.labels(stored.id).is_empty(), "put anew, it is something new");
}

#[test]
fn a_damaged_manifest_seals_its_blob() {
    let fixture = owned(100);
    let stored = fixture.store.put_labelled(b"of the eu", &eu()).unwrap();
    let path = fixture.dir.path().join("manifests").join(fixture.store.0.keys.name(stored.id));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();

    let again = BlobStore::open(fixture.dir.path(), 100).unwrap();

    assert_eq!(again.labels(stored.id), Labels::sealed());
    assert_eq!(again.read(stored.id).unwrap(), b"of the eu", "its owner still has it");
    again.sign_as(key(1));
    assert!(matches!(again.label(stored, &eu()), Err(BlobError::Sealed { .. })), "it may have said more");
    drop(again);
    let again = BlobStore::open(fixture.dir.path(), 100).unwrap();
    assert_eq!(again.labels(stored.id), Labels::sealed());
    again.remove(stored.id).unwrap();
    assert!(again.labels(stored.id).is_empty());
}

#[test]
fn what_cannot_be_removed_is_said_to_be_there_still() {
    let fixture = owned(100);
    let stored = fixture.store.put_labelled(b"of the eu", &eu()).unwrap();
    let erasing = fixture.dir.path().join("erasing");
    fs::remove_dir_all(&erasing).unwrap();
    fs::write(&erasing, b"no directory").unwrap();

    let refused = fixture.store.remove(stored.id).unwrap_err();

    assert!(matches!(refused, BlobError::Io { what: "remove", .. }), "{refused:?}");
    assert_eq!(fixture.store.read(stored.id).unwrap(), b"of the eu");
    assert_eq!(fixture.store.labels(stored.id), eu());
    fs::remove_file(&erasing).unwrap();
    fs::create_dir(&erasing).unwrap();
    fixture.store.remove(stored.id).unwrap();
    assert_eq!(fixture.store.stat(stored.id), None);
}

#[test]
fn what_is_over_is_not_read_and_goes_also_while_the_daemon_is_down() {
    let fixture = owned(1_000);
    let now = crate::driver::unix_time().as_secs();
    let over = fixture.store.put_labelled(b"over", &Labels::default().until(now)).unwrap();
    let lasting = fixture.store.put_labelled(b"lasting", &Labels::default().until(now + 3_600)).unwrap();
    fixture.store.pin_for_user(lasting.id).unwrap();

    assert!(matches!(fixture.store.read(over.id), Err(BlobError::NotFound { .. })));
    assert_eq!((fixture.store.stat(over.id), fixture.store.stat(lasting.id)), (None, Some(7)));
    assert_eq!(fixture.store.list().len(), 2, "nobody has looked yet");
    let again = BlobStore::open(fixture.dir.path(), 1_000).unwrap();

    assert_eq!(again.list(), [(lasting.id, 7)]);
    assert_eq!((again.expire(), fixture.files("objects"), fixture.files("manifests")), (vec![], 1, 1));
}

#[test]
fn what_another_says_of_a_blob_is_believed_if_it_is_right_and_never_loosens() {
    let fixture = owned(1_000);
    let stored = fixture.store.put_labelled(b"of the eu", &eu()).unwrap();
    let wider = Labels::residing(["eu", "us"]).unwrap();
    let says = |labels: &Labels, n| Manifest::sign(stored.id, stored.bytes, labels.clone(), &key(n));

    fixture.store.believe(stored, vec![says(&wider, 2)]).unwrap();
    assert_eq!(fixture.store.labels(stored.id).places(), ["eu"]);
    let of_another = Manifest::sign(BlobId([1; 32]), stored.bytes, eu(), &key(2));
    assert!(matches!(fixture.store.believe(stored, vec![of_another]), Err(BlobError::Manifest { .. })));
    fixture.store.believe(stored, vec![says(&wider, 3), says(&wider, 4)]).unwrap();
    let full = fixture.store.believe(stored, vec![says(&wider, 5)]);
    assert!(matches!(full, Err(BlobError::Manifest { .. })), "{full:?}");
}

#[tokio::test]
async fn a_blob_goes_to_who_may_have_it_with_what_is_said_of_it() {
    let from = owned(1 << 20);
    let stored = from.store.put_labelled(&[7; 40_000], &eu()).unwrap();

    for by in [in_region("us"), asker(EU)] {
        let to = store(1 << 20);
        let (served, fetched) = fetched(&from, by, &to, stored).await;
        assert!(matches!(served, Err(TransferError::Withheld { .. })), "{served:?}");
        assert!(matches!(fetched, Err(TransferError::NotForUs(_))), "{fetched:?}");
        assert_eq!((to.files("incoming"), to.store.stat(stored.id)), (0, None));
    }
    let to = store(1 << 20);
    let (served, fetched_there) = fetched(&from, in_region("eu"), &to, stored).await;
    served.unwrap();
    fetched_there.unwrap();
    assert_eq!(to.store.labels(stored.id), eu());
    // The copy is under the same rule.
    let (served, _) = fetched(&to, in_region("us"), &store(1 << 20), stored).await;
    assert!(matches!(served, Err(TransferError::Withheld { .. })), "{served:?}");
}

/// The version before does not say that it understands labels: it gets no byte, and an answer that it can read.
#[tokio::test]
async fn a_peer_of_the_version_before_gets_nothing_that_has_labels() {
    let from = owned(1 << 20);
    let labelled = from.store.put_labelled(b"personal", &Labels::default().of_classes(["personal"]).unwrap()).unwrap();
    let free = from.store.put(b"anything").unwrap();
    for (stored, status) in [(labelled, "refused"), (free, "here")] {
        let (mut asking, mut holding) = duplex(1 << 16);
        let (server, by) = (server(&from), in_region("eu"));
        let serving = async move { drop(server.serve(&by, &mut holding).await) };
        #[derive(serde::Serialize)]
        struct Before {
            v: u8,
            i: BlobId,
            t: u64,
            p: bool,
        }
        let request = cbor::encode(&Before { v: 2, i: stored.id, t: 1, p: true });
        let asked = async {
            asking.write_all(&(request.len() as u16).to_be_bytes()).await.unwrap();
            asking.write_all(&request).await.unwrap();
            asking.shutdown().await.unwrap();
            let mut answer = vec![0; usize::from(asking.read_u16().await.unwrap())];
            asking.read_exact(&mut answer).await.unwrap();
            let mut rest = Vec::new();
            asking.read_to_end(&mut rest).await.unwrap();
            (answer, rest)
        };
        let ((), (answer, rest)) = tokio::join!(serving, asked);

        #[derive(serde::Deserialize)]
        struct Read {
            s: String,
        }
        let read: Read = cbor::decode(&answer).unwrap();
        assert_eq!((read.s.as_str(), rest.is_empty()), (status, status == "refused"));
    }
}
