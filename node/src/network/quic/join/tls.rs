//! Handshakes of joiners: the inviter shows its card as always, and the joiner proves its key and nothing more.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ResolvesServerCert;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme, version};
use shoal_protocol::certificate::{CertificateError, SecretKey};
use shoal_protocol::{MeshId, PeerId};

use super::super::card;
use super::super::tls::{
    NoMember, SCHEME, Shown, TlsError, certified, never_resumed, never_resuming, only_tls13, provider,
};
use super::super::veil::Veil;
use super::PROTOCOL;

/// How the inviter answers.
pub(super) fn server(shown: &Arc<Shown>) -> Result<rustls::ServerConfig, TlsError> {
    let provider = Arc::new(provider());
    let verifier = AnyKey { schemes: provider.signature_verification_algorithms };
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::clone(shown) as Arc<dyn ResolvesServerCert>);
    server.alpn_protocols = vec![PROTOCOL.to_vec()];
    never_resumed(&mut server);
    Ok(server)
}

/// How the joiner begins.
pub(super) fn client(key: &Arc<SecretKey>, mesh: MeshId, inviter: PeerId) -> Result<rustls::ClientConfig, TlsError> {
    let provider = Arc::new(provider());
    let schemes = provider.signature_verification_algorithms;
    let bare = SingleCertAndKey::from(certified(key, card::issue_bare(key)?));
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { mesh, inviter, veil: Veil::of(mesh), schemes }))
        .with_client_cert_resolver(Arc::new(bare) as Arc<dyn ResolvesClientCert>);
    client.alpn_protocols = vec![PROTOCOL.to_vec()];
    never_resuming(&mut client);
    Ok(client)
}

fn check_possession(
    schemes: &WebPkiSupportedAlgorithms,
    transcript: &[u8],
    shown: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = card::key(shown).map_err(NoMember::Card)?;
    verify_tls13_signature_with_raw_key(transcript, &key, signed, schemes)
}

/// Takes whoever holds the key it shows: the proof of the ticket's secret names that key.
#[derive(Debug)]
struct AnyKey {
    schemes: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !more.is_empty() {
            return Err(NoMember::Certificates(1 + more.len()).into());
        }
        card::holder(shown).map_err(NoMember::Card)?;
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
        check_possession(&self.schemes, transcript, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }
}

/// Takes one peer: the one in the ticket, if it is a member of the mesh in the ticket.
#[derive(Debug)]
struct Pinned {
    mesh: MeshId,
    inviter: PeerId,
    veil: Veil,
    schemes: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn check(&self, shown: &CertificateDer<'_>, now_unix_s: u64) -> Result<(), Error> {
        let card = card::read(shown, &self.veil).map_err(NoMember::Card)?;
        if card.holder != self.inviter {
            return Err(Error::General("another peer than the ticket names answers there".into()));
        }
        match card.member.verify(self.mesh, card.holder, now_unix_s) {
            Ok(_) => Ok(()),
            // The ticket names the key, so dates prove nothing here; and with a wrong clock, the inviter's answer tells by how much.
            Err(error) if is_about_dates(&error) => Ok(()),
            Err(error) => Err(NoMember::Certificate(error).into()),
        }
    }
}

fn is_about_dates(error: &CertificateError) -> bool {
    match error {
        CertificateError::Expired { .. } | CertificateError::NotYetValid { .. } => true,
        CertificateError::Issuer { why, .. } => is_about_dates(why),
        _ => false,
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !more.is_empty() {
            return Err(NoMember::Certificates(1 + more.len()).into());
        }
        self.check(shown, now.as_secs())?;
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
        check_possession(&self.schemes, transcript, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SCHEME]
    }
}
