//! Streams from a real broker: nothing lost, nothing twice, whoever dies meanwhile. Those from elsewhere: `streams.rs`.
//!
//! They need `mosquitto`. Where it is not installed, root installs it with the system's package manager; where that does not
//! work this says so, loudly, and checks nothing.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::time::Instant;

use shoal_protocol::api::{StreamRequest, StreamState, StreamView};
use shoal_protocol::stream::{BrokerSpec, MqttVersion, SinkSpec, SourceSpec, WindowRule};
use shoal_testnet::stream::{self, Broker, MqttClient, ResultLine, Tally, message, mosquitto};

use super::*;

const TOPIC: &str = "city/speed";
const NAME: &str = "speeds";
/// Messages that are published at once, and the pause after them.
const PIECE: u64 = 100;
const PACE: Duration = Duration::from_millis(10);

/// Runs a story in time that the installation takes nothing of.
fn run<T>(story: impl Future<Output = T>) -> T {
    install();
    super::run(story)
}

fn install() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        if mosquitto().is_none() && nix::unistd::geteuid().is_root() {
            let apt = |arguments: &[&str]| {
                // A mirror that does not answer is not waited for.
                let limits = ["100", "apt-get", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=15"];
                let mut command = Command::new("timeout");
                command.args(limits).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
                command.output().is_ok_and(|output| output.status.success())
            };
            let _updated = apt(&["update"]);
            apt(&["install", "-y", "--no-install-recommends", "mosquitto"]);
        }
    });
}

/// A broker in this directory, unless there cannot be one here.
fn broker(dir: &Path) -> Option<Broker> {
    if mosquitto().is_none() {
        let line = "*".repeat(72);
        let why = "mosquitto is not installed, so streams from a broker were NOT tested";
        let _ = writeln!(std::io::stderr(), "\n{line}\n* SKIPPED: {why}.\n{line}");
        return None;
    }
    Some(Broker::start(&dir.join("broker")).unwrap())
}

struct World {
    broker: Broker,
    mesh: Cluster,
    // Dropped last: the others have files in it.
    dir: tempfile::TempDir,
}

impl World {
    async fn new(peers: usize) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let broker = broker(dir.path())?;
        let mesh = Cluster::start(stream::mesh(peers, dir.path(), &broker.address())).await.unwrap();
        Some(Self { broker, mesh, dir })
    }

    fn source(&self) -> BrokerSpec {
        stream::topic(&self.broker.address(), TOPIC)
    }

    fn out(&self) -> SinkSpec {
        SinkSpec::File { path: self.dir.path().join("out.jsonl") }
    }

    fn written(&self) -> Tally {
        Tally::of(&std::fs::read_to_string(self.dir.path().join("out.jsonl")).unwrap_or_default())
    }

    async fn start(&self, peer: usize, change: impl FnOnce(&mut StreamRequest)) {
        let client = self.mesh.client(peer).unwrap();
        let mut request =
            stream::request(&client, NAME, SourceSpec::Mqtt(self.source()), 100, self.out()).await.unwrap();
        change(&mut request);
        client.start_stream(&request).await.unwrap();
        if matches!(request.source, SourceSpec::Mqtt(_)) {
            self.until(peer, |view| view.connections > 0).await;
        }
    }

    async fn until(&self, peer: usize, wanted: impl Fn(&StreamView) -> bool) -> StreamView {
        let client = self.mesh.client(peer).unwrap();
        let deadline = Instant::now() + LONG;
        loop {
            let view = client.stream(NAME).await;
            match view {
                Ok(view) if wanted(&view) => return view,
                other => assert!(Instant::now() < deadline, "it never came to that: {other:?}\n{}", self.last_words()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn last_words(&self) -> String {
        (0..self.mesh.peers().len()).map(|peer| self.mesh.last_words(peer).unwrap_or_default()).collect()
    }

    /// Publishes messages of these numbers beside everything else.
    fn publish(&self, from: u64, to: u64) -> tokio::task::JoinHandle<()> {
        self.publish_with(1, from, to)
    }

    fn publish_with(&self, qos: u8, from: u64, to: u64) -> tokio::task::JoinHandle<()> {
        let address = self.broker.address();
        tokio::task::spawn_blocking(move || {
            let mut client = MqttClient::connect(&address, &format!("publisher-{from}")).unwrap();
            let mut next = from;
            while next < to {
                let end = to.min(next + PIECE);
                assert_eq!(client.publish_all(TOPIC, qos, (next..end).map(message)).unwrap(), end - next);
                next = end;
                // As sensors do: so that whoever is killed is killed in the middle of it.
                std::thread::sleep(PACE);
            }
        })
    }

    #[track_caller]
    fn check(&self, sent: u64) {
        let tally = self.written();
        assert_eq!(tally.errors(), &[] as &[String]);
        assert_eq!((tally.lost(sent), tally.twice(), tally.messages()), (0, 0, sent), "lost, twice, there");
    }
}

#[test]
fn mqtt_messages_are_counted_once_in_windows_of_both_versions() {
    run(async {
        for version in [MqttVersion::V5, MqttVersion::V311] {
            let Some(world) = World::new(1).await else { return };
            let source = SourceSpec::Mqtt(BrokerSpec { version, qos: Some(2), ..world.source() });
            world.start(0, |request| request.source = source).await;

            world.publish_with(2, 0, 1_000).await.unwrap();

            world.until(0, |view| view.windows == 10).await;
            world.check(1_000);
        }
    });
}

#[test]
fn mqtt_messages_survive_kill_9_of_the_peer_again_and_again() {
    run(async {
        for qos in [1, 2] {
            let Some(world) = World::new(1).await else { return };
            let source = SourceSpec::Mqtt(BrokerSpec { qos: Some(qos), ..world.source() });
            world.start(0, |request| request.source = source).await;
            let publishing = world.publish_with(qos, 0, 20_000);

            for records in [2_000, 6_000, 12_000] {
                world.until(0, |view| view.records >= records).await;
                world.mesh.kill(0).unwrap();
                world.mesh.restart(0).await.unwrap();
            }

            publishing.await.unwrap();
            world.until(0, |view| view.windows == 200).await;
            world.check(20_000);
        }
    });
}

#[test]
fn mqtt_a_stream_is_taken_over_with_what_the_broker_has_not_delivered() {
    run(async {
        let Some(world) = World::new(3).await else { return };
        world.start(0, |request| request.durable = Some(2)).await;
        let owned = world.until(0, |view| view.successor.is_some() && view.notes.is_empty()).await;
        let successor = world.mesh.index(owned.successor_name.as_deref().unwrap()).unwrap();
        let publishing = world.publish(0, 10_000);
        world.until(0, |view| view.records >= 2_000).await;

        world.mesh.kill(0).unwrap();

        publishing.await.unwrap();
        let taken_over = world.until(successor, |view| view.windows == 100).await;
        assert_eq!(taken_over.state, StreamState::Running);
        assert!(taken_over.epoch > owned.epoch, "{} after {}", taken_over.epoch, owned.epoch);
        world.check(10_000);
        // The old owner comes back, and finds that the stream is another's.
        world.mesh.restart(0).await.unwrap();
        world.publish(10_000, 11_000).await.unwrap();
        world.until(successor, |view| view.windows == 110).await;
        world.check(11_000);
        let old = world.mesh.client(0).unwrap().stream(NAME).await;
        assert!(!old.is_ok_and(|view| view.state == StreamState::Running), "two run it");
    });
}

#[test]
fn mqtt_results_are_published_once_over_kill_9() {
    run(async {
        let Some(world) = World::new(1).await else { return };
        let address = world.broker.address();
        let mut listener = MqttClient::connect(&address, "listener").unwrap();
        listener.subscribe("results").unwrap();
        let sink = SinkSpec::Mqtt(stream::topic(&address, "results"));
        world.start(0, |request| (request.sink, request.window.count) = (sink, Some(10))).await;
        let listening = tokio::task::spawn_blocking(move || {
            let mut windows = Vec::new();
            listener.set_patience(LONG).unwrap();
            while windows.len() < 300 {
                let message = listener.next_message().unwrap();
                windows.push(serde_json::from_slice::<ResultLine>(&message).unwrap().window);
            }
            // One more than there are would be one twice.
            listener.set_patience(Duration::from_secs(2)).unwrap();
            windows.extend(listener.next_message().ok().map(|_| u64::MAX));
            windows
        });
        let publishing = world.publish(0, 3_000);

        for windows in [40, 110, 200] {
            world.until(0, |view| view.windows >= windows).await;
            world.mesh.kill(0).unwrap();
            world.mesh.restart(0).await.unwrap();
        }

        publishing.await.unwrap();
        let mut windows = listening.await.unwrap();
        assert!(windows.is_sorted(), "in order: {windows:?}");
        windows.dedup();
        assert_eq!(windows, (0..300).collect::<Vec<_>>());
    });
}

#[test]
fn mqtt_a_broker_that_is_away_is_waited_for() {
    run(async {
        let Some(mut world) = World::new(1).await else { return };
        world.start(0, |_| ()).await;
        world.publish(0, 500).await.unwrap();
        world.until(0, |view| view.windows == 5).await;

        world.broker.stop();
        let waiting = world.until(0, |view| view.state == StreamState::Waiting).await;
        assert!(waiting.notes.iter().any(|note| note.contains(&world.broker.address())), "{waiting:?}");
        world.broker.start_again().unwrap();

        world.until(0, |view| view.state == StreamState::Running && view.connections > 1).await;
        world.publish(500, 1_000).await.unwrap();
        world.until(0, |view| view.windows == 10).await;
        world.check(1_000);
    });
}

#[test]
fn mqtt_late_messages_are_counted_and_told() {
    run(async {
        let Some(world) = World::new(1).await else { return };
        let late = world.dir.path().join("late.jsonl");
        world
            .start(0, |request| {
                let event_time = serde_json::from_value(serde_json::json!({"column": 1, "unit": "ms"})).unwrap();
                request.window = WindowRule { span_ms: Some(100), event_time, lateness_ms: 50, ..Default::default() };
                request.late = Some(SinkSpec::File { path: late.clone() });
            })
            .await;
        let mut client = MqttClient::connect(&world.broker.address(), "publisher").unwrap();

        // 20 is within the lateness, 30 is not: 151 has closed its window.
        let messages = ["10,a", "120,b", "20,c", "151,d", "30,e", "noon,f", "400,g"];
        client.publish_all(TOPIC, 1, messages.map(String::from)).unwrap();

        let view = world.until(0, |view| view.windows >= 3 && view.late == 2).await;
        assert_eq!((view.timeless, view.open_records), (1, 1), "{view:?}");
        world.until(0, |view| view.pending_windows == 0).await;
        let told = std::fs::read_to_string(late).unwrap();
        assert!(told.contains("30,e") && told.contains("noon,f"), "{told}");
    });
}

#[test]
fn mqtt_a_message_that_is_far_too_large_is_let_go_and_keeps_nothing_behind_it() {
    run(async {
        // A broker of MQTT 5 does not even send it.
        for (version, qos, refused) in [(MqttVersion::V5, 1, 0), (MqttVersion::V311, 1, 1), (MqttVersion::V311, 2, 1)] {
            let Some(world) = World::new(1).await else { return };
            let source = SourceSpec::Mqtt(BrokerSpec { version, qos: Some(qos), ..world.source() });
            world.start(0, |request| request.source = source).await;
            let mut client = MqttClient::connect(&world.broker.address(), "publisher").unwrap();

            let large = "x".repeat(2 << 20);
            client.publish_all(TOPIC, qos, std::iter::once(large).chain((0..100).map(message))).unwrap();

            let view = world.until(0, |view| view.windows == 1).await;
            assert_eq!((view.refused, view.records, view.connections), (refused, 100, 1), "{version:?}");
            world.check(100);
        }
    });
}
