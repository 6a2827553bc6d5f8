//! Peers of other versions: what they say and write has more in it than this version knows of, or less.
//!
//! There is one release so far, so the others are made up by its own rules: a later version adds keys to what it says, and
//! a reader skips those it does not know; an earlier one leaves out what was added since, and a reader takes its default.
//!
//! **Invariant:** what is left out has a default, and what is added means nothing.
//! **Not here:** deciding anything. A peer of another version decides as this one does.

use ciborium::value::Value;
use serde::Serialize;
use shoal_protocol::Message;
use shoal_protocol::store::{self, Change};

/// The first byte of a short text in CBOR, but for its length (RFC 8949, 3.1).
const TEXT: u8 = 3 << 5;
/// A digest of load has these keys…
const DIGEST: [&str; 6] = ["q", "s", "k", "w", "x", "v"];
/// …and had none of these, by which it foretells more, before this version.
const FORETOLD: [&str; 5] = ["su", "tu", "sn", "ar", "d"];
/// What is said of data, and that it is understood.
const LABELS: [&str; 1] = ["lb"];

/// Which version a machine runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Edition {
    /// The one before this.
    Previous,
    /// This one.
    #[default]
    This,
    /// The one after this.
    Next,
}

impl Edition {
    /// The version that comes after.
    pub fn next(self) -> Self {
        match self {
            Self::Previous => Self::This,
            Self::This => Self::Next,
            Self::Next => Self::Previous,
        }
    }

    /// A message as this version says it.
    pub(super) fn message(self, body: &[u8]) -> Vec<u8> {
        let Some((version, cbor)) = body.split_first().filter(|_| self.may_change(body)) else { return body.to_vec() };
        let Some(value) = self.restyled(cbor) else { return body.to_vec() };
        let mut said = vec![*version];
        said.extend(bytes_of(&value));
        said
    }

    /// What this version understands of a message.
    pub(super) fn understood(self, message: Message) -> Message {
        match self {
            Self::Previous => {
                let body = message.encode();
                if !self.may_change(&body) {
                    return message;
                }
                Message::decode(&self.message(&body)).unwrap_or(message)
            }
            Self::This | Self::Next => message,
        }
    }

    /// A change of the store as this version writes it.
    pub(super) fn change(self, change: Change) -> Change {
        match change {
            Change::Put { key, bytes } if self.may_change(&bytes) => {
                let value = store::decode::<Value>(&key, &bytes).ok();
                let value = value.map(|value| self.restyle(value));
                Change::Put { bytes: value.map_or(bytes, |value| store::encode(&key, &value)), key }
            }
            other => other,
        }
    }

    /// Whether there is anything in these bytes that this version says otherwise. Reading a message as a tree of values costs more
    /// than all else that is done with it, and most have nothing in them that was added since.
    fn may_change(self, body: &[u8]) -> bool {
        let has = |key: &str| {
            let head = TEXT | key.len() as u8;
            body.windows(1 + key.len()).any(|found| found[0] == head && &found[1..] == key.as_bytes())
        };
        match self {
            Self::This => false,
            Self::Next => true,
            Self::Previous => LABELS.into_iter().any(has) || DIGEST.into_iter().all(has),
        }
    }

    fn restyled(self, cbor: &[u8]) -> Option<Value> {
        Some(self.restyle(ciborium::from_reader(cbor).ok()?))
    }

    fn restyle(self, value: Value) -> Value {
        match value {
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.restyle(item)).collect()),
            Value::Map(entries) => {
                let entries = entries.into_iter().map(|(key, value)| (key, self.restyle(value)));
                Value::Map(self.fields(entries.collect()))
            }
            other => other,
        }
    }

    /// Fields of a struct. A map of one entry may be a choice instead, which has no room for another; and labels are the
    /// only other maps there are, of which these meshes have none.
    fn fields(self, mut entries: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
        let has = |key: &str| entries.iter().any(|(known, _)| known.as_text() == Some(key));
        match self {
            Self::This => {}
            // A span of time as the standard library has it: not ours to add to.
            Self::Next if entries.len() == 2 && has("secs") && has("nanos") => {}
            Self::Next if entries.len() > 1 => {
                let more =
                    Value::Map(vec![(Value::from("of"), Value::from("it")), (Value::from("so"), Value::from(7))]);
                entries.insert(1, (Value::from("zy"), more));
                entries.push((Value::from("zz"), Value::from(true)));
            }
            Self::Next => {}
            Self::Previous => {
                let is_digest = entries.len() >= DIGEST.len() && DIGEST.into_iter().all(has);
                let added_since = |key: &str| LABELS.contains(&key) || is_digest && FORETOLD.contains(&key);
                let left_out: Vec<bool> =
                    entries.iter().map(|(key, _)| key.as_text().is_some_and(added_since)).collect();
                let mut left_out = left_out.into_iter();
                entries.retain(|_| !left_out.next().unwrap_or(false));
            }
        }
        entries
    }
}

fn bytes_of(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    // Writing a value that was read to a vector cannot fail; an empty message would be noticed.
    let _ = ciborium::into_writer(value, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use shoal_protocol::message::{Beat, Message, TaskRef};
    use shoal_protocol::{PeerId, TaskId};

    use super::*;

    #[test]
    fn other_versions_say_something_else_and_are_understood() {
        let message = Message::Beat(Beat { incarnation: 7, next_ms: 150 });
        let body = message.encode();

        let next = Edition::Next.message(&body);

        assert!(next.len() > body.len());
        assert_eq!(Message::decode(&next), Ok(message));
        let unit = Message::Release(TaskRef { task: TaskId::derive(PeerId([1; 32]), b"k"), epoch: 1 });
        for edition in [Edition::Previous, Edition::Next] {
            assert_eq!(Message::decode(&edition.message(&unit.encode())), Ok(unit.clone()));
        }
    }

    #[test]
    fn records_of_other_versions_have_a_checksum_of_their_own() {
        let key = b"ck".to_vec();
        let record = Value::Map(vec![(Value::from("a"), Value::from(1)), (Value::from("b"), Value::from(2))]);
        let put = Change::Put { bytes: store::encode(&key, &record), key: key.clone() };

        let Change::Put { bytes, .. } = Edition::Next.change(put.clone()) else { panic!("it stays a record") };

        assert_ne!(Change::Put { key: key.clone(), bytes: bytes.clone() }, put);
        assert_eq!(store::decode::<Value>(&key, &bytes).map(|value| value.into_map().map(|map| map.len())), Ok(Ok(4)));
    }
}
