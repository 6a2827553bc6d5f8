//! Connections through a relay: the same QUIC as everywhere, whose datagrams travel on a stream that the relay passes on.
//!
//! ```text
//! quinn ─ datagram ─► [u16 length, big endian][datagram] ═ stream to the relay ═ relay ═ stream from it ═► quinn
//! ```
//!
//! A connection of that kind has the handshake, the streams and the limits of a direct one, so that nothing above knows the
//! difference. It costs a second layer of encryption and of congestion control, of which the inner one never sees a loss.
//!
//! **Invariant:** the relay carries packets of a handshake that it is no part of: it can drop and delay them, not read or
//! forge them; and who is no member gets no stream here either.
//! **Not here:** who relays for whom. That is libp2p's, and `network/relays.rs`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::{Multiaddr, Transport, relay};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::error::QuicError;
use super::handshake::{Finish, Outcome};
use super::settings::{HANDSHAKE_MAX, Settings};
use super::transport::NO_NAME;

/// The direct addresses of a peer are tried for so long before it is called through a relay (RFC 8305, 5: 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);
/// The longest datagram: what fits a link of 1500 bytes, as QUIC tries no more.
pub(super) const DATAGRAM_BYTES_MAX: u16 = 1_500;
/// Datagrams that wait for the relay, and those from it that wait for us: 90 KiB each way.
const QUEUE_MAX: usize = 64;
/// Bytes that are handed to the relay at once.
const BATCH_BYTES: usize = 16 * 1024;
/// Handshakes through relays that are under way; each holds some tens of kilobytes for at most [`HANDSHAKE_MAX`].
const UNDER_WAY_MAX: usize = 16;
/// The two ends of a circuit to quinn, which wants addresses; of the prefix for nothing (RFC 6666).
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)), 1);
const THERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 2)), 1);

/// libp2p's way through relays, with our handshake on top.
pub(in crate::network) struct Circuits {
    inner: relay::client::Transport,
    upgrade: Upgrade,
}

impl Circuits {
    pub(in crate::network) fn new(inner: relay::client::Transport, settings: Settings, finish: Finish) -> Self {
        Self { inner, upgrade: Upgrade { settings, finish, places: Arc::new(Semaphore::new(UNDER_WAY_MAX)) } }
    }
}

impl Transport for Circuits {
    type Output = <super::Quic as Transport>::Output;
    type Error = QuicError;
    type ListenerUpgrade = BoxFuture<'static, Outcome>;
    type Dial = BoxFuture<'static, Outcome>;

    fn listen_on(&mut self, id: ListenerId, at: Multiaddr) -> Result<(), TransportError<QuicError>> {
        self.inner.listen_on(id, at).map_err(|error| error.map(QuicError::from))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, to: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<QuicError>> {
        let dial = self.inner.dial(to, options).map_err(|error| error.map(QuicError::from))?;
        let upgrade = self.upgrade.clone();
        Ok(async move {
            sleep(HEAD_START).await;
            upgrade.run(dial.await?, true).await
        }
        .boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, QuicError>> {
        let event = futures::ready!(Pin::new(&mut self.inner).poll(context));
        let upgrade = self.upgrade.clone();
        let event = event.map_upgrade(|circuit| async move { upgrade.run(circuit.await?, false).await }.boxed());
        Poll::Ready(event.map_err(QuicError::from))
    }
}

/// A stream that the relay passes on.
trait Circuit: futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static {}

impl<S: futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static> Circuit for S {}

/// From a circuit to a connection with a member.
#[derive(Clone)]
struct Upgrade {
    settings: Settings,
    finish: Finish,
    places: Arc<Semaphore>,
}

impl Upgrade {
    async fn run(self, circuit: impl Circuit, dialled: bool) -> Outcome {
        let Self { settings, finish, places } = self;
        let _place = places.try_acquire().map_err(|_| QuicError::TooManyCircuits)?;
        let (socket, pump) = socket(circuit);
        let endpoint = settings.endpoint_over(Arc::new(socket), !dialled)?;
        // It ends with the endpoint, which ends with its only connection.
        let pump = tokio::spawn(pump);
        let handshake = async {
            let connecting = if dialled {
                endpoint.connect_with(settings.client.clone(), THERE, NO_NAME)?
            } else {
                let incoming = endpoint.accept().await.ok_or(QuicError::NoListener)?;
                incoming.accept().map_err(QuicError::from)?
            };
            finish.finish(connecting, dialled, None).await
        };
        let (peer, muxer) = timeout(HANDSHAKE_MAX, handshake).await.map_err(|_| QuicError::Slow)??;
        let connection = muxer.connection();
        tokio::spawn(async move {
            let _ = pump.await;
            // Only silence would tell otherwise.
            connection.close(0_u32.into(), b"the relay let go of the connection");
        });
        Ok((peer, muxer))
    }
}

/// A socket whose datagrams travel on a circuit, as long as the future is run.
fn socket(circuit: impl Circuit) -> (CircuitSocket, impl Future<Output = ()> + Send) {
    let (outgoing, to_send) = mpsc::channel(QUEUE_MAX);
    let (received, incoming) = mpsc::channel(QUEUE_MAX);
    let (reading, writing) = circuit.split();
    let pump = async move {
        let ended = tokio::select! {
            ended = read(reading, received) => ended,
            ended = write(writing, to_send) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection through a relay has ended");
        }
    };
    (CircuitSocket { outgoing, incoming: Mutex::new(incoming) }, pump)
}

async fn read(mut circuit: impl futures::AsyncRead + Unpin, received: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    loop {
        let mut length = [0; 2];
        circuit.read_exact(&mut length).await?;
        let length = u16::from_be_bytes(length);
        if length > DATAGRAM_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut datagram = vec![0; usize::from(length)];
        circuit.read_exact(&mut datagram).await?;
        if received.send(datagram).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(mut circuit: impl futures::AsyncWrite + Unpin, mut waiting: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut batch = Vec::new();
    while let Some(mut datagram) = waiting.recv().await {
        loop {
            let length = u16::try_from(datagram.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
            batch.extend_from_slice(&length.to_be_bytes());
            batch.extend_from_slice(&datagram);
            match waiting.try_recv() {
                Ok(next) if batch.len() < BATCH_BYTES => datagram = next,
                Ok(next) => {
                    circuit.write_all(&batch).await?;
                    batch.clear();
                    datagram = next;
                }
                Err(_) => break,
            }
        }
        circuit.write_all(&batch).await?;
        batch.clear();
        circuit.flush().await?;
    }
    circuit.close().await
}

/// What quinn takes for a UDP socket.
struct CircuitSocket {
    outgoing: mpsc::Sender<Vec<u8>>,
    incoming: Mutex<mpsc::Receiver<Vec<u8>>>,
}

impl fmt::Debug for CircuitSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CircuitSocket(..)")
    }
}

impl AsyncUdpSocket for CircuitSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { outgoing: self.outgoing.clone(), waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.outgoing.try_send(transmit.contents.to_vec()) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(io::ErrorKind::WouldBlock.into()),
            // After the circuit has ended datagrams are lost, as with any socket.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (into, meta) in into.iter_mut().zip(meta) {
            // None that will ever come is not the end: whoever watches the circuit closes the connection.
            let Poll::Ready(Some(datagram)) = incoming.poll_recv(context) else { break };
            // One that does not fit is cut, and then no QUIC packet.
            let len = datagram.len().min(into.len());
            into[..len].copy_from_slice(&datagram[..len]);
            *meta = RecvMeta { addr: THERE, len, stride: len, ecn: None, dst_ip: None };
            count += 1;
        }
        if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(HERE)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// Waits for room in the queue to the relay.
struct Writable {
    outgoing: mpsc::Sender<Vec<u8>>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writable(..)")
    }
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outgoing = self.outgoing.clone();
        let waiting = self.waiting.get_or_insert_with(|| {
            // A queue that nobody empties any more takes everything.
            Box::pin(async move { drop(outgoing.reserve().await) })
        });
        futures::ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shoal_protocol::Role;
    use shoal_protocol::certificate::{Issuer, MemberCertificate, SecretKey};
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;
    use crate::network::identity::to_libp2p;
    use crate::network::quic::{Arrivals, Congestion};
    use crate::network::revoked::Revoked;

    #[tokio::test]
    async fn datagrams_cross_a_stream_as_they_were_sent() {
        let sent: Vec<Vec<u8>> = (0..60_u8).map(|i| vec![i; 1 + usize::from(i) * 25]).collect();
        let (sender, waiting) = mpsc::channel(QUEUE_MAX);
        for datagram in &sent {
            sender.send(datagram.clone()).await.unwrap();
        }
        drop(sender);

        let mut bytes = Vec::new();
        write(&mut bytes, waiting).await.unwrap();
        let (received, mut arrived) = mpsc::channel(QUEUE_MAX);
        let ended = read(&bytes[..], received).await;

        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        for datagram in sent {
            assert_eq!(arrived.recv().await, Some(datagram));
        }
    }

    #[tokio::test]
    async fn a_datagram_that_is_too_long_ends_the_circuit() {
        let (received, _arrived) = mpsc::channel(1);
        let announced = (DATAGRAM_BYTES_MAX + 1).to_be_bytes();

        let ended = read(&announced[..], received).await;

        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn members_are_proven_to_each_other_through_a_relay() {
        let (dialled, accepted) = meet(upgrade(1, 1), upgrade(1, 2)).await;

        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!(Some(dialled.0), to_libp2p(key(2).peer()));
        assert_eq!(Some(accepted.0), to_libp2p(key(1).peer()));
        let mut stream = dialled.1.connection().open_uni().await.unwrap();
        stream.write_all(b"through").await.unwrap();
        stream.finish().unwrap();
        let mut stream = accepted.1.connection().accept_uni().await.unwrap();
        assert_eq!(stream.read_to_end(100).await.unwrap(), b"through");
    }

    #[tokio::test]
    async fn a_relayed_stranger_gets_no_stream() {
        // Whichever side it is on: of another mesh, and with a certificate that is somebody else's.
        for [dialler, listener] in
            [[upgrade(9, 1), upgrade(1, 2)], [upgrade(1, 1), upgrade(9, 2)], [with_certificate_of(3, 1), upgrade(1, 2)]]
        {
            let arrivals = [dialler.1.clone(), listener.1.clone()];
            let (dialled, accepted) = meet(dialler, listener).await;

            assert!(accepted.is_err_and(|error| error.is_refusal()), "the listener lets nobody in");
            // TLS lets whoever dials speak first; it is cut off before anybody listens.
            if let Ok((_, muxer)) = dialled {
                let reason = timeout(HANDSHAKE_MAX, muxer.connection().closed()).await.unwrap();
                assert!(QuicError::from(reason).is_refusal());
            }
            let [_, arrivals] = arrivals;
            let nobody = (0..10).all(|seed| arrivals.take(key(seed).peer(), &Multiaddr::empty(), false).is_none());
            assert!(nobody, "no connection reaches the rest of the network");
        }
    }

    #[tokio::test]
    async fn a_relay_that_is_gone_ends_the_connection_at_once() {
        let (relay, rest) = tokio::io::duplex(64 * 1024);
        let (here, there) = (upgrade(1, 1).0, upgrade(1, 2).0);
        let (near, far) = tokio::io::duplex(64 * 1024);
        let relaying = tokio::spawn(async move {
            let (mut one, mut other) = (rest, near);
            tokio::io::copy_bidirectional(&mut one, &mut other).await.map(drop)
        });
        let (dialled, accepted) = tokio::join!(here.run(relay.compat(), true), there.run(far.compat(), false));
        let ((_, dialled), (_, accepted)) = (dialled.unwrap(), accepted.unwrap());

        relaying.abort();

        for connection in [dialled.connection(), accepted.connection()] {
            timeout(Duration::from_secs(5), connection.closed()).await.expect("it would wait for silence");
        }
    }

    type Side = (Upgrade, Arrivals);

    async fn meet(dialler: Side, listener: Side) -> (Outcome, Outcome) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::join!(dialler.0.run(near.compat(), true), listener.0.run(far.compat(), false))
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    fn upgrade(mesh: u8, seed: u8) -> Side {
        side(mesh, seed, seed)
    }

    fn with_certificate_of(holder: u8, seed: u8) -> Side {
        side(1, holder, seed)
    }

    fn side(mesh: u8, holder: u8, seed: u8) -> Side {
        let mesh = key(100 + mesh);
        let certificate = MemberCertificate {
            mesh: mesh.mesh(),
            peer: key(holder).peer(),
            name: format!("peer-{holder}"),
            role: Role::Edge,
            labels: BTreeMap::new(),
            not_before_unix_s: 0,
            expires_unix_s: u64::MAX,
            serial: 1,
        };
        let chain = certificate.sign(&Issuer::of(&mesh));
        let (congestion, revoked) = (Congestion::default(), Revoked::default());
        let settings = Settings::new(&Arc::new(key(seed)), mesh.mesh(), &chain, congestion, &revoked).unwrap();
        let arrivals = Arrivals::default();
        let finish = Finish::new(&settings, arrivals.clone());
        (Upgrade { settings, finish, places: Arc::new(Semaphore::new(1)) }, arrivals)
    }
}
