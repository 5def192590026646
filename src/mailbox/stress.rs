//! Real monoio runtimes on real threads. A lost wake-up or a lost message leaves a core asleep for
//! ever; the deadline that tells so is far beyond any honest run, even on a busy machine.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::task::{Wake, Waker};
use std::time::Duration;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use super::*;

const HONEST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Double(u64),
    /// This core asks nothing any more.
    Bye,
}

#[derive(Clone, Copy)]
struct Plan {
    cores: u16,
    capacity: usize,
    /// How many requests each core sends to each other core.
    each: u64,
    driver: Driver,
}

#[derive(Clone, Copy)]
enum Driver {
    Uring,
    Epoll,
}

/// One core: sends whenever there is room, replies to everybody, leaves when all have said bye.
async fn play(mailbox: Rc<Mailbox<Ask, u64>>, plan: Plan) -> u64 {
    let others = || {
        (0..plan.cores)
            .map(CoreId)
            .filter(|core| *core != mailbox.core())
    };
    let mut sent = vec![0_u64; usize::from(plan.cores)];
    let (sum, byes_in, byes_replied) = (Cell::new(0_u64), Cell::new(0), Cell::new(0));
    let others_count = others().count();
    loop {
        for other in others() {
            let sent = &mut sent[other.index()];
            while *sent <= plan.each {
                let ask = if *sent < plan.each {
                    Ask::Double(*sent)
                } else {
                    Ask::Bye
                };
                if mailbox.hand_over(other, ask).is_err() {
                    break;
                }
                *sent += 1;
            }
        }
        if byes_in.get() == others_count && byes_replied.get() == others_count {
            return sum.get();
        }
        mailbox.wait().await;
        mailbox.drain(|from, message| match message {
            Message::Request(Ask::Double(number)) => mailbox.reply(from, number * 2).unwrap(),
            Message::Request(Ask::Bye) => {
                byes_in.set(byes_in.get() + 1);
                mailbox.reply(from, u64::MAX).unwrap();
            }
            Message::Reply(u64::MAX) => byes_replied.set(byes_replied.get() + 1),
            Message::Reply(number) => sum.set(sum.get() + number),
        });
    }
}

fn run(plan: Plan) {
    let (done, results) = mpsc::channel();
    let threads: Vec<_> = mailboxes(CoreCount(plan.cores), plan.capacity)
        .into_iter()
        .map(|mailbox| {
            let done = done.clone();
            std::thread::spawn(move || {
                let mailbox = Rc::new(mailbox);
                let sum = match plan.driver {
                    Driver::Uring => RuntimeBuilder::<IoUringDriver>::new()
                        .with_entries(256)
                        .build()
                        .unwrap()
                        .block_on(play(mailbox, plan)),
                    Driver::Epoll => RuntimeBuilder::<LegacyDriver>::new()
                        .build()
                        .unwrap()
                        .block_on(play(mailbox, plan)),
                };
                done.send(sum).unwrap();
            })
        })
        .collect();
    let expected = u64::from(plan.cores - 1) * plan.each * (plan.each - 1);
    for _ in &threads {
        let sum = results
            .recv_timeout(HONEST)
            .expect("a core sleeps on a message");
        assert_eq!(sum, expected, "every request got its reply once");
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

fn run_on_every_driver(plan: Plan) {
    run(Plan {
        driver: Driver::Epoll,
        ..plan
    });
    // Some containers refuse io_uring; there p99 runs on epoll, and so does this test.
    if RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(256)
        .build()
        .is_ok()
    {
        run(Plan {
            driver: Driver::Uring,
            ..plan
        });
    }
}

#[test]
fn two_cores_that_sleep_between_all_letters_lose_no_wake_up() {
    run_on_every_driver(Plan {
        cores: 2,
        capacity: 1,
        each: 4_000,
        driver: Driver::Epoll,
    });
}

#[test]
fn four_cores_with_tiny_rings_lose_no_wake_up() {
    run_on_every_driver(Plan {
        cores: 4,
        capacity: 3,
        each: 3_000,
        driver: Driver::Epoll,
    });
}

#[test]
fn big_batches_arrive_whole() {
    run_on_every_driver(Plan {
        cores: 3,
        capacity: 512,
        each: 50_000,
        driver: Driver::Epoll,
    });
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// One side of a game of ping-pong that sleeps in a loop of its own: a turn takes so little time
/// that messages often arrive in the few instructions between looking and listening, which the
/// kernel's sleep hides from the tests above.
/// Says now and then that it gets on, so that a busy machine is not taken for a lost wake-up.
fn ping_pong(mailbox: &Mailbox<u32, u32>, turns: u32, get_on: &mpsc::Sender<bool>) {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let context = Context::from_waker(&waker);
    let other = CoreId(1 - mailbox.core().0);
    let (mut asked, replied, answered) = (0, Cell::new(0), Cell::new(0));
    while replied.get() < turns || answered.get() < turns {
        if asked < turns && mailbox.hand_over(other, asked).is_ok() {
            asked += 1;
        }
        let mut spins = 0_u32;
        while mailbox.poll_wait(&context).is_pending() {
            while !woken.0.swap(false, SeqCst) {
                spins += 1;
                if spins.is_multiple_of(64) {
                    std::thread::yield_now();
                }
            }
        }
        mailbox.drain(|from, message| match message {
            Message::Request(number) => {
                mailbox.reply(from, number).unwrap();
                answered.set(answered.get() + 1);
            }
            Message::Reply(_) => {
                replied.set(replied.get() + 1);
                if replied.get().is_multiple_of(100) {
                    get_on.send(false).unwrap();
                }
            }
        });
    }
    get_on.send(true).unwrap();
}

#[test]
fn a_letter_between_looking_and_listening_is_seen() {
    const TURNS: u32 = 100_000;
    let (done, results) = mpsc::channel();
    for mailbox in mailboxes(CoreCount(2), 1) {
        let done = done.clone();
        std::thread::spawn(move || {
            ping_pong(&mailbox, TURNS, &done);
        });
    }
    let mut playing = 2;
    while playing > 0 {
        let is_done = results
            .recv_timeout(HONEST)
            .expect("a core sleeps on a message");
        playing -= i32::from(is_done);
    }
}
