//! The long run: `shoal-fuzz SECONDS [TARGET]`; with coverage by `tests/fuzz/run SECONDS [TARGET]`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use shoal_fuzz::{Budget, TARGETS, corpus, fuzz, is_measured};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.first().and_then(|seconds| seconds.parse::<u64>().ok());
    let Some(seconds) = seconds else {
        eprintln!("shoal-fuzz SECONDS [TARGET]\n\ntargets: {}", names().join(" "));
        return ExitCode::from(2);
    };
    let wanted = |name: &str| arguments.get(1).is_none_or(|wanted| wanted == name);
    let targets: Vec<_> = TARGETS.iter().filter(|target| wanted(target.name)).collect();
    if targets.is_empty() {
        eprintln!("there is no such target; there are {}", names().join(" "));
        return ExitCode::from(2);
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let each = Duration::from_secs(seconds) / u32::try_from(targets.len()).unwrap_or(1);
    let (mut executions, mut offences) = (0, 0);
    println!("{:<14} {:>12} {:>7} {:>6} {:>8}", "target", "executions", "edges", "found", "offences");
    for target in targets {
        let seed = u64::from(std::process::id());
        let run = fuzz(target, corpus(&directory, target), seed, Budget::Time(each));
        executions += run.executions;
        offences += run.offences.len();
        let (edges, found) = (run.edges, run.found.len());
        println!("{:<14} {:>12} {edges:>7} {found:>6} {:>8}", target.name, run.executions, run.offences.len());
        for (number, (offence, input)) in run.offences.iter().enumerate() {
            let path = keep(target.name, number, input);
            println!("  {offence:?}\n  {}", path.display());
        }
    }
    println!(
        "{executions} executions, {offences} offences; coverage {}",
        if is_measured() { "followed" } else { "not measured" }
    );
    ExitCode::from(u8::from(offences > 0))
}

fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|target| target.name).collect()
}

/// Beside the program: whoever looks into it moves what is worth it to `corpus/`.
fn keep(target: &str, number: usize, input: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("shoal-fuzz-{target}-{}-{number}", std::process::id()));
    if let Err(error) = std::fs::write(&path, input) {
        eprintln!("cannot keep it at {}: {error}", path.display());
    }
    path
}
