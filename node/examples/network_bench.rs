//! What our transport costs, beside bare quinn on the same socket options: round trips, requests, bulk, handshakes, memory.
//!
//! ```sh
//! cargo run --release -p shoal-node --example network_bench              # both ends in one process, over loopback
//! network_bench blobs                                                    # only what concerns blobs, sealed on disk and not
//! network_bench serve 10.77.0.2                                          # or over a link: one end there …
//! network_bench call 10.77.0.2 --megabytes 32                            # … and the other here
//! ```

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_node::blobs::{Asker, BlobServer, BlobStore, Pace, Sealing, ServeLimits, fetch};
use shoal_node::network::{Congestion, Network, NetworkConfig, NetworkEvent, NodeKey};
use shoal_protocol::certificate::{Issuer, MemberCertificate, SecretKey};
use shoal_protocol::{PeerId, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;

const WARM_UP: usize = 2_000;
const ROUND_TRIPS: usize = 20_000;
const BULK_BYTES: usize = 256 * 1024 * 1024;
const PIPELINED: usize = 300_000;
const IN_FLIGHT: usize = 64;
const HANDSHAKES: u8 = 200;
/// Of them one by one the memory is measured…
const IDLE: u8 = 100;
/// …after so many others.
const WARM_CONNECTIONS: u8 = 20;
/// A new connection has said what it says of itself.
const SETTLED: Duration = Duration::from_secs(2);
/// The peer whose memory is looked at.
const OBSERVED: u8 = 1;
const READY: &[u8] = b"ready";
const PAGE_BYTES: usize = 4_096;
const PORT: u16 = 7_799;
const CHUNK: usize = 256 * 1024;
/// Each way so often.
const ALTERNATIONS: usize = 5;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["--congestion", _] => local(congestion(&words)?).await,
        ["blobs"] => blobs_sealed_and_not().await,
        ["observed", port] => observed(port.parse()?).await,
        ["serve", ip, rest @ ..] => serve(ip.parse()?, congestion(rest)?).await,
        ["call", ip, "--megabytes", megabytes, rest @ ..] => {
            call(ip.parse()?, megabytes.parse::<usize>()? * 1_000_000, congestion(rest)?).await
        }
        _ => Err("usage: network_bench [blobs | serve IP | call IP --megabytes N] [--congestion cubic|bbr]".into()),
    }
}

fn congestion(words: &[&str]) -> Result<Congestion, Failure> {
    match words {
        [] | ["--congestion", "cubic"] => Ok(Congestion::Cubic),
        ["--congestion", "bbr"] => Ok(Congestion::Bbr),
        _ => Err("--congestion is cubic or bbr".into()),
    }
}

async fn local(congestion: Congestion) -> Result<(), Failure> {
    let loopback: IpAddr = [127, 0, 0, 1].into();
    idle().await?;
    let (near, mut near_events) = start(1, loopback, 0, congestion).await?;
    let (far, mut far_events) = start(2, loopback, 0, congestion).await?;
    near.dial(Some(far.local_peer()), far.local_addresses());
    connected(&mut near_events).await;
    connected(&mut far_events).await;
    let peer = far.local_peer();
    tokio::spawn(answer(far.clone(), far_events));

    for _ in 0..3 {
        show("64-byte round trip", round_trips(&near, peer, &mut near_events).await?);
        show("64-byte round trip, bare quinn", bare::round_trips().await?);
    }
    pipelined(&near, peer, &mut near_events).await?;
    for _ in 0..3 {
        println!("bulk: {:.0} MB/s", upload(&near, peer, BULK_BYTES).await? / 1e6);
        println!("bulk, bare quinn: {:.0} MB/s", bare::bulk(BULK_BYTES).await? / 1e6);
    }
    blobs(loopback, congestion, Sealing::within).await?;
    handshakes(loopback).await
}

async fn answer(network: Network, mut events: Receiver<NetworkEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            NetworkEvent::Frame { from, body } => drop(network.send(from, body)),
            NetworkEvent::Bulk { mut stream, .. } => drop(tokio::spawn(async move {
                let mut buffer = vec![0; CHUNK];
                while let Ok(1..) = stream.read(&mut buffer).await {}
                // The end of it, so that the other side knows that all is here.
                let _ = stream.write_all(b"!").await;
                let _ = stream.shutdown().await;
            })),
            _ => {}
        }
    }
}

async fn round_trips(
    near: &Network,
    peer: PeerId,
    events: &mut Receiver<NetworkEvent>,
) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for turn in 0..WARM_UP + ROUND_TRIPS {
        let started = Instant::now();
        near.send(peer, vec![0; 64])?;
        frame(events).await;
        if turn >= WARM_UP {
            times.push(started.elapsed());
        }
    }
    Ok(times)
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("{what}: p50 {:.1} us, p90 {:.1} us, p99 {:.1} us", at(0.5), at(0.9), at(0.99));
}

async fn pipelined(near: &Network, peer: PeerId, events: &mut Receiver<NetworkEvent>) -> Result<(), Failure> {
    let started = Instant::now();
    for _ in 0..IN_FLIGHT {
        near.send(peer, vec![0; 64])?;
    }
    for _ in 0..PIPELINED - IN_FLIGHT {
        frame(events).await;
        near.send(peer, vec![0; 64])?;
    }
    for _ in 0..IN_FLIGHT {
        frame(events).await;
    }
    let rate = PIPELINED as f64 / started.elapsed().as_secs_f64();
    println!("round trips with {IN_FLIGHT} in flight: {rate:.0} a second");
    Ok(())
}

/// Bytes a second.
async fn upload(near: &Network, peer: PeerId, bytes: usize) -> Result<f64, Failure> {
    let mut stream = near.open_bulk(peer).await?;
    let started = Instant::now();
    let chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len());
        stream.write_all(chunk.get(..now).unwrap_or_default()).await?;
        left -= now;
    }
    stream.shutdown().await?;
    stream.read_exact(&mut [0]).await?;
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

/// In turn, so that both have the same machine.
async fn blobs_sealed_and_not() -> Result<(), Failure> {
    for turn in 0..ALTERNATIONS {
        println!("round {turn}, sealed");
        blobs([127, 0, 0, 1].into(), Congestion::Bbr, Sealing::within).await?;
        println!("round {turn}, in the clear");
        blobs([127, 0, 0, 1].into(), Congestion::Bbr, |dir| Sealing::within(dir).in_the_clear()).await?;
    }
    Ok(())
}

fn rate_of(what: &str, started: Instant) {
    println!("{what}: {:.0} MB/s", BULK_BYTES as f64 / started.elapsed().as_secs_f64() / 1e6);
}

/// A blob put, read, and moved from one store to another, verified on both sides; the first time its tree is made as well.
async fn blobs(at: IpAddr, congestion: Congestion, sealing: impl Fn(&Path) -> Sealing) -> Result<(), Failure> {
    let (near, mut near_events) = start(1, at, 0, congestion).await?;
    let (far, mut far_events) = start(2, at, 0, congestion).await?;
    near.dial(Some(far.local_peer()), far.local_addresses());
    connected(&mut near_events).await;
    connected(&mut far_events).await;
    let dir = tempfile::tempdir()?;
    let open = |name: String| {
        let dir = dir.path().join(name);
        BlobStore::open_sealed(&dir, 1 << 30, &sealing(&dir))
    };
    let held = open("held".into())?;
    let mut content = vec![0; BULK_BYTES];
    for (n, piece) in content.chunks_mut(8).enumerate() {
        piece.copy_from_slice(&(n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()[..piece.len()]);
    }
    let started = Instant::now();
    let mut writer = held.writer(None)?;
    content.chunks(CHUNK).try_for_each(|piece| writer.write(piece))?;
    let blob = writer.finish()?;
    rate_of("blob put", started);
    let started = Instant::now();
    let (mut reader, mut piece) = (held.open_read(blob.id)?, vec![0; CHUNK]);
    while reader.read(&mut piece)? > 0 {}
    rate_of("blob read", started);
    drop(content);
    let server = BlobServer::new(held, ServeLimits::default(), Pace::default());
    tokio::spawn(async move {
        while let Some(event) = far_events.recv().await {
            if let NetworkEvent::Bulk { from, mut stream } = event {
                let (server, asker) = (server.clone(), Asker { peer: from, certified: BTreeMap::new() });
                drop(tokio::spawn(async move { drop(server.serve(&asker, &mut stream).await) }));
            }
        }
    });
    for turn in 0..4 {
        let wanting = open(format!("wanting-{turn}"))?;
        let mut stream = near.open_bulk(far.local_peer()).await?;
        let started = Instant::now();
        fetch(&mut stream, blob.id, blob.bytes, &wanting).await?;
        rate_of(if turn == 0 { "blob, verified, its tree made first" } else { "blob, verified" }, started);
    }
    Ok(())
}

/// Peers that dial one after the other, with one key each, and leave at once.
async fn handshakes(at: IpAddr) -> Result<(), Failure> {
    let (door, mut events) = start(1, at, 0, Congestion::Cubic).await?;
    let addresses = door.local_addresses();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let mut took = Duration::ZERO;
    for seed in 2..2 + HANDSHAKES {
        // From an address each: one may not begin so many in a second.
        let from = [127, 0, 1, seed].into();
        let (dialler, mut news) = start(seed, from, 0, Congestion::Cubic).await?;
        let started = Instant::now();
        dialler.dial(Some(door.local_peer()), addresses.clone());
        connected(&mut news).await;
        took += started.elapsed();
        dialler.close().await;
    }
    println!("dial to connected: {:.2} ms in the mean", took.as_secs_f64() * 1e3 / f64::from(HANDSHAKES));
    Ok(())
}

/// What a connection that nobody uses takes up at each end: how much a process of its own grows with each further one, after
/// the first few, with which comes what any peer needs once.
async fn idle() -> Result<(), Failure> {
    for (end, port) in [(End::Accepting, PORT), (End::Dialling, PORT + 1)] {
        let mut others = Vec::new();
        for seed in 2..2 + WARM_CONNECTIONS + IDLE {
            others.push((seed, start(seed, [127, 0, 2, seed].into(), port, Congestion::Bbr).await?));
        }
        let mut observed = Observed::start(port)?;
        let mut before = 0;
        for (index, (seed, (network, events))) in others.iter_mut().enumerate() {
            if index == usize::from(WARM_CONNECTIONS) {
                tokio::time::sleep(SETTLED).await;
                before = observed.resident_bytes()?;
            }
            match end {
                End::Accepting => network.dial(Some(peer_of(OBSERVED)), addresses_of(OBSERVED, port)),
                End::Dialling => observed.dial(*seed)?,
            }
            connected(events).await;
        }
        tokio::time::sleep(SETTLED).await;
        let each = observed.resident_bytes()?.saturating_sub(before) / usize::from(IDLE);
        println!("resident bytes of an idle connection, {end:?} end: {each}");
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum End {
    Accepting,
    Dialling,
}

fn peer_of(seed: u8) -> PeerId {
    SecretKey::from_bytes(&[seed; 32]).peer()
}

fn addresses_of(seed: u8, port: u16) -> Vec<String> {
    vec![format!("/ip4/127.0.2.{seed}/udp/{port}/quic-v1")]
}

/// A peer in a process of its own, whose memory is looked at.
struct Observed(Child);

impl Observed {
    fn start(port: u16) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let child =
            command.arg("observed").arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut observed = Self(child);
        let output = observed.0.stdout.as_mut().ok_or("no output")?;
        output.read_exact(&mut [0; READY.len()])?;
        Ok(observed)
    }

    /// Has it dial one of the others.
    fn dial(&mut self, seed: u8) -> Result<(), Failure> {
        Ok(self.0.stdin.as_mut().ok_or("no input")?.write_all(&[seed])?)
    }

    fn resident_bytes(&self) -> Result<usize, Failure> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.0.id()))?;
        Ok(statm.split_whitespace().nth(1).ok_or("no resident size")?.parse::<usize>()? * PAGE_BYTES)
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What that process does: it is called, and dials whom it is told to.
async fn observed(port: u16) -> Result<(), Failure> {
    let (network, events) = start(OBSERVED, [127, 0, 2, OBSERVED].into(), port, Congestion::Bbr).await?;
    std::io::stdout().write_all(READY)?;
    std::io::stdout().flush()?;
    tokio::spawn(answer(network.clone(), events));
    let order = || {
        let mut seed = [0];
        std::io::stdin().read_exact(&mut seed).map(|()| seed[0])
    };
    while let Ok(seed) = tokio::task::spawn_blocking(order).await? {
        network.dial(Some(peer_of(seed)), addresses_of(seed, port));
    }
    Ok(())
}

async fn serve(at: IpAddr, congestion: Congestion) -> Result<(), Failure> {
    let (network, events) = start(2, at, PORT, congestion).await?;
    answer(network, events).await;
    Ok(())
}

async fn call(at: IpAddr, bytes: usize, congestion: Congestion) -> Result<(), Failure> {
    let (near, mut events) = start(1, [0, 0, 0, 0].into(), 0, congestion).await?;
    let peer = SecretKey::from_bytes(&[2; 32]).peer();
    near.dial(Some(peer), vec![format!("/ip4/{at}/udp/{PORT}/quic-v1")]);
    connected(&mut events).await;
    let mut pings = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        near.send(peer, vec![0; 64])?;
        frame(&mut events).await;
        pings.push(started.elapsed());
    }
    show("64-byte round trip, idle", pings);
    let uploading = tokio::spawn({
        let near = near.clone();
        async move { upload(&near, peer, bytes).await }
    });
    let mut pings = Vec::new();
    while !uploading.is_finished() {
        let started = Instant::now();
        near.send(peer, vec![0; 64])?;
        frame(&mut events).await;
        pings.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("bulk: {:.2} MB/s", uploading.await?? / 1e6);
    show("64-byte round trip beside bulk", pings);
    near.close().await;
    Ok(())
}

async fn start(
    seed: u8,
    at: IpAddr,
    port: u16,
    congestion: Congestion,
) -> Result<(Network, Receiver<NetworkEvent>), Failure> {
    let (mesh, node) = (SecretKey::from_bytes(&[200; 32]), SecretKey::from_bytes(&[seed; 32]));
    let certificate = MemberCertificate {
        mesh: mesh.mesh(),
        peer: node.peer(),
        name: format!("peer-{seed}"),
        role: Role::Edge,
        labels: BTreeMap::new(),
        not_before_unix_s: 0,
        expires_unix_s: u64::MAX,
        serial: 1,
    };
    let config = NetworkConfig {
        announce: Vec::new(),
        reachable: true,
        relay: false,
        listen: vec![format!("/ip4/{at}/udp/{port}/quic-v1")],
        mdns: false,
        mdns_interval: Duration::from_secs(5),
        peers_max: 1_000,
        node_key: NodeKey::new([seed; 32]),
        mesh: mesh.mesh(),
        certificate: certificate.sign(&Issuer::of(&mesh)),
        congestion,
        office: None,
    };
    Ok(Network::start(config).await?)
}

async fn connected(events: &mut Receiver<NetworkEvent>) {
    while let Some(event) = events.recv().await {
        if matches!(event, NetworkEvent::Connected { .. }) {
            return;
        }
    }
}

async fn frame(events: &mut Receiver<NetworkEvent>) {
    while let Some(event) = events.recv().await {
        if matches!(event, NetworkEvent::Frame { .. }) {
            return;
        }
    }
}

/// The same over quinn and nothing else.
mod bare {
    use super::*;

    const SEED: [u8; 32] = [7; 32];
    /// What comes before the seed of an Ed25519 key (RFC 8410).
    const PKCS8: &[u8] = &[48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

    struct Key {
        secret: SecretKey,
        public: [u8; 32],
    }

    impl Key {
        fn new() -> Self {
            let secret = SecretKey::from_bytes(&SEED);
            Self { public: secret.peer().0, secret }
        }
    }

    impl rcgen::PublicKeyData for Key {
        fn der_bytes(&self) -> &[u8] {
            &self.public
        }

        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            &rcgen::PKCS_ED25519
        }
    }

    impl rcgen::SigningKey for Key {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
            Ok(self.secret.sign(message).to_vec())
        }
    }

    /// Two ends of a connection, and the endpoints that keep it alive.
    async fn pair() -> Result<(quinn::Connection, quinn::Connection, [quinn::Endpoint; 2]), Failure> {
        let mut params = rcgen::CertificateParams::new(vec!["bench".to_owned()])?;
        params.serial_number = Some(1_u64.into());
        let key = Key::new();
        let der = params.self_signed(&key)?.der().clone();
        let key = rustls::pki_types::PrivateKeyDer::try_from([PKCS8, &SEED].concat())?;
        let server = quinn::ServerConfig::with_single_cert(vec![der.clone()], key)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der)?;
        let client = quinn::ClientConfig::with_root_certificates(Arc::new(roots))?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let far = quinn::Endpoint::server(server, loopback)?;
        let near = quinn::Endpoint::client(loopback)?;
        let connecting = near.connect_with(client, far.local_addr()?, "bench")?;
        let accepting = far.accept().await.ok_or("nobody came")?;
        let (a, b) = tokio::join!(connecting, accepting);
        Ok((a?, b?, [near, far]))
    }

    pub(super) async fn round_trips() -> Result<Vec<Duration>, Failure> {
        let (near, far, _endpoints) = pair().await?;
        let (mut send, mut receive) = near.open_bi().await?;
        send.write_all(&[0; 64]).await?;
        tokio::spawn(async move {
            let (mut send, mut receive) = far.accept_bi().await?;
            let mut buffer = [0; 64];
            while receive.read_exact(&mut buffer).await.is_ok() {
                send.write_all(&buffer).await?;
            }
            Ok::<(), Failure>(())
        });
        let mut buffer = [0; 64];
        receive.read_exact(&mut buffer).await?;
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for turn in 0..WARM_UP + ROUND_TRIPS {
            let started = Instant::now();
            send.write_all(&buffer).await?;
            receive.read_exact(&mut buffer).await?;
            if turn >= WARM_UP {
                times.push(started.elapsed());
            }
        }
        Ok(times)
    }

    /// Bytes a second.
    pub(super) async fn bulk(bytes: usize) -> Result<f64, Failure> {
        let (near, far, _endpoints) = pair().await?;
        let (mut send, mut receive) = near.open_bi().await?;
        tokio::spawn(async move {
            let (mut send, mut receive) = far.accept_bi().await?;
            let mut buffer = vec![0; CHUNK];
            while let Some(1..) = receive.read(&mut buffer).await? {}
            send.write_all(b"!").await?;
            send.finish()?;
            let _ = send.stopped().await;
            Ok::<(), Failure>(())
        });
        let started = Instant::now();
        let chunk = vec![0; CHUNK];
        for _ in 0..bytes / CHUNK {
            send.write_all(&chunk).await?;
        }
        send.finish()?;
        receive.read_exact(&mut [0]).await?;
        Ok(bytes as f64 / started.elapsed().as_secs_f64())
    }
}
