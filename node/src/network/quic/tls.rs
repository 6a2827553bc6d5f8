//! Who is let through a TLS handshake: holders of a member certificate of this mesh, on both sides, and nobody else.
//!
//! TLS 1.3 only, no resumption and no early data: each handshake is checked, and nothing can be replayed.
//!
//! **Invariant:** the member certificate names the key that the handshake proves.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureAlgorithm, SignatureScheme, SupportedCipherSuite, version,
};
use shoal_protocol::certificate::{CertificateError, Chain, MemberCertificate, SecretKey};
use shoal_protocol::{MeshId, PeerId};

use super::card::{self, CardError};
use super::veil::Veil;
use crate::network::revoked::Revoked;

/// What both sides must want to speak; whoever speaks something else learns so from TLS.
const PROTOCOL: &[u8] = b"shoal/1";

/// How this peer answers and begins handshakes.
pub(super) struct Tls {
    pub(super) server: rustls::ServerConfig,
    pub(super) client: rustls::ClientConfig,
    pub(super) membership: Arc<Membership>,
    pub(super) shown: Arc<Shown>,
}

/// The card this peer shows in handshakes; renewed, it shows another from then on.
#[derive(Debug)]
pub(in crate::network) struct Shown {
    key: Arc<SecretKey>,
    mesh: MeshId,
    card: RwLock<Arc<CertifiedKey>>,
}

impl Shown {
    fn new(key: &Arc<SecretKey>, mesh: MeshId, member: &Chain) -> Result<Self, rcgen::Error> {
        let card = RwLock::new(Self::card(key, mesh, member)?);
        Ok(Self { key: Arc::clone(key), mesh, card })
    }

    /// Shows another certificate; connections that are up go on.
    pub(in crate::network) fn replace(&self, member: &Chain) -> Result<(), rcgen::Error> {
        let card = Self::card(&self.key, self.mesh, member)?;
        *self.card.write().unwrap_or_else(PoisonError::into_inner) = card;
        Ok(())
    }

    fn card(key: &Arc<SecretKey>, mesh: MeshId, member: &Chain) -> Result<Arc<CertifiedKey>, rcgen::Error> {
        Ok(Arc::new(certified(key, card::issue(key, &Veil::of(mesh), member)?)))
    }

    fn now(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.card.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        schemes.contains(&SCHEME).then(|| self.now())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A card with the key that signs for it.
pub(super) fn certified(key: &Arc<SecretKey>, card: CertificateDer<'static>) -> CertifiedKey {
    CertifiedKey::new(vec![card], Arc::new(NodeSigner(Arc::clone(key))))
}

#[derive(Debug, thiserror::Error)]
pub(in crate::network) enum TlsError {
    #[error("the node key cannot make a certificate: {0}")]
    Card(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Tls(#[from] Error),
}

impl Tls {
    pub(super) fn new(key: &Arc<SecretKey>, mesh: MeshId, member: &Chain, revoked: &Revoked) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let schemes = provider.signature_verification_algorithms;
        let membership = Arc::new(Membership { mesh, veil: Veil::of(mesh), schemes, revoked: revoked.clone() });
        let verifier = Arc::clone(&membership);
        let shown = Arc::new(Shown::new(key, mesh, member)?);

        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        never_resumed(&mut server);

        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesClientCert>);
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        never_resuming(&mut client);
        Ok(Self { server, client, membership, shown })
    }
}

/// Each handshake is checked anew.
pub(super) fn never_resumed(server: &mut rustls::ServerConfig) {
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
}

/// The same at the side that dials.
pub(super) fn never_resuming(client: &mut rustls::ClientConfig) {
    client.resumption = rustls::client::Resumption::disabled();
    // A peer has no name in the DNS.
    client.enable_sni = false;
}

/// The suites by what this CPU does fastest: without its own instructions AES costs more than ChaCha20.
pub(super) fn provider() -> CryptoProvider {
    use aws_lc_rs::cipher_suite::{
        TLS13_AES_128_GCM_SHA256 as AES_128, TLS13_AES_256_GCM_SHA384 as AES_256,
        TLS13_CHACHA20_POLY1305_SHA256 as CHACHA20,
    };
    let cipher_suites: Vec<SupportedCipherSuite> =
        if has_aes() { vec![AES_128, AES_256, CHACHA20] } else { vec![CHACHA20, AES_128, AES_256] };
    CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() }
}

fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// Checks what the other side shows, whichever side that is.
#[derive(Debug)]
pub(super) struct Membership {
    mesh: MeshId,
    veil: Veil,
    revoked: Revoked,
    schemes: WebPkiSupportedAlgorithms,
}

/// What a member has shown.
#[derive(Debug)]
pub(in crate::network) struct Proven {
    pub(in crate::network) certificate: MemberCertificate,
    /// Who has signed for it.
    pub(in crate::network) issuer: PeerId,
}

/// Why what the other side shows makes it no member.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoMember {
    #[error("it shows {0} certificates instead of one")]
    Certificates(usize),
    #[error(transparent)]
    Card(#[from] CardError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl From<NoMember> for Error {
    fn from(why: NoMember) -> Self {
        Self::General(why.to_string())
    }
}

impl Membership {
    /// Who shows these certificates.
    pub(super) fn check(&self, shown: &[CertificateDer<'_>], now: UnixTime) -> Result<Proven, NoMember> {
        let [only] = shown else { return Err(NoMember::Certificates(shown.len())) };
        let card = card::read(only, &self.veil)?;
        let certificate = card.member.verify(self.mesh, card.holder, now.as_secs())?;
        let issuer = card.member.claimed_issuer()?;
        self.revoked.check(&certificate, issuer)?;
        Ok(Proven { certificate, issuer })
    }

    fn check_chain(&self, first: &CertificateDer<'_>, more: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        if !more.is_empty() {
            return Err(NoMember::Certificates(1 + more.len()).into());
        }
        self.check(std::slice::from_ref(first), now)?;
        Ok(())
    }

    fn check_possession(
        &self,
        transcript: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = card::key(shown).map_err(NoMember::Card)?;
        verify_tls13_signature_with_raw_key(transcript, &key, signed, &self.schemes)
    }
}

pub(super) const SCHEME: SignatureScheme = SignatureScheme::ED25519;

pub(super) fn only_tls13() -> Error {
    Error::General("it does not speak TLS 1.3".into())
}

impl ServerCertVerifier for Membership {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_chain(shown, chain, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        transcript: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_possession(transcript, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }
}

impl ClientCertVerifier for Membership {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check_chain(shown, chain, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        transcript: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_possession(transcript, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }
}

/// Signs handshakes with the node key, where it is: no second copy of it is made.
#[derive(Debug, Clone)]
struct NodeSigner(Arc<SecretKey>);

impl SigningKey for NodeSigner {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for NodeSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}
