//! The `compact` task module; what it does is in `src/tabular/compact.rs`.

fn main() {
    shoal_examples::guest::main(shoal_examples::tabular::compact::run);
}
