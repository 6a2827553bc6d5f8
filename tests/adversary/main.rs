//! Attacks on a real `shoald`: each must leave it alive, within its memory, and at the service of honest peers.
//!
//! Build the daemon first: `cargo build --release --bins`. `--nocapture` shows what each attack cost.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

mod api;
mod certificates;
mod guests;
mod handshakes;
mod honest;
mod liars;
mod members;
mod tickets;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use shoal_cli::client::Client;
use shoal_node::network::Probe;
use shoal_protocol::Role;
use shoal_protocol::api::{InputRequest, TaskRequest, VariantRequest};
use shoal_protocol::audit::{self, Happening, files};
use shoal_protocol::certificate::{Chain, Issuer, IssuerCertificate, MemberCertificate, SecretKey};
use shoal_testnet::{Cluster, ClusterConfig};

use honest::{HonestUser, Times};

/// Longer than anything here may take, on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(60);
const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 9));
/// How often the daemon's memory is looked at during an attack.
const SAMPLED_EVERY: Duration = Duration::from_millis(10);
/// An attack may make the daemon grow by this much, in bytes.
const MEMORY_MAX: usize = 32 << 20;

fn run<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * LONG, story).await.expect("the story takes too long") })
}

async fn request(client: &Client, module: &str, input: InputRequest) -> TaskRequest {
    let module = shoal_examples::modules::module_bytes(module).unwrap();
    let module = client.put_blob(module.to_vec()).await.unwrap().id;
    let variants = vec![VariantRequest { name: String::new(), module, loss: 0.0 }];
    TaskRequest { variants, inputs: vec![input], ..TaskRequest::default() }
}

fn p99(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[(times.len() - 1) * 99 / 100]
}

/// Two peers, of which the first is attacked, and what an attacker may know of them.
struct Target {
    cluster: Cluster,
    client: Client,
    address: SocketAddr,
    mesh_key: SecretKey,
    honest: HonestUser,
}

impl Target {
    async fn new() -> Self {
        let mut config = ClusterConfig::new(0, 2).on_loopback();
        config.peers.iter_mut().for_each(|peer| peer.slowdown = 1.0);
        let cluster = Cluster::start(config).await.unwrap();
        let client = cluster.client(0).unwrap();
        let address = cluster.peers()[0].address;
        let mesh_key = std::fs::read(cluster.dir().join("mesh.key")).unwrap();
        let mesh_key = SecretKey::from_bytes(&mesh_key.try_into().unwrap());
        let honest = HonestUser::new(&client, cluster.peers()[0].socket.clone()).await;
        Self { cluster, client, address, mesh_key, honest }
    }

    /// A certificate of this mesh, as it should be.
    fn certificate(&self, key: &SecretKey) -> MemberCertificate {
        MemberCertificate {
            mesh: self.mesh_key.mesh(),
            peer: key.peer(),
            name: "attacker".into(),
            role: Role::Edge,
            labels: BTreeMap::from([("site".to_owned(), "outside".to_owned())]),
            not_before_unix_s: 0,
            expires_unix_s: u64::MAX,
            serial: 1,
        }
    }

    fn probe(&self, key: SecretKey, certificate: &Chain) -> Probe {
        Probe::new(ATTACKER, key, self.mesh_key.mesh(), certificate).unwrap()
    }

    /// One that the mesh has admitted, and that will abuse it.
    async fn traitor(&self) -> (Probe, quinn::Connection) {
        let key = SecretKey::from_bytes(&[66; 32]);
        let probe =
            self.probe(SecretKey::from_bytes(&[66; 32]), &self.certificate(&key).sign(&Issuer::of(&self.mesh_key)));
        let connection = probe.connect(self.address).unwrap().await.unwrap();
        (probe, connection)
    }

    async fn counter(&self, name: &str) -> u64 {
        self.client.status().await.unwrap().counters.get(name).copied().unwrap_or(0)
    }

    /// Waits until the daemon has counted more than `before`.
    async fn counts(&self, name: &str, before: u64) {
        let deadline = Instant::now() + LONG;
        while self.counter(name).await <= before {
            assert!(Instant::now() < deadline, "{name} was not counted");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the audit log of the daemon, which is as it was written, says something like this.
    async fn audits(&self, what: &str, is_it: impl Fn(&Happening) -> bool) {
        let dir = &self.cluster.peers()[0].data_dir;
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
        let deadline = Instant::now() + LONG;
        loop {
            // The head first: an entry that is written meanwhile is beyond it, and none is missing.
            let head = read(files::HEAD);
            let good = audit::verify(&read(files::LOG).unwrap_or_default(), head.as_deref(), None);
            if good.as_ref().is_ok_and(|good| good.entries.iter().any(|entry| is_it(&entry.happening))) {
                return;
            }
            assert!(Instant::now() < deadline, "{what} is not in the audit log: {good:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Somebody was refused, and it is known from where.
    async fn audits_a_refusal(&self) {
        let from = format!("/{ATTACKER}/");
        self.audits("a refusal", |it| matches!(it, Happening::Refused { address, .. } if address.contains(&from)))
            .await;
    }

    /// A member sent what no honest one sends.
    async fn audits_garbage(&self) {
        let traitor = SecretKey::from_bytes(&[66; 32]).peer();
        self.audits("garbage", |it| matches!(it, Happening::Garbage { peer, .. } if *peer == traitor)).await;
    }

    fn resident_bytes(&self) -> usize {
        let pid = self.cluster.pid(0).unwrap().expect("the daemon lives");
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
        statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    /// Lets an honest user work before the attack and beside it; nothing is refused, and the daemon stays within bounds.
    async fn stands<T>(&self, what: &str, attack: impl Future<Output = T>) -> T {
        let before = self.honest.begin().end().await;
        let memory = self.resident_bytes();
        let at_work = self.honest.begin();
        let mut greatest = memory;
        tokio::pin!(attack);
        let result = loop {
            tokio::select! {
                result = &mut attack => break result,
                () = tokio::time::sleep(SAMPLED_EVERY) => greatest = greatest.max(self.resident_bytes()),
            }
        };
        let beside = at_work.end().await;
        let grown = greatest.max(self.resident_bytes()).saturating_sub(memory);
        let [before, beside] = [before, beside].map(|times| Times {
            empty: p99(times.iter().map(|times| times.empty)),
            digit: p99(times.iter().map(|times| times.digit)),
        });
        for (name, before, beside) in
            [("an empty task", before.empty, beside.empty), ("a spoken digit", before.digit, beside.digit)]
        {
            println!("{what}: honest p99 of {name} {before:?} before, {beside:?} beside");
        }
        println!("{what}: {} KiB more", grown >> 10);
        assert!(grown <= MEMORY_MAX, "{what}: the daemon grew by {grown} bytes");
        let neighbours = self.client.peers().await.unwrap().items;
        assert!(neighbours.iter().any(|peer| peer.name == "edge-2"), "its neighbour is still there: {neighbours:?}");
        result
    }

    /// Nobody by the attacker's name is known.
    async fn knows_no_attacker(&self) {
        let peers = self.client.peers().await.unwrap().items;
        assert!(peers.iter().all(|peer| peer.name != "attacker"), "{peers:?}");
    }
}
