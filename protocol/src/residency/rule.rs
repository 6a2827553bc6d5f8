//! The one rule: whether data with these labels may go to a peer.
//!
//! **Invariant:** read from the signed certificate only. A peer whose certificate does not say where it is gets nothing that
//! must be somewhere; one that is not known to understand labels gets nothing that has any.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use super::Labels;
use crate::certificate::Member;
use crate::sabotage::{self, Bug};

/// The label of a certificate that says in which region a peer is.
pub const RESIDENCY: &str = "residency";
/// The one that says at which site.
pub const SITE: &str = "site";

/// Who would get the data.
#[derive(Debug, Clone, Copy)]
pub struct Receiver<'a> {
    /// The labels of its certificate.
    pub certified: &'a BTreeMap<String, String>,
    /// Whether it has said that it enforces labels.
    pub understands: bool,
}

impl<'a> Receiver<'a> {
    /// A member.
    pub fn of(member: &'a Member, understands: bool) -> Self {
        Self { certified: &member.labels, understands }
    }
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// It would not enforce them: it runs a version that knows of none, or has not spoken yet.
    Unaware,
    /// It is in another region, or its certificate does not say in which.
    Region {
        /// Where the data may be.
        allowed: Vec<String>,
        /// Where it is.
        is: Option<String>,
    },
    /// The same of sites.
    Site {
        /// Where the data may be.
        allowed: Vec<String>,
        /// Where it is.
        is: Option<String>,
    },
}

impl Denial {
    /// Which part of the rule it is, for counters: one of [`Denial::RULES`].
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Unaware => "version",
            Self::Region { .. } => "residency",
            Self::Site { .. } => "site",
        }
    }

    /// All there are.
    pub const RULES: [&'static str; 3] = ["version", "residency", "site"];
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, allowed, is) = match self {
            Self::Unaware => return f.write_str("it has not said that it understands labels of data"),
            Self::Region { allowed, is } => (RESIDENCY, allowed, is),
            Self::Site { allowed, is } => (SITE, allowed, is),
        };
        let allowed = if allowed.is_empty() { "nowhere".to_owned() } else { allowed.join(",") };
        match is {
            Some(is) => write!(f, "the data is labelled {key}={allowed}, its certificate says {key}={is}"),
            None => write!(f, "the data is labelled {key}={allowed}, its certificate does not say {key}"),
        }
    }
}

/// Whether data with these labels may go there.
pub fn may_receive(labels: &Labels, receiver: Receiver<'_>) -> Result<(), Denial> {
    if labels.is_empty() || sabotage::is(Bug::DropResidencyCheck) {
        return Ok(());
    }
    if !receiver.understands {
        return Err(Denial::Unaware);
    }
    let is = |key: &str| receiver.certified.get(key);
    let is_outside = |allowed: &BTreeSet<String>, key: &str| is(key).is_none_or(|place| !allowed.contains(place));
    let named = |allowed: &BTreeSet<String>| allowed.iter().cloned().collect();
    if let Some(allowed) = labels.regions().filter(|allowed| is_outside(allowed, RESIDENCY)) {
        return Err(Denial::Region { allowed: named(allowed), is: is(RESIDENCY).cloned() });
    }
    if let Some(allowed) = labels.sites().filter(|allowed| is_outside(allowed, SITE)) {
        return Err(Denial::Site { allowed: named(allowed), is: is(SITE).cloned() });
    }
    Ok(())
}
