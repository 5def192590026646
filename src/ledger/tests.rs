//! The ledger against a plain list of payments, before and after milliseconds are gone.

use proptest::prelude::*;

use super::*;
use crate::clock::Mono;

const HOUR: i64 = 3_600_000;
/// An hour's start that is no day's.
const BASE: i64 = 486_708 * HOUR;

fn add(ledger: &mut Ledger, at: i64, cents: u64) {
    ledger.add(Processor::DEFAULT, UnixMillis(at), Cents(cents));
}

fn totals(ledger: &Ledger, from: i64, to: i64) -> Result<(u64, u128), i64> {
    let found = ledger.totals(Some(UnixMillis(from)), Some(UnixMillis(to)));
    let found = found.map_err(|cut| cut.boundary.0)?;
    let Totals { count, cents } = *found.get(Processor::DEFAULT);
    Ok((count, cents))
}

/// Writes the whole ledger down and reads it into an empty one.
fn restored(ledger: &Ledger) -> Ledger {
    let mut copy = Ledger::new(Duration::from_secs(3_600));
    for chunk in ledger.chunks() {
        assert!(chunk.len() <= crate::limits::LEDGER_CHUNK_BYTES_MAX);
        copy.absorb(&chunk).unwrap();
    }
    copy.check_invariants();
    copy
}

#[test]
fn both_ends_of_a_window_are_inside() {
    let mut ledger = Ledger::new(Duration::from_secs(3_600));
    for at in [
        BASE - 1,
        BASE,
        BASE + 1,
        BASE + 999,
        BASE + 1_000,
        BASE + HOUR,
    ] {
        add(&mut ledger, at, 1);
    }
    assert_eq!(totals(&ledger, BASE, BASE), Ok((1, 1)));
    assert_eq!(totals(&ledger, BASE, BASE + 999), Ok((3, 3)));
    assert_eq!(totals(&ledger, BASE - 1, BASE + 1_000), Ok((5, 5)));
    assert_eq!(totals(&ledger, BASE + 2, BASE + 998), Ok((0, 0)));
    assert_eq!(
        totals(&ledger, BASE + 1, BASE),
        Ok((0, 0)),
        "a window that ends before it begins"
    );
    assert_eq!(
        ledger
            .totals(None, None)
            .unwrap()
            .get(Processor::DEFAULT)
            .count,
        6
    );
    assert_eq!(totals(&ledger, i64::MIN, i64::MAX), Ok((6, 6)));
}

#[test]
fn an_old_second_with_payments_is_not_cut_and_the_boundary_is_named() {
    let mut ledger = Ledger::new(Duration::from_secs(3_600));
    for at in [BASE + 500, BASE + 2_500, BASE + 10_500] {
        add(&mut ledger, at, 5);
    }
    let now = BASE + HOUR + 10_999;
    assert_eq!(
        ledger.age_by(UnixMillis(now), 1),
        1,
        "no more than asked for"
    );
    assert_eq!(totals(&ledger, BASE + 1, BASE + 999), Err(BASE + 2_000));
    assert_eq!(
        totals(&ledger, BASE + 2_500, BASE + 2_500),
        Ok((1, 5)),
        "not aged yet"
    );
    assert_eq!(ledger.age_by(UnixMillis(now), 10), 1);
    for (from, to) in [
        (BASE + 1, BASE + HOUR),
        (BASE, BASE + 2_000),
        (BASE + 2_500, now),
    ] {
        assert_eq!(totals(&ledger, from, to), Err(BASE + 10_000));
    }
    assert_eq!(
        totals(&ledger, BASE, BASE + 2_999),
        Ok((2, 10)),
        "edges between seconds"
    );
    assert_eq!(
        totals(&ledger, BASE + 1_001, BASE + 1_002),
        Ok((0, 0)),
        "nothing is cut"
    );
    assert_eq!(
        totals(&ledger, BASE + 10_500, now),
        Ok((1, 5)),
        "still exact"
    );
    assert_eq!(
        ledger.age_by(UnixMillis(BASE), 10),
        0,
        "a wall clock that steps back"
    );
    add(&mut ledger, BASE + 2_600, 5);
    assert_eq!(
        totals(&ledger, BASE + 2_000, BASE + 2_999),
        Ok((2, 10)),
        "a late one joins"
    );
    ledger.check_invariants();
}

#[test]
fn a_month_of_payments_stays_small() {
    let mut ledger = Ledger::new(Duration::from_secs(3_600));
    // One hour of it, with both processors in every second.
    for second in 0..3_600 {
        for payment in 0..10_u64 {
            let processor = Processor::ALL[usize::from(payment % 2 == 0)];
            let at = BASE + second * 1_000 + i64::try_from(payment).unwrap() * 97;
            ledger.add(processor, UnixMillis(at), Cents(1_990));
        }
    }
    let bytes = |ledger: &Ledger| ledger.chunks().map(|chunk| chunk.len()).sum::<usize>();
    let exact = bytes(&ledger);
    assert!(
        exact < 36_000 * 5,
        "{exact} bytes for 36,000 exact payments"
    );
    ledger.age_by(UnixMillis(BASE + 2 * HOUR), usize::MAX);
    let old = bytes(&ledger);
    assert!(old < 43_000, "{old} bytes for an old hour");
    assert!(restored(&ledger) == ledger);
}

#[test]
fn ledgers_of_several_cores_add_up_in_one() {
    let [mut one, mut other] = [3_600, 1_800].map(|exact| Ledger::new(Duration::from_secs(exact)));
    for step in 0..400 {
        add(&mut one, BASE + step * 9_700, 7);
        add(&mut other, BASE + step * 9_300 + 11, 9);
    }
    let now = UnixMillis(BASE + HOUR + 1_000_000);
    one.age_by(now, usize::MAX);
    other.age_by(now, usize::MAX);
    let mut both = restored(&one);
    other
        .chunks()
        .for_each(|chunk| both.absorb(&chunk).unwrap());
    both.check_invariants();
    assert_eq!(totals(&both, i64::MIN, i64::MAX), Ok((800, 400 * 16)));
    let window = (BASE + 7_000, BASE + HOUR - 1);
    let [first, second, sum] =
        [&one, &other, &both].map(|ledger| totals(ledger, window.0, window.1).unwrap());
    assert_eq!(sum, (first.0 + second.0, first.1 + second.1));
}

#[test]
fn a_purged_ledger_is_empty() {
    let mut ledger = Ledger::new(Duration::from_secs(3_600));
    (0..50).for_each(|step| add(&mut ledger, BASE + step * 700, 1));
    ledger.clear();
    assert!(ledger == Ledger::new(Duration::ZERO) && ledger.chunks().next().is_none());
    assert_eq!(totals(&ledger, i64::MIN, i64::MAX), Ok((0, 0)));
    add(&mut ledger, BASE, 1);
    assert_eq!(totals(&ledger, BASE, BASE), Ok((1, 1)));
}

#[test]
fn bytes_that_are_no_chunk_are_refused_and_change_nothing() {
    let mut ledger = Ledger::new(Duration::from_secs(3_600));
    (0..20).for_each(|step| add(&mut ledger, BASE + step * 400, 1_990));
    ledger.age_by(UnixMillis(BASE + HOUR + 3_000), usize::MAX);
    let chunk: Vec<u8> = ledger.chunks().next().unwrap();
    let mut copy = Ledger::new(Duration::from_secs(3_600));
    assert_eq!(copy.absorb(&[]), Err(ChunkFault::Malformed));
    assert_eq!(copy.absorb(&[9, 0]), Err(ChunkFault::Version));
    let whole = (0..chunk.len())
        .filter(|end| copy.clone().absorb(&chunk[..*end]).is_ok())
        .count();
    assert!(
        whole < 10,
        "only cuts between two parts can pass, and a frame's length forbids them"
    );
    for place in 1..chunk.len() {
        let mut bad = chunk.clone();
        bad[place] = !bad[place];
        if copy.absorb(&bad).is_err() {
            assert!(copy.chunks().next().is_none(), "nothing is added");
        }
        copy.check_invariants();
        copy.clear();
        copy.hours.boundary = i64::MIN;
    }
}

/// Every payment, as it came.
#[derive(Debug, Default)]
struct Model {
    payments: Vec<(Processor, i64, u64)>,
}

impl Model {
    fn totals(&self, from: i64, to: i64) -> PerProcessor<Totals> {
        let mut sums = PerProcessor::<Totals>::default();
        for (processor, at, cents) in &self.payments {
            if from <= *at && *at <= to {
                sums.get_mut(*processor).add(Totals {
                    count: 1,
                    cents: u128::from(*cents),
                });
            }
        }
        sums
    }

    /// Whether an edge lies inside an old second that holds payments.
    fn cuts(&self, from: i64, to: i64, boundary: i64) -> bool {
        from <= to
            && self
                .payments
                .iter()
                .map(|(_, at, _)| at.div_euclid(1_000))
                .any(|second| {
                    let (start, end) = (second * 1_000, second * 1_000 + 999);
                    let is_outside = end < from || to < start;
                    let is_inside = from <= start && end <= to;
                    second < boundary && !is_outside && !is_inside
                })
    }
}

/// A moment near the borders of seconds and hours, over three hours.
fn moment() -> impl Strategy<Value = i64> {
    let hour = -1_i64..2;
    let second = prop_oneof![0_i64..4, 3_596_i64..3_600, 1_000_i64..1_012];
    let milli = prop_oneof![Just(0_i64), Just(999), Just(998), 0_i64..1_000];
    (hour, second, milli)
        .prop_map(|(hour, second, milli)| BASE + hour * HOUR + second * 1_000 + milli)
}

#[derive(Clone, Debug)]
enum Step {
    Add(bool, i64, u64),
    Age(i64, usize),
    Window(i64, i64),
    Restore,
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (any::<bool>(), moment(), 1_u64..=crate::limits::AMOUNT_CENTS_MAX)
            .prop_map(|(is_default, at, cents)| Step::Add(is_default, at, cents)),
        4 => (moment(), 0_usize..8).prop_map(|(at, at_most)| Step::Age(at + HOUR, at_most)),
        20 => (moment(), moment()).prop_map(|(one, other)| Step::Window(one, other)),
        2 => Just(Step::Restore),
        1 => Just(Step::Purge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_ledger_answers_as_a_list_of_all_payments_would(
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut ledger = Ledger::new(Duration::from_secs(3_600));
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Add(is_default, at, cents) => {
                    let processor = Processor::ALL[usize::from(is_default)];
                    ledger.add(processor, UnixMillis(at), Cents(cents));
                    model.payments.push((processor, at, cents));
                }
                Step::Age(now, at_most) => {
                    prop_assert!(ledger.age_by(UnixMillis(now), at_most) <= at_most);
                }
                Step::Window(from, to) => {
                    let found = ledger.totals(Some(UnixMillis(from)), Some(UnixMillis(to)));
                    if model.cuts(from, to, ledger.hours.boundary) {
                        prop_assert_eq!(found, Err(ledger.cut()));
                    } else {
                        prop_assert_eq!(found, Ok(model.totals(from, to)));
                    }
                }
                Step::Restore => {
                    let copy = restored(&ledger);
                    prop_assert!(copy == ledger);
                    ledger = copy;
                }
                Step::Purge => {
                    ledger.clear();
                    model.payments.clear();
                }
            }
            ledger.check_invariants();
        }
        let all = model.totals(i64::MIN, i64::MAX);
        prop_assert_eq!(ledger.totals(None, None), Ok(all));
        prop_assert_eq!(restored(&ledger).totals(None, None), Ok(all));
    }
}

/// Ten seconds of payments with the wall clock `ahead` milliseconds from the third to the sixth.
fn through_a_step(ledger: &mut Ledger, ahead: i64) {
    for second in 0..10_u64 {
        let is_wrong = (3..7).contains(&second);
        let mono = Mono(second * 1_000_000);
        let at = BASE + i64::try_from(second).unwrap() * 1_000;
        let wall = UnixMillis(at + if is_wrong { ahead } else { 0 });
        let now = Now {
            mono,
            run: mono,
            wall,
            ..Now::default()
        };
        ledger.age(now, usize::MAX);
        add(ledger, wall.0 + 500, 1);
        ledger.age(now, usize::MAX);
        ledger.check_invariants();
    }
}

#[test]
fn a_wall_clock_that_was_wrong_for_seconds_changes_no_window() {
    let day = 24 * HOUR;
    for ahead in [40 * day, day + HOUR, -40 * day, -BASE, i64::MAX / 2] {
        let mut ledger = Ledger::new(Duration::from_secs(86_400));
        through_a_step(&mut ledger, ahead);
        for mut ledger in [restored(&ledger), ledger] {
            for second in [0, 1, 2, 7, 8, 9] {
                let at = BASE + second * 1_000 + 500;
                assert_eq!(totals(&ledger, at, at), Ok((1, 1)), "{ahead} {second}");
                assert_eq!(totals(&ledger, at + 1, at + 499), Ok((0, 0)), "{ahead}");
            }
            // A start with the clock still wrong, and the next with it right.
            for wall in [BASE + 11_000 + ahead, BASE + 11_000] {
                let newest = ledger.newest().unwrap().0.min(wall);
                ledger.age_by(UnixMillis(newest), usize::MAX);
            }
            ledger.check_invariants();
        }
    }
}

#[test]
fn a_start_whose_wall_clock_is_ahead_finds_all_milliseconds() {
    let mut ledger = Ledger::new(Duration::from_secs(86_400));
    add(&mut ledger, BASE + 500, 1);
    let ahead = |second: u64, days: i64| Now {
        mono: Mono(second * 1_000_000),
        run: Mono(second * 1_000_000),
        wall: UnixMillis(BASE + days * 24 * HOUR + i64::try_from(second).unwrap() * 1_000),
        ..Now::default()
    };
    ledger.age(ahead(0, 40), usize::MAX);
    assert_eq!(totals(&ledger, BASE + 500, BASE + 500), Ok((1, 1)));
    // Right again, and what comes now is not old.
    ledger.age(ahead(5, 0), usize::MAX);
    add(&mut ledger, BASE + 5_500, 1);
    ledger.age(ahead(6, 0), usize::MAX);
    assert_eq!(totals(&ledger, BASE + 5_500, BASE + 5_500), Ok((1, 1)));
    // An exact time and a little later it is old after all.
    ledger.age(ahead(26 * 3_600, 0), usize::MAX);
    assert!(totals(&ledger, BASE + 500, BASE + 500).is_err());
}
