//! Reading rows of the C-MAPSS form: engine, cycle, 3 settings, 21 sensors, parted by blanks; engines one after another.

use crate::text;

pub const COLUMNS: usize = 26;
/// A row may hold this many cycles; engines live for a few hundred.
pub const CYCLES_MAX: usize = 10_000;

/// The sensors that tell anything in FD001, by number; the others stand still or nearly so.
pub const SENSORS: [usize; 14] = [2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21];

/// One reading of each of [`SENSORS`].
pub type Reading = [f64; SENSORS.len()];

/// What one engine's sensors said, cycle after cycle.
#[derive(Debug, Clone, PartialEq)]
pub struct Engine {
    pub number: u32,
    pub readings: Vec<Reading>,
}

/// Reads engines; each one's cycles must count up by one.
pub fn read(input: &[u8]) -> Result<Vec<Engine>, String> {
    let mut engines: Vec<Engine> = Vec::new();
    let mut last_cycle = 0;
    for (number, line) in text::lines(input)? {
        let (engine, cycle, reading) = row(line).map_err(|problem| format!("line {number}: {problem}"))?;
        let goes_on = matches!(engines.last(), Some(last) if last.number == engine);
        if goes_on && cycle != last_cycle + 1 {
            return Err(format!("line {number}: engine {engine} has cycle {cycle} after cycle {last_cycle}"));
        }
        if !goes_on {
            if engines.iter().any(|known| known.number == engine) {
                return Err(format!("line {number}: engine {engine} comes a second time"));
            }
            engines.push(Engine { number: engine, readings: Vec::new() });
        }
        last_cycle = cycle;
        if let Some(last) = engines.last_mut() {
            if last.readings.len() == CYCLES_MAX {
                return Err(format!("line {number}: engine {engine} has more than {CYCLES_MAX} cycles"));
            }
            last.readings.push(reading);
        }
    }
    if engines.is_empty() {
        return Err("the input is empty; give rows of 26 numbers: engine, cycle, 3 settings, 21 sensors".to_owned());
    }
    Ok(engines)
}

fn row(line: &str) -> Result<(u32, u32, Reading), String> {
    let mut fields = [""; COLUMNS];
    let mut count = 0;
    for field in line.split_ascii_whitespace() {
        if count < COLUMNS {
            fields[count] = field;
        }
        count += 1;
    }
    if count != COLUMNS {
        return Err(format!("{count} numbers; wanted: {COLUMNS} (engine, cycle, 3 settings, 21 sensors)"));
    }
    let whole = |place: usize, name: &str| match fields[place].parse::<u32>() {
        Ok(value) if value > 0 => Ok(value),
        _ => Err(format!("the {name} is `{}`, not a whole number from 1", fields[place])),
    };
    let mut reading = [0.0; SENSORS.len()];
    for (value, sensor) in reading.iter_mut().zip(SENSORS) {
        let field = fields[4 + sensor];
        *value = text::decimal(field).ok_or_else(|| format!("sensor {sensor} is `{field}`, not a number"))?;
    }
    Ok((whole(0, "engine")?, whole(1, "cycle")?, reading))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(engine: u32, cycle: u32) -> String {
        let sensors: Vec<String> = (1..=21).map(|sensor| format!("{sensor}.5")).collect();
        format!("{engine} {cycle} 0.1 -0.2 100.0 {}  \n", sensors.join(" "))
    }

    #[test]
    fn engines_are_told_apart_and_sensors_taken_by_number() {
        let engines = read((line(3, 1) + &line(3, 2) + &line(7, 1)).as_bytes()).unwrap();

        assert_eq!(
            engines.iter().map(|engine| (engine.number, engine.readings.len())).collect::<Vec<_>>(),
            [(3, 2), (7, 1)]
        );
        assert_eq!(engines[0].readings[0][0], 2.5);
        assert_eq!(engines[0].readings[0][13], 21.5);
    }

    #[test]
    fn wrong_rows_name_the_line() {
        let error = |text: String| read(text.as_bytes()).unwrap_err();

        assert!(error(String::new()).contains("empty"));
        assert!(error("1 1 0.5\n".to_owned()).contains("line 1: 3 numbers; wanted: 26"));
        assert!(error(line(1, 1) + &line(1, 3)).contains("line 2: engine 1 has cycle 3 after cycle 1"));
        assert!(error(line(1, 1) + &line(2, 1) + &line(1, 2)).contains("line 3: engine 1 comes a second time"));
        assert!(error(line(0, 1)).contains("engine is `0`"));
        assert!(error(line(1, 1).replace("4.5", "NaN")).contains("sensor 4 is `NaN`"));
        assert!(error(line(1, 1).replace("21.5", "21.5 9")).contains("27 numbers"));
    }
}
