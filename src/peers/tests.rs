//! Rounds of answers, right and wrong ones, and what each means for this shard.

use super::*;

fn shard(text: &str) -> Shard {
    Shard::parse(text).unwrap()
}

/// A shard's answer, with the journals that it knows by number; zero for none.
fn answer(text: &str, journals: &[u64]) -> Option<Introduction> {
    Some(Introduction {
        shard: shard(text),
        journals: journals.iter().map(|id| (*id > 0).then_some(*id)).collect(),
    })
}

fn second_of_three() -> Peers {
    Peers::new(shard("2/3"), [(2, 20)])
}

#[test]
fn all_are_there_in_any_order_and_are_met_once() {
    let mut peers = second_of_three();
    let round = [answer("3/3", &[0, 0, 30]), answer("1/3", &[10, 0, 0])];
    assert_eq!(peers.meet(&round), (vec![(3, 30), (1, 10)], Ok(())));
    assert_eq!(peers.introduce(), answer("2/3", &[10, 20, 30]).unwrap());
    assert_eq!(peers.meet(&round), (vec![], Ok(())));
    // Addresses may change their shard.
    let round = [answer("1/3", &[10, 20, 30]), answer("3/3", &[10, 0, 30])];
    assert_eq!(peers.meet(&round), (vec![], Ok(())));
}

#[test]
fn the_one_that_is_missing_is_named_by_its_number() {
    let mut peers = second_of_three();
    let (_, gap) = peers.meet(&[answer("3/3", &[0, 0, 30]), None]);
    assert_eq!(gap, Err(Gap::Missing(1)));
    let (_, gap) = peers.meet(&[None, answer("1/3", &[10, 0, 0])]);
    assert_eq!(gap, Err(Gap::Missing(3)));
    assert_eq!(peers.footing(), Footing::Well, "to be away is no trouble");
    assert_eq!(Gap::Missing(3).to_string(), "shard 3 gave no answer");
}

#[test]
fn who_is_not_who_it_should_be_is_named_until_it_is() {
    let third = || answer("3/3", &[0, 0, 30]);
    use Footing::{Apart, Disputed};
    #[rustfmt::skip]
    let rows = [
        // Of another set, and new there: it stops. One that has met others may be right.
        (answer("1/2", &[10, 0]), Apart(Trouble::OtherCount(1))),
        (answer("1/2", &[10, 22]), Disputed(Trouble::OtherCount(1))),
        (answer("1/4", &[10, 0, 0, 0]), Apart(Trouble::OtherCount(1))),
        (answer("1/4", &[10, 0, 0, 40]), Disputed(Trouble::OtherCount(1))),
        (answer("1/1", &[10]), Apart(Trouble::OtherCount(1))),
        // Another one that claims to be it, likewise.
        (answer("2/3", &[0, 20, 0]), Apart(Trouble::Twice(2))),
        (answer("2/3", &[0, 21, 0]), Apart(Trouble::Twice(2))),
        (answer("2/3", &[0, 0, 0]), Apart(Trouble::Twice(2))),
        (answer("2/3", &[10, 21, 0]), Disputed(Trouble::Twice(2))),
        // This instance under another name.
        (answer("2/3", &[10, 20, 30]), Disputed(Trouble::Twice(2))),
        (answer("3/3", &[0, 0, 31]), Apart(Trouble::Twice(3))),
        // Its journal is another one, or gone.
        (answer("1/3", &[11, 0, 0]), Apart(Trouble::OtherJournal(1))),
        (answer("1/3", &[11, 20, 30]), Apart(Trouble::OtherJournal(1))),
        (answer("1/3", &[0, 20, 30]), Apart(Trouble::OtherJournal(1))),
        // It knew us, or the third one, with another journal.
        (answer("1/3", &[10, 29, 30]), Disputed(Trouble::OtherJournal(2))),
        (answer("1/3", &[10, 20, 39]), Apart(Trouble::OtherJournal(3))),
        // Of a strange set of the same size: which of the two is strange?
        (answer("1/3", &[11, 29, 39]), Disputed(Trouble::OtherJournal(2))),
    ];
    for (wrong, footing) in rows {
        let trouble = footing.trouble().unwrap();
        let mut peers = second_of_three();
        let right = [third(), answer("1/3", &[10, 20, 30])];
        assert_eq!(peers.meet(&right).1, Ok(()));
        let gap = Err(Gap::Trouble(trouble));
        assert_eq!(peers.meet(&[third(), wrong.clone()]), (vec![], gap));
        assert_eq!(peers.footing_towards(1), footing, "{wrong:?}");
        assert_eq!(peers.footing(), footing);
        assert_eq!(
            peers.meet(&[third(), None]).1,
            gap,
            "silence proves nothing"
        );
        assert_eq!(Footing::unpack(footing.pack()), footing);
        assert_eq!(peers.meet(&right).1, Ok(()));
        assert_eq!(peers.footing(), Footing::Well);
    }
    for footing in [Footing::Well, Footing::Unasked] {
        assert_eq!(Footing::unpack(footing.pack()), footing);
    }
    assert_eq!(Footing::Well.pack(), 0);
}

/// What the right one and the wrong one make of each other: never do both go on.
#[test]
fn of_two_that_exclude_each_other_the_new_one_stops_or_both() {
    let rows = [
        (second_of_three(), "2/3", vec![], false),
        (
            Peers::new(shard("2/3"), [(2, 20), (1, 10)]),
            "2/3",
            vec![],
            true,
        ),
        (
            Peers::new(shard("2/3"), [(2, 20), (1, 10)]),
            "2/3",
            vec![(2, 21), (3, 30)],
            false,
        ),
        (
            Peers::new(shard("2/3"), [(2, 20), (1, 10)]),
            "1/2",
            vec![(1, 11)],
            true,
        ),
        (second_of_three(), "1/2", vec![(1, 11), (2, 22)], false),
        (Peers::new(shard("2/3"), []), "2/3", vec![], false),
    ];
    for (mut one, other, journals, goes_on) in rows {
        let mut other = Peers::new(shard(other), journals);
        let said = [one.introduce(), other.introduce()];
        let _ = one.meet(&[Some(said[1].clone())]);
        let _ = other.meet(&[Some(said[0].clone())]);
        let footings = [one.footing(), other.footing()];
        assert_eq!(footings[0].is_good(), goes_on, "{said:?}");
        let has_both = footings.iter().all(|footing| footing.is_good());
        assert!(!has_both, "{said:?} {footings:?}");
    }
}

#[test]
fn what_is_said_about_this_shard_weighs_more_than_what_is_wrong_elsewhere() {
    let mut peers = second_of_three();
    let round = [answer("3/3", &[0, 0, 30]), answer("1/3", &[10, 20, 0])];
    assert_eq!(peers.meet(&round).1, Ok(()));
    let apart = answer("1/3", &[11, 0, 0]);
    let round = [apart, answer("3/3", &[10, 29, 30])];
    let trouble = Trouble::OtherJournal(2);
    assert_eq!(peers.meet(&round).1, Err(Gap::Trouble(trouble)));
    assert_eq!(peers.footing(), Footing::Disputed(trouble));
}

#[test]
fn what_is_wrong_is_not_learned() {
    let mut peers = second_of_three();
    let round = [answer("1/3", &[10, 29, 0]), answer("3/3", &[11, 20, 30])];
    let (met, _) = peers.meet(&round);
    assert_eq!(met, [(3, 30)], "only of a peer about which all is right");
    assert_eq!(peers.introduce(), answer("2/3", &[0, 20, 30]).unwrap());
}

/// A shard whose JOURNAL_DIR was lost would charge again what its journal has.
#[test]
fn a_shard_without_the_journal_that_others_know_stops() {
    let bare = || Peers::new(shard("2/3"), []);
    let mut peers = bare();
    let round = [answer("1/3", &[10, 20, 0]), None];
    let trouble = Trouble::OtherJournal(2);
    assert_eq!(peers.meet(&round), (vec![], Err(Gap::Trouble(trouble))));
    assert_eq!(peers.footing(), Footing::Disputed(trouble));
    // Where none keeps one, or none has met this one, nothing is lost.
    for others in [[[0, 0, 0]; 2], [[10, 0, 0], [0, 0, 30]]] {
        let mut peers = bare();
        let round = [answer("1/3", &others[0]), answer("3/3", &others[1])];
        assert_eq!(peers.meet(&round).1, Ok(()), "{others:?}");
        assert_eq!(peers.footing(), Footing::Well);
    }
}
