//! The `congestion` task module; what it does is in `src/congestion/`.

fn main() -> std::process::ExitCode {
    shoal_examples::guest::main(shoal_examples::congestion::run)
}
