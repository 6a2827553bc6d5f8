//! The `rul` task module; what it does is in `src/engine/rul.rs`.

fn main() {
    shoal_examples::guest::main(shoal_examples::engine::rul::run);
}
