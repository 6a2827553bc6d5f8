//! What is signed for the mesh: business rules, and lists of those whose certificates are taken back.

use std::collections::BTreeSet;

use shoal_protocol::Input;
use shoal_protocol::certificate::{RevocationList, SignedRevocations};
use shoal_protocol::rules::{RuleSet, RulesError, SignedRules};

use crate::sim::{Sim, TODAY_UNIX_S};

impl Sim {
    /// Whoever signs for the mesh deploys business rules, and tells one peer so.
    pub fn deploy(&mut self, at: usize, set: RuleSet) -> Result<(), RulesError> {
        let set = RuleSet { mesh: self.common.mesh, issued_unix_s: TODAY_UNIX_S, ..set };
        let verified = Box::new(SignedRules::sign(&set, &self.common.issuer).verify(self.common.mesh)?);
        if let Some(node) = self.node_mut(at) {
            node.rules = Some(verified.clone());
        }
        self.give(at, Input::RulesDeployed(verified));
        Ok(())
    }

    /// Which version of the rules is in force at a peer.
    pub fn rules_version(&self, index: usize) -> Option<u64> {
        Some(self.peer(index)?.deployed().held()?.rules.set().version)
    }

    /// Whoever signs for the mesh takes its word back from these, and tells one peer so.
    pub fn revoke(&mut self, at: usize, list: &RevocationList) -> Option<SignedRevocations> {
        let signed = list.sign(&self.common.issuer);
        let verified = signed.clone().verify(self.common.mesh).ok()?;
        self.give(at, Input::Revoked(Box::new(verified)));
        Some(signed)
    }

    /// A list of nobody.
    pub fn first_revocations(&self) -> RevocationList {
        let (peers, issuers) = (BTreeSet::new(), BTreeSet::new());
        let mesh = self.common.mesh;
        RevocationList { mesh, version: 1, previous: [0; 32], issued_unix_s: TODAY_UNIX_S, peers, issuers }
    }
}
