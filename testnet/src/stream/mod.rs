//! How many messages a second go through a windowed stream, and what becomes of them when the peer that runs it is killed.
//!
//! ```text
//! publisher ─► mosquitto ─► stream at the first peer ─► windows of 1,000 ─► wordcount ─► file
//!                             │ kill −9 in the middle
//!                             └─► durable 1: it is started again; durable 2: another peer takes over, with the broker's session
//! ```
//!
//! **Invariant:** every message is told apart in what is written, so that lost and twice are counted, not estimated.

mod broker;
mod client;
mod tally;

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use shoal_cli::client::{Client, ClientError};
use shoal_examples::modules;
use shoal_protocol::api::{StreamRequest, StreamState, StreamView, TaskRequest, VariantRequest};
use shoal_protocol::stream::{BrokerSpec, MqttVersion, SinkSpec, SourceSpec, WindowRule};

pub use broker::{Broker, BrokerError, mosquitto};
pub use client::MqttClient;
pub use tally::{ResultLine, Tally, message};

use crate::cluster::{Cluster, ClusterConfig, ClusterError, LOOK};

/// Nothing that is waited for here may take longer.
const PATIENCE: Duration = Duration::from_secs(120);
const TOPIC: &str = "city/speed";
const NAME: &str = "bench";

/// What is measured.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// Messages that are published.
    pub messages: u64,
    /// Records in a window.
    pub window: u32,
    /// Whether the peer that runs the stream is killed when half of them are published.
    pub kill: bool,
    /// Peers that have a message on disk before it is acknowledged: 1 or 2.
    pub durable: u8,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self { messages: 100_000, window: 1_000, kill: false, durable: 1 }
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct StreamReport {
    pub schema: &'static str,
    pub messages: u64,
    pub window: u32,
    pub durable: u8,
    pub killed: bool,
    /// From the first message published to the last window written.
    pub seconds: f64,
    pub messages_per_s: f64,
    /// Messages in no window.
    pub lost: u64,
    /// Messages, or windows, written more than once.
    pub twice: u64,
    /// Deliveries that the broker repeated and that were not taken a second time, at the last owner.
    pub repeated: u64,
    /// From the kill to the first record that was taken after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_s: Option<f64>,
}

/// Why it could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the peer could not {doing}: {source}")]
    Peer { doing: &'static str, source: ClientError },
    #[error("the broker was not reached: {0}")]
    Client(io::Error),
    #[error("{what} did not come about within {} s: {seen}", PATIENCE.as_secs())]
    TimedOut { what: &'static str, seen: String },
    #[error("a window has no result: {0}")]
    Failed(String),
    #[error("no directory for it: {0}")]
    Dir(io::Error),
}

impl StreamError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Broker(error) => error.hint().into(),
            Self::Peer { source, .. } => source.hint(),
            Self::Client(_) | Self::TimedOut { .. } => "look at the machine's load, or give fewer --messages".into(),
            Self::Failed(_) => "this is a fault of Shoal: report it with this line".into(),
            Self::Dir(_) => "make room in the temporary directory, or set TMPDIR".into(),
        }
    }
}

/// The mesh of such a measurement: peers that may take over what is in this directory and at this broker.
pub fn mesh(peers: usize, dir: &Path, broker: &str) -> ClusterConfig {
    let mut config = ClusterConfig::new(0, peers).on_loopback();
    for peer in &mut config.peers {
        (peer.slowdown, peer.cores, peer.queue_max) = (1.0, 2, 1_024);
    }
    config.take_over = vec![dir.display().to_string(), format!("mqtt:{broker}")];
    config.log = "warn".into();
    config
}

/// A topic of this broker.
pub fn topic(broker: &str, topic: &str) -> BrokerSpec {
    BrokerSpec {
        broker: broker.to_owned(),
        topic: topic.to_owned(),
        qos: None,
        version: MqttVersion::V5,
        client_id: None,
        username: None,
        password: None,
        with_topic: false,
    }
}

/// A stream of windows by count, whose words are all counted.
pub async fn request(
    client: &Client,
    name: &str,
    source: SourceSpec,
    window: u32,
    sink: SinkSpec,
) -> Result<StreamRequest, ClientError> {
    let module = modules::module_bytes("wordcount").unwrap_or_default();
    let module = client.put_blob(module.to_vec()).await?.id;
    let task = TaskRequest {
        variants: vec![VariantRequest { name: String::new(), module, loss: 0.0 }],
        args: vec!["--top".into(), "10000".into()],
        ..TaskRequest::default()
    };
    Ok(StreamRequest {
        name: name.to_owned(),
        source,
        window: WindowRule { count: Some(window), ..WindowRule::default() },
        task: Some(task),
        pipeline: None,
        input: None,
        sink,
        late: None,
        durable: None,
    })
}

/// Publishes, counts, and kills where that is asked for.
pub async fn run(config: StreamConfig) -> Result<StreamReport, StreamError> {
    let dir = tempfile::Builder::new().prefix("shoal-stream-").tempdir().map_err(StreamError::Dir)?;
    let broker = Broker::start(&dir.path().join("broker"))?;
    let out = dir.path().join("out.jsonl");
    // With two copies, whoever takes over needs a successor itself.
    let peers = if config.durable > 1 { 3 } else { 1 };
    let mesh = mesh(peers, dir.path(), &broker.address());
    let cluster = Cluster::start(mesh).await?;
    let first = cluster.client(0)?;
    let source = SourceSpec::Mqtt(topic(&broker.address(), TOPIC));
    let request = request(&first, NAME, source, config.window, SinkSpec::File { path: out.clone() });
    let mut request = request.await.map_err(could_not("take the module"))?;
    request.durable = Some(config.durable);
    first.start_stream(&request).await.map_err(could_not("start the stream"))?;
    let has_successor = |view: &StreamView| cluster.peers().len() == 1 || view.successor.is_some();
    let view = until(&first, "a running stream", |view| view.connections > 0 && has_successor(view)).await?;
    let successor = view.successor_name.map_or(Ok(0), |name| cluster.index(&name))?;

    let began = Instant::now();
    let half = config.messages / 2;
    let address = broker.address();
    let publishing = |from: u64, to: u64| {
        let address = address.clone();
        tokio::task::spawn_blocking(move || {
            let mut client = MqttClient::connect(&address, &format!("publisher-{from}"))?;
            client.publish_all(TOPIC, 1, (from..to).map(message))
        })
    };
    published(publishing(0, half).await)?;
    let second_half = publishing(half, config.messages);
    let resumed_s = match config.kill {
        true => Some(kill(&cluster, successor).await?),
        false => None,
    };
    published(second_half.await)?;

    let windows = config.messages / u64::from(config.window);
    let last = cluster.client(if config.kill { successor } else { 0 })?;
    let view = until(&last, "the last window", |view| view.windows >= windows).await?;
    let seconds = began.elapsed().as_secs_f64();
    let text = std::fs::read_to_string(&out).map_err(StreamError::Dir)?;
    let tally = Tally::of(&text);
    if let Some(error) = tally.errors().first() {
        return Err(StreamError::Failed(error.clone()));
    }
    cluster.shutdown().await;
    Ok(StreamReport {
        schema: "shoal/v1",
        messages: config.messages,
        window: config.window,
        durable: config.durable,
        killed: config.kill,
        seconds,
        messages_per_s: config.messages as f64 / seconds,
        lost: tally.lost(windows * u64::from(config.window)),
        twice: tally.twice(),
        repeated: view.repeated,
        resumed_s,
    })
}

fn published(result: Result<io::Result<u64>, tokio::task::JoinError>) -> Result<u64, StreamError> {
    result.map_err(io::Error::other).and_then(|sent| sent).map_err(StreamError::Client)
}

/// Kills the owner, and says how long it took until its successor went on; the owner itself, started again, where it has none.
async fn kill(cluster: &Cluster, successor: usize) -> Result<f64, StreamError> {
    let next = cluster.client(successor)?;
    let before = next.stream(NAME).await.map_err(could_not("show the stream"))?.records;
    cluster.kill(0)?;
    let at = Instant::now();
    if successor == 0 {
        cluster.restart(0).await?;
    }
    let goes_on =
        |view: &StreamView| view.state == StreamState::Running && view.connections > 0 && view.records > before;
    until(&next, "the takeover", goes_on).await?;
    Ok(at.elapsed().as_secs_f64())
}

/// The stream as a peer shows it, once it is as it should be.
async fn until(
    client: &Client,
    what: &'static str,
    wanted: impl Fn(&StreamView) -> bool,
) -> Result<StreamView, StreamError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = client.stream(NAME).await;
        match view {
            Ok(view) if wanted(&view) => return Ok(view),
            other if Instant::now() >= deadline => {
                return Err(StreamError::TimedOut { what, seen: format!("{other:?}") });
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

fn could_not(doing: &'static str) -> impl FnOnce(ClientError) -> StreamError {
    move |source| StreamError::Peer { doing, source }
}

impl fmt::Display for StreamReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} messages in windows of {}, durable {}: {:.1} s, {:.0} messages/s",
            self.messages, self.window, self.durable, self.seconds, self.messages_per_s
        )?;
        if let Some(resumed) = self.resumed_s {
            writeln!(f, "  owner killed in the middle; resumed after {resumed:.2} s")?;
        }
        writeln!(f, "  lost {}, twice {}, repeated by the broker {}", self.lost, self.twice, self.repeated)
    }
}
