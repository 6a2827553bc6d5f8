//! Lines: how an entry is written, signed, chained to the one before, and read again.

use core::fmt;
use core::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Entry, Fault, Happening};
use crate::certificate::{SecretKey, verify_document};
use crate::id::PeerId;

/// The BLAKE3 hash of a line; in text, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl FromStr for Hash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes())).map_err(|_| "a hash has 64 hexadecimal digits")
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What is signed, and the signature over its text.
#[derive(Debug, Serialize, Deserialize)]
struct Signed<T> {
    #[serde(flatten)]
    document: T,
    /// Ed25519, in hexadecimal digits.
    signature: String,
}

/// The kinds of lines: a signature over one never passes for the other.
const ENTRY: &str = "audit entry";
const HEAD: &str = "audit head";

/// A document as one line of text, without its end.
fn write<T: Serialize>(kind: &'static str, document: T, key: &SecretKey) -> String {
    let signature = hex(&key.sign_document(kind, text(&document).as_bytes()));
    text(&Signed { document, signature })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a line that `signer` wrote, exactly so.
fn read<T: Serialize + DeserializeOwned>(kind: &'static str, line: &str, signer: PeerId) -> Result<T, &'static str> {
    let signed: Signed<T> = serde_json::from_str(line).map_err(|_| "it is not what a daemon writes")?;
    if text(&signed) != line {
        return Err("it is written otherwise than a daemon does");
    }
    let signature: Option<Vec<u8>> = signed
        .signature
        .as_bytes()
        .chunks(2)
        .map(|digits| u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok())
        .collect();
    // There is one way to write a signature, too: in small letters.
    let is_signed = signature.is_some_and(|it| {
        hex(&it) == signed.signature && verify_document(kind, text(&signed.document).as_bytes(), &it, &signer.0)
    });
    if is_signed { Ok(signed.document) } else { Err("its signature is not of that peer") }
}

fn text<T: Serialize>(document: &T) -> String {
    // Strings, numbers and maps of strings: there is nothing that JSON cannot say.
    serde_json::to_string(document).unwrap_or_default()
}

/// Where a log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Who writes it.
    pub peer: PeerId,
    /// The oldest entry there is.
    pub first: u64,
    /// The latest.
    pub last: u64,
    /// The hash of its line.
    pub hash: Hash,
}

impl Head {
    /// As a line of text.
    pub fn write(self, key: &SecretKey) -> String {
        write(HEAD, self, key)
    }

    /// Reads what [`Head::write`] wrote; `signer` is who must have, or whoever it says it is.
    pub fn read(line: &str, signer: Option<PeerId>) -> Result<Self, Fault> {
        let unreadable = |why| Fault::BadHead { why };
        let claimed: Signed<Self> =
            serde_json::from_str(line).map_err(|_| unreadable("it is not what a daemon writes"))?;
        let head: Self = read(HEAD, line, claimed.document.peer).map_err(unreadable)?;
        match signer {
            Some(signer) if signer != head.peer => Err(Fault::OtherSigner { expected: signer, found: head.peer }),
            Some(_) | None => Ok(head),
        }
    }
}

/// The end of a log that more is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    last: u64,
    hash: Hash,
}

impl Chain {
    /// Of a log that has no entry yet.
    pub fn new() -> Self {
        Self { last: 0, hash: Hash::default() }
    }

    /// Of one that goes on after this entry, whose line has this hash.
    pub fn after(last: u64, hash: Hash) -> Self {
        Self { last, hash }
    }

    /// The line of the next entry, without its end.
    pub fn write(&mut self, at_unix_ms: u64, happening: Happening, count: u64, key: &SecretKey) -> String {
        let seq = self.last.saturating_add(1);
        let line = write(ENTRY, Entry { seq, at_unix_ms, count, happening, previous: self.hash }, key);
        *self = Self::after(seq, Hash::of(line.as_bytes()));
        line
    }

    /// Reads the line of the next entry.
    pub fn read(&mut self, line: &str, signer: PeerId) -> Result<Entry, Fault> {
        let after = self.last;
        let entry: Entry = read(ENTRY, line, signer).map_err(|why| Fault::BadEntry { after, why })?;
        // The first of what is left of a log follows one that is not there.
        let is_first = after == 0 && self.hash == Hash::default();
        if !is_first && entry.seq != after.saturating_add(1) {
            return Err(Fault::Missing { after, found: entry.seq });
        }
        if !is_first && entry.previous != self.hash {
            return Err(Fault::Unchained { seq: entry.seq });
        }
        *self = Self::after(entry.seq, Hash::of(line.as_bytes()));
        Ok(entry)
    }

    /// Where it stands, as whoever holds `key` signs it.
    pub fn head(self, peer: PeerId, first: u64) -> Head {
        Head { peer, first, last: self.last, hash: self.hash }
    }

    /// The number of the latest entry.
    pub fn last(self) -> u64 {
        self.last
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}
