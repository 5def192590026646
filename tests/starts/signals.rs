//! What signals do, and what the process lets others see.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::instance::{Instance, Scratch, command, count, free_port, get};
use crate::on_both_drivers;

on_both_drivers! {
    only_signals_to_stop_end_it_although_all_were_blocked,
    what_nohup_ignores_does_no_harm,
    a_hangup_reads_the_credentials_again,
    a_stop_at_any_moment_of_the_start_is_clean,
    the_environment_is_hidden_unless_it_may_be_seen,
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
        let mut instance = Instance::spawn(command);
        instance.wait_ready();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut client = TcpStream::connect(address).unwrap();
        let body = r#"{"correlationId":"held","amount":1}"#;
        write!(
            client,
            "POST /payments HTTP/1.1\r\nHost: p99\r\nConnection: close\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
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
        assert_eq!(get(address, "/payments/held"), Some(200), "it lives");
        instance.signal(stop);
        // The pending payment is lost with it, and that is said.
        assert_eq!(instance.wait(), 3, "{}", instance.log());
    }
}

fn what_nohup_ignores_does_no_harm(driver: &str) {
    let port = free_port();
    let mut command = command(driver, &[("PORT", &port.to_string())]);
    before(&mut command, ignore_hangup);
    let mut instance = Instance::spawn(command);
    instance.wait_ready();
    instance.signal(libc::SIGHUP);
    instance.wait_for_line("SIGHUP: ");
    assert_eq!(get(([127, 0, 0, 1], port).into(), "/readyz"), Some(200));
    assert_eq!(instance.stop(), 0);
}

fn a_hangup_reads_the_credentials_again(driver: &str) {
    let (scratch, port) = (Scratch::new(), free_port());
    let file = scratch.join("values");
    std::fs::write(&file, "one\n").unwrap();
    let settings = [
        ("PORT", port.to_string()),
        ("AUTH_HEADER_NAME", "X-Key".to_owned()),
        ("AUTH_HEADER_VALUE_FILE", file.clone()),
    ];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut instance = Instance::start(driver, &settings);
    instance.wait_ready();
    let status = |value: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            stream,
            "GET /payments-summary HTTP/1.1\r\nHost: p99\r\nX-Key: {value}\r\nConnection: \
             close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer[9..12].to_owned()
    };
    assert_eq!([status("one"), status("two")], ["200", "401"]);
    std::fs::write(&file, "two\n").unwrap();
    instance.signal(libc::SIGHUP);
    instance.wait_for_line("1 added, 1 removed");
    assert_eq!([status("one"), status("two")], ["401", "200"]);
    std::fs::write(&file, "").unwrap();
    instance.signal(libc::SIGHUP);
    instance.wait_for_line("the values stay as they are");
    assert_eq!([status("one"), status("two")], ["401", "200"]);
    assert_eq!(instance.stop(), 0);
}

/// Before p99 has begun to hear signals SIGTERM ends it as it ends any process, afterwards in
/// order; it never goes unheard.
fn a_stop_at_any_moment_of_the_start_is_clean(driver: &str) {
    let rounds = count(24, 400);
    for round in 0..rounds {
        let scratch = Scratch::new();
        let listen = format!("unix:{}", scratch.join("p99.sock"));
        let journal = scratch.join("journal");
        let settings = [("LISTEN", listen.as_str()), ("JOURNAL_DIR", &journal)];
        let instance = Instance::start(driver, &settings);
        thread::sleep(Duration::from_micros(
            u64::try_from(round * 1_500 % 40_000).unwrap(),
        ));
        let end = instance.stop();
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
        let mut instance = Instance::spawn(command);
        instance.wait_ready();
        let proc = format!("/proc/{}", instance.pid());
        let owner = std::fs::metadata(format!("{proc}/environ")).unwrap().uid();
        assert_eq!(owner == 0, is_hidden, "CORE_DUMPS={word}: {owner}");
        let limits = std::fs::read_to_string(format!("{proc}/limits")).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let hard = line.unwrap().split_whitespace().nth(5).unwrap().to_owned();
        assert!(!is_hidden || hard == "0", "{hard}");
        assert_eq!(instance.stop(), 0);
    }
}
