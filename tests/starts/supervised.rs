//! p99 under a supervisor: sockets that were passed to it, and what it says about itself. The test
//! plays systemd: it holds the sockets and listens at NOTIFY_SOCKET.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use crate::kit::client::{DEADLINE, probe, probe_unix, wait_until};
use crate::kit::process::P99;
use crate::kit::scratch::Scratch;
use crate::kit::start::command;
use crate::on_both_drivers;
use crate::passing::{copy, pass};

on_both_drivers! {
    names_say_whom_a_passed_socket_is_for,
    what_is_no_listening_socket_is_refused_by_name,
    a_passed_socket_takes_the_place_of_the_setting,
    the_supervisor_hears_of_start_life_and_end,
    the_supervisor_hears_why_a_start_fails,
    a_supervisor_that_is_gone_changes_nothing,
}

fn names_say_whom_a_passed_socket_is_for(driver: &str) {
    let scratch = Scratch::new("starts").unwrap();
    let path = scratch.text("admin.sock");
    let (tcp, unix) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        UnixListener::bind(&path).unwrap(),
    );
    let address = tcp.local_addr().unwrap();
    let command = pass(
        // Two more cores than sockets: each of them accepts.
        &command(driver, &[("CORES", "4")]),
        &[copy(&unix), copy(&tcp)],
        "admin:public",
    );
    let mut instance = P99::of(command);
    instance.wait_ready();
    assert_eq!(probe(address, "/metrics"), Some(404));
    assert_eq!(probe_unix(&path, "/metrics"), Some(200));
    for _ in 0..20 {
        let mut status = None;
        wait_until("a core that stood still goes on", || {
            status = probe(address, "/readyz");
            status != Some(503)
        });
        assert_eq!(status, Some(200), "whichever core accepted it");
    }
    assert_eq!(instance.stop(), Some(0));
}

fn what_is_no_listening_socket_is_refused_by_name(driver: &str) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let (pipe, _end) = std::io::pipe().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unnamed = UnixStream::pair().unwrap().0;
    for (socket, names, told) in [
        (
            copy(&pipe),
            "public",
            "descriptor 3 (public), passed by the supervisor: it is no socket",
        ),
        (
            copy(&udp),
            "admin",
            "descriptor 3 (admin), passed by the supervisor: it is neither TCP",
        ),
        (
            copy(&client),
            "public",
            "it is a socket that does not listen",
        ),
        (
            copy(&unnamed),
            "public",
            "it is a socket that does not listen",
        ),
        (
            copy(&tcp),
            "pubic",
            "with the name \"pubic\": allowed is public or admin",
        ),
        (
            copy(&tcp),
            "public:admin",
            "LISTEN_FDNAMES=\"public:admin\"",
        ),
    ] {
        let mut instance = P99::of(pass(&command(driver, &[]), &[socket], names));
        assert_eq!(instance.wait_code(), 2, "{told}");
        wait_until("it says why", || instance.log().contains(told));
    }
    // More are promised than there are.
    let mut command = pass(&command(driver, &[]), &[copy(&tcp)], "");
    command.env("LISTEN_FDS", "2");
    let mut instance = P99::of(command);
    assert_eq!(instance.wait_code(), 2);
    wait_until("it says why", || {
        instance
            .log()
            .contains("descriptor 4 (public), passed by the supervisor: nothing is open")
    });
}

fn a_passed_socket_takes_the_place_of_the_setting(driver: &str) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let listen = ("LISTEN", "127.0.0.1:1");
    let command = pass(&command(driver, &[listen]), &[copy(&tcp)], "");
    let mut instance = P99::of(command);
    instance.wait_ready();
    wait_until("it serves", || probe(address, "/readyz") == Some(200));
    instance.wait_for_line("no socket was passed for 127.0.0.1:1");
    assert_eq!(instance.stop(), Some(0));
}

/// What p99 says at NOTIFY_SOCKET.
struct Supervisor {
    path: PathBuf,
    heard: Receiver<String>,
    thread: JoinHandle<()>,
}

impl Supervisor {
    fn listen(scratch: &Scratch) -> Self {
        let path = scratch.file("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (say, heard) = channel();
        // Its queue is short, so it is always emptied.
        let thread = thread::spawn(move || {
            let mut buffer = [0; 1_000];
            loop {
                let count = socket.recv(&mut buffer).unwrap();
                let text = String::from_utf8(buffer[..count].to_vec()).unwrap();
                if text.is_empty() || say.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            path,
            heard,
            thread,
        }
    }

    fn setting(&self) -> (&'static str, &str) {
        ("NOTIFY_SOCKET", self.path.to_str().unwrap())
    }

    fn hear(&self) -> String {
        self.heard.recv_timeout(DEADLINE).unwrap()
    }

    /// The next that is no sign of life.
    fn hear_news(&self) -> String {
        loop {
            let text = self.hear();
            if text != "WATCHDOG=1\n" {
                return text;
            }
        }
    }

    /// Its socket is gone, its file stays.
    fn leave(self) {
        let end = UnixDatagram::unbound().unwrap();
        end.send_to(b"", &self.path).unwrap();
        self.thread.join().unwrap();
    }
}

fn the_supervisor_hears_of_start_life_and_end(driver: &str) {
    let scratch = Scratch::new("starts").unwrap();
    let supervisor = Supervisor::listen(&scratch);
    let listen = format!("unix:{}", scratch.text("p99.sock"));
    let settings = [
        ("LISTEN", listen.as_str()),
        supervisor.setting(),
        ("WATCHDOG_USEC", "300000"),
        ("DRAIN_DELAY_MS", "500"),
    ];
    let instance = P99::of(command(driver, &settings));
    assert_eq!(supervisor.hear(), "STATUS=starting: the journal is read\n");
    let ready = supervisor.hear();
    let start = "READY=1\nSTATUS=serving on unix:";
    assert!(ready.starts_with(start), "{ready}");
    for _ in 0..3 {
        assert_eq!(supervisor.hear(), "WATCHDOG=1\n");
    }
    instance.signal(libc::SIGTERM);
    let stopping = supervisor.hear_news();
    let start = "STOPPING=1\nSTATUS=stopping: ";
    assert!(stopping.starts_with(start), "{stopping}");
    assert_eq!(supervisor.hear(), "WATCHDOG=1\n", "alive while it stops");
    assert_eq!(instance.stop(), Some(0));
    supervisor.leave();
}

fn the_supervisor_hears_why_a_start_fails(driver: &str) {
    let scratch = Scratch::new("starts").unwrap();
    let supervisor = Supervisor::listen(&scratch);
    let settings = [("LISTEN", "unix:/nowhere/p99.sock"), supervisor.setting()];
    let mut instance = P99::of(command(driver, &settings));
    assert_eq!(instance.wait_code(), 1);
    assert_eq!(supervisor.hear(), "STATUS=starting: the journal is read\n");
    let told = supervisor.hear();
    let start = "STATUS=cannot start: cannot listen on unix:/nowhere/p99.sock";
    assert!(told.starts_with(start), "{told}");
    supervisor.leave();
}

fn a_supervisor_that_is_gone_changes_nothing(driver: &str) {
    let scratch = Scratch::new("starts").unwrap();
    let supervisor = Supervisor::listen(&scratch);
    let path = scratch.text("notify");
    supervisor.leave();
    let settings = [
        ("LISTEN", "127.0.0.1:0"),
        ("NOTIFY_SOCKET", path.as_str()),
        ("WATCHDOG_USEC", "30000"),
    ];
    let mut instance = P99::of(command(driver, &settings));
    instance.wait_ready();
    instance.wait_for_line("the supervisor cannot be told at ");
    assert_eq!(instance.stop(), Some(0));

    let mut instance = P99::of(command(driver, &[("NOTIFY_SOCKET", "relative")]));
    assert_eq!(instance.wait_code(), 2);
    wait_until("it says why", || {
        instance.log().contains("NOTIFY_SOCKET=\"relative\"")
    });
}
