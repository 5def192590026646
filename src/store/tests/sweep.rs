//! A sweeper on the model: what is forgotten, and when not.

use super::*;
use crate::ledger::CutsOldSecond;
use crate::store::sweeper::{News, Sweeper};
use std::time::Duration;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
/// What the database's clock showed when that of leases began, in milliseconds.
const WALL: i64 = 1_752_150_896_000;
const KEEP: Duration = Duration::from_secs(3_600);

/// The database's clock, so far off.
fn database(now: Boot, off: i64) -> u64 {
    let began = WALL.unsigned_abs() * 1_000;
    (began + now.0).saturating_add_signed(off)
}

fn sweeper(nonce: i64, now: Boot) -> Sweeper {
    Sweeper::new(nonce, format!("host/{nonce}"), KEEP, now)
}

/// Lets `sweeper` work up to `until`; returns what it says.
fn sweep(
    sweeper: &mut Sweeper,
    model: &mut Model,
    (from, until): (u64, u64),
    off: i64,
) -> Vec<News> {
    let (mut now, mut told) = (Boot(from), Vec::new());
    loop {
        while let Some(command) = sweeper.next(now) {
            let outcome = match command {
                Command::Connect => Outcome::Connected,
                Command::Transact(transaction) => {
                    now = Boot(now.0 + 1_000);
                    Outcome::Acknowledged(model.perform(&transaction, database(now, off)))
                }
            };
            sweeper.outcome(outcome, now);
        }
        told.extend(std::iter::from_fn(|| sweeper.next_news()));
        let next = sweeper.wake_at().unwrap();
        if next.0 > until {
            return told;
        }
        now = next;
    }
}

/// A store of this moment with a writer that has 7 charged, 8 open, and 9 refused after a promise,
/// all from ten seconds ago.
fn filled() -> (Machine, Model) {
    let now = Boot(10 * SECOND);
    let mut model = Model {
        made: WALL,
        ..Model::default()
    };
    let mut one = machine(1, now);
    let accept = Record::Accept {
        payment: payment(9),
        accepted_at: UnixMillis(WALL),
    };
    let refused = Record::Verdict {
        id: UpstreamId(9),
        verdict: Verdict::NotSent {
            processor: A,
            fate: Fate::Ended,
        },
    };
    write(
        &mut one,
        &mut model,
        now,
        &[intent(7, WALL), intent(8, WALL), accept],
    );
    write(&mut one, &mut model, now, &[applied(7, WALL), refused]);
    (one, model)
}

fn write(one: &mut Machine, model: &mut Model, now: Boot, records: &[Record]) {
    for record in records {
        one.append(*record, Haste::Now);
    }
    while let Some(command) = one.next(now) {
        let outcome = match command {
            Command::Connect => Outcome::Connected,
            Command::Transact(transaction) => {
                Outcome::Acknowledged(model.perform(&transaction, database(now, 0)))
            }
        };
        one.outcome(outcome, now);
    }
}

fn ids(model: &Model) -> Vec<u128> {
    model.rows.keys().map(|id| id.0).collect()
}

#[test]
fn what_settled_is_forgotten_when_it_was_kept_long_enough_and_its_sum_stays() {
    let (mut one, mut model) = filled();
    let mut sweeper = sweeper(5, Boot(11 * SECOND));
    sweep(&mut sweeper, &mut model, (11 * SECOND, HOUR), 0);
    assert_eq!(ids(&model), [7, 8, 9]);
    // 8 settles late, though it is as old as the others.
    let late = Boot(HOUR + SECOND);
    write(&mut one, &mut model, late, &[applied(8, WALL)]);
    let told = sweep(&mut sweeper, &mut model, (HOUR, HOUR + 200 * SECOND), 0);
    assert_eq!((ids(&model), told), (vec![8], vec![News::Forgotten(2)]));
    sweep(&mut sweeper, &mut model, (HOUR + 200 * SECOND, 2 * HOUR), 0);
    assert_eq!(
        ids(&model),
        [8],
        "an hour after it settled it may go, not before"
    );

    let ask = |one: &mut Machine, model: &mut Model, window| {
        let number = one.ask(Question::Sum(window));
        write(one, model, Boot(2 * HOUR), &[]);
        std::iter::from_fn(|| one.next_report()).find_map(|report| match report {
            Report::Answered { question, reply } if question == number => Some(reply),
            _ => None,
        })
    };
    let whole = |seconds: i64| Window {
        from: WALL,
        to: WALL + seconds * 1_000 - 1,
    };
    let Some(Reply::Sums(sums)) = ask(&mut one, &mut model, whole(1)) else {
        panic!("no sum")
    };
    assert_eq!(
        sums.charged.get(A).count,
        2,
        "both, though one is forgotten"
    );
    let cut = Window {
        from: WALL + 1,
        to: WALL + 1_500,
    };
    let boundary = UnixMillis(model.exact_from);
    let told = ask(&mut one, &mut model, cut);
    assert_eq!(told, Some(Reply::Cut(CutsOldSecond { boundary })));
    let Some(Reply::Sums(sums)) = ask(&mut one, &mut model, Window { from: 1, ..cut }) else {
        panic!("its edge is before everything, and its other end in an empty second")
    };
    assert_eq!(sums.charged.get(A).count, 2);
    sweep(
        &mut sweeper,
        &mut model,
        (2 * HOUR, 2 * HOUR + 200 * SECOND),
        0,
    );
    assert!(model.rows.is_empty());
}

#[test]
fn a_database_clock_that_jumps_forgets_nothing_and_is_told() {
    const YEAR: i64 = 365 * 24 * 3_600 * 1_000_000;
    let (_, mut model) = filled();
    let mut one = sweeper(5, Boot(11 * SECOND));
    sweep(&mut one, &mut model, (11 * SECOND, HOUR / 2), 0);
    let told = sweep(&mut one, &mut model, (HOUR / 2, HOUR), YEAR);
    let [News::ClockJumped(by)] = told[..] else {
        panic!("{told:?}")
    };
    assert!((by - YEAR / 1_000).abs() < 1_000, "{by}");
    assert_eq!(ids(&model), [7, 8, 9]);
    // Another instance has never seen it right, and waits: time passes here.
    let mut other = sweeper(6, Boot(HOUR));
    let (later, last) = (HOUR * 4 / 3, HOUR * 3 / 2);
    let told = sweep(&mut other, &mut model, (HOUR, later), 2 * YEAR);
    assert_eq!((told, ids(&model)), (vec![], vec![7, 8, 9]));
    let told = sweep(&mut other, &mut model, (later, last), 0);
    assert!(matches!(told[..], [News::ClockJumped(..-1)]), "{told:?}");
    assert_eq!(ids(&model), [7, 8, 9]);
    // A third one, of today, sees nothing odd.
    let mut third = sweeper(7, Boot(3 * HOUR));
    model.turn.1 = 0;
    let told = sweep(&mut third, &mut model, (3 * HOUR, 4 * HOUR), 0);
    assert_eq!((told, ids(&model)), (vec![News::Forgotten(2)], vec![8]));
}

#[test]
fn one_of_all_sweepers_has_the_turn_until_it_is_silent() {
    let (_, mut model) = filled();
    let (mut one, mut other) = (sweeper(5, Boot(11 * SECOND)), sweeper(6, Boot(11 * SECOND)));
    sweep(&mut one, &mut model, (11 * SECOND, 11 * SECOND), 0);
    sweep(&mut other, &mut model, (11 * SECOND, 90 * SECOND), 0);
    assert_eq!(model.turn.0, 5);
    sweep(&mut other, &mut model, (90 * SECOND, 300 * SECOND), 0);
    assert_eq!(model.turn.0, 6);
    sweep(&mut one, &mut model, (300 * SECOND, 310 * SECOND), 0);
    assert_eq!(model.turn.0, 6);
}

#[test]
fn a_writer_that_ended_long_ago_is_buried_and_its_sums_stay() {
    let (mut one, mut model) = filled();
    let writer = one.writer().unwrap();
    let mut sweeper = sweeper(5, Boot(11 * SECOND));
    write(&mut one, &mut model, Boot(12 * SECOND), &[applied(8, WALL)]);
    one.close();
    write(&mut one, &mut model, Boot(12 * SECOND), &[]);
    sweep(&mut sweeper, &mut model, (11 * SECOND, HOUR), 0);
    assert!(model.writers.contains_key(&writer));
    sweep(&mut sweeper, &mut model, (HOUR, HOUR + 200 * SECOND), 0);
    assert!(model.writers.is_empty() && model.rows.is_empty());
    assert!(
        model
            .rollup
            .keys()
            .all(|(writer, ..)| *writer == WriterId(0))
    );
    assert_eq!(model.totals().get(A).count, 2);
}
