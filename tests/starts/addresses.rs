//! Who gets an address. Two that want one: exactly one lives, whatever the moment.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::client::{DEADLINE, probe, probe_unix, wait_until};
use crate::kit::process::P99;
use crate::kit::scratch::Scratch;
use crate::kit::stack::count;
use crate::kit::start::{command, free_port};
use crate::on_both_drivers;

on_both_drivers! {
    of_two_on_one_port_one_lives,
    of_two_on_crossed_addresses_one_lives,
    of_two_on_one_socket_file_one_lives,
    a_killed_instance_is_replaced_at_once,
    an_old_instance_leaves_the_new_ones_socket_file,
    a_wildcard_and_a_specific_address_exclude_each_other,
    what_is_no_stale_socket_is_never_removed,
    two_names_of_one_processor_are_warned_about,
}

/// Both processes of a pair, started as nearly at one moment as can be.
fn pair(driver: &str, settings: [&[(&str, &str)]; 2]) -> [P99; 2] {
    let barrier = Arc::new(Barrier::new(2));
    let threads = settings.map(|settings| {
        let (mut command, barrier) = (command(driver, settings), Arc::clone(&barrier));
        command.env("RUST_LOG", "warn,p99::cores=info");
        thread::spawn(move || {
            barrier.wait();
            P99::of(command)
        })
    });
    threads.map(|thread| thread.join().unwrap())
}

/// Waits until one of both has given up with a message that names `address`; the other serves.
fn one_lives(mut pair: [P99; 2], address: &str, answers: impl Fn() -> Option<u16>) {
    let began = Instant::now();
    loop {
        let ends = pair.each_mut().map(P99::end_code);
        let logs = pair.each_ref().map(P99::log);
        let lost = match ends {
            [None, None] => {
                assert!(began.elapsed() < DEADLINE, "both live: {logs:?}");
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            [Some(_), Some(_)] => panic!("none lives: {ends:?} {logs:?}"),
            [Some(_), None] => 0,
            [None, Some(_)] => 1,
        };
        assert_eq!(ends[lost], Some(1), "{logs:?}");
        // The thread that reads its log may be a moment behind its end.
        wait_until("it says why", || pair[lost].log().contains(address));
        let won = 1 - lost;
        pair[won].wait_ready();
        wait_until("the winner serves", || answers() == Some(200));
        assert_eq!(pair[won].end_code(), None, "the winner stays: {logs:?}");
        return;
    }
}

/// So many pairs, some at a time: a loser waits for a moment before it gives up.
fn many(usual: usize, full: usize, one: impl Fn() + Sync) {
    const AT_ONCE: usize = 12;
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| (0..count(usual, full).div_ceil(AT_ONCE)).for_each(|_| one()));
        }
    });
}

fn of_two_on_one_port_one_lives(driver: &str) {
    many(12, 200, || {
        let port = free_port();
        let text = port.to_string();
        let settings: &[(&str, &str)] = &[("PORT", &text)];
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        one_lives(pair(driver, [settings, settings]), &text, || {
            probe(address, "/readyz")
        });
    });
}

/// Each gets one of the addresses that the other wants too, whichever comes first in its list.
fn of_two_on_crossed_addresses_one_lives(driver: &str) {
    many(4, 60, || {
        let [one, other] = [free_port(), free_port()];
        let lists = [
            format!("127.0.0.1:{one},[::1]:{one},0.0.0.0:{other}"),
            format!("127.0.0.1:{other},[::]:{one},0.0.0.0:{one}"),
        ];
        let pair = pair(driver, [&[("LISTEN", &lists[0])], &[("LISTEN", &lists[1])]]);
        let address = SocketAddr::from(([127, 0, 0, 1], one));
        one_lives(pair, "cannot listen on", || probe(address, "/readyz"));
    });
}

fn of_two_on_one_socket_file_one_lives(driver: &str) {
    let rounds = AtomicUsize::new(0);
    many(8, 100, || {
        let scratch = Scratch::new("starts").unwrap();
        let socket = scratch.text("p99.sock");
        let listen = format!("unix:{socket}");
        // Every second time a dead process has left its file.
        if rounds.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            drop(UnixListener::bind(&socket).unwrap());
        }
        let settings: &[(&str, &str)] = &[("LISTEN", &listen)];
        one_lives(pair(driver, [settings, settings]), &listen, || {
            probe_unix(&socket, "/readyz")
        });
    });
}

fn a_killed_instance_is_replaced_at_once(driver: &str) {
    let (port, scratch) = (free_port(), Scratch::new("starts").unwrap());
    let listen = format!("127.0.0.1:{port},unix:{}", scratch.text("p99.sock"));
    let settings: &[(&str, &str)] = &[("LISTEN", &listen), ("CORES", "4")];
    let mut instance = P99::of(command(driver, settings));
    instance.wait_ready();
    for _ in 0..count(20, 200) {
        instance.kill().unwrap();
        instance = P99::of(command(driver, settings));
        instance.wait_ready();
    }
    assert_eq!(instance.stop(), Some(0));
}

fn an_old_instance_leaves_the_new_ones_socket_file(driver: &str) {
    let scratch = Scratch::new("starts").unwrap();
    let socket = scratch.text("p99.sock");
    let listen = format!("unix:{socket}");
    let settings: &[(&str, &str)] = &[
        ("LISTEN", &listen),
        ("SHUTDOWN_GRACE_SECS", "60"),
        ("HEADER_TIMEOUT_MS", "60000"),
        ("DRAIN_DELAY_MS", "200"),
    ];
    let mut old = P99::of(command(driver, settings));
    old.wait_ready();
    let first = std::fs::metadata(&socket).unwrap();
    // Half a request holds the old one back.
    let mut held = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    std::io::Write::write_all(&mut held, b"GET /healthz HTTP/1.1\r\n").unwrap();
    wait_until("it serves", || probe_unix(&socket, "/readyz") == Some(200));
    old.signal(libc::SIGTERM);
    let mut new = P99::of(command(driver, settings));
    new.wait_ready();
    assert_eq!(old.end_code(), None, "the old one is still there");
    let second = std::fs::metadata(&socket).unwrap();
    assert_ne!(first.ino(), second.ino());
    drop(held);
    assert_eq!(old.wait_code(), 0);
    wait_until("the new one is reachable", || {
        probe_unix(&socket, "/readyz") == Some(200)
    });
    assert_eq!(new.stop(), Some(0));
    assert!(
        !std::path::Path::new(&socket).exists(),
        "the last one tidies up"
    );
}

fn a_wildcard_and_a_specific_address_exclude_each_other(driver: &str) {
    let rows = [
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("[::1]", "[::]"),
    ];
    let exclude = |holds: &str, wants: &str| {
        let port = free_port();
        let [holds, wants] = [holds, wants].map(|host| format!("{host}:{port}"));
        let mut first = P99::of(command(driver, &[("LISTEN", &holds)]));
        first.wait_ready();
        let seconds = [
            &[("LISTEN", wants.as_str())][..],
            &[("LISTEN", "127.0.0.1:0"), ("ADMIN_LISTEN", &wants)],
        ]
        .map(|settings| P99::of(command(driver, settings)));
        for mut second in seconds {
            assert_eq!(second.wait_code(), 1);
            wait_until("it says why", || second.log().contains(&wants));
        }
        assert_eq!(first.stop(), Some(0));
    };
    // Who wants an address waits in vain for a moment, so all wait together.
    thread::scope(|scope| {
        for (holds, wants) in rows {
            scope.spawn(move || exclude(holds, wants));
        }
    });
}

fn what_is_no_stale_socket_is_never_removed(driver: &str) {
    let scratch = Scratch::new("starts").unwrap();
    let target = scratch.text("stale.sock");
    drop(UnixListener::bind(&target).unwrap());
    let [file, folder, link, dangling] =
        ["file", "folder", "link", "dangling"].map(|name| scratch.text(name));
    std::fs::write(&file, "mine").unwrap();
    std::fs::create_dir(&folder).unwrap();
    symlink(&target, &link).unwrap();
    symlink("/nowhere/at/all", &dangling).unwrap();
    for path in [&file, &folder, &link, &dangling] {
        let mut instance = P99::of(command(driver, &[("LISTEN", &format!("unix:{path}"))]));
        assert_eq!(instance.wait_code(), 1);
        wait_until("it says why", || {
            instance.log().contains(path) && instance.log().contains("is no socket")
        });
        assert!(
            std::fs::symlink_metadata(path).is_ok(),
            "{path} is still there"
        );
    }
    assert!(std::fs::symlink_metadata(&target).is_ok());
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

fn two_names_of_one_processor_are_warned_about(driver: &str) {
    const WARNING: &str = "both mean 127.0.0.1:1: they are probably one server";
    for (url, is_warned) in [
        ("http://localhost:1", true),
        ("http://[::ffff:127.0.0.1]:1", true),
        ("http://0.0.0.0:1", true),
        ("http://[::1]:1", true),
        ("http://127.0.0.2:1", false),
        ("http://localhost:2", false),
    ] {
        let settings = [("LISTEN", "127.0.0.1:0"), ("UPSTREAM_B_URL", url)];
        let mut instance = P99::of(command(driver, &settings));
        instance.wait_ready();
        if is_warned {
            instance.wait_for_line(WARNING);
        }
        instance.signal(libc::SIGTERM);
        assert_eq!(instance.wait_code(), 0);
        let log = instance.log();
        assert_eq!(log.contains(WARNING), is_warned, "{log}");
    }
}
