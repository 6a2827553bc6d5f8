//! Round trips of 64-byte frames, and bulk throughput, between two networks in one process over loopback.
//!
//! ```sh
//! cargo run --release -p shoal-node --example network_latency
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shoal_node::network::{Network, NetworkConfig, NetworkEvent, NodeKey};
use shoal_protocol::certificate::{MemberCertificate, SecretKey};
use shoal_protocol::{PeerId, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;

const WARM_UP: usize = 2_000;
const ROUND_TRIPS: usize = 20_000;
const BULK_BYTES: usize = 256 * 1024 * 1024;
const PIPELINED: usize = 300_000;
const IN_FLIGHT: usize = 64;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let (near, mut near_events) = start(1).await?;
    let (far, mut far_events) = start(2).await?;
    near.dial(Some(far.local_peer()), far.local_addresses());
    connected(&mut near_events).await;
    connected(&mut far_events).await;

    let (back, peer) = (far.clone(), far.local_peer());
    let (bulk, mut bulks) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(event) = far_events.recv().await {
            match event {
                NetworkEvent::Frame { from, body } => drop(back.send(from, body)),
                NetworkEvent::Bulk { stream, .. } => drop(bulk.send(stream).await),
                _ => {}
            }
        }
    });

    latency(&near, peer, &mut near_events).await?;
    pipelined(&near, peer, &mut near_events).await?;
    let mut sending = near.open_bulk(peer).await?;
    let started = Instant::now();
    let send = tokio::spawn(async move {
        let chunk = vec![0; 256 * 1024];
        for _ in 0..BULK_BYTES / chunk.len() {
            sending.write_all(&chunk).await?;
        }
        sending.shutdown().await
    });
    let mut receiving = bulks.recv().await.ok_or("no bulk stream")?;
    let (mut buffer, mut received) = (vec![0; 256 * 1024], 0);
    while let bytes @ 1.. = receiving.read(&mut buffer).await? {
        received += bytes;
    }
    send.await??;
    let rate = received as f64 / started.elapsed().as_secs_f64() / 1e6;
    println!("bulk: {received} bytes at {rate:.0} MB/s");
    Ok(())
}

async fn latency(near: &Network, peer: PeerId, events: &mut Receiver<NetworkEvent>) -> Result<(), Failure> {
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for turn in 0..WARM_UP + ROUND_TRIPS {
        let started = Instant::now();
        near.send(peer, vec![0; 64])?;
        frame(events).await;
        if turn >= WARM_UP {
            times.push(started.elapsed());
        }
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("64-byte round trip: p50 {:.0} us, p90 {:.0} us, p99 {:.0} us", at(0.5), at(0.9), at(0.99));
    Ok(())
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

async fn start(seed: u8) -> Result<(Network, Receiver<NetworkEvent>), Failure> {
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
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".into()],
        mdns: false,
        mdns_interval: Duration::from_secs(5),
        peers_max: 8,
        node_key: NodeKey::new([seed; 32]),
        mesh: mesh.mesh(),
        certificate: certificate.sign(&mesh),
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
