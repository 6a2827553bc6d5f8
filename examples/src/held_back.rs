//! Data to judge the models by that they were not trained on, compiled in so that judging needs no files.

/// A home: minutes of a room that [`crate::occupancy`] was not trained on, with a column that says who was right.
pub const OCCUPANCY: &str = include_str!("../data/occupancy/test.csv");

/// A week of the city, a table a day. [`crate::forecast`] has not seen the last two days.
pub const CITY_DAYS: [&str; 7] = [
    include_str!("../data/city/speeds_2012-03-01.csv"),
    include_str!("../data/city/speeds_2012-03-02.csv"),
    include_str!("../data/city/speeds_2012-03-03.csv"),
    include_str!("../data/city/speeds_2012-03-04.csv"),
    include_str!("../data/city/speeds_2012-03-05.csv"),
    include_str!("../data/city/speeds_2012-03-06.csv"),
    include_str!("../data/city/speeds_2012-03-07.csv"),
];
pub const CITY_DAYS_SEEN: usize = 5;

/// 100 engines run to failure, packed by gzip. [`crate::engine`] has not seen the engines above [`ENGINES_SEEN`].
pub const ENGINES_GZ: &[u8] = include_bytes!("../data/factory/train_FD001.txt.gz");
pub const ENGINES_SEEN: u32 = 80;

/// Two machines' temperatures by file name. [`crate::alarms`] learns nothing beforehand; its few limits were chosen on
/// these two.
pub const SERIES: [(&str, &str); 2] = [
    ("machine_temperature_system_failure.csv", include_str!("../data/factory/machine_temperature.csv")),
    ("ambient_temperature_system_failure.csv", include_str!("../data/factory/ambient_temperature_system_failure.csv")),
];
/// When each of them was failing, as the benchmark's own file says it.
pub const FAILURE_WINDOWS: &str = include_str!("../data/factory/combined_windows.json");

pub use crate::workload::held_back_digits as digits;
