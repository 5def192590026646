//! The instances, their ways to the database servers, and what is done to all of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use p99::testing::limits;

use super::{Options, Step};
use crate::kit::balancer::Balancer;
use crate::kit::faketime::Clock;
use crate::kit::postgres::{Cluster, PASSWORD};
use crate::kit::process::{P99, Plan};
use crate::kit::report::{Report, say};
use crate::kit::scratch::Scratch;
use crate::kit::wire::Wire;
use crate::kit::world::World;

/// How long a lease lasts, and how long an adoption may take behind it.
const LEASE: Duration = Duration::from_secs(6);
const ADOPTED_MAX: Duration = Duration::from_secs(6 + 3);
/// From a promotion to the first new payment.
const FAILED_OVER_MAX: Duration = Duration::from_secs(1);
/// An instance that was fenced.
const FENCED: i32 = 75;
/// Instances at most, and database servers in all.
const INSTANCES: usize = 3;
const SERVERS: usize = 4;

const NOT_FENCED: &str = "an instance that stood still ends by itself with its own status";
const LATE: &str = "adopted within the lease and 3 s";
const SLOW: &str = "new payments within 1 s of a promotion";
const DIED: &str = "no instance ends for another reason than being fenced";
const SUMS: &str = "the rollup is the rows";

pub(super) struct Scene<'a> {
    scratch: &'a Scratch,
    pub(super) world: World,
    plans: Vec<Plan>,
    instances: Vec<Option<P99>>,
    /// The way of each instance to each server.
    wires: Vec<Vec<Wire>>,
    servers: Vec<Cluster>,
    /// Which of them is the primary.
    primary: usize,
    pub(super) balancer: Balancer,
    clock: Option<Clock>,
    adopted: Duration,
    failed_over: Duration,
    fenced: u32,
    kills: u32,
    /// Whether bounds in time are promises: not in a quick run.
    is_timed: bool,
}

impl<'a> Scene<'a> {
    pub(super) fn new(options: &Options, binary: PathBuf, scratch: &'a Scratch) -> Option<Self> {
        let world = World::start(options.seed, None).expect("two processors");
        let clock = Clock::find(scratch);
        let mut first = Cluster::new(scratch, "server-0", &[]);
        if let Some(clock) = &clock {
            first.stop(libc::SIGINT);
            first.set_environment(&clock.environment());
            first.start();
        }
        first.make_schema();
        let wires: Vec<Vec<Wire>> = (0..INSTANCES)
            .map(|_| (0..SERVERS).map(|_| Wire::open()).collect())
            .collect();
        let plans: Vec<Plan> = (0..INSTANCES)
            .map(|number| {
                let mut plan = world.plan(binary.clone(), scratch);
                plan.log = scratch.file(&format!("p99-{number}.log"));
                let hosts: Vec<String> = wires[number]
                    .iter()
                    .map(|wire| format!("127.0.0.1:{}", wire.port()))
                    .collect();
                let hosts = hosts.join(",");
                let store = format!("postgres://p99:{PASSWORD}@{hosts}/p99?sslmode=disable");
                plan.set("STORE", store);
                plan.set_driver(&options.driver);
                plan.set("ACK", &options.ack);
                plan.set("ANSWER_AFTER", &options.answer_after);
                for (name, value) in [
                    ("CORES", "2"),
                    ("REQUEST_TIMEOUT_MS", "300"),
                    ("ATTEMPT_TIMEOUT_MS", "200"),
                    ("SETTLE_TIMEOUT_MS", "1000"),
                    ("CB_OPEN_SECS", "1"),
                    ("CB_WINDOW_SECS", "2"),
                    ("SHUTDOWN_GRACE_SECS", "2"),
                    ("RUST_LOG", &options.log),
                ] {
                    plan.set(name, value);
                }
                plan
            })
            .collect();
        let addresses: Vec<SocketAddr> = plans.iter().map(|plan| plan.address).collect();
        let balancer = Balancer::start(scratch, &addresses)?;
        let mut scene = Self {
            scratch,
            world,
            plans,
            instances: (0..INSTANCES).map(|_| None).collect(),
            wires,
            servers: vec![first],
            primary: 0,
            balancer,
            clock,
            adopted: Duration::ZERO,
            failed_over: Duration::ZERO,
            fenced: 0,
            kills: 0,
            is_timed: !options.quick,
        };
        scene.add_standby();
        Some(scene)
    }

    fn sql(&self, text: &str) -> String {
        self.servers[self.primary].sql("p99", text)
    }

    /// A synchronous standby of the primary.
    fn add_standby(&mut self) {
        let number = self.servers.len();
        let name = format!("server_{number}");
        let standby = Cluster::standby(self.scratch, &name, &self.servers[self.primary], &[]);
        let wait_for = format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'");
        self.sql(&wait_for);
        self.sql("SELECT pg_reload_conf()");
        self.servers.push(standby);
        for (number, server) in self.servers.iter().enumerate() {
            for wires in &self.wires {
                wires[number].lead_to(server.port());
            }
        }
    }

    pub(super) fn start(&mut self, number: usize, report: &mut Report) {
        self.instances[number] = P99::start(&self.plans[number], report);
    }

    /// Starts again what was fenced, as a supervisor does.
    pub(super) fn tend(&mut self, report: &mut Report) {
        for number in 0..INSTANCES {
            let Some(p99) = &mut self.instances[number] else {
                continue;
            };
            let Some(code) = p99.end_code() else { continue };
            if code == FENCED {
                self.fenced += 1;
            } else {
                let words = p99.last_words();
                report.broke(DIED, || format!("{number}: status {code}: {words}"));
            }
            self.instances[number] = P99::spawn(&self.plans[number]).ok();
        }
    }

    fn any(&self) -> usize {
        let turn = usize::try_from(self.kills + self.fenced).unwrap();
        let is_up = |number: &usize| self.instances[*number].is_some();
        let running: Vec<usize> = (0..INSTANCES).filter(is_up).collect();
        running[turn % running.len()]
    }

    pub(super) fn play(&mut self, step: Step, report: &mut Report) {
        match step {
            Step::ScaleOut => (1..INSTANCES).for_each(|number| self.start(number, report)),
            Step::Kill => self.kill(report),
            Step::Pause => self.pause(report),
            Step::Exhaust => self.exhaust(report),
            Step::ClockForward => self.turn_clock(3_600, report),
            Step::ClockBack => self.turn_clock(-3_600, report),
            Step::CutInstance => self.cut_instance(report),
            Step::KillPrimary => self.fail_over(report, false),
            Step::CutOldPrimary => self.cut_old_primary(report),
            Step::SwitchOver => self.fail_over(report, true),
            Step::ScaleIn => {
                for number in 1..INSTANCES {
                    if let Some(p99) = self.instances[number].take() {
                        p99.end(report);
                    }
                }
                self.await_adoption(report);
            }
        }
    }

    fn kill(&mut self, report: &mut Report) {
        let number = self.any();
        let Some(p99) = self.instances[number].take() else {
            return;
        };
        let pid = p99.pid();
        if let Err(why) = p99.kill() {
            report.broke(DIED, || why);
        }
        self.kills += 1;
        self.await_adoption_of(pid, report);
        self.start(number, report);
    }

    /// Stands still for longer than its lease, with open Intents, while one processor refuses.
    fn pause(&mut self, report: &mut Report) {
        let number = self.any();
        let Some(mut p99) = self.instances[number].take() else {
            return;
        };
        self.world.sides[0].processor.set_failing(true);
        thread::sleep(Duration::from_millis(300));
        p99.signal(libc::SIGSTOP);
        self.await_adoption_of(p99.pid(), report);
        thread::sleep(Duration::from_millis(500));
        p99.signal(libc::SIGCONT);
        thread::sleep(Duration::from_millis(500));
        self.world.sides[0].processor.set_failing(false);
        let end = p99.await_end(Duration::from_secs(20));
        if end.and_then(|end| end.code()) == Some(FENCED) {
            self.fenced += 1;
        } else {
            report.broke(NOT_FENCED, || format!("{number}: {end:?}"));
        }
        self.start(number, report);
    }

    /// No connection may be made for a while, and those that are open end.
    fn exhaust(&mut self, report: &mut Report) {
        self.sql("ALTER ROLE p99 CONNECTION LIMIT 1");
        for _ in 0..20 {
            self.sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE usename = 'p99'",
            );
            thread::sleep(Duration::from_millis(150));
        }
        self.sql("ALTER ROLE p99 CONNECTION LIMIT -1");
        self.rest(Duration::from_secs(2), report);
    }

    /// The database's clock jumps, and back when all is well again.
    fn turn_clock(&mut self, seconds: i64, report: &mut Report) {
        let Some(clock) = &self.clock else {
            return say("skipped: libfaketime is not installed");
        };
        clock.turn(seconds);
        self.rest(Duration::from_secs(12), report);
        // A lease of the other time would last for an hour.
        self.await_adoption(report);
        if let Some(clock) = &self.clock {
            clock.turn(0);
        }
        self.rest(LEASE, report);
    }

    /// One instance reaches no server for longer than its lease, and then does.
    fn cut_instance(&mut self, report: &mut Report) {
        let number = self.any();
        self.wires[number].iter().for_each(Wire::cut);
        self.rest(LEASE + Duration::from_secs(3), report);
        self.wires[number].iter().for_each(Wire::mend);
        self.rest(LEASE, report);
    }

    /// The primary ends, in order or as its power does, and its standby takes over.
    fn fail_over(&mut self, report: &mut Report, is_in_order: bool) {
        let signal = if is_in_order {
            libc::SIGINT
        } else {
            libc::SIGKILL
        };
        self.servers[self.primary].stop(signal);
        self.promote(FAILED_OVER_MAX, report);
    }

    fn promote(&mut self, most: Duration, report: &mut Report) {
        self.primary = self.servers.len() - 1;
        self.servers[self.primary].promote();
        let (promoted, since) = (Instant::now(), jiff::Timestamp::now().as_millisecond());
        let new = format!("SELECT count(*) FROM p99.payment WHERE at > {since}");
        while self.sql(&new).trim() == "0" && promoted.elapsed() < Duration::from_secs(30) {
            thread::sleep(Duration::from_millis(20));
        }
        let took = promoted.elapsed();
        self.failed_over = self.failed_over.max(took);
        say(&format!(
            "         new payments {took:?} after the promotion"
        ));
        if took > most && self.is_timed {
            report.broke(SLOW, || format!("{took:?}"));
        }
        self.rest(Duration::from_secs(2), report);
        if self.servers.len() < SERVERS {
            self.add_standby();
        }
    }

    /// The network parts: the primary is left with one instance, the standby takes over for the
    /// others. What that one instance says of sums must not be believed, so it must say nothing.
    fn cut_old_primary(&mut self, report: &mut Report) {
        if self.servers.len() < 2 || self.primary + 1 == self.servers.len() {
            return;
        }
        let (old, alone) = (self.primary, self.any());
        for (number, wires) in self.wires.iter().enumerate() {
            for (server, wire) in wires.iter().enumerate() {
                // The one sees the old primary alone, the others all but that.
                if (number == alone) != (server == old) {
                    wire.cut();
                }
            }
        }
        // The standby hears of it no more, so nothing is acknowledged there any more.
        // A host that says nothing costs each writer a login that takes too long.
        self.promote(FAILED_OVER_MAX + limits::STORE_LOGIN_TIMEOUT, report);
        let ask = |p99: &P99| p99.get("/payments-summary").ok();
        let sum = self.instances[alone].as_ref().and_then(ask);
        if let Some(answer) = sum.filter(|answer| answer.status == 200) {
            report.broke("one that is cut off gives no sum", || answer.body);
        }
        self.rest(LEASE, report);
        self.servers[old].stop(libc::SIGKILL);
        for wire in self.wires.iter().flatten() {
            wire.mend();
        }
        self.rest(LEASE, report);
    }

    pub(super) fn tend_until(&mut self, is_so: impl Fn() -> bool, report: &mut Report) {
        while !is_so() {
            self.tend(report);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn rest(&mut self, span: Duration, report: &mut Report) {
        let end = Instant::now() + span;
        self.tend_until(|| Instant::now() >= end, report);
    }

    /// Waits until another instance has all that the process `pid` left open.
    fn await_adoption_of(&mut self, pid: i32, report: &mut Report) {
        let left = format!(
            "SELECT count(*) FROM p99.writer w WHERE holder LIKE '% pid {pid} %' AND EXISTS \
             (SELECT 1 FROM p99.payment p WHERE p.writer = w.writer AND p.status < 2)"
        );
        let took = self.await_none(&left, report);
        self.adopted = self.adopted.max(took);
        if took > ADOPTED_MAX && self.is_timed {
            report.broke(LATE, || format!("{took:?}"));
        }
    }

    /// Waits until nothing is open at a writer whose lease is over.
    pub(super) fn await_adoption(&mut self, report: &mut Report) {
        let left = "SELECT count(*) FROM p99.writer w WHERE lease_until < now() AND EXISTS \
                    (SELECT 1 FROM p99.payment p WHERE p.writer = w.writer AND p.status < 2)";
        self.await_none(left, report);
    }

    /// How long it took until nothing was `left`, a minute at most.
    fn await_none(&mut self, left: &str, report: &mut Report) -> Duration {
        let began = Instant::now();
        while self.sql(left).trim() != "0" && began.elapsed() < Duration::from_secs(60) {
            self.rest(Duration::from_millis(50), report);
        }
        began.elapsed()
    }

    pub(super) fn end(mut self, report: &mut Report) {
        let sums = self.sql(
            "SELECT (SELECT coalesce(sum(n), 0) || ' ' || coalesce(sum(cents), 0) \
             FROM p99.rollup WHERE sec >= 0) || ', ' || \
             (SELECT count(*) || ' ' || coalesce(sum(cents), 0) FROM p99.payment \
             WHERE status IN (2, 3, 6))",
        );
        let (rollup, rows) = sums.trim().split_once(", ").unwrap();
        if rollup != rows {
            report.broke(SUMS, || format!("{rollup} and {rows}"));
        }
        report.row(
            "instances killed, fenced",
            format!("{}, {}", self.kills, self.fenced),
        );
        report.row(
            "slowest adoption",
            format!("{:.1} s", self.adopted.as_secs_f64()),
        );
        report.row(
            "slowest failover, from the promotion",
            format!("{:.2} s", self.failed_over.as_secs_f64()),
        );
        for p99 in self.instances.iter_mut().filter_map(Option::take) {
            p99.end(report);
        }
    }
}
