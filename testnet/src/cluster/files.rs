//! What a mesh has on disk.
//!
//! ```text
//! DIR/testnet.lock            held while the mesh runs
//! DIR/mesh.key                the mesh's key, from which that of the issuer of its certificates follows
//! DIR/issuer.key issuer.cert  who deploys rules and services: `shoal service deploy … --data-dir DIR`
//! DIR/peers/NAME/shoald.toml  shoald.log  api.sock  data/{node.key, member.cert, …}
//! ```
//!
//! **Invariant:** a directory with anything in it that is not a testnet's is left as it is, and so is one that is in use.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use shoal_protocol::MeshId;
use shoal_protocol::certificate::{Issuer, IssuerCertificate, MemberCertificate, SecretKey};
use tempfile::TempDir;

use super::Peer;
use super::config::{ClusterConfig, Discovery, PeerPlan};
use super::disk::Disk;
use super::error::ClusterError;
use super::place::Place;
use crate::emulator::NatKind;

/// `sun_path` holds 108 bytes with its terminator.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Peers whose addresses every peer is told; the rest it hears of.
const BOOTSTRAP_MAX: usize = 3;
const LOOPBACK_BITS_PER_S: u64 = 1_000_000_000;
/// Of a real link, as `shoald` has it where nobody says otherwise.
const UPLINK_SHARE: f64 = 0.8;
/// How often multicast is asked again; the first question goes out at once.
const MDNS_INTERVAL_S: f64 = 5.0;
const HOUR_S: u64 = 3_600;
const MONTH_S: u64 = 30 * 24 * HOUR_S;
const LOCK: &str = "testnet.lock";

#[derive(Debug)]
pub(super) struct MeshFiles {
    // Dropped before the directory they are in.
    _disks: Vec<Disk>,
    dir: Dir,
    peers: Vec<Peer>,
    mesh: MeshId,
    /// Locked as long as it is open.
    _lock: File,
}

#[derive(Debug)]
enum Dir {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Dir {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(path) => path,
        }
    }
}

impl MeshFiles {
    pub(super) fn write(config: &ClusterConfig, place: &Place, addresses: &[SocketAddr]) -> Result<Self, ClusterError> {
        let dir = match &config.dir {
            Some(path) => Dir::Kept(std::path::absolute(path).map_err(failed("find", path))?),
            None => {
                let parent = std::env::temp_dir();
                let made = tempfile::Builder::new().prefix("shoal-testnet-").tempdir_in(&parent);
                Dir::Temporary(made.map_err(failed("make a directory in", &parent))?)
            }
        };
        let lock = claim(dir.path())?;
        let mesh_key = new_key()?;
        write_secret(&dir.path().join("mesh.key"), &*mesh_key.to_bytes())?;
        write_issuer(dir.path(), &mesh_key)?;
        let mut peers = Vec::with_capacity(config.peers.len());
        let mut disks = Vec::new();
        for (index, plan) in config.peers.iter().enumerate() {
            if let Some(bytes) = config.disk_bytes {
                let data_dir = data_dir_of(dir.path(), plan);
                make_dir(&data_dir)?;
                disks.push(Disk::mount(&data_dir, bytes)?);
            }
            let peer = write_peer(dir.path(), plan, addresses[index], &mesh_key)?;
            let daemon = DaemonConfig::of(config, plan, &peer, place, addresses);
            let text =
                toml::to_string(&daemon).map_err(|error| failed("write", &peer.config)(io::Error::other(error)))?;
            fs::write(&peer.config, text).map_err(failed("write", &peer.config))?;
            peers.push(peer);
        }
        Ok(Self { _disks: disks, dir, peers, mesh: mesh_key.mesh(), _lock: lock })
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the directory where it is, for whoever wants to know what went wrong.
    pub(super) fn keep(&mut self) {
        if let Dir::Temporary(dir) = &mut self.dir {
            dir.disable_cleanup(true);
        }
    }

    pub(super) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(super) fn mesh(&self) -> MeshId {
        self.mesh
    }
}

/// Whether a testnet runs in this directory.
pub fn is_in_use(dir: &Path) -> bool {
    // Opened without creating: asking leaves no trace.
    File::open(dir.join(LOCK)).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Makes the directory, unless it holds other things than a testnet.
pub fn make_ours(dir: &Path) -> Result<(), ClusterError> {
    make_dir(dir)?;
    if !dir.join(LOCK).exists() && fs::read_dir(dir).map_err(failed("read", dir))?.any(|entry| !is_ours(entry)) {
        return Err(ClusterError::DirNotOurs { dir: dir.to_owned() });
    }
    Ok(())
}

/// Makes the directory, or takes over that of a testnet which has ended.
fn claim(dir: &Path) -> Result<File, ClusterError> {
    make_ours(dir)?;
    let lock_path = dir.join(LOCK);
    let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
    let lock = lock.map_err(failed("open", &lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(ClusterError::DirInUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
    }
    // What is said there is of the mesh before: its process has ended, and its number may be another's.
    let (running, peers) = (dir.join(crate::RUNNING), dir.join("peers"));
    gone(fs::remove_file(&running)).map_err(failed("clear", &running))?;
    gone(fs::remove_dir_all(&peers)).map_err(failed("clear", &peers))?;
    Ok(lock)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The log of a detached tool is there before its mesh.
fn is_ours(entry: io::Result<fs::DirEntry>) -> bool {
    entry.is_ok_and(|entry| entry.file_name() == crate::DETACHED_LOG)
}

/// Another issuer than that of the certificates: whoever wants to revoke it takes no peer with it.
fn write_issuer(dir: &Path, mesh_key: &SecretKey) -> Result<(), ClusterError> {
    let (key, now_s) = (new_key()?, now_unix_s());
    let certificate = IssuerCertificate {
        mesh: mesh_key.mesh(),
        issuer: key.peer(),
        not_before_unix_s: now_s.saturating_sub(HOUR_S),
        expires_unix_s: now_s + MONTH_S,
    };
    write_secret(&dir.join("issuer.key"), &*key.to_bytes())?;
    let path = dir.join("issuer.cert");
    fs::write(&path, certificate.sign(mesh_key).to_bytes()).map_err(failed("write", &path))
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn write_peer(dir: &Path, plan: &PeerPlan, address: SocketAddr, mesh_key: &SecretKey) -> Result<Peer, ClusterError> {
    let home = dir.join("peers").join(&plan.name);
    let socket = home.join("api.sock");
    if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        return Err(ClusterError::SocketPathTooLong { path: socket, limit: SOCKET_PATH_BYTES_MAX });
    }
    let data_dir = data_dir_of(dir, plan);
    make_dir(&data_dir)?;
    let key = new_key()?;
    let now_s = now_unix_s();
    let certificate = MemberCertificate {
        mesh: mesh_key.mesh(),
        peer: key.peer(),
        name: plan.name.clone(),
        role: plan.role,
        labels: plan.labels.clone(),
        not_before_unix_s: now_s.saturating_sub(HOUR_S),
        expires_unix_s: now_s + MONTH_S,
        serial: 1,
    };
    write_secret(&data_dir.join("node.key"), &*key.to_bytes())?;
    let certificate_path = data_dir.join("member.cert");
    fs::write(&certificate_path, certificate.sign(&Issuer::of(mesh_key)).to_bytes())
        .map_err(failed("write", &certificate_path))?;
    Ok(Peer {
        name: plan.name.clone(),
        role: plan.role,
        peer: key.peer(),
        address,
        socket,
        config: home.join("shoald.toml"),
        log: home.join("shoald.log"),
        data_dir,
    })
}

fn data_dir_of(dir: &Path, plan: &PeerPlan) -> PathBuf {
    dir.join("peers").join(&plan.name).join("data")
}

fn make_dir(path: &Path) -> Result<(), ClusterError> {
    // Keys lie below, and whoever reaches a socket commands its peer.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))
}

fn new_key() -> Result<SecretKey, ClusterError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| ClusterError::Entropy(io::Error::other(error)))?;
    Ok(SecretKey::from_bytes(&bytes))
}

fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), ClusterError> {
    let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(failed("write", path))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    move |source| ClusterError::File { doing, path: path.to_owned(), source }
}

fn multiaddress(address: SocketAddr) -> String {
    format!("/ip4/{}/udp/{}/quic-v1", address.ip(), address.port())
}

/// The daemon's configuration file.
#[derive(Serialize)]
struct DaemonConfig<'a> {
    node: NodeSection<'a>,
    mesh: MeshSection<'a>,
    net: NetSection,
    api: ApiSection,
    capacity: CapacitySection,
    placement: PlacementSection,
    services: ServicesSection,
    streams: StreamsSection<'a>,
    telemetry: TelemetrySection<'a>,
    testnet: TestnetSection,
}

#[derive(Serialize)]
struct NodeSection<'a> {
    name: &'a str,
    role: String,
    data_dir: &'a Path,
}

#[derive(Serialize)]
struct MeshSection<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct NetSection {
    listen: Vec<String>,
    bootstrap: Vec<String>,
    mdns: bool,
    mdns_interval_s: f64,
    uplink_share: f64,
}

#[derive(Serialize)]
struct ApiSection {
    listen: String,
}

#[derive(Serialize)]
struct CapacitySection {
    cores: u16,
    memory: u64,
    max_queue: u32,
}

#[derive(Serialize)]
struct PlacementSection {
    price: f64,
    uplink: u64,
    weights: BTreeMap<&'static str, f64>,
}

#[derive(Serialize)]
struct ServicesSection {
    idle_s: f64,
}

#[derive(Serialize)]
struct StreamsSection<'a> {
    take_over: &'a [String],
}

#[derive(Serialize)]
struct TelemetrySection<'a> {
    log: &'a str,
}

#[derive(Serialize)]
struct TestnetSection {
    slowdown: f64,
    speed: f64,
    host_load: bool,
}

impl<'a> DaemonConfig<'a> {
    fn of(
        config: &'a ClusterConfig,
        plan: &'a PeerPlan,
        peer: &'a Peer,
        place: &Place,
        addresses: &[SocketAddr],
    ) -> Self {
        let mdns = config.discovery == Discovery::Mdns;
        // Who is behind a NAT cannot be called.
        let callable = config.peers.iter().zip(addresses).filter(|(plan, _)| plan.nat == NatKind::None);
        let others =
            callable.map(|(_, address)| address).filter(|address| **address != peer.address).take(BOOTSTRAP_MAX);
        let emulated_uplink = place.links().and_then(|links| links.uplink(&plan.node()).bits_per_s);
        let uplink = plan.uplink_bits_per_s.or(emulated_uplink);
        Self {
            node: NodeSection { name: &plan.name, role: plan.role.to_string(), data_dir: &peer.data_dir },
            mesh: MeshSection { name: &config.mesh_name },
            net: NetSection {
                listen: vec![multiaddress(peer.address)],
                bootstrap: if mdns { Vec::new() } else { others.map(|address| multiaddress(*address)).collect() },
                mdns,
                mdns_interval_s: MDNS_INTERVAL_S,
                // A link that is said to be there for placement alone holds nothing back.
                uplink_share: if uplink.is_some() { UPLINK_SHARE } else { 1.0 },
            },
            api: ApiSection { listen: peer.api() },
            capacity: CapacitySection { cores: plan.cores, memory: plan.memory_bytes, max_queue: plan.queue_max },
            placement: PlacementSection {
                price: plan.price,
                uplink: uplink.unwrap_or(LOOPBACK_BITS_PER_S),
                weights: BTreeMap::from([
                    ("transfer", plan.weights.transfer),
                    ("delay", plan.weights.delay),
                    ("compute", plan.weights.compute),
                ]),
            },
            services: ServicesSection { idle_s: config.service_idle.as_secs_f64() },
            streams: StreamsSection { take_over: &config.take_over },
            telemetry: TelemetrySection { log: &config.log },
            testnet: TestnetSection {
                slowdown: plan.slowdown,
                speed: plan.speed.unwrap_or(1.0 / plan.slowdown),
                // To one peer the others are foreign programs on its machine; on the machines they stand for they are not.
                host_load: false,
            },
        }
    }
}
