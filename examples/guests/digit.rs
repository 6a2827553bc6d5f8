//! The `digit` task module; what it does is in `src/digit/`.

fn main() {
    shoal_examples::guest::main(shoal_examples::digit::run_full);
}
