//! The Python package's own tests, against the programs of this build: `python/tests`.
//!
//! Build those first: `cargo build --release --bins`. Where there is no Python this says so, loudly, and checks nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a failure is the answer

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shoal_tests::program;

/// They take half a minute on an idle machine.
const LONG: Duration = Duration::from_secs(600);
const OLDEST: &str = "import sys; sys.exit(sys.version_info < (3, 9))";

#[test]
fn the_python_package_passes_its_tests() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python");
    if !is_there() {
        skipped("python3 (3.9 or newer) is not installed, so the Python package was NOT tested");
        return;
    }

    let programs = program("shoal-testnet");
    // What it says goes past the test harness, so that a skipped part is seen.
    let mut tests = Command::new("python3")
        .args(["-m", "unittest", "discover", "-s", "tests"])
        .current_dir(python)
        .env("SHOAL_BIN", programs.parent().unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("SHOAL_API")
        .spawn()
        .unwrap();

    let deadline = Instant::now() + LONG;
    let status = loop {
        if let Some(status) = tests.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            tests.kill().unwrap();
            panic!("the tests take longer than {LONG:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "see above; by hand: SHOAL_BIN=… python3 -m unittest discover -s python/tests");
}

fn is_there() -> bool {
    let asked = Command::new("python3").args(["-c", OLDEST]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Said on standard error itself, which the test harness does not keep to itself.
fn skipped(why: &str) {
    let line = "*".repeat(72);
    let _ = writeln!(std::io::stderr(), "\n{line}\n* SKIPPED: {why}.\n{line}");
}
