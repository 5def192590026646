//! Each row of the table, and the words of the journal in any order that it can write them.

use super::*;

const AT: UnixMillis = UnixMillis(1_752_150_896_789);
const A: Processor = Processor::DEFAULT;
const B: Processor = Processor::FALLBACK;

fn entry(said: Said, processor: Processor, cents: u64) -> Entry {
    Entry {
        id: UpstreamId(7),
        said,
        order: 1,
        processor: Some(processor),
        amount: Cents(cents),
        at: Some(AT),
    }
}

fn terms(books: [bool; 2]) -> Terms {
    Terms {
        books: PerProcessor::from_fn(|one| books.get(one.index()).copied().unwrap_or(false)),
        from: Some(AT),
        to: Some(AT),
    }
}

fn differences(terms: Terms, entries: &[Entry]) -> (Vec<Difference>, Tally) {
    let mut join = Join::new(terms);
    let mut found = Vec::new();
    let mut each = |one: &Difference| {
        found.push(*one);
        Ok::<(), ()>(())
    };
    for entry in entries {
        join.take(*entry, &mut each).unwrap();
    }
    join.finish(&mut each).unwrap();
    (found, join.tally)
}

fn kinds(entries: &[Entry]) -> Vec<&'static str> {
    let (found, tally) = differences(terms([true, true]), entries);
    let counted: u64 = Kind::ALL.iter().map(|kind| tally.of(*kind)).sum();
    assert_eq!(counted, found.len() as u64);
    found.iter().map(|one| one.kind.name()).collect()
}

#[test]
fn every_meeting_of_the_two_sides_has_its_kind() {
    use Said::{Booked, Charged, Ended, Foreign, Open, Refused};
    let here = entry(Charged, A, 1990);
    let there = entry(Booked, A, 1990);
    let held = Entry {
        amount: Cents(0),
        at: None,
        ..entry(Open, A, 0)
    };
    for (entries, expected) in [
        (&[here, there][..], &[][..]),
        (&[entry(Open, A, 1990), here, there], &[]),
        (
            &[
                entry(Open, B, 1990),
                held,
                entry(Open, A, 1990),
                here,
                there,
            ],
            &[],
        ),
        (&[here], &["missing_there"]),
        (&[there], &["missing_here"]),
        (&[entry(Refused, A, 1990), there], &["missing_here"]),
        (
            &[entry(Open, A, 1990), entry(Ended, A, 0), there],
            &["missing_here"],
        ),
        (&[here, entry(Booked, A, 1991)], &["amount"]),
        (&[here, entry(Booked, B, 1990)], &["other_processor"]),
        (&[here, there, entry(Booked, B, 1990)], &["charged_at_two"]),
        (&[there, entry(Booked, B, 1990)], &["charged_at_two"]),
        (&[here, entry(Charged, B, 1990), there], &["charged_at_two"]),
        (
            &[entry(Open, A, 5), there, entry(Booked, B, 5)],
            &["charged_at_two"],
        ),
        (
            &[here, entry(Booked, A, 1), entry(Booked, B, 1990)],
            &["charged_at_two", "amount"],
        ),
        (&[here, there, there], &["charged_twice"]),
        (&[here, here, there], &["charged_twice"]),
        (&[there, there], &["charged_twice"]),
        (&[entry(Open, A, 1990)], &["pending"]),
        (&[entry(Open, A, 1990), held], &["pending"]),
        (&[entry(Open, A, 1990), there], &["pending"]),
        (&[entry(Foreign, A, 1990)], &[]),
        (&[entry(Foreign, A, 1990), there], &[]),
        (&[entry(Foreign, A, 1990), here, there], &[]),
        (&[entry(Ended, A, 0)], &[]),
        (&[entry(Refused, A, 1990)], &[]),
    ] {
        assert_eq!(kinds(entries), expected, "{entries:?}");
    }
}

#[test]
fn a_difference_says_where_and_how_much() {
    let entries = [
        entry(Said::Charged, A, 1990),
        Entry {
            order: 9,
            ..entry(Said::Booked, B, 1890)
        },
    ];
    let (found, tally) = differences(terms([true, true]), &entries);
    let expected = Difference {
        kind: Kind::OtherProcessor,
        id: UpstreamId(7),
        processor: Some(A),
        other: Some(B),
        here: Some(Cents(1990)),
        there: Some(Cents(1890)),
        at: Some(AT),
        lines: [Some(9), None],
        doubled: ProcessorSet::NONE,
    };
    assert_eq!(found, [expected]);
    assert!(!tally.is_clean());
    let (_, tally) = differences(terms([true, true]), &[entry(Said::Open, A, 1990)]);
    assert!(tally.is_clean(), "what is pending will be settled");
}

#[test]
fn a_processor_without_a_book_is_not_checked_and_counted() {
    let here = entry(Said::Charged, A, 1990);
    let (found, tally) = differences(terms([false, true]), &[here]);
    assert_eq!((found.len(), tally.unchecked.get(A).count), (0, 1));
    assert_eq!(tally.matched, PerProcessor::default());
    // What another one has all the same is told.
    let (found, _) = differences(terms([false, true]), &[here, entry(Said::Booked, B, 1990)]);
    assert_eq!(
        found.first().map(|one| one.kind),
        Some(Kind::OtherProcessor)
    );
}

#[test]
fn the_window_is_the_journals_time_and_a_rounded_row_beside_it_counts() {
    let late = Some(UnixMillis(AT.0 + 211));
    let rounded = Entry {
        at: late,
        ..entry(Said::Booked, A, 1990)
    };
    let here = entry(Said::Charged, A, 1990);
    assert_eq!(kinds(&[here, rounded]), Vec::<&str>::new());
    assert_eq!(
        kinds(&[rounded]),
        Vec::<&str>::new(),
        "outside, and not known here"
    );
    let outside = Entry { at: late, ..here };
    assert_eq!(kinds(&[outside]), Vec::<&str>::new());
    let unknown = Entry {
        at: None,
        ..rounded
    };
    assert_eq!(kinds(&[unknown]), ["missing_here"]);
}

#[test]
fn ids_are_apart() {
    let next = |number, said| Entry {
        id: UpstreamId(number),
        ..entry(said, A, 1990)
    };
    let entries = [
        next(1, Said::Charged),
        next(2, Said::Charged),
        next(2, Said::Booked),
        next(3, Said::Booked),
    ];
    assert_eq!(kinds(&entries), ["missing_there", "missing_here"]);
}

#[test]
fn who_charged_twice_is_who_charged_what_the_journal_does_not_expect() {
    use Said::{Booked, Charged, Foreign, Open, Refused};
    let (a, b) = (entry(Booked, A, 1990), entry(Booked, B, 1990));
    let [none, at_a, at_b] = [&[][..], &[A], &[B]].map(|all| all.iter().copied().collect());
    let both: ProcessorSet = [A, B].into_iter().collect();
    for (entries, expected) in [
        (&[entry(Charged, A, 1990), a, b][..], at_b),
        (&[entry(Charged, B, 1990), a, b], at_a),
        (&[entry(Charged, A, 1990), a, a], at_a),
        // It is in doubt at one of them, which may have charged it.
        (&[entry(Open, B, 1990), a, b], at_a),
        (&[entry(Open, A, 1990), a, a], none),
        // The journal itself has it at both: nothing says which of them is wrong.
        (
            &[entry(Charged, A, 1990), entry(Charged, B, 1990), a, b],
            both,
        ),
        (&[entry(Charged, A, 1990), entry(Charged, B, 1990)], both),
        // What the journal does not know, or knows as another client's, is none of its doing.
        (&[a, b], none),
        (&[entry(Foreign, A, 1990), a, b], none),
        (&[entry(Refused, A, 1990), a, a], none),
        // No double.
        (&[entry(Charged, A, 1990), b], none),
    ] {
        let (found, _) = differences(terms([true, true]), entries);
        let doubled = found.first().map_or(none, |one| one.doubled);
        assert_eq!(doubled, expected, "{entries:?}");
    }
}
