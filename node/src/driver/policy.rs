//! The business rules: verified, written down, and then put in force.
//!
//! **Invariant:** a set is on disk before it is in force, and an earlier one never replaces a later one, also over a restart.
//! **Not here:** what rules say and how they spread. The protocol decides that.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use shoal_protocol::api::policy::PolicyView;
use shoal_protocol::audit::Happening;
use shoal_protocol::rules::{RULES_BYTES_MAX, RulesError, SignedRules, VerifiedRules};
use shoal_protocol::{Input, PeerId};

use super::beside::Done;
use super::handle::Refusal;
use super::{Driver, unix_time};
use crate::small_file;

const FILE_NAME: &str = "policy.cbor";
/// A file beyond this was not written by us: the rules, and two signatures.
const FILE_BYTES_MAX: u64 = 2 * RULES_BYTES_MAX as u64;
/// The peer is told the date this often; its own clock goes on in between.
const DATE_EVERY_S: u64 = 60;

/// What the driver remembers of rules.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// Since when the rules in force are so here, in seconds since 1970.
    in_force_unix_s: Option<u64>,
    dated_unix_s: u64,
}

impl Driver {
    /// Those from the last run, before anybody is heard.
    pub(super) fn begin_policy(&mut self) {
        self.tell_the_date();
        let path = path(&self.config.data_dir);
        let Some((signed, written_unix_s)) = read(&path) else { return };
        match signed.verify(self.identity.mesh) {
            Ok(verified) => {
                self.handle(Input::RulesDeployed(Box::new(verified)));
                self.rules_changed(written_unix_s);
            }
            Err(error) => tracing::error!(file = %path.display(), %error, "the business rules are not believed"),
        }
    }

    /// Each second: some rules hold at some hours.
    pub(super) fn tell_the_date(&mut self) {
        let unix_s = unix_time().as_secs();
        if unix_s.abs_diff(self.policy.dated_unix_s) >= DATE_EVERY_S {
            self.policy.dated_unix_s = unix_s;
            self.handle(Input::DateTold { unix_s });
        }
    }

    /// Two signatures are too slow for the loop.
    pub(super) fn verify_rules(&self, from: PeerId, signed: SignedRules) {
        let mesh = self.identity.mesh;
        self.beside.start(async move {
            let verified = tokio::task::spawn_blocking(move || signed.verify(mesh)).await;
            match verified {
                Ok(result) => Done::RulesJudged { from, result: result.map(Box::new) },
                Err(_) => Done::Answered,
            }
        });
    }

    pub(super) fn on_rules_judged(&mut self, from: PeerId, result: Result<Box<VerifiedRules>, RulesError>) {
        let accepted = result.map_err(|error| self.note_refused(Some(from), None, error.to_string())).ok();
        let kept = accepted.filter(|verified| self.peer.would_replace(verified)).filter(|verified| {
            let written = self.write_rules(verified);
            written.inspect_err(|why| tracing::error!(why, "new business rules are not in force here")).is_ok()
        });
        let version = kept.as_ref().map(|verified| (verified.set.version, verified.signer));
        self.handle(Input::RulesVerified(kept));
        if let Some((version, issuer)) = version {
            self.note_deployed(version, issuer);
        }
    }

    /// Rules that a user of this peer hands in; believed like any other.
    pub(super) fn deploy(&mut self, signed: SignedRules) -> Result<(), Refusal> {
        let verified = signed.verify(self.identity.mesh).inspect_err(|error| {
            self.note_refused(None, None, error.to_string());
        })?;
        let (version, issuer) = (verified.set.version, verified.signer);
        if !self.peer.would_replace(&verified) {
            let held = self.peer.deployed().held().map_or(0, |held| held.rules.set().version);
            let refusal = Refusal::OldRules { version, held };
            self.note_refused(None, Some(version), refusal.to_string());
            return Err(refusal);
        }
        self.write_rules(&verified).map_err(Refusal::RulesNotKept)?;
        self.handle(Input::RulesDeployed(Box::new(verified)));
        self.note_deployed(version, issuer);
        Ok(())
    }

    pub(crate) fn policy(&self) -> PolicyView {
        PolicyView::of(self.peer.deployed().held(), self.policy.in_force_unix_s)
    }

    fn write_rules(&self, verified: &VerifiedRules) -> Result<(), String> {
        let path = path(&self.config.data_dir);
        small_file::replace(&path, &verified.signed.to_bytes(), 0o600)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    fn note_deployed(&mut self, version: u64, issuer: PeerId) {
        tracing::info!(version, ?issuer, "business rules are in force");
        self.audit.note(Happening::RulesDeployed { version, issuer });
        self.rules_changed(unix_time().as_secs());
    }

    fn note_refused(&self, from: Option<PeerId>, version: Option<u64>, reason: String) {
        tracing::warn!(?from, version, reason, "business rules are refused");
        self.audit.note(Happening::RulesRefused { from, version, reason });
    }

    fn rules_changed(&mut self, since_unix_s: u64) {
        self.policy.in_force_unix_s = Some(since_unix_s);
        let set = self.peer.deployed().held().map(|held| held.rules.set());
        let bytes_per_s =
            |share: Option<f64>| share.map(|share| (share * self.config.uplink_bits_per_s as f64 / 8.0) as u64);
        let (wan, link) = (set.and_then(|set| set.wan_share), set.and_then(|set| set.link_share));
        self.lanes.cap(bytes_per_s(wan), bytes_per_s(link));
    }
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

/// What is there, and since when; nothing where there is no file.
fn read(path: &Path) -> Option<(SignedRules, u64)> {
    let without = "until a neighbour sends the business rules, none are in force";
    let signed = small_file::read_or_set_aside(path, FILE_BYTES_MAX, SignedRules::from_bytes, without)?;
    let written = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since_1970 = written.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Some((signed, since_1970.as_secs()))
}

#[cfg(test)]
mod tests {
    use shoal_protocol::certificate::{Issuer, SecretKey};
    use shoal_protocol::rules::RuleSet;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (dir, mesh_key) = (tempfile::tempdir().unwrap(), SecretKey::from_bytes(&[1; 32]));
        let set = RuleSet {
            mesh: mesh_key.mesh(),
            version: 1,
            issued_unix_s: 0,
            utc_offset_min: 0,
            wan_share: Some(0.5),
            link_share: None,
            rules: Vec::new(),
        };
        let signed = SignedRules::sign(&set, &Issuer::of(&mesh_key));
        assert!(read(&path(dir.path())).is_none());

        small_file::replace(&path(dir.path()), &signed.to_bytes(), 0o600).unwrap();
        let (found, written_unix_s) = read(&path(dir.path())).unwrap();

        assert_eq!(found, signed);
        assert!(written_unix_s > 1_700_000_000);
    }
}
