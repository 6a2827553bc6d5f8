//! The key that signs for the mesh, where this peer has one: read when something is to be signed, and wiped then, so that
//! `shoal mesh rotate-issuer` takes effect without a restart.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use shoal_protocol::certificate::{
    CertificateError, Chain, Issuer, IssuerCertificate, MemberCertificate, RevocationList, SecretKey, Signed,
    SignedRevocations,
};
use shoal_protocol::{MeshId, PeerId};
use zeroize::Zeroizing;

/// No certificate comes near this.
const CERTIFICATE_BYTES_MAX: u64 = 64 * 1024;

/// Why this peer signs nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssuerError {
    #[error("it has no issuer.key: {} does not exist", .0.display())]
    None(PathBuf),
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} is open to other users (mode {mode:04o}), so it is no longer a secret", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} is damaged: {bytes} bytes instead of 32", path.display())]
    WrongLength { path: PathBuf, bytes: u64 },
    #[error("the issuer's certificate {} cannot be used: {source}", path.display())]
    Certificate { path: PathBuf, source: CertificateError },
    #[error("issuer.cert is for another key than issuer.key")]
    OtherKey,
    #[error("what it would sign is not valid: {0}")]
    Unsignable(CertificateError),
}

impl IssuerError {
    /// What a person can do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::None(_) => {
                "run this at the peer that founded the mesh (`shoal mesh status` says: may admit peers)".into()
            }
            Self::File { path, .. } => format!("check the owner and mode of {}", path.display()),
            Self::Exposed { path, .. } => {
                format!("if nobody copied it: `chmod 600 {}`; otherwise `shoal mesh rotate-issuer`", path.display())
            }
            Self::WrongLength { .. } | Self::Certificate { .. } | Self::OtherKey => {
                "where the mesh's key is: `shoal mesh rotate-issuer`".into()
            }
            Self::Unsignable(error) => error.hint().into(),
        }
    }
}

/// Somebody who may sign, for the time of one call.
pub(super) struct Signer {
    issuer: Issuer,
    pub(super) certificate: IssuerCertificate,
}

impl Signer {
    /// Whether this directory has a key; it may still be of no use.
    pub(super) fn is_in(dir: &Path) -> bool {
        dir.join("issuer.key").exists()
    }

    pub(super) fn read(dir: &Path, mesh: MeshId, now_unix_s: u64) -> Result<Self, IssuerError> {
        let key = read_key(&dir.join("issuer.key"))?;
        let path = dir.join("issuer.cert");
        let bad = |source| IssuerError::Certificate { path: path.clone(), source };
        let signed = Signed::from_bytes(&read_bounded(&path)?).map_err(bad)?;
        let certificate = IssuerCertificate::verify(&signed, mesh, now_unix_s).map_err(bad)?;
        if certificate.issuer != key.peer() {
            return Err(IssuerError::OtherKey);
        }
        Ok(Self { issuer: Issuer::new(key, signed), certificate })
    }

    /// Whose list it is that this key signs.
    pub(super) fn id(&self) -> PeerId {
        self.certificate.issuer
    }

    pub(super) fn sign_list(&self, list: &RevocationList) -> SignedRevocations {
        list.sign(&self.issuer)
    }

    /// Signs what every peer will believe, and nothing else.
    pub(super) fn sign(&self, certificate: &MemberCertificate, now_unix_s: u64) -> Result<Chain, IssuerError> {
        let chain = certificate.sign(&self.issuer);
        match chain.verify(certificate.mesh, certificate.peer, now_unix_s) {
            Ok(_) => Ok(chain),
            Err(error) => Err(IssuerError::Unsignable(error)),
        }
    }
}

fn read_key(path: &Path) -> Result<SecretKey, IssuerError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => IssuerError::None(path.to_owned()),
        _ => IssuerError::File { path: path.to_owned(), source },
    };
    let mut file = File::open(path).map_err(failed)?;
    // Of the open file, not of the name: nobody can swap the file between the check and the read.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IssuerError::Exposed { path: path.to_owned(), mode });
    }
    let mut key = Zeroizing::new([0; 32]);
    if metadata.len() != 32 {
        return Err(IssuerError::WrongLength { path: path.to_owned(), bytes: metadata.len() });
    }
    file.read_exact(&mut *key).map_err(failed)?;
    Ok(SecretKey::from_bytes(&key))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, IssuerError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(CERTIFICATE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|source| IssuerError::File { path: path.to_owned(), source })?;
    Ok(bytes)
}
