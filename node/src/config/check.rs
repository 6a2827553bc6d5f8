//! From what is written to what is meant: each value is checked, and every fault is told at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::error::Kind as FaultKind;
use shoal_protocol::Role;
use shoal_protocol::config::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX, Weights};
use shoal_protocol::task::spec::CloudUse;

use super::error::{ConfigError, Fault};
use super::settings::Settings;
use super::{Config, LogFormat, sources, units};
use crate::network::Congestion;

/// Connections a peer may hold: each costs buffers.
const PEERS_MAX: i64 = 4_096;
/// Less would leave blobs behind for good.
const SHARE_MIN: f64 = 0.05;
/// Tasks that may wait; more would wait for longer than any answer is worth.
const QUEUE_MAX: i64 = 65_536;
/// Weights, prices and λ beyond this are typing errors.
const COST_MAX: f64 = 1e6;
/// A module cache and one module must fit.
const DISK_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// One wasm instance with its default memory must fit.
const MEMORY_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Reads the typed settings; what has the wrong type is told with the key.
pub(super) fn settings(figment: &Figment) -> Result<Settings, ConfigError> {
    figment
        .extract::<Settings>()
        .map_err(|errors| ConfigError { faults: errors.into_iter().map(|error| type_fault(figment, &error)).collect() })
}

fn type_fault(figment: &Figment, error: &figment::Error) -> Fault {
    let key = error.path.join(".");
    let origin = match (&error.metadata, key.is_empty()) {
        (_, false) => sources::origin(figment, &key),
        (Some(metadata), true) => metadata
            .source
            .as_ref()
            .and_then(figment::Source::file_path)
            .map_or_else(|| metadata.name.to_string(), |path| path.display().to_string()),
        (None, true) => "the configuration".into(),
    };
    match &error.kind {
        FaultKind::InvalidType(actual, expected) | FaultKind::InvalidValue(actual, expected) => Fault {
            what: format!("`{key}` is a {actual}"),
            origin,
            fix: format!("write {}", expected.replace("struct ", "a table: ")),
        },
        kind if key.is_empty() => {
            Fault { what: format!("not TOML: {kind}"), origin, fix: "correct the line it points at".into() }
        }
        kind if kind.to_string().contains("untagged enum Amount") => Fault {
            what: format!("`{key}` is not an amount"),
            origin,
            fix: "write a number, or text with a unit: \"512Mi\", \"100Mbit\"".into(),
        },
        kind => Fault { what: format!("`{key}`: {kind}"), origin, fix: "correct the value".into() },
    }
}

struct Checker<'a> {
    figment: &'a Figment,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, key: &str, what: String, fix: &str) {
        let origin = sources::origin(self.figment, key);
        self.faults.push(Fault { what: format!("`{key}` {what}"), origin, fix: fix.into() });
    }

    fn whole(&mut self, key: &str, value: i64, low: i64, high: i64) -> u64 {
        if !(low..=high).contains(&value) {
            self.fault(key, format!("is {value}"), &format!("write a whole number from {low} to {high}"));
        }
        value.clamp(low, high).unsigned_abs()
    }

    fn real(&mut self, key: &str, value: f64, low: f64, high: f64) -> f64 {
        if !(low..=high).contains(&value) {
            self.fault(key, format!("is {value}"), &format!("write a number from {low} to {high}"));
        }
        value
    }

    fn bytes(&mut self, key: &str, text: &str, low: u64) -> u64 {
        match units::bytes(text) {
            None => self.fault(key, format!("is `{text}`, not a size"), "write it like \"512Mi\" or \"2Gi\""),
            Some(bytes) if bytes < low => {
                self.fault(key, format!("is {bytes} bytes"), &format!("give at least {}Mi", low / (1024 * 1024)));
            }
            Some(bytes) => return bytes,
        }
        low
    }

    fn address(&mut self, key: &str, address: &str, listening: bool) {
        if let Err(why) = check_address(address, listening) {
            self.fault(key, format!("has `{address}`: {why}"), "write it like \"/ip4/192.0.2.7/udp/7600/quic-v1\"");
        }
    }

    /// False for never.
    fn auto_or_never(&mut self, key: &str, text: &str) -> bool {
        match text {
            "auto" => {}
            "never" => return false,
            other => self.fault(key, format!("is `{other}`"), "write \"auto\" or \"never\""),
        }
        true
    }

    fn path(&mut self, key: &str, text: &str) -> PathBuf {
        if text.is_empty() {
            self.fault(key, "is empty".into(), "write a path");
        }
        PathBuf::from(text)
    }
}

/// The whole configuration, or all that is wrong with it.
pub(super) fn check(figment: &Figment, settings: &Settings) -> Result<Config, ConfigError> {
    let mut at = Checker { figment, faults: Vec::new() };
    let Settings { node, mesh, store, net, api, capacity, placement, services, streams, telemetry, testnet } = settings;

    if node.name.len() > NAME_BYTES_MAX {
        at.fault("node.name", format!("has {} bytes", node.name.len()), &format!("use at most {NAME_BYTES_MAX}"));
    }
    let role = match node.role.as_str() {
        "" => None,
        "edge" => Some(Role::Edge),
        "cloud" => Some(Role::Cloud),
        other => {
            at.fault("node.role", format!("is `{other}`"), "write \"edge\" or \"cloud\"");
            None
        }
    };
    let data_dir = at.path("node.data_dir", &node.data_dir);
    let in_data_dir = |text: &str, name: &str| if text.is_empty() { data_dir.join(name) } else { PathBuf::from(text) };

    if net.listen.is_empty() {
        at.fault("net.listen", "is empty".into(), "name at least one address, or remove the key");
    }
    for address in &net.listen {
        at.address("net.listen", address, true);
    }
    for address in &net.bootstrap {
        at.address("net.bootstrap", address, false);
    }
    for address in &net.announce {
        // Others take it as it is; a name they would have to look up.
        at.address("net.announce", address, true);
    }
    let reachable = at.auto_or_never("net.reachable", &net.reachable);
    let relay = at.auto_or_never("net.relay", &net.relay);
    let socket = match (api.listen.strip_prefix("unix:"), api.listen.starts_with('/')) {
        (Some(path), _) if !path.is_empty() => PathBuf::from(path),
        (None, true) => PathBuf::from(&api.listen),
        (Some(_) | None, _) => {
            at.fault("api.listen", format!("is `{}`", api.listen), "write \"unix:\" and the path of a socket");
            PathBuf::new()
        }
    };
    if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let what = format!("names a path of {} bytes, more than a Unix socket can have", socket.as_os_str().len());
        at.fault("api.listen", what, &format!("use a path of at most {SOCKET_PATH_BYTES_MAX} bytes"));
    }
    let cloud = match placement.cloud.as_str() {
        "fallback" => CloudUse::Fallback,
        "allow" => CloudUse::Allow,
        "never" => CloudUse::Never,
        other => {
            at.fault("placement.cloud", format!("is `{other}`"), "write \"fallback\", \"allow\" or \"never\"");
            CloudUse::Fallback
        }
    };
    let congestion = match net.congestion.as_str() {
        "cubic" => Congestion::Cubic,
        "bbr" => Congestion::Bbr,
        other => {
            at.fault("net.congestion", format!("is `{other}`"), "write \"cubic\" or \"bbr\"");
            Congestion::Cubic
        }
    };
    let uplink_bits_per_s = match units::bits_per_s(&placement.uplink.text()) {
        Some(rate) if rate >= 1_000 => rate,
        Some(_) | None => {
            let what = format!("is `{}`, not a rate of at least 1kbit", placement.uplink.text());
            at.fault("placement.uplink", what, "write it like \"100Mbit\"");
            1_000
        }
    };
    let log_format = match telemetry.format.as_str() {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            at.fault("telemetry.format", format!("is `{other}`"), "write \"text\" or \"json\"");
            LogFormat::Text
        }
    };
    if let Err(error) = telemetry.log.parse::<tracing_subscriber::filter::EnvFilter>() {
        let what = format!("is `{}`: {error}", telemetry.log);
        at.fault(
            "telemetry.log",
            what,
            "write a level (error, warn, info, debug, trace) or a filter: \"info,shoal=debug\"",
        );
    }
    for entry in &streams.take_over {
        if !entry.starts_with('/') && entry.strip_prefix("mqtt:").is_none_or(|broker| !broker.contains(':')) {
            at.fault("streams.take_over", format!("has `{entry}`"), "write a directory, or \"mqtt:HOST:PORT\"");
        }
    }
    let config = Config {
        name: Some(node.name.clone()).filter(|name| !name.is_empty()),
        role,
        mesh_name: mesh.name.clone(),
        node_key: in_data_dir(&mesh.node_key, "node.key"),
        certificate: in_data_dir(&mesh.certificate, "member.cert"),
        store_key: in_data_dir(&store.key_file, "store.key"),
        listen: net.listen.clone(),
        bootstrap: net.bootstrap.clone(),
        announce: net.announce.clone(),
        reachable,
        relay,
        mdns: net.mdns,
        mdns_interval: Duration::from_secs_f64(
            at.real("net.mdns_interval_s", net.mdns_interval_s, 0.1, 3600.0).clamp(0.1, 3600.0),
        ),
        peers_max: at.whole("net.max_peers", net.max_peers, 1, PEERS_MAX) as usize,
        congestion,
        bulk_bytes_per_s: {
            let share = at.real("net.uplink_share", net.uplink_share, SHARE_MIN, 1.0);
            // Of an uplink that nobody has described nothing is known that could be shared; and whoever gives blobs all of it
            // leaves it to the congestion control.
            let is_described = sources::origin(figment, "placement.uplink") != sources::DEFAULT;
            (is_described && share < 1.0).then_some((uplink_bits_per_s as f64 / 8.0 * share) as u64)
        },
        socket,
        cores: at.whole("capacity.cores", capacity.cores, 1, 1024) as u16,
        memory_bytes: at.bytes("capacity.memory", &capacity.memory.text(), MEMORY_BYTES_MIN),
        disk_bytes: at.bytes("capacity.disk", &capacity.disk.text(), DISK_BYTES_MIN),
        queue_max: at.whole("capacity.max_queue", capacity.max_queue, 1, QUEUE_MAX) as usize,
        cloud,
        lambda: at.real("placement.lambda", placement.lambda, 0.0, COST_MAX),
        weights: Weights {
            delay: at.real("placement.weights.delay", placement.weights.delay, 0.0, COST_MAX),
            transfer: at.real("placement.weights.transfer", placement.weights.transfer, 0.0, COST_MAX),
            compute: at.real("placement.weights.compute", placement.weights.compute, 0.0, COST_MAX),
        },
        price: at.real("placement.price", placement.price, 0.0, COST_MAX),
        uplink_bits_per_s,
        service_idle: Duration::try_from_secs_f64(at.real("services.idle_s", services.idle_s, 0.1, 86_400.0))
            .unwrap_or_default(),
        take_over: streams.take_over.clone(),
        log: telemetry.log.clone(),
        log_format,
        slowdown: at.real("testnet.slowdown", testnet.slowdown, 1.0, 1000.0),
        speed: Some(at.real("testnet.speed", testnet.speed, 0.0, 1000.0)).filter(|speed| *speed > 0.0),
        host_load: testnet.host_load,
        data_dir,
    };
    if at.faults.is_empty() { Ok(config) } else { Err(ConfigError { faults: at.faults }) }
}

/// `sun_path` holds 108 bytes with its terminator.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The form of an address; whether it exists is for the network to find out.
fn check_address(address: &str, listening: bool) -> Result<(), String> {
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(format!("longer than {ADDRESS_BYTES_MAX} bytes"));
    }
    let mut parts = address.split('/');
    if parts.next() != Some("") {
        return Err("an address begins with `/`".into());
    }
    let (family, host) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let host_is_good = match family {
        "ip4" => host.parse::<std::net::Ipv4Addr>().is_ok(),
        "ip6" => host.parse::<std::net::Ipv6Addr>().is_ok(),
        "dns" | "dns4" | "dns6" if !listening => !host.is_empty(),
        _ => return Err(format!("`/{family}` is not supported here")),
    };
    if !host_is_good {
        return Err(format!("`{host}` is not of the form that /{family} wants"));
    }
    let port = match (parts.next(), parts.next()) {
        (Some("udp"), Some(port)) => port,
        _ => return Err("`/udp/PORT` must follow the host".into()),
    };
    match port.parse::<u16>() {
        Ok(0) if !listening => return Err("port 0 cannot be dialled".into()),
        Ok(_) => {}
        Err(_) => return Err(format!("`{port}` is not a port")),
    }
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("quic-v1"), None, None, None) => Ok(()),
        (Some("quic-v1"), Some("p2p"), Some(peer), None) if !listening && !peer.is_empty() => Ok(()),
        _ => Err("it must end in `/quic-v1`".into()),
    }
}

/// Whether a path is one that only absolute names are good for.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
