//! A daemon in a temporary directory, and as much of an HTTP client as the tests need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use shoal_protocol::Role;
use shoal_protocol::api::{Listing, PeerView, Status};
use shoal_protocol::certificate::{Issuer, MemberCertificate, SecretKey};
use shoal_protocol::output::PeerState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::config::{self, Flags, Host, Sources};
use crate::daemon::{StartError, run};

/// Nothing here takes this long unless it is broken.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

pub(super) struct Daemon {
    dir: tempfile::TempDir,
    socket: PathBuf,
    stop: mpsc::Sender<()>,
}

type Ended = Pin<Box<dyn Future<Output = Result<(), StartError>>>>;

/// The daemon's own future, to be driven beside the test.
pub(super) struct Running(Ended);

impl Running {
    pub(super) fn block_on<F: Future<Output = ()>>(self, test: impl FnOnce(Ended) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(DEADLINE, test(self.0)).await.expect("the daemon ends in time") });
        runtime.shutdown_background();
    }
}

pub(super) fn daemon() -> (Daemon, Running) {
    let dir = tempfile::tempdir().unwrap();
    make_member(dir.path());
    let socket = dir.path().join("api.sock");
    let (stop, stopped) = mpsc::channel(2);
    let daemon = Daemon { dir, socket, stop };
    let running = daemon.start(daemon.dir.path(), Vec::new(), stopped);
    (daemon, Running(Box::pin(running)))
}

/// Runs a test beside two daemons of one mesh that are connected.
pub(super) fn in_pair<F: Future<Output = ()>>(test: impl FnOnce(Rc<Daemon>, Rc<Daemon>) -> F) {
    in_daemon(|first| async move {
        let bootstrap = loop {
            let status: Status = first.get("/v1/status").await.json();
            if !status.addresses.is_empty() {
                break status.addresses;
            }
            sleep(Duration::from_millis(10)).await;
        };
        let dir = tempfile::tempdir().unwrap();
        make_member(dir.path());
        let (stop, stopped) = mpsc::channel(2);
        let second = Rc::new(Daemon { socket: dir.path().join("api.sock"), dir, stop });
        let mut running = Box::pin(second.start(second.dir.path(), bootstrap, stopped));
        // A peer that is there and has said what it can do, so that tasks are placed on it.
        let is_there = |peer: &PeerView| peer.state == PeerState::Alive && peer.load.is_some();
        let story = async {
            for daemon in [&first, &second] {
                while !daemon.get("/v1/peers").await.json::<Listing<PeerView>>().items.iter().any(is_there) {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            test(Rc::clone(&first), Rc::clone(&second)).await;
        };
        tokio::select! {
            early = &mut running => panic!("the second daemon ended: {early:?}"),
            () = story => {}
        }
        second.stop.send(()).await.unwrap();
        running.await.unwrap();
    });
}

/// Runs a test beside a daemon, and stops the daemon after it.
pub(super) fn in_daemon<F: Future<Output = ()>>(test: impl FnOnce(Rc<Daemon>) -> F) {
    let (daemon, running) = daemon();
    let daemon = Rc::new(daemon);
    running.block_on(async |mut ended| {
        tokio::select! {
            early = &mut ended => panic!("the daemon ended: {early:?}"),
            () = test(Rc::clone(&daemon)) => {}
        }
        daemon.stop.send(()).await.unwrap();
        ended.await.unwrap();
    });
}

fn make_member(dir: &Path) {
    let key = crate::network::load_or_create_node_key(&dir.join("node.key")).unwrap();
    let mesh = SecretKey::from_bytes(&[5; 32]);
    let certificate = MemberCertificate {
        mesh: mesh.mesh(),
        peer: SecretKey::from_bytes(&key).peer(),
        name: "solo".into(),
        role: Role::Edge,
        labels: BTreeMap::new(),
        not_before_unix_s: 0,
        expires_unix_s: u64::MAX / 2,
        serial: 0,
    };
    std::fs::write(dir.join("member.cert"), certificate.sign(&Issuer::of(&mesh)).to_bytes()).unwrap();
}

impl Daemon {
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    fn start(
        &self,
        data_dir: &Path,
        bootstrap: Vec<String>,
        stop: mpsc::Receiver<()>,
    ) -> impl Future<Output = Result<(), StartError>> + use<> {
        let sources = Sources {
            host: Host {
                uid: 1000,
                home: None,
                xdg_config_home: None,
                xdg_data_home: None,
                xdg_runtime_dir: None,
                cores: 2,
                memory_bytes: 1 << 30,
            },
            files: Vec::new(),
            files_required: false,
            variables: [("SHOAL_NET_MDNS", "false"), ("SHOAL_TESTNET_SPEED", "1"), ("SHOAL_MESH_NAME", "test")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            flags: Flags {
                listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
                bootstrap,
                api: Some(format!("unix:{}", self.socket.display())),
                data_dir: Some(data_dir.display().to_string()),
                ..Flags::default()
            },
        };
        let (config, view) = config::load(&sources).unwrap();
        run(config, view, stop)
    }

    /// A second daemon with this one's socket, in this one's or another directory.
    pub(super) async fn start_another(&self, data_dir: Option<&Path>) -> Result<(), StartError> {
        if let Some(dir) = data_dir {
            make_member(dir);
        }
        let (_stop, stopped) = mpsc::channel(1);
        timeout(DEADLINE, self.start(data_dir.unwrap_or(self.dir.path()), Vec::new(), stopped)).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.exchange("GET", path, b"", None).await
    }

    /// A part of a body, as `Range` names it.
    pub(super) async fn get_part(&self, path: &str, range: &str) -> Reply {
        let mut stream = self.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: shoald\r\nconnection: close\r\nrange: {range}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
        Reply::parse(bytes)
    }

    pub(super) async fn delete(&self, path: &str) -> Reply {
        self.exchange("DELETE", path, b"", None).await
    }

    pub(super) async fn post(&self, path: &str, body: &[u8]) -> Reply {
        self.exchange("POST", path, body, None).await
    }

    /// Announces a body of this size and sends none of it.
    pub(super) async fn announce(&self, path: &str, bytes: usize) -> Reply {
        self.exchange("POST", path, b"", Some(bytes)).await
    }

    async fn exchange(&self, method: &str, path: &str, body: &[u8], announced: Option<usize>) -> Reply {
        let mut stream = self.connect().await;
        let length = announced.unwrap_or(body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: shoald\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut bytes = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("an answer in time").unwrap();
        Reply::parse(bytes)
    }

    /// Reads a stream that does not end.
    pub(super) async fn follow(&self, path: &str) -> Follower {
        let mut stream = self.connect().await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: shoald\r\n\r\n").as_bytes()).await.unwrap();
        Follower { stream, text: String::new() }
    }

    /// The daemon binds its socket while it starts.
    async fn connect(&self) -> UnixStream {
        let connected = async {
            loop {
                match UnixStream::connect(&self.socket).await {
                    Ok(stream) => return stream,
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        timeout(DEADLINE, connected).await.expect("the daemon listens in time")
    }
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: Vec<u8>) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        assert!(!head.contains("transfer-encoding"), "every answer of the tests says its length: {head}");
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    #[track_caller]
    pub(super) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(super) struct Follower {
    stream: UnixStream,
    text: String,
}

impl Follower {
    /// Reads on until this stands in what came; what was read up to there is used up.
    pub(super) async fn until(&mut self, wanted: &str) {
        let found = async {
            let mut chunk = [0; 4096];
            loop {
                if let Some(at) = self.text.find(wanted) {
                    self.text.drain(..at + wanted.len());
                    return;
                }
                let count = self.stream.read(&mut chunk).await.unwrap();
                assert!(count > 0, "the stream ended before `{wanted}`");
                self.text.push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        };
        timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("`{wanted}` never came"));
    }
}
