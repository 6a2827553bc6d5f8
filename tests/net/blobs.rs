//! Blobs between real peers: cut off by a kill, read while they come, found where nobody was named, left where they were made.

use shoal_cli::client::ClientError;
use shoal_protocol::api::BlobView;
use shoal_protocol::{BlobId, TaskState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What one peer of a slow mesh sends: 48 MB take six seconds.
const SLOW_BITS_PER_S: u64 = 80_000_000;
/// What is verified at once.
const GROUP_BYTES: u64 = 16 * 1024;

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 8).flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).collect()
}

async fn all_of(client: &Client, id: BlobId, from: Option<&str>) -> Result<Vec<u8>, ClientError> {
    Ok(client.blob(id, from).await?.bytes(usize::MAX).await?.to_vec())
}

async fn fetched_bytes(client: &Client) -> u64 {
    client.status().await.unwrap().counters["blob_bytes_fetched"]
}

/// Waits until so many bytes of a blob were verified at a peer.
async fn until_fetched(client: &Client, bytes: u64) -> u64 {
    let deadline = std::time::Instant::now() + LONG;
    loop {
        let fetched = fetched_bytes(client).await;
        if fetched >= bytes {
            return fetched;
        }
        assert!(std::time::Instant::now() < deadline, "{fetched} bytes came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The peer that fetches is killed in the middle: what it had verified it does not fetch again.
#[test]
fn a_download_goes_on_after_a_kill_where_it_was() {
    run(async {
        let mesh = mesh(0, 2, |config| config.peers[0].uplink_bits_per_s = Some(SLOW_BITS_PER_S)).await;
        let (holder, asking) = (mesh.client(0).unwrap(), mesh.client(1).unwrap());
        let bytes = content(48_000_000);
        let blob = holder.put_blob(bytes.clone()).await.unwrap();
        let reading = tokio::spawn({
            let client = mesh.client(1).unwrap();
            async move { all_of(&client, blob.id, None).await }
        });
        let before = until_fetched(&asking, 12_000_000).await;

        mesh.kill(1).unwrap();
        assert!(reading.await.unwrap().is_err(), "what was cut off must not look whole");
        mesh.restart(1).await.unwrap();
        mesh.wait_all_alive(LONG).await.unwrap();
        let asking = mesh.client(1).unwrap();
        let stat = asking.blob_stat(blob.id, false).await.unwrap();
        assert!(!stat.local && stat.bytes == Some(blob.bytes) && stat.partial_bytes > Some(11_000_000), "{stat:?}");

        assert!(all_of(&asking, blob.id, None).await.unwrap() == bytes, "other bytes came");

        let again = fetched_bytes(&asking).await;
        // More had come between the last look and the kill.
        assert!(before + again <= blob.bytes + GROUP_BYTES, "{before} + {again} of {}", blob.bytes);
        let stat = asking.blob_stat(blob.id, false).await.unwrap();
        assert!(stat.local && stat.partial_bytes.is_none(), "{stat:?}");
    });
}

/// A reader has the first bytes long before the last are here, and a range costs no more than a range.
#[test]
fn a_blob_of_another_peer_is_read_while_it_comes_and_in_part() {
    run(async {
        let mesh = mesh(0, 2, |config| config.peers[0].uplink_bits_per_s = Some(SLOW_BITS_PER_S)).await;
        let (holder, asking) = (mesh.client(0).unwrap(), mesh.client(1).unwrap());
        let bytes = content(24_000_000);
        let blob = holder.put_blob(bytes.clone()).await.unwrap();

        let (first, last) = (20_000_000, 20_000_999);
        let answer = raw_get(&mesh, 1, blob.id, &format!("Range: bytes={first}-{last}\r\n")).await;
        let (head, body) = split(&answer);
        assert!(
            head.starts_with("HTTP/1.1 206") && head.contains("content-range: bytes 20000000-20000999/24000000"),
            "{head}"
        );
        assert_eq!(body, &bytes[first..=last]);
        let part = fetched_bytes(&asking).await;
        assert!(part < 10 * GROUP_BYTES, "{part} bytes came for a thousand");

        let mut download = asking.blob(blob.id, None).await.unwrap();
        assert_eq!(download.length(), Some(blob.bytes));
        let mut read = download.chunk().await.unwrap().unwrap().to_vec();
        assert!(fetched_bytes(&asking).await < blob.bytes / 2, "it is all here before the first byte is read");
        while let Some(piece) = download.chunk().await.unwrap() {
            read.extend_from_slice(&piece);
        }
        assert!(read == bytes, "other bytes came");

        let local = raw_get(&mesh, 1, blob.id, "Range: bytes=-8\r\n").await;
        assert_eq!(split(&local).1, &bytes[bytes.len() - 8..]);
        let beyond = raw_get(&mesh, 1, blob.id, "Range: bytes=24000000-\r\n").await;
        assert!(split(&beyond).0.starts_with("HTTP/1.1 416"));
    });
}

#[test]
fn a_blob_whose_holder_is_gone_is_found_in_the_view() {
    run(async {
        let mesh = mesh(0, 4, |_| ()).await;
        let bytes = content(300_000);
        let blob = mesh.client(0).unwrap().put_blob(bytes.clone()).await.unwrap();
        assert_eq!(all_of(&mesh.client(1).unwrap(), blob.id, Some("edge-1")).await.unwrap(), bytes);
        mesh.kill(0).unwrap();

        let found = mesh.client(2).unwrap().blob_stat(blob.id, true).await.unwrap();
        assert!(found.holders.iter().any(|holder| holder.name == "edge-2") && !found.local, "{found:?}");
        assert_eq!(all_of(&mesh.client(2).unwrap(), blob.id, Some("edge-1")).await.unwrap(), bytes);

        let nowhere = mesh.client(3).unwrap().blob(BlobId::of(b"nobody has it"), None).await;
        assert!(matches!(nowhere, Err(ClientError::Problem(_))), "{nowhere:?}");
    });
}

/// Four holders, each with a slow uplink: together they are faster than one.
#[test]
fn a_large_blob_comes_from_several_peers_at_once() {
    run(async {
        let slow = |config: &mut ClusterConfig| {
            config.peers.iter_mut().for_each(|peer| peer.uplink_bits_per_s = Some(SLOW_BITS_PER_S));
        };
        let mesh = mesh(0, 4, slow).await;
        let bytes = content(24_000_000);
        let mut blob: Option<BlobView> = None;
        for peer in 0..3 {
            blob = Some(mesh.client(peer).unwrap().put_blob(bytes.clone()).await.unwrap());
        }
        let blob = blob.unwrap();
        let asking = mesh.client(3).unwrap();

        assert!(all_of(&asking, blob.id, None).await.unwrap() == bytes, "other bytes came");

        for peer in 0..3 {
            let sent = mesh.client(peer).unwrap().status().await.unwrap().counters["blob_bytes_sent"];
            assert!(sent > blob.bytes / 10, "peer {peer} sent {sent} bytes");
        }
        // What two bring at the end comes twice, and each group has its hashes with it.
        let fetched = fetched_bytes(&asking).await;
        assert!((blob.bytes..blob.bytes * 11 / 10).contains(&fetched), "{fetched} bytes for {}", blob.bytes);
    });
}

/// The output of a first stage stays where it ran, and the second runs there, though home is as free.
#[test]
fn an_output_that_stays_draws_the_next_task_to_it() {
    run(async {
        let mesh = mesh(1, 1, |config| {
            config.peers.iter_mut().for_each(|peer| peer.uplink_bits_per_s = Some(SLOW_BITS_PER_S));
        })
        .await;
        let client = mesh.client(1).unwrap();
        let echo = wat::parse_str(include_str!("echo.wat")).unwrap();
        let input = "0123456789abcdef".repeat(60_000);
        let mut request = task_of(&client, &echo, &[], &input).await;
        (request.peer, request.keep_output) = (Some("cloud-1".into()), true);
        // Its output is not its input, which home has.
        request.inputs.insert(0, InputRequest::Text("copy: ".into()));
        let copy = format!("copy: {input}");

        let first = client.run(request.clone()).await.unwrap();
        assert_eq!((first.state, executor(&first)), (TaskState::Done, "cloud-1"), "{first:?}");
        let Some(OutputView::Blob { id, bytes, holder }) = first.output else { panic!("no blob: {first:?}") };
        assert_eq!(bytes, copy.len() as u64);
        let cloud = mesh.peers()[0].peer;
        assert_eq!(holder, Some(cloud));
        let at_home = client.blob_stat(id, false).await.unwrap();
        assert!(!at_home.local && at_home.holders.iter().any(|holder| holder.peer == cloud), "{at_home:?}");
        let there = mesh.client(0).unwrap();
        assert_eq!(there.blob_stat(id, false).await.unwrap().leases, 1);

        let mut next = task_of(&client, &echo, &["next"], "").await;
        // It stays as well: its way home would be as long as that of its input.
        (next.inputs, next.keep_output) = (vec![InputRequest::Blob(id)], true);
        next.cloud = Some(shoal_protocol::task::spec::CloudUse::Allow);
        let second = client.run(next).await.unwrap();
        assert_eq!((second.state, executor(&second)), (TaskState::Done, "cloud-1"), "{second:?}");
        let decision = client.explain(&second.task.to_string()).await.unwrap().items.remove(0);
        assert!(decision.candidates[0].note.contains("holds the input"), "{decision:?}");

        let output = client.result(&first.task.to_string()).await.unwrap().bytes(usize::MAX).await.unwrap();
        assert!(output == copy.as_bytes(), "{} bytes came back", output.len());
        // Both tasks have the same output.
        assert_eq!(there.blob_stat(id, false).await.unwrap().leases, 2);
        client.hold_output(&first.task.to_string(), Duration::ZERO).await.unwrap();
        let deadline = std::time::Instant::now() + LONG;
        while there.blob_stat(id, false).await.unwrap().leases > 1 {
            assert!(std::time::Instant::now() < deadline, "it is never let go");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn what_is_pinned_stays_over_a_restart_and_is_removed_only_when_it_is_not() {
    run(async {
        let mesh = mesh(0, 2, |_| ()).await;
        let client = mesh.client(0).unwrap();
        let blob = client.put_blob(b"precious".to_vec()).await.unwrap();
        client.pin_blob(blob.id).await.unwrap();
        mesh.kill(0).unwrap();
        mesh.restart(0).await.unwrap();

        let client = mesh.client(0).unwrap();
        let stat = client.blob_stat(blob.id, false).await.unwrap();
        assert!(stat.pinned && stat.local, "{stat:?}");
        assert!(client.remove_blob(blob.id).await.is_err());
        client.unpin_blob(blob.id).await.unwrap();
        client.remove_blob(blob.id).await.unwrap();
        assert!(client.blobs().await.unwrap().items.iter().all(|other| other.id != blob.id));
    });
}

/// As a browser or `curl` would ask.
async fn raw_get(mesh: &Cluster, peer: usize, id: BlobId, header: &str) -> Vec<u8> {
    let mut stream = tokio::net::UnixStream::connect(&mesh.peers()[peer].socket).await.unwrap();
    let request = format!("GET /v1/blobs/{id} HTTP/1.1\r\nHost: shoal\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

fn split(answer: &[u8]) -> (String, &[u8]) {
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head");
    (String::from_utf8_lossy(&answer[..at]).to_lowercase().replace("http/1.1", "HTTP/1.1"), &answer[at + 4..])
}
