//! What signals do, and what the process lets others see.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::kit::client::{Client, held, probe, wait_until};
use crate::kit::process::P99;
use crate::kit::report::say;
use crate::kit::scratch::Scratch;
use crate::kit::stack::count;
use crate::kit::start::{command, free_port};
use crate::on_both_drivers;

on_both_drivers! {
    only_signals_to_stop_end_it_although_all_were_blocked,
    what_nohup_ignores_does_no_harm,
    a_hangup_reads_the_credentials_again,
    a_stop_at_any_moment_of_the_start_is_clean,
    the_environment_is_hidden_unless_it_may_be_seen,
    a_crash_leaves_a_core_file_only_where_it_may,
    a_umask_that_keeps_all_out_does_not_keep_p99_out,
}

/// Runs `change` in the child before it becomes p99.
fn before(command: &mut Command, change: fn() -> libc::c_int) {
    // SAFETY: the changes below only make calls that are allowed between fork and exec.
    unsafe {
        command.pre_exec(move || match change() {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

fn block_all() -> libc::c_int {
    // SAFETY: the set is filled before it is read.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut())
    }
}

fn ignore_hangup() -> libc::c_int {
    // SAFETY: to ignore a signal needs no handler.
    match unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) } {
        libc::SIG_ERR => -1,
        _ => 0,
    }
}

fn only_signals_to_stop_end_it_although_all_were_blocked(driver: &str) {
    for stop in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGPWR] {
        // Processors that take everything and answer nothing.
        let silent = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let urls = silent
            .each_ref()
            .map(|socket| format!("http://{}", socket.local_addr().unwrap()));
        let port = free_port();
        let mut command = command(
            driver,
            &[
                ("PORT", &port.to_string()),
                ("UPSTREAM_A_URL", &urls[0]),
                ("UPSTREAM_B_URL", &urls[1]),
                ("SHUTDOWN_GRACE_SECS", "0"),
            ],
        );
        before(&mut command, block_all);
        let mut instance = P99::of(command);
        instance.wait_ready();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        held(|| Client::connect(address).pay("held", "1"));
        for (signal, line) in [
            (libc::SIGHUP, "SIGHUP: "),
            (libc::SIGUSR1, "SIGUSR1 "),
            (libc::SIGUSR2, "SIGUSR2 "),
            (libc::SIGPIPE, ""),
            (libc::SIGXFSZ, ""),
            (libc::SIGALRM, ""),
            (libc::SIGVTALRM, ""),
            (libc::SIGPROF, ""),
            (libc::SIGXCPU, ""),
            (libc::SIGIO, ""),
            (libc::SIGSTKFLT, ""),
            (libc::SIGRTMIN(), ""),
            (libc::SIGRTMAX(), ""),
        ] {
            instance.signal(signal);
            instance.wait_for_line(line);
        }
        wait_until("it lives", || probe(address, "/payments/held") == Some(200));
        instance.signal(stop);
        // The pending payment is lost with it, and that is said.
        assert_eq!(instance.wait_code(), 3, "{}", instance.log());
    }
}

fn deny_all() -> libc::c_int {
    // SAFETY: the call takes a plain value and cannot fail.
    unsafe { libc::umask(0o777) };
    0
}

/// Seen by the modes: to root they mean nothing.
fn a_umask_that_keeps_all_out_does_not_keep_p99_out(driver: &str) {
    let scratch = Scratch::new("starts").unwrap();
    let (journal, listen) = (scratch.text("journal"), scratch.text("p99.sock"));
    let listen = format!("unix:{listen}");
    let settings = [("LISTEN", listen.as_str()), ("JOURNAL_DIR", &journal)];
    for _ in 0..2 {
        let mut command = command(driver, &settings);
        before(&mut command, deny_all);
        let mut instance = P99::of(command);
        instance.wait_ready();
        assert_eq!(instance.stop(), Some(0));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(Path::new(&journal)), 0o700);
        for entry in std::fs::read_dir(&journal).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

fn what_nohup_ignores_does_no_harm(driver: &str) {
    let port = free_port();
    let mut command = command(driver, &[("PORT", &port.to_string())]);
    before(&mut command, ignore_hangup);
    let mut instance = P99::of(command);
    instance.wait_ready();
    instance.signal(libc::SIGHUP);
    instance.wait_for_line("SIGHUP: ");
    let address = ([127, 0, 0, 1], port).into();
    wait_until("it serves", || probe(address, "/readyz") == Some(200));
    assert_eq!(instance.stop(), Some(0));
}

fn a_hangup_reads_the_credentials_again(driver: &str) {
    let (scratch, port) = (Scratch::new("starts").unwrap(), free_port());
    let file = scratch.text("values");
    std::fs::write(&file, "one\n").unwrap();
    let settings = [
        ("PORT", port.to_string()),
        ("AUTH_HEADER_NAME", "X-Key".to_owned()),
        ("AUTH_HEADER_VALUE_FILE", file.clone()),
    ];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut instance = P99::of(command(driver, &settings));
    instance.wait_ready();
    let status = |value: &str| {
        let key = format!("X-Key: {value}\r\n");
        let mut client = Client::connect(([127, 0, 0, 1], port).into());
        client.call("GET /payments-summary", &key, "").status
    };
    assert_eq!([status("one"), status("two")], [200, 401]);
    std::fs::write(&file, "two\n").unwrap();
    instance.signal(libc::SIGHUP);
    instance.wait_for_line("1 added, 1 removed");
    assert_eq!([status("one"), status("two")], [401, 200]);
    std::fs::write(&file, "").unwrap();
    instance.signal(libc::SIGHUP);
    instance.wait_for_line("the values stay as they are");
    assert_eq!([status("one"), status("two")], [401, 200]);
    assert_eq!(instance.stop(), Some(0));
}

/// Before p99 has begun to hear signals SIGTERM ends it as it ends any process, afterwards in
/// order; it never goes unheard.
fn a_stop_at_any_moment_of_the_start_is_clean(driver: &str) {
    let rounds = count(24, 400);
    for round in 0..rounds {
        let scratch = Scratch::new("starts").unwrap();
        let listen = format!("unix:{}", scratch.text("p99.sock"));
        let journal = scratch.text("journal");
        let settings = [("LISTEN", listen.as_str()), ("JOURNAL_DIR", &journal)];
        let mut instance = P99::of(command(driver, &settings));
        thread::sleep(Duration::from_micros(
            u64::try_from(round * 1_500 % 40_000).unwrap(),
        ));
        instance.signal(libc::SIGTERM);
        let end = instance.wait_code();
        assert!([0, 1_000 + libc::SIGTERM].contains(&end), "{end}");
    }
}

/// A process that cannot be looked into belongs to root in /proc.
fn the_environment_is_hidden_unless_it_may_be_seen(driver: &str) {
    const SOMEBODY: u32 = 65_534;
    // SAFETY: geteuid takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    for (word, is_hidden) in [("off", true), ("on", false)] {
        let mut command = command(driver, &[("LISTEN", "127.0.0.1:0"), ("CORE_DUMPS", word)]);
        if is_root {
            command.uid(SOMEBODY).gid(SOMEBODY);
        }
        let mut instance = P99::of(command);
        instance.wait_ready();
        let proc = format!("/proc/{}", instance.pid());
        let owner = std::fs::metadata(format!("{proc}/environ")).unwrap().uid();
        assert_eq!(owner == 0, is_hidden, "CORE_DUMPS={word}: {owner}");
        let most = core_bytes_max(&instance);
        assert!(!is_hidden || most == "0", "{most}");
        assert_eq!(instance.stop(), Some(0));
    }
}

/// Its hard limit of core files, as the kernel shows it.
fn core_bytes_max(instance: &P99) -> String {
    let limits = std::fs::read_to_string(instance.proc("limits")).unwrap();
    let mut lines = limits.lines();
    let line = lines.find(|line| line.starts_with("Max core file size"));
    let hard = line.unwrap().split_whitespace().nth(5);
    hard.unwrap().to_owned()
}

/// All that this process may allow.
fn allow_core_files() -> libc::c_int {
    // SAFETY: the limit is written before it is read, and lives as long as both calls.
    unsafe {
        let mut limit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) != 0 {
            return -1;
        }
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit)
    }
}

fn a_crash_leaves_a_core_file_only_where_it_may(driver: &str) {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let is_file = !pattern.trim().is_empty() && !pattern.contains(['|', '/', '@']);
    for (word, is_hidden) in [("off", true), ("on", false)] {
        let scratch = Scratch::new("crash").unwrap();
        let mut command = command(driver, &[("LISTEN", "127.0.0.1:0"), ("CORE_DUMPS", word)]);
        command.current_dir(scratch.path());
        before(&mut command, allow_core_files);
        let mut instance = P99::of(command);
        instance.wait_ready();
        let most = core_bytes_max(&instance);
        assert!(!is_hidden || most == "0", "{most}");
        instance.signal(libc::SIGABRT);
        assert_eq!(instance.wait_code(), 1_000 + libc::SIGABRT);
        let left = std::fs::read_dir(scratch.path()).unwrap().count();
        if is_hidden {
            assert_eq!(left, 0, "a core file, with the credentials in it");
        } else if is_file && most == "unlimited" {
            assert_eq!(left, 1, "nothing is proven by a machine that leaves none");
        } else {
            // That it is not dumpable is seen by what /proc shows, in the test above.
            let pattern = pattern.trim();
            say(&format!(
                "core files go to {pattern:?}, at most {most}: the limit alone is seen"
            ));
        }
    }
}
