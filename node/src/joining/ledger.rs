//! What this peer has promised and what it has signed: open invitations, and one line for each member.
//!
//! ```text
//! invited ─► used by key K (and signed, in the same step) ─► used up │ expired ─(a day)─► forgotten
//! ```
//!
//! **Invariant:** a change is on disk, all of it or nothing, before anybody acts on it; what is kept is bounded.
//! **Not here:** keys. What is signed is signed by `issuer.rs`; of an invitation's secret only the key for proofs is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shoal_protocol::api::MemberView;
use shoal_protocol::certificate::joining::{InvitationId, ProofKey, Refused};
use shoal_protocol::certificate::{MemberCertificate, Role};
use shoal_protocol::config::NAME_BYTES_MAX;
use shoal_protocol::{MeshId, PeerId, cbor};

use super::CLOCK_SKEW_S;
use crate::small_file;

/// Invitations that are kept, used and expired ones included.
pub(crate) const INVITATIONS_MAX: usize = 1_024;
/// Machines one ticket may be for.
pub(crate) const USES_MAX: u32 = 1_000;
/// Longest a ticket may be of use, in seconds: a month.
pub(crate) const TTL_S_MAX: u64 = 31 * 24 * 3_600;
/// Members that are remembered: each is a few hundred bytes of a file that is written as a whole.
const ISSUED_MAX: usize = 16_384;
/// An invitation is still known a day after its end, so that who comes too late is told so.
const EXPIRED_KNOWN_S: u64 = 24 * 3_600;
/// A member whose certificate ended this long ago has to be invited anew.
const LAPSED_KNOWN_S: u64 = 90 * 24 * 3_600;
/// How long a certificate is valid when nobody says otherwise: 30 days.
pub(crate) const LIFE_S: u64 = 30 * 24 * 3_600;
/// Longest one may be asked for: ten years.
pub(crate) const LIFE_S_MAX: u64 = 3_650 * 24 * 3_600;
/// A file beyond this was not written by us.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
pub(crate) const FILE_NAME: &str = "issued.cbor";

/// An invitation as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Open {
    #[serde(rename = "i")]
    pub(super) id: InvitationId,
    #[serde(rename = "p", with = "proof_key")]
    pub(super) proof_key: ProofKey,
    #[serde(rename = "r")]
    pub(super) role: Role,
    #[serde(rename = "l", default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(rename = "n", default)]
    pub(super) name: Option<String>,
    #[serde(rename = "t")]
    pub(super) expires_unix_s: u64,
    #[serde(rename = "u")]
    pub(super) uses: u32,
    #[serde(rename = "k", default)]
    pub(super) used: Vec<PeerId>,
    #[serde(rename = "y", default)]
    pub(super) approve: bool,
    #[serde(rename = "d")]
    pub(super) life_s: u64,
}

mod proof_key {
    use serde::{Deserializer, Serializer};
    use shoal_protocol::certificate::joining::ProofKey;
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(key: &ProofKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&*key.to_bytes())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ProofKey, D::Error> {
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(serde_bytes::deserialize(deserializer)?);
        Ok(ProofKey::from_bytes(*bytes))
    }
}

/// What was last signed for a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Issued {
    #[serde(rename = "k")]
    pub(crate) peer: PeerId,
    #[serde(rename = "n")]
    pub(crate) name: String,
    #[serde(rename = "r")]
    pub(crate) role: Role,
    #[serde(rename = "l", default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(rename = "f")]
    pub(crate) not_before_unix_s: u64,
    #[serde(rename = "t")]
    pub(crate) expires_unix_s: u64,
    #[serde(rename = "i")]
    pub(crate) serial: u64,
    /// How long each of its certificates is valid, unless the issuer ends earlier.
    #[serde(rename = "d")]
    pub(crate) life_s: u64,
    /// The invitation it came with; none when it was admitted by hand.
    #[serde(rename = "v", default)]
    pub(crate) invitation: Option<InvitationId>,
}

impl Issued {
    /// What is known of a member that was admitted otherwise.
    pub(crate) fn of(shown: &MemberCertificate) -> Self {
        let signed = signed_unix_s(shown.not_before_unix_s, shown.expires_unix_s);
        Self {
            peer: shown.peer,
            name: shown.name.clone(),
            role: shown.role,
            labels: shown.labels.clone(),
            not_before_unix_s: shown.not_before_unix_s,
            expires_unix_s: shown.expires_unix_s,
            serial: shown.serial,
            life_s: (shown.expires_unix_s - signed).clamp(1, LIFE_S_MAX),
            invitation: None,
        }
    }

    pub(super) fn certificate(&self, mesh: MeshId) -> MemberCertificate {
        MemberCertificate {
            mesh,
            peer: self.peer,
            name: self.name.clone(),
            role: self.role,
            labels: self.labels.clone(),
            not_before_unix_s: self.not_before_unix_s,
            expires_unix_s: self.expires_unix_s,
            serial: self.serial,
        }
    }

    pub(super) fn view(&self) -> MemberView {
        MemberView {
            peer: self.peer,
            name: self.name.clone(),
            role: self.role,
            labels: self.labels.clone(),
            expires_unix_s: self.expires_unix_s,
        }
    }

    /// Certificates of one peer in the order they were signed in.
    pub(crate) fn order(&self) -> (u64, u64) {
        (self.not_before_unix_s, self.serial)
    }

    pub(super) fn is_fresh(&self, now_unix_s: u64) -> bool {
        now_unix_s < renewal_due_unix_s(self.not_before_unix_s, self.expires_unix_s)
    }
}

/// When two thirds of a certificate's life are over; it is valid from a little before it was signed.
pub(crate) fn renewal_due_unix_s(not_before_unix_s: u64, expires_unix_s: u64) -> u64 {
    expires_unix_s - (expires_unix_s - signed_unix_s(not_before_unix_s, expires_unix_s)) / 3
}

/// When a certificate was signed, as far as its dates tell; no later than its end.
pub(crate) fn signed_unix_s(not_before_unix_s: u64, expires_unix_s: u64) -> u64 {
    not_before_unix_s.saturating_add(CLOCK_SKEW_S).min(expires_unix_s)
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(super) invitations: BTreeMap<InvitationId, Open>,
    pub(super) issued: BTreeMap<PeerId, Issued>,
}

/// Why it cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl LedgerError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::File { path, .. } => format!("check the owner and mode of {}, and the disk", path.display()),
            Self::Damaged { path, .. } => format!(
                "restore {0} from a backup; or remove it: invitations are gone then, and members keep their certificates",
                path.display()
            ),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Contents {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "o")]
    invitations: Vec<Open>,
    #[serde(rename = "i")]
    issued: Vec<Issued>,
}

const VERSION: u8 = 1;

impl Ledger {
    pub(super) fn load(dir: &Path) -> Result<Self, LedgerError> {
        let path = dir.join(FILE_NAME);
        let damaged = |why: String| LedgerError::Damaged { path: path.clone(), why };
        let bytes = match small_file::read(&path, FILE_BYTES_MAX) {
            Ok(Some(bytes)) => zeroize::Zeroizing::new(bytes),
            Ok(None) => return Ok(Self::default()),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(damaged(error.to_string())),
            Err(source) => return Err(LedgerError::File { doing: "read", path, source }),
        };
        let contents: Contents = cbor::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
        if contents.version != VERSION {
            return Err(damaged(format!("its version is {}, and this release reads {VERSION}", contents.version)));
        }
        Ok(Self {
            invitations: contents.invitations.into_iter().map(|open| (open.id, open)).collect(),
            issued: contents.issued.into_iter().map(|issued| (issued.peer, issued)).collect(),
        })
    }

    /// Returns when it is on disk.
    pub(super) fn save(&self, dir: &Path) -> Result<(), LedgerError> {
        let path = dir.join(FILE_NAME);
        let contents = Contents {
            version: VERSION,
            invitations: self.invitations.values().cloned().collect(),
            issued: self.issued.values().cloned().collect(),
        };
        let bytes = zeroize::Zeroizing::new(cbor::encode(&contents));
        small_file::replace(&path, &bytes, 0o600).map_err(|source| LedgerError::File { doing: "write", path, source })
    }

    pub(super) fn forget_old(&mut self, now_unix_s: u64) {
        self.invitations.retain(|_, open| now_unix_s < open.expires_unix_s.saturating_add(EXPIRED_KNOWN_S));
        self.issued.retain(|_, issued| now_unix_s < issued.expires_unix_s.saturating_add(LAPSED_KNOWN_S));
    }

    /// Takes an invitation in; false when there are as many as there may be.
    pub(super) fn invite(&mut self, open: Open, now_unix_s: u64) -> bool {
        self.forget_old(now_unix_s);
        if self.invitations.len() >= INVITATIONS_MAX {
            // What cannot be used any more is known only for the sake of a better word.
            self.invitations.retain(|_, open| now_unix_s < open.expires_unix_s && open.used.len() < open.uses as usize);
        }
        let has_room = self.invitations.len() < INVITATIONS_MAX;
        if has_room {
            self.invitations.insert(open.id, open);
        }
        has_room
    }

    /// The invitation a machine may come in by, now.
    pub(super) fn usable(&self, id: InvitationId, peer: PeerId, now_unix_s: u64) -> Result<&Open, Refused> {
        let open = self.invitations.get(&id).ok_or(Refused::Unknown)?;
        if now_unix_s >= open.expires_unix_s {
            return Err(Refused::Expired { ago_s: now_unix_s - open.expires_unix_s });
        }
        // Whoever has used it may not have heard the answer.
        if !open.used.contains(&peer) && open.used.len() >= open.uses as usize {
            return Err(Refused::Used);
        }
        Ok(open)
    }

    /// Notes that a key has used an invitation, and what is signed for it.
    pub(super) fn admit(
        &mut self,
        id: InvitationId,
        peer: PeerId,
        wish: Option<&str>,
        now_unix_s: u64,
        issuer_ends_unix_s: u64,
    ) -> Result<Issued, Refused> {
        let open = self.usable(id, peer, now_unix_s)?.clone();
        if self.issued.len() >= ISSUED_MAX && !self.issued.contains_key(&peer) {
            return Err(Refused::Trouble { why: format!("it has signed for {ISSUED_MAX} peers already") });
        }
        // Whoever asks again gets what it was given, with the labels it has by now.
        if let Some(issued) = self.issued.get(&peer).filter(|issued| issued.invitation == Some(id)).cloned() {
            return Ok(if issued.is_fresh(now_unix_s) {
                issued
            } else {
                self.sign_anew(issued, now_unix_s, issuer_ends_unix_s)
            });
        }
        if let Some(kept) = self.invitations.get_mut(&id).filter(|open| !open.used.contains(&peer)) {
            kept.used.push(peer);
        }
        let issued = Issued {
            peer,
            name: self.free_name(open.name.as_deref().or(wish).unwrap_or("peer"), peer),
            role: open.role,
            labels: open.labels,
            not_before_unix_s: 0,
            expires_unix_s: 0,
            serial: 0,
            life_s: open.life_s,
            invitation: Some(id),
        };
        Ok(self.sign_anew(issued, now_unix_s, issuer_ends_unix_s))
    }

    /// Gives it new dates and a new number, and notes it.
    pub(super) fn sign_anew(&mut self, issued: Issued, now_unix_s: u64, issuer_ends_unix_s: u64) -> Issued {
        let before = self.issued.get(&issued.peer).unwrap_or(&issued);
        let last_serial = self.issued.values().map(|issued| issued.serial).max().unwrap_or(0);
        let issued = Issued {
            // Later than any before, so that everybody can tell which is the newer.
            not_before_unix_s: now_unix_s.saturating_sub(CLOCK_SKEW_S).max(before.not_before_unix_s.saturating_add(1)),
            expires_unix_s: now_unix_s.saturating_add(issued.life_s).min(issuer_ends_unix_s),
            serial: now_unix_s.max(last_serial.saturating_add(1)),
            ..issued
        };
        self.issued.insert(issued.peer, issued.clone());
        issued
    }

    /// The wanted name, with a number behind it where another peer has it.
    fn free_name(&self, wanted: &str, peer: PeerId) -> String {
        let is_free = |name: &str| self.issued.values().all(|issued| issued.peer == peer || issued.name != name);
        // What a stranger calls itself is shown to people who decide on it: no line of its own, and no colours.
        let wanted: String = wanted.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let wanted = shorten(&wanted, NAME_BYTES_MAX);
        if is_free(wanted) {
            return wanted.to_owned();
        }
        let numbered = |number: usize| {
            let tail = format!("-{number}");
            format!("{}{tail}", shorten(wanted, NAME_BYTES_MAX - tail.len()))
        };
        // One of them is free: there are fewer members than numbers.
        (2..=ISSUED_MAX + 2).map(numbered).find(|name| is_free(name)).unwrap_or_else(|| peer.short())
    }
}

/// The longest beginning that has at most so many bytes.
fn shorten(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use shoal_protocol::certificate::joining::InvitationSecret;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const END: u64 = NOW + 90 * 24 * 3_600;

    fn open(seed: u8, uses: u32) -> Open {
        let secret = InvitationSecret::from_bytes([seed; 16]);
        Open {
            id: secret.invitation(),
            proof_key: secret.proof_key(),
            role: Role::Edge,
            labels: BTreeMap::from([("site".into(), "a".into())]),
            name: None,
            expires_unix_s: NOW + 100,
            uses,
            used: Vec::new(),
            approve: false,
            life_s: LIFE_S,
        }
    }

    fn ledger_with(open: Open) -> (Ledger, InvitationId) {
        let (mut ledger, id) = (Ledger::default(), open.id);
        assert!(ledger.invite(open, NOW));
        (ledger, id)
    }

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    #[test]
    fn a_ticket_makes_as_many_members_as_it_says_and_each_may_ask_again() {
        let (mut ledger, id) = ledger_with(open(1, 2));

        let first = ledger.admit(id, peer(1), Some("cam"), NOW, END).unwrap();
        ledger.admit(id, peer(2), Some("nas"), NOW, END).unwrap();

        assert_eq!((first.name.as_str(), first.expires_unix_s), ("cam", NOW + LIFE_S));
        assert_eq!(ledger.admit(id, peer(3), None, NOW, END), Err(Refused::Used));
        let relabelled = Issued { labels: BTreeMap::new(), ..first };
        let relabelled = ledger.sign_anew(relabelled, NOW + 1, END);
        assert_eq!(ledger.admit(id, peer(1), Some("other"), NOW + 2, END), Ok(relabelled), "it undoes nothing");
        assert_eq!(ledger.issued.len(), 2);
    }

    #[test]
    fn what_expired_or_was_never_there_is_refused() {
        let (mut ledger, id) = ledger_with(open(1, 1));

        assert_eq!(ledger.admit(id, peer(1), None, NOW + 107, END), Err(Refused::Expired { ago_s: 7 }));
        assert_eq!(ledger.admit(open(2, 1).id, peer(1), None, NOW, END), Err(Refused::Unknown));
        ledger.forget_old(NOW + 100 + EXPIRED_KNOWN_S);
        assert!(ledger.invitations.is_empty());
    }

    #[test]
    fn nothing_outlives_its_issuer() {
        let (mut ledger, id) = ledger_with(open(1, 1));

        assert_eq!(ledger.admit(id, peer(1), None, NOW, NOW + 50).unwrap().expires_unix_s, NOW + 50);
    }

    #[test]
    fn two_peers_never_get_one_name() {
        let wide = "ü".repeat(NAME_BYTES_MAX);
        let (mut ledger, id) = ledger_with(open(1, 9));
        assert_eq!(ledger.free_name("nas\u{1b}[8m\n9", peer(9)), "nas?[8m?9");
        let mut name = |n: u8, wish: &str| ledger.admit(id, peer(n), Some(wish), NOW, END).unwrap().name;

        assert_eq!([name(1, "cam"), name(2, "cam"), name(3, "cam")], ["cam", "cam-2", "cam-3"]);
        let (first, second) = (name(4, &wide), name(5, &wide));
        assert_ne!(first, second);
        assert!(first.len() <= NAME_BYTES_MAX && second.len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn what_is_written_is_read_and_only_its_owner_can() {
        let dir = tempfile::tempdir().unwrap();
        let (mut ledger, id) = ledger_with(open(77, 1));
        let issued = ledger.admit(id, peer(1), Some("cam"), NOW, END).unwrap();
        ledger.save(dir.path()).unwrap();

        let mut read = Ledger::load(dir.path()).unwrap();

        assert_eq!(read.issued.get(&peer(1)), Some(&issued));
        assert_eq!(read.admit(id, peer(2), None, NOW, END), Err(Refused::Used), "also after a restart");
        let mode = std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let bytes = std::fs::read(dir.path().join(FILE_NAME)).unwrap();
        assert!(!bytes.windows(16).any(|bytes| bytes == [77; 16]), "the secret itself is nowhere");
    }

    #[test]
    fn a_damaged_ledger_is_no_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), b"rubbish").unwrap();

        assert!(matches!(Ledger::load(dir.path()), Err(LedgerError::Damaged { .. })));
    }

    #[test]
    fn invitations_are_bounded_and_those_of_no_use_make_room() {
        let (mut ledger, _) = ledger_with(Open { used: vec![peer(1)], ..open(0, 1) });
        for n in 1..INVITATIONS_MAX {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
            bytes[15] = 1;
            let secret = InvitationSecret::from_bytes(bytes);
            assert!(ledger.invite(Open { id: secret.invitation(), ..open(0, 1) }, NOW));
        }

        assert!(ledger.invite(open(200, 1), NOW), "the used one goes");
        assert!(!ledger.invite(open(201, 1), NOW));
        assert!(ledger.invite(open(201, 1), NOW + 100), "the expired ones go");
    }

    #[test]
    fn a_certificate_is_due_when_two_thirds_of_its_life_are_over() {
        assert_eq!(renewal_due_unix_s(NOW - CLOCK_SKEW_S, NOW + 30), NOW + 20);
        assert_eq!(renewal_due_unix_s(NOW, NOW + 10), NOW + 10, "shorter than clocks may differ");
        assert!(renewal_due_unix_s(0, u64::MAX) > NOW);
    }
}
