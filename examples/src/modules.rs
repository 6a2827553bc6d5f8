//! The committed modules and the native functions they were built from, by name.

use crate::guest::Run;
use crate::tabular::{classify, compact, standardise};
use crate::{alarms, anomaly, congestion, digit, engine, forecast, occupancy, spin, wordcount};

pub const NAMES: [&str; 15] = [
    "occupancy",
    "digit",
    "digit_small",
    "congestion",
    "forecast",
    "anomaly",
    "alarms",
    "health",
    "rul",
    "wordcount",
    "spin",
    "noop",
    "standardise",
    "compact",
    "classify",
];

/// The WebAssembly of the module `name`, one of [`NAMES`].
pub fn module_bytes(name: &str) -> Option<&'static [u8]> {
    Some(match name {
        "occupancy" => include_bytes!("../modules/occupancy.wasm"),
        "digit" => include_bytes!("../modules/digit.wasm"),
        "digit_small" => include_bytes!("../modules/digit_small.wasm"),
        "congestion" => include_bytes!("../modules/congestion.wasm"),
        "forecast" => include_bytes!("../modules/forecast.wasm"),
        "alarms" => include_bytes!("../modules/alarms.wasm"),
        "health" => include_bytes!("../modules/health.wasm"),
        "rul" => include_bytes!("../modules/rul.wasm"),
        "anomaly" => include_bytes!("../modules/anomaly.wasm"),
        "wordcount" => include_bytes!("../modules/wordcount.wasm"),
        "spin" => include_bytes!("../modules/spin.wasm"),
        "noop" => include_bytes!("../modules/noop.wasm"),
        "standardise" => include_bytes!("../modules/standardise.wasm"),
        "compact" => include_bytes!("../modules/compact.wasm"),
        "classify" => include_bytes!("../modules/classify.wasm"),
        _ => return None,
    })
}

/// The native function whose results the module `name` must reproduce, byte for byte.
pub fn native(name: &str) -> Option<Run> {
    Some(match name {
        "occupancy" => occupancy::run,
        "digit" => digit::run_full,
        "digit_small" => digit::run_small,
        "congestion" => congestion::run,
        "forecast" => forecast::run,
        "anomaly" => anomaly::run,
        "alarms" => alarms::run,
        "health" => engine::health::run,
        "rul" => engine::rul::run,
        "wordcount" => wordcount::run,
        "spin" => spin::run,
        "noop" => |_, _| Ok(Vec::new()),
        "standardise" => standardise::run,
        "compact" => compact::run,
        "classify" => classify::run,
        _ => return None,
    })
}
