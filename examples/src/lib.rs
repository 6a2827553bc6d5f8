//! The work a demonstration mesh does: small task modules over real sensor data.
//!
//! Each module is one pure function `run(args, input) -> Result<output, message>`. The same source is compiled
//! natively (this library) and to WebAssembly (`guests/*.rs`, one thin `main` each), so a result that a mesh
//! computed in a sandbox can be compared, byte for byte, with the one computed here.
//!
//! **Invariant:** both builds give identical bytes for identical arguments and input. Only exact IEEE operations
//! and the functions of [`math`] are used: a platform's own `exp` or `cos` may differ in the last digit.
//! **Invariant:** everything outside [`modules`] and [`workload`] compiles with Rust 1.63 and the standard library alone.
//! **Not here:** placing, sending or sandboxing tasks.

pub mod alarms;
pub mod anomaly;
pub mod congestion;
pub mod digit;
pub mod engine;
pub mod forecast;
pub mod guest;
pub mod math;
pub mod occupancy;
pub mod options;
pub mod spin;
pub mod tabular;
pub mod text;
pub mod trees;
pub mod wordcount;

#[cfg(not(target_family = "wasm"))]
pub mod held_back;
#[cfg(not(target_family = "wasm"))]
pub mod modules;
#[cfg(not(target_family = "wasm"))]
pub mod workload;
