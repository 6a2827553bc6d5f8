//! Grows the trees of `src/trees.rs`: gradient boosting on histograms, one question a level.
//!
//! Each tree sees a random half of the rows and some of the inputs (Friedman, "Stochastic gradient boosting", 2002).

use shoal_examples::trees::Trees;

use super::random::Random;

/// Borders a histogram cuts an input at, at most.
const BORDERS: usize = 63;
/// Rows looked at to choose the borders.
const BORDER_ROWS: usize = 20_000;
/// Counts against answers of few rows.
const CALM: f64 = 20.0;

/// What is made small: the mean square or the mean absolute error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Loss {
    Square,
    Absolute,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) loss: Loss,
    pub(crate) trees: usize,
    pub(crate) depth: usize,
    pub(crate) rate: f64,
    /// The share of rows and of inputs that a tree sees.
    pub(crate) rows: f64,
    pub(crate) inputs: f64,
    pub(crate) seed: u64,
}

/// Trees that own their numbers.
pub(crate) struct Grown {
    base: f32,
    depth: usize,
    questions: Vec<(u8, f32)>,
    answers: Vec<f32>,
}

impl Grown {
    pub(crate) fn trees(&self) -> Trees<'_> {
        Trees { base: self.base, depth: self.depth, questions: &self.questions, answers: &self.answers }
    }

    /// The trees as Rust source.
    pub(crate) fn source(&self, name: &str) -> String {
        let numbers = |text: String| text.replacen("pub const", "pub static", 1);
        format!(
            "#[rustfmt::skip]\npub static {name}: Trees<'_> =\n    Trees {{ base: {:?}, depth: {}, questions: &{name}_QUESTIONS, answers: &{name}_ANSWERS }};\n\n{}\n{}",
            self.base,
            self.depth,
            numbers(super::array(&format!("{name}_QUESTIONS"), "(u8, f32)", &self.questions)),
            numbers(super::array(&format!("{name}_ANSWERS"), "f32", &self.answers)),
        )
    }
}

/// Grows trees for `targets` from rows of inputs, all of one length.
pub(crate) fn grow(rows: &[Vec<f32>], targets: &[f32], plan: Plan) -> Grown {
    let mut random = Random(plan.seed);
    let width = rows[0].len();
    let borders: Vec<Vec<f32>> = (0..width).map(|input| borders(rows, input)).collect();
    let bins: Vec<Vec<u8>> = (0..width)
        .map(|input| {
            rows.iter().map(|row| borders[input].partition_point(|border| *border < row[input]) as u8).collect()
        })
        .collect();
    let mut everything: Vec<f64> = targets.iter().map(|&target| f64::from(target)).collect();
    let base = middle(&mut everything, plan.loss) as f32;
    let mut rests: Vec<f64> = targets.iter().map(|&target| f64::from(target) - f64::from(base)).collect();
    let mut grown = Grown { base, depth: plan.depth, questions: Vec::new(), answers: Vec::new() };
    for _ in 0..plan.trees {
        let seen: Vec<u32> = (0..rows.len() as u32).filter(|_| random.uniform() < plan.rows).collect();
        let mut inputs: Vec<usize> = (0..width).collect();
        random.shuffle(&mut inputs);
        inputs.truncate(((width as f64 * plan.inputs) as usize).max(1));

        let slopes: Vec<f32> = seen.iter().map(|&row| slope(rests[row as usize], plan.loss)).collect();
        let mut places = vec![0u8; seen.len()];
        let mut asked = Vec::new();
        for level in 0..plan.depth {
            let (input, bin) = best(&bins, &borders, &inputs, &seen, &slopes, &places, 1 << level);
            for (place, &row) in places.iter_mut().zip(&seen) {
                *place |= u8::from(usize::from(bins[input][row as usize]) > bin) << level;
            }
            asked.push((input, bin));
        }
        let mut parts: Vec<Vec<f64>> = vec![Vec::new(); 1 << plan.depth];
        for (&place, &row) in places.iter().zip(&seen) {
            parts[usize::from(place)].push(rests[row as usize]);
        }
        let answer = |part: &mut Vec<f64>| {
            let count = part.len() as f64;
            (plan.rate * middle(part, plan.loss) * count / (count + CALM)) as f32
        };
        let answers: Vec<f32> = parts.iter_mut().map(answer).collect();
        for (row, rest) in rests.iter_mut().enumerate() {
            let place: usize = asked
                .iter()
                .enumerate()
                .map(|(level, &(input, bin))| usize::from(usize::from(bins[input][row]) > bin) << level)
                .sum();
            *rest -= f64::from(answers[place]);
        }
        grown.questions.extend(asked.iter().map(|&(input, bin)| (input as u8, borders[input][bin])));
        grown.answers.extend(answers);
    }
    grown
}

/// Values that cut the input into about equally many rows; never empty.
fn borders(rows: &[Vec<f32>], input: usize) -> Vec<f32> {
    let stride = rows.len() / BORDER_ROWS + 1;
    let mut values: Vec<f32> = rows.iter().step_by(stride).map(|row| row[input]).collect();
    values.sort_by(f32::total_cmp);
    let mut borders: Vec<f32> = (1..=BORDERS).map(|n| values[n * (values.len() - 1) / (BORDERS + 1)]).collect();
    borders.dedup();
    borders
}

fn slope(rest: f64, loss: Loss) -> f32 {
    match loss {
        Loss::Square => rest as f32,
        Loss::Absolute => rest.signum() as f32,
    }
}

/// What is nearest to all values: their mean or their median.
fn middle(values: &mut [f64], loss: Loss) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    match loss {
        Loss::Square => values.iter().sum::<f64>() / values.len() as f64,
        Loss::Absolute => {
            let half = values.len() / 2;
            *values.select_nth_unstable_by(half, f64::total_cmp).1
        }
    }
}

/// The question that parts the slopes best over all `parts` places at once.
fn best(
    bins: &[Vec<u8>],
    borders: &[Vec<f32>],
    inputs: &[usize],
    seen: &[u32],
    slopes: &[f32],
    places: &[u8],
    parts: usize,
) -> (usize, usize) {
    let (mut best, mut most) = ((inputs[0], 0), f64::NEG_INFINITY);
    for &input in inputs {
        let mut sums = vec![(0.0f32, 0.0f32); parts * (BORDERS + 1)];
        for ((&row, &slope), &place) in seen.iter().zip(slopes).zip(places) {
            let cell = &mut sums[usize::from(place) * (BORDERS + 1) + usize::from(bins[input][row as usize])];
            cell.0 += slope;
            cell.1 += 1.0;
        }
        let mut gains = vec![0.0f64; borders[input].len()];
        for part in sums.chunks_exact(BORDERS + 1) {
            let all = part.iter().fold((0.0, 0.0), |all, cell| (all.0 + f64::from(cell.0), all.1 + f64::from(cell.1)));
            let mut below = (0.0, 0.0);
            for (gain, cell) in gains.iter_mut().zip(part) {
                below = (below.0 + f64::from(cell.0), below.1 + f64::from(cell.1));
                let above: (f64, f64) = (all.0 - below.0, all.1 - below.1);
                *gain += below.0 * below.0 / (below.1 + CALM) + above.0 * above.0 / (above.1 + CALM);
            }
        }
        for (bin, &gain) in gains.iter().enumerate() {
            if gain > most {
                (best, most) = ((input, bin), gain);
            }
        }
    }
    best
}
