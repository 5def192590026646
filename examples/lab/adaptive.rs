//! What a processor is given when it is slow and willing, and when it sheds: an own small processor
//! that keeps its book, open-loop load with `ACK=accepted`, and all other settings at their
//! defaults. The simulated processors stand in for the official ones, which take 800 at once.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use clap::Args;
use socket2::{Domain, Socket, Type};

use crate::gauge;
use crate::kit::process::{P99, Plan};
use crate::kit::report::{Report, say_table};
use crate::kit::scratch::Scratch;

/// Small: a thousand of them wait at once.
const STACK_BYTES: usize = 128 * 1024;
const CONNECTIONS: u64 = 64;
const BACKLOG: i32 = 4_096;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Payments a second
    #[arg(long, default_value_t = 600)]
    rate: u64,
    /// How long the slow processor may take until it is given what is offered
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// A second of each, to see that it runs
    #[arg(long)]
    quick: bool,
}

/// What the processor does, and what it has done.
#[derive(Debug, Default)]
struct Book {
    delay_ms: AtomicU64,
    /// 429 beyond so many at once.
    takes: AtomicU64,
    at_once: AtomicU64,
    sheds: AtomicU64,
    charged: Mutex<HashSet<String>>,
}

impl Book {
    fn charged(&self) -> usize {
        self.charged.lock().expect("no thread panics").len()
    }

    /// Charges an id, unless it is known or there are too many at once. The status.
    fn charge(&self, id: String) -> u16 {
        if self.at_once.fetch_add(1, Relaxed) >= self.takes.load(Relaxed) {
            self.at_once.fetch_sub(1, Relaxed);
            self.sheds.fetch_add(1, Relaxed);
            return 429;
        }
        thread::sleep(Duration::from_millis(self.delay_ms.load(Relaxed)));
        let is_new = self.charged.lock().expect("no thread panics").insert(id);
        self.at_once.fetch_sub(1, Relaxed);
        if is_new { 200 } else { 422 }
    }

    /// Serves one connection to its end.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let (mut length, mut is_payment) = (0, false);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                is_payment |= line.starts_with("POST ");
                let field = line.to_ascii_lowercase();
                if let Some(value) = field.strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let status = if is_payment {
                let text = String::from_utf8(body).ok()?;
                let (_, id) = text.split_once("\"correlationId\":\"")?;
                self.charge(id.split('"').next()?.to_owned())
            } else {
                404
            };
            let answer = format!("HTTP/1.1 {status} Some\r\nContent-Length: 2\r\n\r\n{{}}");
            writer.write_all(answer.as_bytes()).ok()?;
        }
    }
}

fn start(book: &Arc<Book>) -> SocketAddr {
    // Doubling makes hundreds of connections at once.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a port");
    socket.listen(BACKLOG).expect("it listens");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("it is bound");
    let book = Arc::clone(book);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let book = Arc::clone(&book);
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn(move || book.serve(stream)).expect("a thread");
        }
    });
    address
}

fn plan(binary: &Path, scratch: &Scratch, processor: SocketAddr) -> Plan {
    let mut plan = Plan::new(binary.to_owned(), scratch);
    plan.set("UPSTREAM_A_URL", format!("http://{processor}"));
    plan.set("ACK", "accepted");
    plan.set("ROUTING", "cheapest");
    plan.set("FALLBACK_AFTER_MS", 60_000);
    plan
}

pub(crate) fn run(options: &Options, binary: &Path) -> bool {
    let scratch = Scratch::new("adaptive").expect("a folder");
    let mut report = Report::default();
    let mut rows = vec![
        [
            "processor",
            "second",
            "charged/s",
            "pending",
            "limit",
            "429s",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    slow(options, binary, &scratch, (&mut rows, &mut report));
    shedding(options, binary, &scratch, (&mut rows, &mut report));
    say_table(&rows);
    scratch.close(&report, "adaptive")
}

/// Takes 2 s an answer and refuses nothing; then it is fast again.
fn slow(
    options: &Options,
    binary: &Path,
    scratch: &Scratch,
    (rows, report): (&mut Vec<Vec<String>>, &mut Report),
) {
    let book = Arc::new(Book::default());
    book.delay_ms.store(2_000, Relaxed);
    book.takes.store(u64::MAX, Relaxed);
    let plan = plan(binary, scratch, start(&book));
    let Some(p99) = P99::start(&plan, report) else {
        return;
    };
    let (slow_secs, fast_secs) = if options.quick {
        (4, 2)
    } else {
        (options.seconds + 10, 10)
    };
    let load = begin_load(binary, &plan, (options.rate, slow_secs + fast_secs, 1));
    let best = watch(&book, &plan, ("2 s an answer", slow_secs), rows);
    let wanted = options.rate * 59 / 60;
    expect(
        report,
        options.quick || best >= wanted,
        "a slow and willing processor gets what is offered",
        || format!("{best}/s of {}", options.rate),
    );
    book.delay_ms.store(1, Relaxed);
    watch(&book, &plan, ("fast again", fast_secs), rows);
    let pending = gauge::metric(&plan, "p99_payments_pending");
    expect(
        report,
        options.quick || pending < 60.0,
        "its old latency is back within 10 s",
        || format!("{pending} are pending"),
    );
    load.join().expect("the load ends");
    p99.end(report);
}

/// Answers 429 beyond 50 at once, 100 ms an answer: it takes 500/s.
fn shedding(
    options: &Options,
    binary: &Path,
    scratch: &Scratch,
    (rows, report): (&mut Vec<Vec<String>>, &mut Report),
) {
    const TAKES: u64 = 50;
    const DELAY_MS: u64 = 100;
    let book = Arc::new(Book::default());
    book.delay_ms.store(DELAY_MS, Relaxed);
    book.takes.store(TAKES, Relaxed);
    let plan = plan(binary, scratch, start(&book));
    let Some(p99) = P99::start(&plan, report) else {
        return;
    };
    let seconds = if options.quick { 4 } else { 30 };
    let load = begin_load(binary, &plan, (options.rate, seconds, 2));
    watch(&book, &plan, ("429 beyond 50", 3), rows);
    let (before, sheds) = (book.charged(), book.sheds.load(Relaxed));
    let measured = seconds - 3;
    watch(&book, &plan, ("429 beyond 50", measured), rows);
    let charged = u64::try_from(book.charged() - before).unwrap_or(0);
    let sheds = book.sheds.load(Relaxed) - sheds;
    let most = TAKES * 1_000 / DELAY_MS * measured;
    expect(
        report,
        options.quick || charged * 10 >= most * 9,
        "one that sheds is kept busy",
        || format!("{charged} of {most}"),
    );
    expect(
        report,
        options.quick || sheds * 20 <= charged + sheds,
        "it says few 429s",
        || format!("{sheds} beside {charged} charges"),
    );
    load.join().expect("the load ends");
    p99.end(report);
}

fn begin_load(
    binary: &Path,
    plan: &Plan,
    (rate, seconds, seed): (u64, u64, u64),
) -> thread::JoinHandle<()> {
    let (binary, port) = (binary.to_owned(), u64::from(plan.address.port()));
    thread::spawn(move || {
        gauge::load(&binary, &[port, rate, seconds, CONNECTIONS, seed]);
    })
}

/// Looks once a second. The most that were charged in two seconds in a row, by the second.
fn watch(
    book: &Book,
    plan: &Plan,
    (name, seconds): (&str, u64),
    rows: &mut Vec<Vec<String>>,
) -> u64 {
    let mut counts = vec![book.charged()];
    for second in 1..=seconds {
        thread::sleep(Duration::from_secs(1));
        counts.push(book.charged());
        let limit = gauge::metric(plan, "p99_attempts_in_flight_limit{processor=\"default\"");
        let charged = counts[counts.len() - 1] - counts[counts.len() - 2];
        rows.push(vec![
            name.to_owned(),
            second.to_string(),
            charged.to_string(),
            gauge::metric(plan, "p99_payments_pending").to_string(),
            limit.to_string(),
            book.sheds.load(Relaxed).to_string(),
        ]);
    }
    let pairs = counts.windows(3).map(|three| (three[2] - three[0]) / 2);
    u64::try_from(pairs.max().unwrap_or(0)).unwrap_or(0)
}

/// One promise: counted when it is not kept.
fn expect(
    report: &mut Report,
    is_kept: bool,
    promise: &'static str,
    example: impl FnOnce() -> String,
) {
    report.row_of(promise);
    if !is_kept {
        report.broke(promise, example);
    }
}
