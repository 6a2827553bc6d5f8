//! The node's key and the certificate that makes it a member.
//!
//! **Invariant:** an [`Identity`] that exists was valid when it was loaded: key, certificate and configuration agree.
//! **Not here:** the key's file. `crate::network` makes it, and refuses one that others could have read.

use std::path::Path;

use shoal_protocol::MeshId;
use shoal_protocol::certificate::{CertificateError, Chain, MemberCertificate, SecretKey};

use super::Config;
use super::error::IdentityError;
use crate::network::load_or_create_node_key;
use crate::small_file;

/// Who this peer is.
#[derive(Debug)]
pub struct Identity {
    /// Its private key.
    pub key: SecretKey,
    /// Its mesh.
    pub mesh: MeshId,
    /// What it shows to others.
    pub chain: Chain,
    /// What that says of it.
    pub certificate: MemberCertificate,
}

/// No certificate comes near this.
const CERTIFICATE_BYTES_MAX: u64 = 64 * 1024;

impl Identity {
    /// Reads key and certificate; makes a key where there is none yet, so that it can be admitted.
    pub fn load(config: &Config, now_unix_s: u64) -> Result<Self, IdentityError> {
        let key = SecretKey::from_bytes(&*load_or_create_node_key(&config.node_key)?);
        let chain = load_certificate(&config.certificate, &key)?;
        let bad = |source| IdentityError::BadCertificate { path: config.certificate.clone(), source };
        let mesh = chain.claimed_mesh().map_err(bad)?;
        let certificate = chain.verify(mesh, key.peer(), now_unix_s).map_err(bad)?;
        agree("node.name", config.name.as_deref(), &certificate.name)?;
        agree("node.role", config.role.map(|role| role.to_string()).as_deref(), &certificate.role.to_string())?;
        Ok(Self { key, mesh, chain, certificate })
    }
}

fn agree(key: &'static str, configured: Option<&str>, certified: &str) -> Result<(), IdentityError> {
    match configured {
        Some(configured) if configured != certified => {
            Err(IdentityError::Contradiction { key, configured: configured.into(), certified: certified.into() })
        }
        Some(_) | None => Ok(()),
    }
}

fn load_certificate(path: &Path, key: &SecretKey) -> Result<Chain, IdentityError> {
    let file = |source| IdentityError::File { doing: "read", path: path.to_owned(), source };
    let bytes = match small_file::read(path, CERTIFICATE_BYTES_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(IdentityError::NoCertificate { path: path.to_owned(), peer: key.peer() }),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            let source = CertificateError::TooLarge { what: "certificate", limit: CERTIFICATE_BYTES_MAX as usize };
            return Err(IdentityError::BadCertificate { path: path.to_owned(), source });
        }
        Err(error) => return Err(file(error)),
    };
    Chain::from_bytes(&bytes).map_err(|source| IdentityError::BadCertificate { path: path.to_owned(), source })
}
