//! What a run came to: a small table, the promises that were broken with examples, and the verdict.

use std::fmt::Display;
use std::io::Write;

/// Examples that are shown of each broken promise.
const EXAMPLES_MAX: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(String, String)>,
    broken: Vec<Broken>,
}

#[derive(Debug)]
struct Broken {
    promise: &'static str,
    count: u64,
    examples: Vec<String>,
}

impl Report {
    pub(crate) fn row(&mut self, name: impl Display, value: impl Display) {
        self.rows.push((name.to_string(), value.to_string()));
    }

    /// A promise was broken once more.
    pub(crate) fn broke(&mut self, promise: &'static str, example: impl FnOnce() -> String) {
        let place = self.broken.iter().position(|one| one.promise == promise);
        let place = place.unwrap_or_else(|| {
            self.broken.push(Broken {
                promise,
                count: 0,
                examples: Vec::new(),
            });
            self.broken.len() - 1
        });
        let broken = &mut self.broken[place];
        broken.count += 1;
        if broken.examples.len() < EXAMPLES_MAX {
            broken.examples.push(example());
        }
    }

    /// Whether this promise was broken.
    pub(crate) fn has_broken(&self, promise: &str) -> bool {
        self.broken.iter().any(|one| one.promise == promise)
    }

    /// The promises that were broken.
    pub(crate) fn promises(&self) -> Vec<&'static str> {
        self.broken.iter().map(|one| one.promise).collect()
    }

    /// The value of a row of the table.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let row = self.rows.iter().find(|(found, _)| found == name);
        row.map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.broken.is_empty()
    }

    /// Takes over the broken promises of another report.
    pub(crate) fn take_over(&mut self, other: Self) {
        for broken in other.broken {
            for example in broken.examples {
                self.broke(broken.promise, || example);
            }
        }
    }

    /// How often a promise was broken, as a row of the table.
    pub(crate) fn row_of(&mut self, promise: &'static str) {
        let broken = self.broken.iter().find(|one| one.promise == promise);
        self.row(promise, broken.map_or(0, |one| one.count));
    }

    /// Prints everything; whether every promise was kept.
    pub(crate) fn print(&self, what: &str) -> bool {
        let width = self.rows.iter().map(|(name, _)| name.len()).max();
        let width = width.unwrap_or(0);
        for (name, value) in &self.rows {
            say(&format!("{name:<width$}  {value}"));
        }
        for broken in &self.broken {
            say(&format!("BROKEN {} x {}", broken.count, broken.promise));
            for example in &broken.examples {
                say(&format!("    {example}"));
            }
        }
        if self.broken.is_empty() {
            say(&format!("{what}: every promise was kept"));
        } else {
            let promises: Vec<_> = self.broken.iter().map(|one| one.promise).collect();
            say(&format!("{what}: BROKEN: {}", promises.join("; ")));
        }
        self.broken.is_empty()
    }
}

/// Rows of equal cells, each as wide as its column needs.
pub(crate) fn say_table(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:>width$}"))
            .collect();
        say(&cells.join("  "));
    }
}

pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that went away misses it.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
