//! `spin N`: a fixed kernel of integer and floating-point work, N times; prints a checksum.
//!
//! For tests of load and of long tasks: the time is proportional to N and nothing is read.

pub fn run(args: &[String], _input: &[u8]) -> Result<Vec<u8>, String> {
    let iterations = match args {
        [text] => text.parse::<u64>().map_err(|_| format!("`{text}` is not a number of iterations"))?,
        _ => return Err("give one argument: the number of iterations".to_owned()),
    };
    let (integer, float) = kernel(iterations);
    Ok(format!("iterations={iterations} checksum={:016x}\n", integer ^ float.to_bits()).into_bytes())
}

/// A xorshift generator and a chaotic map side by side: no step can be left out or computed ahead.
fn kernel(iterations: u64) -> (u64, f64) {
    let mut integer = 0x9e37_79b9_7f4a_7c15u64;
    let mut float = 0.3f64;
    for _ in 0..iterations {
        integer ^= integer << 13;
        integer ^= integer >> 7;
        integer ^= integer << 17;
        float = 3.9 * float * (1.0 - float);
    }
    (integer, float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_arguments_are_told() {
        assert!(run(&[], b"").is_err());
        assert!(run(&["-1".to_owned()], b"").is_err());
        assert!(run(&["1".to_owned(), "2".to_owned()], b"").is_err());
    }
}
