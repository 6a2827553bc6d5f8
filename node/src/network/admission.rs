//! Who may speak: the first frame each side sends, and the verdict on it.
//!
//! ```text
//! dialler ── opening frame ──► listener: verdict ── opening frame ──► dialler: verdict
//! ```
//!
//! The listener shows itself only to a peer it has admitted, so a refused stranger learns nothing but the close.
//!
//! **Invariant:** the verdict depends on the key the transport authenticated, never on what the frame claims.
//! **Not here:** reading and writing frames; that is `link.rs`.

use std::time::{SystemTime, UNIX_EPOCH};

use ciborium::Value;
use serde::Deserialize;
use shoal_protocol::certificate::{CertificateError, MemberCertificate, Signed};
use shoal_protocol::message::{DecodeError, Hello, VERSION};
use shoal_protocol::{MeshId, PeerId, cbor};

/// Key of [`Run`] in the opening frame.
const RUN_KEY: &str = "b";

/// Tells two runs of one peer apart, so that a restart is not taken for a second connection of the same run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run(pub(super) u64);

/// What a peer must show, and what this peer shows.
#[derive(Debug)]
pub(super) struct Admission {
    mesh: MeshId,
    opening: Vec<u8>,
}

/// A peer that may speak.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) certificate: MemberCertificate,
    pub(super) run: Run,
}

/// Why a peer may not speak. For this side's log only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Verdict {
    #[error("its first frame is not a hello: {0}")]
    Unreadable(#[from] DecodeError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Verdict {
    /// Whether it is noise rather than a wrong or outdated member.
    pub(super) fn is_garbage(&self) -> bool {
        match self {
            Self::Unreadable(DecodeError::OtherVersion { .. }) => false,
            Self::Unreadable(_) => true,
            Self::Certificate(_) => false,
        }
    }
}

impl Admission {
    pub(super) fn new(mesh: MeshId, certificate: Signed, run: Run) -> Self {
        let software = concat!("shoald ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { mesh, opening: opening(&Hello { mesh, certificate, software }, run) }
    }

    /// The body of this peer's first frame.
    pub(super) fn opening(&self) -> &[u8] {
        &self.opening
    }

    /// The verdict on the first frame of the peer that the transport authenticated as `holder`.
    pub(super) fn check(&self, holder: PeerId, body: &[u8]) -> Result<Admitted, Verdict> {
        let hello = Hello::decode(body)?;
        let certificate = MemberCertificate::verify(&hello.certificate, self.mesh, holder, now_unix_s())?;
        Ok(Admitted { certificate, run: run_of(body) })
    }
}

/// A [`Hello`] with the run added, which readers that know only `Hello` skip.
fn opening(hello: &Hello, run: Run) -> Vec<u8> {
    let mut fields = Value::serialized(hello).ok().and_then(|value| value.into_map().ok()).unwrap_or_default();
    fields.push((Value::Text(RUN_KEY.into()), Value::Integer(run.0.into())));
    let mut body = vec![VERSION];
    body.extend(cbor::encode(&Value::Map(fields)));
    body
}

fn run_of(body: &[u8]) -> Run {
    #[derive(Deserialize)]
    struct RunField {
        #[serde(rename = "b", default)]
        run: u64,
    }
    let field = body.get(1..).map(cbor::decode::<RunField>);
    Run(field.and_then(Result::ok).map_or(0, |field| field.run))
}

/// A clock before 1970 is a clock nobody set: certificates are then "not yet valid", which says so.
fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use shoal_protocol::certificate::SecretKey;

    use super::super::tests::certificate_for;
    use super::*;

    #[test]
    fn an_opening_frame_is_a_hello_that_also_names_the_run() {
        let (mesh, node) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let certificate = certificate_for(&mesh, &node);
        let admission = Admission::new(mesh.mesh(), certificate.sign(&mesh), Run(77));

        let hello = Hello::decode(admission.opening()).unwrap();
        let admitted = admission.check(node.peer(), admission.opening()).unwrap();

        assert_eq!(hello.mesh, mesh.mesh());
        assert_eq!(admitted.certificate, certificate);
        assert_eq!(admitted.run, Run(77));
    }

    #[test]
    fn a_hello_without_a_run_is_still_a_hello() {
        let (mesh, node) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
        let certificate = certificate_for(&mesh, &node).sign(&mesh);
        let admission = Admission::new(mesh.mesh(), certificate.clone(), Run(77));
        let plain = Hello { mesh: mesh.mesh(), certificate, software: String::new() };

        let admitted = admission.check(node.peer(), &plain.encode()).unwrap();

        assert_eq!(admitted.run, Run(0));
    }
}
