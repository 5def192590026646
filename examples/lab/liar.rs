//! What is between p99 and a processor, and lies: a TCP liar and a gateway in one. It reads one request
//! after the other, passes it to the real (simulated) processor or not, at once or later, and answers
//! with the truth or without it. Which of this happens is drawn from the mood of the hour.
//!
//! A thread a connection, because a lie is mostly a wait. It keeps to the contract that p99 relies
//! on: a 500, a 429 and a TCP reset before the request was passed on are never charged later;
//! whatever else is answered may be.

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::kit::client::measure;
use crate::kit::dice::Dice;

/// A connection's thread holds two buffers of 4 KiB.
const STACK_BYTES: usize = 256 * 1024;

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
    poison: b"",
    is_dead: false,
};

/// What happens to a connection next.
enum Next {
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
    processor: SocketAddr,
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

    fn note(&self, what: &'static str) {
        let mut struck = self.struck.lock().expect("no thread panics here");
        *struck.entry(what).or_default() += 1;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().expect("no thread panics here")
    }

    fn pass_later(&self, request: Vec<u8>, wait: Duration) {
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

    fn serve(&self, mut stream: TcpStream) {
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
        if dice.strikes(self.mood().accept) {
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
            let act = dice.strikes(chance).then(|| draw(mood.menu, dice));
            let mut exchange = Exchange {
                liar: self,
                stream,
                processor: &mut processor,
                dice,
                has_conflicts: mood.has_conflicts,
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

struct Exchange<'a> {
    liar: &'a Liar,
    stream: &'a mut TcpStream,
    processor: &'a mut Option<TcpStream>,
    dice: &'a mut Dice,
    has_conflicts: bool,
    is_pay: bool,
}

impl Exchange<'_> {
    fn play(&mut self, request: Vec<u8>, act: Option<Act>) -> io::Result<Next> {
        let Some(act) = act else {
            let answer = self.pass(&request)?;
            self.stream.write_all(&answer)?;
            return Ok(Next::Go);
        };
        self.liar.note(name(act));
        match act {
            Act::Slow(ms) => {
                self.pause(ms);
                let answer = self.pass(&request)?;
                self.stream.write_all(&answer)?;
                Ok(Next::Go)
            }
            Act::ResetBefore => Ok(Next::Reset),
            Act::Deaf => Ok(Next::Hold),
            Act::Half => {
                let mut stream = TcpStream::connect(self.liar.processor)?;
                stream.write_all(&request[..request.len() / 2])?;
                Ok(Next::Reset)
            }
            Act::AtOnce(ms) => {
                // A lookup has nothing that could come later.
                if self.is_pay {
                    let wait = Duration::from_millis(self.dice.below(ms));
                    self.liar.pass_later(request, wait);
                }
                self.gateway()
            }
            Act::Alone => self.gateway(),
            Act::Failed => self.say(500, ""),
            Act::TooMany => {
                let after = self
                    .dice
                    .one_of(&["Retry-After: 1\r\n", "Retry-After: 0\r\n", ""]);
                self.say(429, after)
            }
            after => {
                let answer = self.pass(&request)?;
                self.answer(&answer, after)
            }
        }
    }

    /// Lies that begin when the processor has done its work.
    fn answer(&mut self, answer: &[u8], act: Act) -> io::Result<Next> {
        let end = if self.dice.is_one_in(2) {
            Next::Reset
        } else {
            Next::Finish
        };
        match act {
            Act::CutAfter => Ok(end),
            Act::CutInside => {
                let keep = 1 + self.dice.below(answer.len() as u64 - 1);
                let keep = usize::try_from(keep).expect("fits");
                self.stream.write_all(&answer[..keep])?;
                Ok(end)
            }
            Act::Swallow => Ok(Next::Hold),
            Act::Drip => {
                for byte in answer {
                    self.stream.write_all(&[*byte])?;
                    thread::sleep(Duration::from_micros(50));
                }
                Ok(Next::Go)
            }
            Act::Garbage => {
                self.stream.write_all(b"\x16\x03\x01 no HTTP\r\n\r\n")?;
                Ok(Next::Finish)
            }
            Act::AfterCharge(ms) => {
                self.pause(ms);
                self.gateway()
            }
            Act::Elsewhere => self.say(302, "Location: /elsewhere\r\n"),
            _ => {
                if let Act::Late(ms) = act {
                    self.pause(ms);
                }
                self.stream.write_all(answer)?;
                Ok(Next::Go)
            }
        }
    }

    fn pass(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut answer = pass(self.liar.processor, self.processor, request)?;
        if self.has_conflicts && answer.starts_with(b"HTTP/1.1 422 Unprocessable Entity") {
            self.liar.note("409, 423, 425 for 422");
            let line = self
                .dice
                .one_of(&["409 Conflict", "423 Locked", "425 Too Early"]);
            let rest = answer.split_off(b"HTTP/1.1 422 Unprocessable Entity".len());
            answer = [b"HTTP/1.1 ", line.as_bytes(), &rest].concat();
        }
        Ok(answer)
    }

    fn gateway(&mut self) -> io::Result<Next> {
        let status = self.dice.one_of(&[503, 503, 504, 504, 502, 408]);
        self.say(status, "")
    }

    fn say(&mut self, status: u16, field: &str) -> io::Result<Next> {
        let text = format!(
            "HTTP/1.1 {status} Gateway\r\nContent-Type: text/html\r\n{field}Content-Length: 6\r\n\r\n<html>"
        );
        self.stream.write_all(text.as_bytes())?;
        Ok(Next::Go)
    }

    fn pause(&mut self, ms: u64) {
        thread::sleep(Duration::from_millis(self.dice.below(ms)));
    }
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

const fn name(act: Act) -> &'static str {
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

/// One request to the processor and its answer, on a connection that is kept.
fn pass(
    processor: SocketAddr,
    slot: &mut Option<TcpStream>,
    request: &[u8],
) -> io::Result<Vec<u8>> {
    if slot.is_none() {
        let stream = TcpStream::connect(processor)?;
        stream.set_nodelay(true)?;
        *slot = Some(stream);
    }
    let stream = slot.as_mut().expect("it was just made");
    stream.write_all(request)?;
    read_message(stream, &mut Vec::new())
}

/// One whole request or answer; what comes behind it stays in `input`.
fn read_message(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    loop {
        if let Some((head, length)) = measure(input)
            && head + length <= input.len()
        {
            let rest = input.split_off(head + length);
            return Ok(std::mem::replace(input, rest));
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => input.extend_from_slice(&chunk[..count]),
        }
    }
}

/// A place where a liar listens. It can close for good, and end the connections that came there.
pub(crate) struct Listener {
    socket: Arc<TcpListener>,
    is_closing: Arc<AtomicBool>,
    open: Arc<Mutex<HashMap<u64, TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn open(liar: &Arc<Liar>, address: SocketAddr) -> io::Result<Self> {
        let socket = Arc::new(TcpListener::bind(address)?);
        let is_closing = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<HashMap<u64, TcpStream>>> = Arc::default();
        let (acceptor, closing) = (Arc::clone(&socket), Arc::clone(&is_closing));
        let (liar, connections) = (Arc::clone(liar), Arc::clone(&open));
        let thread = thread::spawn(move || {
            for number in 0.. {
                let accepted = acceptor.accept();
                if closing.load(Ordering::Acquire) {
                    return;
                }
                let Ok((stream, _)) = accepted else {
                    continue;
                };
                // Without it answers still arrive, only later.
                let _ = stream.set_nodelay(true);
                let twin = stream.try_clone().expect("a descriptor");
                connections.lock().expect("whole").insert(number, twin);
                let (liar, connections) = (Arc::clone(&liar), Arc::clone(&connections));
                let serve = move || {
                    liar.serve(stream);
                    connections.lock().expect("whole").remove(&number);
                };
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                builder.spawn(serve).expect("a thread");
            }
        });
        Ok(Self {
            socket,
            is_closing,
            open,
            thread: Some(thread),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it has one")
    }

    /// Connects are refused from now on. What is connected stays.
    pub(crate) fn close(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.is_closing.store(true, Ordering::Release);
        // It fails only when the socket does not listen, which is what is wanted.
        let _ = SockRef::from(&*self.socket).shutdown(Shutdown::Both);
        thread.join().expect("it ends");
    }

    /// Ends all connections that came here.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().expect("whole").values() {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            // It fails when the peer has gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
        self.cut();
    }
}
