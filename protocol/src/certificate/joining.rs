//! How a machine that has a ticket becomes a member, and how a member gets its next certificate: what both sides say.
//!
//! ```text
//! joiner ── JoinRequest: which invitation, and a proof of its secret ──► inviter
//!        ◄── Waiting (a person decides) ── Welcome: certificate, where peers are │ Refused ──
//! member ── Papers::Ask ──► issuer ── Papers::Certificate │ Papers::Refused ──► member
//! ```
//!
//! **Invariant:** the secret of an invitation never travels but inside its ticket: a joiner shows that it has it by a MAC
//! over this very handshake, so that what an onlooker hears is worth nothing in another.
//! **Not here:** the handshakes, the files, and who decides.

use core::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Chain;
use crate::id::PeerId;

/// Entropy of an invitation: nobody guesses it while the ticket is valid, nor afterwards.
pub const SECRET_BYTES: usize = 16;
/// What tells an invitation from others.
pub const INVITATION_ID_BYTES: usize = 16;
/// What a joiner writes before its first word, for the inviter to know it by.
pub const LOCATOR_BYTES: usize = 8;
/// A request to join.
pub const JOIN_REQUEST_BYTES_MAX: usize = 1024;
/// An answer to one, and papers of members: a certificate with the most labels allowed is under 10 KiB.
pub const PAPERS_BYTES_MAX: usize = 32 * 1024;
/// Time a person has to approve a joiner.
pub const APPROVAL_MAX_S: u64 = 600;
/// What both sides of a handshake derive from its secrets, and nobody else can (RFC 8446, 7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER shoal join";
/// Bytes of that.
pub const EXPORTER_BYTES: usize = 32;

/// The secret of one invitation. Wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl InvitationSecret {
    /// The secret made of these bytes of entropy.
    pub fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// The name of the invitation, which says nothing about the secret.
    pub fn invitation(&self) -> InvitationId {
        let derived = blake3::derive_key("shoal 2026-11 invitation id", &*self.0);
        let mut id = [0; INVITATION_ID_BYTES];
        id.copy_from_slice(&derived[..INVITATION_ID_BYTES]);
        InvitationId(id)
    }

    /// What the inviter keeps to check proofs with.
    pub fn proof_key(&self) -> ProofKey {
        ProofKey(Zeroizing::new(blake3::derive_key("shoal 2026-11 invitation proof", &*self.0)))
    }
}

impl fmt::Debug for InvitationSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationSecret(..)")
    }
}

/// The name of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InvitationId(#[serde(with = "serde_bytes")] pub [u8; INVITATION_ID_BYTES]);

impl InvitationId {
    /// Its first bytes. Whoever holds a ticket begins its handshake with them; to anybody else the inviter is no inviter.
    pub fn locator(&self) -> [u8; LOCATOR_BYTES] {
        let mut first = [0; LOCATOR_BYTES];
        first.copy_from_slice(&self.0[..LOCATOR_BYTES]);
        first
    }
}

impl fmt::Display for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Makes and checks proofs that somebody has the secret of one invitation. Wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ProofKey(Zeroizing<[u8; 32]>);

impl ProofKey {
    /// The key as it was kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes to keep in a file that only its owner can read.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// Proves it to the other side of the handshake that `exported` comes from, for a node key and the name it wishes for.
    pub fn prove(&self, exported: &[u8; EXPORTER_BYTES], joiner: PeerId, name: Option<&str>) -> Proof {
        Proof(*self.mac(exported, joiner, name).as_bytes())
    }

    /// Whether that was proven; takes as long for a wrong proof as for a right one.
    pub fn accepts(&self, proof: &Proof, exported: &[u8; EXPORTER_BYTES], joiner: PeerId, name: Option<&str>) -> bool {
        self.mac(exported, joiner, name) == proof.0
    }

    fn mac(&self, exported: &[u8; EXPORTER_BYTES], joiner: PeerId, name: Option<&str>) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // Both of fixed lengths, so that only the name's end is the message's.
        hasher.update(exported).update(&joiner.0);
        if let Some(name) = name {
            hasher.update(b"n").update(name.as_bytes());
        }
        hasher.finalize()
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(..)")
    }
}

/// What [`ProofKey::prove`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof(#[serde(with = "serde_bytes")] pub [u8; 32]);

/// The first and only thing a joiner says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Which invitation it has.
    #[serde(rename = "i")]
    pub invitation: InvitationId,
    /// That it has its secret.
    #[serde(rename = "p")]
    pub proof: Proof,
    /// What it would like to be called, where the invitation does not say.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The date there, in seconds since 1970.
    #[serde(rename = "c")]
    pub clock_unix_s: u64,
}

/// What it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    /// A person is asked; another answer follows within [`APPROVAL_MAX_S`].
    #[serde(rename = "w")]
    Waiting,
    /// It is a member.
    #[serde(rename = "y")]
    Welcome(Box<Welcome>),
    /// It is not.
    #[serde(rename = "n")]
    Refused {
        /// Why not.
        #[serde(rename = "r")]
        why: Refused,
        /// The date at the inviter, in seconds since 1970.
        #[serde(rename = "c")]
        clock_unix_s: u64,
    },
}

/// What a new member needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Its certificate.
    #[serde(rename = "m")]
    pub chain: Chain,
    /// Multiaddresses of members to begin with.
    #[serde(rename = "a")]
    pub addresses: Vec<String>,
    /// What people call the mesh; may be empty.
    #[serde(rename = "h", default)]
    pub mesh_name: String,
    /// The date at the inviter, in seconds since 1970.
    #[serde(rename = "c")]
    pub clock_unix_s: u64,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// It was withdrawn, or it is long over.
    #[error("the inviting peer knows no such invitation (any more)")]
    Unknown,
    /// It was for one machine, or for a few, and others came first.
    #[error("the ticket was used already, by another machine")]
    Used,
    /// It is too late.
    #[error("the ticket expired {ago_s} s ago, by the clock of the inviting peer")]
    Expired {
        /// Seconds since its end.
        ago_s: u64,
    },
    /// Whoever asks does not have the ticket.
    #[error("the proof of the ticket's secret is wrong")]
    WrongProof,
    /// A person said no.
    #[error("whoever sent the ticket has not approved this machine")]
    Denied,
    /// Nobody said anything.
    #[error("nobody approved this machine in time")]
    NotApproved,
    /// Whoever holds this key is to stay outside.
    #[error("this key is not to be a member: {why}")]
    Barred {
        /// For people.
        why: String,
    },
    /// This peer signs for nobody.
    #[error("this peer cannot sign certificates: {why}")]
    NoIssuer {
        /// For people.
        why: String,
    },
    /// Something that may be over soon.
    #[error("the inviting peer cannot answer now: {why}")]
    Trouble {
        /// For people.
        why: String,
    },
}

impl Refused {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown | Self::Used | Self::Expired { .. } => "ask for a new one: `shoal invite` there",
            Self::WrongProof => "paste the whole ticket again",
            Self::Denied => "compare the six words, and ask whoever sent the ticket",
            Self::NotApproved => "have somebody at the inviting peer, and run the same command again",
            Self::Barred { .. } => "ask whoever runs the mesh",
            Self::NoIssuer { .. } => "there: `shoal mesh rotate-issuer`, or invite from the peer that founded the mesh",
            Self::Trouble { .. } => "run the same command again; see the log of the inviting peer",
        }
    }
}

/// What members say to each other of their certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Papers {
    /// Mine will be over: sign me the next.
    #[serde(rename = "a")]
    Ask,
    /// Your certificate from now on.
    #[serde(rename = "c")]
    Certificate(Box<Chain>),
    /// There is none.
    #[serde(rename = "n")]
    Refused(Refused),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_handshake_one_key_and_one_name() {
        let key = InvitationSecret::from_bytes([7; 16]).proof_key();
        let (here, me) = ([1; 32], PeerId([2; 32]));
        let proof = key.prove(&here, me, Some("nas"));

        assert!(key.accepts(&proof, &here, me, Some("nas")));
        assert!(!key.accepts(&proof, &[3; 32], me, Some("nas")), "another handshake");
        assert!(!key.accepts(&proof, &here, PeerId([3; 32]), Some("nas")), "another key");
        assert!(!key.accepts(&proof, &here, me, Some("nax")), "another name");
        assert!(!key.accepts(&proof, &here, me, None), "no name");
        assert!(!InvitationSecret::from_bytes([8; 16]).proof_key().accepts(&proof, &here, me, Some("nas")));
    }

    #[test]
    fn no_name_is_not_the_empty_name() {
        let key = InvitationSecret::from_bytes([7; 16]).proof_key();

        assert_ne!(key.prove(&[1; 32], PeerId([2; 32]), None), key.prove(&[1; 32], PeerId([2; 32]), Some("")));
    }

    #[test]
    fn what_is_kept_of_a_secret_is_not_the_secret() {
        let secret = InvitationSecret::from_bytes([7; 16]);

        assert_ne!(&secret.invitation().0, secret.bytes());
        assert!(!secret.proof_key().to_bytes().windows(16).any(|bytes| bytes == secret.bytes()));
        assert_eq!(format!("{secret:?} {:?}", secret.proof_key()), "InvitationSecret(..) ProofKey(..)");
    }

    #[test]
    fn a_request_fits_its_bound() {
        let secret = InvitationSecret::from_bytes([255; 16]);
        let request = JoinRequest {
            invitation: secret.invitation(),
            proof: Proof([255; 32]),
            name: Some("n".repeat(crate::config::NAME_BYTES_MAX)),
            clock_unix_s: u64::MAX,
        };

        assert!(crate::cbor::encode(&request).len() <= JOIN_REQUEST_BYTES_MAX);
    }
}
