//! The configuration as it is written: sections and keys, each value as text or number, with its default.
//!
//! **Invariant:** [`KEYS`] lists exactly the fields of [`Settings`]; a test compares them.
//! **Not here:** what values mean. That is `check.rs`.

use serde::{Deserialize, Serialize};
use shoal_protocol::config::SERVICE_IDLE_DEFAULT;

/// How the text of an environment variable becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Separated by commas.
    List,
    Switch,
    Number,
}

/// Every key, in the order of the file format.
pub(super) const KEYS: &[(&str, Kind)] = &[
    ("node.name", Kind::Text),
    ("node.role", Kind::Text),
    ("node.data_dir", Kind::Text),
    ("mesh.name", Kind::Text),
    ("mesh.node_key", Kind::Text),
    ("mesh.certificate", Kind::Text),
    ("store.key_file", Kind::Text),
    ("net.listen", Kind::List),
    ("net.bootstrap", Kind::List),
    ("net.announce", Kind::List),
    ("net.reachable", Kind::Text),
    ("net.relay", Kind::Text),
    ("net.mdns", Kind::Switch),
    ("net.mdns_interval_s", Kind::Number),
    ("net.max_peers", Kind::Number),
    ("net.congestion", Kind::Text),
    ("net.uplink_share", Kind::Number),
    ("api.listen", Kind::Text),
    ("capacity.cores", Kind::Number),
    ("capacity.memory", Kind::Text),
    ("capacity.disk", Kind::Text),
    ("capacity.max_queue", Kind::Number),
    ("placement.cloud", Kind::Text),
    ("placement.lambda", Kind::Number),
    ("placement.weights.transfer", Kind::Number),
    ("placement.weights.delay", Kind::Number),
    ("placement.weights.compute", Kind::Number),
    ("placement.price", Kind::Number),
    ("placement.uplink", Kind::Text),
    ("services.idle_s", Kind::Number),
    ("streams.take_over", Kind::List),
    ("telemetry.log", Kind::Text),
    ("telemetry.format", Kind::Text),
    ("testnet.slowdown", Kind::Number),
    ("testnet.speed", Kind::Number),
    ("testnet.host_load", Kind::Switch),
];

/// What the defaults depend on.
#[derive(Debug, Clone)]
pub struct Host {
    /// The user the daemon runs as.
    pub uid: u32,
    /// `HOME`.
    pub home: Option<String>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<String>,
    /// `XDG_DATA_HOME`.
    pub xdg_data_home: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<String>,
    /// Cores this process may use.
    pub cores: u16,
    /// Memory of the machine.
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) node: Node,
    pub(super) mesh: Mesh,
    pub(super) store: Store,
    pub(super) net: Net,
    pub(super) api: Api,
    pub(super) capacity: Capacity,
    pub(super) placement: Placement,
    pub(super) services: Services,
    pub(super) streams: Streams,
    pub(super) telemetry: Telemetry,
    pub(super) testnet: Testnet,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    /// Empty: the certificate says it.
    pub(super) name: String,
    /// Empty: the certificate says it.
    pub(super) role: String,
    pub(super) data_dir: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mesh {
    /// What people here call the mesh; peers compare ids, not names.
    pub(super) name: String,
    /// Empty: `node.key` in the data directory.
    pub(super) node_key: String,
    /// Empty: `member.cert` in the data directory.
    pub(super) certificate: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    /// Empty: `store.key` in the data directory.
    pub(super) key_file: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Net {
    pub(super) listen: Vec<String>,
    pub(super) bootstrap: Vec<String>,
    /// Where others reach this peer and it cannot see it itself: behind a port that is forwarded.
    pub(super) announce: Vec<String>,
    pub(super) reachable: String,
    pub(super) relay: String,
    pub(super) mdns: bool,
    pub(super) mdns_interval_s: f64,
    pub(super) max_peers: i64,
    pub(super) congestion: String,
    pub(super) uplink_share: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Api {
    /// `unix:PATH`.
    pub(super) listen: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Capacity {
    pub(super) cores: i64,
    pub(super) memory: Amount,
    pub(super) disk: Amount,
    pub(super) max_queue: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Placement {
    pub(super) cloud: String,
    pub(super) lambda: f64,
    pub(super) weights: WeightSettings,
    pub(super) price: f64,
    pub(super) uplink: Amount,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WeightSettings {
    pub(super) transfer: f64,
    pub(super) delay: f64,
    pub(super) compute: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Services {
    /// A service that is not called for so long is not kept ready here any more.
    pub(super) idle_s: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Streams {
    /// What streams of other peers may touch here when this peer takes them over: directories, and `mqtt:HOST:PORT`.
    pub(super) take_over: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Telemetry {
    pub(super) log: String,
    pub(super) format: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Testnet {
    pub(super) slowdown: f64,
    /// 0: measured.
    pub(super) speed: f64,
    /// Whether other programs of this machine make the peer slower; the other peers of a testnet are such programs.
    pub(super) host_load: bool,
}

/// `536870912` or `"512Mi"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Amount {
    Number(u64),
    Text(String),
}

impl Amount {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Settings {
    /// What holds where nobody says otherwise.
    pub(super) fn defaults(host: &Host) -> Self {
        let socket = shoal_protocol::api::default_socket(host.xdg_runtime_dir.as_deref(), host.uid);
        Self {
            node: Node { name: String::new(), role: String::new(), data_dir: default_data_dir(host) },
            mesh: Mesh { name: String::new(), node_key: String::new(), certificate: String::new() },
            store: Store { key_file: String::new() },
            net: Net {
                listen: vec!["/ip4/0.0.0.0/udp/7600/quic-v1".into()],
                bootstrap: Vec::new(),
                announce: Vec::new(),
                reachable: "auto".into(),
                relay: "auto".into(),
                mdns: true,
                mdns_interval_s: 30.0,
                max_peers: 64,
                congestion: "bbr".into(),
                uplink_share: 0.8,
            },
            api: Api { listen: format!("unix:{}", socket.display()) },
            capacity: Capacity {
                cores: i64::from(host.cores),
                // The other half is for the host's own programs; what is really free is sampled.
                memory: Amount::Text(format!("{}Mi", (host.memory_bytes / 2 / (1024 * 1024)).max(64))),
                disk: Amount::Text("2Gi".into()),
                max_queue: 128,
            },
            placement: Placement {
                cloud: "fallback".into(),
                lambda: 1.0,
                weights: WeightSettings { transfer: 1.0, delay: 1.0, compute: 1.0 },
                price: 0.0,
                uplink: Amount::Text("100Mbit".into()),
            },
            services: Services { idle_s: SERVICE_IDLE_DEFAULT.as_secs_f64() },
            streams: Streams { take_over: Vec::new() },
            telemetry: Telemetry { log: "info".into(), format: "text".into() },
            testnet: Testnet { slowdown: 1.0, speed: 0.0, host_load: true },
        }
    }
}

fn default_data_dir(host: &Host) -> String {
    let absolute = |dir: &Option<String>| dir.clone().filter(|dir| dir.starts_with('/'));
    match (host.uid, absolute(&host.xdg_data_home), absolute(&host.home)) {
        (0, _, _) => "/var/lib/shoal".into(),
        (_, Some(data), _) => format!("{data}/shoal"),
        (_, None, Some(home)) => format!("{home}/.local/share/shoal"),
        (_, None, None) => "/var/lib/shoal".into(),
    }
}
