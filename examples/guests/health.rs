//! The `health` task module; what it does is in `src/engine/health.rs`.

fn main() {
    shoal_examples::guest::main(shoal_examples::engine::health::run);
}
