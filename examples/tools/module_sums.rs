//! Prints the BLAKE3 sum of every committed module, in the form `b3sum --check` reads.
//!
//! cargo run --release -p shoal-examples --example module_sums > examples/modules/BLAKE3SUMS
#![allow(clippy::expect_used)] // an offline tool over the data committed beside it: stopping is the right answer

fn main() {
    for name in shoal_examples::modules::NAMES {
        let path = format!("{}/modules/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
        println!("{}  {name}.wasm", blake3::hash(&bytes));
    }
}
