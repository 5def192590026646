//! Writes the text format 0.0.4: HELP, TYPE and samples, without floats. It knows no metric.

use crate::payment::write_cents;

use super::cells::{BUCKET_ENDS_US, Cell, Histogram};

/// The types of the text format.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// A sample's labels: names and values, none of which needs an escape.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

pub(super) struct Page<'a> {
    out: &'a mut Vec<u8>,
    name: &'static str,
}

impl<'a> Page<'a> {
    pub(super) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, name: "" }
    }

    /// Begins a metric; the samples that follow are its.
    pub(super) fn begin(&mut self, kind: Kind, name: &'static str, help: &str) {
        self.name = name;
        self.texts(&[
            "# HELP ",
            name,
            " ",
            help,
            "\n# TYPE ",
            name,
            " ",
            kind.name(),
            "\n",
        ]);
    }

    pub(super) fn sample(&mut self, labels: Labels<'_>, value: u64) {
        self.head("", labels);
        self.number(value);
        self.texts(&["\n"]);
    }

    /// A sample of microseconds, shown in seconds.
    pub(super) fn seconds(&mut self, labels: Labels<'_>, micros: u64) {
        self.head("", labels);
        self.decimal(micros, 1_000_000);
        self.texts(&["\n"]);
    }

    /// A sample of thousandths.
    pub(super) fn thousandths(&mut self, labels: Labels<'_>, value: u64) {
        self.head("", labels);
        self.decimal(value, 1_000);
        self.texts(&["\n"]);
    }

    /// A sample of microseconds, shown in milliseconds; `suffix` ends the name.
    pub(super) fn millis(&mut self, suffix: &str, labels: Labels<'_>, micros: u64) {
        self.head(suffix, labels);
        self.decimal(micros, 1_000);
        self.texts(&["\n"]);
    }

    /// A sample whose name ends with `suffix`.
    pub(super) fn suffixed(&mut self, suffix: &str, value: u64) {
        self.head(suffix, &[]);
        self.number(value);
        self.texts(&["\n"]);
    }

    /// A sample of money (I7: from cents to digits, no float).
    pub(super) fn money(&mut self, labels: Labels<'_>, cents: u64) {
        self.head("", labels);
        write_cents(u128::from(cents), self.out);
        self.texts(&["\n"]);
    }

    /// The cumulative buckets, sum and count of the `histograms` added up.
    pub(super) fn histogram<'h>(
        &mut self,
        label: Option<(&str, &str)>,
        histograms: impl Iterator<Item = &'h Histogram> + Clone,
    ) {
        let mut below = 0_u64;
        for place in 0..=BUCKET_ENDS_US.len() {
            let bucket = |histogram: &Histogram| histogram.buckets.get(place).map_or(0, Cell::get);
            below = histograms
                .clone()
                .map(bucket)
                .fold(below, u64::saturating_add);
            self.texts(&[self.name, "_bucket{"]);
            if let Some((name, value)) = label {
                self.texts(&[name, "=\"", value, "\","]);
            }
            self.texts(&["le=\""]);
            match BUCKET_ENDS_US.get(place) {
                Some(end) => self.decimal(*end, 1_000_000),
                None => self.texts(&["+Inf"]),
            }
            self.texts(&["\"} "]);
            self.number(below);
            self.texts(&["\n"]);
        }
        let labels = label.as_slice();
        self.head("_sum", labels);
        self.decimal(
            histograms.map(|histogram| histogram.sum_us.get()).sum(),
            1_000_000,
        );
        self.texts(&["\n"]);
        // The count is the last bucket's by definition; a count of its own could disagree while
        // cores go on counting.
        self.head("_count", labels);
        self.number(below);
        self.texts(&["\n"]);
    }

    fn head(&mut self, suffix: &str, labels: Labels<'_>) {
        self.texts(&[self.name, suffix]);
        for (place, (name, value)) in labels.iter().enumerate() {
            self.texts(&[if place == 0 { "{" } else { "," }, name, "=\"", value, "\""]);
        }
        self.texts(&[if labels.is_empty() { " " } else { "} " }]);
    }

    fn number(&mut self, value: u64) {
        self.out
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// `value / unit` as a decimal without zeros at its end; `unit` is a power of ten.
    fn decimal(&mut self, value: u64, unit: u64) {
        self.number(value / unit);
        let (mut rest, mut place) = (value % unit, unit / 10);
        if rest > 0 {
            self.out.push(b'.');
        }
        while rest > 0 && place > 0 {
            self.out
                .push(b'0' + u8::try_from(rest / place).unwrap_or(0));
            rest %= place;
            place /= 10;
        }
    }

    fn texts(&mut self, texts: &[&str]) {
        texts
            .iter()
            .for_each(|text| self.out.extend_from_slice(text.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_short() {
        for (micros, text) in [
            (0, "0"),
            (1, "0.000001"),
            (100, "0.0001"),
            (2_500_000, "2.5"),
            (10_000_000, "10"),
            (1_234_567, "1.234567"),
            (1_000_001, "1.000001"),
        ] {
            let mut out = Vec::new();
            Page::new(&mut out).decimal(micros, 1_000_000);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
