//! What hedging is worth: the same open-loop load with 2 % of the processors' answers 200 ms late,
//! once without hedging and once with it. Every charge is read from both processors' own rows.

use std::collections::HashMap;
use std::path::Path;

use clap::Args;
use p99::testing::sim::{Act, Fault, Moment};

use crate::gauge;
use crate::kit::process::P99;
use crate::kit::report::{Report, say_table};
use crate::kit::scratch::Scratch;

const LATE_MS: u64 = 200;
const LATE_PER_MILLION: u32 = 20_000;
const WITHOUT_MS: u32 = 60_000;
const WITH_MS: u32 = 5;
const CONNECTIONS: u64 = 128;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Payments a second
    #[arg(long, default_value_t = 500)]
    rate: u64,
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[arg(long, default_value_t = 2)]
    rounds: u64,
}

pub(crate) fn run(options: &Options, binary: &Path) -> bool {
    let scratch = Scratch::new("hedging").expect("a folder");
    let mut report = Report::default();
    let names = [
        "hedging",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "payments",
        "hedges",
        "won",
        "extra attempts",
    ];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    for seed in 1..=options.rounds {
        for delay in [WITHOUT_MS, WITH_MS] {
            rows.push(play(options, binary, (delay, seed), &mut report));
        }
    }
    say_table(&rows);
    scratch.close(&report, "hedging")
}

/// One p99 with two processors of its own; what became of the load.
fn play(
    options: &Options,
    binary: &Path,
    (delay, seed): (u32, u64),
    report: &mut Report,
) -> Vec<String> {
    let scratch = Scratch::new(&format!("hedging-{delay}-{seed}")).expect("a folder");
    let processors = gauge::processors();
    for processor in &processors {
        let late = Fault::new(Moment::Answer, Act::Pause(LATE_MS));
        let late = late.chance(LATE_PER_MILLION, 1);
        processor.inject(late).expect("it fits");
    }
    let mut plan = gauge::plan(binary, &scratch, &processors);
    plan.set("REQUEST_TIMEOUT_MS", 1_000);
    plan.set("HEDGE_DELAY_MS", delay);
    let Some(p99) = P99::start(&plan, report) else {
        return Vec::new();
    };
    let load = |seconds, seed| {
        let port = u64::from(plan.address.port());
        gauge::load(binary, &[port, options.rate, seconds, CONNECTIONS, seed])
    };
    // Latencies of a cold start are not the subject.
    load(3, 1_000 + seed);
    let seen = load(options.seconds, seed);
    let hedges = ["fired", "won"]
        .map(|event| gauge::metric(&plan, &format!("p99_hedges_total{{event=\"{event}\"")));
    p99.end(report);
    let mut charges: HashMap<_, u32> = HashMap::new();
    let mut attempts = 0;
    for row in processors.iter().flat_map(|processor| processor.rows()) {
        *charges.entry(row.id).or_default() += 1;
        attempts += row.attempts as usize;
    }
    for (id, count) in charges.iter().filter(|(_, count)| **count > 1) {
        report.broke("charged twice", || format!("{id}: {count} times"));
    }
    let ms = |us: f64| format!("{:.2}", us / 1e3);
    vec![
        if delay == WITH_MS { "on" } else { "off" }.to_owned(),
        ms(seen.p50_us),
        ms(seen.p99_us),
        ms(seen.p999_us),
        charges.len().to_string(),
        hedges[0].to_string(),
        hedges[1].to_string(),
        (attempts - charges.len()).to_string(),
    ]
}
