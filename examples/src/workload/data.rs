//! The data the five users work with, compiled in so that a demonstration needs no files.

pub(super) const HOME_A: &str = include_str!("../../data/occupancy/train.csv");
pub(super) const HOME_B: &str = include_str!("../../data/occupancy/test.csv");
pub(super) const CITY: &str = include_str!("../../data/city/speeds_2012-03-06.csv");
pub(super) const FACTORY: &str = include_str!("../../data/factory/machine_temperature.csv");

macro_rules! take_8 {
    ($($digit:literal)*) => {
        [$(
            ($digit, "george", include_bytes!(concat!("../../data/digits/", $digit, "_george_8.wav"))),
            ($digit, "jackson", include_bytes!(concat!("../../data/digits/", $digit, "_jackson_8.wav"))),
            ($digit, "lucas", include_bytes!(concat!("../../data/digits/", $digit, "_lucas_8.wav"))),
            ($digit, "nicolas", include_bytes!(concat!("../../data/digits/", $digit, "_nicolas_8.wav"))),
            ($digit, "theo", include_bytes!(concat!("../../data/digits/", $digit, "_theo_8.wav"))),
            ($digit, "yweweler", include_bytes!(concat!("../../data/digits/", $digit, "_yweweler_8.wav"))),
        )*]
    };
}

/// Take 8, which only the models under `--held-back` have not heard: digit, speaker, WAV file.
pub(super) static VOICE: [(u8, &str, &[u8]); 60] = take_8!(0 1 2 3 4 5 6 7 8 9);
