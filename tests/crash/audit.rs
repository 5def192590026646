//! The audit: both processors' rows joined with every word that clients heard, and with what p99
//! says of itself. The rows are the truth; p99's own counters prove nothing here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use p99::clock::UnixMillis;
use p99::payment::{PerProcessor, Processor, Status, UpstreamId};
use p99::sim::{Row, SimulatorHandle, Window};
use p99::wire::{read_found, read_summary, write_instant};

use crate::clients::{Connection, Heard, Word, amount_of, id_of};
use crate::dice;
use crate::instance::{Instance, PATIENCE};

/// Waits until nothing is pending any more. The processors are well, so that takes seconds.
pub(crate) fn settle(instance: &Instance, processors: &[SimulatorHandle; 2]) {
    let began = Instant::now();
    let mut calm = 0;
    while calm < 3 {
        assert!(began.elapsed() < PATIENCE, "payments stay pending");
        std::thread::sleep(Duration::from_millis(100));
        let (_, page) = instance.get("/metrics");
        let is_quiet = processors.iter().all(|one| one.in_flight() == (0, 0));
        let pending = page
            .lines()
            .find_map(|line| line.strip_prefix("p99_payments_pending "));
        // Gauges are as old as a core's last look around.
        let is_settled = pending == Some("0") && agrees(instance, processors, Window::default());
        calm = if is_quiet && is_settled { calm + 1 } else { 0 };
    }
    instance.assert_calm();
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    ids: usize,
    charged: [usize; 2],
    acknowledged: usize,
    duplicates: usize,
    refused: usize,
    silent: usize,
    resent: usize,
}

impl Tally {
    pub(crate) fn print(&self, name: &str, rounds: u64) {
        dice::say(&format!("{name}: {rounds} rounds: {self:?}"));
    }

    /// A run in which nothing was cut or repeated proves nothing.
    pub(crate) fn is_worth_a_look(&self) -> bool {
        self.acknowledged > 0 && self.silent > 0 && self.duplicates > 0
    }
}

/// Panics unless the books balance.
pub(crate) fn balance(
    instance: &Instance,
    processors: &[SimulatorHandle; 2],
    heard: &Heard,
) -> Tally {
    let mut tally = Tally::default();
    let mut rows: BTreeMap<UpstreamId, (Processor, Row)> = BTreeMap::new();
    for (processor, handle) in Processor::ALL.into_iter().zip(processors) {
        for row in handle.rows() {
            tally.charged[processor.index()] += 1;
            tally.resent += usize::from(row.attempts > 1);
            let before = rows.insert(row.id, (processor, row));
            assert!(before.is_none(), "charged twice: {row:?} and {before:?}");
        }
    }
    let mut words: BTreeMap<u64, Vec<Word>> = BTreeMap::new();
    for (number, word) in &heard.words {
        words.entry(*number).or_default().push(*word);
    }
    tally.ids = words.len();
    let mut connection = instance.connect();
    for (number, words) in &words {
        let id = id_of(heard.run, *number);
        let row = rows.remove(&id);
        let is_told = |word: &Word| matches!(word, Word::Charged | Word::Held | Word::Known);
        let is_acknowledged = words.iter().any(is_told);
        tally.acknowledged += usize::from(is_acknowledged);
        tally.duplicates += usize::from(words.len() > 1);
        tally.silent += usize::from(words.contains(&Word::Silence));
        let is_refused = words
            .iter()
            .all(|word| matches!(word, Word::NotCharged(_) | Word::Underway));
        tally.refused += usize::from(is_refused);
        if is_acknowledged {
            assert!(
                row.is_some(),
                "{id} was told {words:?} and is charged nowhere"
            );
        }
        if is_refused {
            assert!(
                row.is_none(),
                "{id} was told {words:?} and is charged: {row:?}"
            );
        }
        let (status, body) = ask(&mut connection, &format!("/payments/{id}"));
        let Some((processor, row)) = row else {
            assert_eq!(status, 404, "{id} is charged nowhere: {body}");
            continue;
        };
        assert_eq!(row.amount, amount_of(*number), "{id}");
        let found = read_found(body.as_bytes()).unwrap_or_else(|| panic!("{id}: {status} {body}"));
        assert_eq!(found.status, Status::Processed, "{id}: {body}");
        assert_eq!(found.amount, row.amount, "{id}: {body}");
        assert_eq!(found.processor, Some(processor), "{id}: {body}");
        assert_eq!(found.requested_at, Some(row.requested_at), "{id}: {body}");
    }
    assert!(
        rows.is_empty(),
        "charged, and nobody asked for it: {rows:?}"
    );
    for window in windows(processors) {
        assert!(
            agrees(instance, processors, window),
            "the summary of {window:?}"
        );
    }
    tally
}

/// What p99 says. A core that has no time just now is asked again.
fn ask(connection: &mut Connection, path: &str) -> (u16, String) {
    let began = Instant::now();
    loop {
        let (status, body) = connection.get(path).unwrap();
        if status != 503 || began.elapsed() > PATIENCE {
            return (status, body);
        }
    }
}

/// All time, each row's first and last millisecond, and a part between two rows.
fn windows(processors: &[SimulatorHandle; 2]) -> Vec<Window> {
    let mut times: Vec<UnixMillis> = processors
        .iter()
        .flat_map(SimulatorHandle::rows)
        .map(|row| row.requested_at)
        .collect();
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 7];
    let between = |from, to| Window {
        from: Some(from),
        to: Some(to),
    };
    vec![
        Window::default(),
        between(at(0), at(7)),
        between(at(2), at(5)),
        between(at(3), at(3)),
        between(UnixMillis(at(4).0 + 1), at(6)),
    ]
}

fn agrees(instance: &Instance, processors: &[SimulatorHandle; 2], window: Window) -> bool {
    let mut query = Vec::new();
    if let (Some(from), Some(to)) = (window.from, window.to) {
        query.extend_from_slice(b"?from=");
        write_instant(from, &mut query);
        query.extend_from_slice(b"&to=");
        write_instant(to, &mut query);
    }
    let path = format!("/payments-summary{}", String::from_utf8(query).unwrap());
    let (status, body) = ask(&mut instance.connect(), &path);
    let ours = read_summary(body.as_bytes()).unwrap_or_else(|| panic!("{status} {body}"));
    let theirs = processors.each_ref().map(|one| one.totals(window));
    ours == PerProcessor::of_first(theirs)
}
