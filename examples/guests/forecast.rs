//! The `forecast` task module; what it does is in `src/forecast/`.

fn main() {
    shoal_examples::guest::main(shoal_examples::forecast::run);
}
