//! Lines over two axes, as SVG.
//!
//! **Not here:** what is plotted. A chart knows points, names and units.

use core::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

const SIZE_PX: (u32, u32) = (860, 460);
/// Told apart by eye, also by most who cannot tell red from green (Wong, Nature Methods 2011, and two greys).
const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(150, 110, 50),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
    RGBColor(130, 20, 60),
];

/// An axis: what it says, with its unit, and how it grows.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Axis {
    pub(in crate::sim) label: &'static str,
    pub(in crate::sim) log: bool,
}

impl Axis {
    pub(in crate::sim) fn linear(label: &'static str) -> Self {
        Self { label, log: false }
    }

    pub(in crate::sim) fn log(label: &'static str) -> Self {
        Self { label, log: true }
    }

    /// From the least to the greatest value, with some air; a log axis has none for what is not positive.
    fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && (!self.log || *value > 0.0)).collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match (values.is_empty(), self.log) {
            (true, true) => 1.0..10.0,
            (true, false) => 0.0..1.0,
            (false, true) => least / 1.3..most * 1.3,
            (false, false) if least >= 0.0 && least < most / 2.0 => 0.0..most * 1.05,
            (false, false) if least < most => least - (most - least) * 0.05..most + (most - least) * 0.05,
            (false, false) => least.min(0.0)..most.max(1.0) * 1.05,
        }
    }
}

/// One line.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Series {
    pub(in crate::sim) name: String,
    /// Which colour; the same thing has the same in every chart.
    pub(in crate::sim) colour: usize,
    pub(in crate::sim) points: Vec<(f64, f64)>,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Chart {
    /// Of the file.
    pub(in crate::sim) name: &'static str,
    pub(in crate::sim) title: String,
    pub(in crate::sim) x: Axis,
    pub(in crate::sim) y: Axis,
    pub(in crate::sim) series: Vec<Series>,
    /// Whether each point was measured apart, and is marked; a curve through many is not.
    pub(in crate::sim) marked: bool,
}

/// A chart could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw `{chart}`: {why}")]
pub struct PlotError {
    chart: &'static str,
    why: String,
}

impl Chart {
    pub(in crate::sim) fn svg(&self) -> Result<String, PlotError> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = self.x.range(points().map(|(x, _)| *x));
        let y = self.y.range(points().map(|(_, y)| *y));
        match (self.x.log, self.y.log) {
            (false, false) => self.draw(x, y),
            (true, false) => self.draw(x.log_scale(), y),
            (false, true) => self.draw(x, y.log_scale()),
            (true, true) => self.draw(x.log_scale(), y.log_scale()),
        }
    }

    fn draw<X, Y>(&self, x: X, y: Y) -> Result<String, PlotError>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut svg = String::new();
        self.draw_on(SVGBackend::with_string(&mut svg, SIZE_PX), x, y)
            .map_err(|error| PlotError { chart: self.name, why: error.to_string() })?;
        Ok(svg)
    }

    fn draw_on<X, Y>(
        &self,
        backend: SVGBackend<'_>,
        x: X,
        y: Y,
    ) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'_> as DrawingBackend>::ErrorType>>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        // The legend stands beside the lines, never on them.
        let (plot, legend) = area.split_horizontally(SIZE_PX.0 - LEGEND_PX);
        let mut chart = ChartBuilder::on(&plot)
            .caption(&self.title, ("sans-serif", 17))
            .margin(10)
            .x_label_area_size(46)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .axis_desc_style(("sans-serif", 14))
            .label_style(("sans-serif", 12))
            .max_light_lines(LIGHT_LINES)
            .light_line_style(RGBColor(240, 240, 240))
            .bold_line_style(RGBColor(215, 215, 215))
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        for (row, series) in self.series.iter().enumerate() {
            let colour = COLOURS[series.colour % COLOURS.len()];
            let points: Vec<(f64, f64)> = series.points.iter().copied().filter(|point| self.shows(*point)).collect();
            chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
            if self.marked {
                chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
            }
            let y_px = 44 + 20 * i32::try_from(row).unwrap_or(0);
            legend.draw(&PathElement::new(vec![(4, y_px), (24, y_px)], colour.stroke_width(3)))?;
            legend.draw(&Text::new(series.name.clone(), (30, y_px - 6), ("sans-serif", 13)))?;
        }
        area.present()
    }

    /// Whether a point has a place on both axes.
    fn shows(&self, (x, y): (f64, f64)) -> bool {
        let has_place = |axis: &Axis, value: f64| value.is_finite() && (!axis.log || value > 0.0);
        has_place(&self.x, x) && has_place(&self.y, y)
    }
}

const LEGEND_PX: u32 = 190;
/// Between two labelled lines of the grid.
const LIGHT_LINES: usize = 2;

/// A number as short as it can be said without loss to the eye: 0.05, 0.5, 12, 1200, 10k, 2M.
pub(in crate::sim) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 {
        return format!("{}M", trimmed(value / 1e6, 1));
    }
    if size >= 1e4 {
        return format!("{}k", trimmed(value / 1e3, 1));
    }
    match size {
        s if s >= 100.0 || s == 0.0 => trimmed(value, 0),
        s if s >= 10.0 => trimmed(value, 1),
        s if s >= 1.0 => trimmed(value, 2),
        s if s >= 0.001 => trimmed(value, 4),
        _ => format!("{value:.1e}"),
    }
}

fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(x: Axis, y: Axis, points: Vec<(f64, f64)>) -> Chart {
        let series = vec![Series { name: "ours <&>".into(), colour: 0, points }];
        Chart { name: "test", title: "A test".into(), x, y, series, marked: true }
    }

    #[test]
    fn every_kind_of_axes_says_what_it_shows() {
        for (x_log, y_log) in [(false, false), (false, true), (true, false), (true, true)] {
            let axis = |label, log| Axis { label, log };
            let points = vec![(1.0, 0.5), (10.0, 20.0), (1_000.0, 3.0)];

            let svg = chart(axis("peers", x_log), axis("delay [ms]", y_log), points).svg().unwrap();

            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            for text in ["A test", "peers", "delay [ms]", "ours &lt;&amp;&gt;"] {
                assert!(svg.contains(text), "{text} is missing");
            }
            assert_eq!(svg.matches("<circle").count(), 3);
        }
    }

    #[test]
    fn what_has_no_place_on_an_axis_is_left_out() {
        let points = vec![(0.0, 1.0), (10.0, f64::NAN), (100.0, 5.0), (1_000.0, f64::INFINITY)];

        let svg = chart(Axis::log("x"), Axis::log("y"), points).svg().unwrap();

        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn nothing_to_show_is_an_empty_chart() {
        assert!(chart(Axis::log("x"), Axis::linear("y"), Vec::new()).svg().is_ok());
        assert!(chart(Axis::linear("x"), Axis::linear("y"), vec![(0.0, 0.0)]).svg().is_ok());
    }

    #[test]
    fn numbers_are_short() {
        let said = [0.0, 0.05, 0.5, 1.0, 12.5, 1_200.0, 10_000.0, 2_500_000.0, 0.000_02].map(number);

        assert_eq!(said, ["0", "0.05", "0.5", "1", "12.5", "1200", "10k", "2.5M", "2.0e-5"]);
    }
}
