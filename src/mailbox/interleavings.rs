//! A core that falls asleep while others send, in every interleaving: loom says deadlock where a
//! wake-up is lost. The message stands for a ring, whose end a sender moves by a releasing store.

use std::future::poll_fn;
use std::sync::atomic::Ordering::{Acquire, Release};

use loom::future::block_on;
use loom::sync::Arc;
use loom::thread;

use super::waker::CoreWaker;
use crate::atomics::{AtomicUsize, in_every_interleaving};

struct Core {
    waker: CoreWaker,
    /// By sender.
    sent: Vec<AtomicUsize>,
}

/// Each of `senders` sends `each` messages; the core sleeps until it has taken them all.
fn play(senders: usize, each: usize) {
    let core = Arc::new(Core {
        waker: CoreWaker::new(),
        sent: (0..senders).map(|_| AtomicUsize::new(0)).collect(),
    });
    let threads: Vec<_> = (0..senders)
        .map(|sender| {
            let core = Arc::clone(&core);
            thread::spawn(move || {
                for number in 1..=each {
                    core.sent[sender].store(number, Release);
                    core.waker.ring();
                }
            })
        })
        .collect();
    let mut taken = vec![0; senders];
    while taken.iter().sum::<usize>() < senders * each {
        let has_message = || {
            let mut rings = core.sent.iter().zip(&taken);
            rings.any(|(sent, taken)| sent.load(Acquire) > *taken)
        };
        block_on(poll_fn(|context| core.waker.poll(context, has_message)));
        for (taken, sent) in taken.iter_mut().zip(&core.sent) {
            *taken = sent.load(Acquire);
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn one_sender_always_wakes_the_core() {
    in_every_interleaving(|| play(1, 2));
}

#[test]
fn two_senders_always_wake_the_core() {
    in_every_interleaving(|| play(2, 1));
}
