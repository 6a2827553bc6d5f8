//! What an entry says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Hash;
use crate::certificate::Role;
use crate::id::{PeerId, TaskId};

/// One line of the log, without its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1, over all files of one log.
    pub seq: u64,
    /// When it was written, in milliseconds since 1970, by this machine's clock.
    pub at_unix_ms: u64,
    /// How often it happened since it was last written down; the same denials are counted, not repeated.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u64,
    /// What it was.
    #[serde(flatten)]
    pub happening: Happening,
    /// Of the line before; zeros where there was none.
    pub previous: Hash,
}

fn once() -> u64 {
    1
}

fn is_once(count: &u64) -> bool {
    *count == 1
}

/// Something that somebody may ask about later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happening {
    /// The daemon started.
    Started {
        /// Who it is.
        peer: PeerId,
        /// Its version.
        version: String,
        /// The BLAKE3 hash of its configuration.
        configuration: Hash,
    },
    /// It starts with another configuration than the last time that is in this file.
    Configured {
        /// Its hash.
        configuration: Hash,
        /// Every value by its key; what is secret is left out.
        values: BTreeMap<String, String>,
    },
    /// The daemon ended, as it was asked to.
    Stopped,
    /// A member connected that this log has not seen before.
    Joined {
        /// Who.
        peer: PeerId,
        /// By its certificate.
        name: String,
        /// By its certificate.
        role: Role,
    },
    /// A stranger was refused.
    Refused {
        /// Where it came from, or where it was dialled.
        address: String,
        /// Why, the last time.
        reason: String,
    },
    /// A request to the local API was denied.
    ApiDenied {
        /// Who asked, as far as that is known.
        who: String,
        /// Why, the last time.
        reason: String,
    },
    /// More was refused or denied than is written down one by one.
    MoreDenied,
    /// A peer or an issuer is a member no more.
    Revoked {
        /// Whose key.
        peer: PeerId,
        /// The version of the list that says so.
        version: u64,
    },
    /// Business rules are in force.
    RulesDeployed {
        /// Which set.
        version: u64,
        /// Which issuer has signed them.
        issuer: PeerId,
    },
    /// Business rules were refused: forged, or older than those in force.
    RulesRefused {
        /// Which neighbour sent them; a user here where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<PeerId>,
        /// Which set, where that is believed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// Why.
        reason: String,
    },
    /// Another record of a service is in force.
    ServiceDeployed {
        /// Which service.
        name: String,
        /// Which record.
        generation: u64,
        /// The version that is called; none of a service that was removed.
        version: u32,
        /// Whose key has signed it.
        signer: PeerId,
    },
    /// A record of a service was refused: forged, or older than the one in force.
    ServiceRefused {
        /// Which neighbour sent it; a user here where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<PeerId>,
        /// Which service, where that is believed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Why.
        reason: String,
    },
    /// A version of a service fails here, and is not called any more.
    ServiceHeldBack {
        /// Which service.
        name: String,
        /// Which version.
        version: u32,
        /// Calls of it that failed.
        failures: u64,
        /// All calls of it.
        calls: u64,
    },
    /// A member is not spoken to for a while.
    Banned {
        /// Who.
        peer: PeerId,
        /// For what.
        reason: String,
        /// For how long, in seconds.
        for_s: u64,
    },
    /// Two runs of one task gave different results.
    Mismatch {
        /// Which task.
        task: TaskId,
        /// Whose result was not believed.
        peer: PeerId,
    },
    /// A member sent what no honest one sends, and was cut off.
    Garbage {
        /// Who.
        peer: PeerId,
        /// What was wrong with it.
        reason: String,
    },
    /// Data did not go to a peer, because of its labels.
    Withheld {
        /// Whom it was for.
        peer: PeerId,
        /// What it was: a blob, or the kind of a message.
        what: String,
        /// Which part of the rule: `residency`, `site`, `version`, `ttl`.
        rule: String,
        /// The label at fault, the last time.
        why: String,
    },
    /// Something of what is kept on disk cannot be read.
    StoreDamaged {
        /// The task that it was about, where that is known.
        task: Option<TaskId>,
        /// What is wrong.
        why: String,
    },
    /// A statistic left within its privacy budget; a repeated answer is not noted again.
    StatisticReleased {
        /// Of which data set.
        dataset: String,
        /// The request.
        request: String,
        /// What was asked.
        query: String,
        /// Who asked: this peer for its own user.
        asker: PeerId,
        /// What it cost.
        epsilon: String,
        /// The same in ρ, where that is what is counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rho: Option<String>,
    },
    /// A statistic was asked for and did not leave.
    StatisticRefused {
        /// Of which data set.
        dataset: String,
        /// Who asked.
        asker: PeerId,
        /// Why not, the last time.
        why: String,
    },
    /// The log itself was not as it was left: what was there is set aside, and this is the first entry of what follows.
    LogDamaged {
        /// What is wrong with it.
        why: String,
    },
    /// So many happenings could not be written down: the disk was full, or they came too fast.
    Lost,
}

impl Happening {
    /// Whom a denial is about: those of one are counted together. None for what is not a denial, and is always written.
    pub fn denied(&self) -> Option<String> {
        match self {
            // Another port is not another stranger.
            Self::Refused { address, .. } => {
                Some(format!("refused {}", address.split("/udp/").next().unwrap_or(address)))
            }
            Self::ApiDenied { who, .. } => Some(format!("api {who}")),
            Self::Garbage { peer, .. } => Some(format!("garbage {peer}")),
            Self::StatisticRefused { dataset, asker, .. } => Some(format!("statistic {dataset} {asker}")),
            Self::Withheld { peer, rule, .. } => Some(format!("withheld {rule} {peer}")),
            Self::RulesRefused { from, version, .. } => Some(format!("rules {from:?} {}", version.is_some())),
            Self::ServiceRefused { from, name, .. } => Some(format!("service {from:?} {name:?}")),
            Self::MoreDenied => Some(String::new()),
            Self::Started { .. }
            | Self::Configured { .. }
            | Self::Stopped
            | Self::Joined { .. }
            | Self::Revoked { .. }
            | Self::RulesDeployed { .. }
            | Self::ServiceDeployed { .. }
            | Self::ServiceHeldBack { .. }
            | Self::Banned { .. }
            | Self::Mismatch { .. }
            | Self::StoreDamaged { .. }
            | Self::StatisticReleased { .. }
            | Self::LogDamaged { .. }
            | Self::Lost => None,
        }
    }
}
