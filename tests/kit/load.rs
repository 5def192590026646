//! The judge of a load run that another program drove: what it recorded of every request, joined
//! with what both processors charged. It opens nothing and knows no clock, and believes none of
//! p99's counters; p99's summary is one of the things that are judged.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::report::Report;

pub(crate) const BOTH: &str = "no id is charged by both processors";
pub(crate) const UNCHARGED: &str = "an acknowledged id is charged";
pub(crate) const TWICE: &str = "an id is acknowledged once";
pub(crate) const REFUSED: &str = "an id is not charged when every answer says so";
pub(crate) const AMOUNT: &str = "an id is charged with an amount that was sent";
pub(crate) const STRANGER: &str = "what is charged was sent";
pub(crate) const DIFFERED: &str = "no summary differs during the run";
pub(crate) const LAST: &str = "the last summary is what was charged";
pub(crate) const TOO_MANY: &str = "the summary has no more payments than were asked for";
pub(crate) const EMPTY: &str = "something was asked for";

/// What p99 promises after each answer (README, HTTP API). A timeout, a cut connection and what
/// HAProxy says of a broken instance promise nothing, nor does a 5xx that says "unknown".
const ACKNOWLEDGED: [u16; 2] = [200, 202];
const NOT_CHARGED: [u16; 9] = [400, 401, 413, 415, 421, 422, 429, 502, 503];
/// What each processor keeps of a payment, in parts of a hundred.
const KEPT: [f64; 2] = [0.95, 0.85];

/// Count and cents of one processor.
pub(crate) type Sum = (u64, u64);

/// One window at a processor, in p99's summary, and at the processor again, of both processors.
pub(crate) type Looks = [[Sum; 2]; 3];

/// Whether p99's totals could have been true at one moment between two looks at the processors.
pub(crate) fn is_consistent([before, ours, after]: &Looks) -> bool {
    let mut all = before.iter().zip(ours).zip(after);
    all.all(|((before, ours), after)| {
        let is_between =
            (before.0..=after.0).contains(&ours.0) && (before.1..=after.1).contains(&ours.1);
        is_between && (before.0 != after.0 || before == ours)
    })
}

/// What the run left behind beside its records.
#[derive(Deserialize)]
pub(crate) struct Run {
    pub(crate) charged: [Vec<Charge>; 2],
    /// Summaries during the run; none where p99 gave none.
    pub(crate) windows: Vec<Option<Looks>>,
    /// The summary when all had settled, and the one at the very end of the load.
    #[serde(rename = "final")]
    pub(crate) settled: [Sum; 2],
    pub(crate) at_end: [Sum; 2],
    pub(crate) result: Latency,
}

/// A processor's row.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Charge {
    pub(crate) correlation_id: String,
    pub(crate) amount: Box<RawValue>,
    pub(crate) attempts: u32,
}

#[derive(Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// One request as it was recorded.
struct Sent {
    cents: u64,
    status: u16,
    is_from_haproxy: bool,
    is_unsure: bool,
}

impl Sent {
    fn is_acknowledged(&self) -> bool {
        ACKNOWLEDGED.contains(&self.status)
    }

    /// Whether this request, had it been the only one with its id, charged nothing. HAProxy says
    /// its own 503 before anything was sent; its 502 and 504 say nothing.
    fn promises_no_charge(&self) -> bool {
        let may_say_so = !self.is_from_haproxy || self.status == 503;
        NOT_CHARGED.contains(&self.status) && !self.is_unsure && may_say_so
    }
}

/// All requests by id; other lines than `P id cents status origin` are skipped. Two spellings of
/// one UUID are one payment.
fn read(records: &str) -> BTreeMap<String, Vec<Sent>> {
    let mut all = BTreeMap::<String, Vec<Sent>>::new();
    for line in records.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["P", id, cents, status, origin] = words[..] else {
            continue;
        };
        all.entry(id.to_lowercase()).or_default().push(Sent {
            cents: cents.parse().expect("cents"),
            status: status.parse().expect("a status"),
            is_from_haproxy: origin == "haproxy",
            is_unsure: origin == "unsure",
        });
    }
    all
}

/// A JSON number, or one in quotes, as whole cents.
pub(crate) fn cents(text: &str) -> Option<u64> {
    let text = text.trim_matches('"');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (kept, rest) = fraction.split_at_checked(2).unwrap_or((fraction, ""));
    if !rest.bytes().all(|digit| digit == b'0') {
        return None;
    }
    format!("{whole}{kept:0<2}").parse().ok()
}

/// The charges by id: at which processor, how much.
fn join(run: &Run) -> BTreeMap<String, Vec<(usize, u64)>> {
    let mut all = BTreeMap::<String, Vec<(usize, u64)>>::new();
    for (processor, rows) in run.charged.iter().enumerate() {
        for row in rows {
            let amount = cents(row.amount.get()).expect("money");
            let id = row.correlation_id.to_lowercase();
            all.entry(id).or_default().push((processor, amount));
        }
    }
    all
}

/// The official score of the summary at the end, in cents.
pub(crate) fn net(run: &Run) -> f64 {
    let sums = run.at_end.iter().zip(KEPT);
    let profit: f64 = sums.map(|((_, cents), kept)| *cents as f64 * kept).sum();
    let bonus = ((11.0 - run.result.p99_ms) * 0.02).max(0.0);
    let penalty = if differing(run).next().is_some() {
        0.35
    } else {
        0.0
    };
    profit * (1.0 + bonus) - profit * penalty
}

/// Joins everything; what is broken is in `report` afterwards.
pub(crate) fn judge(records: &str, run: &Run, report: &mut Report) {
    let (sent, charged) = (read(records), join(run));
    for (id, requests) in &sent {
        let acknowledged = requests
            .iter()
            .filter(|sent| sent.is_acknowledged())
            .count();
        let rows = charged.get(id).map_or(&[][..], Vec::as_slice);
        if acknowledged > 1 {
            report.broke(TWICE, || id.clone());
        }
        if acknowledged > 0 && rows.is_empty() {
            report.broke(UNCHARGED, || id.clone());
        }
        if !rows.is_empty() && requests.iter().all(Sent::promises_no_charge) {
            report.broke(REFUSED, || id.clone());
        }
        let is_sent = |amount: u64| requests.iter().any(|sent| sent.cents == amount);
        if rows.iter().any(|(_, amount)| !is_sent(*amount)) {
            report.broke(AMOUNT, || format!("{id} {rows:?}"));
        }
    }
    for (id, rows) in &charged {
        let processors: BTreeSet<_> = rows.iter().map(|(processor, _)| processor).collect();
        if processors.len() > 1 {
            report.broke(BOTH, || id.clone());
        }
        if !sent.contains_key(id) {
            report.broke(STRANGER, || id.clone());
        }
    }
    for looks in differing(run) {
        report.broke(DIFFERED, || {
            format!("processors, p99, processors: {looks:?}")
        });
    }
    let books = [0, 1].map(|processor| books_of(&charged, processor));
    if run.settled != books {
        let told = || format!("{:?}, charged {books:?}", run.settled);
        report.broke(LAST, told);
    }
    if run.settled[0].0 + run.settled[1].0 > sent.len() as u64 {
        report.broke(TOO_MANY, || format!("{:?} of {}", run.settled, sent.len()));
    }
    if sent.is_empty() {
        report.broke(EMPTY, || "no request was recorded".to_owned());
    }
    tell(&sent, run, books, report);
}

fn differing(run: &Run) -> impl Iterator<Item = &Looks> {
    let all = run.windows.iter().flatten();
    all.filter(|looks| !is_consistent(looks))
}

fn books_of(charged: &BTreeMap<String, Vec<(usize, u64)>>, processor: usize) -> Sum {
    let rows = charged.values().flatten().filter(|row| row.0 == processor);
    rows.fold((0, 0), |sum, row| (sum.0 + 1, sum.1 + row.1))
}

/// The table.
fn tell(sent: &BTreeMap<String, Vec<Sent>>, run: &Run, books: [Sum; 2], report: &mut Report) {
    let mut statuses = BTreeMap::<(u16, bool), u64>::new();
    for one in sent.values().flatten() {
        *statuses
            .entry((one.status, one.is_from_haproxy))
            .or_default() += 1;
    }
    report.row("requests", statuses.values().sum::<u64>());
    report.row("ids", sent.len());
    for ((status, is_from_haproxy), count) in statuses {
        let by = if is_from_haproxy { " by HAProxy" } else { "" };
        let name = match status {
            0 => format!("no answer{by}"),
            status => format!("answered {status}{by}"),
        };
        report.row(name, count);
    }
    let Latency {
        p50_ms,
        p99_ms,
        max_ms,
    } = run.result;
    let latency = format!("{p50_ms:.2} / {p99_ms:.2} / {max_ms:.2} ms");
    report.row("p50 / p99 / max", latency);
    for (name, (count, cents)) in ["default", "fallback"].iter().zip(books) {
        let money = format!("{count} ({}.{:02})", cents / 100, cents % 100);
        report.row(format!("charged by {name}"), money);
    }
    let repeated = run.charged.iter().flatten().filter(|row| row.attempts > 1);
    report.row("ids that met more than one attempt", repeated.count());
    for promise in [BOTH, UNCHARGED, REFUSED, TWICE] {
        report.row_of(promise);
    }
    let unavailable = run.windows.iter().filter(|window| window.is_none()).count();
    let (all, differed) = (run.windows.len(), differing(run).count());
    let windows = format!("{all}, {differed} differed, {unavailable} unavailable");
    report.row("summaries compared", windows);
    let is_acknowledged = |all: &&Vec<Sent>| all.iter().any(Sent::is_acknowledged);
    let acknowledged = sent.values().filter(is_acknowledged).count() as u64;
    // Acknowledged payments that the summary did not show at the very end.
    let shown = run.at_end[0].0 + run.at_end[1].0;
    report.row(
        "lag at the end",
        i128::from(acknowledged) - i128::from(shown),
    );
    report.row("net score", format!("{:.2}", net(run) / 100.0));
}
