//! Many at once: the limit of 800 at work and 500 waiting.

use std::time::Duration;

use crate::caller::{Client, start};
use crate::kit::client::wait_until;

/// Both ends of each connection are ours.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls only read or write `limit`, which lives through them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max.min(8_192);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

#[test]
fn eight_hundred_work_five_hundred_wait_and_the_next_is_429() {
    raise_descriptor_limit();
    let sim = start();
    sim.set_delay(Duration::from_hours(1));
    let mut crowd: Vec<_> = (0..1_300).map(|_| Client::connect(sim.address())).collect();
    for (number, client) in (0..).zip(&mut crowd) {
        client.send_payment(number);
    }
    wait_until("all places are taken", || sim.in_flight() == (800, 500));
    let mut next = Client::connect(sim.address());
    next.send_payment(5_000);
    let answer = next.read().unwrap();
    assert_eq!(answer.status, 429);
    assert!(answer.head.contains("Retry-After: 5"), "{}", answer.head);
    assert_eq!(
        next.look_up(5_000),
        404,
        "other calls are answered, and it is not stored"
    );
    sim.stop();
}

#[test]
fn those_who_wait_for_a_place_get_it() {
    raise_descriptor_limit();
    let sim = start();
    sim.set_delay(Duration::from_millis(100));
    let mut crowd: Vec<_> = (0..1_000).map(|_| Client::connect(sim.address())).collect();
    for (number, client) in (0..).zip(&mut crowd) {
        client.send_payment(number);
    }
    for client in &mut crowd {
        assert_eq!(client.read().unwrap().status, 200);
    }
    assert_eq!(sim.in_flight(), (0, 0));
    assert_eq!(sim.rows().len(), 1_000);
}
