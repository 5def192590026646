//! Clients that never tire: they connect again after every kill, and remember each word that they
//! heard about each id. Most ids are fresh; some belong to somebody else, and many that got no
//! answer are sent once more, as real clients do.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use p99::payment::{Cents, CorrelationId, UpstreamId};

use crate::dice::{self, Dice};
use crate::instance::PATIENCE;

const CLIENTS: u64 = 16;

/// What a client was told about an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// 200.
    Charged,
    /// 202.
    Held,
    /// 409, processed.
    Known,
    /// 409, pending.
    Underway,
    /// Any other: not charged, the id is free.
    NotCharged(u16),
    /// The connection broke.
    Silence,
}

/// Payment `number` of this run.
pub(crate) fn id_of(run: u64, number: u64) -> UpstreamId {
    UpstreamId((u128::from(dice::mix(run)) << 64) | u128::from(dice::mix(number)))
}

pub(crate) fn amount_of(number: u64) -> Cents {
    Cents(1 + number % 5_000)
}

/// What the clients of one run heard, by the number of the payment.
pub(crate) struct Heard {
    pub(crate) run: u64,
    pub(crate) words: Vec<(u64, Word)>,
}

pub(crate) struct Clients {
    run: u64,
    /// Answers of all clients.
    answers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<(u64, Word)>>>,
}

impl Clients {
    pub(crate) fn start(socket: PathBuf, mut dice: Dice) -> Self {
        let run = dice.next();
        let stop = Arc::new(AtomicBool::new(false));
        let [last, answers] = [(), ()].map(|()| Arc::new(AtomicU64::new(0)));
        let client = |_| {
            let mut client = Client {
                run,
                socket: socket.clone(),
                stop: Arc::clone(&stop),
                last: Arc::clone(&last),
                answers: Arc::clone(&answers),
                dice: dice.fork(),
                heard: Vec::new(),
            };
            std::thread::spawn(move || {
                client.work();
                client.heard
            })
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self {
            run,
            answers,
            stop,
            threads,
        }
    }

    /// Waits until so many more answers came, however slow the machine is.
    pub(crate) fn await_answers(&self, count: u64) {
        let enough = self.answers.load(Ordering::Relaxed) + count;
        let began = Instant::now();
        while self.answers.load(Ordering::Relaxed) < enough {
            assert!(began.elapsed() < PATIENCE, "no answers");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn stop(self) -> Heard {
        self.stop.store(true, Ordering::Release);
        let threads = self.threads.into_iter();
        let words = threads.flat_map(|thread| thread.join().unwrap()).collect();
        Heard {
            run: self.run,
            words,
        }
    }
}

struct Client {
    run: u64,
    socket: PathBuf,
    stop: Arc<AtomicBool>,
    /// The number of the last fresh id of all clients.
    last: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
    dice: Dice,
    heard: Vec<(u64, Word)>,
}

impl Client {
    fn work(&mut self) {
        let mut again = None;
        while !self.is_over() {
            let Some(mut connection) = connect(&self.socket) else {
                std::thread::sleep(Duration::from_millis(3));
                continue;
            };
            while !self.is_over() {
                let number = again.take().unwrap_or_else(|| self.choose());
                let id = CorrelationId::try_new(&id_of(self.run, number).to_string()).unwrap();
                let word = connection.pay(&id, amount_of(number));
                self.heard.push((number, word));
                if word == Word::Silence {
                    again = (!self.dice.is_one_in(3)).then_some(number);
                    break;
                }
                self.answers.fetch_add(1, Ordering::Relaxed);
                if let Word::NotCharged(_) = word {
                    // As a client should that was told to come back.
                    std::thread::sleep(Duration::from_millis(5));
                    again = self.dice.is_one_in(3).then_some(number);
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn choose(&mut self) -> u64 {
        if self.dice.is_one_in(8) {
            let last = self.last.load(Ordering::Relaxed);
            return last.saturating_sub(self.dice.below(60)).max(1);
        }
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn connect(socket: &Path) -> Option<Connection> {
    UnixStream::connect(socket).ok().map(Connection::new)
}

/// One kept-alive connection.
pub(crate) struct Connection {
    reader: BufReader<UnixStream>,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream);
        Self { reader }
    }

    fn pay(&mut self, id: &CorrelationId, amount: Cents) -> Word {
        let mut body = format!(r#"{{"correlationId":"{}","amount":"#, id.as_str()).into_bytes();
        amount.write(&mut body);
        body.push(b'}');
        let head = format!(
            "POST /payments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), &body].concat();
        match self.call(&request) {
            None => Word::Silence,
            Some((200, _)) => Word::Charged,
            Some((202, _)) => Word::Held,
            Some((409, body)) if body.contains("processed") => Word::Known,
            Some((409, _)) => Word::Underway,
            Some((status, _)) => Word::NotCharged(status),
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Option<(u16, String)> {
        self.call(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }

    /// Status and body; nothing when the connection breaks.
    fn call(&mut self, request: &[u8]) -> Option<(u16, String)> {
        self.reader.get_mut().write_all(request).ok()?;
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        let status = line.get(9..12)?.parse().ok()?;
        let mut length = 0;
        loop {
            line.clear();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let field = line.trim_end().to_ascii_lowercase();
            if let Some(text) = field.strip_prefix("content-length: ") {
                length = text.parse().ok()?;
            }
            if field.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).ok()?;
        Some((status, String::from_utf8(body).ok()?))
    }
}
