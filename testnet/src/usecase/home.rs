//! A home: a spoken digit is recognised at the edge, and in the cloud where the edge is unsure; a room's occupancy at the
//! edge.

use std::path::Path;

use serde::Serialize;
use shoal_examples::digit::{self, wav};
use shoal_examples::held_back;
use shoal_protocol::certificate::Role;

use super::error::UsecaseError;
use super::report::Taken;
use super::stages::{Ask, Stages, native};
use super::{files, table};
use crate::plot::{Axis, Chart, Series};

/// Recordings a task is asked about.
const BATCH: usize = 100;
/// Minutes of a room a task is asked about: a day.
const ROOM_BATCH: usize = 1_440;
const ROOM_HEADING: &str = "time,temperature,humidity,light,co2\n";
/// Thresholds the chart shows, below which the cloud is asked.
const THRESHOLDS: [f64; 11] = [0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.01];

/// Figures of a home; what could not be judged is absent.
#[derive(Debug, Clone, Serialize)]
pub struct Home {
    /// Of the answers: the edge's where it was sure, else the cloud's.
    pub accuracy: Option<f64>,
    /// If the small model at the edge had answered all.
    pub accuracy_small: Option<f64>,
    /// If the full model had answered all; computed natively, for comparison.
    pub accuracy_full: Option<f64>,
    /// The share of recordings that the cloud was asked about.
    pub escalated: Option<f64>,
    pub recordings: usize,
    pub occupancy_accuracy: Option<f64>,
    pub occupancy_minutes: usize,
    /// For the chart: the share asked about and the accuracy at other thresholds.
    #[serde(skip)]
    trade: Vec<(f64, f64)>,
}

#[derive(Debug)]
struct Recording {
    digit: usize,
    wav: Vec<u8>,
}

#[derive(Debug)]
struct Minute {
    /// As the module reads it.
    row: String,
    occupied: bool,
}

/// What is judged.
#[derive(Debug)]
pub(super) struct Data {
    recordings: Vec<Recording>,
    /// Whether the models that shipped have heard these.
    heard: bool,
    minutes: Vec<Minute>,
    pub(super) taken: Vec<Taken>,
}

impl Data {
    pub(super) fn read(dir: Option<&Path>) -> Result<Self, UsecaseError> {
        let Some(dir) = dir else { return Self::held_back() };
        let (mut recordings, mut minutes, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for path in files::list(dir)? {
            let (name, shown) = (files::name(&path), path.display().to_string());
            if let Some(digit) = spoken_digit(&name) {
                recordings.push(recording(&shown, digit, files::bytes(&path)?)?);
            } else if is_room(&name) {
                let own = room(&shown, &files::text(&path)?)?;
                taken.push(Taken::new(&shown, format!("{} minutes of a room", own.len())));
                minutes.extend(own);
            }
        }
        if !recordings.is_empty() {
            let what = format!("{} recordings `{{digit}}_{{speaker}}_{{take}}.wav`", recordings.len());
            taken.push(Taken::new(dir.display().to_string(), what));
        }
        if taken.is_empty() {
            let wanted =
                "recording `{digit}_{speaker}_{take}.wav` and no occupancy table (`*occupancy*` or `datatest*`)";
            return Err(UsecaseError::NothingFound { dir: dir.to_path_buf(), wanted });
        }
        Ok(Self { recordings, heard: true, minutes, taken })
    }

    fn held_back() -> Result<Self, UsecaseError> {
        let name = "examples/data/occupancy/test.csv";
        let minutes = room(name, held_back::OCCUPANCY)?;
        let digits = held_back::digits().iter();
        let recordings: Vec<Recording> =
            digits.map(|(digit, _, wav)| Recording { digit: usize::from(*digit), wav: wav.to_vec() }).collect();
        let taken = vec![
            Taken::new(
                "examples/data/digits",
                format!("{} recordings of take 8, by models that have not heard it", recordings.len()),
            ),
            Taken::new(name, format!("{} minutes of a room", minutes.len())),
        ];
        Ok(Self { recordings, heard: false, minutes, taken })
    }
}

/// `7` of `7_theo_12.wav`.
fn spoken_digit(name: &str) -> Option<usize> {
    let fields: Vec<&str> = name.strip_suffix(".wav")?.split('_').collect();
    let [digit, _, .., take] = fields.as_slice() else { return None };
    let is_take = !take.is_empty() && take.bytes().all(|byte| byte.is_ascii_digit());
    let digit = digit.parse::<usize>().ok().filter(|value| *value < digit::DIGITS && digit.len() == 1);
    digit.filter(|_| is_take)
}

fn is_room(name: &str) -> bool {
    let is_table = name.ends_with(".txt") || name.ends_with(".csv");
    is_table && ["occupancy", "datatest", "datatraining"].iter().any(|part| name.contains(part))
}

fn recording(file: &str, digit: usize, mut wav: Vec<u8>) -> Result<Recording, UsecaseError> {
    wav::read(&wav).map_err(|why| UsecaseError::bad(file, why))?;
    // Recordings are told apart by the length each file gives for itself, and not every recorder writes it.
    let length = u32::try_from(wav.len() - 8).unwrap_or(u32::MAX);
    wav[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(Recording { digit, wav })
}

/// Reads the form of UCI's files, whose rows begin with a number that their heading may not name, and our own.
fn room(file: &str, text: &str) -> Result<Vec<Minute>, UsecaseError> {
    const NAMES: [&str; 6] = ["date|time", "temperature", "humidity", "light", "co2", "occupancy|occupied"];
    let mut lines = table::lines(file, text);
    let heading = lines.next().ok_or_else(|| UsecaseError::bad(file, "the file is empty"))?;
    let names: Vec<String> = heading.fields().iter().map(|name| name.to_lowercase()).collect();
    let place = |wanted: &str| names.iter().position(|name| wanted.split('|').any(|wanted| name == wanted));
    let mut places = [0; NAMES.len()];
    for (at, wanted) in places.iter_mut().zip(NAMES) {
        *at = place(wanted).ok_or_else(|| heading.bad(format!("no column `{wanted}` in the heading")))?;
    }
    let mut minutes = Vec::new();
    for line in lines {
        let fields = line.fields();
        let unnamed = fields.len().checked_sub(names.len()).filter(|unnamed| *unnamed <= 1);
        let unnamed = unnamed.ok_or_else(|| line.bad(format!("{} fields; wanted: {}", fields.len(), names.len())))?;
        let field = |number: usize| fields[places[number] + unnamed];
        let mut row = field(0).to_owned();
        for (number, name) in NAMES.iter().enumerate().skip(1).take(4) {
            row.push_str(&format!(",{:.3}", line.number(field(number), name)?));
        }
        let occupied = match field(5) {
            "1" => true,
            "0" => false,
            other => return Err(line.bad(format!("occupancy is `{other}`, not 0 or 1"))),
        };
        minutes.push(Minute { row, occupied });
    }
    if minutes.is_empty() {
        return Err(UsecaseError::bad(file, "a heading and no rows"));
    }
    Ok(minutes)
}

pub(super) async fn judge(data: &Data, stages: &mut Stages) -> Result<Home, UsecaseError> {
    let all: Vec<&Recording> = data.recordings.iter().collect();
    let small = stages.answers(asks("digit_small", Role::Edge, &all, data.heard)).await?;
    let small = heard(&small);
    let unsure = |(_, confidence): &(usize, f64)| *confidence < digit::UNSURE_BELOW;
    let asked: Vec<&Recording> = all.iter().zip(&small).filter(|(_, said)| unsure(said)).map(|(one, _)| *one).collect();
    let cloud = stages.answers(asks("digit", Role::Cloud, &asked, data.heard)).await?;
    let mut cloud = heard(&cloud).into_iter();
    let said: Vec<usize> = small
        .iter()
        .map(|said| if unsure(said) { cloud.next().map_or(usize::MAX, |(digit, _)| digit) } else { said.0 })
        .collect();
    // What the full model would have said to all, for comparison only.
    let full = asks("digit", Role::Cloud, &all, data.heard).iter().map(native).collect::<Result<Vec<_>, _>>()?;
    let full = heard(&full);

    let share = |count: usize| (!all.is_empty()).then(|| count as f64 / all.len() as f64);
    let right =
        |said: &dyn Fn(usize) -> usize| (0..all.len()).filter(|&number| said(number) == all[number].digit).count();
    let trade = |threshold: &f64| {
        let escalated = small.iter().filter(|(_, confidence)| confidence < threshold).count();
        let said = |number: usize| if small[number].1 < *threshold { full[number].0 } else { small[number].0 };
        Some((100.0 * share(escalated)?, 100.0 * share(right(&said))?))
    };
    let occupied = occupied(data, stages).await?;
    let right_minutes = occupied.iter().zip(&data.minutes).filter(|(said, minute)| **said == minute.occupied).count();
    Ok(Home {
        accuracy: share(right(&|number| said[number])),
        accuracy_small: share(right(&|number| small[number].0)),
        accuracy_full: share(right(&|number| full[number].0)),
        escalated: share(asked.len()),
        recordings: all.len(),
        occupancy_accuracy: (!occupied.is_empty()).then(|| right_minutes as f64 / occupied.len() as f64),
        occupancy_minutes: occupied.len(),
        trade: THRESHOLDS.iter().filter_map(trade).collect(),
    })
}

fn asks(module: &'static str, role: Role, recordings: &[&Recording], heard: bool) -> Vec<Ask> {
    let ask = |(number, batch): (usize, &[&Recording])| Ask {
        module,
        args: if heard { Vec::new() } else { vec!["--held-back".to_owned()] },
        input: batch.iter().flat_map(|recording| recording.wav.iter().copied()).collect(),
        role,
        about: format!("recordings {} to {}", number * BATCH + 1, number * BATCH + batch.len()),
    };
    recordings.chunks(BATCH).enumerate().map(ask).collect()
}

/// The digit and the confidence of each answer.
fn heard(answers: &[Vec<u8>]) -> Vec<(usize, f64)> {
    let lines = answers.iter().flat_map(|answer| answer.split(|byte| *byte == b'\n'));
    let line = |line: &[u8]| {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = line.strip_prefix("digit=")?.split(' ');
        let digit = fields.next()?.parse().ok()?;
        Some((digit, fields.next()?.strip_prefix("confidence=")?.parse().ok()?))
    };
    lines.filter_map(line).collect()
}

async fn occupied(data: &Data, stages: &mut Stages) -> Result<Vec<bool>, UsecaseError> {
    let ask = |(day, batch): (usize, &[Minute])| {
        let rows: Vec<&str> = batch.iter().map(|minute| minute.row.as_str()).collect();
        let input = format!("{ROOM_HEADING}{}\n", rows.join("\n")).into_bytes();
        Ask {
            module: "occupancy",
            args: Vec::new(),
            input,
            role: Role::Edge,
            about: format!("day {} of a room", day + 1),
        }
    };
    let answers = stages.answers(data.minutes.chunks(ROOM_BATCH).enumerate().map(ask).collect()).await?;
    let mut occupied = Vec::with_capacity(data.minutes.len());
    for answer in &answers {
        let text = String::from_utf8_lossy(answer);
        let rows = text.lines().skip(1).filter(|line| !line.starts_with('#'));
        occupied.extend(rows.map(|line| line.split(',').nth(1) == Some("occupied")));
    }
    Ok(occupied)
}

impl Home {
    pub(super) fn rows(&self) -> Vec<[String; 2]> {
        let percent =
            |share: Option<f64>| share.map_or("not judged".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        vec![
            ["recordings of spoken digits".into(), self.recordings.to_string()],
            ["right, small model at the edge, the cloud where it is unsure".into(), percent(self.accuracy)],
            ["recordings the cloud was asked about".into(), percent(self.escalated)],
            ["right, if the small model answered all".into(), percent(self.accuracy_small)],
            ["right, if the full model answered all".into(), percent(self.accuracy_full)],
            ["minutes of a room".into(), self.occupancy_minutes.to_string()],
            ["minutes right, occupied or empty, at the edge".into(), percent(self.occupancy_accuracy)],
        ]
    }

    pub(super) fn meaning(&self) -> String {
        match (self.accuracy, self.escalated) {
            (Some(accuracy), Some(escalated)) => format!(
                "Of 100 spoken digits {:.0} are understood, and {:.0} never leave the house.",
                100.0 * accuracy,
                100.0 * (1.0 - escalated)
            ),
            _ => "No recordings of spoken digits were given.".into(),
        }
    }

    pub(super) fn chart(&self) -> Chart {
        let name = "right".to_owned();
        Chart {
            name: "home",
            title: "Spoken digits: what asking the cloud is worth".into(),
            x: Axis::linear("recordings the cloud is asked about [%]"),
            y: Axis::linear("right answers [%]"),
            series: vec![Series { name, colour: 0, points: self.trade.clone() }],
            marked: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_known_by_its_name() {
        assert_eq!(spoken_digit("7_theo_12.wav"), Some(7));
        assert_eq!(spoken_digit("0_two_words_3.wav"), Some(0));
        for other in ["77_theo_1.wav", "x_theo_1.wav", "7_theo.wav", "7_theo_x.wav", "7_theo_1.mp3", "7.wav"] {
            assert_eq!(spoken_digit(other), None, "{other}");
        }
    }

    #[test]
    fn a_bad_recording_is_told_by_its_file() {
        let error = recording("d/7_theo_1.wav", 7, b"RIFF\0\0\0\0WAVEfmt ".to_vec()).unwrap_err();

        assert!(error.to_string().starts_with("d/7_theo_1.wav: the WAV file ends"), "{error}");
    }

    #[test]
    fn rooms_are_read_in_both_forms() {
        let uci = "\"date\",\"Temperature\",\"Humidity\",\"Light\",\"CO2\",\"HumidityRatio\",\"Occupancy\"\n\
                   \"1\",\"2015-02-04 17:51:00\",23.18,27.272,426,721.25,0.0048,1\n";
        let own = "time,temperature,humidity,light,co2,occupied\n2015-02-04 17:51:00,23.18,27.272,426,721.25,1\n";

        for text in [uci, own] {
            let minutes = room("room.txt", text).unwrap();

            assert_eq!(minutes[0].row, "2015-02-04 17:51:00,23.180,27.272,426.000,721.250");
            assert!(minutes[0].occupied);
        }
    }

    #[test]
    fn bad_rooms_name_file_and_line() {
        let heading = "time,temperature,humidity,light,co2,occupied\n";
        let error = |rows: &str| room("room.txt", &format!("{heading}{rows}")).unwrap_err().to_string();

        assert_eq!(error("t,1,2,3\n"), "room.txt: line 2: 4 fields; wanted: 6");
        assert_eq!(error("t,1,2,3,4,1\nt,1,NaN,3,4,1\n"), "room.txt: line 3: humidity is `NaN`, not a number");
        assert_eq!(error("t,1,2,3,4,yes\n"), "room.txt: line 2: occupancy is `yes`, not 0 or 1");
        assert!(error("").contains("no rows"));
        assert!(room("room.txt", "a,b\n").unwrap_err().to_string().contains("line 1: no column `date|time`"));
    }
}
