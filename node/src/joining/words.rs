//! Six words that both sides of a handshake derive and two people compare: 66 bits, so that nobody finds another handshake
//! with the same ones. From the English list of BIP 39, whose words differ in their first four letters.

use shoal_protocol::PeerId;
use shoal_protocol::certificate::joining::EXPORTER_BYTES;

const WORDS: usize = 6;
const BITS_A_WORD: usize = 11;

/// The words of the handshake that `exported` comes from.
pub(crate) fn six_words(exported: &[u8; EXPORTER_BYTES], inviter: PeerId, joiner: PeerId) -> String {
    let said = [&exported[..], &inviter.0, &joiner.0].concat();
    let hash = blake3::derive_key("shoal 2026-11 six words", &said);
    let list = bip39::Language::English.word_list();
    let bit = |at: usize| usize::from(hash[at / 8] >> (7 - at % 8) & 1);
    let number = |word: usize| (0..BITS_A_WORD).fold(0, |number, n| (number << 1) | bit(word * BITS_A_WORD + n));
    (0..WORDS).map(|word| list[number(word)]).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_one_handshake_see_the_same_six_words_and_nobody_else_does() {
        let (inviter, joiner) = (PeerId([1; 32]), PeerId([2; 32]));
        let words = six_words(&[3; 32], inviter, joiner);

        assert_eq!(words.split(' ').count(), 6);
        assert_eq!(words, six_words(&[3; 32], inviter, joiner));
        assert_ne!(words, six_words(&[4; 32], inviter, joiner));
        assert_ne!(words, six_words(&[3; 32], joiner, inviter));
    }
}
