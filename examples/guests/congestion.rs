//! The `congestion` task module; what it does is in `src/congestion/`.

fn main() {
    shoal_examples::guest::main(shoal_examples::congestion::run);
}
