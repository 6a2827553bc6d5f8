//! The `classify` task module; what it does is in `src/tabular/classify.rs`.

fn main() {
    shoal_examples::guest::main(shoal_examples::tabular::classify::run);
}
