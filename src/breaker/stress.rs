//! The breaker under threads: counts stay exact, one thread learns of each transition, and there
//! are never more probes than permits. What is asserted holds in every interleaving.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use super::tests::{SETTINGS, granted, ms};
use super::*;

#[test]
fn counts_are_exact_and_one_thread_learns_of_the_transition() {
    const THREADS: u64 = 8;
    const EACH: u64 = 5_000;
    let breaker = Breaker::new(BreakerSettings {
        min_samples: u32::try_from(THREADS * EACH).unwrap(),
        failure_per_mille: 500,
        ..SETTINGS
    });
    let learnt = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (breaker, learnt) = (&breaker, &learnt);
            scope.spawn(move || {
                for index in 0..EACH {
                    let now = ms(1_000 + (thread + index) % 9_000);
                    let ticket = granted(breaker, now, Kind::Fresh);
                    let verdict = if index % 2 == 0 {
                        Verdict::Failure
                    } else {
                        Verdict::Success
                    };
                    let transition = breaker.record(ticket, verdict, ms(now.0 / 1_000));
                    learnt.fetch_add(u32::from(transition.is_some()), SeqCst);
                }
            });
        }
    });
    assert_eq!(
        breaker.counts.sum(0, ms(9_999)),
        (THREADS * EACH / 2, THREADS * EACH / 2)
    );
    assert_eq!(learnt.load(SeqCst), 1, "the very last sample opens, once");
    assert_eq!(breaker.transitions().map(|(_, count)| count), [1, 0, 0, 0]);
}

#[test]
fn threads_never_hold_more_permits_than_there_are() {
    const ROUNDS: u64 = 300;
    for probes in [1, 3] {
        let breaker = Breaker::new(BreakerSettings { probes, ..SETTINGS });
        let mut now = ms(1);
        for round in 0..ROUNDS {
            assert!(
                breaker
                    .rest(breaker.generation(), Duration::from_secs(1), now)
                    .is_some()
            );
            now = now.after(Duration::from_secs(2));
            let held = AtomicU32::new(0);
            let passed = AtomicU32::new(0);
            std::thread::scope(|scope| {
                for thread in 0..3_u64 {
                    let (breaker, held, passed) = (&breaker, &held, &passed);
                    scope.spawn(move || {
                        for step in 0..20 {
                            let Permit::Granted(ticket) = breaker.permit(now, Kind::Fresh).0 else {
                                continue;
                            };
                            if !ticket.is_probe() {
                                return;
                            }
                            let holders = held.fetch_add(1, SeqCst) + 1;
                            let all = holders + passed.load(SeqCst);
                            assert!(holders <= probes, "{holders} of {all}");
                            std::thread::yield_now();
                            held.fetch_sub(1, SeqCst);
                            if (round + thread + step) % 3 == 0 {
                                passed.fetch_add(1, SeqCst);
                                breaker.record(ticket, Verdict::Success, now);
                            } else {
                                breaker.give_back(ticket, now);
                            }
                        }
                    });
                }
            });
            assert!(passed.load(SeqCst) <= probes, "each permit passes once");
            now = now.after(Duration::from_secs(2));
        }
    }
}
