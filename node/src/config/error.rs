//! What is wrong with a configuration: which value, from where, why, and what to write instead.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// One line: what is wrong.
    pub what: String,
    /// The file and line, variable or flag that says so.
    pub origin: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  where {}\n  fix   {}", self.what, self.origin, self.fix)
    }
}

/// Everything that is wrong, so that a person mends it in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub faults: Vec<Fault>,
}

impl ConfigError {
    pub(super) fn one(what: impl Into<String>, origin: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { faults: vec![Fault { what: what.into(), origin: origin.into(), fix: fix.into() }] }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            write!(f, "{}error: {fault}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Why the peer's key or certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It was never admitted to a mesh.
    #[error("this peer belongs to no mesh: there is no certificate at {}", path.display())]
    NoCertificate {
        /// Where one was looked for.
        path: PathBuf,
        /// The request to hand to whoever holds the mesh key.
        peer: shoal_protocol::PeerId,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] crate::network::KeyError),
    /// The certificate is not one, or not ours, or out of date.
    #[error("the certificate {} cannot be used: {source}", path.display())]
    BadCertificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: shoal_protocol::certificate::CertificateError,
    },
    /// The configuration and the certificate disagree.
    #[error("{key} is `{configured}`, but this peer's certificate says `{certified}`")]
    Contradiction {
        /// `node.name` or `node.role`.
        key: &'static str,
        /// What the configuration says.
        configured: String,
        /// What the certificate says.
        certified: String,
    },
    /// The file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

impl IdentityError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoCertificate { path, peer } => format!(
                "start a mesh here with `shoal mesh init`, or join one with a ticket: `shoal join -`; or have this peer \
                 admitted by hand where the mesh was founded: `shoal mesh admit --key {peer} --name NAME`, and put the certificate at {}",
                path.display()
            ),
            Self::Key(error) => error.hint(),
            Self::BadCertificate { source, .. } => source.hint().to_owned(),
            Self::Contradiction { key, .. } => format!(
                "remove {key} from the configuration (the certificate decides), or get a new certificate: `shoal join -`"
            ),
            Self::File { path, .. } => {
                format!("check the owner and mode of {}, or choose another `node.data_dir`", path.display())
            }
        }
    }
}
