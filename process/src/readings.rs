//! Gauges that are read from the process's state whenever they are asked for, beside those that are kept.
//!
//! What it keeps true: what is gone is not shown any more. A kept gauge of a node that was taken out would tell of it for ever, and
//! fire alerts about it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Name and help text of a gauge.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Its name.
    pub name: &'static str,
    /// What it says, and in which unit.
    pub help: &'static str,
}

/// What was read, for one page of metrics.
#[derive(Debug, Default)]
pub struct Readings {
    by_name: BTreeMap<&'static str, (&'static str, String)>,
}

impl Readings {
    /// Adds a sample.
    pub fn add(&mut self, reading: &Reading, labels: &[(&str, &str)], value: f64) {
        let (_, lines) = self.by_name.entry(reading.name).or_insert_with(|| (reading.help, String::new()));
        lines.push_str(reading.name);
        for (number, (name, text)) in labels.iter().enumerate() {
            lines.push(if number == 0 { '{' } else { ',' });
            write!(lines, "{name}=\"{}\"", escaped(text)).expect("a string takes writes");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        writeln!(lines, "{end} {value}").expect("a string takes writes");
    }

    /// Appends them in Prometheus's text format.
    pub(crate) fn render(&self, text: &mut String) {
        for (name, (help, lines)) in &self.by_name {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{lines}").expect("a string takes writes");
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_name_stand_together_and_labels_cannot_break_out() {
        let (first, second) = (Reading { name: "a", help: "First." }, Reading { name: "b", help: "Second." });
        let mut readings = Readings::default();
        readings.add(&first, &[("node", "n1"), ("state", "x\"y\\\nz")], 1.5);
        readings.add(&second, &[], f64::NAN);
        readings.add(&first, &[("node", "n2")], 3e12);
        let mut text = String::new();
        readings.render(&mut text);
        let expected = "# HELP a First.\n# TYPE a gauge\na{node=\"n1\",state=\"x\\\"y\\\\\\nz\"} 1.5\n\
                        a{node=\"n2\"} 3000000000000\n\n# HELP b Second.\n# TYPE b gauge\nb NaN\n\n";
        assert_eq!(text, expected);
    }
}
