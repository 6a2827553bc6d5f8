//! What the end-to-end tests share.

/// One of the built programs, which are a directory above the tests.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> std::path::PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let path = test.ancestors().nth(2).unwrap_or(&test).join(name);
    assert!(path.exists(), "{} is missing: cargo build --release --bins", path.display());
    path
}
