//! A payment allocates nothing in steady state: a whole server, real sockets, every allocation of
//! the process counted.
//!
//! The client and the two processors of this test use fixed buffers and allocate nothing, so what
//! is counted is p99's own. A few allocations in thousands of payments are allowed: the ledger
//! grows with what it remembers, and a timer of some room may come due meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "what is not as expected fails the test"
)]

#[path = "kit/mod.rs"]
mod kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use kit::scratch::Scratch;
use kit::stack::{self, BEST};
use p99::testing::cores::{Exit, Running};

/// Counts what is asked of the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CHARGED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
Content-Length: 44\r\n\r\n{\"message\":\"payment processed successfully\"}";
const CONNECTIONS: usize = 8;
const PAYMENTS: u64 = 4_000;
/// One in 100 payments, see the head of this file.
const ALLOWED: u64 = PAYMENTS / 100;

/// Answers 200 to whatever comes in one piece; the port.
fn processor() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 4_096];
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                    stream.write_all(CHARGED).unwrap();
                }
            });
        }
    });
    port
}

fn start(journal: Option<&Path>) -> (Running, u16) {
    let [a, b] = [processor(), processor()].map(|port| format!("http://127.0.0.1:{port}"));
    // No answer comes late here, and no connection is opened on the way.
    let mut settings = vec![
        ("CORES", "1"),
        ("REQUEST_TIMEOUT_MS", "30000"),
        ("HEDGE_DELAY_MS", "30000"),
        ("JOURNAL_SYNC", "os"),
    ];
    let folder = journal.map(|folder| folder.display().to_string());
    settings.extend(folder.as_deref().map(|folder| ("JOURNAL_DIR", folder)));
    let running = stack::start_p99([&a, &b], BEST, &settings);
    let port = stack::tcp(&running.addresses()).port();
    (running, port)
}

/// Sends payments on all connections at once, `count` in all, and reads every answer.
fn pay(clients: &mut [TcpStream], first: u64, count: u64) {
    let mut request =
        *b"POST /payments HTTP/1.1\r\nHost: p99\r\nContent-Type: application/json\r\n\
Content-Length: 71\r\n\r\n\
{\"correlationId\":\"00000000-0000-4000-8000-000000000000\",\"amount\":19.90}";
    let digits = request.len() - 17 - 12..request.len() - 17;
    let mut answer = [0; 4_096];
    for round in 0..count / CONNECTIONS as u64 {
        for (place, client) in (0..).zip(clients.iter_mut()) {
            let number = first + round * CONNECTIONS as u64 + place;
            write!(&mut request[digits.clone()], "{number:012}").unwrap();
            client.write_all(&request).unwrap();
        }
        for client in clients.iter_mut() {
            let mut filled = 0;
            while !answer[..filled].ends_with(b"successfully\"}") {
                let count = client.read(&mut answer[filled..]).unwrap();
                assert!(count > 0, "the connection was closed");
                filled += count;
            }
            assert!(
                answer.starts_with(b"HTTP/1.1 200 "),
                "every payment is charged"
            );
        }
    }
}

/// How many allocations the process makes while payments are charged in steady state.
fn count_allocations(journal: Option<&Path>) -> u64 {
    let (running, port) = start(journal);
    let mut clients: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    for client in &clients {
        client.set_nodelay(true).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
    }
    // Pools, tables and buffers grow to what this load needs.
    pay(&mut clients, 0, PAYMENTS);
    let before = ALLOCATIONS.load(Relaxed);
    assert!(before > 0, "this binary's allocator is the counting one");
    pay(&mut clients, PAYMENTS, PAYMENTS);
    let counted = ALLOCATIONS.load(Relaxed) - before;
    drop(clients);
    assert_eq!(running.stop(), Exit::Clean);
    counted
}

// One test, since all threads of the process are counted together.
#[test]
fn a_payment_allocates_nothing_in_steady_state() {
    let scratch = Scratch::new("allocations").unwrap();
    for journal in [None, Some(scratch.path())] {
        let counted = count_allocations(journal);
        assert!(
            counted <= ALLOWED,
            "{counted} allocations in {PAYMENTS} payments, journal {journal:?}; allowed: {ALLOWED}"
        );
    }
}
