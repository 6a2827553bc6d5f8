//! Where in a pipeline's file something stands.
//!
//! The text is looked through, not parsed again: what cannot be found is told without its line.

/// The line of a byte, from 1.
pub(crate) fn of_byte(text: &str, byte: usize) -> usize {
    1 + text.as_bytes().iter().take(byte).filter(|byte| **byte == b'\n').count()
}

/// The line of a key of a stage, or of the stage where it has no such key, from 1.
pub(super) fn of_stage(text: &str, stage: &str, key: Option<&str>) -> Option<usize> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_head = |line: &str| line.starts_with("[[stage]]");
    let heads: Vec<usize> = lines.iter().enumerate().filter(|(_, line)| is_head(line)).map(|(at, _)| at).collect();
    for (nth, head) in heads.iter().enumerate() {
        let end = heads.get(nth + 1).copied().unwrap_or(lines.len());
        let body = lines.get(head + 1..end)?;
        let line_of = |key: &str| {
            let begins = |line: &&str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
            body.iter().position(begins).map(|at| head + 2 + at)
        };
        let is_it = line_of("name").and_then(|line| value(lines.get(line - 1)?)).is_some_and(|name| name == stage);
        if is_it {
            return Some(key.and_then(line_of).unwrap_or(head + 1));
        }
    }
    None
}

/// The text of `key = "text"`.
fn value(line: &str) -> Option<&str> {
    let (_, value) = line.split_once('=')?;
    let value = value.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value.get(1..)?.split(quote).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "name = \"x\"\n\n[[stage]]\nname = \"a\"\nmodule = \"m\"\n\n[[stage]]\n  name = 'b'\n  inputs = [\"a\"]\n";

    #[test]
    fn a_key_of_a_stage_is_found_by_its_line() {
        assert_eq!(of_stage(FILE, "a", Some("module")), Some(5));
        assert_eq!(of_stage(FILE, "b", Some("inputs")), Some(9));
        assert_eq!(of_stage(FILE, "b", Some("when")), Some(7), "the stage, where it has no such key");
        assert_eq!(of_stage(FILE, "c", None), None);
        assert_eq!(of_byte(FILE, FILE.find("[[").unwrap_or_default()), 3);
    }
}
