//! Clients with kept connections that pay, repeat themselves at once, later and at the same time,
//! go away before the answer, mix up amounts, and remember every word that they were told. They
//! connect again after each break, so p99 may die under them.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::{Answer, Client, write_get, write_payment};
use super::dice::Dice;
use super::liar::strikes;
use super::report::Report;
use super::told::{Amount, Numbers, Told, Word};

/// A client that was told to come back waits so long.
const COME_BACK: Duration = Duration::from_millis(20);
/// No one listens: p99 is being started again.
const CONNECT_AGAIN: Duration = Duration::from_millis(2);
/// Payments that one client means to send once more.
const AGAIN_MAX: usize = 64;
/// One in so many: answers that are checked by a GET at once, and clients that go away.
const GET_ONE_IN: u64 = 200;
const LEAVE_ONE_IN: u64 = 300;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) numbers: Numbers,
    pub(crate) clients: usize,
    /// Requests of all clients together.
    pub(crate) requests: u32,
    /// Repeats of known ids among them, of a million.
    pub(crate) repeats: u32,
    /// How long a client rests after each answer.
    pub(crate) rest: Duration,
}

/// What all clients share.
struct Shared {
    plan: Plan,
    began: Instant,
    stop: AtomicBool,
    requests: AtomicU32,
    answers: AtomicU32,
    /// Fresh payments: the number of the next one.
    next: AtomicU32,
    repeats: [AtomicU32; 3],
    told: Mutex<Vec<Told>>,
    /// An id that had just been acknowledged was unknown.
    missing: AtomicU32,
}

pub(crate) struct Crowd {
    shared: Arc<Shared>,
    /// The Unix time in milliseconds at which the run began.
    pub(crate) began: i64,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    pub(crate) fn start(plan: Plan) -> Self {
        // One moment on both clocks.
        let (began, on_the_wall) = (Instant::now(), jiff::Timestamp::now());
        let shared = Arc::new(Shared {
            plan,
            began,
            stop: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            next: AtomicU32::new(0),
            repeats: Default::default(),
            told: Mutex::default(),
            missing: AtomicU32::new(0),
        });
        let mut dice = Dice::new(plan.numbers.seed);
        let threads = (0..plan.clients)
            .map(|_| {
                let mut member = Member {
                    shared: Arc::clone(&shared),
                    dice: dice.fork(),
                    slots: [None, None],
                    again: Vec::new(),
                };
                thread::spawn(move || member.work())
            })
            .collect();
        Self {
            shared,
            began: on_the_wall.as_millisecond(),
            threads,
        }
    }

    pub(crate) fn now_ms(&self) -> u32 {
        self.shared.now_ms()
    }

    /// Answers so far.
    pub(crate) fn answers(&self) -> u32 {
        self.shared.answers.load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u32 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Whether every client has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Payments that clients may count on by now: those that are charged, and those that are held.
    pub(crate) fn acknowledged(&self) -> [Vec<u32>; 2] {
        let told = self.shared.told.lock().expect("no client panicked");
        let of = |is: fn(&Word) -> bool| {
            let mut numbers: Vec<u32> = told
                .iter()
                .filter(|told| is(&told.word))
                .map(|told| told.number)
                .collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        [
            of(|word| matches!(word, Word::Charged | Word::KnownCharged)),
            of(|word| matches!(word, Word::Held)),
        ]
    }

    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
    }

    /// How many payments there are, and what was told.
    pub(crate) fn join(self, report: &mut Report) -> (u32, Vec<Told>) {
        let seconds = self.shared.began.elapsed().as_millis();
        for thread in self.threads {
            thread.join().expect("a client ends");
        }
        let told = std::mem::take(&mut *self.shared.told.lock().expect("no client panicked"));
        let count = self.shared.next.load(Ordering::Relaxed);
        let rate = told.len() as u128 * 1_000 / seconds.max(1);
        report.row("requests per second", rate);
        let [at_once, later, together] = self
            .shared
            .repeats
            .each_ref()
            .map(|kind| kind.load(Ordering::Relaxed));
        let share =
            (told.len() - usize::try_from(count).expect("fits")) * 1_000 / told.len().max(1);
        report.row(
            "repeats of known ids",
            format!(
                "{}.{} % (at once {at_once}, later {later}, together {together}, \
                 the rest after a no)",
                share / 10,
                share % 10
            ),
        );
        for _ in 0..self.shared.missing.load(Ordering::Relaxed) {
            report.broke(super::audit::MISSING, || "directly after the answer".into());
        }
        (count, told)
    }
}

impl Shared {
    fn now_ms(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_millis()).expect("a run is shorter than 49 days")
    }
}

struct Member {
    shared: Arc<Shared>,
    dice: Dice,
    /// Two connections: the second one for what is sent at the same time.
    slots: [Option<Client>; 2],
    again: Vec<u32>,
}

impl Member {
    fn work(&mut self) {
        let mut last = None;
        while !self.is_over() {
            if !self.connect(0) {
                thread::sleep(CONNECT_AGAIN);
                continue;
            }
            if let Some(number) = self.again.pop() {
                self.pay(number);
                continue;
            }
            if !strikes(&mut self.dice, self.shared.plan.repeats) {
                let number = self.fresh();
                last = Some(number);
                self.pay(number);
                continue;
            }
            match (self.dice.below(3), last) {
                (0, Some(number)) => {
                    self.count(0);
                    self.pay(number);
                }
                (1, Some(_)) => {
                    self.count(1);
                    let known = u64::from(self.shared.next.load(Ordering::Relaxed));
                    let number = self.dice.below(known);
                    self.pay(u32::try_from(number).expect("fits"));
                }
                _ => {
                    let number = self.fresh();
                    last = Some(number);
                    if self.connect(1) {
                        self.count(2);
                        self.pay_twice(number);
                    }
                }
            }
        }
    }

    fn count(&self, kind: usize) {
        self.shared.repeats[kind].fetch_add(1, Ordering::Relaxed);
    }

    fn fresh(&self) -> u32 {
        self.shared.next.fetch_add(1, Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
            || self.shared.requests.load(Ordering::Relaxed) >= self.shared.plan.requests
    }

    fn connect(&mut self, slot: usize) -> bool {
        if self.slots[slot].is_none() {
            self.slots[slot] = Client::try_connect(self.shared.plan.address).ok();
        }
        self.slots[slot].is_some()
    }

    fn pay(&mut self, number: u32) {
        let amount = if self.dice.is_one_in(500) {
            Amount::Other
        } else {
            Amount::Usual
        };
        let told = self.send(0, number, amount);
        let told = if self.dice.is_one_in(LEAVE_ONE_IN) {
            thread::sleep(Duration::from_millis(self.dice.below(5)));
            self.slots[0] = None;
            Told {
                word: Word::Left,
                ..told
            }
        } else {
            self.hear(0, told)
        };
        self.remember(told);
    }

    /// One payment on two connections at the same time.
    fn pay_twice(&mut self, number: u32) {
        let first = self.send(0, number, Amount::Usual);
        let second = self.send(1, number, Amount::Usual);
        let first = self.hear(0, first);
        let second = self.hear(1, second);
        self.remember(first);
        self.remember(second);
    }

    fn send(&mut self, slot: usize, number: u32, amount: Amount) -> Told {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let numbers = self.shared.plan.numbers;
        let mut id = numbers.id(number).to_string();
        if self.dice.is_one_in(10) {
            // One UUID, another spelling.
            id.make_ascii_uppercase();
        }
        let mut request = Vec::with_capacity(256);
        write_payment(&id, numbers.amount(number, amount), &mut request);
        let sent_ms = self.shared.now_ms();
        let is_sent = self.slots[slot]
            .as_mut()
            .is_some_and(|client| client.send_bytes(&request).is_ok());
        if !is_sent {
            self.slots[slot] = None;
        }
        Told {
            number,
            word: Word::Silence,
            amount,
            sent_ms,
        }
    }

    fn hear(&mut self, slot: usize, told: Told) -> Told {
        let answer = self.slots[slot]
            .as_mut()
            .and_then(|client| client.read().ok());
        let Some(answer) = answer else {
            self.slots[slot] = None;
            return told;
        };
        self.shared.answers.fetch_add(1, Ordering::Relaxed);
        if answer.is_last() {
            self.slots[slot] = None;
        }
        let word = Word::of(&answer, told.amount);
        if word.is_acknowledged()
            && self.dice.is_one_in(GET_ONE_IN)
            && self
                .get(slot, told.number)
                .is_ok_and(|status| status == 404)
        {
            self.shared.missing.fetch_add(1, Ordering::Relaxed);
        }
        Told { word, ..told }
    }

    fn get(&mut self, slot: usize, number: u32) -> io::Result<u16> {
        let id = self.shared.plan.numbers.id(number);
        let mut request = Vec::new();
        write_get(&format!("/payments/{id}"), &mut request);
        let Some(client) = self.slots[slot].as_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let answer = client.exchange(&request);
        if answer.as_ref().map_or(true, Answer::is_last) {
            self.slots[slot] = None;
        }
        answer.map(|answer| answer.status)
    }

    fn remember(&mut self, told: Told) {
        let one_in = match told.word {
            Word::Silence | Word::Left => 2,
            Word::NotCharged(_) | Word::ThisRequest(_) => {
                thread::sleep(COME_BACK);
                2
            }
            Word::Charged | Word::Held | Word::KnownCharged | Word::Known => 0,
        };
        if one_in > 0 && self.dice.is_one_in(one_in) && self.again.len() < AGAIN_MAX {
            self.again.push(told.number);
        }
        let mut all = self.shared.told.lock().expect("no client panicked");
        all.push(told);
        drop(all);
        if !self.shared.plan.rest.is_zero() {
            thread::sleep(self.shared.plan.rest);
        }
    }
}
