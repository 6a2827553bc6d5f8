//! What an array says of its own length is not believed beyond a few items.
//!
//! Before it reads the first item of an array, serde makes room for as many as the array claims to have, up to a megabyte: a
//! message of ten bytes could cost that. So arrays that claim many are read like those that say nothing (RFC 8949, 3.2.2):
//! room is made as items come.

use std::borrow::Cow;

/// Arrays of up to so many items may say so: room for these is no more than some kilobytes, of whatever type they are.
const ITEMS_MAX: u64 = 64;
/// Values inside of values; deeper ones are not read anyway.
const NESTING_MAX: usize = 64;

const ARRAY: u8 = 4;
const INDEFINITE: u8 = 31;
const INDEFINITE_ARRAY: u8 = 0x9f;
const BREAK: u8 = 0xff;

/// The first byte of an item and the number that belongs to it.
struct Head {
    major: u8,
    /// None where it is not known beforehand.
    argument: Option<u64>,
    bytes: usize,
}

fn head(bytes: &[u8]) -> Option<Head> {
    let first = *bytes.first()?;
    let (major, info) = (first >> 5, first & 0x1f);
    let wide = match info {
        0..24 => return Some(Head { major, argument: Some(u64::from(info)), bytes: 1 }),
        24..28 => 1usize << (info - 24),
        INDEFINITE => return Some(Head { major, argument: None, bytes: 1 }),
        _ => return None,
    };
    let number = bytes.get(1..=wide)?.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    Some(Head { major, argument: Some(number), bytes: 1 + wide })
}

impl Head {
    /// With the bytes of a string, if it is one.
    fn whole(&self) -> Option<usize> {
        match (self.major, self.argument) {
            (2 | 3, Some(length)) => self.bytes.checked_add(usize::try_from(length).ok()?),
            _ => Some(self.bytes),
        }
    }
}

/// The same value, none of whose arrays claims to have many items; nothing where it is no value.
pub(super) fn modest(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    if claims_little(bytes) { Some(Cow::Borrowed(bytes)) } else { uncounted(bytes).map(Cow::Owned) }
}

/// Heads follow each other whatever is inside of what, so that one look along the bytes sees all of them.
fn claims_little(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(head) = head(rest) {
        if head.major == ARRAY && head.argument.is_some_and(|items| items > ITEMS_MAX) {
            return false;
        }
        let Some(next) = head.whole().and_then(|whole| rest.get(whole..)) else { break };
        rest = next;
    }
    true
}

/// What a value is inside of.
struct Around {
    /// Items that are to come; none where a break ends it.
    left: Option<u64>,
    /// It is an array that said how many it has, and does not any more.
    ends_by_break: bool,
}

fn uncounted(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut written) = (bytes, Vec::with_capacity(bytes.len() + 16));
    let mut around: Vec<Around> = Vec::new();
    loop {
        let head = head(rest)?;
        let is_break = rest.first() == Some(&BREAK);
        let item;
        (item, rest) = rest.split_at_checked(head.whole()?)?;
        let inside = |left, ends_by_break| Around { left, ends_by_break };
        let opens = match (head.major, head.argument) {
            _ if is_break => {
                around.pop_if(|outer| outer.left.is_none())?;
                None
            }
            (ARRAY, Some(items)) if items > ITEMS_MAX => Some(inside(Some(items), true)),
            (ARRAY, items) => Some(inside(items, false)),
            (5, Some(pairs)) => Some(inside(Some(pairs.checked_mul(2)?), false)),
            (5, None) | (2 | 3, None) => Some(inside(None, false)),
            (6, Some(_)) => Some(inside(Some(1), false)),
            _ => None,
        };
        match &opens {
            Some(Around { ends_by_break: true, .. }) => written.push(INDEFINITE_ARRAY),
            Some(_) | None => written.extend(item),
        }
        if !is_break && let Some(Around { left: Some(left), .. }) = around.last_mut() {
            *left = left.checked_sub(1)?;
        }
        around.extend(opens);
        while let Some(full) = around.pop_if(|outer| outer.left == Some(0)) {
            written.extend(full.ends_by_break.then_some(BREAK));
        }
        if around.is_empty() {
            written.extend(rest);
            return Some(written);
        }
        if around.len() > NESTING_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::cbor;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf(u64),
        Text(String, #[serde(with = "serde_bytes")] Vec<u8>),
        Many(Vec<Tree>),
        Named(BTreeMap<String, Tree>),
        Maybe(Option<f64>),
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            any::<u64>().prop_map(Tree::Leaf),
            ("\\PC{0,8}", proptest::collection::vec(any::<u8>(), 0..400))
                .prop_map(|(text, bytes)| Tree::Text(text, bytes)),
            Just(Tree::Maybe(None)),
            (0.0..1e9f64).prop_map(|number| Tree::Maybe(Some(number))),
        ];
        leaf.prop_recursive(3, 400, 100, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..100).prop_map(Tree::Many),
                proptest::collection::btree_map("\\PC{0,3}", inner, 0..5).prop_map(Tree::Named),
            ]
        })
    }

    #[test]
    fn an_array_that_claims_more_than_there_is_is_not_read() {
        let claim = [&[0x9b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff][..], &[1, 2, 3]].concat();

        assert_eq!(modest(&claim), None);
        assert!(cbor::decode::<Vec<u8>>(&claim).is_err());
    }

    #[test]
    fn few_items_are_left_as_they_are_and_many_are_not_counted() {
        let few = cbor::encode(&vec![7u8; 64]);
        assert!(matches!(modest(&few), Some(Cow::Borrowed(same)) if same == few));

        let many = cbor::encode(&vec![7u8; 65]);
        let expected = [&[INDEFINITE_ARRAY][..], &[7; 65], &[BREAK]].concat();
        assert_eq!(modest(&many).as_deref(), Some(expected.as_slice()));
        assert_eq!(cbor::decode(&many), Ok(vec![7u8; 65]));
    }

    #[test]
    fn what_follows_a_value_still_follows_it() {
        let value = [cbor::encode(&vec![7u8; 65]), vec![1, 2]].concat();

        assert_eq!(cbor::decode::<Vec<u8>>(&value), Err(cbor::CborError::Trailing(2)));
    }

    proptest! {
        #[test]
        fn a_value_reads_the_same_without_its_counts(tree in tree()) {
            let bytes = cbor::encode(&tree);

            let uncounted = uncounted(&bytes).expect("it is a value");
            prop_assert!(claims_little(&uncounted));
            let read: Tree = ciborium::from_reader(uncounted.as_slice()).expect("it is the same value");
            prop_assert_eq!(&read, &tree);
            // Not too deep, so that it is read in the ordinary way, too.
            prop_assert_eq!(cbor::decode::<Tree>(&bytes).ok(), Some(tree));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (modest(&bytes), uncounted(&bytes));
        }
    }
}
