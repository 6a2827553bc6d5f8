//! What the owner wants of this peer, from files, variables and flags; and who the peer is, from its key and certificate.
//!
//! **Invariant:** a [`Config`] that exists has been checked.
//! **Not here:** limits of the protocol. Those are constants in `shoal_protocol::config`.

mod check;
mod error;
mod identity;
mod settings;
mod sources;
mod units;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;
use shoal_protocol::Role;
use shoal_protocol::api::{ConfigValue, ConfigView, schema};
use shoal_protocol::config::{PeerConfig, Weights};
use shoal_protocol::task::spec::CloudUse;

use crate::network::Congestion;

pub use error::{ConfigError, Fault, IdentityError};
pub use identity::Identity;
pub use settings::Host;
pub use sources::{Flags, Sources, default_files};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Must equal the certificate's, when given.
    pub name: Option<String>,
    /// Must equal the certificate's, when given.
    pub role: Option<Role>,
    /// Where everything is kept that outlives the process.
    pub data_dir: PathBuf,
    /// What people here call the mesh.
    pub mesh_name: String,
    /// File of the node's private key.
    pub node_key: PathBuf,
    /// File of its member certificate.
    pub certificate: PathBuf,
    /// File of the key that blobs are sealed with.
    pub store_key: PathBuf,
    /// Multiaddresses to listen on.
    pub listen: Vec<String>,
    /// Multiaddresses of peers that are tried for ever.
    pub bootstrap: Vec<String>,
    /// Multiaddresses where others reach this peer, which it cannot find out by itself.
    pub announce: Vec<String>,
    /// Whether it may be reachable from outside at all.
    pub reachable: bool,
    /// Whether it relays for other members where it is reachable.
    pub relay: bool,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// How often.
    pub mdns_interval: Duration,
    /// Connections held at once.
    pub peers_max: usize,
    /// How much may be sent on a path.
    pub congestion: Congestion,
    /// What blobs may take of the uplink, in bytes a second; all of it where `placement.uplink` does not say how much that is.
    pub bulk_bytes_per_s: Option<u64>,
    /// Unix socket of the API.
    pub socket: PathBuf,
    /// Tasks that run at once.
    pub cores: u16,
    /// Memory given to tasks.
    pub memory_bytes: u64,
    /// Disk given to blobs.
    pub disk_bytes: u64,
    /// Tasks that may wait.
    pub queue_max: usize,
    /// How tasks from here use cloud peers when they do not say.
    pub cloud: CloudUse,
    /// λ of tasks from here when they do not say.
    pub lambda: f64,
    /// This peer's weights in the objective.
    pub weights: Weights,
    /// Price of a second of one core.
    pub price: f64,
    /// Uplink, until it is measured.
    pub uplink_bits_per_s: u64,
    /// A service that is not called for so long is not kept ready any more.
    pub service_idle: Duration,
    /// What streams of other peers may touch here when this peer takes them over.
    pub take_over: Vec<String>,
    /// Filter of log lines.
    pub log: String,
    /// Their form.
    pub log_format: LogFormat,
    /// A run holds its slot this many times longer than it took.
    pub slowdown: f64,
    /// Stands in for the measured speed of a core.
    pub speed: Option<f64>,
    /// Whether other programs of this machine make the peer slower.
    pub host_load: bool,
}

impl Config {
    /// What the protocol needs to know.
    pub fn peer(&self, speed: f64) -> PeerConfig {
        PeerConfig {
            cores: self.cores,
            speed,
            memory_bytes: self.memory_bytes,
            uplink_bits_per_s: self.uplink_bits_per_s,
            queue_max: self.queue_max,
            weights: self.weights,
            price: self.price,
            lambda: self.lambda,
            service_idle: self.service_idle,
            ..PeerConfig::default()
        }
    }
}

/// Reads and checks everything; also says where each value came from.
pub fn load(sources: &Sources) -> Result<(Config, ConfigView), ConfigError> {
    let figment = sources::layer(sources)?;
    let unknown = sources::unknown_keys(&figment);
    if !unknown.is_empty() {
        return Err(ConfigError { faults: unknown });
    }
    let settings = check::settings(&figment)?;
    let mut config = check::check(&figment, &settings)?;
    // The daemon may change its directory; its files stay where the user meant them.
    let files = [&mut config.data_dir, &mut config.node_key, &mut config.certificate, &mut config.store_key];
    for path in files.into_iter().chain([&mut config.socket]) {
        *path = check::absolute(path);
    }
    Ok((config, view(&figment)))
}

fn view(figment: &figment::Figment) -> ConfigView {
    let values = settings::KEYS
        .iter()
        .filter_map(|(key, _)| {
            let value = figment.find_value(key).ok()?;
            Some(ConfigValue { key: (*key).into(), value: toml_text(&value), origin: sources::origin(figment, key) })
        })
        .collect();
    ConfigView { schema: schema(), values }
}

fn toml_text(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| format!("{value:?}"), |value| value.to_string())
}
