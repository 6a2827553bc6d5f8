//! The `wordcount` task module; what it does is in `src/wordcount.rs`.

fn main() {
    shoal_examples::guest::main(shoal_examples::wordcount::run);
}
