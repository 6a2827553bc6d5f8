//! The X.509 certificate that carries a member certificate through a TLS handshake.
//!
//! Its key is the node key, its one extension the member certificate as the mesh signed it, veiled; nothing else in it is
//! looked at. The handshake itself proves that the other side holds the key (RFC 8446, 4.4.3), and the member certificate names
//! that key: the signature of the X.509 certificate over itself would add nothing, and is not checked.
//!
//! **Invariant:** what this module returns about a stranger is what the stranger says.

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, PKCS_ED25519, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use shoal_protocol::PeerId;
use shoal_protocol::certificate::{Chain, SecretKey};
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::veil::Veil;

/// Under the arc for everybody (ITU-T X.667): nobody but peers reads it.
const MEMBER_EXTENSION: [u64; 3] = [2, 25, 0x5368_6f61_6c31];
/// A member certificate with the most labels allowed is under 10 KiB.
const CARD_BYTES_MAX: usize = 16 * 1024;

/// What a peer shows of itself in a handshake.
#[derive(Debug)]
pub(super) struct Card {
    /// Whose key the handshake proves.
    pub(super) holder: PeerId,
    /// What it says that a mesh has signed.
    pub(super) member: Chain,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CardError {
    #[error("its certificate is longer than {CARD_BYTES_MAX} bytes")]
    TooLong,
    #[error("its certificate is no X.509 certificate")]
    Unreadable,
    #[error("its key is no Ed25519 key")]
    OtherKey,
    #[error("its certificate carries no member certificate")]
    NoMember,
    #[error("it belongs to another mesh, or to none")]
    OtherMesh,
}

/// Makes the one this peer shows.
pub(super) fn issue(
    key: &Arc<SecretKey>,
    veil: &Veil,
    member: &Chain,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    let covered = veil.cover(key.peer(), &member.to_bytes()).ok_or(rcgen::Error::RingUnspecified)?;
    let mut params = params();
    let mut extension = CustomExtension::from_oid_content(&MEMBER_EXTENSION, covered);
    // So that no other software takes it for a certificate that it understands.
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
    sign(params, key)
}

/// Makes one for a key that is no member yet, to prove the key with.
pub(super) fn issue_bare(key: &Arc<SecretKey>) -> Result<CertificateDer<'static>, rcgen::Error> {
    sign(params(), key)
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // The form wants one; the member certificate has the number that means something.
    params.serial_number = Some(1_u64.into());
    params
}

fn sign(params: CertificateParams, key: &Arc<SecretKey>) -> Result<CertificateDer<'static>, rcgen::Error> {
    let signer = NodeSigner { public: key.peer().0, key: Arc::clone(key) };
    Ok(params.self_signed(&signer)?.into())
}

/// Whose key is in the one that a stranger shows.
pub(super) fn holder(der: &CertificateDer<'_>) -> Result<PeerId, CardError> {
    holder_of(&parse(der)?)
}

fn holder_of(certificate: &X509Certificate<'_>) -> Result<PeerId, CardError> {
    let key = certificate.public_key();
    if key.algorithm.algorithm != OID_SIG_ED25519 {
        return Err(CardError::OtherKey);
    }
    Ok(PeerId(key.subject_public_key.data.as_ref().try_into().map_err(|_| CardError::OtherKey)?))
}

/// The key in the one that a stranger shows.
pub(super) fn key(der: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, CardError> {
    Ok(SubjectPublicKeyInfoDer::from(parse(der)?.public_key().raw.to_vec()))
}

/// Reads the one that a stranger shows.
pub(super) fn read(der: &CertificateDer<'_>, veil: &Veil) -> Result<Card, CardError> {
    let certificate = parse(der)?;
    let holder = holder_of(&certificate)?;
    let mut ours = certificate.extensions().iter().filter(|extension| is_member_extension(extension));
    let (Some(extension), None) = (ours.next(), ours.next()) else { return Err(CardError::NoMember) };
    let plain = veil.uncover(holder, extension.value).ok_or(CardError::OtherMesh)?;
    let member = Chain::from_bytes(&plain).map_err(|_| CardError::NoMember)?;
    Ok(Card { holder, member })
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CardError> {
    if der.len() > CARD_BYTES_MAX {
        return Err(CardError::TooLong);
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CardError::Unreadable)?;
    if rest.is_empty() { Ok(certificate) } else { Err(CardError::Unreadable) }
}

fn is_member_extension(extension: &x509_parser::extensions::X509Extension<'_>) -> bool {
    extension.oid.iter().is_some_and(|arcs| arcs.eq(MEMBER_EXTENSION))
}

struct NodeSigner {
    key: Arc<SecretKey>,
    public: [u8; 32],
}

impl PublicKeyData for NodeSigner {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for NodeSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_protocol::certificate::Issuer;

    use super::super::super::tests::certificate_for;
    use super::*;

    const MESH: [u8; 32] = [1; 32];

    fn veil() -> Veil {
        Veil::of(SecretKey::from_bytes(&MESH).mesh())
    }

    fn issued() -> (Arc<SecretKey>, Chain, CertificateDer<'static>) {
        let (mesh, node) = (SecretKey::from_bytes(&MESH), Arc::new(SecretKey::from_bytes(&[2; 32])));
        let member = certificate_for(&mesh, &node).sign(&Issuer::of(&mesh));
        let der = issue(&node, &veil(), &member).unwrap();
        (node, member, der)
    }

    #[test]
    fn what_is_issued_is_read() {
        let (node, member, der) = issued();

        let card = read(&der, &veil()).unwrap();

        assert_eq!((card.holder, card.member), (node.peer(), member));
    }

    #[test]
    fn a_stranger_reads_a_key_and_no_name() {
        let (node, _, der) = issued();
        let name = format!("peer-{}", node.peer().short());

        assert!(!der.windows(name.len()).any(|bytes| bytes == name.as_bytes()));
        assert_eq!(read(&der, &Veil::of(node.mesh())).unwrap_err(), CardError::OtherMesh);
    }

    #[test]
    fn a_certificate_of_the_world_carries_no_membership() {
        let node = Arc::new(SecretKey::from_bytes(&[2; 32]));
        let signer = NodeSigner { public: node.peer().0, key: Arc::clone(&node) };
        let mut params = CertificateParams::default();
        params.serial_number = Some(1_u64.into());
        let der = params.self_signed(&signer).unwrap().into();

        assert_eq!(read(&der, &veil()).unwrap_err(), CardError::NoMember);
    }

    #[test]
    fn bytes_after_the_end_are_no_certificate() {
        let (.., der) = issued();
        let longer = [der.as_ref(), &[0]].concat();

        assert_eq!(read(&longer.into(), &veil()).unwrap_err(), CardError::Unreadable);
    }

    #[test]
    fn one_that_is_too_long_is_not_even_parsed() {
        assert_eq!(read(&vec![0; CARD_BYTES_MAX + 1].into(), &veil()).unwrap_err(), CardError::TooLong);
    }

    proptest! {
        #[test]
        fn no_change_of_a_byte_makes_it_panic_or_name_another_member(at in 0_usize..1_000, byte: u8) {
            let (_, member, der) = issued();
            let mut bytes = der.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(card) = read(&bytes.into(), &veil()) {
                prop_assert_eq!(card.member, member);
            }
        }
    }
}
