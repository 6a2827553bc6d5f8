//! What restricts where data may go, and for how long it may be anywhere.
//!
//! **Invariant:** a [`Labels`] that exists is within its bounds: those of peers are checked as they are read.

use core::fmt;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};

/// Regions, or sites, that one label names: a label is read for every candidate of every decision.
pub const PLACES_MAX: usize = 16;
/// Classes of one piece of data, those of everything that it was made of included.
pub const CLASSES_MAX: usize = 32;
/// A region, site or class, in bytes: four manifests together fit the header of a transfer.
pub const LABEL_BYTES_MAX: usize = 48;

/// The label that says of a place that it is a site, not a region.
const SITE_PREFIX: &str = "site:";

/// Why a label cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// It is no name.
    #[error("`{name}` is no {what}: use 1 to {LABEL_BYTES_MAX} letters, digits, `-`, `_` and `.`")]
    Name {
        /// `region`, `site` or `class`.
        what: &'static str,
        /// What was written.
        name: String,
    },
    /// There are too many.
    #[error("{count} {what} are named, {limit} may be")]
    TooMany {
        /// `regions`, `sites` or `classes`.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl LabelError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name { .. } => "write regions and sites as in `--residency eu,ch` or `--residency site:street-9`",
            Self::TooMany { .. } => "name fewer, or label the peers by larger regions",
        }
    }
}

/// What is said of data; nothing where it may go anywhere and stay for ever.
///
/// It goes with every task and every output, of most of which nothing is said: that takes a word, and no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "Written")]
pub struct Labels(Option<Box<Said>>);

/// Never all empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
struct Said {
    /// The regions it may be in; any where there is none. Where two labels leave none, it may go nowhere.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    regions: Option<BTreeSet<String>>,
    /// The sites it may be at; any where there is none.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    sites: Option<BTreeSet<String>>,
    /// What kind of data it is: `personal`.
    #[serde(rename = "c", skip_serializing_if = "BTreeSet::is_empty")]
    classes: BTreeSet<String>,
    /// It is not to be read from this date on, in seconds since 1970. A date, as certificates have them: it outlives peers.
    #[serde(rename = "x", skip_serializing_if = "Option::is_none")]
    expires_unix_s: Option<u64>,
}

/// The same as somebody wrote it.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "r", default)]
    regions: Option<BTreeSet<String>>,
    #[serde(rename = "s", default)]
    sites: Option<BTreeSet<String>>,
    #[serde(rename = "c", default)]
    classes: BTreeSet<String>,
    #[serde(rename = "x", default)]
    expires_unix_s: Option<u64>,
}

impl TryFrom<Written> for Labels {
    type Error = LabelError;

    fn try_from(written: Written) -> Result<Self, LabelError> {
        let Written { regions, sites, classes, expires_unix_s } = written;
        let said = Said { regions, sites, classes, expires_unix_s };
        said.check()?;
        Ok(Self::of(said))
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.said().serialize(serializer)
    }
}

/// What is said of data of which nothing is.
static NOTHING: Said = Said { regions: None, sites: None, classes: BTreeSet::new(), expires_unix_s: None };

impl Labels {
    fn of(said: Said) -> Self {
        Self((said != NOTHING).then(|| Box::new(said)))
    }

    fn said(&self) -> &Said {
        self.0.as_deref().unwrap_or(&NOTHING)
    }

    fn into_said(self) -> Said {
        self.0.map(|said| *said).unwrap_or_default()
    }

    /// Data that may be at these places only: `eu`, or `site:street-9`. Where both are named, both must be so.
    pub fn residing<'a>(places: impl IntoIterator<Item = &'a str>) -> Result<Self, LabelError> {
        let mut said = Said::default();
        for place in places.into_iter().map(str::trim) {
            match place.strip_prefix(SITE_PREFIX) {
                Some(site) => said.sites.get_or_insert_default().insert(site.to_owned()),
                None => said.regions.get_or_insert_default().insert(place.to_owned()),
            };
        }
        said.check()?;
        Ok(Self::of(said))
    }

    /// The same data, which is of these kinds.
    pub fn of_classes<'a>(self, classes: impl IntoIterator<Item = &'a str>) -> Result<Self, LabelError> {
        let mut said = self.into_said();
        said.classes.extend(classes.into_iter().map(|class| class.trim().to_owned()));
        said.check()?;
        Ok(Self::of(said))
    }

    /// The same data, which is not to be read from a date on.
    #[must_use]
    pub fn until(self, unix_s: u64) -> Self {
        let mut said = self.into_said();
        said.expires_unix_s = Some(said.expires_unix_s.map_or(unix_s, |before| before.min(unix_s)));
        Self::of(said)
    }

    /// Data of which nothing is known any more: it goes nowhere.
    pub fn sealed() -> Self {
        Self::of(Said { regions: Some(BTreeSet::new()), ..Said::default() })
    }

    /// Whether nothing is said: it may go anywhere, also to peers that know nothing of labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether it may not be everywhere.
    pub fn is_bound(&self) -> bool {
        self.said().regions.is_some() || self.said().sites.is_some()
    }

    /// Whether its time is over.
    pub fn is_over(&self, now_unix_s: u64) -> bool {
        self.expires_unix_s().is_some_and(|expires| expires <= now_unix_s)
    }

    /// When its time is over.
    pub fn expires_unix_s(&self) -> Option<u64> {
        self.said().expires_unix_s
    }

    /// What kinds of data it is.
    pub fn classes(&self) -> &BTreeSet<String> {
        &self.said().classes
    }

    /// The regions it may be in; any where there is none.
    pub fn regions(&self) -> Option<&BTreeSet<String>> {
        self.said().regions.as_ref()
    }

    /// The sites it may be at; any where there is none.
    pub fn sites(&self) -> Option<&BTreeSet<String>> {
        self.said().sites.as_ref()
    }

    /// Where it may be, as [`Labels::residing`] reads it.
    pub fn places(&self) -> Vec<String> {
        let sites = self.sites().into_iter().flatten().map(|site| format!("{SITE_PREFIX}{site}"));
        self.regions().into_iter().flatten().cloned().chain(sites).collect()
    }

    /// Adds what is said of other data: what comes of both may go where both may, and is both.
    pub fn join(&mut self, other: &Self) {
        let Some(theirs) = &other.0 else { return };
        let mut said = core::mem::take(self).into_said();
        both(&mut said.regions, theirs.regions.as_ref());
        both(&mut said.sites, theirs.sites.as_ref());
        said.classes.extend(theirs.classes.iter().cloned());
        if said.classes.len() > CLASSES_MAX {
            // Not one of them may be forgotten, and no more can be said: it stays where it is.
            said.regions = Some(BTreeSet::new());
            said.classes = core::mem::take(&mut said.classes).into_iter().take(CLASSES_MAX).collect();
        }
        if let Some(expires) = theirs.expires_unix_s {
            said.expires_unix_s = Some(said.expires_unix_s.map_or(expires, |before| before.min(expires)));
        }
        *self = Self::of(said);
    }

    /// The labels of what a run wrote that read data of these labels: all of them. Only a declared export, which is no run, lifts
    /// them (`pipeline/run/ending.rs`, `exported`).
    #[must_use]
    pub fn of_output(read: &Self) -> Self {
        read.clone()
    }
}

impl Said {
    fn check(&self) -> Result<(), LabelError> {
        let nothing = BTreeSet::new();
        for (what, whats, names, limit) in [
            ("region", "regions", self.regions.as_ref().unwrap_or(&nothing), PLACES_MAX),
            ("site", "sites", self.sites.as_ref().unwrap_or(&nothing), PLACES_MAX),
            ("class", "classes", &self.classes, CLASSES_MAX),
        ] {
            if names.len() > limit {
                return Err(LabelError::TooMany { what: whats, count: names.len(), limit });
            }
            if let Some(name) = names.iter().find(|name| !is_name(name)) {
                return Err(LabelError::Name { what, name: name.chars().take(LABEL_BYTES_MAX).collect() });
            }
        }
        Ok(())
    }
}

/// What both allow; what says nothing allows all.
fn both(ours: &mut Option<BTreeSet<String>>, theirs: Option<&BTreeSet<String>>) {
    let Some(theirs) = theirs else { return };
    match ours {
        Some(ours) => ours.retain(|place| theirs.contains(place)),
        None => *ours = Some(theirs.clone()),
    }
}

fn is_name(name: &str) -> bool {
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= LABEL_BYTES_MAX && name.bytes().all(is_of_a_name)
}

/// `residency=eu,us site=street-9 class=personal`, as far as something is said.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let places = |names: &BTreeSet<String>| if names.is_empty() { "nowhere".to_owned() } else { list(names) };
        let regions = self.regions().map(|regions| format!("residency={}", places(regions)));
        let sites = self.sites().map(|sites| format!("site={}", places(sites)));
        let classes = (!self.classes().is_empty()).then(|| format!("class={}", list(self.classes())));
        let expires = self.expires_unix_s().map(|expires| format!("until={expires}"));
        let said: Vec<String> = [regions, sites, classes, expires].into_iter().flatten().collect();
        f.write_str(&said.join(" "))
    }
}
