//! The `standardise` task module; what it does is in `src/tabular/standardise.rs`.

fn main() {
    shoal_examples::guest::main(shoal_examples::tabular::standardise::run);
}
