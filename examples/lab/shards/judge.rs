//! Joins both processors' books with what clients were told.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use p99::testing::payment::{Cents, PerProcessor, Totals, UpstreamId};
use p99::testing::sim::Window;
use p99::testing::wire;

use super::crowd::{Paid, statuses};
use super::stand::Stand;

const SETTLE_MAX: Duration = Duration::from_secs(60);
/// What clients of every shard may be told.
const GOOD: [u16; 3] = [200, 202, 409];
/// Fewer that were taken would show nothing.
const TAKEN_MIN: u32 = 50;

/// `allowed`: what else the clients of shard 1 and of shard 2 may have been told. Returns what they
/// were told.
///
/// # Panics
/// A promise was broken.
pub(super) fn judge(
    stand: &Stand<'_>,
    payments: &HashMap<UpstreamId, Paid>,
    allowed: [&[u16]; 2],
) -> String {
    let is_held = |paid: &Paid| {
        paid.said
            .iter()
            .any(|said| matches!(said.status, 200 | 202))
    };
    let held: Vec<UpstreamId> = payments
        .iter()
        .filter(|(_, paid)| is_held(paid))
        .map(|(id, _)| *id)
        .collect();
    let [cheap, other] = settled(stand, &held);
    for id in cheap.keys() {
        assert!(!other.contains_key(id), "{id} was charged twice");
    }
    for (id, amount) in cheap.iter().chain(&other) {
        assert_eq!(payments[id].amount, *amount, "{id}");
    }
    for id in held {
        let said = stand.ask(&format!("/payments/{id}"));
        assert_eq!(said.status, 200, "an acknowledged id: {id}");
    }
    for said in payments.values().flat_map(|paid| &paid.said) {
        said.check();
    }
    let mut told = Vec::new();
    for (shard, allowed) in (1..).zip(allowed) {
        let counts = statuses(payments, shard);
        let mut others = counts.keys().filter(|status| !GOOD.contains(status));
        assert!(
            others.all(|status| allowed.contains(status)),
            "shard {shard}: {counts:?}"
        );
        let taken = [200, 202].map(|status| counts.get(&status).copied().unwrap_or(0));
        assert!(
            taken.iter().sum::<u32>() > TAKEN_MIN,
            "shard {shard}: {counts:?}"
        );
        told.push(format!("shard {shard} {counts:?}"));
    }
    told.join("; ")
}

/// The books, once p99's sums are theirs and nothing that was acknowledged is missing.
fn settled(stand: &Stand<'_>, held: &[UpstreamId]) -> [HashMap<UpstreamId, Cents>; 2] {
    let began = Instant::now();
    loop {
        let books = stand.processors.each_ref().map(|processor| {
            let rows = processor.rows().into_iter();
            rows.map(|row| (row.id, row.amount))
                .collect::<HashMap<_, _>>()
        });
        let totals = stand.processors.each_ref();
        let totals: PerProcessor<Totals> =
            PerProcessor::of_first(totals.map(|processor| processor.totals(Window::default())));
        let said = stand.ask("/payments-summary");
        let summary = wire::read_summary(said.body.as_bytes());
        let is_charged = |id: &&UpstreamId| books.iter().any(|book| book.contains_key(*id));
        let missing = held.iter().filter(|id| !is_charged(id)).count();
        if said.status == 200 && summary == Some(totals) && missing == 0 {
            return books;
        }
        assert!(
            began.elapsed() < SETTLE_MAX,
            "{summary:?} is not {totals:?}, or {missing} are missing"
        );
        thread::sleep(Duration::from_millis(200));
    }
}
