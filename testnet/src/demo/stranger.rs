//! A daemon with keys of another mesh knocks at every peer: what becomes of it is counted by the peers themselves.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use shoal_cli::client::Client;
use shoal_protocol::certificate::{Issuer, MemberCertificate, Role, SecretKey};

use super::error::DemoError;
use crate::cluster::{Cluster, program};
use crate::keeper::Keeper;

/// Where the peers count whom they cut off.
const COUNTER: &str = "strangers_refused";
/// Time the stranger has to try everyone; it ends when all have refused it.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
const HOUR_S: u64 = 3_600;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stranger {
    /// Peers it tried.
    pub tried: usize,
    /// Peers that say they refused it.
    pub refused_by: usize,
    /// Peers it got to know.
    pub admitted_by: usize,
}

/// Lets a stranger try to join; nothing where it could not be started.
pub(super) async fn knock(cluster: &Cluster) -> Result<Option<Stranger>, DemoError> {
    let before = refusals(cluster).await;
    let dir = cluster.dir().join("stranger");
    let Ok(mut process) = start(cluster, &dir) else { return Ok(None) };
    let api = Client::new(dir.join("api.sock"));
    let began = Instant::now();
    let mut stranger = Stranger { tried: cluster.peers().len(), refused_by: 0, admitted_by: 0 };
    while began.elapsed() < PATIENCE && stranger.refused_by < stranger.tried {
        tokio::time::sleep(LOOK).await;
        let now = refusals(cluster).await;
        stranger.refused_by = now.iter().zip(&before).filter(|(now, before)| now > before).count();
        if let Ok(status) = api.status().await {
            stranger.admitted_by = stranger.admitted_by.max(status.peers.len());
        }
    }
    // Collected too, so that nothing of it is left.
    let _ = process.child.kill().and_then(|()| process.child.wait());
    Ok(Some(stranger))
}

/// How often each peer has refused somebody; one that gives no answer has none.
async fn refusals(cluster: &Cluster) -> Vec<u64> {
    let mut counts = Vec::new();
    for index in 0..cluster.peers().len() {
        let status = match cluster.client(index) {
            Ok(client) => client.status().await.ok(),
            Err(_) => None,
        };
        counts.push(status.and_then(|status| status.counters.get(COUNTER).copied()).unwrap_or_default());
    }
    counts
}

struct Process {
    child: Child,
    /// Ends the child when it is dropped.
    _keeper: Option<Keeper>,
}

fn start(cluster: &Cluster, dir: &Path) -> io::Result<Process> {
    let program = program::shoald(None).map_err(io::Error::other)?;
    write_files(cluster, dir)?;
    let log = File::create(dir.join("shoald.log"))?;
    let same = log.try_clone()?;
    let mut command = Command::new(program);
    command.arg("--config").arg(dir.join("shoald.toml")).stdin(Stdio::null()).stdout(log).stderr(same);
    match cluster.emulator() {
        // Beside the last peer, so that it has its own links to the others.
        Some(emulator) => {
            let child = emulator.spawn_in(cluster.peers().len() - 1, command)?;
            Ok(Process { child, _keeper: None })
        }
        None => {
            let (keeper, _) = Keeper::start("stranger", || Ok::<(), ()>(()))?;
            let child = keeper.spawn(command)?;
            Ok(Process { child, _keeper: Some(keeper) })
        }
    }
}

fn write_files(cluster: &Cluster, dir: &Path) -> io::Result<()> {
    let data = dir.join("data");
    fs::create_dir_all(&data)?;
    let mesh_key = new_key()?;
    let key = new_key()?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let certificate = MemberCertificate {
        mesh: mesh_key.mesh(),
        peer: key.peer(),
        name: "stranger".into(),
        role: Role::Edge,
        labels: std::collections::BTreeMap::new(),
        not_before_unix_s: now_s.saturating_sub(HOUR_S),
        expires_unix_s: now_s + HOUR_S,
        serial: 1,
    };
    let secret = File::options().create(true).truncate(true).write(true).mode(0o600).open(data.join("node.key"));
    secret?.write_all(&*key.to_bytes())?;
    fs::write(data.join("member.cert"), certificate.sign(&Issuer::of(&mesh_key)).to_bytes())?;
    let host = match cluster.emulator() {
        Some(_) => "0.0.0.0",
        None => "127.0.0.1",
    };
    let quoted = |text: String| toml::Value::String(text).to_string();
    let addresses = cluster.peers().iter().map(|peer| peer.address);
    let bootstrap: Vec<String> =
        addresses.map(|address| quoted(format!("/ip4/{}/udp/{}/quic-v1", address.ip(), address.port()))).collect();
    let config = format!(
        "[node]\nname = \"stranger\"\ndata_dir = {}\n[net]\nlisten = [\"/ip4/{host}/udp/0/quic-v1\"]\n\
         bootstrap = [{}]\nmdns = false\n[api]\nlisten = {}\n[testnet]\nspeed = 1.0\n",
        quoted(data.display().to_string()),
        bootstrap.join(", "),
        quoted(format!("unix:{}", dir.join("api.sock").display())),
    );
    fs::write(dir.join("shoald.toml"), config)
}

fn new_key() -> io::Result<SecretKey> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(SecretKey::from_bytes(&bytes))
}
