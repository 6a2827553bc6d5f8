//! Which files a log is in.

/// The file that is written to.
pub const LOG: &str = "audit.log";
/// The file of its head.
pub const HEAD: &str = "audit.head";

/// The number of an older file of the log: the greater, the older.
pub fn number(name: &str) -> Option<u32> {
    name.strip_prefix(LOG)?.strip_prefix('.')?.parse().ok()
}

/// The names of a log's files among those of a directory, oldest first.
pub fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<_> = names.filter(|name| *name == LOG || number(name).is_some()).collect();
    found.sort_by_key(|name| core::cmp::Reverse(number(name)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_written_to_comes_last_and_others_are_no_files_of_the_log() {
        let names =
            ["audit.log", "audit.log.2", "lock", "audit.log.10", "audit.log.1", "audit.head", "audit.log.1.damaged-5"];

        assert_eq!(in_order(names.into_iter()), ["audit.log.10", "audit.log.2", "audit.log.1", "audit.log"]);
    }
}
