//! What lies on the disks of real peers: nothing that says what they have, and no key to what they had.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use shoal_protocol::api::LabelsRequest;
use shoal_protocol::{BlobId, TaskState};

use super::*;

/// Stands in everything that must not be found.
const MARK: &str = "what nobody reads who has the disk alone";
/// What one peer sends: enough time for a kill in the middle.
const SLOW_BITS_PER_S: u64 = 80_000_000;
const HEADER_BYTES: usize = 128;

/// Every file below a directory, with what is in it; one that has gone meanwhile has nothing to read.
fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.extend(fs::read(&path).ok().map(|bytes| (path, bytes))),
        }
    }
    files
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn hex(id: BlobId) -> String {
    id.to_string().trim_start_matches("b3:").to_owned()
}

/// Nothing below is named after one of these blobs, names one, or has any of these bytes in it.
#[track_caller]
fn says_nothing(dir: &Path, blobs: &[BlobId], contents: &[&[u8]]) {
    for (path, bytes) in files_below(dir) {
        let shown = path.display();
        for id in blobs {
            assert!(!path.to_string_lossy().contains(&hex(*id)[..16]), "{shown} is named after {id}");
            assert!(!has(&bytes, &id.0[..16]) && !has(&bytes, &hex(*id).as_bytes()[..32]), "{shown} names {id}");
        }
        for content in contents {
            assert!(!has(&bytes, content), "{shown} has clear bytes: {}", String::from_utf8_lossy(content));
        }
    }
}

fn objects(mesh: &Cluster, peer: usize) -> BTreeSet<PathBuf> {
    let dir = mesh.peers()[peer].data_dir.join("blobs/objects");
    fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).collect()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it never came to that: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A module, its input and its output, at home and where it ran; and a download that a kill cut off in the middle.
#[test]
fn at_rest_nothing_of_what_peers_have_stands_on_their_disks() {
    run(async {
        let mesh = mesh(0, 2, |config| config.peers[0].uplink_bits_per_s = Some(SLOW_BITS_PER_S)).await;
        let (home, other) = (mesh.client(0).unwrap(), mesh.client(1).unwrap());
        let module = wat::parse_str(include_str!("echo.wat")).unwrap();
        let input = format!("{MARK}\n").repeat(6_000);
        let mut request = task_of(&home, &module, &[], "").await;
        let given = home.put_blob(input.clone().into_bytes()).await.unwrap();
        (request.inputs, request.peer) =
            (vec![InputRequest::Blob(given.id), InputRequest::Text("!".into())], Some("edge-2".into()));
        let module_id = request.variants[0].module;
        let view = home.run(request).await.unwrap();
        assert_eq!((view.state, executor(&view)), (TaskState::Done, "edge-2"), "{view:?}");
        let Some(OutputView::Blob { id: output, .. }) = view.output else { panic!("no blob: {view:?}") };
        let result = home.result(&view.task.to_string()).await.unwrap().bytes(usize::MAX).await.unwrap();
        assert!(result == (input + "!").as_bytes(), "{} bytes came back", result.len());
        home.pin_blob(given.id).await.unwrap();

        let large: Vec<u8> =
            (0..3_000_000u64).flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).collect();
        let blob = home.put_blob(large.clone()).await.unwrap();
        let reading = tokio::spawn({
            let client = mesh.client(1).unwrap();
            async move { client.blob(blob.id, None).await?.bytes(usize::MAX).await }
        });
        until("a part of it is there", async || {
            other.status().await.unwrap().counters["blob_bytes_fetched"] > 4_000_000
        })
        .await;
        mesh.kill(1).unwrap();
        assert!(reading.await.unwrap().is_err(), "it was not cut off");

        let contents = [MARK.as_bytes(), &module[..32], &large[..32], &large[1_000_000..1_000_032]];
        for peer in mesh.peers() {
            says_nothing(&peer.data_dir, &[module_id, given.id, output, blob.id], &contents);
        }
        // What came is there all the same, and is gone on with.
        mesh.restart(1).await.unwrap();
        let other = mesh.client(1).unwrap();
        assert!(other.blob_stat(blob.id, false).await.unwrap().partial_bytes > Some(3_000_000));
        mesh.wait_all_alive(LONG).await.unwrap();
        let fetched = other.blob(blob.id, None).await.unwrap().bytes(usize::MAX).await.unwrap();
        assert!(fetched == large, "other bytes came");
        let module_again = other.blob(module_id, None).await.unwrap().bytes(usize::MAX).await.unwrap();
        assert!(module_again == module);
        for peer in mesh.peers() {
            says_nothing(&peer.data_dir, &[module_id, given.id, output, blob.id], &contents);
        }
    });
}

/// Whoever had a copy of the file, or of its blocks, and gets the key has nothing.
#[test]
fn at_rest_what_was_removed_or_is_over_has_no_key_left() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let kept = mesh.dir().join("kept");
        fs::create_dir(&kept).unwrap();
        let short = LabelsRequest { ttl_ms: Some(6_000), ..LabelsRequest::default() };
        for (name, labels) in [("removed", LabelsRequest::default()), ("over", short)] {
            let before = objects(&mesh, 0);
            let content = format!("{name}: {MARK}").repeat(100);
            let blob = client.put_labelled_blob(content.clone().into_bytes(), &labels).await.unwrap();
            let file = objects(&mesh, 0).difference(&before).next().unwrap().clone();
            let copy = kept.join(name);
            fs::hard_link(&file, &copy).unwrap();
            assert_eq!(fs::read(&copy).unwrap().len(), content.len() + HEADER_BYTES);

            if name == "removed" {
                client.remove_blob(blob.id).await.unwrap();
                assert_eq!(fs::read(&copy).unwrap()[..HEADER_BYTES], [0; HEADER_BYTES], "it was answered too early");
            }

            until("its key is gone", async || fs::read(&copy).unwrap()[..HEADER_BYTES] == [0; HEADER_BYTES]).await;
            until("its file is gone", async || !file.exists()).await;
            assert!(client.blob(blob.id, None).await.is_err());
            // Put back by who has the disk, it is nothing.
            mesh.kill(0).unwrap();
            fs::copy(&copy, &file).unwrap();
            mesh.restart(0).await.unwrap();
            let here = mesh.client(0).unwrap().blobs().await.unwrap();
            assert!(here.items.iter().all(|other| other.id != blob.id), "{here:?}");
        }
    });
}

/// The key may be elsewhere; without it, or with another, a peer says so and harms nothing; what the version before left in the clear
/// is taken over.
#[test]
fn at_rest_a_peer_needs_its_key_and_takes_over_what_was_clear() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let peer = &mesh.peers()[0];
        let blob = mesh.client(0).unwrap().put_blob(MARK.as_bytes().to_vec()).await.unwrap();
        let key = peer.data_dir.join("store.key");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        mesh.kill(0).unwrap();

        let elsewhere = mesh.dir().join("stick");
        fs::rename(&key, &elsewhere).unwrap();
        assert!(mesh.restart(0).await.is_err(), "it starts without its key");
        fs::write(&key, [7; 32]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(mesh.restart(0).await.is_err(), "it starts with another's key");
        let said = fs::read_to_string(&peer.log).unwrap();
        let told =
            ["is not there, and they cannot be read without it", "is not the one that the blobs", "store.key_file"];
        assert!(told.iter().all(|words| said.contains(words)), "{said}");
        fs::remove_file(&key).unwrap();

        let clear = b"in the clear, by the version before";
        let old = peer.data_dir.join("blobs/objects").join(hex(BlobId::of(clear)));
        fs::write(&old, clear).unwrap();
        let mut config = fs::OpenOptions::new().append(true).open(&peer.config).unwrap();
        writeln!(config, "\n[store]\nkey_file = {:?}", elsewhere.display().to_string()).unwrap();
        mesh.restart(0).await.unwrap();

        let client = mesh.client(0).unwrap();
        for (id, content) in [(blob.id, MARK.as_bytes()), (BlobId::of(clear), clear)] {
            assert_eq!(&client.blob(id, None).await.unwrap().bytes(usize::MAX).await.unwrap()[..], content);
        }
        until("it is sealed", async || !old.exists()).await;
        says_nothing(&peer.data_dir, &[blob.id, BlobId::of(clear)], &[MARK.as_bytes(), clear]);
        let found = client.checks().await.unwrap().items.into_iter().find(|check| check.name == "store key").unwrap();
        assert!(found.ok && found.found.contains("stick"), "{found:?}");
    });
}
