//! The process as a whole: starts in bad surroundings, few descriptors, a core that stands still.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use p99::testing::cores::Exit;
use p99::testing::sim::{Simulator, SimulatorOptions};

use crate::kit::client::{Client, id, patiently, wait_until};
use crate::kit::payers::{pay_all, with_status};
use crate::kit::process::P99;
use crate::kit::stack::{Stack, count, processors, start_p99, tcp};
use crate::kit::start;
use crate::on_both_drivers_together;

on_both_drivers_together! {
    a_name_that_does_not_resolve_costs_one_processor_only,
    with_no_processor_at_all_payments_are_refused_and_free,
    a_processor_that_is_down_at_the_start_is_found_later,
    at_the_descriptor_limit_no_core_spins,
    a_core_that_stands_still_is_noticed,
}

fn a_name_that_does_not_resolve_costs_one_processor_only(driver: &str) {
    let b = Simulator::start(SimulatorOptions::default()).unwrap();
    let running = start_p99(["http://nobody.invalid:8001", &b.url()], driver, &[]);
    let address = tcp(&running.addresses());
    let told = pay_all(address, 4, 0..60);
    let page = Client::connect(address).get("/metrics").body;
    assert_eq!(with_status(&told, 200), 60, "{told:?}\n{page}");
    assert_eq!(b.rows().len(), 60);
    assert_eq!(running.stop(), Exit::Clean);
}

fn with_no_processor_at_all_payments_are_refused_and_free(driver: &str) {
    let stack = Stack::start(driver, &[("CB_OPEN_SECS", "1")]);
    stack.cut_off(&[(&stack.a, "default"), (&stack.b, "fallback")]);
    let told = pay_all(stack.address(), 8, 0..100);
    assert_eq!(with_status(&told, 503), 100);
    let ready = patiently("it is ready", || stack.client().get("/readyz"));
    assert_eq!(ready.status, 200, "readyz never depends on them");
    for sim in [&stack.a, &stack.b] {
        sim.set_refusing(false).unwrap();
    }
    stack.audit("nobody there", &told);
    let mut client = stack.client();
    wait_until("a processor is found again", || {
        client.pay(id(0), "1").status == 200
    });
    stack.stop();
}

fn a_processor_that_is_down_at_the_start_is_found_later(driver: &str) {
    let (a, b) = (
        Simulator::start(SimulatorOptions::default()).unwrap(),
        Simulator::start(SimulatorOptions::default()).unwrap(),
    );
    a.set_refusing(true).unwrap();
    let running = start_p99([&a.url(), &b.url()], driver, &[("CB_OPEN_SECS", "1")]);
    let address = tcp(&running.addresses());
    assert_eq!(with_status(&pay_all(address, 4, 0..100), 200), 100);
    a.set_refusing(false).unwrap();
    let mut next = 1_000;
    wait_until("A is used", || {
        next += 1;
        pay_all(address, 1, next..next + 1);
        !a.rows().is_empty()
    });
    assert_eq!(running.stop(), Exit::Clean);
}

/// Few descriptors: some clients are served, the others are turned away, and no core spins.
fn at_the_descriptor_limit_no_core_spins(driver: &str) {
    let sims = processors();
    let urls = sims.each_ref().map(p99::testing::sim::SimulatorHandle::url);
    let p99 = start::start_with_descriptors(
        64,
        [&urls[0], &urls[1]],
        driver,
        &[("HEADER_TIMEOUT_MS", "60000"), ("DRAIN_DELAY_MS", "0")],
    );
    let mut served = Client::connect(p99.address);
    assert_eq!(served.pay(id(0), "1").status, 200);
    let crowd: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(p99.address).unwrap())
        .collect();
    wait_until("the limit is reached", || {
        p99.log().contains("were refused or cut")
    });
    thread::sleep(Duration::from_millis(300));
    let before = p99.ticks();
    thread::sleep(Duration::from_secs(1));
    let spent = p99.ticks() - before;
    eprintln!(
        "{} ms of processor time in 1 s at the limit, {} descriptors",
        spent * 10,
        p99.descriptors()
    );
    assert!(spent < 40, "{spent} ticks of 10 ms in one second");
    assert_eq!(served.pay(id(1), "1").status, 200, "who is in is served");
    drop(crowd);
    // Once there is room others are served too.
    wait_until("there is room again", || {
        Client::connect(p99.address).pay(id(2), "1").status == 200
    });
    drop(served);
    assert_eq!(p99.stop(), Some(0), "it stops cleanly");
}

/// One core's thread is stopped by a debugger's means: the others say so on /readyz, and in the
/// long run the process ends, so that a supervisor can start it anew.
fn a_core_that_stands_still_is_noticed(driver: &str) {
    let sims = processors();
    let urls = sims.each_ref().map(p99::testing::sim::SimulatorHandle::url);
    let mut p99 = start::start([&urls[0], &urls[1]], driver, &[]);
    let mut clients: Vec<_> = (0..16).map(|_| Client::connect(p99.address)).collect();
    for client in &mut clients {
        let ready = patiently("it is ready", || client.get("/readyz"));
        assert_eq!(ready.status, 200);
    }
    let stopped = match StoppedThread::of(&p99, "p99-core-1") {
        Ok(stopped) => stopped,
        Err(fault) => {
            eprintln!("this machine allows no ptrace: {fault}");
            return;
        }
    };
    // Those of the stopped core hear nothing; they drop out here.
    clients.retain_mut(|client| {
        client.set_patience(Duration::from_millis(500));
        client.send("GET /readyz", "", "");
        client.read().is_ok()
    });
    assert!(
        (1..16).contains(&clients.len()),
        "{} are answered",
        clients.len()
    );
    for client in &clients {
        client.set_patience(crate::kit::client::DEADLINE);
    }
    wait_until("the other core says so", || {
        clients[0].get("/readyz").status == 503
    });
    if count(0, 1) == 1 {
        let mut status = None;
        wait_until("the process ends", || {
            stopped.reap();
            status = p99.try_wait();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(1), "{}", p99.log());
        assert!(p99.log().contains("core 1 is stuck"), "{}", p99.log());
    }
}

/// One thread of a process that does not run until this is dropped.
struct StoppedThread(libc::pid_t);

impl StoppedThread {
    /// Stops the thread of this name and no other.
    fn of(p99: &P99, name: &str) -> std::io::Result<Self> {
        let task = std::fs::read_dir(p99.proc("task"))?
            .filter_map(Result::ok)
            .find(|task| {
                let comm = std::fs::read_to_string(task.path().join("comm"));
                comm.is_ok_and(|comm| comm.trim() == name)
            })
            .expect("the core's thread");
        let thread: libc::pid_t = task.file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: the requests take no memory of ours; the thread belongs to our own child.
        unsafe {
            if libc::ptrace(libc::PTRACE_SEIZE, thread, 0_usize, 0_usize) != 0
                || libc::ptrace(libc::PTRACE_INTERRUPT, thread, 0_usize, 0_usize) != 0
                || libc::waitpid(thread, std::ptr::null_mut(), libc::__WALL) != thread
            {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(Self(thread))
    }

    /// A traced thread that has died holds its process until its tracer has looked.
    fn reap(&self) {
        // SAFETY: waitpid may be given no place for the status.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL | libc::WNOHANG) };
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        // SAFETY: as above; where the thread is gone the kernel says so, and nothing is left to do.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0_usize, 0_usize) };
    }
}
