//! The table: what we measured beside its limit or target, their ratio, and whether it was met. Nothing is asserted: a noisy
//! machine must not turn a figure into a failure, nor hide it.

use std::fmt::{self, Display};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds of waiting.
    Ms,
    /// Seconds of waiting.
    S,
    /// Milliseconds of server CPU for one operation.
    CpuMs,
    /// Seconds of server CPU for one GiB.
    CpuSPerGib,
    /// Operations per second.
    PerS,
    /// Million bytes per second.
    MbPerS,
    /// Mebibytes.
    Mib,
    /// Hundredths.
    Percent,
    /// Things, whole ones.
    Count,
    /// How many times.
    Times,
}

/// A number and what it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity(pub f64, pub Unit);

impl Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, least_decimals) = match self.1 {
            Unit::Ms => ("ms", 0),
            Unit::S => ("s", 0),
            Unit::CpuMs => ("ms CPU", 0),
            Unit::CpuSPerGib => ("CPU-s/GiB", 0),
            Unit::PerS => ("/s", 0),
            Unit::MbPerS => ("MB/s", 0),
            Unit::Mib => ("MiB", 0),
            Unit::Percent => ("%", 2),
            Unit::Count => ("", 0),
            Unit::Times => ("×", 3),
        };
        let decimals = match self.0.abs() {
            0.0 => 0,
            1000.0.. => 0,
            100.0.. => 0,
            10.0.. => 1,
            1.0.. => 2,
            _ => 3,
        };
        let decimals = if self.1 == Unit::Count { 0 } else { decimals.max(least_decimals) };
        f.write_str(format!("{:.decimals$} {unit}", self.0).trim_end())
    }
}

/// Whether a row's target was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was.
    Met,
    /// It was not.
    Missed,
    /// There is none: a figure to know.
    Figure,
    /// Nothing was measured, for this reason.
    Skipped(String),
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Met => f.write_str("met"),
            Verdict::Missed => f.write_str("MISSED"),
            Verdict::Figure => f.write_str(""),
            Verdict::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct Row {
    what: String,
    ours: String,
    limit: String,
    ratio: String,
    verdict: Verdict,
}

impl Row {
    /// Ours must not exceed the limit; `limit_name` says where it comes from.
    pub fn at_most(what: impl Into<String>, ours: Quantity, limit: Quantity, limit_name: &str) -> Row {
        Row::compared(what.into(), ours, limit, format!("≤ {limit}"), limit_name, ours.0 <= limit.0)
    }

    /// Ours must reach the limit.
    pub fn at_least(what: impl Into<String>, ours: Quantity, limit: Quantity, limit_name: &str) -> Row {
        Row::compared(what.into(), ours, limit, format!("≥ {limit}"), limit_name, ours.0 >= limit.0)
    }

    /// A figure with nothing to hold it against.
    pub fn figure(what: impl Into<String>, ours: Quantity) -> Row {
        let (limit, ratio) = (String::new(), String::new());
        Row { what: what.into(), ours: ours.to_string(), limit, ratio, verdict: Verdict::Figure }
    }

    /// A figure beside another of the same run.
    pub fn beside(what: impl Into<String>, ours: Quantity, other: Quantity, other_name: &str) -> Row {
        let mut row = Row::compared(what.into(), ours, other, other.to_string(), other_name, true);
        row.verdict = Verdict::Figure;
        row
    }

    /// Nothing was measured.
    pub fn skipped(what: impl Into<String>, why: impl Into<String>) -> Row {
        let empty = String::new;
        Row { what: what.into(), ours: empty(), limit: empty(), ratio: empty(), verdict: Verdict::Skipped(why.into()) }
    }

    fn compared(what: String, ours: Quantity, limit: Quantity, text: String, name: &str, met: bool) -> Row {
        assert_eq!(ours.1, limit.1, "{what}: ours and the limit count the same");
        let limit_text = if name.is_empty() { text } else { format!("{text} ({name})") };
        let ratio = if limit.0 > 0.0 { format!("{:.2}", ours.0 / limit.0) } else { String::new() };
        let verdict = if met { Verdict::Met } else { Verdict::Missed };
        Row { what, ours: ours.to_string(), limit: limit_text, ratio, verdict }
    }

    fn cells(&self) -> [String; 5] {
        [self.what.clone(), self.ours.clone(), self.limit.clone(), self.ratio.clone(), self.verdict.to_string()]
    }
}

/// The heads of the columns.
const HEADS: [&str; 5] = ["measured", "ours", "limit or target", "ratio", "verdict"];

/// The table for a terminal.
pub fn to_text(rows: &[Row]) -> String {
    let lines: Vec<[String; 5]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let print = |line: &[String; 5]| {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(print).collect()
}

/// The table for a README.
pub fn to_markdown(rows: &[Row]) -> String {
    let print = |cells: [String; 5]| {
        let cell = |cell: &String| if cell.is_empty() { " |".to_owned() } else { format!(" {cell} |") };
        format!("|{}\n", cells.iter().map(cell).collect::<String>())
    };
    let mut text = print(HEADS.map(str::to_owned));
    text += "|---|---|---|---|---|\n";
    text.extend(rows.iter().map(|row| print(row.cells())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row::at_most("PUT 4 KiB", Quantity(0.25, Unit::CpuMs), Quantity(0.35, Unit::CpuMs), ""),
            Row::at_least("1 GiB up", Quantity(200.0, Unit::MbPerS), Quantity(412.5, Unit::MbPerS), "half of 825 MB/s"),
            Row::figure("disk", Quantity(1.0, Unit::Times)),
            Row::skipped("4 GiB", "--full only"),
        ]
    }

    #[test]
    fn a_table_is_aligned_and_says_what_was_missed() {
        let expected = "\
measured   ours          limit or target                ratio  verdict
PUT 4 KiB  0.250 ms CPU  ≤ 0.350 ms CPU                 0.71   met
1 GiB up   200 MB/s      ≥ 412 MB/s (half of 825 MB/s)  0.48   MISSED
disk       1.000 ×
4 GiB                                                          skipped: --full only
";
        assert_eq!(to_text(&rows()), expected);
    }

    #[test]
    fn markdown_has_the_same_cells() {
        let expected = "\
| measured | ours | limit or target | ratio | verdict |
|---|---|---|---|---|
| PUT 4 KiB | 0.250 ms CPU | ≤ 0.350 ms CPU | 0.71 | met |
| 1 GiB up | 200 MB/s | ≥ 412 MB/s (half of 825 MB/s) | 0.48 | MISSED |
| disk | 1.000 × | | | |
| 4 GiB | | | | skipped: --full only |
";
        assert_eq!(to_markdown(&rows()), expected);
    }

    #[test]
    fn quantities_keep_three_digits_that_matter() {
        let printed = [0.0, 0.0123, 1.5, 25.31, 123.4, 20_123.4].map(|value| Quantity(value, Unit::Ms).to_string());
        assert_eq!(printed, ["0 ms", "0.012 ms", "1.50 ms", "25.3 ms", "123 ms", "20123 ms"]);
    }
}
