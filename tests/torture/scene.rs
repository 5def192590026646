//! One scene: p99 starts without a journal, takes payments and is killed; starts again on what is
//! there, takes payments and is told to stop; and starts a third time, without a fault, to settle
//! everything. In one of the first two processes one kernel call fails. Then the books are joined.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use p99::testing::sim::{Act, Fault, Moment, Simulator, SimulatorHandle, SimulatorOptions, Window};

use crate::cases::{Case, Row, Stage};
use crate::judge::{End, judge};
use crate::kit::audit::Evidence;
use crate::kit::process::{P99, Plan};
use crate::kit::report::Report;
use crate::kit::scratch::Scratch;
use crate::kit::states;
use crate::kit::told::Numbers;
use crate::traffic::Traffic;

/// SHUTDOWN_GRACE_SECS is 2 here; the rest is for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(40);
/// A start reads a journal of kilobytes.
const START_MAX: Duration = Duration::from_secs(20);
const SETTLE_MAX: Duration = Duration::from_secs(45);
/// Payments of each client of the first process and of the second one.
const EACH: [u32; 2] = [8, 45];

/// What one scene came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) has_struck: bool,
    /// The process in which the call failed ended by itself, or not with status 0.
    pub(crate) has_ended: bool,
    /// How it ended.
    pub(crate) end: String,
    /// What was counted in both processes, in a scene without a fault.
    pub(crate) tables: Option<[Vec<Row>; 2]>,
}

struct Scene<'a> {
    /// Where its p99 listens: all scenes know the same ids, and a port that was free a moment ago
    /// may be another scene's by now.
    host: Ipv4Addr,
    stage: Stage,
    case: Option<&'a Case>,
    scratch: Scratch,
    processors: [SimulatorHandle; 2],
}

pub(crate) fn play(stage: Stage, case: Option<&Case>, report: &mut Report) -> Outcome {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let [.., high, low] = number.to_be_bytes();
    let scene = Scene {
        host: Ipv4Addr::new(127, 66, high, low),
        stage,
        case,
        scratch: Scratch::new(&format!("torture-{number}")).expect("a folder"),
        processors: [0, 1].map(|_| Simulator::start(SimulatorOptions::default()).expect("starts")),
    };
    let mut own = Report::default();
    let outcome = scene.play(&mut own);
    if !own.is_kept() {
        let folder = scene.scratch.keep();
        let folder = folder.display();
        own.broke("this scene, to look at", || format!("{case:?}: {folder}"));
    }
    report.take_over(own);
    outcome
}

impl Scene<'_> {
    fn play(&self, report: &mut Report) -> Outcome {
        let numbers = Numbers { seed: 11 };
        let began = jiff::Timestamp::now().as_millisecond();
        let mut told = Vec::new();
        let mut outcome = Outcome {
            has_struck: false,
            has_ended: false,
            end: String::new(),
            tables: None,
        };
        let mut first = 0;
        for (process, each) in EACH.into_iter().enumerate() {
            self.vex();
            let plan = self.plan(process);
            let traffic = Traffic {
                address: plan.address,
                numbers,
                first,
                each,
                began,
            };
            first = traffic.end();
            let end = self.run(process, &plan, || told.extend(traffic.run(report)));
            if let Some(case) = self.case.filter(|case| case.process == process) {
                outcome.has_struck = end.log.contains("torture: ");
                outcome.has_ended =
                    end.is_early || end.status.is_none_or(|status| !status.success());
                let word = end.log.lines().rev().find(|line| !line.is_empty());
                let code = end.status.and_then(|status| status.code());
                outcome.end = format!("status {code:?}, {}", word.unwrap_or_default());
                judge(case, &self.journal(), &end, report);
            } else if process == 1 && !end.status.is_some_and(|status| status.success()) {
                report.broke("a stop is clean", || end.log.clone());
            }
        }
        self.close(
            Evidence {
                address: SocketAddr::from(([127, 0, 0, 1], 0)),
                numbers,
                count: first,
                began,
                told,
                books: Default::default(),
            },
            report,
        );
        if self.case.is_none() {
            outcome.tables = Some([0, 1].map(|process| self.table(process)));
        }
        outcome
    }

    /// Both processors lie a little.
    fn vex(&self) {
        let [a, b] = &self.processors;
        for processor in [a, b] {
            processor.clear_faults();
        }
        let faults = [
            (a, Moment::Answer, Act::CutHead, 23),
            (a, Moment::Body, Act::Status(500), 17),
            (a, Moment::Answer, Act::Status(500), 37),
            (a, Moment::Body, Act::Reset, 29),
            (a, Moment::Answer, Act::Pause(400), 53),
            (b, Moment::Answer, Act::Reset, 31),
        ];
        for (processor, moment, act, every) in faults {
            processor
                .inject(Fault::new(moment, act).every(every))
                .expect("it fits");
        }
    }

    fn plan(&self, process: usize) -> Plan {
        let mut plan = Plan::new(binary(), &self.scratch);
        plan.log = self.log(process);
        plan.address.set_ip(self.host.into());
        let [a, b] = self.processors.each_ref().map(SimulatorHandle::address);
        // One of them has a name.
        plan.set("UPSTREAM_A_URL", format!("http://localhost:{}", a.port()));
        plan.set("UPSTREAM_B_URL", format!("http://{b}"));
        plan.set("JOURNAL_DIR", self.journal().display());
        plan.set("JOURNAL_SYNC", self.stage.sync());
        plan.set("MONOIO_FORCE_LEGACY_DRIVER", self.stage.legacy());
        for (name, value) in [
            ("CORES", "2"),
            ("ROUTING", "round_robin"),
            ("REQUEST_TIMEOUT_MS", "600"),
            ("ATTEMPT_TIMEOUT_MS", "300"),
            ("SETTLE_TIMEOUT_MS", "1000"),
            ("SHUTDOWN_GRACE_SECS", "2"),
            ("CB_OPEN_SECS", "1"),
            ("RUST_LOG", "info,p99::access=off"),
        ] {
            plan.set(name, value);
        }
        let case = self.case.filter(|case| case.process == process);
        if case.is_some() || (self.case.is_none() && process < 2) {
            plan.set("LD_PRELOAD", injector().display());
            plan.set("TORTURE_DIR", self.journal().display());
        }
        match case {
            Some(case) => plan.set("TORTURE_FAIL", case.text()),
            None if self.case.is_none() => {
                plan.set("TORTURE_COUNT", self.counts(process).display());
            }
            None => {}
        }
        plan
    }

    /// Starts p99, has clients pay and ends it: the first process by a kill.
    fn run(&self, process: usize, plan: &Plan, traffic: impl FnOnce()) -> End {
        let mut p99 = P99::spawn(plan).expect("it can be started");
        let began = Instant::now();
        let is_ready = |p99: &P99| p99.get("/readyz").is_ok_and(|answer| answer.status == 200);
        let mut status = None;
        // One that is never ready may serve all the same.
        while status.is_none() && !is_ready(&p99) && began.elapsed() < START_MAX {
            thread::sleep(Duration::from_millis(4));
            status = p99.try_wait();
        }
        if status.is_none() {
            traffic();
            status = p99.try_wait();
        }
        let is_early = status.is_some();
        if !is_early {
            // Counts are written at a clean end.
            let is_killed = process == 0 && self.case.is_some();
            status = if is_killed {
                p99.kill().ok();
                Some(ExitStatus::default())
            } else {
                stop(p99)
            };
        }
        let log = std::fs::read(&plan.log).unwrap_or_default();
        End {
            status,
            is_early,
            log: String::from_utf8_lossy(&log).into_owned(),
        }
    }

    /// Everything settles without a fault, and the books agree.
    fn close(&self, mut evidence: Evidence, report: &mut Report) {
        for processor in &self.processors {
            processor.clear_faults();
        }
        let plan = self.plan(2);
        evidence.address = plan.address;
        let mut p99 = P99::spawn(&plan).expect("it can be started");
        if let Err(fault) = p99.await_ready() {
            report.broke("a clean start afterwards", || {
                format!("{:?}: {fault}", self.case)
            });
            return;
        }
        let began = Instant::now();
        let mut calm = 0;
        while calm < 3 && began.elapsed() < SETTLE_MAX {
            thread::sleep(Duration::from_millis(30));
            calm = if self.is_calm(&p99, plan.address) {
                calm + 1
            } else {
                0
            };
        }
        evidence.books = self.processors.each_ref().map(SimulatorHandle::rows);
        evidence.audit(report);
        let code = stop(p99).and_then(|status| status.code());
        if code != Some(0) {
            report.broke("a stop is clean", || format!("{:?}: {code:?}", self.case));
        }
        self.verify(report);
    }

    fn is_calm(&self, p99: &P99, address: SocketAddr) -> bool {
        let page = p99.get("/metrics").map(|answer| answer.body);
        let page = page.unwrap_or_default();
        let books = self.processors.each_ref().map(|processor| {
            let totals = processor.totals(Window::default());
            (totals.count, totals.cents)
        });
        page.lines().any(|line| line == "p99_payments_pending 0")
            && states::ask_summary(address, "") == Ok(books)
    }

    fn verify(&self, report: &mut Report) {
        let output = Command::new(binary())
            .args(["journal", "verify"])
            .env("JOURNAL_DIR", self.journal())
            .output()
            .expect("it can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() || !text.contains("pending 0,") {
            report.broke("the journal is whole", || {
                format!("{:?}: {text}", self.case)
            });
        }
    }

    fn journal(&self) -> PathBuf {
        self.scratch.file("journal")
    }

    fn log(&self, process: usize) -> PathBuf {
        self.scratch.file(&format!("log.{process}"))
    }

    fn counts(&self, process: usize) -> PathBuf {
        self.scratch.file(&format!("counts.{process}"))
    }

    fn table(&self, process: usize) -> Vec<Row> {
        let text = std::fs::read_to_string(self.counts(process)).expect("it was counted");
        text.lines().map(Row::read).collect()
    }
}

/// SIGTERM, and the status; none when it does not end.
fn stop(mut p99: P99) -> Option<ExitStatus> {
    p99.ask_to_stop();
    let began = Instant::now();
    while began.elapsed() < STOP_MAX {
        if let Some(status) = p99.try_wait() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(4));
    }
    None
}

/// The one under test; `P99_BIN` names another, with the injector in a folder beside it.
fn binary() -> PathBuf {
    let named = std::env::var_os("P99_BIN").map(PathBuf::from);
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_p99").into())
}

/// Built with every test run, beside the other examples.
fn injector() -> PathBuf {
    let path = binary().with_file_name("examples").join("libinjector.so");
    assert!(
        path.exists(),
        "no {}: cargo build --example injector",
        path.display()
    );
    path
}
