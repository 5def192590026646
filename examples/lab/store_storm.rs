//! `lab store-storm`: four writers race for the same ids on a real PostgreSQL while their
//! connections are ended, the primary is killed and a synchronous standby takes over, waits for a
//! frozen standby are cancelled, and a proxy holds copies of batches back. What each writer
//! believes is joined with the tables and the rollup. Beside the frozen standby a control takes a
//! commit with a warning for a success, as most programs do, and must lose what it was told.
//! Clusters are its own, in a temporary folder.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::kit::dice::Dice;
use crate::kit::postgres::{self, Cluster, PASSWORD};
use crate::kit::report::{Report, say};
use crate::kit::scratch::Scratch;
use crate::kit::store_race::{Belief, Race, judge, run as run_race};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The scenes to play; all of them without this
    #[arg(long, value_enum)]
    scene: Vec<Scene>,
    /// How long each lasts
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// Every connection is ended each 50 ms
    Terminate,
    /// kill -9 of the primary, and its synchronous standby takes over
    Kill,
    /// The standby stands still, waits for it are cancelled, then the same
    Frozen,
    /// A proxy holds one write in twenty for 3 s, and lets it go
    Delay,
}

impl Options {
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_secs(600 + 40 * self.seconds)
    }
}

pub(crate) fn run(options: &Options) -> Option<bool> {
    if !postgres::is_there("store-storm") {
        return None;
    }
    let all = [Scene::Terminate, Scene::Kill, Scene::Frozen, Scene::Delay];
    let scenes = if options.scene.is_empty() {
        &all[..]
    } else {
        &options.scene
    };
    let played = scenes.iter().map(|scene| play(*scene, options.seconds));
    // Each is played, whatever became of those before.
    let kept: Vec<bool> = played.collect();
    Some(kept.into_iter().all(|is_kept| is_kept))
}

/// Plays it until something is in doubt, a few times at most: on a busy machine connections may end
/// before anything was sent over them.
fn play(scene: Scene, seconds: u64) -> bool {
    for _ in 0..5 {
        let (is_kept, doubtful) = play_once(scene, seconds);
        if !is_kept || doubtful > 0 {
            return is_kept;
        }
    }
    say(&format!(
        "{scene:?} did nothing: no batch was ever in doubt"
    ));
    false
}

/// Whether every promise was kept, and how many batches were in doubt.
fn play_once(scene: Scene, seconds: u64) -> (bool, u64) {
    let scratch = Scratch::new("store-storm").unwrap();
    let mut control = Control::default();
    let beliefs_and_cluster = match scene {
        Scene::Terminate => terminate(&scratch, seconds),
        Scene::Kill => fail_over(&scratch, seconds, None),
        Scene::Frozen => fail_over(&scratch, seconds, Some(&mut control)),
        Scene::Delay => delay(&scratch, seconds),
    };
    let (beliefs, cluster) = beliefs_and_cluster;
    let mut report = Report::default();
    judge(&beliefs, &cluster, &mut report);
    if scene == Scene::Frozen {
        control.judge(&cluster, &mut report);
    }
    drop(cluster);
    let is_kept = scratch.close(&report, &format!("store-storm, {scene:?}"));
    let doubtful = beliefs.iter().map(|belief| belief.doubtful);
    (is_kept, doubtful.sum())
}

fn race(store: String, seconds: u64) -> Race {
    Race {
        store,
        writers: 4,
        seconds,
        burst: 24,
    }
}

fn terminate(scratch: &Scratch, seconds: u64) -> (Vec<Belief>, Cluster) {
    let cluster = Cluster::new(scratch, "pg", &[]);
    cluster.make_schema();
    let rounds = seconds * 20;
    let mut ending = cluster.begin_sql(
        "p99",
        &format!(
            "DO $$ BEGIN FOR i IN 1..{rounds} LOOP PERFORM pg_stat_clear_snapshot(); \
             PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'p99'; \
             PERFORM pg_sleep(0.05); END LOOP; END $$"
        ),
    );
    let beliefs = run_race(&race(cluster.store("sslmode=disable"), seconds));
    let _ = ending.wait();
    (beliefs, cluster)
}

/// With a control the standby stands still before the primary ends.
fn fail_over(
    scratch: &Scratch,
    seconds: u64,
    control: Option<&mut Control>,
) -> (Vec<Belief>, Cluster) {
    let mut primary = Cluster::new(scratch, "primary", &[]);
    primary.make_schema();
    let standby = Cluster::standby(scratch, "standby", &primary, &[]);
    primary.sql(
        "postgres",
        "ALTER SYSTEM SET synchronous_standby_names = 'standby'",
    );
    primary.sql("postgres", "SELECT pg_reload_conf()");
    let store = format!(
        "postgres://p99:{PASSWORD}@127.0.0.1:{},127.0.0.1:{}/p99?sslmode=disable",
        primary.port(),
        standby.port()
    );
    let racing = thread::spawn(move || run_race(&race(store, seconds)));
    thread::sleep(Duration::from_secs(seconds / 2));
    if let Some(control) = control {
        primary.sql("p99", "CREATE TABLE control (id bigint PRIMARY KEY)");
        // What was not sent to the standby is acknowledged all the same, with a warning.
        let receiver = standby.sql("postgres", "SELECT pid FROM pg_stat_wal_receiver");
        let receiver: i32 = receiver.trim().parse().unwrap();
        // SAFETY: kill takes no pointer, and the process is of this run's own cluster.
        unsafe { libc::kill(receiver, libc::SIGSTOP) };
        control.begin(&primary);
        for _ in 0..20 {
            primary.sql(
                "p99",
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
                 WHERE wait_event = 'SyncRep'",
            );
            thread::sleep(Duration::from_millis(50));
        }
        control.end();
        primary.stop(libc::SIGQUIT);
        // It ends before it reads on: what is in its socket was never acknowledged either.
        for signal in [libc::SIGTERM, libc::SIGCONT] {
            // SAFETY: as above.
            unsafe { libc::kill(receiver, signal) };
        }
    } else {
        primary.stop(libc::SIGKILL);
    }
    standby.promote();
    let beliefs = racing.join().unwrap();
    (beliefs, standby)
}

/// Single rows written by a program that asks for no more than success.
#[derive(Default)]
struct Control {
    writing: Vec<(u32, Child)>,
    believed: Vec<u32>,
}

impl Control {
    fn begin(&mut self, primary: &Cluster) {
        let write = |id| {
            let statement = format!("INSERT INTO control VALUES ({id})");
            (id, primary.begin_sql("p99", &statement))
        };
        self.writing = (1..=8).map(write).collect();
    }

    fn end(&mut self) {
        for (id, mut writing) in self.writing.drain(..) {
            if writing.wait().is_ok_and(|status| status.success()) {
                self.believed.push(id);
            }
        }
    }

    /// What it believes must not all be there: else the scene has shown nothing.
    fn judge(&self, cluster: &Cluster, report: &mut Report) {
        let there = cluster.sql("p99", "SELECT id FROM control");
        let there: Vec<u32> = there.lines().flat_map(str::parse).collect();
        let lost = self.believed.iter().filter(|id| !there.contains(id));
        let lost = lost.count();
        let believed = self.believed.len();
        say(&format!(
            "the control trusts warnings: told {believed} rows, lost {lost}"
        ));
        if lost == 0 {
            report.broke("who trusts a warning loses rows", || {
                format!("told {believed}, all there")
            });
        }
    }
}

fn delay(scratch: &Scratch, seconds: u64) -> (Vec<Belief>, Cluster) {
    let cluster = Cluster::new(scratch, "pg", &[]);
    cluster.make_schema();
    let held = Arc::new(AtomicU64::new(0));
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = proxy.local_addr().unwrap().port();
    let (server, counted) = (cluster.port(), Arc::clone(&held));
    thread::spawn(move || {
        for (number, client) in (1..).zip(proxy.incoming().flatten()) {
            let server = TcpStream::connect(("127.0.0.1", server));
            let Ok(server) = server else { continue };
            pass(&client, &server, number, &counted);
        }
    });
    let store = format!("postgres://p99:{PASSWORD}@127.0.0.1:{port}/p99?sslmode=disable");
    let beliefs = run_race(&race(store, seconds));
    // What is held still goes, and must come to nothing.
    thread::sleep(Duration::from_secs(4));
    say(&format!("held back {}", held.load(Ordering::Relaxed)));
    (beliefs, cluster)
}

/// Moves bytes both ways; after the login one write in twenty waits for 3 s, and goes on then,
/// though its client is gone by that time.
fn pass(client: &TcpStream, server: &TcpStream, number: u64, held: &Arc<AtomicU64>) {
    let clone = |one: &TcpStream| one.try_clone().unwrap();
    let (mut from, mut to) = (clone(server), clone(client));
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to, held) = (clone(client), clone(server), Arc::clone(held));
    thread::spawn(move || {
        let mut dice = Dice::new(number);
        let mut bytes = vec![0; 1 << 20];
        for turn in 0_u64.. {
            let Ok(count @ 1..) = from.read(&mut bytes) else {
                break;
            };
            if turn > 8 && dice.is_one_in(20) {
                held.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_secs(3));
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
