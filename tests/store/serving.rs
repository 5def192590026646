//! Equal instances on one store: whatever instance a client asks, an id is charged once, and every
//! instance says the same of it. Real processes, so that one can die, stand still or be cut off.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use p99::testing::payment::UpstreamId;
use p99::testing::sim::{Act, Fault, Moment, Simulator, SimulatorHandle, SimulatorOptions};
use p99::testing::wire;

use super::filled;
use super::kit::client::{Client, id, wait_until};
use super::kit::postgres::{Cluster, is_there};
use super::kit::process::{P99, Plan};
use super::kit::scratch::Scratch;

pub(super) struct Scene {
    pub(super) plans: [Plan; 2],
    pub(super) sims: [SimulatorHandle; 2],
    pub(super) cluster: Cluster,
    pub(super) scratch: Scratch,
}

impl Scene {
    pub(super) fn new(name: &str, settings: &[(&'static str, &str)]) -> Self {
        let scratch = Scratch::new(name).unwrap();
        let cluster = filled(&scratch, &["fsync=off"]);
        let sims = [(); 2].map(|()| Simulator::start(SimulatorOptions::default()).unwrap());
        let plan = |number: usize| {
            let mut plan = Plan::new(env!("CARGO_BIN_EXE_p99").into(), &scratch);
            plan.log = scratch.file(&format!("p99-{number}.log"));
            plan.set("STORE", cluster.store("sslmode=disable"));
            plan.set("CORES", 2);
            plan.set("ALLOW_PURGE", "true");
            plan.set("RUST_LOG", "info");
            // A commit may take long on a busy machine, and what is in doubt is told to nobody.
            plan.set("REQUEST_TIMEOUT_MS", 10_000);
            plan.set("CONNECT_TIMEOUT_MS", 20_000);
            plan.set("HEDGE_DELAY_MS", 60_000);
            plan.set("UPSTREAM_A_URL", sims[0].url());
            plan.set("UPSTREAM_B_URL", sims[1].url());
            plan.set_driver(super::kit::process::driver_of_the_run());
            for (name, value) in settings {
                plan.set(name, value);
            }
            plan
        };
        Self {
            plans: [plan(1), plan(2)],
            sims,
            cluster,
            scratch,
        }
    }

    pub(super) fn start(&self, number: usize) -> P99 {
        let mut p99 = P99::spawn(&self.plans[number]).unwrap();
        p99.await_ready().unwrap_or_else(|why| panic!("{why}"));
        p99
    }

    pub(super) fn charges(&self, id: UpstreamId) -> usize {
        let rows = self.sims.iter().filter(|sim| sim.find(id).is_some());
        rows.count()
    }

    pub(super) fn sum(&self, p99: &P99) -> (u64, u64) {
        let mut client = Client::connect(p99.address);
        let mut answer = client.get("/payments-summary");
        wait_until("the store answers in time", || {
            let is_busy = answer.status == 503;
            if is_busy {
                answer = client.get("/payments-summary");
            }
            !is_busy
        });
        assert_eq!(answer.status, 200, "{}", answer.body);
        let sums = wire::read_summary(answer.body.as_bytes()).unwrap();
        let both = self.sims.iter().zip(p99::testing::payment::Processor::ALL);
        for (sim, processor) in both {
            let totals = sim.totals(p99::testing::sim::Window::default());
            assert_eq!(*sums.get(processor), totals, "{processor:?}");
        }
        let all = self
            .sims
            .iter()
            .map(|sim| sim.totals(p99::testing::sim::Window::default()));
        all.fold((0, 0), |(count, cents), one| {
            (count + one.count, cents + u64::try_from(one.cents).unwrap())
        })
    }
}

pub(super) fn state(p99: &P99, id: UpstreamId) -> (u16, String) {
    let answer = Client::connect(p99.address).get(&format!("/payments/{id}"));
    let status = answer.body.split_once(r#""status":""#);
    let word = status.and_then(|(_, rest)| rest.split_once('"'));
    (
        answer.status,
        word.map(|(word, _)| word.to_owned()).unwrap_or_default(),
    )
}

fn metric(p99: &P99, name: &str) -> f64 {
    let page = p99.get("/metrics").unwrap().body;
    let lines = page.lines().filter_map(|line| line.rsplit_once(' '));
    let mut values = lines.filter(|(series, _)| *series == name);
    let (_, value) = values.next().unwrap_or_else(|| panic!("no {name}"));
    value.parse().unwrap()
}

#[test]
fn whatever_instance_is_asked_says_the_same() {
    if !is_there("whatever_instance_is_asked_says_the_same") {
        return;
    }
    let scene = Scene::new("serving", &[]);
    let instances = [scene.start(0), scene.start(1)];
    let mut clients = instances.each_ref().map(|p99| Client::connect(p99.address));
    for number in 0..40 {
        let first = clients[number % 2].pay(id(number), "19.90");
        assert_eq!(first.status, 200, "{}", first.body);
        let again = clients[(number + 1) % 2].pay(id(number), "19.90");
        assert_eq!(again.status, 409, "{}", again.body);
        assert_eq!(scene.charges(id(number)), 1);
        // A question waits for what was told before it, for a while.
        for p99 in &instances {
            wait_until("both know of it", || {
                state(p99, id(number)).1 == "processed"
            });
        }
        let again = clients[(number + 1) % 2].pay(id(number), "19.90");
        assert!(again.body.contains("processed"), "{}", again.body);
    }
    let other = clients[1].pay(id(0), "20.00");
    assert_eq!(other.status, 422, "another amount: {}", other.body);
    assert_eq!(state(&instances[1], id(999)).0, 404);
    for p99 in &instances {
        assert_eq!(scene.sum(p99), (40, 40 * 1990));
    }
    for series in [
        "p99_store_ids_total",
        "p99_store_commit_duration_seconds_count",
        "p99_store_silence_seconds",
        r#"p99_journal_info{sync="store"}"#,
    ] {
        assert!(metric(&instances[0], series) > 0.0, "{series}");
    }
    assert_eq!(
        clients[0].call("POST /purge-payments", "", "{}").status,
        200
    );
    scene.sims.iter().for_each(SimulatorHandle::purge);
    for p99 in &instances {
        assert_eq!(scene.sum(p99), (0, 0));
        wait_until("a purge at another instance is seen", || {
            state(p99, id(0)).0 == 404
        });
    }
    assert_eq!(clients[1].pay(id(0), "1.00").status, 200);
    drop(clients);
    for p99 in instances {
        assert_eq!(p99.stop(), Some(0));
    }
    // Writer 0 is the turn to sweep.
    let leases = "SELECT count(*) FROM p99.writer WHERE lease_until > now() AND writer > 0";
    assert_eq!(
        scene.cluster.sql("p99", leases).trim(),
        "0",
        "leases end with a stop"
    );
    let open = "SELECT count(*) FROM p99.payment WHERE status < 2";
    assert_eq!(scene.cluster.sql("p99", open).trim(), "0");
}

#[test]
fn what_a_dead_instance_left_open_is_settled_by_another() {
    if !is_there("what_a_dead_instance_left_open_is_settled_by_another") {
        return;
    }
    let scene = Scene::new("adopted", &[("REQUEST_TIMEOUT_MS", "3000")]);
    let [first, second] = [scene.start(0), scene.start(1)];
    // The answer of the first attempt never comes: the Intent stays open.
    let silent = Fault::new(Moment::Answer, Act::Stall);
    for sim in &scene.sims {
        sim.inject(silent).unwrap();
    }
    let told = Client::connect(first.address).pay(id(1), "5.00");
    assert_eq!(told.status, 202, "{}", told.body);
    assert!(metric(&first, "p99_store_open_payments") > 0.0);
    first.kill().unwrap();
    scene.sims.iter().for_each(SimulatorHandle::clear_faults);
    wait_until("another instance settles it", || {
        state(&second, id(1)).1 == "processed"
    });
    assert_eq!(scene.charges(id(1)), 1);
    assert!(metric(&second, "p99_store_adopted_writers_total") > 0.0);
    wait_until("its sum is exact again", || {
        Client::connect(second.address)
            .get("/payments-summary")
            .status
            == 200
    });
    assert_eq!(scene.sum(&second), (1, 500));
    // The adopted writer is given back.
    let third = scene.start(0);
    assert_eq!(state(&third, id(1)), (200, "processed".to_owned()));
    let again = Client::connect(third.address).pay(id(1), "5.00");
    assert_eq!(again.status, 409, "{}", again.body);
    for p99 in [second, third] {
        assert_eq!(p99.stop(), Some(0));
    }
}

#[test]
fn an_instance_that_stood_still_for_longer_than_its_lease_ends_and_charges_nothing_twice() {
    if !is_there("an_instance_that_stood_still") {
        return;
    }
    let mut scene = Scene::new("fenced", &[("REQUEST_TIMEOUT_MS", "3000")]);
    let admin = scene.scratch.file("admin");
    scene.plans[1].set("ADMIN_LISTEN", format!("unix:{}", admin.display()));
    let scene = scene;
    let resolve = |id: UpstreamId| {
        let line = format!("POST /admin/payments/{id}/resolve");
        let body = r#"{"operator":"ann","reason":"by plan","verdict":"refused"}"#;
        let mut client = Client::connect_unix(&admin);
        let answer = client.call(&line, "Content-Type: application/json\r\n", body);
        (answer.status, answer.body)
    };
    let [mut first, second] = [scene.start(0), scene.start(1)];
    let silent = Fault::new(Moment::Body, Act::Stall);
    for sim in &scene.sims {
        sim.inject(silent).unwrap();
    }
    let told = Client::connect(first.address).pay(id(1), "5.00");
    assert_eq!(told.status, 202, "{}", told.body);
    // Only the instance that has it settles it by hand; the others say which one that is.
    let (status, told) = resolve(id(1));
    assert_eq!(status, 421, "{told}");
    let holder = format!("pid {} core", first.pid());
    assert!(told.contains(&holder), "{told}");
    assert!(told.contains(&first.address.to_string()), "{told}");
    assert_eq!(resolve(id(9)).0, 404);
    first.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_millis(7_500));
    scene.sims.iter().for_each(SimulatorHandle::clear_faults);
    wait_until("another instance settles it", || {
        state(&second, id(1)).1 == "processed"
    });
    assert_eq!(resolve(id(1)).0, 409, "it is settled");
    wait_until("the live page says so", || {
        let page = Client::connect_unix(&admin).get("/status.json").body;
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        let of_the_store = |name: &str| page["store"][name].as_u64().unwrap();
        of_the_store("adopted") > 0
            && of_the_store("open_payments") == 0
            && of_the_store("silence_ms") < 5_000
            && page["journal"].is_null()
    });
    first.signal(libc::SIGCONT);
    let end = first
        .await_end(Duration::from_secs(20))
        .expect("it ends by itself");
    assert_eq!(end.code(), Some(75), "{}", first.last_words());
    assert_eq!(scene.charges(id(1)), 1);
    assert_eq!(scene.sum(&second), (1, 500));
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn while_the_store_is_away_nothing_is_taken_in_and_then_all_goes_on() {
    if !is_there("while_the_store_is_away") {
        return;
    }
    let mut scene = Scene::new("away", &[("REQUEST_TIMEOUT_MS", "30000")]);
    let p99 = scene.start(0);
    assert_eq!(Client::connect(p99.address).pay(id(1), "5.00").status, 200);
    scene.cluster.stop(libc::SIGQUIT);
    // Whether it finds out or comes too late: what is in doubt is told when the store is back.
    let address = p99.address;
    let doubtful = thread::spawn(move || Client::connect(address).pay(id(4), "1.00").status);
    wait_until("it is not ready", || {
        p99.get("/readyz").is_ok_and(|it| it.status == 503)
    });
    let told = Client::connect(p99.address).pay(id(2), "5.00");
    assert_eq!(told.status, 503, "{}", told.body);
    assert!(
        told.body.contains(r#""charged":"unknown""#),
        "{}",
        told.body
    );
    assert_eq!(state(&p99, id(3)).0, 503, "an absent store denies nothing");
    let sum = Client::connect(p99.address).get("/payments-summary");
    assert_eq!(sum.status, 503, "{}", sum.body);
    assert_eq!(scene.charges(id(2)), 0);
    scene.cluster.start();
    wait_until("it is ready again", || {
        p99.get("/readyz").is_ok_and(|it| it.status == 200)
    });
    assert_eq!(Client::connect(p99.address).pay(id(2), "5.00").status, 200);
    match doubtful.join().unwrap() {
        200 => {}
        503 => assert_eq!(Client::connect(p99.address).pay(id(4), "1.00").status, 200),
        status => panic!("{status}"),
    }
    assert_eq!(scene.sum(&p99), (3, 1100));
    assert_eq!(p99.stop(), Some(0));
}

#[test]
fn a_start_says_what_is_wrong_with_the_store() {
    if !is_there("a_start_says_what_is_wrong_with_the_store") {
        return;
    }
    let scene = Scene::new("refused", &[("REQUEST_TIMEOUT_MS", "30000")]);
    scene.cluster.sql("p99", "UPDATE p99.meta SET version = 99");
    let (code, _, told) = scene.plans[0].run(&[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("version 99"), "{told}");
    scene
        .cluster
        .sql("p99", "UPDATE p99.meta SET version = 1, importing = true");
    // One that may come is waited for.
    let mut p99 = P99::spawn(&scene.plans[0]).unwrap();
    p99.wait_for_line("takes no payments yet");
    p99.wait_ready();
    assert_eq!(p99.get("/readyz").unwrap().status, 503);
    assert_eq!(Client::connect(p99.address).pay(id(1), "5.00").status, 503);
    scene
        .cluster
        .sql("p99", "UPDATE p99.meta SET importing = false");
    p99.await_ready().unwrap();
    assert_eq!(Client::connect(p99.address).pay(id(1), "5.00").status, 200);
    assert_eq!(p99.stop(), Some(0));
    // Nobody is there: it starts, and is not ready.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let mut plan = scene.plans[1].clone();
    let url = format!("postgres://p99:x@127.0.0.1:{port}/p99?sslmode=disable");
    plan.set("STORE", url);
    let mut p99 = P99::spawn(&plan).unwrap();
    p99.wait_ready();
    assert_eq!(p99.get("/readyz").unwrap().status, 503);
    assert_eq!(Client::connect(p99.address).pay(id(2), "5.00").status, 503);
    assert_eq!(p99.stop(), Some(0));
}
