//! The `alarms` task module; what it does is in `src/alarms.rs`.

fn main() {
    shoal_examples::guest::main(shoal_examples::alarms::run);
}
