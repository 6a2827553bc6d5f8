//! Who deploys here: an issuer of the mesh, or this peer, where its certificate lets it.

use shoal_protocol::api::codes;
use shoal_protocol::api::services::ServiceView;
use shoal_protocol::certificate::{Chain, Issuer, SecretKey};
use shoal_protocol::id::MeshId;
use shoal_protocol::service::{DEPLOY_LABEL, ServiceName, ServiceRecord, SignedService, may_deploy};

use crate::client::{Client, ClientError};
use crate::commands::mesh::files::{self, DataDir};
use crate::error::{Exit, Failure};

/// Whoever signs records here.
#[derive(Debug)]
pub(super) enum Signer {
    Issuer(Issuer),
    Member(SecretKey, Chain),
}

impl Signer {
    /// Reads the keys of a data directory; those of the issuer where they are there.
    pub(super) fn read(dir: &DataDir, name: &ServiceName) -> Result<(Self, MeshId), Failure> {
        if files::issuer_here(dir)?.is_some() {
            let (issuer, issued) = files::read_issuer(dir)?;
            return Ok((Self::Issuer(issuer), issued.mesh));
        }
        if !dir.node_key().exists() || !dir.certificate().exists() {
            let why = format!("`{}` and `{}` do not exist", dir.issuer_key().display(), dir.node_key().display());
            return Err(denied(name).why(why));
        }
        let (key, path) = (files::read_key(&dir.node_key())?, dir.certificate());
        let chain = files::read_certificate(&path)?;
        let mesh = chain.claimed_mesh().map_err(|error| files::not_believed(&path, &error))?;
        let member = chain.verify(mesh, key.peer(), files::now_unix_s()?);
        let member = member.map_err(|error| files::not_believed(&path, &error))?;
        if !may_deploy(&member.labels, name) {
            let why = format!("the certificate of {} has no label `{DEPLOY_LABEL}` that names it", member.name);
            return Err(denied(name).why(why));
        }
        Ok((Self::Member(key, chain), mesh))
    }

    fn sign(&self, record: &ServiceRecord) -> SignedService {
        match self {
            Self::Issuer(issuer) => SignedService::by_issuer(record, issuer),
            Self::Member(key, chain) => SignedService::by_member(record, key, chain.clone()),
        }
    }

    /// Signs a record and hands it in.
    pub(super) async fn hand_in(&self, client: &Client, record: &ServiceRecord) -> Result<ServiceView, ClientError> {
        client.deploy_service(&self.sign(record)).await
    }
}

fn denied(name: &ServiceName) -> Failure {
    let fix = format!(
        "run it where `shoal mesh init` was run, or have this peer labelled there: shoal peer label PEER {DEPLOY_LABEL}={name}"
    );
    Failure::new(Exit::Denied, codes::SERVICE_DENIED, format!("nobody here may deploy `{name}`")).fix(fix)
}

/// Refuses before it is signed what no peer would take.
pub(super) fn checked(record: ServiceRecord) -> Result<ServiceRecord, Failure> {
    match record.check() {
        Ok(()) => Ok(record),
        Err(error) => {
            let fix = error.hint();
            Err(Failure::new(Exit::Usage, codes::BAD_SERVICE, error.to_string()).fix(fix))
        }
    }
}

/// What is in force of a service, also of one that was removed; nothing where there never was one.
pub(super) async fn in_force(
    client: &Client,
    mesh: MeshId,
    name: &ServiceName,
) -> Result<Option<ServiceRecord>, Failure> {
    let view = match client.service(name.as_str(), true).await {
        Err(error) if error.code() == Some(codes::NO_SERVICE) => return Ok(None),
        view => view?,
    };
    let not_believed = |why: String| {
        Failure::new(Exit::VersionMismatch, codes::SERVICE_DENIED, format!("the record of `{name}` is not believed"))
            .why(why)
            .fix("see whether the daemon is of the mesh whose keys are here: shoal mesh status")
    };
    let signed = view.read().map_err(|error| not_believed(error.to_string()))?;
    let verified = signed.verify(mesh).map_err(|error| not_believed(error.to_string()))?;
    Ok(Some(verified.record))
}
