//! A command's outside: arguments and standard input in, standard output and an exit code out.
//!
//! Exit codes: 0 done, 1 the answer could not be written, 2 the arguments or the input are wrong (why, on standard error).

use std::io::{Read, Write};

/// What every module is, apart from its surroundings.
pub type Run = fn(args: &[String], input: &[u8]) -> Result<Vec<u8>, String>;

/// More than any module is meant for; a longer input is refused instead of filling the sandbox's memory.
pub const INPUT_BYTES_MAX: usize = 64 << 20;

/// Runs a module as this process's command; comes back only when the answer has been written.
pub fn main(run: Run) {
    match read_all().and_then(|(args, input)| run(&args, &input)) {
        Ok(output) => {
            let mut stdout = std::io::stdout();
            if let Err(error) = stdout.write_all(&output).and_then(|()| stdout.flush()) {
                fail(1, &format!("cannot write the answer: {error}"));
            }
        }
        Err(message) => fail(2, &message),
    }
}

fn read_all() -> Result<(Vec<String>, Vec<u8>), String> {
    let mut args = Vec::new();
    for arg in std::env::args_os().skip(1) {
        let place = args.len() + 1;
        args.push(arg.into_string().map_err(|_| format!("argument {place} is not UTF-8"))?);
    }
    let mut input = Vec::new();
    std::io::stdin()
        .lock()
        .take(INPUT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut input)
        .map_err(|error| format!("cannot read the input: {error}"))?;
    if input.len() > INPUT_BYTES_MAX {
        return Err(format!("the input is longer than {INPUT_BYTES_MAX} bytes"));
    }
    Ok((args, input))
}

fn fail(code: i32, message: &str) -> ! {
    // Nothing more can be done when standard error is closed as well; the exit code still tells.
    let _ = std::io::stderr().write_all(format!("error: {message}\n").as_bytes());
    // Not `ExitCode`: the guest compiler's knows no code but 0 and 1.
    std::process::exit(code)
}
