//! How our endpoints are set up: limits, keys and sockets.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::AsyncUdpSocket;
use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::HashedConnectionIdGenerator;
use shoal_protocol::MeshId;
use shoal_protocol::certificate::{Chain, SecretKey};
use socket2::{Domain, Protocol, Socket, Type};

use super::callback::Callbacks;
use super::circuit::DATAGRAM_BYTES_MAX;
use super::join::Desk;
use super::tls::{Membership, Shown, Tls, TlsError};
use crate::joining::Office;
use crate::network::limits::{
    CONNECTION_SILENT_MAX, CONNECTION_WINDOW_BYTES, DATAGRAMS_BYTES_MAX, KEEP_ALIVE, STREAM_WINDOW_BYTES, STREAMS_MAX,
    UNI_STREAMS_MAX,
};
use crate::network::revoked::Revoked;

/// Time from the first datagram of a handshake to its last.
pub(super) const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Datagrams that the kernel keeps for us, each way: bulk on a fast link comes in bursts, and what does not fit is lost.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// What is kept of a machine that waits for its handshake to begin: its first datagram, and that once or twice again…
const WAITING_BYTES_MAX: u64 = 16 * 1024;
/// …and of all of them.
const WAITING_BYTES_TOTAL_MAX: u64 = 2 * 1024 * 1024;
/// RFC 9000.
const VERSION: u32 = 1;

/// How a sender finds out how much a path carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Congestion {
    /// Less whenever something is lost (RFC 9438): the usual one, and slow where links lose by themselves.
    Cubic,
    /// By what has arrived at which delay (BBR, draft-cardwell-iccrg-bbr-congestion-control). On a link that loses one
    /// packet in a hundred by itself, as radio does, it carries ten times as much; on others a sixth less, at no more
    /// delay (`docs/benchmarks.md`). quinn calls it experimental.
    #[default]
    Bbr,
}

/// What all endpoints of this peer have in common.
#[derive(Debug, Clone)]
pub(in crate::network) struct Settings {
    reset_key: Arc<ResetKey>,
    id_key: u64,
    server: quinn::ServerConfig,
    pub(super) client: quinn::ClientConfig,
    pub(super) membership: Arc<Membership>,
    /// What handshakes show of this peer.
    pub(in crate::network) shown: Arc<Shown>,
    /// Where those with a ticket are received, if they are.
    pub(super) desk: Option<Desk>,
    pub(in crate::network) callbacks: Callbacks,
}

impl Settings {
    pub(in crate::network) fn new(
        key: &Arc<SecretKey>,
        mesh: MeshId,
        member: &Chain,
        congestion: Congestion,
        revoked: &Revoked,
    ) -> Result<Self, TlsError> {
        let tls = Tls::new(key, mesh, member, revoked)?;
        let no_suite = |error: quinn::crypto::rustls::NoInitialCipherSuite| rustls::Error::General(error.to_string());
        let transport = Arc::new(transport(congestion));
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(
            QuicServerConfig::try_from(tls.server.clone()).map_err(no_suite)?,
        ));
        server.transport_config(Arc::clone(&transport));
        // Of whoever waits its turn at the door.
        server.incoming_buffer_size(WAITING_BYTES_MAX).incoming_buffer_size_total(WAITING_BYTES_TOTAL_MAX);
        let mut client =
            quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls.client.clone()).map_err(no_suite)?));
        client.transport_config(transport);
        let secret = key.to_bytes();
        let [a, b, c, d, e, f, g, h, ..] = blake3::derive_key("shoal 2026-11 quic connection ids", &*secret);
        let reset_key = Arc::new(ResetKey(blake3::derive_key("shoal 2026-11 quic stateless reset", &*secret)));
        let id_key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let Tls { membership, shown, .. } = tls;
        let callbacks = Callbacks::new(client.clone());
        Ok(Self { reset_key, id_key, server, client, membership, shown, desk: None, callbacks })
    }

    /// The same, receiving those with a ticket.
    pub(in crate::network) fn with_office(self, office: Office) -> Result<Self, TlsError> {
        Ok(Self { desk: Some(Desk::new(office, &self.shown)?), ..self })
    }

    /// An endpoint at `at`, which accepts connections if it `listens`.
    pub(super) fn endpoint(&self, at: SocketAddr, listens: bool) -> io::Result<(quinn::Endpoint, UdpSocket)> {
        let socket = socket(at)?;
        let own = socket.try_clone()?;
        let server = listens.then(|| self.server.clone());
        let endpoint = quinn::Endpoint::new(self.endpoint_config(), server, socket, Arc::new(quinn::TokioRuntime))?;
        Ok((endpoint, own))
    }

    /// An endpoint on something that is no socket of the system's.
    pub(super) fn endpoint_over(&self, socket: Arc<dyn AsyncUdpSocket>, listens: bool) -> io::Result<quinn::Endpoint> {
        let mut config = self.endpoint_config();
        config.max_udp_payload_size(DATAGRAM_BYTES_MAX).map_err(io::Error::other)?;
        let server = listens.then(|| self.server.clone());
        quinn::Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(quinn::TokioRuntime))
    }

    fn endpoint_config(&self) -> quinn::EndpointConfig {
        // The keys outlive this process: a peer that was restarted tells those who still believe in its old connections
        // at their next datagram, instead of leaving them to a timeout (RFC 9000, 10.3).
        let mut config = quinn::EndpointConfig::new(Arc::clone(&self.reset_key) as Arc<dyn HmacKey>);
        let id_key = self.id_key;
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
        config.supported_versions(vec![VERSION]);
        config
    }
}

fn transport(congestion: Congestion) -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(UNI_STREAMS_MAX.into())
        .datagram_receive_buffer_size(Some(DATAGRAMS_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAMS_BYTES_MAX)
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(CONNECTION_WINDOW_BYTES.into())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(quinn::IdleTimeout::try_from(CONNECTION_SILENT_MAX).ok())
        // It lets whoever watches the path measure it.
        .allow_spin(false);
    match congestion {
        Congestion::Cubic => transport.congestion_controller_factory(Arc::new(CubicConfig::default())),
        Congestion::Bbr => transport.congestion_controller_factory(Arc::new(BbrConfig::default())),
    };
    transport
}

fn socket(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Asked for, not insisted on: the kernel gives as much as its administrator allows.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// Proves that a reset comes from the holder of the node key.
struct ResetKey([u8; blake3::KEY_LEN]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], into: &mut [u8]) {
        into.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // Compared in constant time.
        if blake3::keyed_hash(&self.0, data) == *signature { Ok(()) } else { Err(CryptoError) }
    }
}

impl std::fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResetKey(..)")
    }
}
