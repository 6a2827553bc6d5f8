//! The `occupancy` task module; what it does is in `src/occupancy/`.

fn main() {
    shoal_examples::guest::main(shoal_examples::occupancy::run);
}
