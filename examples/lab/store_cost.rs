//! `lab store-cost`: what a payment costs on the store. PostgreSQL's CPU for each payment, in p99's
//! batches of claims and verdicts and in a naive INSERT and UPDATE for each payment over 64
//! connections; how long one payment at a time waits for its claim, beside a naive INSERT; and
//! p99's own CPU, beside a journal. One run, fsync on. The naive program is here.

mod own;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use clap::Args;
use p99::testing::clock::{Boot, UnixMillis};
use p99::testing::config::StoreUrl;
use p99::testing::journal::{Haste, Verdict};
use p99::testing::payment::{Cents, CorrelationId, Payment, Processor, UpstreamId};
use p99::testing::reactor::Reactor;
use p99::testing::store::{Machine, MachineTerms, Record, Report, StorePlace, Writer};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::kit::dice::Dice;
use crate::kit::postgres::{self, Cluster};
use crate::kit::report::Report as Table;
use crate::kit::scratch::Scratch;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How long each part lasts
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often p99 runs on each, in turns; the medians count
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Payments of a writer that are under way at once
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
}

/// PostgreSQL's CPU of a payment in batches, as a part of the naive one's.
const PART_MAX: u64 = 7;

const NAIVE_TABLE: &str = "CREATE TABLE naive (id uuid PRIMARY KEY, cents bigint NOT NULL, \
                           at bigint NOT NULL, processor smallint NOT NULL, \
                           status smallint NOT NULL)";

pub(crate) fn run(options: &Options, binary: &Path) -> Option<bool> {
    if !postgres::is_there("store-cost") {
        return None;
    }
    let scratch = Scratch::new("store-cost").unwrap();
    let cluster = Cluster::new(&scratch, "pg", &["fsync=on", "max_connections=100"]);
    cluster.make_schema();
    cluster.sql("p99", NAIVE_TABLE);
    let mut table = Table::default();
    let of_naive = measure(&cluster, || naive(&cluster, 64, options.seconds));
    let of_batches = measure(&cluster, || {
        let store = cluster.store("sslmode=disable");
        batched(&store, 2, options.in_flight, options.seconds)
    });
    let one_naive = measure(&cluster, || naive_claims(&cluster, options.seconds));
    let one = measure(&cluster, || {
        batched(&cluster.store("sslmode=disable"), 1, 1, options.seconds)
    });
    for (name, part) in [
        ("naive, 64 connections", &of_naive),
        ("batches, 2 writers", &of_batches),
        ("naive INSERT, one at a time", &one_naive),
        ("batches, one at a time", &one),
    ] {
        let (rate, cpu, p50) = (part.count / options.seconds, part.cpu_us(), part.p50);
        let p50 = p50.as_micros();
        table.row(
            name,
            format!("{rate}/s, PostgreSQL {cpu} us each, p50 {p50} us"),
        );
    }
    if of_batches.cpu_us() * PART_MAX > of_naive.cpu_us() {
        table.broke("a payment in batches costs a seventh", || {
            format!("{} us and {} us", of_batches.cpu_us(), of_naive.cpu_us())
        });
    }
    if one.p50 * 2 > one_naive.p50 * 3 {
        table.broke("one payment waits at most half as long again", || {
            format!("{:?} and {:?}", one.p50, one_naive.p50)
        });
    }
    drop(cluster);
    own::compare(
        binary,
        &scratch,
        options.rounds,
        options.seconds,
        &mut table,
    );
    Some(scratch.close(&table, "store-cost"))
}

/// What a part did.
struct Part {
    count: u64,
    cpu: Duration,
    p50: Duration,
}

impl Part {
    fn cpu_us(&self) -> u64 {
        u64::try_from(self.cpu.as_micros()).unwrap() / self.count.max(1)
    }
}

fn measure(cluster: &Cluster, part: impl FnOnce() -> Vec<Duration>) -> Part {
    cluster.sql("postgres", "CHECKPOINT");
    let before = cluster.cpu();
    let mut took = part();
    let cpu = cluster.cpu().saturating_sub(before);
    took.sort_unstable();
    Part {
        count: took.len() as u64,
        cpu,
        p50: took.get(took.len() / 2).copied().unwrap_or_default(),
    }
}

// ---- batches ----

fn batched(store: &str, writers: u64, in_flight: usize, seconds: u64) -> Vec<Duration> {
    let store = store.to_owned();
    Reactor::best().unwrap().run(async move {
        let mut all = Vec::new();
        for number in 0..writers {
            all.push(monoio::spawn(payer(
                store.clone(),
                number,
                in_flight,
                seconds,
            )));
        }
        let mut took = Vec::new();
        for one in all {
            took.extend(one.await);
        }
        took
    })
}

/// Payments that wait for their claim, and when they were asked.
type Asked = Rc<RefCell<Vec<(u64, u128, Instant)>>>;

async fn payer(store: String, number: u64, in_flight: usize, seconds: u64) -> Vec<Duration> {
    let url = StoreUrl::parse(&store, &|_| None).unwrap();
    let machine = Machine::new(MachineTerms {
        holder: "cost".to_owned(),
        seed: p99::testing::keys::unlike_all(),
        is_lookout: false,
        now: Boot::now(),
    });
    let place = Rc::new(StorePlace::new(url, true));
    let (writer, task) = Writer::new(machine, place);
    let asked = Asked::default();
    let took: Rc<RefCell<Vec<Duration>>> = Rc::default();
    let is_over = Rc::new(Cell::new(false));
    let dice = RefCell::new(Dice::new(p99::testing::keys::unlike_all() ^ number));
    let (pen, list, spans) = (writer.clone(), Rc::clone(&asked), Rc::clone(&took));
    let over = Rc::clone(&is_over);
    let hear = move |report: Report| match report {
        Report::Durable { up_to, .. } => {
            let done: Vec<_> = {
                let mut list = list.borrow_mut();
                let (done, left) = list.drain(..).partition(|one| one.0 <= up_to);
                *list = left;
                done
            };
            for (_, id, since) in done {
                spans.borrow_mut().push(since.elapsed());
                pen.append(charged(id), Haste::Later);
            }
            if !over.get() {
                let mut dice = dice.borrow_mut();
                while list.borrow().len() < in_flight {
                    let id = u128::from(dice.next()) << 64 | u128::from(dice.next());
                    let since = Instant::now();
                    let sequence = pen.append(claim(id), Haste::Now);
                    list.borrow_mut().push((sequence, id, since));
                }
            }
        }
        Report::Fenced | Report::WentBack { .. } | Report::Broken(_) => panic!("{report:?}"),
        _ => {}
    };
    monoio::spawn(task.run(hear, |why| panic!("{why}")));
    monoio::time::sleep(Duration::from_secs(seconds)).await;
    is_over.set(true);
    while writer.look(|machine| machine.durable() < machine.last()) {
        writer.flush();
        monoio::time::sleep(Duration::from_millis(1)).await;
    }
    took.take()
}

fn claim(number: u128) -> Record {
    let id = UpstreamId(number);
    Record::Intent {
        payment: Payment {
            id,
            correlation_id: CorrelationId::try_new(&id.to_string()).unwrap(),
            amount: Cents(1_990),
        },
        processor: Processor::DEFAULT,
        requested_at: now(),
        accepted_at: None,
        address: None,
    }
}

fn charged(number: u128) -> Record {
    Record::Verdict {
        id: UpstreamId(number),
        verdict: Verdict::Applied {
            processor: Processor::DEFAULT,
            amount: Cents(1_990),
            requested_at: now(),
        },
    }
}

fn now() -> UnixMillis {
    p99::testing::clock::Clock::new(p99::testing::clock::Clock::process_start())
        .now()
        .wall
}

// ---- the naive program: a statement, a commit, an answer ----

struct Naive(UnixStream, BytesMut);

impl Naive {
    fn open(cluster: &Cluster) -> Self {
        let socket: PathBuf = cluster.path().join(format!(".s.PGSQL.{}", cluster.port()));
        let mut one = Self(UnixStream::connect(socket).unwrap(), BytesMut::new());
        let mut out = BytesMut::new();
        let who = [("user", "postgres"), ("database", "p99")];
        frontend::startup_message(who, &mut out).unwrap();
        one.ask(&out);
        for (name, text) in [
            (
                "i",
                "INSERT INTO naive VALUES ($1, 1990, 1, 0, 0) ON CONFLICT DO NOTHING",
            ),
            (
                "u",
                "UPDATE naive SET status = 2 WHERE id = $1 AND status = 0",
            ),
        ] {
            let mut out = BytesMut::new();
            frontend::parse(name, text, [2_950], &mut out).unwrap();
            frontend::sync(&mut out);
            one.ask(&out);
        }
        one
    }

    fn perform(&mut self, name: &str, id: u128) {
        let mut out = BytesMut::new();
        let value = |id: u128, out: &mut BytesMut| {
            out.extend_from_slice(&id.to_be_bytes());
            Ok(postgres_protocol::IsNull::No)
        };
        let bound = frontend::bind("", name, [1], [id], value, [1], &mut out);
        assert!(bound.is_ok());
        frontend::execute("", 0, &mut out).unwrap();
        frontend::sync(&mut out);
        self.ask(&out);
    }

    fn ask(&mut self, out: &[u8]) {
        self.0.write_all(out).unwrap();
        let mut bytes = [0; 4_096];
        loop {
            while let Some(message) = Message::parse(&mut self.1).unwrap() {
                match message {
                    Message::ReadyForQuery(_) => return,
                    Message::ErrorResponse(_) => panic!("the naive program was refused"),
                    _ => {}
                }
            }
            let count = self.0.read(&mut bytes).unwrap();
            assert!(count > 0, "the naive program's connection ended");
            self.1.extend_from_slice(&bytes[..count]);
        }
    }
}

fn naive(cluster: &Cluster, connections: u64, seconds: u64) -> Vec<Duration> {
    thread::scope(|scope| {
        let pay = |number: u64| {
            let mut one = Naive::open(cluster);
            let mut dice = Dice::new(p99::testing::keys::unlike_all() ^ number);
            let end = Instant::now() + Duration::from_secs(seconds);
            let mut took = Vec::new();
            while Instant::now() < end {
                let id = u128::from(dice.next()) << 64 | u128::from(dice.next());
                let since = Instant::now();
                one.perform("i", id);
                took.push(since.elapsed());
                one.perform("u", id);
            }
            took
        };
        let all: Vec<_> = (0..connections)
            .map(|number| scope.spawn(move || pay(number)))
            .collect();
        all.into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    })
}

/// One commit after the other, and no more.
fn naive_claims(cluster: &Cluster, seconds: u64) -> Vec<Duration> {
    let mut one = Naive::open(cluster);
    let mut dice = Dice::new(p99::testing::keys::unlike_all());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut took = Vec::new();
    while Instant::now() < end {
        let id = u128::from(dice.next()) << 64 | u128::from(dice.next());
        let since = Instant::now();
        one.perform("i", id);
        took.push(since.elapsed());
    }
    took
}
