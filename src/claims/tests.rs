//! The map against a model, then its bounds and edges one by one.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::claims::FirstAnswer;
use crate::payment::{Cents, Processor, Status};

fn claim(cents: u64) -> SettledClaim {
    SettledClaim {
        status: Status::Processed,
        amount: Cents(cents),
        processor: Some(Processor::DEFAULT),
        requested_at: None,
        first_answer: FirstAnswer::Answered200,
        counted: true,
    }
}

fn secs(secs: u64) -> Mono {
    Mono(secs * 1_000_000)
}

#[test]
fn a_claim_goes_from_fresh_over_pending_to_settled() {
    let mut claims = Claims::new(10, Duration::from_secs(60));
    let id = UpstreamId(7);
    assert_eq!(claims.look(id), Claim::Fresh);
    claims.hold(id, 3);
    assert_eq!(claims.look(id), Claim::Pending(3));
    claims.release(id);
    assert_eq!(claims.look(id), Claim::Fresh);
    claims.hold(id, 4);
    claims.settle(id, claim(1990), secs(1));
    assert_eq!(claims.look(id), Claim::Settled(claim(1990)));
    assert!(
        !claims.restore(id, claim(5), Duration::ZERO, secs(1)),
        "what is known stays"
    );
    assert_eq!(claims.look(id), Claim::Settled(claim(1990)));
    claims.check_invariants();
}

#[test]
fn a_claim_that_a_journal_brings_back_lives_for_what_is_left_of_its_ttl() {
    let ttl = Duration::from_secs(60);
    let mut claims = Claims::new(2, ttl).when_full(Full::Keep);
    for (id, age) in [(1, 70), (2, 61), (3, 59), (4, 20)] {
        let age = Duration::from_secs(age);
        assert!(claims.restore(UpstreamId(id), claim(1), age, secs(0)));
    }
    // Of the first two nothing is left, however many there are.
    assert!(!claims.has_room(secs(0)));
    assert_eq!(claims.settled_len(), 2);
    assert_eq!(claims.look(UpstreamId(3)), Claim::Settled(claim(1)));
    assert!(claims.has_room(secs(1)));
    assert_eq!(claims.look(UpstreamId(3)), Claim::Fresh);
    assert_eq!(claims.look(UpstreamId(4)), Claim::Settled(claim(1)));
    claims.check_invariants();
}

#[test]
fn a_settled_claim_lives_for_its_ttl_and_no_second_less() {
    let mut claims = Claims::new(10, Duration::from_secs(60));
    for (id, now) in [(1, Mono(1)), (2, secs(1)), (3, secs(5))] {
        assert!(claims.restore(UpstreamId(id), claim(1), Duration::ZERO, now));
    }
    assert_eq!(claims.expire(Mono(60_999_999), 10), 0);
    assert_eq!(claims.expire(secs(61), 1), 1, "no more than asked for");
    assert_eq!(claims.expire(secs(61), 10), 1);
    assert_eq!(claims.look(UpstreamId(3)), Claim::Settled(claim(1)));
    assert_eq!(claims.expire(secs(1_000), 10), 1);
    claims.check_invariants();
}

#[test]
fn a_pending_claim_is_never_evicted_and_never_expires() {
    let mut claims = Claims::new(2, Duration::from_secs(1));
    claims.hold(UpstreamId(0), 9);
    for id in 1..100 {
        claims.hold(UpstreamId(id), 1);
        claims.settle(UpstreamId(id), claim(1), secs(1));
        claims.check_invariants();
    }
    let kept: Vec<u128> = claims.settled().map(|(id, _)| id.0).collect();
    assert_eq!(kept, [98, 99], "the oldest settled go first");
    assert_eq!(claims.settled_len(), 2);
    claims.expire(secs(1_000_000), usize::MAX);
    claims.forget_settled();
    claims.check_invariants();
    assert_eq!((claims.settled_len(), claims.pending_len()), (0, 1));
    assert_eq!(claims.look(UpstreamId(0)), Claim::Pending(9));
}

#[test]
fn a_map_without_capacity_keeps_nothing_settled() {
    let mut claims = Claims::new(0, Duration::from_secs(60));
    claims.hold(UpstreamId(1), 1);
    claims.settle(UpstreamId(1), claim(1), secs(1));
    assert_eq!(claims.look(UpstreamId(1)), Claim::Fresh);
    claims.check_invariants();
}

#[test]
fn nothing_is_allocated_once_the_map_is_full() {
    let mut claims = Claims::new(1_000, Duration::from_secs(60));
    let room = claims.entries.capacity();
    for id in 0..20_000 {
        claims.hold(UpstreamId(id), 1);
        claims.settle(UpstreamId(id), claim(1), secs(1));
    }
    assert_eq!(
        (claims.entries.len(), claims.entries.capacity()),
        (1_001, room)
    );
    claims.check_invariants();
}

#[test]
#[should_panic(expected = "I1")]
fn a_taken_id_is_not_claimed_again() {
    let mut claims = Claims::new(1, Duration::from_secs(1));
    claims.hold(UpstreamId(1), 1);
    claims.hold(UpstreamId(1), 2);
}

#[test]
#[should_panic(expected = "I3")]
fn a_settled_id_is_not_released() {
    let mut claims = Claims::new(1, Duration::from_secs(1));
    claims.restore(UpstreamId(1), claim(1), Duration::ZERO, secs(1));
    claims.release(UpstreamId(1));
}

/// What the map should do, in the plainest words.
#[derive(Default)]
struct Model {
    pending: HashMap<u128, u32>,
    settled: VecDeque<(u128, u64, u64)>,
    forgotten: Forgotten,
}

impl Model {
    fn look(&self, id: u128) -> Claim {
        if let Some(slot) = self.pending.get(&id) {
            return Claim::Pending(*slot);
        }
        self.settled
            .iter()
            .find(|(settled, ..)| *settled == id)
            .map_or(Claim::Fresh, |(_, cents, _)| Claim::Settled(claim(*cents)))
    }

    fn settle(&mut self, id: u128, cents: u64, now: u64) {
        self.settled.push_back((id, cents, now));
        if self.settled.len() > CAPACITY
            && let Some((.., at)) = self.settled.pop_front()
        {
            let is_old = now >= at + TTL;
            self.forgotten.expired += u64::from(is_old);
            self.forgotten.evicted += u64::from(!is_old);
        }
    }
}

const CAPACITY: usize = 8;
const TTL: u64 = 20;

proptest! {
    #[test]
    fn the_map_does_what_the_model_does(
        steps in proptest::collection::vec((0_u8..40, 0_u128..24, 0_u32..9), 0..300),
    ) {
        let mut claims = Claims::new(CAPACITY, Duration::from_secs(TTL));
        let mut model = Model::default();
        let mut now = 0;
        for (step, id, number) in steps {
            let key = UpstreamId(id);
            match (step, model.look(id)) {
                (0, _) => {
                    claims.forget_settled();
                    model.forgotten.purged += u64::try_from(model.settled.len()).unwrap();
                    model.settled.clear();
                }
                (1..6, _) => {
                    now += u64::from(number);
                    let gone = claims.expire(secs(now), 3);
                    let old = model.settled.iter().filter(|(.., at)| now >= at + TTL).count();
                    prop_assert_eq!(gone, old.min(3));
                    model.settled.drain(..gone);
                    model.forgotten.expired += u64::try_from(gone).unwrap();
                }
                (6..10, Claim::Fresh) => {
                    let told = claim(u64::from(number));
                    prop_assert!(claims.restore(key, told, Duration::ZERO, secs(now)));
                    model.settle(id, u64::from(number), now);
                }
                (_, Claim::Fresh) => {
                    claims.hold(key, number);
                    model.pending.insert(id, number);
                }
                (0..20, Claim::Pending(_)) => {
                    claims.release(key);
                    model.pending.remove(&id);
                }
                (_, Claim::Pending(_)) => {
                    claims.settle(key, claim(u64::from(number)), secs(now));
                    model.pending.remove(&id);
                    model.settle(id, u64::from(number), now);
                }
                (_, Claim::Settled(_)) => {}
            }
            claims.check_invariants();
            prop_assert_eq!(claims.pending_len(), model.pending.len());
            prop_assert_eq!(claims.forgotten(), model.forgotten);
            for id in 0..24 {
                prop_assert_eq!(claims.look(UpstreamId(id)), model.look(id));
            }
            let order: Vec<u128> = claims.settled().map(|(id, _)| id.0).collect();
            let expected: Vec<u128> = model.settled.iter().map(|(id, ..)| *id).collect();
            prop_assert_eq!(order, expected);
        }
    }
}

/// CACHE_FULL=refuse: none is forgotten inside its time, and what has had its time makes room.
#[test]
fn a_map_that_keeps_all_has_no_room_until_the_oldest_has_had_its_time() {
    let mut claims = Claims::new(2, Duration::from_secs(60)).when_full(Full::Keep);
    for number in 0..2 {
        assert!(claims.has_room(secs(1)));
        claims.hold(UpstreamId(number), 0);
    }
    assert!(!claims.has_room(secs(1)), "pending ones count");
    claims.settle(UpstreamId(0), claim(1990), secs(1));
    claims.settle(UpstreamId(1), claim(1990), secs(30));
    assert!(!claims.has_room(secs(60)));
    // What a journal brings back may be more.
    assert!(claims.restore(UpstreamId(2), claim(1990), Duration::ZERO, secs(31)));
    assert!(matches!(claims.look(UpstreamId(0)), Claim::Settled(_)));
    claims.check_invariants();
    assert!(
        !claims.has_room(secs(61)),
        "one has had its time, one is too many"
    );
    assert_eq!(claims.look(UpstreamId(0)), Claim::Fresh);
    assert!(claims.has_room(secs(90)));
    assert_eq!(
        (claims.forgotten().evicted, claims.forgotten().expired),
        (0, 2)
    );
}
