//! The `occupancy` task module; what it does is in `src/occupancy/`.

fn main() -> std::process::ExitCode {
    shoal_examples::guest::main(shoal_examples::occupancy::run)
}
