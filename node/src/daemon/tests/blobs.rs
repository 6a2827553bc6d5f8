//! Blobs between two daemons, over their sockets and QUIC.

use std::time::{Duration, Instant};

use serde_json::json;
use shoal_protocol::TaskState;
use shoal_protocol::api::{BlobStat, Explanation, OutputView, Status};
use shoal_protocol::id::BlobId;

use super::fixture::{in_pair, module};
use super::*;

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 8).flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).collect()
}

async fn stat(daemon: &Daemon, id: BlobId) -> BlobStat {
    daemon.get(&format!("/v1/blobs/{id}/stat")).await.json()
}

#[test]
fn a_blob_of_another_peer_is_found_and_read_whole_and_in_part() {
    in_pair(|near, far| async move {
        let bytes = content(3_000_000);
        let blob = put(&far, &bytes).await;
        let path = format!("/v1/blobs/{}", blob.id);

        let part = near.get_part(&path, "bytes=1000000-1000999").await;
        assert_eq!((part.status, &part.body[..]), (206, &bytes[1_000_000..1_001_000]));
        assert!(part.head.to_lowercase().contains("content-range: bytes 1000000-1000999/3000000"), "{}", part.head);
        let here = stat(&near, blob.id).await;
        assert!(!here.local && here.partial_bytes.is_some(), "{here:?}");
        let deadline = Instant::now() + Duration::from_secs(30);
        while near.get(&format!("/v1/blobs/{}/stat?seek=true", blob.id)).await.json::<BlobStat>().holders.len() != 1 {
            assert!(Instant::now() < deadline, "nobody is found");
        }

        let whole = near.get(&path).await;
        assert_eq!(whole.status, 200);
        assert!(whole.body == bytes, "{} bytes came", whole.body.len());
        // The last bytes are handed on before the blob has its name.
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let here = stat(&near, blob.id).await;
            if here.local && here.partial_bytes.is_none() {
                break;
            }
            assert!(Instant::now() < deadline, "{here:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let fetched = near.get("/v1/status").await.json::<Status>().counters["blob_bytes_fetched"];
        assert_eq!(fetched, blob.bytes, "what came with the part came once");

        assert_eq!(near.get_part(&path, "bytes=-5").await.body, bytes[bytes.len() - 5..]);
        problem(&near.get_part(&path, "bytes=3000000-").await, 416, "SH0400");
        problem(&near.get(&format!("/v1/blobs/{}", BlobId::of(b"nobody has it"))).await, 404, "SH0406");
    });
}

#[test]
fn an_output_that_stays_is_a_blob_there_and_draws_the_next_task() {
    in_pair(|near, far| async move {
        let there = far.get("/v1/status").await.json::<Status>().me.peer;
        let echo = put(&near, &module(ECHO)).await;
        let first = json!({"variants": [{"module": echo.id}], "inputs": [{"text": "small"}], "peer": there.to_string(),
            "keep_output": true, "wait": true});

        let view = run(&near, first).await;

        assert_eq!(view.state, TaskState::Done, "{view:?}");
        let output = BlobId::of(b"small");
        assert_eq!(view.output, Some(OutputView::Blob { id: output, bytes: 5, holder: Some(there) }));
        let at_home = stat(&near, output).await;
        assert!(!at_home.local && at_home.holders[0].peer == there, "{at_home:?}");
        assert_eq!(stat(&far, output).await.leases, 1);
        problem(&far.delete(&format!("/v1/blobs/{output}")).await, 409, "SH0410");

        let next = json!({"variants": [{"module": echo.id}], "inputs": [{"blob": output}], "peer": there.to_string(),
            "wait": true});
        let view = run(&near, next).await;
        assert_eq!(view.output, Some(OutputView::Text("small".into())));
        assert!(!stat(&near, output).await.local, "it never came here");
        let explained: Explanation = near.get("/v1/tasks/last/explain").await.json();
        assert!(explained.items[0].candidates[0].note.contains("holds the input"), "{explained:?}");

        let all: Listing<TaskView> = near.get("/v1/tasks").await.json();
        let kept =
            all.items.iter().find(|task| matches!(task.output, Some(OutputView::Blob { .. }))).map(|task| task.task);
        let kept = kept.or(all.items.last().map(|task| task.task)).unwrap();
        assert_eq!(near.post(&format!("/v1/tasks/{kept}/hold?ms=0"), b"").await.status, 202);
        while stat(&far, output).await.leases > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(near.get(&format!("/v1/tasks/{kept}/result")).await.body, b"small");
    });
}

#[test]
fn what_is_pinned_is_removed_only_once_it_is_not() {
    in_pair(|near, far| async move {
        let blob = put(&far, b"precious").await;

        assert_eq!(near.post(&format!("/v1/blobs/{}/pin", blob.id), b"").await.status, 204);

        let here = stat(&near, blob.id).await;
        assert!(here.local && here.pinned && here.durable, "{here:?}");
        problem(&near.delete(&format!("/v1/blobs/{}", blob.id)).await, 409, "SH0410");
        assert_eq!(near.post(&format!("/v1/blobs/{}/unpin", blob.id), b"").await.status, 204);
        assert_eq!(near.delete(&format!("/v1/blobs/{}", blob.id)).await.status, 204);
        assert!(!stat(&near, blob.id).await.local);
    });
}
