//! RECONCILE_EVERY: a p99 that compares its journal with its processors' books while it runs.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use p99::testing::clock::Clock;
use p99::testing::cores::Running;
use p99::testing::pay::Setup;
use p99::testing::payment::UpstreamId;
use p99::testing::sim::SimulatorHandle;

use crate::kit::children::Processors;
use crate::kit::client::{Client, id, payment, wait_until};
use crate::kit::operator::NOTE;
use crate::kit::scratch::Scratch;
use crate::kit::stack;

/// p99 in this process, which compares payments of any age every second.
pub(crate) struct Comparing {
    running: Running,
    socket: String,
}

impl Comparing {
    pub(crate) fn start(processors: &Processors, scratch: &Scratch, more: &[(&str, &str)]) -> Self {
        let (journal, socket) = (scratch.text("journal"), scratch.text("admin.sock"));
        std::fs::write(scratch.file("token"), "X-Rinha-Token: 123\n").unwrap();
        let (token, listen) = (scratch.text("token"), format!("unix:{socket}"));
        let books =
            [&processors.a, &processors.b].map(|one| format!("{}/admin/payments", one.url()));
        let settings = [
            ("JOURNAL_DIR", journal.as_str()),
            ("JOURNAL_SYNC", "os"),
            ("ADMIN_LISTEN", &listen),
            ("ROUTING", "cheapest"),
            ("HEDGE_DELAY_MS", "60000"),
            ("RECONCILE_EVERY", "1"),
            ("UPSTREAM_A_BOOK", &books[0]),
            ("UPSTREAM_B_BOOK", &books[1]),
            ("UPSTREAM_A_HEADERS_FILE", &token),
            ("UPSTREAM_B_HEADERS_FILE", &token),
        ];
        let urls = [processors.a.url(), processors.b.url()];
        let settings = [&settings[..], more].concat();
        let mut config = stack::config([&urls[0], &urls[1]], &settings);
        // No one waits a minute here.
        config.reconcile.as_mut().unwrap().settled = Duration::ZERO;
        let running = Running::start(&Setup::new(config)).unwrap();
        Self { running, socket }
    }

    pub(crate) fn stop(self) {
        let _ = self.running.stop();
    }

    fn admin(&self) -> Client<UnixStream> {
        Client::connect_unix(&self.socket)
    }

    pub(crate) fn pay(&self, number: usize) {
        let mut client = Client::connect(stack::tcp(&self.running.addresses()));
        assert_eq!(client.pay(id(number), "5.00").status, 200);
    }

    fn metric(&self, name: &str) -> f64 {
        stack::metric(&self.admin().get("/metrics").body, name)
    }

    pub(crate) fn differences(&self, kind: &str) -> f64 {
        self.metric(&format!(r#"p99_reconcile_differences{{kind="{kind}"}}"#))
    }

    fn is_paused(&self, name: &str) -> bool {
        self.metric(&format!(r#"p99_processor_paused{{processor="{name}"}}"#)) > 0.0
    }

    /// Waits until the books were compared once more, all of it after this call.
    pub(crate) fn await_another(&self) {
        let age = || self.metric("p99_reconcile_age_seconds");
        // The one that may be under way ends, and then another one.
        for _ in 0..2 {
            let before = age();
            wait_until("the books are compared", || age() < before);
        }
    }
}

fn copy_files(from: &str, to: &str) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), format!("{to}/{}", file.file_name().display())).unwrap();
    }
}

/// Charges `id` at a processor behind p99's back.
fn plant(sim: &SimulatorHandle, id: UpstreamId) {
    let at = crate::book::date(Clock::new(Clock::process_start()).now().wall);
    let body = payment(id, "5.00").replace('}', &format!(r#","requestedAt":"{at}"}}"#));
    let address = sim.url().strip_prefix("http://").unwrap().parse().unwrap();
    let mut client = Client::connect(address);
    assert_eq!(client.call("POST /payments", "", &body).status, 200);
}

#[test]
fn who_charges_a_second_time_is_paused_once() {
    let processors = Processors::start();
    let scratch = Scratch::new("again").unwrap();
    let first = Comparing::start(&processors, &scratch, &[]);
    (1..6).for_each(|number| first.pay(number));
    first.await_another();
    for kind in p99::testing::reconcile::Kind::ALL.map(p99::testing::reconcile::Kind::name) {
        if kind != "pending" {
            assert!(first.differences(kind) < 1.0, "{kind}");
        }
    }
    plant(&processors.b, id(1));
    wait_until("B is paused", || first.is_paused("fallback"));
    assert!(
        !first.is_paused("default"),
        "the journal expects A's charge"
    );
    wait_until("it is counted", || {
        first.differences("charged_at_two") > 0.0
    });
    let log = || std::fs::read_to_string(scratch.file("journal/audit.log")).unwrap();
    let line = format!(
        r#""id":"{}","step":"books_differ","kind":"charged_at_two","processor":"default","other":"fallback"}}"#,
        id(1)
    );
    wait_until("it is audited", || log().contains(&line));
    let by_whom = format!(
        r#""path":"/admin/processors/fallback/pause","operator":"RECONCILE_ON_DOUBLE","reason":"charged_at_two {}","status":200"#,
        id(1)
    );
    assert!(log().contains(&by_whom), "{}", log());

    // An operator has seen it: it goes on, though the same is found again and again.
    let resume = "POST /admin/processors/fallback/resume";
    assert_eq!(first.admin().call(resume, "", NOTE).status, 200);
    first.await_another();
    assert!(!first.is_paused("fallback"));
    assert!(first.differences("charged_at_two") > 0.0);
    assert_eq!(log().matches(&line).count(), 1, "{}", log());
    let _ = first.running.stop();

    // After a restart too, here on the same files elsewhere, since a process gives its journal up
    // with its end alone; another one is another one.
    let copy = scratch.text("copy");
    copy_files(&scratch.text("journal"), &copy);
    let second = Comparing::start(&processors, &scratch, &[("JOURNAL_DIR", &copy)]);
    second.await_another();
    assert!(second.differences("charged_at_two") > 0.0);
    assert!(!second.is_paused("fallback"));
    plant(&processors.b, id(2));
    wait_until("B is paused again", || second.is_paused("fallback"));
    assert!(!second.is_paused("default"));
    let _ = second.running.stop();
}

#[test]
fn nothing_is_paused_that_is_only_to_be_told() {
    let processors = Processors::start();
    let scratch = Scratch::new("told").unwrap();
    let p99 = Comparing::start(&processors, &scratch, &[("RECONCILE_ON_DOUBLE", "tell")]);
    p99.pay(1);
    plant(&processors.b, id(1));
    wait_until("it is counted", || p99.differences("charged_at_two") > 0.0);
    p99.await_another();
    assert!(!p99.is_paused("fallback") && !p99.is_paused("default"));
    let _ = p99.running.stop();
}

#[test]
fn of_shards_none_calls_missing_what_may_be_anothers() {
    let processors = Processors::start();
    let scratch = Scratch::new("shard").unwrap();
    let shard = [("SHARD", "1/2"), ("PEERS", "http://127.0.0.1:1")];
    let p99 = Comparing::start(&processors, &scratch, &shard);
    let own = (0..).find(|number| {
        let mut client = Client::connect(stack::tcp(&p99.running.addresses()));
        client.pay(id(*number), "5.00").status == 200
    });
    plant(&processors.a, UpstreamId(77));
    plant(&processors.b, id(own.unwrap()));
    wait_until("its own is counted", || {
        p99.differences("charged_at_two") > 0.0
    });
    assert!(p99.differences("missing_here") < 1.0);
    let _ = p99.running.stop();
}

/// A book that is a pipe: a comparison waits for what it reads.
struct Pipe(String);

impl Pipe {
    fn new(path: String) -> Self {
        let pipe = Self(path);
        pipe.renew();
        pipe
    }

    /// Another one in its place, so that a reader of the old one cannot be given more.
    fn renew(&self) {
        let fresh = format!("{}.new", self.0);
        assert!(
            Command::new("mkfifo")
                .arg(&fresh)
                .status()
                .unwrap()
                .success()
        );
        std::fs::rename(fresh, &self.0).unwrap();
    }

    /// Gives the next comparison a book, and does `meanwhile` before its end.
    fn feed(&self, rows: &str, meanwhile: impl FnOnce()) {
        let mut pipe = None;
        wait_until("the book is opened", || {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(libc::O_NONBLOCK);
            pipe = options.open(&self.0).ok();
            pipe.is_some()
        });
        let mut pipe = pipe.unwrap();
        let text = format!("correlationId,amount\n{rows}");
        pipe.write_all(text.as_bytes()).unwrap();
        meanwhile();
        self.renew();
    }
}

#[test]
fn what_was_charged_while_a_book_was_read_is_not_missing_there() {
    let processors = Processors::start();
    let scratch = Scratch::new("race").unwrap();
    let book = Pipe::new(scratch.text("book"));
    let p99 = Comparing::start(&processors, &scratch, &[("UPSTREAM_A_BOOK", &book.0)]);
    let row = |number| format!("{},5.00\n", id(number));
    // The journal, which is read after the book, has it: the book is read again.
    book.feed("", || p99.pay(1));
    book.feed(&row(1), || p99.pay(2));
    // Told only now: the next comparison has begun.
    book.feed(&row(1), || ());
    assert!(p99.differences("missing_there") < 1.0);
    // It misses the second one again and again.
    book.feed(&row(1), || ());
    book.feed(&row(1), || assert!(p99.differences("missing_there") > 0.0));
    let _ = p99.running.stop();
}

/// More differences than one comparison names, with ids before those of all payments.
const CROWD: u128 = 10_100;

/// A book in a file: these payments, and a crowd that p99 does not know.
fn write_book(path: &str, numbers: &[usize], crowd: u128) {
    let ids = numbers.iter().map(|number| id(*number));
    let rows = ids.chain((1..=crowd).map(UpstreamId));
    let rows: String = rows.map(|id| format!("{id},5.00\n")).collect();
    let fresh = format!("{path}.new");
    std::fs::write(&fresh, format!("correlationId,amount\n{rows}")).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

#[test]
fn a_crowd_of_other_differences_neither_hides_a_double_charge_nor_has_it_told_again() {
    let processors = Processors::start();
    let scratch = Scratch::new("crowd").unwrap();
    let (a, b) = (scratch.text("a.csv"), scratch.text("b.csv"));
    write_book(&a, &[1, 2], 0);
    write_book(&b, &[], 0);
    let books = [
        ("UPSTREAM_A_BOOK", a.as_str()),
        ("UPSTREAM_B_BOOK", b.as_str()),
    ];
    let first = Comparing::start(&processors, &scratch, &books);
    (1..=2).for_each(|number| first.pay(number));
    let resume = |p99: &Comparing| {
        let path = "POST /admin/processors/fallback/resume";
        assert_eq!(p99.admin().call(path, "", NOTE).status, 200);
    };
    write_book(&b, &[1], 0);
    wait_until("B is paused", || first.is_paused("fallback"));
    resume(&first);
    // The crowd comes and goes: nothing is new about the first one.
    write_book(&a, &[1, 2], CROWD);
    wait_until("the crowd is counted", || {
        first.differences("missing_here") > 10_000.0
    });
    first.await_another();
    write_book(&a, &[1, 2], 0);
    first.await_another();
    assert!(first.differences("charged_at_two") > 0.0);
    assert!(!first.is_paused("fallback"), "the same payment again");
    let _ = first.running.stop();

    let copy = scratch.text("copy");
    copy_files(&scratch.text("journal"), &copy);
    let copied = [&books[..], &[("JOURNAL_DIR", copy.as_str())]].concat();
    let second = Comparing::start(&processors, &scratch, &copied);
    second.await_another();
    assert!(second.differences("charged_at_two") > 0.0);
    assert!(!second.is_paused("fallback"), "again after a restart");
    // Behind the crowd another one is seen.
    write_book(&a, &[1, 2], CROWD);
    write_book(&b, &[1, 2], 0);
    wait_until("B is paused", || second.is_paused("fallback"));
    let _ = second.running.stop();
}

#[test]
fn a_book_that_fails_at_the_second_reading_does_not_hide_a_double_charge() {
    let processors = Processors::start();
    let scratch = Scratch::new("second").unwrap();
    let book = Pipe::new(scratch.text("a"));
    let b = scratch.text("b.csv");
    write_book(&b, &[1], 0);
    let books = [
        ("UPSTREAM_A_BOOK", book.0.as_str()),
        ("UPSTREAM_B_BOOK", b.as_str()),
    ];
    let p99 = Comparing::start(&processors, &scratch, &books);
    // Payments that are younger than a comparison are not in it, but in the next one.
    book.feed("", || (1..=2).for_each(|number| p99.pay(number)));
    // It misses the second payment, so it is read again.
    book.feed(&format!("{},5.00\n", id(1)), || ());
    book.feed("no row\n", || ());
    wait_until("B is paused", || p99.is_paused("fallback"));
    let _ = p99.running.stop();
}
