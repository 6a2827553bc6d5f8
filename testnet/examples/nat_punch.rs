//! How long two peers behind NATs take to meet, and to get a direct connection: again and again, with a cloud peer that
//! everybody reaches, on links of 10 ms one way.
//!
//! ```sh
//! cargo build --release --bins
//! cargo run --release -p shoal-testnet --example nat_punch -- 20
//! ```

use std::time::{Duration, Instant};

use shoal_protocol::api::PathView;
use shoal_testnet::{Cluster, ClusterConfig, Link, Links, NatKind, Where, sandbox};

const DELAY: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: u32 = std::env::args().nth(1).unwrap_or_else(|| "20".into()).parse()?;
    sandbox::enter()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut met, mut direct) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (relayed_after, direct_after) = runtime.block_on(meet())?;
        println!("{round:>3}  met {relayed_after:>8.2?}  direct {}", shown(direct_after));
        met.push(relayed_after);
        direct.extend(direct_after);
    }
    println!("direct {} of {rounds}; times from the start of the three processes", direct.len());
    for (what, mut times) in [("met", met), ("direct", direct)] {
        times.sort();
        if let (Some(first), Some(last)) = (times.first(), times.last()) {
            println!("{what:>6}  min {first:.2?}  median {:.2?}  max {last:.2?}", times[times.len() / 2]);
        }
    }
    Ok(())
}

fn shown(time: Option<Duration>) -> String {
    time.map_or("never".into(), |time| format!("{time:.2?}"))
}

/// When the two first had a connection, and when a direct one.
async fn meet() -> Result<(Duration, Option<Duration>), Box<dyn std::error::Error>> {
    let mut config = ClusterConfig::new(1, 2);
    config.network = Where::Emulated(Links::uniform(Link::with_delay(DELAY)));
    config.peers.iter_mut().skip(1).for_each(|peer| peer.nat = NatKind::PortRestricted);
    let begun = Instant::now();
    let mesh = Cluster::start(config).await?;
    let mut relayed_after = None;
    let client = mesh.client(1)?;
    let mut direct_after = None;
    while begun.elapsed() < PATIENCE && direct_after.is_none() {
        let status = client.status().await?;
        let path = status.peers.iter().find(|peer| peer.name == "edge-2").and_then(|peer| peer.path);
        if path.is_some() {
            relayed_after.get_or_insert(begun.elapsed());
        }
        if path == Some(PathView::Direct) {
            direct_after = Some(begun.elapsed());
        }
        tokio::time::sleep(LOOK).await;
    }
    mesh.shutdown().await;
    Ok((relayed_after.unwrap_or(PATIENCE), direct_after))
}
