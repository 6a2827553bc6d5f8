//! How fast one core of this machine is, relative to the reference core: what estimates of a task's run are scaled by.
//!
//! **Invariant:** the kernel below and [`REFERENCE_NS`] belong to one [`KERNEL_VERSION`]; changing either changes all
//! three, and every remembered measurement is taken again.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, System};

/// Of the kernel and its reference time.
const KERNEL_VERSION: u32 = 1;
/// What one round takes on the reference core: a core of a 2-core cloud machine, release build, otherwise idle.
const REFERENCE_NS: f64 = 975_000.0;
/// Rounds measured; the best counts, since everything that disturbs makes a round longer. Many short ones, so that some
/// fit between two interruptions also on a busy machine.
const ROUNDS: u32 = 50;
/// Speeds outside this range are the clock's fault.
const SPEED_MIN: f64 = 0.01;
const SPEED_MAX: f64 = 100.0;
/// A remembered speed is measured again after this long: machines are given other processors, and busy days pass.
const REMEMBERED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
const FILE_NAME: &str = "core-speed.json";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Remembered {
    kernel: u32,
    processor: String,
    /// In thousandths, which text keeps exactly.
    speed_thousandths: u32,
}

/// The speed of one core; 1.0 is the reference. Remembered in `data_dir`; the first time it takes about 100 ms, which
/// pass on a thread of their own.
pub async fn core_speed(data_dir: &Path) -> f64 {
    let data_dir = data_dir.to_owned();
    // Only fails when the runtime is shutting down.
    tokio::task::spawn_blocking(move || core_speed_blocking(&data_dir)).await.unwrap_or(1.0)
}

/// As [`core_speed`], on this thread.
pub fn core_speed_blocking(data_dir: &Path) -> f64 {
    let path = data_dir.join(FILE_NAME);
    let processor = processor();
    if let Some(speed) = remembered(&path, &processor) {
        return speed;
    }
    let speed = measure();
    tracing::info!(speed, "measured the speed of one core relative to the reference core");
    let remembered = Remembered { kernel: KERNEL_VERSION, processor, speed_thousandths: thousandths(speed) };
    let text = serde_json::to_vec(&remembered).unwrap_or_default();
    // Not worth more than a line: the next start measures again.
    if let Err(error) = fs::write(&path, text) {
        tracing::warn!(path = %path.display(), %error, "cannot remember the speed of this machine");
    }
    speed
}

fn remembered(path: &Path, processor: &str) -> Option<f64> {
    let age = fs::metadata(path).ok()?.modified().ok()?.elapsed().unwrap_or_default();
    let remembered: Remembered = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let speed = f64::from(remembered.speed_thousandths) / 1_000.0;
    let holds = age < REMEMBERED_FOR
        && remembered.kernel == KERNEL_VERSION
        && remembered.processor == processor
        && (SPEED_MIN..=SPEED_MAX).contains(&speed);
    holds.then_some(speed)
}

fn thousandths(speed: f64) -> u32 {
    (speed * 1_000.0).round() as u32
}

fn measure() -> f64 {
    let best = (0..ROUNDS).map(|round| timed_round(u64::from(round))).min().unwrap_or_default();
    let speed = (REFERENCE_NS / (best.as_nanos() as f64).max(1.0)).clamp(SPEED_MIN, SPEED_MAX);
    f64::from(thousandths(speed)) / 1_000.0
}

fn timed_round(seed: u64) -> Duration {
    let began = Instant::now();
    black_box(kernel(black_box(seed)));
    began.elapsed()
}

/// Integer hashing, table look-ups within the first cache, and dependent floating-point steps: a little of each of what
/// task modules do.
fn kernel(seed: u64) -> f64 {
    const TABLE_WORDS: usize = 2_048;
    const STEPS: u32 = 400_000;
    let mut table = [0_u64; TABLE_WORDS];
    let mut state = seed | 1;
    let mut sum = 1.0_f64;
    for step in 0..STEPS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let slot = &mut table[(state as usize) % TABLE_WORDS];
        *slot = slot.wrapping_add(state.rotate_left(step & 31));
        sum = sum.mul_add(0.999_999, (*slot >> 40) as f64 * 1e-6);
    }
    sum + table.iter().fold(0, |all, word| all ^ word) as f64
}

fn processor() -> String {
    // Where processors cannot be told apart, a remembered speed holds for any.
    let Ok(mut system) = System::new() else { return String::new() };
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    system.cpus().first().map(|cpu| cpu.brand().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_speed_is_used_only_for_the_same_kernel_and_processor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let write = |kernel, processor: &str, speed| {
            let speed_thousandths = thousandths(speed);
            let remembered = Remembered { kernel, processor: processor.to_owned(), speed_thousandths };
            fs::write(&path, serde_json::to_vec(&remembered).unwrap()).unwrap();
        };

        write(KERNEL_VERSION, "this", 3.5);
        assert_eq!(remembered(&path, "this"), Some(3.5));
        assert_eq!(remembered(&path, "another"), None);
        write(KERNEL_VERSION + 1, "this", 3.5);
        assert_eq!(remembered(&path, "this"), None);
        write(KERNEL_VERSION, "this", 1e9);
        assert_eq!(remembered(&path, "this"), None);
        fs::write(&path, b"{").unwrap();
        assert_eq!(remembered(&path, "this"), None);
    }

    #[test]
    fn a_measured_speed_is_remembered() {
        let dir = tempfile::tempdir().unwrap();

        let speed = core_speed_blocking(dir.path());

        assert!((SPEED_MIN..=SPEED_MAX).contains(&speed));
        assert_eq!(remembered(&dir.path().join(FILE_NAME), &processor()), Some(speed));
        assert_eq!(core_speed_blocking(dir.path()), speed);
    }
}
