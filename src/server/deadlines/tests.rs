//! Who is shut down when, on pairs of real sockets.

use crate::server::deadlines::EVICTION_LOOK_PAUSE;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn a_late_request_ends_reading_and_leaves_writing_to_say_so() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let deadlines = Rc::new(Deadlines::default());
    let watch = deadlines.watch(ours.as_raw_fd());
    watch.arm(Wait::Rest, Mono(0), Mono(10));
    deadlines.sweep(Mono(9));
    assert_eq!(watch.end(), None);
    deadlines.sweep(Mono(10));
    assert_eq!(watch.end(), Some(Closed::SlowRequest));
    assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0);
    ours.write_all(b"408").unwrap();
    let mut answer = [0; 3];
    theirs.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"408");
}

#[test]
fn an_idle_connection_and_a_client_that_takes_no_answer_are_cut() {
    for wait in [Wait::Request, Wait::Write, Wait::Linger] {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        let deadlines = Rc::new(Deadlines::default());
        let watch = deadlines.watch(ours.as_raw_fd());
        watch.arm(wait, Mono(0), Mono(10));
        deadlines.sweep(Mono(11));
        assert_eq!(ours.read(&mut [0; 8]).unwrap(), 0, "{wait:?}");
        assert!(ours.write_all(b"x").is_err(), "{wait:?}");
    }
}

#[test]
fn a_payment_in_progress_has_no_deadline_here_and_a_dropped_watch_is_forgotten() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let deadlines = Rc::new(Deadlines::default());
    let watch = deadlines.watch(ours.as_raw_fd());
    watch.rest();
    deadlines.sweep(Mono(u64::MAX - 1));
    assert_eq!(watch.end(), None);
    drop(watch);
    assert_eq!(deadlines.len(), 0);
}

#[test]
fn ending_idle_connections_leaves_what_was_sent_readable() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let deadlines = Rc::new(Deadlines::default());
    let watch = deadlines.watch(ours.as_raw_fd());
    watch.arm(Wait::Request, Mono(0), Mono(10));
    theirs.write_all(b"GET").unwrap();
    deadlines.end_idle();
    let mut seen = Vec::new();
    ours.read_to_end(&mut seen).unwrap();
    assert_eq!(seen, b"GET");
}

#[test]
fn the_longest_idle_makes_room_and_never_one_in_the_middle_of_a_request() {
    let deadlines = Rc::new(Deadlines::default());
    let now = Mono(5_000_000);
    let place = |wait, since| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let watch = deadlines.watch(ours.as_raw_fd());
        watch.arm(wait, Mono(since), NEVER);
        (watch, ours, theirs)
    };
    let busy = [Wait::Rest, Wait::Write, Wait::Answer, Wait::Linger].map(|wait| place(wait, 1));
    let new = place(Wait::First, 4_900_000);
    let kept = [place(Wait::Request, 3_000), place(Wait::Request, 2_000)];
    let silent = place(Wait::First, 4_000_000);
    let ends = || {
        let all = [&new, &kept[0], &kept[1], &silent];
        all.map(|(watch, ..)| watch.end().is_some())
    };
    for expected in [
        [false, false, false, true],
        [false, false, true, true],
        [false, true, true, true],
        [true, true, true, true],
    ] {
        assert!(deadlines.make_room(now));
        assert_eq!(ends(), expected);
    }
    assert!(!deadlines.make_room(now));
    assert!(busy.iter().all(|(watch, ..)| watch.end().is_none()));
    // Another look comes after a pause, and one that was used meanwhile does not go.
    let late = place(Wait::Request, 4_000);
    assert!(!deadlines.make_room(now));
    late.0.rest();
    assert!(!deadlines.make_room(now.after(EVICTION_LOOK_PAUSE)));
}

#[test]
fn on_a_kept_place_one_that_drips_or_does_not_read_goes_too() {
    let deadlines = Rc::new(Deadlines::default());
    let place = |wait, since| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let watch = deadlines.watch(ours.as_raw_fd());
        watch.arm(wait, Mono(since), NEVER);
        (watch, ours, theirs)
    };
    let (first, drips) = (place(Wait::First, 2), place(Wait::Rest, 1));
    let (writes, pays) = (place(Wait::Write, 0), place(Wait::Answer, 0));
    let ends = || {
        let all = [&first, &drips, &writes, &pays];
        all.map(|(watch, ..)| watch.end().is_some())
    };
    for expected in [
        [false, false, true, false],
        [false, true, true, false],
        [true, true, true, false],
    ] {
        assert!(deadlines.cut_oldest());
        assert_eq!(ends(), expected);
    }
    assert!(!deadlines.cut_oldest());
}
