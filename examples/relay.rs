//! The least that a proxy on p99's event loop can cost: a TCP relay that parses nothing.
//!
//! `scripts/bench-proxies` compares p99 with it. Each client connection has an upstream connection
//! of its own, and two tasks copy bytes, one per direction. What p99 costs above this is the price
//! of HTTP, claims, breaker, routing, ledger and metrics; what this costs is the price of monoio
//! and of the ring's setup, which is why the setup can be chosen here and nowhere else.
//!
//! `relay UPSTREAM_PORT [best|deferred|cooperative|plain|epoll] [PORT]` prints `listening PORT`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool of the benchmarks: it may stop at whatever it does not expect"
)]

use std::future::Future;
use std::io::Write as _;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt as _, Splitable as _};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use p99::testing::reactor::Reactor;

/// As large as a payment's buffers in p99.
const BUFFER_BYTES: usize = 4 * 1024;

async fn copy(mut from: impl AsyncReadRent, mut to: impl AsyncWriteRent) {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let read;
        (read, buffer) = from.read(buffer).await;
        if !matches!(read, Ok(count) if count > 0) {
            break;
        }
        let written;
        (written, buffer) = to.write_all(buffer).await;
        if written.is_err() {
            break;
        }
    }
    // The other direction ends when its peer closes in turn. Closing twice is no harm.
    drop(to.shutdown().await);
}

async fn relay(client: TcpStream, upstream: u16) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else {
        return;
    };
    client.set_nodelay(true).expect("sets TCP_NODELAY");
    server.set_nodelay(true).expect("sets TCP_NODELAY");
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    monoio::spawn(copy(from_client, to_server));
    copy(from_server, to_client).await;
}

async fn serve(port: u16, upstream: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("binds");
    let port = listener.local_addr().expect("has a port").port();
    writeln!(std::io::stdout(), "listening {port}").expect("tells its port");
    loop {
        let (client, _) = listener.accept().await.expect("accepts");
        monoio::spawn(relay(client, upstream));
    }
}

/// Runs on a ring with exactly these flags, or stops: a row of the table must be what it says.
fn run_on_ring(builder: io_uring::Builder, future: impl Future<Output = ()>) {
    RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(1_024)
        .uring_builder(builder)
        .enable_timer()
        .build()
        .expect("this kernel grants that ring")
        .block_on(future);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |place: usize, default| arguments.get(place).map_or(default, String::as_str);
    let upstream = word(0, "").parse().expect("the upstream's port");
    let port = word(2, "0").parse().expect("a port to listen on");
    let mut ring = io_uring::IoUring::builder();
    let future = serve(port, upstream);
    match word(1, "best") {
        "best" => Reactor::best().expect("an event loop").run(future),
        "epoll" => Reactor::epoll().expect("an event loop").run(future),
        "plain" => run_on_ring(ring, future),
        "cooperative" => {
            ring.setup_coop_taskrun().setup_single_issuer();
            run_on_ring(ring, future);
        }
        "deferred" => {
            ring.setup_coop_taskrun().setup_single_issuer();
            ring.setup_defer_taskrun();
            run_on_ring(ring, future);
        }
        other => panic!("no such ring: {other}"),
    }
}
