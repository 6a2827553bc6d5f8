//! Streams whose records come from users and files, and what their owner and its successor say to each other.

use std::path::Path;
use std::time::{Instant, SystemTime};

use shoal_cli::client::ClientError;
use shoal_protocol::BlobId;
use shoal_protocol::api::{StreamState, StreamView, codes};
use shoal_protocol::stream::{SinkSpec, SourceSpec};
use shoal_testnet::stream::{self, Tally, message};

use super::*;

const NAME: &str = "words";

fn lines(from: u64, to: u64) -> String {
    (from..to).map(|n| message(n) + "\n").collect()
}

/// Starts one that is fed; its module.
async fn start(client: &Client, window: u32, out: &Path) -> BlobId {
    let sink = SinkSpec::File { path: out.to_owned() };
    let request = stream::request(client, NAME, SourceSpec::Stdin {}, window, sink).await.unwrap();
    client.start_stream(&request).await.unwrap();
    request.task.unwrap().variants[0].module
}

async fn until(client: &Client, wanted: impl Fn(&Result<StreamView, ClientError>) -> bool) {
    let deadline = Instant::now() + LONG;
    loop {
        let view = client.stream(NAME).await;
        if wanted(&view) {
            return;
        }
        assert!(Instant::now() < deadline, "it never came to that: {view:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_stream_that_was_forgotten_is_gone_everywhere_and_another_of_its_name_begins() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mesh = Cluster::start(stream::mesh(2, dir.path(), "127.0.0.1:9")).await.unwrap();
        let (owner, successor) = (mesh.client(0).unwrap(), mesh.client(1).unwrap());
        for life in ["first", "second"] {
            let out = dir.path().join(life);
            let module = start(&owner, 10, &out).await;
            until(&successor, |view| view.as_ref().is_ok_and(|view| view.state == StreamState::Standby)).await;
            owner.feed_stream(NAME, "book", 0, lines(0, 25)).await.unwrap();
            until(&owner, |view| {
                view.as_ref().is_ok_and(|view| {
                    (view.state, view.windows, view.pending_windows) == (StreamState::Running, 2, 0)
                        && view.successor.is_some()
                })
            })
            .await;
            assert_eq!(Tally::of(&std::fs::read_to_string(out).unwrap()).messages(), 20);
            let deadline = Instant::now() + LONG;
            while successor.blob_stat(module, false).await.is_err() {
                assert!(Instant::now() < deadline, "the successor does not fetch the module");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(owner.remove_blob(module).await.is_err(), "the stream needs it");

            owner.stop_stream(NAME, true).await.unwrap();

            for client in [&owner, &successor] {
                let gone = client.stream(NAME).await.unwrap_err();
                assert_eq!(gone.code(), Some(codes::NO_STREAM), "{gone}");
                client.remove_blob(module).await.unwrap();
            }
        }
    });
}

#[test]
fn a_feed_is_taken_once_however_often_it_is_fed() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let dir = tempfile::tempdir().unwrap();
        let client = mesh.client(0).unwrap();
        let out = dir.path().join("out.jsonl");
        let sink = SinkSpec::File { path: out.clone() };
        let request = stream::request(&client, NAME, SourceSpec::Stdin {}, 10, sink).await.unwrap();
        client.start_stream(&request).await.unwrap();

        let first = client.feed_stream(NAME, "book", 0, lines(0, 30)).await.unwrap();
        mesh.kill(0).unwrap();
        mesh.restart(0).await.unwrap();
        let client = mesh.client(0).unwrap();
        let deadline = Instant::now() + LONG;
        let again = loop {
            match client.feed_stream(NAME, "book", 20, lines(20, 50)).await {
                Ok(taken) => break taken,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let gap = client.feed_stream(NAME, "book", 60, lines(60, 61)).await;

        assert_eq!((first.taken, first.feed_lines), (30, Some(30)));
        assert_eq!((again.taken, again.feed_lines), (20, Some(50)), "the first ten were taken before");
        assert!(gap.is_err(), "lines are missing before it");
        while client.stream(NAME).await.unwrap().windows < 5 {
            assert!(Instant::now() < deadline, "the windows are not written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let tally = Tally::of(&std::fs::read_to_string(out).unwrap());
        assert_eq!((tally.lost(50), tally.twice(), tally.messages()), (0, 0, 50));
    });
}

#[test]
fn a_stream_without_room_lets_its_source_wait() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let dir = tempfile::tempdir().unwrap();
        let client = mesh.client(0).unwrap();
        // Nothing can be written there yet, so that windows pile up.
        let out = dir.path().join("later/out.jsonl");
        let sink = SinkSpec::File { path: out.clone() };
        let request = stream::request(&client, NAME, SourceSpec::Stdin {}, 1, sink).await.unwrap();
        client.start_stream(&request).await.unwrap();
        client.feed_stream(NAME, "book", 0, lines(0, 1_200)).await.unwrap();

        let more = client.feed_stream(NAME, "book", 1_200, lines(1_200, 1_300));
        tokio::pin!(more);
        let waited = tokio::time::timeout(Duration::from_secs(1), &mut more).await;

        assert!(waited.is_err(), "it is taken though there is no room: {waited:?}");
        std::fs::create_dir(dir.path().join("later")).unwrap();
        let deadline = Instant::now() + LONG;
        let mut taken = more.await;
        // Whoever is told that it takes too long hands the same in again.
        while !taken.as_ref().is_ok_and(|taken| taken.feed_lines == Some(1_300)) {
            assert!(Instant::now() < deadline, "{taken:?}");
            taken = client.feed_stream(NAME, "book", 1_200, lines(1_200, 1_300)).await;
        }
        while client.stream(NAME).await.unwrap().windows < 1_300 {
            assert!(Instant::now() < deadline, "{:?}", client.stream(NAME).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let tally = Tally::of(&std::fs::read_to_string(out).unwrap());
        assert_eq!((tally.lost(1_300), tally.twice(), tally.messages()), (0, 0, 1_300));
    });
}

#[test]
fn files_of_a_directory_are_taken_once_over_kill_9() {
    run(async {
        let mesh = mesh(0, 1, |_| ()).await;
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        let client = mesh.client(0).unwrap();
        let out = dir.path().join("out.jsonl");
        let source = SourceSpec::Directory { path: spool.clone() };
        let request = stream::request(&client, NAME, source, 100, SinkSpec::File { path: out.clone() }).await.unwrap();
        client.start_stream(&request).await.unwrap();
        for file in 0..4_u64 {
            std::fs::write(spool.join(format!("part-{file}.csv")), lines(file * 5_000, (file + 1) * 5_000)).unwrap();
        }
        let mut all = 20_000;

        let deadline = Instant::now() + LONG;
        let records = async || mesh.client(0).unwrap().stream(NAME).await.map_or(0, |view| view.records);
        for wanted in [1_000, 8_000] {
            while records().await < wanted {
                assert!(Instant::now() < deadline, "the files are not taken");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            mesh.kill(0).unwrap();
            // It is read before the one that was being read, which is not out of the way.
            let early = spool.join(format!("early-{wanted}.csv"));
            std::fs::write(&early, lines(all, all + 500)).unwrap();
            let file = std::fs::File::options().append(true).open(&early).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(10)).unwrap();
            all += 500;
            mesh.restart(0).await.unwrap();
        }
        while mesh.client(0).unwrap().stream(NAME).await.map_or(0, |view| view.windows) < all / 100 {
            assert!(Instant::now() < deadline, "the windows are not written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }

        let tally = Tally::of(&std::fs::read_to_string(out).unwrap());
        assert_eq!((tally.lost(all), tally.twice(), tally.messages()), (0, 0, all));
        while !spool.join("part-3.csv.done").exists() {
            assert!(Instant::now() < deadline, "the last file is not marked as done");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
