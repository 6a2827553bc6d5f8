//! CBOR (RFC 8949) for everything that is sent or signed.
//!
//! Structs are maps with one-letter keys: as small as arrays plus a byte a field, and a reader skips the keys it does
//! not know, so that a newer peer may say more than an older one understands.

mod counts;

use serde::{Serialize, de::DeserializeOwned};

/// Nesting no honest message reaches; hostile nesting ends here instead of on the stack.
const NESTING_MAX: usize = 16;

/// Why bytes are not the value they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Not CBOR, or not of this type.
    #[error("not valid CBOR of the expected type: {0}")]
    Malformed(String),
    /// A value was read and bytes were left.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
}

/// The bytes of a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    #[allow(clippy::expect_used)] // Writing to a Vec cannot fail, and no type of this crate refuses to be serialised.
    ciborium::into_writer(value, &mut bytes).expect("a Vec accepts every byte");
    bytes
}

/// How many bytes [`encode`] would give.
pub fn encoded_len<T: Serialize>(value: &T) -> usize {
    let mut counter = Counter(0);
    #[allow(clippy::expect_used)] // Counting cannot fail, and no type of this crate refuses to be serialised.
    ciborium::into_writer(value, &mut counter).expect("a counter accepts every byte");
    counter.0
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads exactly one value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CborError> {
    let modest = counts::modest(bytes).ok_or_else(|| CborError::Malformed("it is cut short".into()))?;
    let mut rest = &*modest;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, NESTING_MAX)
        .map_err(|error| CborError::Malformed(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(CborError::Trailing(rest.len())) }
}
