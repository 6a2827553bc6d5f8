//! `wordcount [--top N]`: lines, words and bytes of a text, and its most frequent words.
//!
//! A word is what stands between white space; for the list, punctuation around it is dropped and ASCII letters are
//! lowered. Any bytes are accepted: those outside ASCII count as letters.

use crate::options;

const TOP_DEFAULT: u64 = 10;
const TOP_MAX: u64 = 10_000;

pub fn run(args: &[String], input: &[u8]) -> Result<Vec<u8>, String> {
    let top = options::number(args, "--top", TOP_DEFAULT, TOP_MAX)?;
    let lines = input.iter().filter(|&&byte| byte == b'\n').count();
    let words = input.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();

    let lowered = input.to_ascii_lowercase();
    let mut output = format!("lines={lines} words={words} bytes={}\n", input.len()).into_bytes();
    for (count, word) in most_frequent(&lowered).into_iter().take(top as usize) {
        output.extend_from_slice(format!("{count} ").as_bytes());
        output.extend_from_slice(word);
        output.push(b'\n');
    }
    Ok(output)
}

/// Words with their counts, most frequent first, equal counts by spelling.
fn most_frequent(text: &[u8]) -> Vec<(usize, &[u8])> {
    let mut words: Vec<&[u8]> = text.split(u8::is_ascii_whitespace).map(bare).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    let mut counted: Vec<(usize, &[u8])> = Vec::new();
    for word in words {
        match counted.last_mut() {
            Some((count, last)) if *last == word => *count += 1,
            _ => counted.push((1, word)),
        }
    }
    counted.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    counted
}

fn bare(word: &[u8]) -> &[u8] {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
    match (word.iter().position(letter), word.iter().rposition(letter)) {
        (Some(first), Some(last)) => &word[first..=last],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_words_bytes_and_lists_words() {
        let output = run(&[], "The cat, the dog.\nDon't! — the end\n".as_bytes());

        let expected = "lines=2 words=8 bytes=37\n3 the\n1 cat\n1 dog\n1 don't\n1 end\n1 —\n";
        assert_eq!(output, Ok(expected.as_bytes().to_vec()));
    }

    #[test]
    fn the_list_can_be_cut() {
        let args = ["--top".to_owned(), "1".to_owned()];

        assert_eq!(run(&args, b"b a b"), Ok(b"lines=0 words=3 bytes=5\n2 b\n".to_vec()));
    }
}
