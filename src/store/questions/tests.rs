//! Questions and their barriers, reading after reading.

use super::*;
use crate::clock::UnixMillis;
use crate::store::exchange::OpenAt;

const OWN: WriterId = WriterId(1);

fn open(writer: i32, batch: i64) -> OpenAt {
    OpenAt {
        writer: WriterId(writer),
        batch,
        whole: batch,
        count: 1,
        is_unheard: false,
    }
}

/// What is read of one window, or of its barrier alone.
fn reading_of(open: &[OpenAt]) -> Reading {
    Reading {
        open: open.to_vec(),
        sums: vec![SumReading {
            open: open.to_vec(),
            ..SumReading::default()
        }],
        ..Reading::default()
    }
}

/// What is answered to a sum whose readings were these, one after the other.
fn sum(readings: &[Vec<OpenAt>], step: u64) -> Option<Reply> {
    let mut questions = Questions::default();
    questions.ask(Question::Sum(Window::ALL), 0);
    let mut now = Boot(1);
    for open in readings {
        let carried = questions.carry(0, now, &mut Reads::default());
        let reading = reading_of(open);
        let reports = questions.read(&carried, &reading, OWN, now);
        if let [Report::Answered { reply, .. }] = &reports[..] {
            return Some(reply.clone());
        }
        now = Boot(now.0 + step);
    }
    None
}

#[test]
fn a_sum_waits_until_writers_with_open_rows_have_come_two_batches_further() {
    let exact = |pending| {
        let charged = <_>::default();
        Some(Reply::Sums(WindowSums { charged, pending }))
    };
    assert_eq!(sum(&[vec![]], 1), exact(0));
    assert_eq!(sum(&[vec![open(1, 7)]], 1), exact(1), "its own");
    assert_eq!(sum(&[vec![open(2, 7)], vec![open(2, 8)]], 1), None);
    let passed = [vec![open(2, 7)], vec![open(2, 9)], vec![open(2, 9)]];
    assert_eq!(sum(&passed, 1), exact(1));
    assert_eq!(sum(&passed[..2], 1), None, "only its barrier was looked at");
    let gone = [vec![open(2, 7)], vec![open(3, 1)], vec![open(3, 2)]];
    assert_eq!(sum(&gone, 1), exact(1), "3 had none when it was asked");
    let full = OpenAt {
        whole: 8,
        ..open(2, 9)
    };
    let last = vec![open(2, 10)];
    let rest = [vec![open(2, 7)], vec![full], last.clone(), last];
    assert_eq!(sum(&rest[..3], 1), None, "it left something behind");
    assert_eq!(sum(&rest, 1), exact(1));
    let slow = [vec![open(2, 7)], vec![open(2, 8)]];
    assert_eq!(sum(&slow, 1_000_000), Some(Reply::Unavailable));
    let unheard = OpenAt {
        is_unheard: true,
        ..open(2, 7)
    };
    assert_eq!(sum(&[vec![unheard]], 1), Some(Reply::Unavailable));
}

#[test]
fn a_sum_is_added_up_at_first_and_when_its_barrier_has_passed() {
    let mut questions = Questions::default();
    questions.ask(Question::Sum(Window::ALL), 0);
    let batches = [
        (7, true, false),
        (8, false, true),
        (9, false, true),
        (9, true, false),
    ];
    for (batch, is_added_up, is_open_read) in batches {
        let mut reads = Reads::default();
        let carried = questions.carry(0, Boot(1), &mut reads);
        let is_read = (reads.sums == [Window::ALL], reads.open);
        assert_eq!(is_read, (is_added_up, is_open_read), "{batch}");
        let reading = reading_of(&[open(2, batch)]);
        questions.read(&carried, &reading, OWN, Boot(2));
        let is_pressing = questions.due() == Some(Boot::default());
        assert_eq!(is_pressing, reads.open && batch == 9, "{batch}");
    }
    assert_eq!(questions.due(), None, "it was answered");
}

#[test]
fn one_batch_adds_up_a_few_windows_for_all_who_ask_for_them() {
    let mut questions = Questions::default();
    for number in 0..100 {
        let (from, to) = (number % 10, 99);
        questions.ask(Question::Sum(Window { from, to }), 0);
    }
    let mut answers = 0;
    for _ in 0..3 {
        let mut reads = Reads::default();
        let carried = questions.carry(0, Boot(1), &mut reads);
        assert!((1..=4).contains(&reads.sums.len()), "{:?}", reads.sums);
        let reading = Reading {
            sums: vec![SumReading::default(); reads.sums.len()],
            ..Reading::default()
        };
        answers += questions.read(&carried, &reading, OWN, Boot(2)).len();
    }
    assert_eq!((answers, questions.due()), (100, None));
}

#[test]
fn a_window_that_cuts_an_old_second_is_told_from_when_on_it_may() {
    let mut questions = Questions::default();
    let question = questions.ask(Question::Sum(Window { from: 1, to: 2 }), 0);
    let carried = questions.carry(0, Boot(1), &mut Reads::default());
    let boundary = UnixMillis(9_000);
    let reading = Reading {
        sums: vec![SumReading {
            cut: Some(boundary),
            open: vec![open(2, 7)],
            ..SumReading::default()
        }],
        ..Reading::default()
    };
    let reports = questions.read(&carried, &reading, OWN, Boot(2));
    let reply = Reply::Cut(CutsOldSecond { boundary });
    assert_eq!(reports, [Report::Answered { question, reply }]);
}

#[test]
fn a_question_is_asked_behind_the_records_before_it() {
    let mut questions = Questions::default();
    questions.ask(Question::Find(UpstreamId(1)), 5);
    let mut reads = Reads::default();
    questions.carry(4, Boot(1), &mut reads);
    assert!(reads.rows.is_empty());
    questions.carry(5, Boot(1), &mut reads);
    assert_eq!(reads.rows, [UpstreamId(1)]);
}

#[test]
fn a_purge_waits_for_the_others_first() {
    let mut questions = Questions::default();
    let number = questions.ask(Question::Purge, 0);
    let carried = questions.carry(0, Boot(1), &mut Reads::default());
    assert_eq!(questions.carry_purge(), None);
    let told = questions.read(&carried, &Reading::default(), OWN, Boot(2));
    assert!(told.is_empty());
    let carried = questions.carry_purge().unwrap();
    let reports = questions.read(&carried, &Reading::default(), OWN, Boot(4));
    let reply = Reply::Purged;
    let question = number;
    assert_eq!(reports, [Report::Answered { question, reply }]);
    assert_eq!(questions.due(), None);
}
