//! The page: what was asked, what was seen, and the command to see it again.
//!
//! **Invariant:** one HTML file that needs no other; the charts are also files of their own.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use crate::plot::{Chart, PlotError};

/// A table; every row is as long as the header.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// One experiment.
#[derive(Debug, Clone)]
pub struct Section {
    pub(super) title: &'static str,
    /// What is varied, what is held, and what is counted.
    pub(super) method: String,
    pub(super) charts: Vec<Chart>,
    pub(super) tables: Vec<Table>,
    /// What shows one point of it on the command line.
    pub(super) command: &'static str,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error(transparent)]
    Plot(#[from] PlotError),
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#222}\
h1{font-size:1.6em}h2{margin-top:2.2em;border-bottom:1px solid #ddd}svg{max-width:100%;height:auto}\
table{border-collapse:collapse;margin:1em 0;font-variant-numeric:tabular-nums}\
th,td{padding:.25em .8em;text-align:right;border-bottom:1px solid #e5e5e5}\
th:first-child,td:first-child{text-align:left}code{background:#f4f4f4;padding:.1em .3em}";

/// Writes `index.html` and one SVG a chart into a directory that exists; the path of the page.
pub fn write(dir: &Path, introduction: &str, sections: &[Section]) -> Result<PathBuf, PageError> {
    let save = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|source| PageError::Write { path: path.clone(), source })?;
        Ok::<_, PageError>(path)
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Shoal: measured</title>\n\
         <style>{STYLE}</style></head><body>\n<h1>Shoal: measured</h1>\n<p>{}</p>\n",
        escaped(introduction)
    );
    for section in sections {
        // Writing to a string cannot fail.
        let _ = writeln!(html, "<h2>{}</h2>\n<p>{}</p>", escaped(section.title), escaped(&section.method));
        for chart in &section.charts {
            let svg = chart.svg()?;
            save(&format!("{}.svg", chart.name), &svg)?;
            html.push_str(&svg);
        }
        for table in &section.tables {
            push_table(&mut html, table);
        }
        let _ = writeln!(html, "<p>One point of it: <code>{}</code></p>", escaped(section.command));
    }
    html.push_str("</body></html>\n");
    save("index.html", &html)
}

fn push_table(html: &mut String, table: &Table) {
    let row = |cells: &[String], tag: &str| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
    };
    let _ = writeln!(html, "<table><thead><tr>{}</tr></thead><tbody>", row(&table.header, "th"));
    for cells in &table.rows {
        let _ = writeln!(html, "<tr>{}</tr>", row(cells, "td"));
    }
    html.push_str("</tbody></table>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Axis, Series};

    #[test]
    fn a_page_holds_its_charts_and_tables() {
        let dir = tempfile::tempdir().unwrap();
        let chart = Chart {
            name: "line",
            title: "Line".into(),
            x: Axis::linear("x"),
            y: Axis::linear("y"),
            series: vec![Series { name: "a".into(), colour: 0, points: vec![(0.0, 1.0), (1.0, 2.0)] }],
            marked: false,
        };
        let table = Table { header: vec!["<who>".into()], rows: vec![vec!["a & b".into()]] };
        let section = Section {
            title: "One",
            method: "How.".into(),
            charts: vec![chart],
            tables: vec![table],
            command: "shoal-testnet sim report",
        };

        let path = write(dir.path(), "What.", &[section]).unwrap();

        let html = std::fs::read_to_string(path).unwrap();
        assert!(html.contains("<th>&lt;who&gt;</th>") && html.contains("<td>a &amp; b</td>"));
        assert_eq!(html.matches("<svg").count(), 1);
        assert!(std::fs::read_to_string(dir.path().join("line.svg")).unwrap().starts_with("<svg"));
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = write(Path::new("/nowhere/at/all"), "", &[]).unwrap_err();

        assert!(error.to_string().starts_with("cannot write /nowhere/at/all/index.html"), "{error}");
    }
}
