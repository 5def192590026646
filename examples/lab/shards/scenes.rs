//! What must hold of shards and HAProxy apart from any crowd.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use p99::testing::payment::Cents;

use crate::kit::client;
use crate::kit::process::P99;

use super::crowd::{Caller, Crowd};
use super::judge::judge;
use super::stand::{Stand, journal, peers_away};

const AMOUNT: Cents = Cents(100);
const START_MAX: Duration = Duration::from_secs(15);

type Scene = (&'static str, fn(&mut Stand<'_>) -> String);

pub(super) const SCENES: [Scene; 7] = [
    (
        "a shard that is away means 503 and is back within a second",
        a_shard_that_is_away_means_503_and_is_back_within_a_second,
    ),
    ("another shard's id is 421", another_shards_id_is_421),
    (
        "seven shards have the ranges that HAProxy gives them",
        seven_shards_have_the_ranges_that_haproxy_gives_them,
    ),
    ("a reload cuts no connection", a_reload_cuts_no_connection),
    (
        "a journal of another shard is refused",
        a_journal_of_another_shard_is_refused,
    ),
    (
        "one that claims another's shard is named and not served",
        one_that_claims_anothers_shard_is_named_and_not_served,
    ),
    (
        "a shard on an empty journal is named and not served",
        a_shard_on_an_empty_journal_is_named_and_not_served,
    ),
];

fn a_shard_that_is_away_means_503_and_is_back_within_a_second(stand: &mut Stand<'_>) -> String {
    let (mine, others) = (stand.ids(1, 200), stand.ids(2, 200));
    let mut caller = stand.caller();
    stand.shards[0].kill();
    // The kernel closes its listener.
    thread::sleep(Duration::from_millis(100));
    let mut spans = Vec::new();
    for (mine, other) in mine.iter().zip(&others).take(100) {
        let said = caller.pay(*mine, AMOUNT);
        let is_away = said.status == 503 && said.problem("detail").contains("no instance");
        assert!(is_away, "{said:?}");
        said.check();
        spans.push(said.took);
        assert_eq!(caller.get(&format!("/payments/{mine}")).status, 503);
        assert_eq!(
            caller.pay(*other, AMOUNT).status,
            200,
            "the other shard's go on"
        );
    }
    spans.sort_unstable();
    // A busy machine may keep one of them waiting, not one in ten.
    assert!(spans[90] < Duration::from_millis(300), "{spans:?}");
    assert_eq!(stand.haproxy.states()[&1], "DOWN");
    let said = stand.ask("/payments-summary");
    assert_eq!(said.status, 503, "a sum without a shard is an error");
    stand.shards[0].spawn();
    let began = Instant::now();
    while caller.pay(mine[0], AMOUNT).status != 200 {
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "back within 1 s of its start"
        );
        thread::sleep(Duration::from_millis(10));
    }
    let took = began.elapsed();
    for id in &mine[1..] {
        assert_eq!(caller.pay(*id, AMOUNT).status, 200);
    }
    format!("back {} ms after its start", took.as_millis())
}

fn another_shards_id_is_421(stand: &mut Stand<'_>) -> String {
    let mut direct = Caller::new(stand.shards[1].plan.address);
    for id in stand.ids(1, 50) {
        for said in [
            direct.pay(id, AMOUNT),
            direct.get(&format!("/payments/{id}")),
        ] {
            assert_eq!((said.status, &*said.problem("charged")), (421, "unknown"));
        }
    }
    let mut caller = stand.caller();
    for id in [stand.ids(1, 50), stand.ids(2, 50)].concat() {
        assert_eq!(caller.pay(id, AMOUNT).status, 200, "HAProxy agrees");
    }
    String::new()
}

/// The borders of ids that both are compared with, at the third of seven and the last.
fn seven_shards_have_the_ranges_that_haproxy_gives_them(stand: &mut Stand<'_>) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut haproxy = Command::new(root.join("scripts/haproxy-config"));
    let haproxy = haproxy.arg("7").output().expect("python3").stdout;
    let borders = borders(&String::from_utf8_lossy(&haproxy));
    assert_eq!(borders.len(), 7, "{borders:?}");
    let rows = std::fs::read_to_string(root.join("tests/data/slots.txt")).expect("the ids");
    let mut count = 0;
    for number in ["3", "7"] {
        let settings = [
            ("SHARD", &*format!("{number}/7")),
            ("PEERS", &peers_away(6)),
            (
                "JOURNAL_DIR",
                &journal(stand.scratch, &format!("of-seven-{number}")),
            ),
        ];
        let plan = stand.another(&format!("of-seven-{number}"), &settings);
        let _p99 = living(&plan);
        let mut direct = Caller::new(plan.address);
        let (first, last) = borders[number];
        for row in rows.lines() {
            let (id, slot) = row.split_once(' ').expect("an id and its slot");
            let slot: i32 = slot.parse().expect("a number");
            if (slot - first).abs() < 10 || (slot - last).abs() < 10 {
                let is_own = (first..=last).contains(&slot);
                let said = direct.get(&format!("/payments/{}", escaped(id)));
                assert_eq!(
                    said.status,
                    if is_own { 404 } else { 421 },
                    "{number}: {row}"
                );
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count}");
    format!("{count} ids")
}

/// First and last slot of each shard that a haproxy.cfg names.
fn borders(config: &str) -> BTreeMap<String, (i32, i32)> {
    let border = |line: &str| {
        let (shard, rest) = line
            .trim()
            .strip_prefix("use_backend shard_")?
            .split_once(' ')?;
        let (first, last) = rest.split(' ').find_map(|word| word.split_once(':'))?;
        Some((shard.to_owned(), (first.parse().ok()?, last.parse().ok()?)))
    };
    config.lines().filter_map(border).collect()
}

/// An id as a path has it.
fn escaped(id: &str) -> String {
    let mut text = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a String takes it");
        }
    }
    text
}

/// One more p99, once it serves anything.
fn living(plan: &crate::kit::process::Plan) -> P99 {
    let p99 = P99::spawn(plan).expect("p99 can be started");
    let began = Instant::now();
    while client::probe(plan.address, "/healthz") != Some(200) {
        assert!(began.elapsed() < START_MAX, "{}", p99.log());
        thread::sleep(Duration::from_millis(5));
    }
    p99
}

/// HAProxy reads its file again and again while clients pay on kept connections.
fn a_reload_cuts_no_connection(stand: &mut Stand<'_>) -> String {
    let mut crowd = Crowd::start(stand);
    for _ in 0..4 {
        stand.haproxy.signal(libc::SIGUSR2);
        thread::sleep(Duration::from_millis(700));
    }
    crowd.end();
    judge(stand, &crowd.payments(), [&[], &[]])
}

/// Volumes swapped, another number of shards, one journal twice.
fn a_journal_of_another_shard_is_refused(stand: &mut Stand<'_>) -> String {
    for (name, shard, peers, owner, why) in [
        ("swapped", "1/2", 1, 1, "set SHARD=2/2"),
        ("grown", "1/3", 2, 0, "set SHARD=1/2"),
        ("twice", "1/2", 1, 0, "in use by another process"),
    ] {
        let is_free = name != "twice";
        if is_free {
            stand.shards[owner].stop();
        }
        let settings = [
            ("SHARD", shard),
            ("PEERS", &peers_away(peers)),
            (
                "JOURNAL_DIR",
                &journal(stand.scratch, &(owner + 1).to_string()),
            ),
        ];
        let plan = stand.another(name, &settings);
        let mut other = P99::spawn(&plan).expect("p99 can be started");
        let status = other.await_end(START_MAX);
        let told = other.log();
        let is_refused = status.is_some_and(|status| !status.success());
        assert!(is_refused, "{name}: {status:?} {told}");
        assert!(told.contains(why), "{name}: {told}");
        if is_free {
            stand.shards[owner].start();
        }
    }
    stand.await_up();
    String::new()
}

/// Shard 1 starts again as 2/2 on a journal of its own.
fn one_that_claims_anothers_shard_is_named_and_not_served(stand: &mut Stand<'_>) -> String {
    not_served(stand, "2/2", "shard 2 is claimed by two")
}

/// Shard 1 has lost its disk: what it has charged it would charge again at the other processor.
fn a_shard_on_an_empty_journal_is_named_and_not_served(stand: &mut Stand<'_>) -> String {
    not_served(stand, "1/2", "shard 1 has another journal than it had")
}

/// At the address of shard 1 an instance claims `shard` on an empty journal: it takes no payment
/// from its first moment on, and the other shard's go on.
fn not_served(stand: &mut Stand<'_>, shard: &'static str, named: &str) -> String {
    let (mine, others) = (stand.ids(1, 400), stand.ids(2, 400));
    let mut caller = stand.caller();
    for id in &mine[..100] {
        assert_eq!(caller.pay(*id, AMOUNT).status, 200);
    }
    stand.shards[0].stop();
    // HAProxy still believes that it is up when the wrong one is there.
    let settings = [
        ("SHARD", shard),
        ("JOURNAL_DIR", &journal(stand.scratch, "wrong")),
    ];
    let mut plan = stand.another("wrong", &settings);
    plan.address = stand.shards[0].plan.address;
    let wrong = living(&plan);
    let mut direct = Caller::new(plan.address);
    let began = Instant::now();
    let mut asked = 0;
    // Longer than peers wait before they ask each other again.
    for (mine, other) in mine.iter().zip(&others).cycle() {
        for said in [
            direct.pay(*mine, AMOUNT),
            direct.get(&format!("/payments/{mine}")),
            direct.pay(*other, AMOUNT),
            caller.pay(*mine, AMOUNT),
        ] {
            let is_refused = matches!(said.status, 421 | 503);
            let is_honest = said.problem("charged") == "unknown";
            assert!(is_refused && is_honest, "{said:?}");
        }
        let said = caller.pay(*other, AMOUNT);
        assert!(matches!(said.status, 200 | 409), "the other's: {said:?}");
        asked += 1;
        if began.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    stand.haproxy.await_states(["DOWN", "UP"]);
    for (address, status) in [(plan.address, 503), (stand.shards[1].plan.address, 200)] {
        let mut caller = Caller::new(address);
        let said = caller.get("/payments-summary");
        assert!(said.status == 503 && said.body.contains(named), "{said:?}");
        let said = caller.get("/readyz");
        assert!(
            said.status == status && said.body.contains(named),
            "{said:?}"
        );
    }
    for log in [wrong.log(), stand.shards[1].living().log()] {
        assert!(log.contains(named), "{log}");
    }
    assert!(wrong.stop().is_some(), "it ends");
    stand.shards[0].start();
    stand.await_up();
    for id in &mine[..100] {
        assert_eq!(caller.pay(*id, AMOUNT).status, 409, "known where it was");
    }
    format!("{asked} asked")
}
