//! The committed WebAssembly and the native functions give the same bytes, and those bytes are pinned.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod sandbox;

use std::io::Read;

use sandbox::Sandbox;
use shoal_examples::held_back;
use shoal_examples::modules::{self, module_bytes, native, NAMES};
use shoal_examples::tabular::frame::{Encoding, Matrix};
use shoal_examples::workload::{five_users, Plan, WorkItem};

/// The largest brings a map of usual days.
const MODULE_BYTES_MAX: usize = 200_000;

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| arg.to_string()).collect()
}

/// One pass over several minutes of arrivals: every recording and many windows of each table.
fn items() -> Vec<WorkItem> {
    five_users(&Plan { seed: 3, length_ms: 120_000, rate_percent: 100, work_percent: 0 })
}

#[track_caller]
fn check_same(sandbox: &Sandbox, name: &str, args: &[String], input: &[u8]) -> Vec<u8> {
    let expected = native(name).unwrap()(args, input);

    let ended = sandbox.run(args, input);

    match expected {
        Ok(output) => {
            assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{name} {args:?}");
            assert!(ended.stdout == output, "{name} {args:?} differs between native and sandbox");
        }
        Err(message) => {
            assert_eq!((ended.code, ended.stderr), (2, format!("error: {message}\n")), "{name} {args:?}");
            assert_eq!(ended.stdout, b"", "{name} {args:?}");
        }
    }
    ended.stdout
}

#[test]
fn five_users_get_the_same_pinned_bytes_natively_and_in_the_sandbox() {
    let items = items();
    let mut changed = Vec::new();
    for (name, pinned) in [
        ("occupancy", "81c8f3f69ae5c521bee474a7339246e0469852e7fd254becfa129584642db268"),
        ("digit", "16c6a67909569bdfab28815c4da4e2954d15183a0b6740e743408fa0b80ca49a"),
        ("digit_small", "3a50565b436e6c9ca125b45a87d3ff4d6b37acc8f98e17655cd464169aee28c3"),
        ("congestion", "dc78f5052ac045f9b3c5a8e0780e04e1ea939312ce8d5b1e62b6b3ffdc9eec12"),
        ("anomaly", "5dd0aea4b07038b298e4b1758bc06a31f00239b49135ccc277376cd361419f76"),
    ] {
        let sandbox = Sandbox::new(module_bytes(name).unwrap());
        let mut outputs = blake3::Hasher::new();
        let own = items.iter().filter(|item| item.variants.iter().any(|variant| variant.module == name));

        for item in own {
            outputs.update(&check_same(&sandbox, name, &item.args, &item.input));
        }

        let sum = outputs.finalize().to_hex().to_string();
        if sum != pinned {
            changed.push((name, sum));
        }
    }
    assert!(changed.is_empty(), "these outputs changed: {changed:#?}");
}

#[test]
fn the_stages_of_the_use_cases_agree_on_held_back_data() {
    let check = |name: &str, args: &[&str], input: &[u8]| {
        check_same(&Sandbox::new(module_bytes(name).unwrap()), name, &words(args), input)
    };

    let recordings: Vec<u8> = held_back::digits().iter().flat_map(|(_, _, wav)| wav.iter().copied()).collect();
    for name in ["digit", "digit_small"] {
        for args in [&[][..], &["--held-back"]] {
            let output = check(name, args, &recordings);
            assert_eq!(output.iter().filter(|byte| **byte == b'\n').count(), held_back::digits().len());
        }
    }

    let day = held_back::CITY_DAYS[held_back::CITY_DAYS_SEEN];
    let morning: String = day.lines().take(100).map(|line| format!("{line}\n")).collect();
    check("congestion", &["--each"], morning.as_bytes());
    check("forecast", &["--from", "80"], morning.as_bytes());
    check("forecast", &["--from", "99"], morning.as_bytes());
    check("forecast", &[], morning.replacen(":", "-", 3).as_bytes());

    let mut engines = String::new();
    flate2::read::GzDecoder::new(held_back::ENGINES_GZ).read_to_string(&mut engines).unwrap();
    let three: String = engines.lines().take(500).map(|line| format!("{line}\n")).collect();
    let conditions = check("health", &[], three.as_bytes());
    let lives = check("rul", &[], &conditions);
    assert!(String::from_utf8(lives).unwrap().contains("# engines=3 "));
    check("rul", &[], &conditions[..conditions.len() / 2]);
    check("health", &[], three.replacen("1 7 ", "1 9 ", 1).as_bytes());

    for (_, series) in held_back::SERIES {
        check("alarms", &[], series.as_bytes());
        check("alarms", &["--passes", "2"], &series.as_bytes()[..40_000]);
    }
}

#[test]
fn the_modules_without_data_agree_too() {
    let spin = Sandbox::new(module_bytes("spin").unwrap());
    let output = check_same(&spin, "spin", &words(&["1000000"]), b"");
    assert_eq!(String::from_utf8(output).unwrap(), "iterations=1000000 checksum=019108aa0e85390b\n");

    let wordcount = Sandbox::new(module_bytes("wordcount").unwrap());
    let text = include_bytes!("../src/lib.rs");
    check_same(&wordcount, "wordcount", &words(&["--top", "50"]), text);
    check_same(&wordcount, "wordcount", &[], &[0xff, b' ', 0x80]);
    check_same(&wordcount, "wordcount", &[], b"");

    let noop = Sandbox::new(module_bytes("noop").unwrap());
    check_same(&noop, "noop", &[], b"ignored");
}

/// 200 rows of three columns of unlike size, and labels that follow from two of them.
fn table() -> Matrix {
    let noise = |n: usize| (n * 7_919 % 1_009) as f64 / 500.0 - 1.0;
    let values: Vec<f64> =
        (0..200).flat_map(|row| [noise(row), 1e6 + 3e4 * noise(5 * row + 1), 7.0 * noise(row * row)]).collect();
    let labels = values.chunks_exact(3).map(|row| u8::from(row[0] + row[2] / 7.0 > 0.2)).collect();
    Matrix { rows: 200, columns: 3, values, labels: Some(labels) }
}

#[test]
fn a_table_is_standardised_compacted_and_classified_to_the_same_pinned_bytes() {
    let [standardise, compact, classify] =
        ["standardise", "compact", "classify"].map(|name| Sandbox::new(module_bytes(name).unwrap()));
    let mut sums = Vec::new();

    let output = check_same(&standardise, "standardise", &words(&["--clip", "3"]), &table().write(Encoding::F64));
    let (clean, scale) = output.split_at(table().write(Encoding::F64).len());
    check_same(&standardise, "standardise", &[], &[&table().write(Encoding::F64), scale].concat());
    for encoding in ["f32", "i16"] {
        let small = check_same(&compact, "compact", &words(&["--as", encoding]), clean);
        let judged = check_same(&classify, "classify", &[], &small);
        let (_, model) = Matrix::read(&judged).unwrap();
        check_same(&classify, "classify", &[], &[&small[..], model].concat());
        sums.push(blake3::hash(&judged).to_hex().to_string());
    }

    assert_eq!(
        sums,
        [
            "541a8aa78afa2a4414340edac66dcb0e025c787ad07aca63bbc64a43d7f8e6eb",
            "5b70e25f7f5f5a4b00358bebd8084e17ea802b7417fdb91f2a9716b7aafaed5e",
        ]
    );
}

#[test]
fn what_is_no_table_is_refused_alike() {
    let mut holed = table();
    holed.values[7] = f64::NAN;
    let holed = holed.write(Encoding::F64);
    for name in ["standardise", "compact", "classify"] {
        let sandbox = Sandbox::new(module_bytes(name).unwrap());
        let whole = table().write(Encoding::F64);
        let followed = [&whole[..], b"more"].concat();
        for (args, input) in [
            (&[][..], &b""[..]),
            (&[], b"SHM1"),
            (&[], &whole[..whole.len() - 1]),
            (&[], &followed),
            (&[], &holed),
            (&["--what", "1"], &whole),
            (&["--folds"], &whole),
        ] {
            let stdout = check_same(&sandbox, name, &words(args), input);
            assert!(stdout.is_empty(), "{name} {args:?}");
        }
    }
}

#[test]
fn repeating_changes_nothing_but_the_work() {
    let item = items().into_iter().find(|item| item.user == "factory").unwrap();
    let sandbox = Sandbox::new(module_bytes(item.module).unwrap());

    let once = check_same(&sandbox, item.module, &[], &item.input);
    let thrice = check_same(&sandbox, item.module, &words(&["--passes", "3"]), &item.input);

    assert_eq!(once, thrice);
}

#[test]
fn wrong_input_and_arguments_end_with_a_message_and_code_2() {
    for name in ["occupancy", "digit", "digit_small", "congestion", "forecast", "anomaly", "alarms", "health", "rul"] {
        let sandbox = Sandbox::new(module_bytes(name).unwrap());
        for (args, input) in [
            (&[][..], &b""[..]),
            (&[], b"nonsense"),
            (&[], b"time,temperature,humidity,light,co2\na,b,c,d,e\n"),
            (&[], b"\xff\xfe\x00"),
            (&[], b"RIFF\x04\0\0\0WAVE"),
            (&["--passes", "0"], b""),
            (&["--passes"], b""),
            (&["--what"], b""),
        ] {
            let ended = sandbox.run(&words(args), input);

            assert_eq!(ended.code, 2, "{name} {args:?} {input:?}: {ended:?}");
            assert!(ended.stderr.starts_with("error: ") && ended.stdout.is_empty(), "{name} {args:?}: {ended:?}");
            check_same(&sandbox, name, &words(args), input);
        }
    }
    let spin = Sandbox::new(module_bytes("spin").unwrap());
    assert_eq!(spin.run(&[], b"").code, 2);
}

#[test]
fn a_cut_or_garbled_input_is_never_a_panic() {
    for item in items().into_iter().take(40) {
        for variant in item.variants {
            let run = native(variant.module).unwrap();
            for cut in [1, 13, 43, 44, 45, 200, item.input.len() / 2, item.input.len() - 1] {
                // Either answer is fine: a shorter table may still be a table.
                let _ = run(&[], &item.input[..cut]);
                let mut garbled = item.input.clone();
                garbled[cut..].iter_mut().step_by(7).for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(17));
                let _ = run(&[], &garbled);
            }
        }
    }
}

#[test]
fn the_list_of_sums_names_every_committed_module() {
    let sums: Vec<String> =
        NAMES.iter().map(|name| format!("{}  {name}.wasm\n", blake3::hash(module_bytes(name).unwrap()))).collect();

    assert_eq!(include_str!("../modules/BLAKE3SUMS"), sums.concat());
    assert_eq!(modules::module_bytes("unknown"), None);
}

#[test]
fn modules_stay_small() {
    for name in NAMES {
        let length = module_bytes(name).unwrap().len();
        assert!((1..=MODULE_BYTES_MAX).contains(&length), "{name}: {length} bytes");
    }
}
