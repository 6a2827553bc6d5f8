//! What did not go to a peer because of its labels: counted by rule, and in the audit log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use shoal_protocol::PeerId;
use shoal_protocol::audit::Happening;

use crate::audit::Audit;

/// Where denials are noted, by the driver and by those that serve blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Withheld {
    audit: Audit,
    /// By rule: there are four.
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Withheld {
    pub(super) fn new(audit: Audit) -> Self {
        Self { audit, counts: Arc::default() }
    }

    pub(super) fn note(&self, peer: PeerId, what: String, rule: &str, why: String) {
        tracing::info!(?peer, what, rule, why, "data is withheld");
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(rule.to_owned()).or_default() += 1;
        self.audit.note(Happening::Withheld { peer, what, rule: rule.to_owned(), why });
    }

    /// As counters are named.
    pub(super) fn counts(&self) -> Vec<(String, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |(rule, count): (&String, &u64)| (format!("shoal_policy_denials_total{{rule=\"{rule}\"}}"), *count);
        counts.iter().map(named).collect()
    }
}
