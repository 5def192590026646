//! Which series the rules and dashboards of monitoring/ speak of: expressions out of YAML and JSON,
//! selectors out of expressions, and whether one meets a series of a metrics page. Text in, values
//! out; `metrics` fetches the pages.

use std::collections::BTreeMap;
use std::iter::successors;

use serde_json::Value;

/// Names of metrics begin so; `up` is Prometheus's own.
const PREFIXES: [&str; 6] = [
    "p99_",
    "process_",
    "haproxy_",
    "payments_",
    "circuit_breaker_",
    "idempotency_",
];
/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["job", "instance"];

/// A metric with its conditions: label, operator, value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    matchers: Vec<(String, String, String)>,
}

/// The labels of one series.
type Labels = BTreeMap<String, String>;

/// Every series of some pages, by metric.
pub(crate) fn series(pages: &[String]) -> BTreeMap<String, Vec<Labels>> {
    let mut found: BTreeMap<String, Vec<Labels>> = BTreeMap::new();
    for line in pages.iter().flat_map(|page| page.lines()) {
        if line.starts_with('#') {
            continue;
        }
        let Some((name, rest)) = split_name(line) else {
            continue;
        };
        let (matchers, _) = braces(rest);
        let labels = matchers.into_iter().map(|(label, _, value)| (label, value));
        found
            .entry(name.to_owned())
            .or_default()
            .push(labels.collect());
    }
    found
}

/// The expressions of a rules file: from `expr:` to the next line that is no deeper.
pub(crate) fn of_rules(text: &str) -> Vec<String> {
    let depth = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let mut found: Vec<String> = Vec::new();
    let mut inside = None;
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        if let Some(first) = line.trim_start_matches([' ', '-']).strip_prefix("expr:") {
            inside = Some(depth(line));
            found.push(first.trim().trim_start_matches(">-").to_owned());
        } else if let Some(last) = found.last_mut()
            && inside.is_some_and(|least| line.trim().is_empty() || depth(line) > least)
        {
            last.push(' ');
            last.push_str(line.trim());
        } else {
            inside = None;
        }
    }
    found
}

/// The expressions of a dashboard, and those that fill its variables.
pub(crate) fn of_dashboard(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match inner.as_str() {
                    Some(text) if key == "expr" => found.push(text.to_owned()),
                    Some(text) if key == "query" => {
                        let inside = text.strip_prefix("label_values(");
                        found.extend(
                            inside
                                .and_then(|text| text.split(',').next())
                                .map(String::from),
                        );
                    }
                    _ => of_dashboard(inner, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|inner| of_dashboard(inner, found)),
        _ => {}
    }
}

/// The selectors of one expression.
pub(crate) fn selectors(expression: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 2);
            rest = &rest[end..];
        } else if let Some((name, after)) = split_name(rest) {
            let is_metric = name == "up" || PREFIXES.iter().any(|start| name.starts_with(start));
            rest = after;
            if is_metric && !after.starts_with('(') {
                let (matchers, after) = braces(after);
                let metric = name.to_owned();
                found.push(Selector { metric, matchers });
                rest = after;
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// A name at the start of the text, and what is behind it.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !is_in_name(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// What is in the braces at the start of the text, if any, and what is behind them.
fn braces(text: &str) -> (Vec<(String, String, String)>, &str) {
    let mut found = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return (found, text);
    };
    while let Some((label, after)) = split_name(rest.trim_start_matches([',', ' '])) {
        let Some((operator, after)) = after.split_once('"') else {
            break;
        };
        let end = closing_quote(after);
        found.push((
            label.to_owned(),
            operator.trim().to_owned(),
            after[..end].to_owned(),
        ));
        rest = after.get(end + 1..).unwrap_or_default();
    }
    (found, rest.trim_start().trim_start_matches('}'))
}

/// Where the quoted text ends that `text` begins in.
fn closing_quote(text: &str) -> usize {
    let is_escaped = |at: usize| {
        let before = text[..at].bytes().rev().take_while(|byte| *byte == b'\\');
        before.count() % 2 == 1
    };
    let next = |from: usize| text[from..].find('"').map(|at| from + at);
    successors(next(0), |at| next(at + 1))
        .find(|at| !is_escaped(*at))
        .unwrap_or(text.len())
}

impl Selector {
    /// Whether a series with these labels is meant. Variables of dashboards stand for anything.
    pub(crate) fn meets(&self, labels: &Labels) -> bool {
        self.matchers
            .iter()
            .filter(|(label, _, value)| !ADDED.contains(&label.as_str()) && !value.contains('$'))
            .all(|(label, operator, value)| {
                let actual = labels.get(label).map_or("", String::as_str);
                match operator.as_str() {
                    "=" => actual == value,
                    "!=" => actual != value,
                    "=~" => is_like(value, actual),
                    "!~" => !is_like(value, actual),
                    _ => false,
                }
            })
    }
}

/// As much of regular expressions as monitoring/ uses: `a|b`, `.`, `.*`, `.+`.
fn is_like(pattern: &str, text: &str) -> bool {
    assert!(
        !pattern.contains(['(', '[', '{', '^', '$', '\\', '?']),
        "this check has to learn {pattern:?}"
    );
    pattern.split('|').any(|one| is_one(one, text))
}

fn is_one(pattern: &str, text: &str) -> bool {
    let rests = |least: usize| (least..=text.len()).filter_map(|at| text.get(at..));
    if let Some(rest) = pattern.strip_prefix(".*") {
        return rests(0).any(|text| is_one(rest, text));
    }
    if let Some(rest) = pattern.strip_prefix(".+") {
        return rests(1).any(|text| is_one(rest, text));
    }
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some(expected), Some(actual)) if expected == '.' || expected == actual => {
            is_one(&pattern[expected.len_utf8()..], &text[actual.len_utf8()..])
        }
        _ => false,
    }
}
