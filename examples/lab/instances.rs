//! `lab instances`: equal instances on one PostgreSQL behind HAProxy, while a crowd pays and
//! repeats itself through any of them. Instances are killed, stand still for longer than their
//! lease, are cut off, come and go; the database loses its connections, fails over twice, lies
//! about the time. Both processors' books are joined with what clients were told.

mod scene;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::kit::audit::Evidence;
use crate::kit::crowd::{self, Crowd};
use crate::kit::liar::{Act, Mood, WELL};
use crate::kit::postgres;
use crate::kit::report::{Report, say};
use crate::kit::scratch::Scratch;
use crate::kit::told::Numbers;
use scene::Scene;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Requests at least, repeats included
    #[arg(long, default_value_t = 1_000_000)]
    payments: u32,
    /// Share of repeats of known ids
    #[arg(long, default_value_t = 0.12)]
    repeats: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "uring")]
    driver: String,
    /// processed or accepted
    #[arg(long, default_value = "processed")]
    ack: String,
    /// intent or verdict
    #[arg(long, default_value = "intent")]
    answer_after: String,
    /// Client threads
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// 30,000 payments, and a third of the trouble
    #[arg(long)]
    quick: bool,
    /// What p99 logs
    #[arg(long, default_value = "warn")]
    log: String,
}

/// What is done to them, in this order; each begins at an equal share of the payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    ScaleOut,
    Kill,
    Pause,
    Exhaust,
    ClockForward,
    ClockBack,
    CutInstance,
    KillPrimary,
    CutOldPrimary,
    SwitchOver,
    ScaleIn,
}

const STEPS: &[Step] = &[
    Step::ScaleOut,
    Step::Kill,
    Step::Pause,
    Step::Exhaust,
    Step::Kill,
    Step::ClockForward,
    Step::ClockBack,
    Step::CutInstance,
    Step::KillPrimary,
    Step::Kill,
    Step::Pause,
    Step::CutOldPrimary,
    Step::Kill,
    Step::SwitchOver,
    Step::ScaleIn,
];
const QUICK: &[Step] = &[Step::ScaleOut, Step::Kill, Step::Pause, Step::KillPrimary];

/// Most payments meet no trouble at the processors.
const fn mood() -> Mood {
    Mood {
        pay: 3_000,
        lookup: 3_000,
        menu: &[
            (4, Act::Late(120)),
            (4, Act::CutAfter),
            (2, Act::CutInside),
            (4, Act::AtOnce(300)),
            (3, Act::AfterCharge(150)),
            (2, Act::Failed),
        ],
        ..WELL
    }
}

impl Options {
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_secs(900 + u64::from(self.payments) / 500)
    }
}

/// Whether every promise was kept; nothing where the machine does not lend what is needed.
pub(crate) fn run(options: &Options, binary: PathBuf) -> Option<bool> {
    if !postgres::is_there("instances") {
        return None;
    }
    let scratch = Scratch::new("instances").expect("a folder");
    let mut report = Report::default();
    let mut scene = Scene::new(options, binary, &scratch)?;
    scene.start(0, &mut report);
    let requests = if options.quick {
        30_000
    } else {
        options.payments
    };
    let numbers = Numbers { seed: options.seed };
    // They pay until all has happened, however long a failover takes.
    let crowd = Crowd::start(crowd::Plan {
        address: scene.balancer.address,
        numbers,
        clients: options.clients,
        requests: u32::MAX,
        repeats: crate::storm::per_million(options.repeats),
        rest: Duration::ZERO,
    });
    let began = crowd.began;
    scene.world.set([mood(), mood()]);
    let steps = if options.quick { QUICK } else { STEPS };
    for (number, step) in (1_u64..).zip(steps) {
        let begin = u64::from(requests) * number / (steps.len() as u64 + 1);
        scene.tend_until(|| u64::from(crowd.requests()) >= begin, &mut report);
        say(&format!("{:>7} ms: {step:?}", crowd.now_ms()));
        scene.play(*step, &mut report);
    }
    scene.tend_until(|| crowd.requests() >= requests, &mut report);
    crowd.stop();
    scene.tend_until(|| crowd.is_done(), &mut report);
    let (count, told) = crowd.join(&mut report);
    let mut evidence = Evidence {
        address: scene.balancer.address,
        numbers,
        count,
        began,
        told,
        books: Default::default(),
    };
    scene.await_adoption(&mut report);
    scene.world.close(&mut evidence, &mut report);
    evidence.audit(&mut report);
    scene.end(&mut report);
    let what = format!("instances, seed {}, {}", options.seed, options.ack);
    Some(scratch.close(&report, &what))
}
