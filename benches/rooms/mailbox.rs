//! A message to another core and the reply: the rings alone, and across threads with wake-ups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use criterion::Criterion;
use p99::testing::mailbox::{Mailbox, Message, mailboxes};
use p99::testing::payment::{CoreCount, CoreId};
use p99::testing::reactor::Reactor;

/// As large as a payment that is handed over.
type Question = [u64; 24];
type Pair = [Mailbox<Question, u64>; 2];

const B: CoreId = CoreId(1);

fn pair() -> Pair {
    mailboxes(CoreCount(2), 1_024)
        .try_into()
        .unwrap_or_else(|_| unreachable!("two cores have two mailboxes"))
}

fn answer(mailbox: &Mailbox<Question, u64>) {
    mailbox.drain(|from, message| {
        if let Message::Request(question) = message {
            mailbox
                .reply(from, question[0])
                .expect("its room is reserved");
        }
    });
}

fn on_one_thread(criterion: &mut Criterion) {
    let [a, b] = pair();
    criterion.bench_function("mailbox round trip, one thread", |bencher| {
        bencher.iter(|| {
            a.hand_over(B, [1; 24]).expect("room");
            answer(&b);
            a.drain(|_, _| {})
        });
    });
}

/// `batch` questions are under way at once; the time is for all of them.
fn across_threads(criterion: &mut Criterion, batch: usize) {
    let [a, b] = pair();
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let other = thread::spawn(move || {
        Reactor::best().expect("an event loop").run(async move {
            while !is_over.load(Relaxed) {
                b.wait().await;
                answer(&b);
            }
        });
    });
    let name = format!("mailbox round trip, two threads, {batch} at once");
    criterion.bench_function(&name, |bencher| {
        bencher.iter_custom(|rounds| {
            Reactor::best().expect("an event loop").run(async {
                let clock =
                    p99::testing::clock::Clock::new(p99::testing::clock::Clock::process_start());
                for _ in 0..rounds {
                    for _ in 0..batch {
                        a.hand_over(B, [1; 24]).expect("room");
                    }
                    let mut missing = batch;
                    while missing > 0 {
                        a.wait().await;
                        missing -= a.drain(|_, _| {});
                    }
                }
                std::time::Duration::from_micros(clock.now().mono.0)
            })
        });
    });
    over.store(true, Relaxed);
    a.hand_over(B, [0; 24]).expect("room");
    other.join().expect("the other core ends");
}

pub fn bench(criterion: &mut Criterion) {
    on_one_thread(criterion);
    across_threads(criterion, 1);
    across_threads(criterion, 32);
}
