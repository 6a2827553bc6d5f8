//! The `anomaly` task module; what it does is in `src/anomaly/`.

fn main() {
    shoal_examples::guest::main(shoal_examples::anomaly::run);
}
