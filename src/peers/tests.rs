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
        marks: vec![None; journals.len()],
    })
}

fn second_of_three() -> Peers {
    Peers::new(shard("2/3"), [(2, 20)])
}

#[test]
fn all_are_there_in_any_order_and_are_met_once() {
    let mut peers = second_of_three();
    let round = [answer("3/3", &[0, 0, 30]), answer("1/3", &[10, 0, 0])];
    assert_eq!(peers.meet(&round, &[]), (vec![(3, 30), (1, 10)], Ok(())));
    assert_eq!(peers.introduce(), answer("2/3", &[10, 20, 30]).unwrap());
    assert_eq!(peers.meet(&round, &[]), (vec![], Ok(())));
    // Addresses may change their shard.
    let round = [answer("1/3", &[10, 20, 30]), answer("3/3", &[10, 0, 30])];
    assert_eq!(peers.meet(&round, &[]), (vec![], Ok(())));
}

#[test]
fn the_one_that_is_missing_is_named_by_its_number() {
    let mut peers = second_of_three();
    let (_, gap) = peers.meet(&[answer("3/3", &[0, 0, 30]), None], &[]);
    assert_eq!(gap, Err(Gap::Missing(1)));
    let (_, gap) = peers.meet(&[None, answer("1/3", &[10, 0, 0])], &[]);
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
        assert_eq!(peers.meet(&right, &[]).1, Ok(()));
        let gap = Err(Gap::Trouble(trouble));
        assert_eq!(peers.meet(&[third(), wrong.clone()], &[]), (vec![], gap));
        assert_eq!(peers.footing_towards(1), footing, "{wrong:?}");
        assert_eq!(peers.footing(), footing);
        assert_eq!(
            peers.meet(&[third(), None], &[]).1,
            gap,
            "silence proves nothing"
        );
        assert_eq!(Footing::unpack(footing.pack()), footing);
        assert_eq!(peers.meet(&right, &[]).1, Ok(()));
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
        let _ = one.meet(&[Some(said[1].clone())], &[]);
        let _ = other.meet(&[Some(said[0].clone())], &[]);
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
    assert_eq!(peers.meet(&round, &[]).1, Ok(()));
    let apart = answer("1/3", &[11, 0, 0]);
    let round = [apart, answer("3/3", &[10, 29, 30])];
    let trouble = Trouble::OtherJournal(2);
    assert_eq!(peers.meet(&round, &[]).1, Err(Gap::Trouble(trouble)));
    assert_eq!(peers.footing(), Footing::Disputed(trouble));
}

#[test]
fn what_is_wrong_is_not_learned() {
    let mut peers = second_of_three();
    let round = [answer("1/3", &[10, 29, 0]), answer("3/3", &[11, 20, 30])];
    let (met, _) = peers.meet(&round, &[]);
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
    assert_eq!(
        peers.meet(&round, &[]),
        (vec![], Err(Gap::Trouble(trouble)))
    );
    assert_eq!(peers.footing(), Footing::Disputed(trouble));
    // Where none keeps one, or none has met this one, nothing is lost.
    for others in [[[0, 0, 0]; 2], [[10, 0, 0], [0, 0, 30]]] {
        let mut peers = bare();
        let round = [answer("1/3", &others[0]), answer("3/3", &others[1])];
        assert_eq!(peers.meet(&round, &[]).1, Ok(()), "{others:?}");
        assert_eq!(peers.footing(), Footing::Well);
    }
}

/// The same shard on a journal with these marks.
fn second_with(marks: Arc<Marks>) -> Peers {
    let peers = Peers::new(shard("2/3"), [(1, 10), (2, 20), (3, 30)]).with_marks(marks);
    peers.stand(Footing::Well);
    peers
}

fn marks(own: &[Mark], heard: &[(u16, Mark)]) -> Arc<Marks> {
    let marks = Marks::new(shard("2/3"), own.iter().copied(), heard.iter().copied());
    Arc::new(marks)
}

/// So many starts, one after the other; `branch` tells them from those of another copy.
fn starts(count: u64, branch: u64) -> Vec<Mark> {
    let next = |mark: &Mark| Some(mark.next(branch << 32));
    let all = std::iter::successors(Some(Mark(0).next(branch << 32)), next);
    all.take(usize::try_from(count).unwrap()).collect()
}

/// Shard 1, which knows all journals, says how far they are.
fn first_says(words: [Option<u64>; 3]) -> Vec<Option<Introduction>> {
    let mut first = answer("1/3", &[10, 20, 30]).unwrap();
    first.marks = words.to_vec();
    let mut third = answer("3/3", &[10, 20, 30]).unwrap();
    third.marks = vec![None; 3];
    vec![Some(third), Some(first)]
}

/// Whether it takes payments, when shard 1 has heard this mark of it.
fn is_good_after(own: &[Mark], told: Option<Mark>) -> bool {
    let mut peers = second_with(marks(own, &[]));
    let round = first_says([None, told.map(|mark| mark.0), None]);
    let _ = peers.meet(&round, &[]);
    let is_good = peers.footing().is_good();
    let disputed = Footing::Disputed(Trouble::OtherJournal(2));
    assert_eq!(is_good, peers.footing() == Footing::Well);
    assert!(is_good || peers.footing() == disputed);
    is_good
}

#[test]
fn a_shard_on_an_old_copy_of_its_journal_stops_however_often_it_starts() {
    let all = starts(9, 1);
    for told in 0..9 {
        assert!(is_good_after(&all, Some(all[told])), "what it said itself");
    }
    assert!(is_good_after(&all, None), "a peer of an earlier release");
    assert!(!is_good_after(&[], Some(all[0])), "its marks were lost");
    // A copy that was made after the fourth start, and starts by itself.
    for more in 1..20 {
        let mut copy = all[..4].to_vec();
        for _ in 0..more {
            copy.push(copy[copy.len() - 1].next(2 << 32));
        }
        for (index, told) in all.iter().enumerate() {
            assert_eq!(is_good_after(&copy, Some(*told)), index < 4, "{more}");
        }
    }
}

#[test]
fn marks_that_are_forgotten_say_nothing_and_newer_ones_still_do() {
    let kept = u64::try_from(MARKS_KEPT).unwrap();
    let [right, wrong] = [1, 2].map(|branch| starts(kept + 5, branch));
    for index in [0, 4] {
        assert!(is_good_after(&right, Some(wrong[index])));
    }
    for index in [5, MARKS_KEPT, MARKS_KEPT + 4] {
        assert!(!is_good_after(&right, Some(wrong[index])), "{index}");
        assert!(is_good_after(&right, Some(right[index])), "{index}");
    }
    assert_eq!(marks(&right, &[]).own(), right[5..]);
}

#[test]
fn a_peer_on_an_old_copy_is_named_and_what_it_says_is_not_kept() {
    let [right, wrong] = [1, 2].map(|branch| starts(9, branch));
    let apart = Footing::Apart(Trouble::OtherJournal(1));
    #[rustfmt::skip]
    let rows = [
        (Some(right[4]), Footing::Well, right[4]),
        (Some(right[5]), Footing::Well, right[5]),
        (None, Footing::Well, right[4]),
        (Some(right[3]), apart, right[4]),
        (Some(wrong[4]), apart, right[4]),
        // It may have overtaken the right one meanwhile, but was told that it is wrong.
        (Some(Mark::IN_DOUBT), apart, right[4]),
    ];
    for (said, footing, kept) in rows {
        let mut peers = second_with(marks(&[], &[(1, right[4])]));
        let heard = peers.marks().heard();
        let round = first_says([said.map(|mark| mark.0), None, None]);
        let _ = peers.meet(&round, &heard);
        assert_eq!(peers.footing(), footing, "{said:?}");
        assert_eq!(peers.marks().heard()[0], kept, "{said:?}");
    }
    // An answer that another core's overtook was right when it was given.
    let mut peers = second_with(marks(&[], &[(1, right[3])]));
    let heard = peers.marks().heard();
    for said in [right[4], right[3]] {
        let _ = peers.meet(&first_says([Some(said.0), None, None]), &heard);
        assert_eq!(peers.footing(), Footing::Well);
    }
    assert_eq!(peers.marks().heard()[0], right[4]);
}

#[test]
fn a_shard_tells_its_mark_only_while_it_takes_payments() {
    let all = starts(3, 1);
    let peers = second_with(marks(&all, &[(3, all[0])]));
    let mut rows = vec![
        (Footing::Unasked, None),
        (Footing::Well, Some(all[2])),
        (Footing::Apart(Trouble::OtherJournal(1)), Some(all[2])),
    ];
    rows.push((Footing::Disputed(Trouble::Twice(2)), None));
    let doubt = Footing::Disputed(Trouble::OtherJournal(2));
    rows.push((doubt, Some(Mark::IN_DOUBT)));
    for (footing, own) in rows {
        peers.stand(footing);
        let said = [None, own.map(|mark| mark.0), Some(all[0].0)];
        assert_eq!(peers.introduce().marks, said, "{footing:?}");
        assert_eq!(peers.marks().is_well(), footing.is_good());
    }
}
