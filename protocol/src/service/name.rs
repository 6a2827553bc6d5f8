//! What a service is called: a label of a domain name, so that it can stand in a path, a file name and a host name.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// As long as a label of a domain name may be.
const NAME_BYTES_MAX: usize = 63;

/// The name of a service; one that exists is well-formed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Box<str>);

/// A text is no name of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no name of a service: use 1 to {NAME_BYTES_MAX} of a-z, 0-9 and `-`, which stands neither first nor last"
)]
pub struct NameError {
    text: String,
}

impl ServiceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_well_formed(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-')
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if Self::is_well_formed(text) {
            Ok(Self(text.into()))
        } else {
            // A pasted file must not end up in an error line.
            Err(NameError { text: text.chars().take(80).collect() })
        }
    }
}

impl Serialize for ServiceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ServiceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label_of_a_domain_name() {
        for name in ["a", "wordcount", "ocr-2", "0", &"a".repeat(63)] {
            assert_eq!(name.parse::<ServiceName>().map(|name| name.to_string()), Ok(name.to_owned()));
        }
        for text in ["", "-a", "a-", "A", "a.b", "a/b", "ä", "a b", &"a".repeat(64)] {
            assert!(text.parse::<ServiceName>().is_err(), "{text}");
        }
    }
}
