//! Several networks in one process, over real sockets on loopback.

mod bulk_streams;
mod dials;
mod greetings;
mod listening;
mod long_messages;
mod one_connection;
mod refused;
mod relayed;
mod slow_readers;
mod talk;

use std::collections::BTreeMap;
use std::future::Future;

use shoal_protocol::Role;
use shoal_protocol::certificate::Issuer;
use zeroize::Zeroizing;

use super::kinds::Kind;
use super::*;

const LOOPBACK: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// Long enough for two busy cores; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn mesh() -> SecretKey {
    key(200)
}

pub(super) fn certificate_for(mesh: &SecretKey, node: &SecretKey) -> MemberCertificate {
    MemberCertificate {
        mesh: mesh.mesh(),
        peer: node.peer(),
        name: format!("peer-{}", node.peer().short()),
        role: Role::Edge,
        labels: BTreeMap::new(),
        not_before_unix_s: 0,
        expires_unix_s: u64::MAX,
        serial: 1,
    }
}

fn config(seed: u8, certificate: Chain) -> NetworkConfig {
    NetworkConfig {
        listen: vec![LOOPBACK.into()],
        mdns: false,
        mdns_interval: Duration::from_secs(2),
        announce: Vec::new(),
        reachable: true,
        relay: true,
        peers_max: 8,
        congestion: Congestion::default(),
        node_key: Zeroizing::new([seed; 32]),
        mesh: mesh().mesh(),
        certificate,
        office: None,
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

#[track_caller]
fn within<T>(what: &'static str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let result = timeout(PATIENCE, future).await;
        result.unwrap_or_else(|_| panic!("waited in vain for {what} at {caller}"))
    }
}

/// A network with a memory for events that a test has not asked for yet.
struct Node {
    network: Network,
    events: mpsc::Receiver<NetworkEvent>,
    seen: Vec<NetworkEvent>,
}

impl Node {
    async fn start(seed: u8) -> Self {
        Self::start_with(seed, certificate_for(&mesh(), &key(seed)).sign(&Issuer::of(&mesh()))).await
    }

    async fn start_with(seed: u8, certificate: Chain) -> Self {
        Self::from_config(config(seed, certificate)).await
    }

    async fn from_config(config: NetworkConfig) -> Self {
        Self::of(Network::start(config).await.unwrap())
    }

    fn of((network, events): (Network, mpsc::Receiver<NetworkEvent>)) -> Self {
        Self { network, events, seen: Vec::new() }
    }

    async fn pair() -> (Self, Self) {
        Self::pair_of(1, 2).await
    }

    async fn pair_of(dialler: u8, listener: u8) -> (Self, Self) {
        let (mut a, mut b) = (Self::start(dialler).await, Self::start(listener).await);
        a.dial(&b);
        a.connected(b.id()).await;
        b.connected(a.id()).await;
        (a, b)
    }

    fn id(&self) -> PeerId {
        self.network.local_peer()
    }

    fn address(&self) -> String {
        self.network.local_addresses()[0].clone()
    }

    fn dial(&self, other: &Self) {
        self.network.dial(Some(other.id()), vec![other.address()]);
    }

    fn counter(&self, name: &str) -> u64 {
        self.network.counters().into_iter().find(|(counter, _)| *counter == name).unwrap().1
    }

    fn links(&self) -> usize {
        self.network.shared.links().all().count()
    }

    /// The first event that `pick` takes; the others stay for later.
    #[track_caller]
    fn next<T>(
        &mut self,
        what: &'static str,
        pick: impl Fn(&NetworkEvent) -> bool,
        take: impl Fn(NetworkEvent) -> T,
    ) -> impl Future<Output = T> {
        let caller = std::panic::Location::caller();
        async move {
            if let Some(at) = self.seen.iter().position(&pick) {
                return take(self.seen.remove(at));
            }
            let deadline = tokio::time::Instant::now() + PATIENCE;
            loop {
                let event = tokio::time::timeout_at(deadline, self.events.recv()).await;
                let event = event.unwrap_or_else(|_| panic!("no {what} at {caller}; seen: {:?}", self.seen));
                let event = event.unwrap_or_else(|| panic!("closed before {what} at {caller}"));
                if pick(&event) {
                    return take(event);
                }
                self.seen.push(event);
            }
        }
    }

    #[track_caller]
    fn connected(&mut self, peer: PeerId) -> impl Future<Output = Option<String>> {
        self.next(
            "Connected",
            move |event| matches!(event, NetworkEvent::Connected { member, .. } if member.peer == peer),
            |event| match event {
                NetworkEvent::Connected { address, .. } => address,
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn disconnected(&mut self, gone: PeerId) -> impl Future<Output = ()> {
        self.next(
            "Disconnected",
            move |event| matches!(event, NetworkEvent::Disconnected { peer } if *peer == gone),
            |_| (),
        )
    }

    #[track_caller]
    fn frame(&mut self) -> impl Future<Output = (PeerId, Vec<u8>)> {
        self.next(
            "Frame",
            |event| matches!(event, NetworkEvent::Frame { .. }),
            |event| match event {
                NetworkEvent::Frame { from, body } => (from, body),
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn bulk(&mut self) -> impl Future<Output = BulkStream> {
        self.next(
            "Bulk",
            |event| matches!(event, NetworkEvent::Bulk { .. }),
            |event| match event {
                NetworkEvent::Bulk { stream, .. } => stream,
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn discovered(&mut self) -> impl Future<Output = (Option<PeerId>, String)> {
        self.next(
            "Discovered",
            |event| matches!(event, NetworkEvent::Discovered { .. }),
            |event| match event {
                NetworkEvent::Discovered { peer, address } => (peer, address),
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn refused(&mut self) -> impl Future<Output = String> {
        self.next(
            "Refused",
            |event| matches!(event, NetworkEvent::Refused { .. }),
            |event| match event {
                NetworkEvent::Refused { reason, .. } => reason,
                _ => unreachable!(),
            },
        )
    }

    #[track_caller]
    fn dial_failed(&mut self) -> impl Future<Output = (Option<PeerId>, String)> {
        self.next(
            "DialFailed",
            |event| matches!(event, NetworkEvent::DialFailed { .. }),
            |event| match event {
                NetworkEvent::DialFailed { peer, reason, .. } => (peer, reason),
                _ => unreachable!(),
            },
        )
    }

    /// Waits until something is so, whatever else happens meanwhile.
    async fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(tokio::time::Instant::now() < deadline, "it never became so; seen: {:?}", self.seen);
            self.pause(Duration::from_millis(5)).await;
        }
    }

    /// Lets time pass while events come in.
    async fn pause(&mut self, time: Duration) {
        while let Ok(Some(event)) = timeout(time, self.events.recv()).await {
            self.seen.push(event);
        }
    }
}

/// A peer that gets through the handshake and then says whatever a test wants.
struct RawPeer {
    id: PeerId,
    connection: quinn::Connection,
    _probe: Probe,
}

impl RawPeer {
    async fn connect(seed: u8, to: &Node) -> Self {
        Self::connect_with(seed, certificate_for(&mesh(), &key(seed)).sign(&Issuer::of(&mesh())), to).await
    }

    async fn connect_with(seed: u8, certificate: Chain, to: &Node) -> Self {
        let probe = Probe::new([127, 0, 0, 1].into(), key(seed), mesh().mesh(), &certificate).unwrap();
        let port: u16 = to.address().split('/').nth(4).and_then(|port| port.parse().ok()).unwrap();
        let connecting = probe.connect(([127, 0, 0, 1], port).into()).unwrap();
        let connection = within("a handshake", connecting).await.unwrap();
        Self { id: key(seed).peer(), connection, _probe: probe }
    }

    /// One that is a neighbour, and its control stream.
    async fn greeted(seed: u8, to: &mut Node) -> (Self, quinn::SendStream) {
        let raw = Self::connect(seed, to).await;
        let mut control = Kind::Control.open(&raw.connection).await.unwrap();
        control.write_all(&framed(&greeting(Run(1)))).await.unwrap();
        to.connected(raw.id).await;
        (raw, control)
    }

    /// Waits for the other side to close, and returns its words.
    async fn closed(&self) -> String {
        match within("the close", self.connection.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => String::from_utf8(close.reason.to_vec()).unwrap(),
            other => other.to_string(),
        }
    }
}
