//! Many payments through HAProxy, one in nine of them a repeat, while one shard after the other is
//! killed or deployed and the cheap processor fails now and then. Both processors' books are joined
//! with what the clients were told.

use std::thread;
use std::time::{Duration, Instant};

use crate::kit::audit::Evidence;
use crate::kit::crowd::{self, Crowd};
use crate::kit::report::Report;
use crate::kit::told::Numbers;
use crate::storm::per_million;

use super::stand::Stand;

const CLIENTS: usize = 24;
const REPEATS: f64 = 0.12;
/// What happens to shards, spread over the payments.
const STEPS: u32 = 40;
/// How long an outage of the cheap processor lasts.
const OUTAGE: Duration = Duration::from_secs(1);
/// How long all that was promised may take once everything is well.
const SETTLED_MAX: Duration = Duration::from_secs(60);

/// Whether all went as it must, for `payments` requests at least.
pub(super) fn play(stand: &mut Stand<'_>, payments: u32) -> Report {
    let mut report = Report::default();
    let numbers = Numbers { seed: 1 };
    let address = stand.haproxy.address;
    let crowd = Crowd::start(crowd::Plan {
        address,
        numbers,
        clients: CLIENTS,
        requests: u32::MAX,
        repeats: per_million(REPEATS),
        rest: Duration::ZERO,
    });
    let began = crowd.began;
    for step in 1..=STEPS {
        let begin = u64::from(payments) * u64::from(step) / u64::from(STEPS + 1);
        while u64::from(crowd.requests()) < begin {
            thread::sleep(Duration::from_millis(20));
        }
        disturb(stand, step);
    }
    while crowd.requests() < payments {
        thread::sleep(Duration::from_millis(20));
    }
    crowd.stop();
    stand.heal();
    let (count, told) = crowd.join(&mut report);
    await_settled(stand, &mut report);
    let evidence = Evidence {
        address,
        numbers,
        count,
        began,
        told,
        books: stand.processors.each_ref().map(|one| one.rows()),
    };
    evidence.audit(&mut report);
    report
}

fn disturb(stand: &mut Stand<'_>, step: u32) {
    let [shard, is_deploy, fails] = [1, 2, 4].map(|bit| step & bit != 0);
    if fails {
        stand.processors[0].set_failing(true);
    }
    let number = usize::from(shard);
    if is_deploy {
        stand.shards[number].restart();
    } else {
        stand.shards[number].kill();
        stand.shards[number].start();
    }
    if fails {
        thread::sleep(OUTAGE);
        stand.processors[0].set_failing(false);
    }
    stand.await_up();
}

fn await_settled(stand: &mut Stand<'_>, report: &mut Report) {
    let began = Instant::now();
    for shard in &mut stand.shards {
        let pending = || {
            let page = shard.living().get("/metrics").map(|answer| answer.body);
            let page = page.unwrap_or_default();
            page.contains("\np99_payments_pending 0\n")
        };
        let mut is_settled = pending;
        while !is_settled() {
            if began.elapsed() > SETTLED_MAX {
                report.broke("what was promised is settled", || {
                    "it is pending".to_owned()
                });
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}
