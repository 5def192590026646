//! One journal takes over another.

use super::super::directory::Directory;
use super::*;

/// The stories in the range that leave nothing pending.
fn settled_stories(numbers: std::ops::Range<u32>) -> Vec<Vec<Record>> {
    let is_settled = |story: &Vec<Record>| Facts::of_records(story).pending.is_empty();
    stories(numbers).into_iter().filter(is_settled).collect()
}

/// A journal of so many cores that was written and stopped.
fn written(cores: u16, batches: &[Vec<Record>]) -> Scratch {
    let scratch = Scratch::new();
    feed(start(&scratch.settings(cores), WALL).unwrap(), batches);
    scratch
}

fn absorbed(into: &Scratch, from: &Scratch) -> Result<Handover, JournalFault> {
    absorb(&into.settings(1), &from.0, WALL)
}

#[test]
fn ledger_and_claims_move_once_and_for_good() {
    for (cores, other_cores) in [(1, 1), (2, 1), (1, 3), (3, 2)] {
        let into = written(cores, &stories(0..60));
        let from = written(other_cores, &settled_stories(60..120));
        let held = Facts::of_dir(&from.0).unwrap();
        let both = [stories(0..60), settled_stories(60..120)].concat();
        let expected = Facts::of_records(&both.concat());

        let handover = absorbed(&into, &from).unwrap();
        assert_eq!(handover.totals, held.totals);
        assert_eq!(handover.settled, held.settled.len() as u64);
        assert!(!handover.was_done);
        assert_eq!(Facts::of_dir(&into.0).unwrap(), expected);

        // Again, before and after a start of the one that goes on.
        assert!(absorbed(&into, &from).unwrap().was_done);
        let started = start(&into.settings(2), WALL).unwrap();
        assert_eq!(Facts::of_start(&started), expected);
        drop(started);
        assert!(absorbed(&into, &from).unwrap().was_done);
        assert_eq!(Facts::of_dir(&into.0).unwrap(), expected);

        // What went stays readable, and never counts anywhere else.
        assert_eq!(Facts::of_dir(&from.0).unwrap(), held);
        let third = written(1, &[]);
        let faults = [
            start(&from.settings(1), WALL).unwrap_err(),
            absorbed(&third, &from).unwrap_err(),
            absorbed(&from, &third).unwrap_err(),
        ];
        for fault in faults {
            assert!(matches!(fault, JournalFault::HandedOver { .. }), "{fault}");
        }
    }
}

#[test]
fn a_crash_between_the_two_manifests_is_made_good_by_running_it_again() {
    let into = written(2, &stories(0..40));
    let from = written(2, &settled_stories(40..80));
    let manifest = |scratch: &Scratch| Directory::peek(&scratch.0).manifest().unwrap().unwrap();
    let mut leaving = manifest(&from);
    leaving.handed_to = Some(manifest(&into).id);
    Directory::peek(&from.0).switch(&leaving).unwrap();
    assert!(matches!(
        start(&from.settings(2), WALL).unwrap_err(),
        JournalFault::HandedOver { .. }
    ));

    // The one that goes on may even have been started meanwhile.
    drop(start(&into.settings(2), WALL).unwrap());
    assert!(!absorbed(&into, &from).unwrap().was_done);
    let both = [stories(0..40), settled_stories(40..80)].concat();
    let expected = Facts::of_records(&both.concat());
    assert_eq!(Facts::of_dir(&into.0).unwrap(), expected);
}

#[test]
fn what_is_pending_is_never_taken_over() {
    let into = written(1, &stories(0..40));
    let from = written(1, &stories(40..80));
    let before = (
        Facts::of_dir(&into.0).unwrap(),
        Facts::of_dir(&from.0).unwrap(),
    );
    let fault = absorbed(&into, &from).unwrap_err();
    let count = before.1.pending.len();
    assert!(
        matches!(fault, JournalFault::StillPending { count: told, .. } if told == count),
        "{fault}"
    );

    // Pending here, settled there.
    let story = stories(0..40).into_iter().find(|story| {
        let facts = Facts::of_records(story);
        !facts.pending.is_empty()
    });
    let id = story.unwrap().iter().find_map(Record::id).unwrap();
    let amount = Cents(1990);
    let verdict = Verdict::Applied {
        processor: Processor::DEFAULT,
        amount,
        requested_at: WALL,
    };
    let elsewhere = written(1, &[vec![Record::Verdict { id, verdict }]]);
    let fault = absorbed(&into, &elsewhere).unwrap_err();
    assert!(
        matches!(fault, JournalFault::Conflict { id: told } if told == id),
        "{fault}"
    );
    let after = (
        Facts::of_dir(&into.0).unwrap(),
        Facts::of_dir(&from.0).unwrap(),
    );
    assert_eq!(before, after);
    drop(start(&from.settings(1), WALL).unwrap());
    drop(start(&elsewhere.settings(1), WALL).unwrap());
}

#[test]
fn what_ended_with_its_process_takes_no_settled_claim_away() {
    // Refused, planned again and sent to nobody when the process died.
    let unkept = |number| {
        let mut story = story(number);
        let held = Record::Verdict {
            id: story[0].id().unwrap(),
            verdict: Verdict::Refused {
                processor: Processor::DEFAULT,
                fate: Fate::Held,
            },
        };
        story.truncate(1);
        story.push(held);
        story
    };
    // Number 0 is settled in ours and unkept in theirs, number 8 the other way round.
    let into = written(2, &[story(0), unkept(8)]);
    let from = written(1, &[unkept(0), story(8)]);
    let settled = Facts::of_records(&[story(0), story(8)].concat());
    assert!(!absorbed(&into, &from).unwrap().was_done);
    assert_eq!(Facts::of_dir(&into.0).unwrap(), settled);
    assert_eq!(
        Facts::of_start(&start(&into.settings(1), WALL).unwrap()),
        settled
    );
}

#[test]
fn a_journal_is_not_taken_over_by_itself_nor_from_nowhere() {
    let into = written(1, &stories(0..8));
    let fault = absorbed(&into, &into).unwrap_err();
    assert!(matches!(fault, JournalFault::Locked { .. }), "{fault}");
    let empty = Scratch::new();
    let fault = absorbed(&into, &empty).unwrap_err();
    assert!(matches!(fault, JournalFault::Missing { .. }), "{fault}");
    assert_eq!(
        fs::read_dir(&empty.0).unwrap().count(),
        0,
        "no lock is left"
    );
}
