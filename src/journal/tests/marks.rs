//! A shard's journal says how far it is, and how far those of others were.

use std::sync::Arc;

use super::super::manifest::JournalId;
use super::super::operator;
use super::*;
use crate::payment::Shard;
use crate::peers::{Mark, Marks, OwnJournal};

fn settings(scratch: &Scratch) -> JournalSettings {
    JournalSettings {
        shard: Some(Shard::parse("2/3").unwrap()),
        ..scratch.settings(1)
    }
}

fn text(scratch: &Scratch) -> Option<String> {
    fs::read_to_string(scratch.0.join("MARKS")).ok()
}

fn await_lines(scratch: &Scratch, begin: &str, count: usize) {
    let lines = || text(scratch).map(|text| text.matches(begin).count());
    for _ in 0..500 {
        if lines() == Some(count) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{count} lines {begin}: {:?}", text(scratch));
}

fn numbers(marks: &Marks) -> Vec<u64> {
    marks.own().iter().map(|mark| mark.number()).collect()
}

#[test]
fn each_start_of_a_shard_has_a_mark_on_the_disk_and_keeps_those_before_it() {
    let scratch = Scratch::new();
    let mut before = Vec::new();
    for count in 1..5 {
        let started = start(&settings(&scratch), WALL).unwrap();
        assert_eq!(numbers(&started.marks), (1..=count).collect::<Vec<_>>());
        let own = started.marks.own();
        assert_eq!(own[..before.len()], before, "a start knows what it said");
        let newest = format!("own {:016x}\n", started.marks.newest().0);
        assert!(text(&scratch).unwrap().contains(&newest));
        before = own;
    }
    // What a start left that was killed before the rename counts for nothing.
    fs::write(scratch.0.join("MARKS.new"), "p99 marks 1\nown 7").unwrap();
    let started = start(&settings(&scratch), WALL).unwrap();
    assert_eq!(numbers(&started.marks), [1, 2, 3, 4, 5]);
}

#[test]
fn without_shards_there_are_no_marks() {
    let scratch = Scratch::new();
    let started = start(&scratch.settings(1), WALL).unwrap();
    assert_eq!(started.marks.newest(), Mark(0));
    assert_eq!(text(&scratch), None);
}

#[test]
fn who_is_met_is_kept_with_how_far_it_is_until_an_operator_lets_go_of_it() {
    let scratch = Scratch::new();
    let started = start(&settings(&scratch), WALL).unwrap();
    let heard = Mark(7 << 32 | 5);
    let heard = Marks::new(Shard::parse("2/3").unwrap(), [], [(3, heard)]).heard();
    // As a round over the peers does.
    let mut peers = crate::peers::Peers::new(Shard::parse("2/3").unwrap(), [(2, started.id.0)])
        .with_marks(Arc::clone(&started.marks));
    let third = crate::wire::Introduction {
        shard: Shard::parse("3/3").unwrap(),
        journals: vec![None, None, Some(9)],
        marks: vec![None, None, Some(heard[2].0)],
    };
    let (met, _) = peers.meet(&[Some(third), None], &[]);
    assert_eq!(met, [(3, 9)]);
    started.keeper.met(3, JournalId(9));
    std::thread::sleep(Duration::from_millis(50));
    assert!(
        !text(&scratch).unwrap().contains("met "),
        "not before its peers have said that this journal is the right one"
    );
    started.marks.stand(OwnJournal::Well);
    await_lines(
        &scratch,
        "\nmet 3 at 0000000000000009 as 0000000700000005\n",
        1,
    );
    assert_eq!(numbers(&started.marks), [1, 2], "one more, while it runs");
    drop(started);
    let started = start(&settings(&scratch), WALL).unwrap();
    assert_eq!(started.marks.heard(), heard);
    drop(started);
    // Another journal of that shard has nothing to do with it.
    let path = scratch.0.join("MARKS");
    let before = fs::read_to_string(&path).unwrap();
    assert_eq!(operator::forget_shards(&scratch.0).unwrap(), 1);
    assert!(!text(&scratch).unwrap().contains("met "));
    fs::write(&path, before).unwrap();
    let started = start(&settings(&scratch), WALL).unwrap();
    assert_eq!(started.marks.heard(), [Mark(0); 3]);
    assert_eq!(numbers(&started.marks), [1, 2, 3, 4]);
}

#[test]
fn a_file_of_another_journal_does_not_count_and_a_broken_one_is_refused() {
    let [scratch, other] = [Scratch::new(), Scratch::new()];
    for scratch in [&scratch, &scratch, &scratch, &other] {
        drop(start(&settings(scratch), WALL).unwrap());
    }
    let right = text(&scratch).unwrap();
    fs::write(other.0.join("MARKS"), &right).unwrap();
    let started = start(&settings(&other), WALL).unwrap();
    assert_eq!(numbers(&started.marks), [1]);
    drop(started);
    for at in 0..right.len() {
        let mut bytes = right.clone().into_bytes();
        bytes[at] ^= 1;
        for broken in [&bytes[..], &right.as_bytes()[..at]] {
            fs::write(scratch.0.join("MARKS"), broken).unwrap();
            let fault = start(&settings(&scratch), WALL).unwrap_err();
            assert!(fault.to_string().contains("list of marks"), "{fault}");
        }
    }
}
