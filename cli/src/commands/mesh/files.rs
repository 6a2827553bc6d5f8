//! Keys and certificates on disk: `mesh.key` at whoever admits peers, `node.key` and `member.cert` at every peer.
//!
//! **Invariant:** a key is written once, by exclusive creation with mode 0600, and never replaced.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use shoal_protocol::certificate::{CertificateError, MemberCertificate, SecretKey, Signed};
use shoal_protocol::id::{MeshId, PeerId};

use crate::error::{Exit, Failure, own, plain};

/// No certificate comes near this.
const CERTIFICATE_BYTES_MAX: u64 = 64 * 1024;

/// A peer's data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    pub(crate) fn new(given: Option<PathBuf>) -> Self {
        Self(given.unwrap_or_else(crate::home::data_dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn mesh_key(&self) -> PathBuf {
        self.0.join("mesh.key")
    }

    pub(crate) fn node_key(&self) -> PathBuf {
        self.0.join("node.key")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("member.cert")
    }

    /// What people here call the mesh; no more than a name, so it is kept apart from what is signed.
    pub(crate) fn mesh_name(&self) -> PathBuf {
        self.0.join("mesh.name")
    }

    /// Makes it, for its owner only.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|error| Failure::write(&self.0, &error).fix("name another with --data-dir"))
    }
}

/// Reads a key, or makes one where there is none.
pub(crate) fn key_or_new(path: &Path) -> Result<SecretKey, Failure> {
    if path.exists() { read_key(path) } else { new_key(path) }
}

/// Makes a key; fails where there is one.
pub(crate) fn new_key(path: &Path) -> Result<SecretKey, Failure> {
    let failed = |error: io::Error| Failure::write(path, &error);
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(|error| failed(io::Error::other(error.to_string())))?;
    let key = SecretKey::from_bytes(&entropy);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(key.to_bytes().as_slice()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(key)
}

/// Reads a key that only its owner can read.
pub(crate) fn read_key(path: &Path) -> Result<SecretKey, Failure> {
    let failed = |error: io::Error| Failure::read(path, &error);
    let bad = |why: String, fix: String| {
        Failure::new(Exit::BadConfiguration, own::MESH, format!("`{}` is not a key to be used", path.display()))
            .why(why)
            .fix(fix)
    };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let fix = format!("chmod 600 {}", path.display());
        return Err(bad(format!("others can read it (mode {mode:04o})"), fix));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| {
        bad(format!("it has {} bytes, a key has 32", bytes.len()), "restore it from where it was copied".to_owned())
    })?;
    Ok(SecretKey::from_bytes(&bytes))
}

/// Writes a certificate; it appears whole or not at all.
pub(crate) fn write_certificate(path: &Path, signed: &Signed) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::write(path, &error);
    let partial = path.with_extension("part");
    std::fs::write(&partial, signed.to_bytes()).and_then(|()| std::fs::rename(&partial, path)).map_err(failed)
}

/// Reads a certificate and checks its form only.
pub(crate) fn read_certificate(path: &Path) -> Result<Signed, Failure> {
    let size = std::fs::metadata(path).map_err(|error| Failure::read(path, &error))?.len();
    if size > CERTIFICATE_BYTES_MAX {
        let limit = CERTIFICATE_BYTES_MAX as usize;
        return Err(not_believed(path, &CertificateError::TooLarge { what: "certificate", limit }));
    }
    let bytes = std::fs::read(path).map_err(|error| Failure::read(path, &error))?;
    Signed::from_bytes(&bytes).map_err(|error| not_believed(path, &error))
}

/// The mesh a certificate claims to be of; to be checked against that mesh's key next.
pub(crate) fn claimed_mesh(signed: &Signed, holder: PeerId, now_unix_s: u64) -> Result<MeshId, CertificateError> {
    // Nobody's mesh: the refusal says whose the certificate claims to be.
    match MemberCertificate::verify(signed, MeshId([0; 32]), holder, now_unix_s) {
        Err(CertificateError::OtherMesh { mesh, .. }) => Ok(mesh),
        Err(error) => Err(error),
        Ok(certificate) => Ok(certificate.mesh),
    }
}

/// Why a certificate is of no use.
pub(crate) fn not_believed(path: &Path, error: &CertificateError) -> Failure {
    Failure::new(Exit::BadConfiguration, own::MESH, error.to_string())
        .why(format!("read from {}", path.display()))
        .fix(error.hint())
}

/// Signs what the mesh says of a peer; refuses what no peer would believe.
pub(crate) fn sign(certificate: &MemberCertificate, mesh_key: &SecretKey) -> Result<Signed, Failure> {
    let signed = certificate.sign(mesh_key);
    match MemberCertificate::verify(&signed, certificate.mesh, certificate.peer, certificate.not_before_unix_s) {
        Ok(_) => Ok(signed),
        Err(error) => Err(Failure::usage(error.to_string()).fix("shorten it")),
    }
}

/// The date, in seconds since 1970.
pub(crate) fn now_unix_s() -> Result<u64, Failure> {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).map_err(|_| {
        Failure::new(Exit::BadConfiguration, own::MESH, "the clock of this machine stands before 1970")
            .fix("set the clock")
    })
}

/// A certificate is valid from a little earlier, because clocks differ.
pub(crate) const CLOCK_SKEW_S: u64 = 300;

/// This machine's name, or something to call it.
pub(crate) fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.and_then(|name| name.split('.').next().map(str::to_owned))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "peer".to_owned())
}

/// A number to tell two certificates of one peer apart.
pub(crate) fn serial() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| {
        let error = io::Error::other(error.to_string());
        Failure::new(Exit::Unreachable, own::MESH, "the system gives no random numbers").why(plain(&error))
    })
}
