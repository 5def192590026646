//! I10: what happens when a processor moves. The processors' own books say who was charged where.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use p99::testing::sim::{Act, Fault, Moment, Simulator, SimulatorOptions, Window};
use socket2::{Domain, Socket, Type};

use crate::kit::client::{Client, id, wait_until};
use crate::kit::operator::{KEY, NOTE, secret_file};
use crate::kit::payers::{only_held, pay_all, with_status};
use crate::kit::scratch::Scratch;
use crate::kit::stack::{Stack, Told, metric, processors, tcp};
use crate::on_both_drivers_together;
use crate::places::{Names, Place};

const SETTINGS: [(&str, &str); 7] = [
    ("UPSTREAM_RESOLVE_SECS", "1"),
    ("REQUEST_TIMEOUT_MS", "300"),
    ("CONNECT_TIMEOUT_MS", "2000"),
    ("HEDGE_DELAY_MS", "60000"),
    ("CB_FAIL_RATE", "1"),
    ("CB_MIN_SAMPLES", "100000"),
    ("SHUTDOWN_GRACE_SECS", "0"),
];

on_both_drivers_together! {
    two_processors_that_swap_their_addresses_charge_nothing_twice,
    a_processor_that_moves_is_known_by_what_it_stores,
    a_processor_at_a_new_address_that_stores_nothing_is_not_believed,
    a_processor_that_moved_is_confirmed_by_hand,
    an_address_that_swallows_what_is_sent_is_passed_over,
    a_connect_that_was_left_behind_opens_the_breaker,
    a_name_that_is_not_found_is_counted_and_nothing_new_connects,
    a_server_of_names_that_is_slower_than_a_connect_may_be_keeps_no_processor_out,
}

struct Scene {
    stack: Stack,
    names: Names,
    places: [Place; 2],
}

impl Scene {
    fn begin(driver: &str, more: &[(&str, &str)]) -> Self {
        let [a, b] = processors();
        let places = [Place::new(a.address()), Place::new(b.address())];
        let names = Names::of(&[places[0].address()], &[places[1].address()]);
        let running = names.start_p99(driver, &[&SETTINGS[..], more].concat());
        let stack = Stack::of(running, [a, b]);
        Self {
            stack,
            names,
            places,
        }
    }

    /// Payments at both of which A stores some without an answer, and swallows others.
    fn leave_in_doubt(&self, first: usize) -> Vec<(p99::testing::payment::UpstreamId, Told)> {
        let lost = Fault::new(Moment::Answer, Act::Stall).every(3);
        let swallowed = Fault::new(Moment::Body, Act::Stall).every(4);
        for fault in [lost, swallowed] {
            self.stack.a.inject(fault).unwrap();
            self.stack.b.inject(fault).unwrap();
        }
        let told = pay_all(self.stack.address(), 16, first..first + 64);
        assert!(with_status(&told, 202) >= 8, "{told:?}");
        for sim in [&self.stack.a, &self.stack.b] {
            sim.clear_faults();
        }
        told
    }
}

fn two_processors_that_swap_their_addresses_charge_nothing_twice(driver: &str) {
    let mut scene = Scene::begin(driver, &[]);
    let mut told = pay_all(scene.stack.address(), 8, 0..64);
    told.extend(scene.leave_in_doubt(100));
    let [one, two] = &mut scene.places;
    one.close();
    two.close();
    scene.names.set(&[two.address()], &[one.address()]);
    one.open(scene.stack.b.address());
    two.open(scene.stack.a.address());
    told.extend(pay_all(scene.stack.address(), 16, 200..264));
    scene.stack.audit("after the swap", &told);
    let charged = scene.stack.charged(Window::default());
    assert!(charged.0.iter().take(2).all(|totals| totals.count > 0));
    scene.stack.stop();
}

fn a_processor_that_moves_is_known_by_what_it_stores(driver: &str) {
    let mut scene = Scene::begin(driver, &[("ROUTING", "cheapest")]);
    let mut told = pay_all(scene.stack.address(), 8, 0..16);
    told.extend(scene.leave_in_doubt(100));
    let fresh = Place::new(scene.stack.a.address());
    scene
        .names
        .set(&[fresh.address()], &[scene.places[1].address()]);
    scene.places[0].close();
    told.extend(pay_all(scene.stack.address(), 8, 200..232));
    scene.stack.audit("after the move", &told);
    assert!(scene.stack.charged(Window::default()).0[0].count > 0);
    scene.stack.stop();
}

/// The new address is another processor, which stores nothing of ours: a 404 proves nothing.
fn a_processor_at_a_new_address_that_stores_nothing_is_not_believed(driver: &str) {
    let mut scene = Scene::begin(driver, &[("ROUTING", "cheapest")]);
    let other = Simulator::start(SimulatorOptions::default()).unwrap();
    scene
        .stack
        .a
        .inject(Fault::new(Moment::Answer, Act::Stall))
        .unwrap();
    let told = only_held(pay_all(scene.stack.address(), 4, 0..4));
    let asked = 2.0 * float(told.len());
    let place = Place::new(other.address());
    scene.places[0].close();
    scene
        .names
        .set(&[place.address()], &[scene.places[1].address()]);
    let lookups = r#"p99_lookups_total{processor="default",answer="not_found"}"#;
    wait_until("the payments are asked about at the new address", || {
        scene.stack.metric(lookups) >= asked
    });
    for (id, _) in &told {
        assert_eq!(other.attempts(*id), 0, "{id} is not sent to a stranger");
    }
    let mut client = scene.stack.client();
    assert_eq!(Stack::state_of(&mut client, told[0].0), "pending");
    // What is new goes to the name's processor all the same.
    let mut fresh = Vec::new();
    wait_until("a new one is charged", || {
        let next = 100 + fresh.len();
        fresh.extend(pay_all(scene.stack.address(), 1, next..next + 1));
        with_status(&fresh, 200) > 0
    });
    assert!(!other.rows().is_empty());
    assert!(told.iter().all(|(id, _)| other.attempts(*id) == 0));
    // It is the old one after all, which comes back at its place.
    scene.stack.a.clear_faults();
    scene.places[0].open(scene.stack.a.address());
    scene
        .names
        .set(&[scene.places[0].address()], &[scene.places[1].address()]);
    scene.stack.settle(&told);
    scene.stack.settle(&fresh);
    assert!(told.iter().all(|(id, _)| scene.stack.charges()[id] == 1));
    drop(client);
    assert_eq!(scene.stack.running.stop(), p99::testing::cores::Exit::Clean);
    drop(place);
    other.stop();
}

fn a_processor_that_moved_is_confirmed_by_hand(driver: &str) {
    let scratch = Scratch::new("confirm").unwrap();
    let settings = [
        ("ROUTING", "cheapest"),
        ("ADMIN_LISTEN", "127.0.0.2:0"),
        ("ADMIN_SECRET_FILE", &secret_file(&scratch)),
    ];
    let mut scene = Scene::begin(driver, &settings);
    let swallow = Fault::new(Moment::Body, Act::Stall);
    scene.stack.a.inject(swallow).unwrap();
    let told = only_held(pay_all(scene.stack.address(), 4, 0..4));
    let count = float(told.len());
    // From here on none is sent again.
    scene.places[0].close();
    let attempts = || told.iter().map(|(id, _)| scene.stack.attempts(*id));
    let before: Vec<u32> = attempts().collect();
    scene.stack.a.clear_faults();
    let fresh = Place::new(scene.stack.a.address());
    scene
        .names
        .set(&[fresh.address()], &[scene.places[1].address()]);
    let mut admin = Client::connect(tcp(&scene.stack.running.admin_addresses()));
    let lookups = r#"p99_lookups_total{processor="default",answer="not_found"}"#;
    wait_until("the payments are asked about at the new address", || {
        metric(&admin.get("/metrics").body, lookups) >= count
    });
    let held = r#"p99_payments_held_back{processor="default"}"#;
    wait_until("all are held back", || {
        metric(&admin.get("/metrics").body, held) == count
    });
    assert!(attempts().eq(before), "none is sent to a stranger");
    let line = "POST /admin/processors/default/confirm";
    assert_eq!(scene.stack.client().call(line, KEY, NOTE).status, 404);
    let answer = admin.call(line, KEY, NOTE);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let confirmed = format!(
        r#"{{"message":"processor confirmed at {}"}}"#,
        fresh.address()
    );
    assert_eq!(answer.body, confirmed);
    scene.stack.audit("after the confirmation", &told);
    assert_eq!(scene.stack.a.rows().len(), told.len());
    assert_eq!(metric(&admin.get("/metrics").body, held), 0.0);
    drop(admin);
    scene.stack.stop();
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// A payment that A does not get finds a connection to B.
fn wait_for_b(stack: &Stack) {
    wait_until("B is connected", || {
        stack.metric(r#"p99_upstream_connections_open{processor="fallback"}"#) >= 1.0
    });
}

/// A listener that answers no connect: its queue is full for ever.
struct Hole {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl Hole {
    fn dig() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let patience = Duration::from_millis(200);
        let queued =
            std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok()).collect();
        Self {
            address,
            _listener: listener,
            _queued: queued,
        }
    }
}

fn an_address_that_swallows_what_is_sent_is_passed_over(driver: &str) {
    let hole = Hole::dig();
    let a = Simulator::start(SimulatorOptions::default()).unwrap();
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let names = Names::of(&[hole.address, a.address()], &[b.address()]);
    let settings = [
        ("ROUTING", "cheapest"),
        // Shorter than a connect into the hole, longer than an answer of a busy machine.
        ("HEDGE_DELAY_MS", "300"),
        ("CONNECT_TIMEOUT_MS", "600"),
        ("REQUEST_TIMEOUT_MS", "5000"),
        ("CORES", "1"),
        ("POOL_MAX_IDLE", "0"),
    ];
    let running = names.start_p99(driver, &settings);
    let stack = Stack::of(running, [a, b]);
    let connects = |result| {
        let labels = format!(r#"{{processor="default",result="{result}"}}"#);
        stack.metric(&format!("p99_upstream_connects_total{labels}"))
    };
    wait_until("the second address was reached", || {
        connects("connected") >= 1.0
    });
    wait_until("the first one was given up", || {
        connects("timed_out") >= 1.0
    });
    // It is tried last from now on.
    let told = pay_all(stack.address(), 1, 0..30);
    assert_eq!(with_status(&told, 200), 30);
    assert!(stack.a.rows().len() >= 25, "{} at A", stack.a.rows().len());
    stack.audit("past the hole", &told);
    stack.stop();
}

fn a_connect_that_was_left_behind_opens_the_breaker(driver: &str) {
    let hole = Hole::dig();
    let a = Simulator::start(SimulatorOptions::default()).unwrap();
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let names = Names::of(&[hole.address], &[b.address()]);
    let settings = [
        ("ROUTING", "cheapest"),
        ("HEDGE_DELAY_MS", "5"),
        ("CONNECT_TIMEOUT_MS", "250"),
        ("REQUEST_TIMEOUT_MS", "5000"),
        ("CB_MIN_SAMPLES", "5"),
        ("CORES", "1"),
    ];
    let running = names.start_p99(driver, &settings);
    let stack = Stack::of(running, [a, b]);
    wait_for_b(&stack);
    let told = pay_all(stack.address(), 1, 0..10);
    assert_eq!(with_status(&told, 200), 10);
    assert_eq!(stack.b.rows().len(), 10, "each left after HEDGE_DELAY_MS");
    wait_until("the breaker of A opens", || {
        stack
            .metric(r#"p99_breaker_transitions_total{processor="default",from="closed",to="open"}"#)
            >= 1.0
    });
    stack.stop();
}

fn a_name_that_is_not_found_is_counted_and_nothing_new_connects(driver: &str) {
    let settings = [
        ("ROUTING", "cheapest"),
        ("CORES", "1"),
        // Longer than a busy machine takes to lend a connection that is there.
        ("HEDGE_DELAY_MS", "500"),
        ("REQUEST_TIMEOUT_MS", "5000"),
    ];
    let scene = Scene::begin(driver, &settings);
    let address = scene.stack.address();
    assert_eq!(with_status(&pay_all(address, 1, 0..1), 200), 1);
    let failures = r#"p99_resolution_failures_total{processor="default"}"#;
    assert!(scene.stack.metric(failures) < 1.0);
    scene.names.set(&[], &[scene.places[1].address()]);
    wait_until("a resolution fails", || scene.stack.metric(failures) >= 4.0);
    // A failed resolution is no absence: what is connected goes on.
    assert_eq!(with_status(&pay_all(address, 1, 1..2), 200), 1);
    assert!(scene.stack.a.find(id(1)).is_some());
    // Where a connection ended, another processor may be by now.
    let open = r#"p99_upstream_connections_open{processor="default"}"#;
    scene.stack.a.reset_connections();
    wait_until("no connection is left", || scene.stack.metric(open) < 1.0);
    wait_for_b(&scene.stack);
    let told = pay_all(address, 1, 2..4);
    assert_eq!(with_status(&told, 200), 2);
    assert!(scene.stack.b.find(id(3)).is_some());
    let asked = scene.names.asked();
    scene
        .names
        .set(&[scene.places[0].address()], &[scene.places[1].address()]);
    wait_until("A is found again", || {
        let next = 100 + scene.names.asked() - asked;
        pay_all(address, 1, next..next + 1);
        scene.stack.a.rows().len() > 2
    });
    scene.stack.stop();
}

/// A connection that is there waits for a resolution that began after it, longer than it may take
/// itself: later payments go on it.
fn a_server_of_names_that_is_slower_than_a_connect_may_be_keeps_no_processor_out(driver: &str) {
    let [a, b] = processors();
    let mut names = Names::of(&[a.address()], &[b.address()]);
    names.delay = Duration::from_millis(400);
    let running = names.start_p99(driver, &[("CONNECT_TIMEOUT_MS", "100"), ("CORES", "1")]);
    let stack = Stack::of(running, [a, b]);
    let mut next = 0;
    wait_until("both processors are paid", || {
        next += 1;
        pay_all(stack.address(), 1, next..next + 1);
        !stack.a.rows().is_empty() && !stack.b.rows().is_empty()
    });
    stack.stop();
}
