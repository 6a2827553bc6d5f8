//! Services: records verified, written down, and then put in force; their modules brought here and given back; their calls.
//!
//! **Invariant:** a record is on disk before it is in force, and an earlier one never replaces a later one, also over a restart.
//! **Not here:** which version a call gets, and what is kept ready. The protocol decides that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shoal_protocol::api::services::ServiceView;
use shoal_protocol::audit::Happening;
use shoal_protocol::output::{TaskError, TaskResult};
use shoal_protocol::service::{
    DeployError, INDEX_MAX, RECORD_BYTES_MAX, ServiceName, SignedService, VerifiedService, draw,
};
use shoal_protocol::{BlobId, Input, PeerId, TaskId, cbor};

use super::Driver;
use super::beside::Done;
use super::fetch::Wanted;
use super::handle::{Call, Called, Refusal};
use super::waiters::CallReply;
use crate::blobs::Pin;
use crate::small_file;

const FILE_NAME: &str = "services.cbor";
/// A file beyond this was not written by us.
const FILE_BYTES_MAX: u64 = (INDEX_MAX * (RECORD_BYTES_MAX + 16)) as u64;

/// What the driver holds of services.
#[derive(Debug, Default)]
pub(crate) struct Services {
    /// Modules that are to be here; what is still on its way has no pin yet. Bounded by the protocol.
    kept: BTreeMap<BlobId, Option<Pin>>,
}

impl Services {
    /// Modules that stay here, for whoever looks for them.
    pub(super) fn modules_here(&self) -> impl Iterator<Item = BlobId> {
        self.kept.iter().filter(|(_, pin)| pin.is_some()).map(|(module, _)| *module)
    }
}

impl Driver {
    // ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Those from the last run, before anybody is heard.
    pub(super) fn begin_services(&mut self) {
        let records = read(&path(&self.config.data_dir));
        let verified: Vec<VerifiedService> = records.into_iter().filter_map(|signed| self.believed(signed)).collect();
        if !verified.is_empty() {
            tracing::info!(services = verified.len(), "services are in force as before");
            self.handle(Input::ServicesDeployed { records: verified, by_user: false });
        }
    }

    fn believed(&self, signed: SignedService) -> Option<VerifiedService> {
        let verified = signed.verify(self.identity.mesh);
        verified.inspect_err(|error| tracing::error!(%error, "the record of a service is not believed")).ok()
    }

    /// Two or three signatures each are too slow for the loop.
    pub(super) fn verify_services(&self, from: PeerId, signed: Vec<SignedService>) {
        let mesh = self.identity.mesh;
        self.beside.start(async move {
            let judged = tokio::task::spawn_blocking(move || {
                let (mut verified, mut refused) = (Vec::new(), Vec::new());
                for signed in signed {
                    match signed.verify(mesh) {
                        Ok(good) => verified.push(good),
                        Err(error) => refused.push(error),
                    }
                }
                (verified, refused)
            });
            let (verified, refused) = judged.await.unwrap_or_default();
            Done::ServicesJudged { from, verified, refused }
        });
    }

    pub(super) fn on_services_judged(
        &mut self,
        from: PeerId,
        mut verified: Vec<VerifiedService>,
        refused: &[DeployError],
    ) {
        refused.iter().for_each(|error| self.note_service_refused(Some(from), None, error.to_string()));
        verified.retain(|verified| self.peer.would_replace_service(verified));
        if let Err(why) = self.write_services(&verified) {
            tracing::error!(why, "new records of services are not in force here");
            verified.clear();
        }
        verified.iter().for_each(|verified| self.note_service(verified));
        self.handle(Input::ServicesVerified(verified));
    }

    /// A record that a user of this peer hands in; believed like any other.
    pub(super) fn deploy_service(&mut self, signed: SignedService) -> Result<ServiceName, Refusal> {
        let verified = signed.verify(self.identity.mesh).inspect_err(|error| {
            self.note_service_refused(None, None, error.to_string());
        })?;
        let (name, generation) = (verified.record.name.clone(), verified.record.generation);
        let registry = self.peer.services();
        if !self.peer.would_replace_service(&verified) {
            let held = registry.held(&name).map_or(0, |held| held.record.generation);
            let refusal = if registry.has_room_for(&verified.record) {
                Refusal::OldService { name: name.clone(), generation, held }
            } else {
                Refusal::TooManyServices
            };
            self.note_service_refused(None, Some(name.to_string()), refusal.to_string());
            return Err(refusal);
        }
        let is_known = |module: BlobId| {
            let held = registry.held(&name).into_iter().flat_map(|held| &held.record.versions);
            held.into_iter().any(|version| version.module == module)
        };
        let new = verified.record.versions.iter().find(|version| !is_known(version.module));
        if let Some(version) = new.filter(|version| self.blobs.stat(version.module) != Some(version.module_bytes)) {
            let why = "the module of the new version is to be stored here before it is deployed".to_owned();
            return Err(Refusal::NoBlob { id: version.module, why });
        }
        self.write_services(std::slice::from_ref(&verified)).map_err(Refusal::ServiceNotKept)?;
        self.note_service(&verified);
        self.handle(Input::ServicesDeployed { records: vec![verified], by_user: true });
        Ok(name)
    }

    pub(crate) fn service_view(&self, name: &str, removed: bool) -> Result<ServiceView, Refusal> {
        let known = name.parse().ok().and_then(|name: ServiceName| self.peer.service_view(self.now(), &name));
        let wanted = known.filter(|view| removed || !view.is_removed());
        wanted.ok_or_else(|| Refusal::NoService(name.to_owned()))
    }

    fn write_services(&self, verified: &[VerifiedService]) -> Result<(), String> {
        if verified.is_empty() {
            return Ok(());
        }
        let path = path(&self.config.data_dir);
        let bytes = cbor::encode(&self.peer.services_with(verified));
        small_file::replace(&path, &bytes, 0o600).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn note_service(&self, verified: &VerifiedService) {
        let (record, signer) = (&verified.record, verified.signer);
        let (name, generation, version) = (record.name.to_string(), record.generation, record.current);
        tracing::info!(name, generation, version, ?signer, "the record of a service is in force");
        self.audit.note(Happening::ServiceDeployed { name, generation, version, signer });
    }

    fn note_service_refused(&self, from: Option<PeerId>, name: Option<String>, reason: String) {
        tracing::warn!(?from, ?name, reason, "the record of a service is refused");
        self.audit.note(Happening::ServiceRefused { from, name, reason });
    }

    // ── Modules ─────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn keep_module(&mut self, module: BlobId, bytes: u64, instances: u16) {
        self.executor.keep(module, instances);
        if let Some(Some(_)) = self.services.kept.get(&module) {
            return self.inputs.push_back(Input::ModuleKept { module, result: Ok(()) });
        }
        self.services.kept.insert(module, None);
        let holders = self.peer.holders_of(module);
        let (fetcher, store) = (self.fetcher.clone(), self.blobs.clone());
        self.beside.start(async move {
            let wanted = Wanted { id: module, bytes: Some(bytes), range: None, holders };
            let mut result = fetcher.fetch(wanted).await;
            if result.is_ok() {
                let synced = tokio::task::spawn_blocking(move || store.make_durable(&[module])).await;
                result = match synced {
                    Ok(synced) => synced.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
            }
            Done::ModuleHere { module, result }
        });
    }

    pub(super) fn on_module_here(&mut self, module: BlobId, mut result: Result<(), String>) {
        // It may not be wanted any more.
        let Some(kept) = self.services.kept.get_mut(&module) else { return };
        if result.is_ok() && kept.is_none() {
            match self.blobs.pin(module) {
                Ok(pin) => *kept = Some(pin),
                Err(error) => result = Err(error.to_string()),
            }
        }
        if let Err(why) = &result {
            tracing::warn!(%module, why, "the module of a service is not here");
        }
        self.handle(Input::ModuleKept { module, result });
    }

    pub(super) fn release_module(&mut self, module: BlobId) {
        self.services.kept.remove(&module);
        self.executor.keep(module, 0);
    }

    // ── Calls ───────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn call(&mut self, call: Call, reply: CallReply) {
        let Call { service, inputs, key, pinned, idempotency_key, deadline } = call;
        // The same key means another task of another service.
        let own_key = idempotency_key.map(|key| format!("{service}@{key}"));
        let task = match self.task_id(None, own_key.as_deref()) {
            Ok(task) => task,
            Err(refusal) => return drop(reply.send(Err(refusal))),
        };
        // Without a key each call is drawn for by itself.
        let drawn = key.as_deref().map_or(&task.0[..], str::as_bytes);
        let Some(version) = self.peer.call(self.clock.now(), &service, draw(&service, drawn)) else {
            return drop(reply.send(Err(Refusal::NoService(service.to_string()))));
        };
        let mut spec = version.task(&service, inputs, None);
        // A call that was made before got the version that it got then.
        let before = own_key.and_then(|_| self.peer.task(self.clock.now(), task));
        let before = before.and_then(|view| view.name.rsplit_once('@')?.1.parse().ok());
        let number = before.unwrap_or(version.number);
        spec.deadline = deadline;
        if let Err(refusal) = self.constrain(&mut spec, pinned.as_deref()) {
            return drop(reply.send(Err(refusal)));
        }
        if let Err(reply) = self.waiters.wait_called(task, number, reply) {
            return drop(reply.send(Err(Refusal::TooManyWaiters)));
        }
        self.pins.submitted(task, &spec);
        self.handle(Input::Called { task, service, version: number, spec: Box::new(spec) });
    }

    pub(super) fn answer_callers(&mut self, task: TaskId, result: &Result<TaskResult, TaskError>) {
        for (version, reply) in self.waiters.take_called(task) {
            let answer = match result {
                Ok(result) => {
                    let executor = self.peer.member(result.executor);
                    let executor = executor.map_or_else(|| result.executor.short(), |member| member.name);
                    Ok(Called { task, version, result: result.clone(), executor })
                }
                Err(error) => Err(Refusal::Task(error.clone())),
            };
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
    }
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

fn read(path: &Path) -> Vec<SignedService> {
    let without = "until a neighbour sends the services, there are none";
    small_file::read_or_set_aside(path, FILE_BYTES_MAX, cbor::decode, without).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use shoal_protocol::certificate::{Issuer, SecretKey};
    use shoal_protocol::service::ServiceRecord;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (dir, mesh_key) = (tempfile::tempdir().unwrap(), SecretKey::from_bytes(&[1; 32]));
        let record = ServiceRecord {
            mesh: mesh_key.mesh(),
            name: "ocr".parse().unwrap(),
            generation: 2,
            issued_unix_s: 0,
            versions: Vec::new(),
            current: 0,
            rollout: None,
        };
        let signed = SignedService::by_issuer(&record, &Issuer::of(&mesh_key));
        assert!(read(&path(dir.path())).is_empty());

        small_file::replace(&path(dir.path()), &cbor::encode(&vec![&signed]), 0o600).unwrap();

        assert_eq!(read(&path(dir.path())), [signed]);
    }
}
