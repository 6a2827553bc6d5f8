//! Keys and certificates on disk: `mesh.key` where the mesh was founded, `issuer.key` and `issuer.cert` at whoever admits
//! peers, `node.key` and `member.cert` at every peer.
//!
//! **Invariant:** a key is written once, by exclusive creation with mode 0600, and never replaced.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use shoal_protocol::certificate::{
    CertificateError, Chain, Issuer, IssuerCertificate, MemberCertificate, SecretKey, Signed,
};
use shoal_protocol::id::PeerId;
use zeroize::Zeroizing;

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

    pub(crate) fn issuer_key(&self) -> PathBuf {
        self.0.join("issuer.key")
    }

    pub(crate) fn issuer_certificate(&self) -> PathBuf {
        self.0.join("issuer.cert")
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
    let key = random_key(path)?;
    write_secret(path, key.to_bytes().as_slice())?;
    Ok(key)
}

/// A key that is nowhere yet; it is to be at `path`.
pub(crate) fn random_key(path: &Path) -> Result<SecretKey, Failure> {
    let mut entropy = Zeroizing::new([0; 32]);
    randomness(path, &mut *entropy)?;
    Ok(SecretKey::from_bytes(&entropy))
}

/// Random bytes for what is to be at `path`.
pub(crate) fn randomness(path: &Path, into: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(into).map_err(|error| Failure::write(path, &io::Error::other(error.to_string())))
}

/// Writes what only its owner may read; fails where there is something.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::write(path, &error);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads a key that only its owner can read.
pub(crate) fn read_key(path: &Path) -> Result<SecretKey, Failure> {
    let bytes = read_secret(path)?;
    let key: Zeroizing<[u8; 32]> = match bytes.as_slice().try_into() {
        Ok(key) => Zeroizing::new(key),
        Err(_) => {
            let why = format!("it has {} bytes, a key has 32", bytes.len());
            return Err(no_key(path, why, "restore it from where it was copied".to_owned()));
        }
    };
    Ok(SecretKey::from_bytes(&key))
}

/// Reads what only its owner may read.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| Failure::read(path, &error);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let fix = format!("chmod 600 {}", path.display());
        return Err(no_key(path, format!("others can read it (mode {mode:04o})"), fix));
    }
    if metadata.len() > CERTIFICATE_BYTES_MAX {
        return Err(no_key(
            path,
            format!("it has {} bytes", metadata.len()),
            "restore it from where it was copied".into(),
        ));
    }
    std::fs::read(path).map(Zeroizing::new).map_err(failed)
}

fn no_key(path: &Path, why: String, fix: String) -> Failure {
    Failure::new(Exit::BadConfiguration, own::MESH, format!("`{}` is not a key to be used", path.display()))
        .why(why)
        .fix(fix)
}

/// Writes a certificate; it appears whole or not at all.
pub(crate) fn write_certificate(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::write(path, &error);
    let partial = path.with_extension("part");
    std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path)).map_err(failed)
}

/// Which key may sign for the mesh here, whatever the date; nothing where none may.
pub(crate) fn issuer_here(dir: &DataDir) -> Result<Option<PeerId>, Failure> {
    if !dir.issuer_key().exists() {
        return Ok(None);
    }
    Ok(Some(read_key(&dir.issuer_key())?.peer()))
}

/// Reads a peer's certificate and checks its form only.
pub(crate) fn read_certificate(path: &Path) -> Result<Chain, Failure> {
    Chain::from_bytes(&read_bounded(path)?).map_err(|error| not_believed(path, &error))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    let size = std::fs::metadata(path).map_err(|error| Failure::read(path, &error))?.len();
    if size > CERTIFICATE_BYTES_MAX {
        let limit = CERTIFICATE_BYTES_MAX as usize;
        return Err(not_believed(path, &CertificateError::TooLarge { what: "certificate", limit }));
    }
    std::fs::read(path).map_err(|error| Failure::read(path, &error))
}

/// How long a new issuer may sign, in days, and what it signs is valid.
pub(crate) const ISSUER_DAYS: u64 = 90;

/// Makes a key that may sign for the mesh, in the place of the one before.
pub(crate) fn new_issuer(dir: &DataDir, mesh_key: &SecretKey, days: u64) -> Result<IssuerCertificate, Failure> {
    let (key_path, certificate_path) = (dir.issuer_key(), dir.issuer_certificate());
    let key = random_key(&key_path)?;
    let now = now_unix_s()?;
    let certificate = IssuerCertificate {
        mesh: mesh_key.mesh(),
        issuer: key.peer(),
        not_before_unix_s: now.saturating_sub(CLOCK_SKEW_S),
        expires_unix_s: now.saturating_add(days.saturating_mul(86_400)),
    };
    // The key first: a certificate without its key could sign nothing, and the command can be run again.
    let partial = key_path.with_extension("part");
    let _ = std::fs::remove_file(&partial);
    write_secret(&partial, key.to_bytes().as_slice())?;
    std::fs::rename(&partial, &key_path).map_err(|error| Failure::write(&key_path, &error))?;
    write_certificate(&certificate_path, &certificate.sign(mesh_key).to_bytes())?;
    Ok(certificate)
}

/// Whoever signs for the mesh here, and until when.
pub(crate) fn read_issuer(dir: &DataDir) -> Result<(Issuer, IssuerCertificate), Failure> {
    let path = dir.issuer_certificate();
    if !path.exists() || !dir.issuer_key().exists() {
        return Err(Failure::new(Exit::Denied, own::MESH, "nobody here may admit peers to the mesh")
            .why(format!("`{}` does not exist", dir.issuer_key().display()))
            .fix("run this where `shoal mesh init` was run, or name that directory with --data-dir"));
    }
    let key = read_key(&dir.issuer_key())?;
    let signed = Signed::from_bytes(&read_bounded(&path)?).map_err(|error| not_believed(&path, &error))?;
    let mesh = IssuerCertificate::claimed_mesh(&signed).map_err(|error| not_believed(&path, &error))?;
    let verified = IssuerCertificate::verify(&signed, mesh, now_unix_s()?);
    let certificate = verified
        .map_err(|error| not_believed(&path, &error).fix("where the mesh's key is: shoal mesh rotate-issuer"))?;
    if certificate.issuer != key.peer() {
        let why = format!("`{}` is for another key than `{}`", path.display(), dir.issuer_key().display());
        return Err(Failure::new(Exit::BadConfiguration, own::MESH, "the issuer's key and certificate do not fit")
            .why(why)
            .fix("where the mesh's key is: shoal mesh rotate-issuer"));
    }
    Ok((Issuer::new(key, signed), certificate))
}

/// Why a certificate is of no use.
pub(crate) fn not_believed(path: &Path, error: &CertificateError) -> Failure {
    Failure::new(Exit::BadConfiguration, own::MESH, error.to_string())
        .why(format!("read from {}", path.display()))
        .fix(error.hint())
}

/// Signs what the mesh says of a peer; refuses what no peer would believe.
pub(crate) fn sign(certificate: &MemberCertificate, issuer: &Issuer) -> Result<Chain, Failure> {
    let chain = certificate.sign(issuer);
    match chain.verify(certificate.mesh, certificate.peer, now_unix_s()?) {
        Ok(_) => Ok(chain),
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
