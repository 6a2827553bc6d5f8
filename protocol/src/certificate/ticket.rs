//! A ticket: one line of text that makes the machine it is pasted into a member.
//!
//! ```text
//! shoal1 │ base32 of [u16 length][CBOR: mesh, inviter, addresses, secret, expiry, role, labels] │ 6 check characters
//! ```
//!
//! The length tells a ticket that was cut off from one that was mistyped; the check characters are 30 bits of BLAKE3.
//! Upper and lower case, spaces and line breaks do not matter. Base32 is RFC 4648's, which has none of 0, 1, 8 and 9, and
//! is what QR codes hold most compactly.
//!
//! **Invariant:** a ticket that was read keeps every bound a ticket that is made must keep.
//! **Not here:** whether anybody still lets its holder in.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use super::joining::{InvitationSecret, SECRET_BYTES};
use super::{Role, member};
use crate::id::{MeshId, PeerId};

/// Of this form of ticket.
const PREFIX: &str = "shoal1";
/// What tickets of every form begin with.
const ANY_PREFIX: &str = "shoal";
/// Addresses in a ticket: each makes it eleven characters longer.
pub const TICKET_ADDRESSES_MAX: usize = 3;
/// A ticket without its check characters; one with the most labels allowed is under 10 KiB.
const PAYLOAD_BYTES_MAX: usize = 12 * 1024;
/// Text that is looked at: a pasted file is no ticket.
const TEXT_BYTES_MAX: usize = 64 * 1024;
const LENGTH_BYTES: usize = 2;
/// Five bits each: one mistake in a billion goes unnoticed.
const CHECK_CHARACTERS: usize = 6;
/// Enough to read the length from.
const LENGTH_CHARACTERS: usize = 4;

/// What whoever invites hands to whoever joins. Holding it is all that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The mesh to join: the key that everything in it is checked against.
    pub mesh: MeshId,
    /// The peer to ask, and nobody else.
    pub inviter: PeerId,
    /// Where it is, best first.
    pub addresses: Vec<SocketAddr>,
    /// What shows that one was invited.
    pub secret: InvitationSecret,
    /// Of no use from this date on, in seconds since 1970.
    pub expires_unix_s: u64,
    /// What the joiner will be.
    pub role: Role,
    /// What the issuer will vouch for.
    pub labels: BTreeMap<String, String>,
}

/// Why a text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Something else was pasted.
    #[error("this is no ticket: a ticket begins with `{PREFIX}`")]
    NoTicket,
    /// Made by a newer or older release.
    #[error("this is a ticket of another version of Shoal: it does not begin with `{PREFIX}`")]
    OtherVersion,
    /// A character that no ticket has.
    #[error("`{character}` at place {place} is in no ticket: those have the letters a to z and the digits 2 to 7")]
    Character {
        /// Which.
        character: char,
        /// Counted from 1, without spaces.
        place: usize,
    },
    /// Its end is missing, or its beginning was mistyped.
    #[error("the ticket was cut off: {missing} characters are missing at its end")]
    CutOff {
        /// How many.
        missing: usize,
    },
    /// Something was pasted behind it, or its beginning was mistyped.
    #[error("{extra} characters too many follow the ticket")]
    Extra {
        /// How many.
        extra: usize,
    },
    /// Some character is not what it was.
    #[error("the ticket was mistyped: its check characters do not fit")]
    Mistyped,
    /// The check characters fit, and it is no ticket nevertheless.
    #[error("the ticket cannot be read: {0}")]
    Unreadable(String),
}

impl TicketError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoTicket => "make one where the mesh was founded: `shoal invite`",
            Self::OtherVersion => "use the same release on both machines: `shoal version`",
            Self::Character { .. } | Self::CutOff { .. } | Self::Extra { .. } | Self::Mistyped => {
                "copy it again, all of it; or have it made as a file: `shoal invite > FILE`, `shoal join file:FILE`"
            }
            Self::Unreadable(_) => "have a new one made: `shoal invite`",
        }
    }
}

/// A ticket as it is encoded.
#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "m")]
    mesh: MeshId,
    #[serde(rename = "k")]
    inviter: PeerId,
    /// The bytes of an IP address and its port.
    #[serde(rename = "a")]
    addresses: Vec<ByteBuf>,
    #[serde(rename = "s", with = "serde_bytes")]
    secret: Vec<u8>,
    #[serde(rename = "t")]
    expires_unix_s: u64,
    #[serde(rename = "r")]
    role: Role,
    #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

impl Ticket {
    /// The text to hand over. Whoever reads it can join: it is wiped from memory when it is dropped.
    pub fn encode(&self) -> Zeroizing<String> {
        let wire = Wire {
            mesh: self.mesh,
            inviter: self.inviter,
            addresses: self.addresses.iter().take(TICKET_ADDRESSES_MAX).map(address_to_bytes).collect(),
            secret: self.secret.bytes().to_vec(),
            expires_unix_s: self.expires_unix_s,
            role: self.role,
            labels: self.labels.clone(),
        };
        let payload = Zeroizing::new(crate::cbor::encode(&wire));
        // What is longer than that has labels nobody would sign; it cannot be read back, and is not let out of the issuer.
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        let bytes = Zeroizing::new([&length.to_be_bytes(), payload.as_slice()].concat());
        let body = Zeroizing::new(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase());
        Zeroizing::new([PREFIX, body.as_str(), &check(&bytes)].concat())
    }

    /// Reads one, as people paste it.
    pub fn decode(text: &str) -> Result<Self, TicketError> {
        let body = body_of(text)?;
        let length = announced_length(&body)?;
        let wanted = (LENGTH_BYTES + length).saturating_mul(8).div_ceil(5) + CHECK_CHARACTERS;
        if body.len() < wanted {
            return Err(TicketError::CutOff { missing: wanted - body.len() });
        }
        if body.len() > wanted {
            return Err(TicketError::Extra { extra: body.len() - wanted });
        }
        let (coded, given) = body.split_at(body.len() - CHECK_CHARACTERS);
        // Only the last character's unused bits can be wrong here, and no ticket of ours sets them.
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(coded.as_bytes()).map_err(|_| TicketError::Mistyped)?);
        if !given.eq_ignore_ascii_case(&check(&bytes)) {
            return Err(TicketError::Mistyped);
        }
        let payload = bytes.get(LENGTH_BYTES..).unwrap_or_default();
        let wire: Wire = crate::cbor::decode(payload).map_err(|error| TicketError::Unreadable(error.to_string()))?;
        Self::from_wire(&wire)
    }

    fn from_wire(wire: &Wire) -> Result<Self, TicketError> {
        let unreadable = |why: &str| TicketError::Unreadable(why.to_owned());
        let secret: [u8; SECRET_BYTES] =
            wire.secret.as_slice().try_into().map_err(|_| unreadable("its secret has another length"))?;
        if wire.addresses.is_empty() || wire.addresses.len() > TICKET_ADDRESSES_MAX {
            return Err(unreadable("it names no address, or too many"));
        }
        let addresses: Option<Vec<SocketAddr>> = wire.addresses.iter().map(|bytes| address_from_bytes(bytes)).collect();
        member::check_labels(&wire.labels).map_err(|error| TicketError::Unreadable(error.to_string()))?;
        Ok(Self {
            mesh: wire.mesh,
            inviter: wire.inviter,
            addresses: addresses.ok_or_else(|| unreadable("one of its addresses is none"))?,
            secret: InvitationSecret::from_bytes(secret),
            expires_unix_s: wire.expires_unix_s,
            role: wire.role,
            labels: wire.labels.clone(),
        })
    }
}

/// The base32 in it, in upper case and without what does not matter.
fn body_of(text: &str) -> Result<Zeroizing<String>, TicketError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TicketError::NoTicket);
    }
    let dense: Zeroizing<String> =
        Zeroizing::new(text.chars().filter(|character| !character.is_whitespace()).collect());
    let starts_with = |prefix: &str| dense.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if !starts_with(PREFIX) {
        return Err(if starts_with(ANY_PREFIX) { TicketError::OtherVersion } else { TicketError::NoTicket });
    }
    let body = dense.get(PREFIX.len()..).unwrap_or_default();
    for (index, character) in body.chars().enumerate() {
        if !matches!(character, 'a'..='z' | 'A'..='Z' | '2'..='7') {
            return Err(TicketError::Character { character, place: PREFIX.len() + index + 1 });
        }
    }
    Ok(Zeroizing::new(body.to_ascii_uppercase()))
}

fn announced_length(body: &str) -> Result<usize, TicketError> {
    let first = body
        .get(..LENGTH_CHARACTERS)
        .ok_or(TicketError::CutOff { missing: LENGTH_CHARACTERS.saturating_sub(body.len()) + CHECK_CHARACTERS })?;
    // Four characters are twenty bits, of which sixteen are the length.
    let value = |character: u8| match character {
        b'A'..=b'Z' => u32::from(character - b'A'),
        digit => u32::from(digit.saturating_sub(b'2')) + 26,
    };
    let bits = first.bytes().fold(0_u32, |bits, character| (bits << 5) | value(character));
    let length = usize::try_from(bits >> 4).unwrap_or(usize::MAX);
    if length > PAYLOAD_BYTES_MAX { Err(TicketError::Mistyped) } else { Ok(length) }
}

fn check(bytes: &[u8]) -> String {
    let hash = blake3::derive_key("shoal 2026-11 ticket check characters", bytes);
    let mut text = BASE32_NOPAD.encode(&hash[..4]).to_ascii_lowercase();
    text.truncate(CHECK_CHARACTERS);
    text
}

fn address_to_bytes(address: &SocketAddr) -> ByteBuf {
    let mut bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend(address.port().to_be_bytes());
    ByteBuf::from(bytes)
}

fn address_from_bytes(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            mesh: MeshId([1; 32]),
            inviter: PeerId([2; 32]),
            addresses: vec!["192.0.2.7:7600".parse().unwrap(), "[2001:db8::7]:7600".parse().unwrap()],
            secret: InvitationSecret::from_bytes([3; 16]),
            expires_unix_s: 1_800_000_000,
            role: Role::Edge,
            labels: BTreeMap::from([("site".into(), "a".into())]),
        }
    }

    fn any_ticket() -> impl Strategy<Value = Ticket> {
        let address = prop_oneof![
            any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::new(ip.into(), port)),
            any::<([u8; 16], u16)>().prop_map(|(ip, port)| SocketAddr::new(ip.into(), port)),
        ];
        let labels = prop::collection::btree_map("[a-z]{1,12}", "\\PC{0,20}", 0..5);
        let addresses = prop::collection::vec(address, 1..=TICKET_ADDRESSES_MAX);
        (any::<([u8; 32], [u8; 32], [u8; 16], u64, bool)>(), addresses, labels).prop_map(
            |((mesh, inviter, secret, expires_unix_s, is_cloud), addresses, labels)| Ticket {
                mesh: MeshId(mesh),
                inviter: PeerId(inviter),
                addresses,
                secret: InvitationSecret::from_bytes(secret),
                expires_unix_s,
                role: if is_cloud { Role::Cloud } else { Role::Edge },
                labels,
            },
        )
    }

    proptest! {
        #[test]
        fn a_ticket_is_read_as_it_was_made_however_it_is_typed(ticket in any_ticket(), width in 1..80_usize) {
            let text = ticket.encode();
            let broken: Vec<String> =
                text.to_ascii_uppercase().as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line).into_owned()).collect();

            prop_assert_eq!(Ticket::decode(&text), Ok(ticket.clone()));
            prop_assert_eq!(Ticket::decode(&format!("  {}\r\n", broken.join("\n "))), Ok(ticket));
        }

        #[test]
        fn no_changed_character_goes_unnoticed(at in any::<prop::sample::Index>(), other in "[a-z2-7]") {
            let text = ticket().encode();
            let at = PREFIX.len() + at.index(text.len() - PREFIX.len());
            prop_assume!(text[at..=at] != other);
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);

            prop_assert!(Ticket::decode(&changed).is_err());
        }

        #[test]
        fn a_ticket_that_was_cut_off_says_by_how_much(missing in 1..200_usize) {
            let text = ticket().encode();
            let left = &text[..text.len() - missing.min(text.len() - PREFIX.len() - LENGTH_CHARACTERS)];

            prop_assert_eq!(Ticket::decode(left), Err(TicketError::CutOff { missing: text.len() - left.len() }));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,300}", tail in "[ a-zA-Z0-9]{0,300}") {
            let _ = Ticket::decode(&text);
            let _ = Ticket::decode(&format!("shoal1{tail}"));
        }
    }

    #[test]
    fn what_is_no_ticket_is_told_by_its_kind() {
        let text = ticket().encode();

        assert_eq!(Ticket::decode("https://example.org"), Err(TicketError::NoTicket));
        assert_eq!(Ticket::decode(""), Err(TicketError::NoTicket));
        assert_eq!(Ticket::decode("shoal2abcdef"), Err(TicketError::OtherVersion));
        assert_eq!(Ticket::decode(&format!("{}abc", *text)), Err(TicketError::Extra { extra: 3 }));
        let typed = format!("{}0{}", &text[..9], &text[10..]);
        assert_eq!(Ticket::decode(&typed), Err(TicketError::Character { character: '0', place: 10 }));
        assert!(matches!(Ticket::decode("shoal1ab"), Err(TicketError::CutOff { .. })));
    }

    #[test]
    fn a_ticket_fits_a_message_and_a_qr_code() {
        let length = ticket().encode().len();

        assert!(length <= 320, "{length} characters");
        let mut full = ticket();
        for n in 0..crate::config::LABELS_MAX {
            let wide = "w".repeat(crate::config::NAME_BYTES_MAX - 2);
            full.labels.insert(format!("{n:02}{wide}"), wide);
        }
        full.labels.remove("site");
        assert_eq!(Ticket::decode(&full.encode()), Ok(full));
    }

    #[test]
    fn the_form_of_a_ticket_stays() {
        assert_eq!(
            ticket().encode().as_str(),
            concat!(
                "shoal1aci2oylnlaqacaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcalbnnmcaaqcaibaeaqcaibaeaqcaibaeaqcaibae",
                "aqcaibaeaqcaibaeaqcmfqyerwaaabaohnqkiqacdnyaaaaaaaaaaaaaaaaaadr3mdboniagaydambqgaydambqgaydambqgyludjvutuqam",
                "fzgizlem5swc3fbmrzws5dfmfqqsqfq25"
            )
        );
    }
}
