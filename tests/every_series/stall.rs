//! A core that does not run while the others do: what they say instead of it.
//!
//! A signal whose handler sleeps stops exactly one thread, whatever it waits for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use p99::testing::payment::{CoreCount, CoreId, CorrelationId};

use crate::book::Book;
use crate::kit::client::{Client, DEADLINE, payment, wait_until};
use crate::kit::stack::metric as value;
use crate::site::Site;

/// More than the mailbox between two cores holds.
const CLIENTS: usize = 4_600;

/// Whether the core that stands still until then may go on.
static MAY_GO_ON: AtomicBool = AtomicBool::new(false);

/// Lets it go on, also where the test fails meanwhile.
struct LetsGoOn;

impl Drop for LetsGoOn {
    fn drop(&mut self) {
        MAY_GO_ON.store(true, Ordering::Release);
    }
}

extern "C" fn sleep_until_told(_: libc::c_int) {
    while !MAY_GO_ON.load(Ordering::Acquire) {
        sleep(Duration::from_millis(10));
    }
}

extern "C" fn sleep_short(_: libc::c_int) {
    sleep(Duration::from_secs(1));
}

fn sleep(span: Duration) {
    let span = libc::timespec {
        tv_sec: span.as_secs().cast_signed(),
        tv_nsec: span.subsec_nanos().into(),
    };
    // SAFETY: nanosleep may be called in a signal handler; `span` outlives it.
    unsafe { libc::nanosleep(&raw const span, std::ptr::null_mut()) };
}

/// Has the thread of `core` run `handler` as its next signal.
fn stop(core: u16, signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    let name = format!("p99-core-{core}");
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut found = tasks.filter_map(|task| {
        let path = task.unwrap().path();
        let comm = std::fs::read_to_string(path.join("comm")).ok()?;
        (comm.trim() == name).then(|| path.file_name()?.to_str()?.parse().ok())?
    });
    let thread: libc::pid_t = found.next().expect("the core's thread");
    assert_eq!(found.next(), None, "one p99 at a time");
    // SAFETY: the handler only sleeps, the action outlives the call, and the thread is ours.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal)
    };
    assert_eq!(done, 0);
}

/// The `number`-th id that belongs to core 1.
fn id_of_core_1(number: usize) -> String {
    let is_there = |id: &String| {
        let id = CorrelationId::try_new(id).unwrap().upstream_id();
        id.owner(CoreCount(2)) == CoreId(1)
    };
    (0..)
        .map(|turn| format!("{number}-{turn}"))
        .find(is_there)
        .unwrap()
}

pub(crate) fn a_core_that_does_not_run(book: &Book) {
    let settings = [
        ("REQUEST_TIMEOUT_MS", "100"),
        ("ALLOW_PURGE", "true"),
        ("CONCURRENCY_LIMIT", "60000"),
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
    ];
    let site = Site::start(book, &settings);
    // On a busy machine 100 ms are too short for a 200.
    let _ = site.pay("a");
    wait_until("a payment that was handed over", || {
        site.pay(&id_of_core_1(another_number()));
        value(&site.look(), "p99_hand_overs_total") > 0.0
    });
    let ids: Vec<_> = (0..CLIENTS).map(id_of_core_1).collect();
    let lets_go_on = LetsGoOn;
    stop(1, libc::SIGUSR1, sleep_until_told);
    let mut on_core_0 = clients_of_core_0(&site);
    let mut next = || {
        let client = on_core_0.pop().expect("half of them are");
        client.set_patience(DEADLINE);
        client
    };
    let first = format!("GET /payments/{}", ids[0]);
    let mut asked = [&*first, "GET /payments-summary", "POST /purge-payments"].map(|line| {
        let mut client = next();
        client.send(line, "", "");
        client
    });
    let mut client = next();
    let many: Vec<Client> = ids
        .iter()
        .map(|id| {
            let mut client = site.client();
            client.send("POST /payments", "", &payment(id, "1.00"));
            client
        })
        .collect();
    for name in [
        r#"p99_hand_over_failures_total{reason="mailbox_full"}"#,
        r#"p99_shed_total{reason="mailbox_full"}"#,
        r#"p99_requests_unanswered_total{reason="owner_silent"}"#,
        r#"p99_hand_over_failures_total{reason="no_reply"}"#,
    ] {
        wait_until(name, || {
            let page = client.get("/metrics").body;
            book.read(&page);
            value(&page, name) > 0.0
        });
    }
    // No core answers for core 1.
    for client in &mut asked {
        assert_eq!(client.read().unwrap().status, 503);
    }
    wait_until("core 1 is missed", || client.get("/readyz").status == 503);
    let page = client.get("/metrics").body;
    book.read(&page);
    assert_eq!(value(&page, "p99_ready"), 0.0);
    drop(lets_go_on);
    drop(many);
    site.await_all(&[
        r#"p99_core_stalls_total{core="1"}"#,
        r#"p99_core_stalled_seconds_total{core="1"}"#,
        "p99_ready",
    ]);
    stop(0, libc::SIGUSR2, sleep_short);
    site.await_all(&[
        r#"p99_core_stalls_total{core="0"}"#,
        r#"p99_core_stalled_seconds_total{core="0"}"#,
    ]);
}

/// Connections of core 0, while one of core 1 gets no answer.
fn clients_of_core_0(site: &Site<'_>) -> Vec<Client> {
    let mut silent: Vec<_> = (0..64).map(|_| site.client()).collect();
    for client in &mut silent {
        client.send("GET /healthz", "", "");
        client.set_patience(Duration::ZERO);
    }
    let mut all = Vec::new();
    wait_until("clients of core 0", || {
        let answered = |client: &mut Client| client.read().is_ok();
        all.extend(silent.extract_if(.., answered));
        all.len() >= 4
    });
    all
}

/// Another number at each call.
fn another_number() -> usize {
    use std::sync::atomic::AtomicUsize;
    static NEXT: AtomicUsize = AtomicUsize::new(1_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
