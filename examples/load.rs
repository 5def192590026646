//! An open-loop load generator: payments with ids that never repeat, sent when they are due
//! whether or not earlier ones were answered, and latency counted from the moment each was due. A
//! proxy that stalls therefore cannot hide the requests that would have come meanwhile
//! (coordinated omission).
//!
//! `scripts/bench-proxies --mode latency` uses it because oha, which corrects latency in the same
//! way, picks the lines of a body file at random and so repeats ids (a duplicate is a 409), and
//! wrk sends only as fast as answers come. One thread and one epoll, so that it leaves its core to
//! the upstream; waits are in nanoseconds, as a millisecond would drown what it measures.
//!
//! `load PORT RATE SECONDS [CONNECTIONS [SEED [COUNT]]]`; RATE 0 sends as fast as answers come. It
//! stops sending after SECONDS or COUNT payments, waits for what is open, prints one line of JSON.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a tool of the benchmarks: it reads real time and may stop at what it does not expect"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

/// Longer than p99's longest answer (REQUEST_TIMEOUT_MS 5000 + 1 s): what is open then is lost.
const DRAIN: Duration = Duration::from_secs(8);

/// One client connection: at most one payment is open on it.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    /// When the open payment was due.
    due: Option<Duration>,
}

/// The order: what to send, how fast, for how long.
struct Plan {
    port: u16,
    rate: f64,
    span: Duration,
    connections: usize,
    seed: u32,
    count: u64,
}

/// What came back.
#[derive(Default)]
struct Seen {
    sent: u64,
    statuses: BTreeMap<u16, u64>,
    broken: u64,
    /// From due to answered, one entry per answer.
    latencies_ns: Vec<u64>,
    /// From due to sent, the worst: how far the generator itself was behind.
    lag_ns: u64,
}

impl Plan {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        Some(Self {
            port: words.next()?.parse().ok()?,
            rate: words.next()?.parse().ok()?,
            span: Duration::from_secs_f64(words.next()?.parse().ok()?),
            connections: words.next().map_or(Some(64), |word| word.parse().ok())?,
            seed: words.next().map_or(Some(1), |word| word.parse().ok())?,
            count: words
                .next()
                .map_or(Some(u64::MAX), |word| word.parse().ok())?,
        })
    }

    /// When the payment `number` is due; at rate 0 at once.
    fn due(&self, number: u64, elapsed: Duration) -> Duration {
        if self.rate > 0.0 {
            Duration::from_secs_f64(number as f64 / self.rate)
        } else {
            elapsed
        }
    }

    fn is_over(&self, number: u64, due: Duration) -> bool {
        number >= self.count || due >= self.span
    }
}

/// One whole request; the id has the form of a UUIDv4 and holds the seed and the number.
fn write_request(plan: &Plan, number: u64, out: &mut Vec<u8>) {
    out.clear();
    write!(
        out,
        "POST /payments HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
         Content-Length: 71\r\n\r\n\
         {{\"correlationId\":\"{:08x}-0000-4000-8000-{number:012x}\",\"amount\":19.90}}",
        plan.port, plan.seed
    )
    .expect("a Vec takes every byte");
}

/// The status of the one answer in `bytes`, once it is whole.
fn whole_status(bytes: &[u8]) -> Option<u16> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let lines = bytes.get(..head)?.split(|byte| *byte == b'\n');
    let length: usize = lines
        .filter_map(|line| line.split_at_checked(15))
        .find(|(name, _)| name.eq_ignore_ascii_case(b"content-length:"))
        .and_then(|(_, value)| str::from_utf8(value).ok()?.trim().parse().ok())
        .unwrap_or(0);
    if bytes.len() < head + length {
        return None;
    }
    str::from_utf8(bytes.get(9..12)?).ok()?.parse().ok()
}

impl Connection {
    fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let answer = Vec::with_capacity(4_096);
        Ok(Self {
            stream,
            answer,
            due: None,
        })
    }

    /// Reads what is there; `Ok(Some(status))` when the answer is whole.
    fn receive(&mut self) -> std::io::Result<Option<u16>> {
        let mut chunk = [0; 4_096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.answer.extend_from_slice(&chunk[..count]);
                let status = whole_status(&self.answer);
                if status.is_some() {
                    self.answer.clear();
                }
                Ok(status)
            }
            Err(fault) if fault.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// Readiness of the connections, by their place in the list.
struct Poll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    fn new(places: usize) -> Self {
        // SAFETY: no pointers; the new descriptor is checked and belongs to no one else.
        let fd = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            assert!(fd >= 0, "epoll_create1 failed");
            OwnedFd::from_raw_fd(fd)
        };
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; places];
        Self { fd, events }
    }

    fn add(&self, stream: &TcpStream, place: usize) {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: place as u64,
        };
        // SAFETY: both descriptors are open and `event` lives through the call.
        let added = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                stream.as_raw_fd(),
                &raw mut event,
            )
        };
        assert_eq!(added, 0, "epoll_ctl failed");
    }

    /// The places that are ready within `wait`.
    fn wait(&mut self, wait: Duration) -> impl Iterator<Item = usize> + use<> {
        let wait = libc::timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        // SAFETY: the kernel writes at most `events.len()` events into `events` and reads `wait`;
        // both live through the call, and the signal mask is absent.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                &raw const wait,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        let ready: Vec<usize> = self.events[..count]
            .iter()
            .map(|e| e.u64 as usize)
            .collect();
        ready.into_iter()
    }
}

struct Generator {
    plan: Plan,
    start: Instant,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    poll: Poll,
    seen: Seen,
    request: Vec<u8>,
}

impl Generator {
    fn new(plan: Plan) -> Self {
        let places = plan.connections;
        let poll = Poll::new(places);
        let open = |_| Connection::open(plan.port).expect("connects");
        let connections: Vec<Connection> = (0..places).map(open).collect();
        for (place, connection) in connections.iter().enumerate() {
            poll.add(&connection.stream, place);
        }
        Self {
            plan,
            start: Instant::now(),
            connections,
            free: (0..places).collect(),
            poll,
            seen: Seen::default(),
            request: Vec::with_capacity(512),
        }
    }

    /// Sends what is due. Returns how long nothing more is due, `None` when all is sent.
    fn send_due(&mut self) -> Option<Duration> {
        loop {
            let elapsed = self.start.elapsed();
            let due = self.plan.due(self.seen.sent, elapsed);
            if self.plan.is_over(self.seen.sent, due) {
                return None;
            }
            if due > elapsed {
                return Some(due - elapsed);
            }
            let Some(place) = self.free.pop_front() else {
                return Some(DRAIN);
            };
            write_request(&self.plan, self.seen.sent, &mut self.request);
            self.seen.sent += 1;
            let lag = u64::try_from((elapsed - due).as_nanos()).expect("fits");
            self.seen.lag_ns = self.seen.lag_ns.max(lag);
            let connection = &mut self.connections[place];
            connection.due = Some(due);
            if connection.stream.write_all(&self.request).is_err() {
                self.replace(place);
            }
        }
    }

    fn receive(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        match connection.receive() {
            Ok(None) => {}
            Ok(Some(status)) => {
                let due = connection.due.take().expect("an answer follows a request");
                let took = (self.start.elapsed() - due).as_nanos();
                self.seen
                    .latencies_ns
                    .push(u64::try_from(took).expect("fits"));
                *self.seen.statuses.entry(status).or_default() += 1;
                self.free.push_back(place);
            }
            Err(_) => self.replace(place),
        }
    }

    /// Opens a broken connection anew. A payment that was open on it is counted as broken.
    fn replace(&mut self, place: usize) {
        let was_open = self.connections[place].due.is_some();
        self.seen.broken += u64::from(was_open);
        self.connections[place] = Connection::open(self.plan.port).expect("connects again");
        self.poll.add(&self.connections[place].stream, place);
        if was_open {
            self.free.push_back(place);
        }
    }

    fn run(mut self) -> Seen {
        let mut over_at = None;
        loop {
            let wait = self.send_due();
            if wait.is_none() {
                let now = Instant::now();
                let since = *over_at.get_or_insert(now);
                if self.free.len() == self.connections.len() || now - since > DRAIN {
                    break;
                }
            }
            for place in self.poll.wait(wait.unwrap_or(Duration::from_millis(100))) {
                self.receive(place);
            }
        }
        self.seen.broken += (self.connections.len() - self.free.len()) as u64;
        self.seen
    }
}

impl Seen {
    fn quantile_us(&self, quantile: f64) -> f64 {
        let last = self.latencies_ns.len().saturating_sub(1);
        let place = (last as f64 * quantile).ceil() as usize;
        self.latencies_ns
            .get(place)
            .map_or(0.0, |ns| *ns as f64 / 1e3)
    }

    fn report(mut self, took: Duration) -> String {
        self.latencies_ns.sort_unstable();
        let statuses: Vec<String> = self
            .statuses
            .iter()
            .map(|(status, count)| format!("\"{status}\":{count}"))
            .collect();
        format!(
            "{{\"sent\":{},\"answers\":{},\"statuses\":{{{}}},\"broken\":{},\"seconds\":{:.3},\
             \"lag_us\":{:.1},\"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\
             \"max_us\":{:.1}}}",
            self.sent,
            self.latencies_ns.len(),
            statuses.join(","),
            self.broken,
            took.as_secs_f64(),
            self.lag_ns as f64 / 1e3,
            self.quantile_us(0.5),
            self.quantile_us(0.99),
            self.quantile_us(0.999),
            self.quantile_us(1.0),
        )
    }
}

fn main() {
    // The kernel may delay a sleeper by its timer slack, 50 us unless told otherwise.
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    let plan = Plan::read(std::env::args().skip(1))
        .expect("load PORT RATE SECONDS [CONNECTIONS [SEED [COUNT]]]");
    let generator = Generator::new(plan);
    let start = generator.start;
    let seen = generator.run();
    let report = seen.report(start.elapsed());
    writeln!(std::io::stdout(), "{report}").expect("prints");
}
