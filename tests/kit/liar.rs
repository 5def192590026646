//! What is between p99 and a processor, and lies: a TCP liar and a gateway in one. It reads one
//! request after the other, passes it to the real (simulated) processor or not, at once or later,
//! and answers with the truth or without it. Which of this happens is drawn from the mood of the
//! hour.
//!
//! A thread a connection, because a lie is mostly a wait. It keeps to the contract that p99 relies
//! on: a 500, a 429 and a TCP reset before the request was passed on are never charged later;
//! whatever else is answered may be.

use std::collections::{BTreeMap, BinaryHeap};
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::dice::Dice;
use super::exchange::{Exchange, pass, read_message};

/// One lie. Times are the longest, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Passed on, answered late.
    Late(u64),
    /// Passed on late.
    Slow(u64),
    /// Passed on and charged, then FIN or RST.
    CutAfter,
    /// An answer that ends in its head or in its body.
    CutInside,
    /// Charged, and never answered.
    Swallow,
    /// A byte at a time.
    Drip,
    /// Charged, then bytes that are no HTTP.
    Garbage,
    /// RST, nothing passed on.
    ResetBefore,
    /// Nothing passed on, nothing said.
    Deaf,
    /// Half of it passed on, then RST.
    Half,
    /// A gateway's 502, 503, 504 or 408 at once; charged later.
    AtOnce(u64),
    /// The same when it is charged.
    AfterCharge(u64),
    /// The same, and never charged.
    Alone,
    /// 500 by the processor itself: never charged.
    Failed,
    /// 429 with Retry-After.
    TooMany,
    /// Charged, then a redirect.
    Elsewhere,
}

/// How a side behaves just now; parts of a million.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mood {
    /// Of connections: reset, closed, or never read.
    pub(crate) accept: u32,
    pub(crate) pay: u32,
    pub(crate) lookup: u32,
    /// Lies by weight.
    pub(crate) menu: &'static [(u64, Act)],
    /// Ids that the processor has are 409, 423 or 425 instead of 422.
    pub(crate) has_conflicts: bool,
    /// A 500 is no last word: what it was said of may be charged later, even after a lookup. This
    /// needs UPSTREAM_500=unknown.
    pub(crate) has_late_500s: bool,
    /// Requests with this in them are never answered.
    pub(crate) poison: &'static [u8],
    /// No request is answered.
    pub(crate) is_dead: bool,
}

pub(crate) const WELL: Mood = Mood {
    accept: 0,
    pay: 0,
    lookup: 0,
    menu: &[(1, Act::Late(20))],
    has_conflicts: false,
    has_late_500s: false,
    poison: b"",
    is_dead: false,
};

/// What happens to a connection next.
pub(crate) enum Next {
    Go,
    Finish,
    Reset,
    /// Silence until the peer goes.
    Hold,
}

/// A request that the processor gets later, the earliest on top.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Later(std::cmp::Reverse<(Instant, u64)>, Vec<u8>);

pub(crate) struct Liar {
    pub(crate) processor: SocketAddr,
    seed: u64,
    mood: Mutex<Mood>,
    connections: AtomicU64,
    later: Mutex<BinaryHeap<Later>>,
    /// Late requests that the processor did not answer yet.
    owed: AtomicU64,
    struck: Mutex<BTreeMap<&'static str, u64>>,
}

impl Liar {
    pub(crate) fn start(processor: SocketAddr, seed: u64) -> Arc<Self> {
        let liar = Arc::new(Self {
            processor,
            seed,
            mood: Mutex::new(WELL),
            connections: AtomicU64::new(0),
            later: Mutex::default(),
            owed: AtomicU64::new(0),
            struck: Mutex::default(),
        });
        let weak = Arc::downgrade(&liar);
        thread::spawn(move || {
            let mut stream = None;
            while let Some(liar) = weak.upgrade() {
                liar.pass_late_ones(&mut stream);
                drop(liar);
                thread::sleep(Duration::from_millis(2));
            }
        });
        liar
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().expect("no thread panics here") = mood;
    }

    /// Requests that are still to be charged.
    pub(crate) fn owed(&self) -> u64 {
        self.owed.load(Ordering::Acquire)
    }

    pub(crate) fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.struck.lock().expect("no thread panics here").clone()
    }

    pub(crate) fn note(&self, what: &'static str) {
        let mut struck = self.struck.lock().expect("no thread panics here");
        *struck.entry(what).or_default() += 1;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().expect("no thread panics here")
    }

    pub(crate) fn pass_later(&self, request: Vec<u8>, wait: Duration) {
        let number = self.owed.fetch_add(1, Ordering::AcqRel);
        let due = std::cmp::Reverse((Instant::now() + wait, number));
        let mut later = self.later.lock().expect("no thread panics here");
        later.push(Later(due, request));
    }

    fn pass_late_ones(&self, stream: &mut Option<TcpStream>) {
        loop {
            let request = {
                let mut later = self.later.lock().expect("no thread panics here");
                match later.peek() {
                    Some(Later(due, _)) if due.0.0 <= Instant::now() => later.pop(),
                    _ => return,
                }
            };
            if let Some(Later(_, request)) = request {
                let passed = pass(self.processor, stream, &request);
                passed.expect("the processor is always well");
                self.owed.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// One connection, to its end.
    pub(crate) fn serve(&self, mut stream: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let mut dice = Dice::new(self.seed ^ (number << 20));
        let next = self.exchanges(&mut stream, &mut dice);
        match next {
            Next::Reset => {
                // A dead socket may refuse; then there is nothing to reset.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            Next::Hold => while matches!(stream.read(&mut [0; 1024]), Ok(count) if count > 0) {},
            Next::Go | Next::Finish => {}
        }
    }

    fn exchanges(&self, stream: &mut TcpStream, dice: &mut Dice) -> Next {
        if strikes(dice, self.mood().accept) {
            self.note("connection");
            return match dice.below(3) {
                0 => Next::Reset,
                1 => Next::Finish,
                _ => Next::Hold,
            };
        }
        let mut processor = None;
        let mut input = Vec::new();
        loop {
            let Ok(request) = read_message(stream, &mut input) else {
                return Next::Finish;
            };
            let mood = self.mood();
            let is_poison =
                !mood.poison.is_empty() && memchr::memmem::find(&request, mood.poison).is_some();
            if mood.is_dead || is_poison {
                return Next::Hold;
            }
            let is_pay = request.starts_with(b"POST ");
            let chance = if is_pay { mood.pay } else { mood.lookup };
            let act = strikes(dice, chance).then(|| draw(mood.menu, dice));
            let mut exchange = Exchange {
                liar: self,
                stream,
                processor: &mut processor,
                dice,
                has_conflicts: mood.has_conflicts,
                has_late_500s: mood.has_late_500s,
                is_pay,
            };
            match exchange.play(request, act) {
                Ok(Next::Go) => {}
                Ok(next) => return next,
                Err(_) => return Next::Finish,
            }
        }
    }
}

/// Happens `per_million` times of a million.
pub(crate) fn strikes(dice: &mut Dice, per_million: u32) -> bool {
    dice.below(1_000_000) < u64::from(per_million)
}

fn draw(menu: &[(u64, Act)], dice: &mut Dice) -> Act {
    let mut left = dice.below(menu.iter().map(|(weight, _)| weight).sum());
    for (weight, act) in menu {
        if left < *weight {
            return *act;
        }
        left -= weight;
    }
    menu[0].1
}

pub(crate) const fn name(act: Act) -> &'static str {
    match act {
        Act::Late(_) => "late answer",
        Act::Slow(_) => "passed on late",
        Act::CutAfter => "cut after passing",
        Act::CutInside => "cut in the answer",
        Act::Swallow => "answer swallowed",
        Act::Drip => "drip",
        Act::Garbage => "garbage",
        Act::ResetBefore => "reset before passing",
        Act::Deaf => "silence",
        Act::Half => "half passed",
        Act::AtOnce(_) => "gateway, charged later",
        Act::AfterCharge(_) => "gateway, charged before",
        Act::Alone => "gateway, not charged",
        Act::Failed => "500",
        Act::TooMany => "429",
        Act::Elsewhere => "302",
    }
}
