//! Scenes between p99 and its processors.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use p99::testing::sim::{Act, Fault, Moment, Route, SimulatorHandle};

use crate::book::Book;
use crate::kit::client::{id, wait_until};
use crate::kit::operator::{KEY, NOTE, secret_file};
use crate::kit::scratch::Scratch;
use crate::kit::stack::processors;
use crate::site::{NO_PLACE, NOWHERE, Site, ask};

/// A alone gets everything.
pub(crate) fn default_alone(book: &Book) {
    let site = Site::start(
        book,
        &[&SETTINGS[..], &[("UPSTREAM_B_URL", NO_PLACE)]].concat(),
    );
    one_alone(&site, &site.a, "default");
}

/// B alone gets everything.
pub(crate) fn fallback_alone(book: &Book) {
    let site = Site::start(
        book,
        &[
            &SETTINGS[..],
            &[
                ("UPSTREAM_A_URL", NOWHERE),
                ("MONOIO_FORCE_LEGACY_DRIVER", "1"),
            ],
        ]
        .concat(),
    );
    one_alone(&site, &site.b, "fallback");
}

const SETTINGS: [(&str, &str); 8] = [
    ("REQUEST_TIMEOUT_MS", "400"),
    ("ATTEMPT_TIMEOUT_MS", "150"),
    ("CONNECT_TIMEOUT_MS", "150"),
    ("SETTLE_TIMEOUT_MS", "5000"),
    ("CB_OPEN_SECS", "1"),
    ("CB_WINDOW_SECS", "1"),
    ("CB_MIN_SAMPLES", "1"),
    ("CB_HALF_OPEN_PROBES", "1"),
];

fn one_alone(site: &Site<'_>, sim: &SimulatorHandle, name: &str) {
    let mut number = 0;
    let mut pay = || {
        number += 1;
        site.pay(&format!("{name}-{number}"))
    };
    let of = |family: &str, more: &str| format!(r#"{family}{{processor="{name}"{more}}}"#);
    let attempts = |outcome: &str| of("p99_attempts_total", &format!(r#",outcome="{outcome}""#));
    let moved = |from: &str, to: &str| {
        of(
            "p99_breaker_transitions_total",
            &format!(r#",from="{from}",to="{to}""#),
        )
    };
    let until = |what: &str, pay: &mut dyn FnMut() -> u16| {
        wait_until(what, || {
            pay();
            crate::kit::stack::metric(&site.look(), what) > 0.0
        });
    };
    until(&attempts("applied"), &mut pay);
    site.await_all(&[
        &of("p99_ledger_payments", ""),
        &of("p99_upstream_connections_idle", ""),
    ]);
    // A 500 is asked about: found when it is charged all the same, not found when it is not.
    let fault = Fault::new(Moment::Answer, Act::Status(500));
    sim.inject(fault).unwrap();
    until(&of("p99_lookups_total", r#",answer="stored""#), &mut pay);
    sim.clear_faults();
    sim.inject(Fault::new(Moment::Body, Act::Status(500)))
        .unwrap();
    until(&of("p99_lookups_total", r#",answer="not_found""#), &mut pay);
    until(&attempts("refused"), &mut pay);
    sim.inject(Fault::new(Moment::Head, Act::Close).on(Route::Lookup))
        .unwrap();
    until(&of("p99_lookups_total", r#",answer="no_answer""#), &mut pay);
    until(&moved("closed", "open"), &mut pay);
    until(&moved("open", "half_open"), &mut pay);
    until(&moved("half_open", "open"), &mut pay);
    sim.clear_faults();
    until(&moved("half_open", "closed"), &mut pay);
    // An answer that comes after its attempt was given up.
    sim.set_delay(Duration::from_millis(350));
    until(&attempts("unknown"), &mut pay);
    until(&of("p99_late_answers_total", ""), &mut pay);
    sim.clear_faults();
    sim.set_delay(Duration::ZERO);
    sim.inject(Fault::new(Moment::Body, Act::Stall).next(3))
        .unwrap();
    until(&of("p99_resends_total", ""), &mut pay);
    sim.set_delay(Duration::from_millis(100));
    let mut begun = Vec::new();
    let in_flight = of("p99_attempts_in_flight", "");
    wait_until(&in_flight, || {
        begun.push(site.begin(&format!("{name}-begun-{}", begun.len())));
        crate::kit::stack::metric(&site.look(), &in_flight) > 0.0
    });
    sim.set_refusing(true).unwrap();
    sim.reset_connections();
    until(&attempts("not_sent"), &mut pay);
    site.await_zero(&of("p99_upstream_connections_open", ""));
}

/// Names that cannot be resolved, and addresses that swallow what asks for a connection.
pub(crate) fn processors_that_cannot_be_reached(book: &Book) {
    let scratch = Scratch::new("series-names").unwrap();
    let secret = secret_file(&scratch);
    let names = [
        ("UPSTREAM_A_URL", "http://a.invalid:1"),
        ("UPSTREAM_B_URL", "http://b.invalid:1"),
        ("ADMIN_LISTEN", "127.0.0.2:0"),
        ("ADMIN_SECRET_FILE", &secret),
    ];
    let site = Site::start(book, &names);
    site.await_all(
        &["default", "fallback"]
            .map(|name| format!(r#"p99_resolution_failures_total{{processor="{name}"}}"#))
            .each_ref()
            .map(String::as_str),
    );
    let line = "POST /admin/processors/default/confirm";
    assert_eq!(ask(site.admin_address(), line, KEY, NOTE), 409);
    site.look();
    drop(site);

    let full = [(), ()].map(|()| FullListener::new());
    let urls = full.each_ref().map(FullListener::url);
    let settings = [
        ("UPSTREAM_A_URL", urls[0].as_str()),
        ("UPSTREAM_B_URL", &urls[1]),
        ("CONNECT_TIMEOUT_MS", "100"),
    ];
    let site = Site::start(book, &settings);
    for name in ["default", "fallback"] {
        let timed_out =
            format!(r#"p99_upstream_connects_total{{processor="{name}",result="timed_out"}}"#);
        site.await_all(&[&timed_out]);
    }
}

/// The processors' files change, and then are not as they must be.
pub(crate) fn files_that_are_read_again(book: &Book) {
    let file = |letter: &str| {
        let name = format!("p99-series-headers-{letter}-{}", std::process::id());
        std::env::temp_dir().join(name)
    };
    let files = ["a", "b"].map(file);
    let write = |text: &str| {
        files
            .iter()
            .for_each(|path| std::fs::write(path, text).unwrap())
    };
    write("X-Key: one\n");
    let [a, b] = files.each_ref().map(|path| path.display().to_string());
    let settings = [
        ("UPSTREAM_A_HEADERS_FILE", a.as_str()),
        ("UPSTREAM_B_HEADERS_FILE", &b),
    ];
    let site = Site::start(book, &settings);
    for (text, result) in [("X-Key: another\n", "changed"), ("?", "refused")] {
        write(text);
        for name in ["default", "fallback"] {
            let labels = format!(r#"{{processor="{name}",result="{result}"}}"#);
            site.await_all(&[&format!("p99_upstream_file_readings_total{labels}")]);
        }
    }
    for path in &files {
        std::fs::remove_file(path).unwrap();
    }
}

/// Processors over https that speak no TLS.
pub(crate) fn handshakes_that_fail(book: &Book) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let path = std::env::temp_dir().join(format!("p99-series-ca-{}", std::process::id()));
    std::fs::write(&path, made.cert.pem()).unwrap();
    let sims = processors();
    let urls = sims
        .each_ref()
        .map(|sim| format!("https://{}", sim.address()));
    let authority = path.display().to_string();
    let settings = [
        ("UPSTREAM_A_URL", urls[0].as_str()),
        ("UPSTREAM_B_URL", &urls[1]),
        ("UPSTREAM_A_TLS_CA", &authority),
        ("UPSTREAM_B_TLS_CA", &authority),
    ];
    let site = Site::start(book, &settings);
    for name in ["default", "fallback"] {
        let labels = format!(r#"{{processor="{name}",result="handshake_failed"}}"#);
        site.await_all(&[&format!("p99_upstream_connects_total{labels}")]);
    }
    std::fs::remove_file(path).unwrap();
}

/// A socket that listens and whose queue is full: a SYN to it is dropped.
struct FullListener {
    listener: TcpListener,
    _waiting: Vec<Socket>,
}

impl FullListener {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let begin = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            // Under way, for ever.
            let _ = socket.connect(&address.into());
            socket
        };
        Self {
            listener,
            _waiting: (0..8).map(|_| begin()).collect(),
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }
}

/// The first attempt is slow: the second one answers first, or does not, or is one too many.
pub(crate) fn hedges(book: &Book) {
    const EVENTS: [&str; 4] = ["fired", "won", "lost", "denied"];
    let mut seen = BTreeSet::new();
    // What a busy machine takes for its answers is remembered for 10 s and puts hedges off, so each
    // try has a p99 of its own.
    wait_until("each event", || {
        let page = slow_three_times(book);
        let value = |event: &str| {
            let name = format!(r#"p99_hedges_total{{event="{event}"}}"#);
            crate::kit::stack::metric(&page, &name)
        };
        seen.extend(EVENTS.into_iter().filter(|event| value(event) > 0.0));
        seen.len() == EVENTS.len()
    });
}

/// The page after a few payments that are not slow, and three that are.
fn slow_three_times(book: &Book) -> String {
    let settings = [
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "5"),
        ("CORES", "1"),
    ];
    let site = Site::start(book, &settings);
    let mut client = site.client();
    let mut pay = |number: usize| {
        assert_eq!(client.pay(id(number), "1.00").status, 200);
    };
    // The budget is one for every twenty attempts: enough for two.
    (0..45).for_each(&mut pay);
    for (number, pauses) in (45..).zip([&[400][..], &[150, 600], &[400]]) {
        for millis in pauses {
            let fault = Fault::new(Moment::Body, Act::Pause(*millis)).next(1);
            site.a.inject(fault).unwrap();
        }
        pay(number);
        site.a.clear_faults();
    }
    site.look()
}

/// Answers that never come, each re-send one more.
pub(crate) fn too_many_late_answers(book: &Book) {
    let settings = [
        ("ACK", "accepted"),
        ("ATTEMPT_TIMEOUT_MS", "50"),
        ("SETTLE_TIMEOUT_MS", "600000"),
        ("CB_FAIL_RATE", "1"),
        ("CB_MIN_SAMPLES", "100000"),
    ];
    let site = Site::start(book, &settings);
    for sim in [&site.a, &site.b] {
        sim.inject(Fault::new(Moment::Body, Act::Stall)).unwrap();
    }
    let mut client = site.client();
    for number in 0..4_000 {
        assert_eq!(client.pay(id(10_000 + number), "1.00").status, 202);
    }
    site.await_all(&["p99_late_reads", "p99_late_reads_dropped_total"]);
}
