//! A journal belongs to one shard of a set of one size, and remembers whom that shard has met.

use super::super::directory::Directory;
use super::super::manifest::JournalId;
use super::super::operator;
use super::*;
use crate::payment::Shard;

fn settings(scratch: &Scratch, shard: &str) -> JournalSettings {
    JournalSettings {
        shard: Some(Shard::parse(shard).unwrap()),
        ..scratch.settings(1)
    }
}

#[test]
fn a_journal_is_started_as_the_shard_that_it_is_and_as_no_other() {
    for (own, others) in [
        ("2/3", ["1/3", "3/3", "2/2", "2/4", "1/1"]),
        ("1/1", ["1/2", "2/2", "1/3", "3/3", "33/33"]),
    ] {
        let scratch = Scratch::new();
        feed(
            start(&settings(&scratch, own), WALL).unwrap(),
            &stories(0..24),
        );
        let held = Facts::of_dir(&scratch.0).unwrap();
        for other in others {
            let fault = start(&settings(&scratch, other), WALL).unwrap_err();
            assert!(matches!(fault, JournalFault::OtherShard { .. }), "{fault}");
            let text = fault.to_string();
            assert!(
                text.contains(&format!("set SHARD={own}")) && text.contains(other),
                "{text}"
            );
        }
        assert_eq!(Facts::of_dir(&scratch.0).unwrap(), held, "nothing changed");
        // Those who only look, or resolve by hand, need not know.
        drop(start(&scratch.settings(1), WALL).unwrap());
        drop(start(&settings(&scratch, own), WALL).unwrap());
    }
}

#[test]
fn without_shards_the_manifest_is_what_it_always_was() {
    let scratch = Scratch::new();
    drop(start(&settings(&scratch, "1/1"), WALL).unwrap());
    let text = fs::read_to_string(scratch.0.join("MANIFEST")).unwrap();
    assert!(!text.contains("shard") && !text.contains("met"), "{text}");
}

#[test]
fn whom_a_shard_has_met_is_kept_until_an_operator_lets_go_of_it() {
    let scratch = Scratch::new();
    let settings = settings(&scratch, "2/3");
    let started = start(&settings, WALL).unwrap();
    let id = started.id;
    assert!(started.met.is_empty());
    for (number, journal) in [(1, 7), (3, 8), (3, 9)] {
        started.keeper.met(number, JournalId(journal));
    }
    drop(started);
    let expected = [(1, JournalId(7)), (3, JournalId(9))].into();
    let manifest = || Directory::peek(&scratch.0).manifest().unwrap().unwrap();
    assert_eq!(manifest().met, expected);
    let started = start(&settings, WALL).unwrap();
    assert_eq!((started.id, &started.met), (id, &expected));
    let fault = operator::forget_shards(&scratch.0).unwrap_err();
    assert!(matches!(fault, JournalFault::Locked { .. }), "{fault}");
    drop(started);
    assert_eq!(operator::forget_shards(&scratch.0).unwrap(), 2);
    assert!(manifest().met.is_empty());
    assert_eq!(manifest().shard, settings.shard.unwrap());
}
