//! The whole path of one payment without the kernel: request bytes, payment, claim, route,
//! breaker, upstream request, answer, ledger, metrics, response bytes. Input, output and time are
//! fixed, so the number of instructions is too. `examples/one_payment.rs` counts them, the
//! benchmark of rooms times it.

use std::sync::Arc;

use p99::testing::clock::{Mono, Now, UnixMillis};
use p99::testing::config::Config;
use p99::testing::events::{Action, Answer, Arrival, AttemptRef, Exchange, Lookup, Note, ReplyTo};
use p99::testing::http::{
    AnswerReader, BodyReader, DateCache, FixedHead, HeadRules, ResponseHead, parse_head,
    write_response,
};
use p99::testing::metrics::{Answered, Metrics, MetricsSetup, Route};
use p99::testing::owner::{Owner, OwnerSettings, Processors, breaker_settings, concurrency_bounds};
use p99::testing::payment::{CoreCount, CoreId, UpstreamId};
use p99::testing::table::Key;
use p99::testing::wire::{self, UpstreamPayment};

/// What `wrk` and HAProxy in front of p99 send.
const HEAD: &str = "POST /payments HTTP/1.1\r\nHost: 127.0.0.1:9999\r\n\
Content-Type: application/json\r\nContent-Length: 71\r\n\r\n";
/// What nginx answers as processor.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\
Date: Tue, 24 Nov 2026 07:23:45 GMT\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\
Connection: keep-alive\r\n\r\n{\"message\":\"payment processed successfully\"}";
/// One payment every 50 us: 20,000 a second.
const STEP_US: u64 = 50;
/// A core looks at its timers every millisecond.
const PAYMENTS_PER_TICK: u64 = 20;

/// Settings as they are by default, on one core.
pub fn config() -> Config {
    let lookup = |name: &str| match name {
        "UPSTREAM_A_URL" => Some("http://127.0.0.1:8001".to_owned()),
        "UPSTREAM_B_URL" => Some("http://127.0.0.1:8002".to_owned()),
        "CORES" => Some("1".to_owned()),
        _ => None,
    };
    Config::from_lookup(lookup).expect("the default settings are good")
}

/// Empty metrics for these settings.
pub fn metrics(config: &Config, cores: u16) -> Metrics {
    Metrics::new(MetricsSetup {
        processors: config.upstream.count(),
        cores: CoreCount(cores),
        started: UnixMillis(0),
        journal: p99::testing::metrics::JournalMode::Off,
        queue_capacity: config.queue_capacity,
        cache_capacity: config.cache_capacity,
        cache_ttl: config.cache_ttl,
        concurrency_limit: config.concurrency_limit,
        upstream_concurrency: config.upstream_concurrency,
    })
}

/// One core's rooms with the buffers of one connection on each side.
pub struct Path {
    rules: HeadRules,
    owner: Owner,
    metrics: Metrics,
    date: DateCache,
    now: Now,
    number: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    head: FixedHead,
    upstream: Vec<u8>,
    answer: Vec<u8>,
}

impl Path {
    /// Before the first payment.
    pub fn new() -> Self {
        let config = config();
        let processors = Arc::new(Processors::new(
            config.upstream.count(),
            breaker_settings(&config),
            concurrency_bounds(&config),
        ));
        Self {
            rules: HeadRules { auth_header: None },
            owner: Owner::new(OwnerSettings::of(&config), processors),
            metrics: metrics(&config, 1),
            date: DateCache::default(),
            now: Now {
                wall: UnixMillis(1_752_150_896_000),
                ..Now::default()
            },
            number: 0,
            input: Vec::with_capacity(2_048),
            output: Vec::with_capacity(1_024),
            head: FixedHead::new(
                "127.0.0.1:8001",
                "/payments",
                &[("User-Agent", b"p99"), ("Accept", b"application/json")],
            ),
            upstream: Vec::with_capacity(1_024),
            answer: Vec::with_capacity(1_024),
        }
    }

    /// Takes one payment from its request to its response.
    pub fn pay(&mut self) {
        self.pass_time();
        self.receive();
        let head = parse_head(&self.input, &self.rules)
            .expect("a good head")
            .expect("a whole head");
        let mut reader = BodyReader::request(head.framing, head.head_bytes, 8_192).expect("short");
        let body = reader
            .advance(&mut self.input)
            .expect("good")
            .expect("whole");
        let payment = wire::read_payment(&self.input[body], false).expect("a payment");
        let arrival = Arrival {
            payment,
            reply_to: ReplyTo {
                core: CoreId(0),
                key: Key {
                    slot: 0,
                    generation: 0,
                },
            },
            trace: None,
        };
        self.owner.arrive(arrival, self.now);
        self.perform();
        assert!(!self.output.is_empty(), "the payment was answered");
    }

    fn pass_time(&mut self) {
        self.number += 1;
        self.now.mono = Mono(self.number * STEP_US);
        self.now.run = self.now.mono;
        if self.number.is_multiple_of(PAYMENTS_PER_TICK) {
            self.now.wall.0 += 1;
            self.owner.tick(self.now);
        }
    }

    /// The request bytes, with an id that was not used before.
    fn receive(&mut self) {
        self.output.clear();
        self.input.clear();
        self.input.extend_from_slice(HEAD.as_bytes());
        self.input.extend_from_slice(b"{\"correlationId\":\"");
        let id = UpstreamId(0x1234_5678_0000_4000_8000_0000_0000_0000 + u128::from(self.number));
        self.input.extend_from_slice(&id.spell());
        self.input.extend_from_slice(b"\",\"amount\":19.90}");
    }

    fn perform(&mut self) {
        while let Some(action) = self.owner.next_action() {
            match action {
                Action::Connect { attempt, .. } => self.owner.connected(attempt, None, self.now),
                Action::Send {
                    attempt,
                    id,
                    amount,
                    requested_at,
                    ..
                } => {
                    let payment = UpstreamPayment {
                        id,
                        amount,
                        requested_at,
                    };
                    self.exchange(attempt, &payment);
                }
                Action::Lookup { attempt, .. } => {
                    // The first id that each processor charged is asked for once.
                    let requested_at = self.now.wall;
                    let lookup = Lookup::Stored {
                        requested_at,
                        amount: p99::testing::payment::Cents(1990),
                    };
                    self.owner.looked_up(attempt, lookup, self.now);
                }
                Action::Answer { answer, .. } => self.respond(answer),
                Action::Note(note) => self.count(&note),
                Action::Abandon { .. }
                | Action::Close { .. }
                | Action::Append(..)
                | Action::AppendToStore(..)
                | Action::Tell
                | Action::Flush(_) => {
                    unreachable!("nothing goes wrong here, and there is no journal")
                }
            }
        }
    }

    fn exchange(&mut self, attempt: AttemptRef, payment: &UpstreamPayment) {
        self.upstream.clear();
        let body_bytes = wire::upstream_payment_bytes(payment.amount);
        self.head.write_post(&mut self.upstream, &[], body_bytes);
        wire::write_upstream_payment(payment, &mut self.upstream);
        self.answer.clear();
        self.answer.extend_from_slice(ANSWER);
        let answer = AnswerReader::new(false, 8_192)
            .advance(&mut self.answer)
            .expect("a good answer")
            .expect("a whole answer");
        let exchange = Exchange::Answered {
            status: answer.head.status,
            retry_after_secs: None,
        };
        self.owner.exchanged(attempt, exchange, self.now);
    }

    fn respond(&mut self, answer: Answer) {
        assert_eq!(answer, Answer::Charged, "every payment here is charged");
        let head = ResponseHead {
            content_type: "application/json",
            ..ResponseHead::new(200, self.date.at(self.now.wall))
        };
        write_response(&mut self.output, &head, wire::CHARGED, false);
        let answered = Answered {
            route: Route::Payments,
            status: 200,
            took: self.now.mono.since(Mono(self.now.mono.0 - STEP_US)),
        };
        let metrics = self.metrics.core(CoreId(0)).expect("a core");
        metrics.answered(answered, self.now.mono);
    }

    fn count(&self, note: &Note) {
        if let Note::AttemptEnded {
            processor,
            outcome,
            took,
            ..
        } = note
        {
            let metrics = self.metrics.core(CoreId(0)).expect("a core");
            metrics.attempt_ended(*processor, *outcome, *took, self.now.mono);
        }
    }
}
