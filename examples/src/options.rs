//! The few arguments modules take, and the repeating that makes a task as heavy as a demonstration needs.

/// Enough for hours of work; a larger number is a typing error.
pub const PASSES_MAX: u64 = 1_000_000;

/// Reads `--name N` from `args`, refusing anything else; `default` when it is absent.
pub fn number(args: &[String], name: &str, default: u64, max: u64) -> Result<u64, String> {
    let mut value = default;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg != name {
            return Err(format!("unknown argument `{arg}`; this module takes `{name} N`"));
        }
        let text = rest.next().ok_or_else(|| format!("`{name}` needs a number after it"))?;
        value = match text.parse::<u64>() {
            Ok(number) if (1..=max).contains(&number) => number,
            _ => return Err(format!("`{name} {text}`: give a whole number from 1 to {max}")),
        };
    }
    Ok(value)
}

/// Takes `--name` out of `args` and tells whether it was there.
pub fn flag(args: &[String], name: &str) -> (bool, Vec<String>) {
    let rest: Vec<String> = args.iter().filter(|arg| *arg != name).cloned().collect();
    (rest.len() < args.len(), rest)
}

/// Takes `--name N` (0 to `max`) out of `args`, if it is there; the other arguments stay.
pub fn split(args: &[String], name: &str, max: u64) -> Result<(Option<u64>, Vec<String>), String> {
    // The guest compiler knows no `let … else`.
    let place = match args.iter().position(|arg| arg == name) {
        Some(place) => place,
        None => return Ok((None, args.to_vec())),
    };
    let text = args.get(place + 1).ok_or_else(|| format!("`{name}` needs a number after it"))?;
    let value = match text.parse::<u64>() {
        Ok(number) if number <= max => number,
        _ => return Err(format!("`{name} {text}`: give a whole number from 0 to {max}")),
    };
    let rest = args.iter().enumerate().filter(|(at, _)| *at != place && *at != place + 1);
    Ok((Some(value), rest.map(|(_, arg)| arg.clone()).collect()))
}

/// Does the whole computation `--passes N` times (default 1) and answers with the first result.
///
/// The passes are compared, so repeating costs real work and also shows a machine that miscomputes.
pub fn repeat(args: &[String], compute: impl Fn() -> Result<Vec<u8>, String>) -> Result<Vec<u8>, String> {
    let passes = number(args, "--passes", 1, PASSES_MAX)?;
    let first = compute()?;
    for pass in 2..=passes {
        if compute()? != first {
            return Err(format!("pass {pass} gave another result than pass 1: this machine does not compute reliably"));
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn a_number_is_read_or_the_reason_told() {
        assert_eq!(number(&args(&[]), "--passes", 1, 10), Ok(1));
        assert_eq!(number(&args(&["--passes", "7"]), "--passes", 1, 10), Ok(7));
        for wrong in [&["--passes"][..], &["--passes", "0"], &["--passes", "11"], &["--passes", "x"], &["--pases", "2"]]
        {
            assert!(number(&args(wrong), "--passes", 1, 10).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_argument_is_taken_out_and_the_others_stay() {
        let all = args(&["--passes", "3", "--from", "0"]);

        assert_eq!(split(&all, "--from", 10), Ok((Some(0), args(&["--passes", "3"]))));
        assert_eq!(split(&args(&["--passes", "3"]), "--from", 10), Ok((None, args(&["--passes", "3"]))));
        assert!(split(&args(&["--from"]), "--from", 10).is_err());
        assert!(split(&args(&["--from", "11"]), "--from", 10).is_err());
    }

    #[test]
    fn every_pass_computes() {
        let count = std::cell::Cell::new(0);

        let result = repeat(&args(&["--passes", "5"]), || {
            count.set(count.get() + 1);
            Ok(b"same".to_vec())
        });

        assert_eq!((result, count.get()), (Ok(b"same".to_vec()), 5));
    }

    #[test]
    fn a_pass_that_differs_is_an_error() {
        let count = std::cell::Cell::new(0u8);

        let result = repeat(&args(&["--passes", "3"]), || {
            count.set(count.get() + 1);
            Ok(vec![count.get() / 3])
        });

        assert!(result.is_err());
    }
}
