//! The `spin` task module; what it does is in `src/spin.rs`.

fn main() {
    shoal_examples::guest::main(shoal_examples::spin::run);
}
