//! What a stream has written, counted against what was sent.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// One line that a stream wrote: a window of the `wordcount` module, with every word.
#[derive(Debug, Deserialize)]
pub struct ResultLine {
    /// Its number.
    pub window: u64,
    /// Records in it.
    pub records: u64,
    /// What the module wrote.
    pub output: Option<String>,
    /// Why it wrote nothing.
    pub error: Option<String>,
}

/// How often each thing was seen.
#[derive(Debug, Default)]
pub struct Tally {
    windows: BTreeMap<u64, u64>,
    messages: BTreeMap<String, u64>,
    errors: Vec<String>,
}

/// What was sent as the `n`-th message: one word of its own, and one that all have.
pub fn message(n: u64) -> String {
    format!("m{n:08} speed")
}

impl Tally {
    /// Counts a line; lines that are half written yet are passed over.
    pub fn add(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<ResultLine>(line) else { return };
        *self.windows.entry(line.window).or_default() += 1;
        self.errors.extend(line.error);
        for counted in line.output.iter().flat_map(|output| output.lines()) {
            if let Some((count, word)) = counted.split_once(' ')
                && word.starts_with('m')
                && let Ok(count) = count.parse::<u64>()
            {
                *self.messages.entry(word.to_owned()).or_default() += count;
            }
        }
    }

    /// Of a whole file.
    pub fn of(text: &str) -> Self {
        let mut tally = Self::default();
        text.lines().for_each(|line| tally.add(line));
        tally
    }

    /// Messages that are in some window.
    pub fn messages(&self) -> u64 {
        self.messages.len() as u64
    }

    /// Windows that were written, each counted once.
    pub fn windows(&self) -> u64 {
        self.windows.len() as u64
    }

    /// Windows without a result, and why.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// Of the first `sent` messages, how many are in no window.
    pub fn lost(&self, sent: u64) -> u64 {
        let wanted: BTreeSet<String> = (0..sent).map(word).collect();
        wanted.iter().filter(|word| !self.messages.contains_key(*word)).count() as u64
    }

    /// Messages, and windows, that are there more than once.
    pub fn twice(&self) -> u64 {
        let more = |counts: &mut dyn Iterator<Item = &u64>| counts.filter(|count| **count > 1).count() as u64;
        more(&mut self.messages.values()) + more(&mut self.windows.values())
    }
}

fn word(n: u64) -> String {
    format!("m{n:08}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(window: u64, words: &[u64]) -> String {
        let output: String = words.iter().map(|n| format!("1 {}\\n", word(*n))).collect();
        format!(r#"{{"stream":"s","run":"1","window":{window},"records":2,"output":"lines=2\n{output}"}}"#)
    }

    #[test]
    fn what_is_missing_and_what_is_there_twice_is_counted() {
        let text = [line(0, &[0, 1]), line(1, &[1, 3]), line(1, &[4])].join("\n");

        let tally = Tally::of(&text);

        assert_eq!((tally.lost(5), tally.twice(), tally.messages(), tally.windows()), (1, 2, 4, 2));
    }
}
