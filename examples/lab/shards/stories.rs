//! What happens to shard 1 while clients pay at both.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use p99::testing::sim::{Act, Fault, Moment};

use super::crowd::Crowd;
use super::judge::judge;
use super::stand::Stand;

pub(super) struct Story {
    pub(super) name: &'static str,
    play: fn(&mut Stand<'_>) -> String,
    pub(super) settings: &'static [(&'static str, &'static str)],
    /// What else than success the clients of shard 1 and 2 may be told.
    allowed: [&'static [u16]; 2],
}

pub(super) const STORIES: [Story; 6] = [
    Story {
        name: "drain",
        play: drain,
        settings: &[],
        allowed: [&[503], &[]],
    },
    Story {
        name: "deploy",
        play: deploy,
        settings: &[],
        allowed: [&[503], &[503]],
    },
    Story {
        name: "pause",
        play: pause,
        settings: &[],
        allowed: [&[503], &[]],
    },
    Story {
        name: "kill with an open Intent",
        play: kill_with_an_open_intent,
        settings: &[],
        allowed: [&[503, 502, 0], &[503, 502]],
    },
    Story {
        name: "restart over the rate limit",
        play: restart_over_the_rate_limit,
        settings: &[("RATE_LIMIT_RPS", "60")],
        allowed: [&[503, 429], &[429]],
    },
    Story {
        name: "restart with a processor away",
        play: restart_with_a_processor_away,
        settings: &[("ROUTING", "round_robin")],
        allowed: [&[503], &[]],
    },
];

impl Story {
    /// Tells it to its end; what clients were told.
    pub(super) fn tell(&self, stand: &mut Stand<'_>, later: Duration) -> String {
        let mut crowd = Crowd::start(stand);
        let told = (self.play)(stand);
        stand.await_up();
        crowd.end();
        crowd.repeat();
        thread::sleep(later);
        stand.heal();
        crowd.repeat();
        told + &judge(stand, &crowd.payments(), self.allowed)
    }
}

/// A shard stops while a slow processor holds its payments, and is started again later.
fn drain(stand: &mut Stand<'_>) -> String {
    stand.processors[0].set_delay(Duration::from_millis(700));
    stand.shards[0].stop();
    thread::sleep(Duration::from_secs(1));
    stand.shards[0].start();
    String::new()
}

/// scripts/upgrade restarts one after the other, and HAProxy reads its file again.
fn deploy(stand: &mut Stand<'_>) -> String {
    let asked = |number: &str| stand.scratch.file(&format!("restart-{number}"));
    let files = ["1", "2"].map(asked);
    let file = asked("{shard}").display().to_string();
    let mut upgrade = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/upgrade"));
    upgrade
        .args([
            "--restart",
            &format!("touch {file}; while [ -e {file} ]; do sleep 0.02; done"),
        ])
        .args(["--reload", &format!("kill -USR2 {}", stand.haproxy.pid())])
        .args(["--stats", &format!("http://{}", stand.haproxy.stats)]);
    let upgrade = thread::spawn(move || upgrade.output().expect("python3"));
    for (shard, file) in stand.shards.iter_mut().zip(files) {
        while !file.exists() && !upgrade.is_finished() {
            thread::sleep(Duration::from_millis(20));
        }
        if upgrade.is_finished() {
            break;
        }
        shard.restart();
        std::fs::remove_file(file).expect("it is there");
    }
    let ended = upgrade.join().expect("its thread");
    let [told, complaint] = [ended.stdout, ended.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).trim().replace('\n', ", "));
    assert!(ended.status.success(), "{told} {complaint}");
    format!("{told}; ")
}

/// A shard is paused for 4 s, as when its virtual machine is moved.
fn pause(stand: &mut Stand<'_>) -> String {
    let p99 = stand.shards[0].living();
    p99.signal(libc::SIGSTOP);
    thread::sleep(Duration::from_secs(4));
    p99.signal(libc::SIGCONT);
    String::new()
}

/// The cheap processor fails; the expensive one charges without a word, or hangs; kill -9.
fn kill_with_an_open_intent(stand: &mut Stand<'_>) -> String {
    let [cheap, other] = &stand.processors;
    cheap.set_failing(true);
    for (moment, every) in [(Moment::Answer, 3), (Moment::Body, 4)] {
        let fault = Fault::new(moment, Act::Stall).every(every);
        other.inject(fault).expect("it fits");
    }
    thread::sleep(Duration::from_secs(3));
    stand.shards[0].kill();
    stand.heal();
    // Long enough for the other shard to charge them, if it would.
    thread::sleep(Duration::from_secs(4));
    stand.shards[0].start();
    String::new()
}

/// A shard restarts while every client is over its limit.
fn restart_over_the_rate_limit(stand: &mut Stand<'_>) -> String {
    stand.shards[0].restart();
    thread::sleep(Duration::from_secs(1));
    String::new()
}

/// The expensive processor breaks connections and takes none, and a shard restarts.
fn restart_with_a_processor_away(stand: &mut Stand<'_>) -> String {
    let other = &stand.processors[1];
    let fault = Fault::new(Moment::Head, Act::Reset);
    other.inject(fault).expect("it fits");
    other.set_refusing(true).expect("its port");
    thread::sleep(Duration::from_secs(1));
    stand.shards[0].restart();
    String::new()
}
